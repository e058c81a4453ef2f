//! Bodies: how much of an answer does the client read, and how does it unpack it?
//!
//! The limit holds while reading and while decompressing, so that neither an endless body nor a gzip bomb is ever held
//! whole. Memory and the inflater's state stay with the [`BodyBuffer`] for the next answer.

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};
use http::{HeaderMap, header};
use http_body_util::BodyExt;

use super::connect;
use super::line::AnswerBody;
#[cfg(feature = "libdeflate")]
use super::whole::WholeInflater;
use crate::error::{Cause, Error};

/// Memory up to this is kept whatever the last body needed: buffers go from large targets to small ones and back.
const KEPT_BYTES: usize = 1 << 20;

/// The body of an answer, in memory that serves answer after answer.
#[derive(Default)]
pub struct BodyBuffer {
    /// The body, and behind it what is left of longer ones: memory that need not be zeroed to be written to.
    memory: Vec<u8>,
    length: usize,
    wire: Vec<u8>,
    inflater: Option<Decompress>,
    #[cfg(feature = "libdeflate")]
    whole: WholeInflater,
}

impl BodyBuffer {
    /// The body, decompressed.
    pub fn as_slice(&self) -> &[u8] {
        self.memory.get(..self.length).unwrap_or_default()
    }

    /// Puts other bytes in the place of the body; for answers that come by other ways.
    pub fn replace(&mut self, bytes: &[u8]) {
        self.clear();
        self.memory.clear();
        self.memory.extend_from_slice(bytes);
        self.length = bytes.len();
    }

    /// The body, decompressed, without its memory for the next one.
    pub fn into_bytes(mut self) -> Bytes {
        self.memory.truncate(self.length);
        self.memory.into()
    }

    /// Forgets the body and keeps the memory, unless it is large and far more than the last body needed.
    pub fn clear(&mut self) {
        if self.length == 0 && self.wire.is_empty() {
            return;
        }
        let packed = self.wire.len();
        for (buffer, used) in [(&mut self.memory, self.length), (&mut self.wire, packed)] {
            if buffer.capacity() > KEPT_BYTES && buffer.capacity() / 4 > used {
                buffer.truncate(used);
                buffer.shrink_to_fit();
            }
        }
        self.length = 0;
        self.wire.clear();
    }

    /// Reads a body to its end.
    pub(super) async fn read(
        &mut self,
        headers: &HeaderMap,
        body: &mut AnswerBody,
        bytes_max: u64,
    ) -> Result<(), Error> {
        let gzipped = headers.get(header::CONTENT_ENCODING).is_some_and(|value| value.as_bytes() == b"gzip");
        if !gzipped {
            self.memory.clear();
            let read = read_plain(body, &mut self.memory, bytes_max).await;
            self.length = self.memory.len();
            return read;
        }
        // Packed bytes that are no more than the limit unpack to more than it, or the server packs badly: a body that
        // grows by packing grows by a few bytes in each 16 KiB.
        let wire_max = bytes_max.saturating_add(bytes_max / 1024).saturating_add(1024);
        read_plain(body, &mut self.wire, wire_max).await.map_err(|error| match error {
            Error::BodyTooLarge { .. } => Error::BodyTooLarge { bytes_max },
            other => other,
        })?;
        self.unpack(bytes_max)
    }

    /// Unpacks what came over the wire.
    fn unpack(&mut self, bytes_max: u64) -> Result<(), Error> {
        #[cfg(feature = "libdeflate")]
        if let Some(member) = only_member(&self.wire)
            && let Some(content) = self.whole.inflate(member.deflated, member.bytes, &mut self.memory, bytes_max)
            && member.is_whole(content)
        {
            self.length = content.len();
            return Ok(());
        }
        self.memory.clear();
        let inflater = self.inflater.get_or_insert_with(|| Decompress::new(false));
        let unpacked = inflate(inflater, &self.wire, &mut self.memory, bytes_max);
        self.length = self.memory.len();
        unpacked
    }
}

