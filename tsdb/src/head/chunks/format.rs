//! How chunks lie in a head chunk file.
//!
//! ```text
//! magic u32 | version 1 | 3 zero bytes | (series u64 | min u64 | max u64 | encoding u8 | uvarint length | data | crc32c)*
//! ```

use crate::chunk::ChunkEncoding;
use crate::wal::format::{Bytes, put_uvarint};

pub(super) const MAGIC: [u8; 8] = [0x01, 0x30, 0xBC, 0x91, 1, 0, 0, 0];
/// Set in the encoding byte of late chunks.
const LATE: u8 = 0x80;

/// A chunk of the head chunk files, with its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::head) struct StoredChunk {
    pub(in crate::head) series: u64,
    pub(in crate::head) place: u64,
    pub(in crate::head) min_time: i64,
    pub(in crate::head) max_time: i64,
    pub(in crate::head) late: bool,
    pub(in crate::head) is_float: bool,
}

/// Appends a chunk with the times of its first and last sample.
pub(super) fn put(out: &mut Vec<u8>, series: u64, encoding: ChunkEncoding, times: (i64, i64), late: bool, data: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&series.to_be_bytes());
    out.extend_from_slice(&times.0.to_be_bytes());
    out.extend_from_slice(&times.1.to_be_bytes());
    out.push(encoding.byte() | if late { LATE } else { 0 });
    put_uvarint(out, data.len() as u64);
    out.extend_from_slice(data);
    let crc = crc32c::crc32c(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&crc.to_be_bytes());
}

/// Hands out the chunks of a file; says where the last good one ends (0: not even the header is there).
pub(super) fn walk(file: &[u8], number: u32, each: &mut impl FnMut(StoredChunk)) -> usize {
    if !file.starts_with(&MAGIC) {
        return 0;
    }
    let mut at = MAGIC.len();
    while let Some(chunk) = file.get(at..).and_then(parse) {
        each(StoredChunk {
            series: chunk.series,
            place: u64::from(number) << 32 | at as u64,
            min_time: chunk.min_time,
            max_time: chunk.max_time,
            late: chunk.late,
            is_float: chunk.encoding.is_float(),
        });
        at += chunk.length;
    }
    at
}

/// A chunk as it lies in a file.
pub(super) struct Parsed<'a> {
    series: u64,
    min_time: i64,
    max_time: i64,
    pub(super) encoding: ChunkEncoding,
    late: bool,
    pub(super) data: &'a [u8],
    length: usize,
}

/// The chunk that these bytes begin with, if it is whole and sound.
pub(super) fn parse(bytes: &[u8]) -> Option<Parsed<'_>> {
    let mut rest = Bytes(bytes);
    let (series, min_time, max_time) = (rest.u64().ok()?, rest.u64().ok()? as i64, rest.u64().ok()? as i64);
    let byte = rest.byte().ok()?;
    let length = usize::try_from(rest.uvarint().ok()?).ok()?;
    let data = rest.take(length).ok()?;
    let covered = bytes.len() - rest.0.len();
    let crc = u32::from_be_bytes(*rest.take(4).ok()?.first_chunk()?);
    // Times that fall were never written: the checksum only says that nothing has changed since.
    if crc32c::crc32c(bytes.get(..covered)?) != crc || min_time > max_time {
        return None;
    }
    let encoding = ChunkEncoding::from_byte(byte & !LATE).ok()?;
    Some(Parsed { series, min_time, max_time, encoding, late: byte & LATE != 0, data, length: covered + 4 })
}
