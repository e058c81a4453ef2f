//! The layout of the index: table of contents and series entries.

use crate::block::wire::{Cursor, Malformed, put_be_u32, put_be_u64, put_uvarint, put_varint};

pub(super) const MAGIC: u32 = 0xBAAA_D700;
/// Magic and version.
pub(super) const HEADER_BYTES: u64 = 5;
/// The version that is written.
pub(super) const VERSION: u8 = 2;
/// From version 2 on a series number is its offset divided by this.
pub(super) const SERIES_ALIGNMENT: u64 = 16;
pub(super) const POSTINGS_ALIGNMENT: u64 = 4;
/// What each entry of the postings offset table starts with: the number of strings that follow.
pub(super) const TABLE_ENTRY_KEYS: u64 = 2;
/// Six offsets and a checksum.
const TOC_BYTES: usize = 6 * 8 + 4;

/// Where the sections start, as file offsets; 0 for one that is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Toc {
    pub(super) symbols: u64,
    pub(super) series: u64,
    pub(super) label_indices: u64,
    pub(super) label_offset_table: u64,
    pub(super) postings: u64,
    pub(super) postings_offset_table: u64,
}

impl Toc {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(TOC_BYTES);
        let sections = [
            self.symbols,
            self.series,
            self.label_indices,
            self.label_offset_table,
            self.postings,
            self.postings_offset_table,
        ];
        for offset in sections {
            put_be_u64(&mut out, offset);
        }
        let checksum = crc32c::crc32c(&out);
        put_be_u32(&mut out, checksum);
        out
    }

    /// From the end of a file.
    pub(super) fn decode(file: &[u8]) -> Result<Self, Malformed> {
        let Some((before, toc)) = file.split_last_chunk::<TOC_BYTES>() else {
            return Err(Malformed { offset: file.len() as u64, problem: "file is shorter than its table of contents" });
        };
        let mut cursor = Cursor::new(toc, before.len() as u64);
        let content = cursor.clone().take(TOC_BYTES - 4)?;
        let toc = Self {
            symbols: cursor.be_u64()?,
            series: cursor.be_u64()?,
            label_indices: cursor.be_u64()?,
            label_offset_table: cursor.be_u64()?,
            postings: cursor.be_u64()?,
            postings_offset_table: cursor.be_u64()?,
        };
        if cursor.be_u32()? != crc32c::crc32c(content) {
            return Err(Malformed {
                offset: before.len() as u64,
                problem: "checksum of the table of contents differs",
            });
        }
        Ok(toc)
    }
}

/// A chunk of a series: where it is and which times it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRef {
    /// Number of the segment file (from 0) in the upper 32 bits, offset in it in the lower ones.
    pub reference: u64,
    /// Time of the first sample, in milliseconds.
    pub min_time: i64,
    /// Time of the last sample, in milliseconds.
    pub max_time: i64,
}

/// A series as the index has it. Reused between reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeriesEntry {
    /// Symbols of name and value of each label, by rising name.
    pub labels: Vec<(u32, u32)>,
    /// Its chunks by rising time.
    pub chunks: Vec<ChunkRef>,
}

impl SeriesEntry {
    /// The bytes of an entry: `uvarint length | body | crc32c`.
    pub(super) fn encode(labels: &[(u32, u32)], chunks: &[ChunkRef], out: &mut Vec<u8>, body: &mut Vec<u8>) {
        body.clear();
        put_uvarint(body, labels.len() as u64);
        for (name, value) in labels {
            put_uvarint(body, u64::from(*name));
            put_uvarint(body, u64::from(*value));
        }
        put_uvarint(body, chunks.len() as u64);
        let mut previous: Option<&ChunkRef> = None;
        for chunk in chunks {
            let length = chunk.max_time.wrapping_sub(chunk.min_time) as u64;
            match previous {
                None => {
                    put_varint(body, chunk.min_time);
                    put_uvarint(body, length);
                    put_uvarint(body, chunk.reference);
                }
                Some(previous) => {
                    put_uvarint(body, chunk.min_time.wrapping_sub(previous.max_time) as u64);
                    put_uvarint(body, length);
                    put_varint(body, chunk.reference.wrapping_sub(previous.reference) as i64);
                }
            }
            previous = Some(chunk);
        }
        out.clear();
        put_uvarint(out, body.len() as u64);
        out.extend_from_slice(body);
        put_be_u32(out, crc32c::crc32c(body));
    }