impl std::fmt::Debug for BodyBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BodyBuffer").field("bytes", &self.length).finish_non_exhaustive()
    }
}

async fn read_plain(body: &mut AnswerBody, into: &mut Vec<u8>, bytes_max: u64) -> Result<(), Error> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Error::Body(connect::body_cause_of(&error)))?;
        let Ok(data) = frame.into_data() else { continue };
        if (into.len() + data.len()) as u64 > bytes_max {
            return Err(Error::BodyTooLarge { bytes_max });
        }
        into.extend_from_slice(&data);
    }
    Ok(())
}

/// What seems to be a gzip stream of one member: what its trailer says of the content, and where that is packed.
#[cfg(feature = "libdeflate")]
struct Member<'a> {
    deflated: &'a [u8],
    sum: u32,
    bytes: u32,
}

/// The stream as one member, unless it looks like several: those that begin further on do so with a header's first bytes.
#[cfg(feature = "libdeflate")]
fn only_member(packed: &[u8]) -> Option<Member<'_>> {
    let (rest, bytes) = after_header(packed)?.split_last_chunk::<4>()?;
    let (deflated, sum) = rest.split_last_chunk::<4>()?;
    let is_only = memchr::memmem::find(deflated, &[0x1f, 0x8b, 8]).is_none();
    is_only.then(|| Member { deflated, sum: u32::from_le_bytes(*sum), bytes: u32::from_le_bytes(*bytes) })
}

#[cfg(feature = "libdeflate")]
impl Member<'_> {
    fn is_whole(&self, content: &[u8]) -> bool {
        crc32fast::hash(content) == self.sum
    }
}

/// Unpacks all members of a gzip stream (RFC 1952), appending to `out`, and checks their sums.
fn inflate(inflater: &mut Decompress, mut packed: &[u8], out: &mut Vec<u8>, bytes_max: u64) -> Result<(), Error> {
    let invalid = |what| Error::Body(Cause::Gzip(what));
    let guess = packed.len().saturating_mul(8).max(4 << 10);
    out.reserve(guess.min(usize::try_from(bytes_max).unwrap_or(usize::MAX).saturating_add(1)));
    loop {
        packed = after_header(packed).ok_or_else(|| invalid("invalid header"))?;
        let start = out.len();
        inflater.reset(false);
        loop {
            if out.len() == out.capacity() {
                out.reserve(out.len().max(32 << 10));
            }
            let (read, written) = (inflater.total_in(), inflater.total_out());
            let status = inflater.decompress_vec(packed, out, FlushDecompress::None);
            let status = status.map_err(|_| invalid("invalid data"))?;
            let consumed = usize::try_from(inflater.total_in() - read).unwrap_or(usize::MAX);
            packed = packed.get(consumed..).unwrap_or_default();
            if out.len() as u64 > bytes_max {
                return Err(Error::BodyTooLarge { bytes_max });
            }
            match status {
                Status::StreamEnd => break,
                _ if consumed == 0 && inflater.total_out() == written => return Err(invalid("unexpected EOF")),
                _ => {}
            }
        }
        let member = out.get(start..).unwrap_or_default();
        packed = after_trailer(packed, member).ok_or_else(|| invalid("invalid checksum"))?;
        if packed.is_empty() {
            return Ok(());
        }
    }
}

