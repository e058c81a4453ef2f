//! Chunk segments: files that hold the chunks of a block one behind the other.
//!
//! ```text
//!  magic u32 | version u8 | 3 zeros | (uvarint length | encoding u8 | bytes | crc32c u32)*
//! ```
//!
//! Files are named `chunks/000001` and so on. The reference of a chunk has the file's number, counted from 0, in its upper 32
//! bits and the offset in the file in the lower ones. The checksum covers encoding and bytes.
//!
//! Source: `tsdb/docs/format/chunks.md`, Prometheus 3.14.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::BlockError;
use super::output::Output;
use super::wire::{Cursor, Malformed, put_be_u32, put_uvarint};
use crate::chunk::ChunkEncoding;
use crate::fs::{Context, Fs, Map};

/// The name of the folder in the block's folder.
pub(super) const CHUNKS_DIR: &str = "chunks";

/// Length that a segment does not exceed, unless a single chunk does.
pub const SEGMENT_BYTES_MAX: u64 = 512 * 1024 * 1024;

const MAGIC: u32 = 0x85BD_40DD;
const VERSION: u8 = 1;
const HEADER_BYTES: u64 = 8;
/// A uvarint length, the encoding and the checksum take at most so many bytes.
const FRAME_BYTES_MAX: u64 = 5 + 1 + 4;

/// The bytes of a chunk with their encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkBytes<'a> {
    /// How `bytes` are encoded.
    pub encoding: ChunkEncoding,
    /// The chunk.
    pub bytes: &'a [u8],
}

impl<'a> ChunkBytes<'a> {
    /// The chunk at an offset of a segment file; `path` is for the error.
    ///
    /// # Errors
    ///
    /// There is no chunk, or it is damaged.
    pub fn parse(segment: &'a [u8], offset: u64, path: &Path) -> Result<Self, BlockError> {
        read_chunk(segment, offset).map_err(BlockError::corrupt(path))
    }
}

/// Writes chunks into segments, front to back.
#[derive(Debug)]
pub(crate) struct SegmentWriter {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    bytes_max: u64,
    output: Option<Output>,
    /// How many segments were begun.
    count: u64,
    written: u64,
    frame: Vec<u8>,
}

impl SegmentWriter {
    /// Creates the folder `dir`; segments are begun as they are needed.
    pub(crate) fn create(fs: &Arc<dyn Fs>, dir: PathBuf, bytes_max: u64) -> Result<Self, BlockError> {
        fs.create_dir(&dir).context("create", &dir)?;
        let bytes_max = bytes_max.min(u32::MAX.into());
        Ok(Self { fs: Arc::clone(fs), dir, bytes_max, output: None, count: 0, written: 0, frame: Vec::new() })
    }

    /// Appends a chunk; gives its reference.
    pub(crate) fn write(&mut self, chunk: ChunkBytes<'_>) -> Result<u64, BlockError> {
        let length = chunk.bytes.len() as u64;
        let full = |output: &Output| output.position() + length + FRAME_BYTES_MAX > self.bytes_max;
        if self.output.as_ref().is_none_or(|output| full(output) && output.position() > HEADER_BYTES) {
            self.cut()?;
        }
        let Some(output) = &mut self.output else { return Ok(0) };
        let offset = output.position();
        let reference = (self.count - 1) << 32 | offset;
        self.frame.clear();
        put_uvarint(&mut self.frame, length);
        let checked = self.frame.len();
        self.frame.push(chunk.encoding.byte());
        self.frame.extend_from_slice(chunk.bytes);
        let checksum = crc32c::crc32c(self.frame.get(checked..).unwrap_or_default());
        put_be_u32(&mut self.frame, checksum);
        output.write(&self.frame)?;
        Ok(reference)
    }

    fn cut(&mut self) -> Result<(), BlockError> {
        if let Some(output) = self.output.take() {
            self.written += output.finish()?;
        }
        self.count += 1;
        let mut output = Output::create(&*self.fs, self.dir.join(format!("{:06}", self.count)))?;
        let mut header = Vec::new();
        put_be_u32(&mut header, MAGIC);
        header.extend([VERSION, 0, 0, 0]);
        output.write(&header)?;
        self.output = Some(output);
        Ok(())
    }

    /// Makes segments and folder durable; gives the bytes of all segments.
    pub(crate) fn finish(mut self) -> Result<u64, BlockError> {
        if let Some(output) = self.output.take() {
            self.written += output.finish()?;
        }
        self.fs.sync_dir(&self.dir).context("sync", &self.dir)?;
        Ok(self.written)
    }
}

/// The segments of a block, mapped.
#[derive(Debug)]
pub(crate) struct SegmentReader {
    dir: PathBuf,
    segments: Vec<(PathBuf, Map)>,
}

impl SegmentReader {
    /// Maps the segments in `dir`.
    pub(crate) fn open(fs: &dyn Fs, dir: &Path) -> Result<Self, BlockError> {
        let mut segments = Vec::new();
        for entry in fs.list(dir).context("list", dir)? {
            let path = dir.join(&entry.name);
            let expected = format!("{:06}", segments.len() + 1);
            if entry.name.parse::<u64>().is_err() {
                continue;
            }
            if entry.name != expected {
                let problem = format!("segment {expected} is missing");
                return Err(BlockError::Corrupt { path, offset: 0, problem });
            }
            let map = fs.map(&path).context("map", &path)?;
            check_header(&map, &path)?;
            segments.push((path, map));
        }
        Ok(Self { dir: dir.to_owned(), segments })
    }