    /// Replaces the content by the entry at `cursor`.
    pub(super) fn decode(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Malformed> {
        let mut body = checked_body(cursor)?;
        self.chunks.clear();
        decode_labels(&mut body, &mut self.labels)?;
        decode_chunks(&mut body, &mut self.chunks)
    }

    /// Replaces `labels` by those of the entry at `cursor`.
    pub(super) fn decode_labels(cursor: &mut Cursor<'_>, labels: &mut Vec<(u32, u32)>) -> Result<(), Malformed> {
        decode_labels(&mut checked_body(cursor)?, labels)
    }

    /// Replaces `chunks` by those of the entry at `cursor`.
    pub(super) fn decode_chunks_only(cursor: &mut Cursor<'_>, chunks: &mut Vec<ChunkRef>) -> Result<(), Malformed> {
        let mut body = checked_body(cursor)?;
        chunks.clear();
        for _ in 0..body.uvarint()? {
            body.uvarint32()?;
            body.uvarint32()?;
        }
        decode_chunks(&mut body, chunks)
    }
}

fn decode_labels(body: &mut Cursor<'_>, labels: &mut Vec<(u32, u32)>) -> Result<(), Malformed> {
    labels.clear();
    for _ in 0..body.uvarint()? {
        labels.push((body.uvarint32()?, body.uvarint32()?));
    }
    Ok(())
}

fn decode_chunks(body: &mut Cursor<'_>, chunks: &mut Vec<ChunkRef>) -> Result<(), Malformed> {
    let (mut end, mut reference) = (0i64, 0u64);
    for at in 0..body.uvarint()? {
        let overflow = body.malformed("chunk time overflows");
        let min_time = match at {
            0 => Some(body.varint()?),
            _ => end.checked_add_unsigned(body.uvarint()?),
        };
        let min_time = min_time.ok_or(overflow)?;
        end = min_time.checked_add_unsigned(body.uvarint()?).ok_or(overflow)?;
        reference = match at {
            0 => body.uvarint()?,
            _ => reference.wrapping_add_signed(body.varint()?),
        };
        chunks.push(ChunkRef { reference, min_time, max_time: end });
    }
    Ok(())
}

fn checked_body<'a>(cursor: &mut Cursor<'a>) -> Result<Cursor<'a>, Malformed> {
    let length = cursor.uvarint()?;
    let start = cursor.offset();
    let length = usize::try_from(length).map_err(|_| cursor.malformed("unexpected end"))?;
    let body = cursor.take(length)?;
    if cursor.be_u32()? != crc32c::crc32c(body) {
        return Err(Malformed { offset: start, problem: "checksum of the series differs" });
    }
    Ok(Cursor::new(body, start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_table_of_contents_round_trips() {
        let toc = Toc { symbols: 5, series: 100, label_indices: 7, label_offset_table: 8, ..Toc::default() };
        let mut file = b"before".to_vec();
        file.extend(toc.encode());
        assert_eq!(Toc::decode(&file), Ok(toc));
        file[10] ^= 1;
        assert_eq!(Toc::decode(&file).unwrap_err().problem, "checksum of the table of contents differs");
        assert!(Toc::decode(&[0; 51]).is_err());
    }

    proptest! {
        #[test]
        fn series_round_trip(
            labels in prop::collection::vec(any::<(u32, u32)>(), 0..5),
            first in -1_000_000i64..1_000_000,
            chunks in prop::collection::vec((0i64..1 << 40, 0i64..1 << 40, any::<u64>()), 0..5),
        ) {
            let mut end = first;
            let chunks: Vec<_> = chunks.into_iter().map(|(gap, length, reference)| {
                let min_time = end + gap;
                end = min_time + length;
                ChunkRef { reference, min_time, max_time: end }
            }).collect();
            let (mut bytes, mut entry) = (Vec::new(), SeriesEntry::default());
            SeriesEntry::encode(&labels, &chunks, &mut bytes, &mut Vec::new());
            entry.decode(&mut Cursor::new(&bytes, 0)).unwrap();
            prop_assert_eq!(entry, SeriesEntry { labels, chunks });
        }

        #[test]
        fn any_bytes_with_a_right_checksum_do_not_panic(body in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut bytes = Vec::new();
            put_uvarint(&mut bytes, body.len() as u64);
            bytes.extend_from_slice(&body);
            put_be_u32(&mut bytes, crc32c::crc32c(&body));
            let _ = SeriesEntry::default().decode(&mut Cursor::new(&bytes, 0));
        }
    }
}