/// What follows the header of a gzip member.
fn after_header(packed: &[u8]) -> Option<&[u8]> {
    let (header, mut rest) = packed.split_first_chunk::<10>()?;
    let [0x1f, 0x8b, 8, flags, ..] = *header else { return None };
    let (has_sum, has_extra, has_name, has_comment) = (flags & 2 != 0, flags & 4 != 0, flags & 8 != 0, flags & 16 != 0);
    if has_extra {
        let (length, tail) = rest.split_first_chunk::<2>()?;
        rest = tail.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    for _ in 0..u8::from(has_name) + u8::from(has_comment) {
        let end = rest.iter().position(|byte| *byte == 0)?;
        rest = rest.get(end + 1..)?;
    }
    if has_sum { rest.get(2..) } else { Some(rest) }
}

/// What follows the trailer of a gzip member, if the trailer agrees with the member's content.
fn after_trailer<'a>(packed: &'a [u8], member: &[u8]) -> Option<&'a [u8]> {
    let (sum, rest) = packed.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let agrees = u32::from_le_bytes(*sum) == crc32fast::hash(member)
        && u32::from_le_bytes(*length) == (member.len() & 0xFFFF_FFFF) as u32;
    agrees.then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn unpacked(packed: &[u8], bytes_max: u64) -> Result<Vec<u8>, String> {
        let mut buffer = BodyBuffer { wire: packed.to_vec(), ..BodyBuffer::default() };
        buffer.unpack(bytes_max).map_err(|error| error.to_string())?;
        Ok(buffer.into_bytes().to_vec())
    }

    #[test]
    fn a_shorter_body_shows_nothing_of_a_longer_one() {
        let mut buffer = BodyBuffer::default();
        for text in ["long, and more than that", "short", "", "longer, and still more than the first of them"] {
            for packed in [gzip(text.as_bytes()), [gzip(b""), gzip(text.as_bytes())].concat()] {
                buffer.clear();
                assert!(buffer.as_slice().is_empty());
                buffer.wire = packed;
                buffer.unpack(1 << 20).unwrap();
                assert_eq!(buffer.as_slice(), text.as_bytes());
            }
        }
        buffer.replace(b"in another way");
        assert_eq!(buffer.as_slice(), b"in another way");
        buffer.clear();
        assert!(buffer.into_bytes().is_empty());
    }

    #[test]
    fn the_memory_of_a_large_body_does_not_stay() {
        let mut buffer = BodyBuffer { wire: gzip(&vec![0; 8 * KEPT_BYTES]), ..BodyBuffer::default() };
        buffer.unpack(u64::MAX).unwrap();
        buffer.clear();
        assert!(buffer.memory.capacity() >= 8 * KEPT_BYTES, "the next body may be as long");
        buffer.wire = gzip(b"short");
        buffer.unpack(u64::MAX).unwrap();
        buffer.clear();
        assert!(buffer.memory.capacity() <= KEPT_BYTES);
    }

    #[test]
    fn members_follow_each_other() {
        let mut packed = gzip(b"one ");
        packed.extend(gzip(b""));
        packed.extend(gzip(&b"two".repeat(100_000)));
        assert_eq!(unpacked(&packed, 1 << 20).unwrap().len(), 300_004);
        // Two whose trailers are the same, so that the last one speaks for the first one too.
        assert_eq!(unpacked(&[gzip(b"twice "), gzip(b"twice ")].concat(), 1 << 20).unwrap(), b"twice twice ");
    }

    #[test]
    fn the_limit_counts_unpacked_bytes() {
        let bomb = gzip(&vec![0; 10 << 20]);
        assert!(bomb.len() < 20_000);
        assert_eq!(unpacked(&bomb, 1 << 20).unwrap_err(), "body size limit exceeded");
        assert_eq!(unpacked(&gzip(b"12345"), 5).unwrap(), b"12345");
        assert!(unpacked(&gzip(b"123456"), 5).is_err());
    }

    #[test]
    fn damage_is_an_error_at_any_place() {
        let packed = gzip(b"some metrics and some more metrics");
        for cut in 0..packed.len() {
            assert!(unpacked(&packed[..cut], 1 << 20).is_err(), "cut at {cut}");
        }
        assert!(unpacked(&[&packed[..], b"more"].concat(), 1 << 20).is_err());
        for at in packed.len() - 8..packed.len() {
            let mut flipped = packed.clone();
            flipped[at] ^= 1;
            assert_eq!(unpacked(&flipped, 1 << 20).unwrap_err(), "gzip: invalid checksum");
        }
    }
}
