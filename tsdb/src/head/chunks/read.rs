//! Reading stored chunks, from the files and from what is not written yet.

use std::sync::atomic::Ordering;

use super::format::parse;
use super::{HeadChunks, StoredError};
use crate::chunk::ChunkEncoding;
use crate::fs::Map;

/// Reads the chunks of a series. Most of them lie in one file, which is looked up once.
pub(in crate::head) struct ChunkReader<'a> {
    chunks: &'a HeadChunks,
    file: Option<(u32, Map)>,
}

impl<'a> ChunkReader<'a> {
    pub(super) fn new(chunks: &'a HeadChunks) -> Self {
        Self { chunks, file: None }
    }

    /// Hands encoding and bytes of a chunk to `read`.
    pub(in crate::head) fn read<T>(
        &mut self,
        place: u64,
        read: impl FnOnce(ChunkEncoding, &[u8]) -> T,
    ) -> Result<T, StoredError> {
        let (number, offset) = ((place >> 32) as u32, place & 0xFFFF_FFFF);
        let corrupt = |problem| StoredError::Corrupt { file: number, offset, problem };
        if place >= self.chunks.written_until.load(Ordering::Acquire) {
            let writer = self.chunks.writer.lock();
            if writer.number == number && offset >= writer.written && !writer.buffer.is_empty() {
                let from = (offset - writer.written) as usize;
                let chunk = writer.buffer.get(from..).and_then(parse).ok_or_else(|| corrupt("not in the buffer"))?;
                let (encoding, data) = (chunk.encoding, chunk.data.to_vec());
                drop(writer);
                return Ok(read(encoding, &data));
            }
        }
        let rest = self.file(number, offset)?.get(offset as usize..);
        let chunk = rest.and_then(parse).ok_or_else(|| corrupt("chunk is damaged"))?;
        Ok(read(chunk.encoding, chunk.data))
    }

    /// The map of a file, which reaches beyond `offset`.
    fn file(&mut self, number: u32, offset: u64) -> Result<&Map, StoredError> {
        let known = self.file.take().filter(|(file, map)| *file == number && map.len() as u64 > offset);
        let map = match known {
            Some((_, map)) => map,
            None => self.chunks.map(number, offset)?,
        };
        Ok(&self.file.insert((number, map)).1)
    }
}