    /// Bytes of all segments.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.segments.iter().map(|(_, map)| map.len() as u64).sum()
    }

    /// The chunk with a reference, its checksum compared.
    pub(crate) fn chunk(&self, reference: u64) -> Result<ChunkBytes<'_>, BlockError> {
        let number = usize::try_from(reference >> 32).unwrap_or(usize::MAX);
        let Some((path, map)) = self.segments.get(number) else {
            let problem = format!("chunk {reference:#x} lies in this segment, which is not there");
            return Err(BlockError::Corrupt { path: self.path(number), offset: 0, problem });
        };
        read_chunk(map, reference & u64::from(u32::MAX)).map_err(BlockError::corrupt(path))
    }

    /// What is wrong with a chunk, as an error with its file.
    pub(crate) fn malformed(&self, reference: u64, problem: &dyn std::fmt::Display) -> BlockError {
        let number = usize::try_from(reference >> 32).unwrap_or(usize::MAX);
        BlockError::Corrupt {
            path: self.path(number),
            offset: reference & u64::from(u32::MAX),
            problem: problem.to_string(),
        }
    }

    /// The file of a segment, be it there or not.
    fn path(&self, number: usize) -> PathBuf {
        self.dir.join(format!("{:06}", number.saturating_add(1)))
    }
}

fn check_header(map: &[u8], path: &Path) -> Result<(), BlockError> {
    let corrupt = BlockError::corrupt(path);
    let mut cursor = Cursor::new(map, 0);
    if cursor.be_u32().map_err(&corrupt)? != MAGIC {
        return Err(corrupt(Malformed { offset: 0, problem: "not a chunk segment" }));
    }
    match cursor.byte().map_err(&corrupt)? {
        VERSION => cursor.take(3).map(|_| ()).map_err(corrupt),
        version => Err(BlockError::UnknownVersion { path: path.to_owned(), version: version.into() }),
    }
}

fn read_chunk(map: &[u8], offset: u64) -> Result<ChunkBytes<'_>, Malformed> {
    if offset < HEADER_BYTES {
        return Err(Malformed { offset, problem: "chunk lies in the header" });
    }
    let mut cursor = Cursor::at(map, offset)?;
    let length = usize::try_from(cursor.uvarint()?).unwrap_or(usize::MAX);
    let checked = cursor.take(length.saturating_add(1))?;
    let Some((encoding, bytes)) = checked.split_first() else {
        return Err(cursor.malformed("unexpected end"));
    };
    if cursor.be_u32()? != crc32c::crc32c(checked) {
        return Err(Malformed { offset, problem: "checksum of the chunk differs" });
    }
    let unknown = Malformed { offset, problem: "unknown chunk encoding" };
    Ok(ChunkBytes { encoding: ChunkEncoding::from_byte(*encoding).map_err(|_| unknown)?, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::MemFs;

    fn chunk(bytes: &[u8]) -> ChunkBytes<'_> {
        ChunkBytes { encoding: ChunkEncoding::Xor, bytes }
    }

    #[test]
    fn chunks_are_found_across_segments() {
        let disk: Arc<dyn Fs> = Arc::new(MemFs::new());
        let mut writer = SegmentWriter::create(&disk, "chunks".into(), 100).unwrap();
        let contents: Vec<Vec<u8>> = (0..30u8).map(|i| vec![i; usize::from(i) * 7]).collect();
        let references: Vec<u64> = contents.iter().map(|bytes| writer.write(chunk(bytes)).unwrap()).collect();
        let written = writer.finish().unwrap();
        let reader = SegmentReader::open(&*disk, Path::new("chunks")).unwrap();
        assert_eq!(reader.file_bytes(), written);
        for (reference, bytes) in references.iter().zip(&contents) {
            assert_eq!(reader.chunk(*reference).unwrap(), chunk(bytes));
        }
        let sizes: Vec<u64> = disk.list(Path::new("chunks")).unwrap().iter().map(|entry| entry.bytes).collect();
        assert!(sizes.len() > 20 && sizes.iter().filter(|size| **size > 100).all(|size| *size < 250), "{sizes:?}");
    }

    #[test]
    fn a_missing_segment_and_a_wrong_reference_are_errors() {
        let disk: Arc<dyn Fs> = Arc::new(MemFs::new());
        let mut writer = SegmentWriter::create(&disk, "chunks".into(), 20).unwrap();
        let last = [[1u8; 9], [2; 9], [3; 9]].map(|bytes| writer.write(chunk(&bytes)).unwrap())[2];
        writer.finish().unwrap();
        let reader = SegmentReader::open(&*disk, Path::new("chunks")).unwrap();
        for wrong in [0, 7, last + 1, last + 1000, 9 << 32, u64::MAX] {
            assert!(reader.chunk(wrong).unwrap_err().is_corrupt(), "{wrong:#x}");
        }
        disk.remove(Path::new("chunks/000002")).unwrap();
        let error = SegmentReader::open(&*disk, Path::new("chunks")).unwrap_err();
        assert_eq!(error.to_string(), "chunks/000003: segment 000002 is missing at byte 0");
    }

    #[test]
    fn flipped_bits_are_noticed() {
        let disk = MemFs::new();
        let seam: Arc<dyn Fs> = Arc::new(disk.clone());
        let mut writer = SegmentWriter::create(&seam, "chunks".into(), 1000).unwrap();
        let reference = writer.write(chunk(b"some bytes")).unwrap();
        let length = writer.finish().unwrap();
        for at in 0..length as usize {
            let path = Path::new("chunks/000001");
            disk.flip(path, at, 4).unwrap();
            let read = SegmentReader::open(&disk, Path::new("chunks"));
            let result = read.and_then(|reader| reader.chunk(reference).map(|_| ()));
            assert!(result.is_err() || (5..8).contains(&at), "byte {at}");
            disk.flip(path, at, 4).unwrap();
        }
    }
}
