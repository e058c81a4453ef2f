//! Reading a log, and cutting off what is damaged.

use std::path::{Path, PathBuf};

use super::{FRAGMENT_HEADER, PAGE_BYTES, segments};
use crate::fs::{Context, Fs, FsError, Map};

/// Walks the records of some segments.
#[derive(Debug)]
pub struct WalReader {
    segments: std::vec::IntoIter<(u64, PathBuf)>,
    current: Option<Current>,
    /// The fragments of a record, put together.
    joined: Vec<u8>,
    /// The record, unpacked, and what is left of longer ones behind it.
    record: Vec<u8>,
    snappy: snap::raw::Decoder,
    bytes_read: u64,
}

#[derive(Debug)]
struct Current {
    number: u64,
    path: PathBuf,
    map: Map,
    next: usize,
}

/// Where a log is damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is damaged at offset {offset}: {problem}", path.display())]
pub struct Corruption {
    /// The segment's number.
    pub segment: u64,
    /// The segment's file.
    pub path: PathBuf,
    /// Where the last good record of the segment ends, in bytes.
    pub offset: u64,
    /// What is wrong behind it.
    pub problem: &'static str,
}

/// Why the next record cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A file could not be read.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The bytes are damaged; [`repair`] can cut them off.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
}

/// The longest record that is believed: a damaged length must not exhaust memory.
const RECORD_BYTES_MAX: usize = 1 << 30;

impl WalReader {
    /// Reads the segments of `dir` from number `first` on.
    ///
    /// # Errors
    ///
    /// See [`FsError`].
    pub fn open(fs: &dyn Fs, dir: &Path, first: u64) -> Result<Self, FsError> {
        let mut found = segments(fs, dir)?;
        found.retain(|(number, _)| *number >= first);
        Ok(Self::over(found))
    }

    pub(crate) fn over(segments: Vec<(u64, PathBuf)>) -> Self {
        Self {
            segments: segments.into_iter(),
            current: None,
            joined: Vec::new(),
            record: Vec::new(),
            snappy: snap::raw::Decoder::new(),
            bytes_read: 0,
        }
    }

    /// Whether there is no segment left to read.
    pub(crate) fn is_empty(&self) -> bool {
        self.current.is_none() && self.segments.as_slice().is_empty()
    }

    /// The segment that the last record came from.
    pub fn segment(&self) -> Option<u64> {
        self.current.as_ref().map(|current| current.number)
    }

    /// Bytes of segments that have been read.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read + self.current.as_ref().map_or(0, |current| current.next as u64)
    }

    /// Skips to `offset` in the first segment, where a record must begin.
    ///
    /// # Errors
    ///
    /// See [`FsError`].
    pub fn skip_to(&mut self, fs: &dyn Fs, offset: u64) -> Result<(), FsError> {
        self.advance(fs)?;
        if let Some(current) = &mut self.current {
            current.next = usize::try_from(offset).unwrap_or(usize::MAX).min(current.map.len());
        }
        Ok(())
    }

    fn advance(&mut self, fs: &dyn Fs) -> Result<bool, FsError> {
        self.bytes_read = self.bytes_read();
        self.current = None;
        let Some((number, path)) = self.segments.next() else { return Ok(false) };
        let map = fs.map(&path).context("map", &path)?;
        self.current = Some(Current { number, path, map, next: 0 });
        Ok(true)
    }

    /// The next record, unpacked; `None` at the end of the log.
    ///
    /// # Errors
    ///
    /// See [`ReadError`]. After damage the reader is at its end.
    pub fn next(&mut self, fs: &dyn Fs) -> Result<Option<&[u8]>, ReadError> {
        loop {
            if self.current.is_none() && !self.advance(fs)? {
                return Ok(None);
            }
            let Some(current) = &mut self.current else { return Ok(None) };
            let start = current.next;
            let read = read_record(&current.map, &mut current.next, &mut self.joined);
            let unpacked = read.and_then(|record| match record {
                Some((flag, record)) => unpack(flag, record, &mut self.record, &mut self.snappy).map(Some),
                None => Ok(None),
            });
            match unpacked {
                Ok(Some(length)) => return Ok(self.record.get(..length)),
                Ok(None) => {
                    if !self.advance(fs)? {
                        return Ok(None);
                    }
                }
                Err(problem) => {
                    let (segment, path) = (current.number, std::mem::take(&mut current.path));
                    self.current = None;
                    self.segments = Vec::new().into_iter();
                    return Err(Corruption { segment, path, offset: start as u64, problem }.into());
                }
            }
        }
    }
}

/// The next record of a segment with its compression flags; `None` at the end. Fragments are put together in `joined`.
fn read_record<'a>(
    segment: &'a [u8],
    next: &mut usize,
    joined: &'a mut Vec<u8>,
) -> Result<Option<(u8, &'a [u8])>, &'static str> {
    joined.clear();
    let mut inside = false;
    loop {
        let room = PAGE_BYTES - *next % PAGE_BYTES;
        let Some(&header) = segment.get(*next) else {
            return if inside { Err("the log ends inside a record") } else { Ok(None) };
        };
        if header & 0x07 == 0 || room < FRAGMENT_HEADER {
            // The rest of a page is zeros, as far as the file goes.
            let end = (*next + room).min(segment.len());
            let zeros = segment.get(*next..end).is_some_and(|rest| rest.iter().all(|byte| *byte == 0));
            if !zeros {
                return Err("unused page bytes are not zero");
            }
            *next = end;
            continue;
        }
        let Some(head) = segment.get(*next..*next + FRAGMENT_HEADER).and_then(|head| head.first_chunk::<7>()) else {
            return Err("the log ends inside a fragment header");
        };
        let [kind, length_high, length_low, crc @ ..] = *head;
        let length = usize::from(u16::from_be_bytes([length_high, length_low]));
        if length + FRAGMENT_HEADER > room {
            return Err("a fragment is longer than its page");
        }
        let from = *next + FRAGMENT_HEADER;
        let Some(data) = segment.get(from..from + length) else { return Err("the log ends inside a fragment") };
        if crc32c::crc32c(data) != u32::from_be_bytes(crc) {
            return Err("checksum mismatch");
        }
        match (kind & 0x07, inside) {
            (1 | 2, false) | (3 | 4, true) => {}
            (1 | 2, true) => return Err("a record begins inside another"),
            (3 | 4, false) => return Err("a record has no beginning"),
            _ => return Err("unknown fragment type"),
        }
        if joined.len() + length > RECORD_BYTES_MAX {
            return Err("a record is too long");
        }
        *next = from + length;
        if kind & 0x07 == 1 {
            return Ok(Some((kind & 0x18, data)));
        }
        joined.extend_from_slice(data);
        if kind & 0x07 == 4 {
            return Ok(Some((kind & 0x18, joined)));
        }
        inside = true;
    }
}

/// Unpacks a record to the beginning of `out`, which keeps its length if it is longer. Gives the record's length.
fn unpack(flag: u8, record: &[u8], out: &mut Vec<u8>, snappy: &mut snap::raw::Decoder) -> Result<usize, &'static str> {
    let length = match flag {
        0 => record.len(),
        0x08 => snap::raw::decompress_len(record).map_err(|_| "snappy length")?,
        #[cfg(feature = "zstd")]
        0x10 => {
            *out = zstd::bulk::decompress(record, RECORD_BYTES_MAX >> 3).map_err(|_| "zstd data")?;
            return Ok(out.len());
        }
        _ => return Err("unknown compression"),
    };
    // Snappy cannot expand by more than this: a wrong length must not allocate.
    if length > RECORD_BYTES_MAX.min(record.len().saturating_mul(64) + 64) {
        return Err("snappy length");
    }
    if out.len() < length {
        out.resize(length, 0);
    }
    let place = out.get_mut(..length).unwrap_or_default();
    match flag {
        0 => place.copy_from_slice(record),
        _ => {
            snappy.decompress(record, place).map_err(|_| "snappy data")?;
        }
    }
    Ok(length)
}

/// What [`repair`] cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Bytes behind the last good record, in all segments.
    pub bytes: u64,
    /// Segments that were removed as a whole.
    pub segments: u64,
}

/// Cuts a damaged log at its last good record and removes the segments after it.
///
/// # Errors
///
/// See [`FsError`].
pub fn repair(fs: &dyn Fs, dir: &Path, damage: &Corruption) -> Result<Lost, FsError> {
    let mut lost = Lost::default();
    for (number, path) in segments(fs, dir)?.into_iter().rev() {
        if number < damage.segment {
            break;
        }
        let file = fs.open(&path).context("open", &path)?;
        let length = file.len().context("measure", &path)?;
        if number > damage.segment {
            fs.remove(&path).context("remove", &path)?;
            lost.segments += 1;
            lost.bytes += length;
        } else {
            lost.bytes += length.saturating_sub(damage.offset);
            file.set_len(damage.offset).context("cut", &path)?;
            file.sync().context("sync", &path)?;
        }
    }
    fs.sync_dir(dir).context("sync folder", dir)?;
    Ok(lost)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fs::{Crash, MemFs};
    use crate::wal::writer::{WalCompression, WalWriter};

    fn records(count: usize) -> Vec<Vec<u8>> {
        let record = |i: usize| {
            let random = (0..(i * 7919) % 90_000).map(move |j| ((i * 31 + j * j) >> (i % 3)) as u8);
            if i.is_multiple_of(2) { random.collect() } else { vec![7; (i * 104_729) % 70_000] }
        };
        (0..count).map(record).collect()
    }

    fn write(fs: &MemFs, compression: WalCompression, records: &[Vec<u8>]) {
        let mut wal = WalWriter::begin(Arc::new(fs.clone()), Path::new("wal"), 0, 4 * 32768, compression).unwrap();
        for record in records {
            wal.add(record).unwrap();
            wal.flush().unwrap();
        }
        wal.sync().unwrap();
    }

    fn read(fs: &MemFs) -> (Vec<Vec<u8>>, Option<Corruption>) {
        let mut reader = WalReader::open(fs, Path::new("wal"), 0).unwrap();
        let mut records = Vec::new();
        loop {
            match reader.next(fs) {
                Ok(Some(record)) => records.push(record.to_vec()),
                Ok(None) => return (records, None),
                Err(ReadError::Corrupt(corruption)) => return (records, Some(corruption)),
                Err(error) => unreachable!("{error}"),
            }
        }
    }

    #[test]
    fn records_come_back_through_pages_and_segments() {
        let records = records(60);
        for compression in [WalCompression::None, WalCompression::Snappy, WalCompression::Zstd] {
            let fs = MemFs::new();
            write(&fs, compression, &records);
            let files = segments(&fs, Path::new("wal")).unwrap().len();
            assert!(files > 1 || compression != WalCompression::None);
            let (back, damage) = read(&fs);
            assert_eq!(damage, None);
            assert!(back == records);
        }
    }

    #[test]
    fn any_flipped_byte_costs_what_follows_and_nothing_before() {
        let records = records(12);
        let clean = MemFs::new();
        write(&clean, WalCompression::None, &records);
        let files = segments(&clean, Path::new("wal")).unwrap();
        for (_, path) in files {
            let length = clean.open(&path).unwrap().len().unwrap() as usize;
            for offset in (0..length).step_by(911) {
                let fs = MemFs::new();
                write(&fs, WalCompression::None, &records);
                fs.flip(&path, offset, 0x41).unwrap();
                let (intact, damage) = read(&fs);
                assert_eq!(intact, records[..intact.len()]);
                if let Some(damage) = damage {
                    let lost = repair(&fs, Path::new("wal"), &damage).unwrap();
                    assert!(lost.bytes > 0);
                    assert_eq!(read(&fs), (intact, None));
                } else {
                    assert_eq!(intact.len(), records.len(), "only a flip in unused bytes may pass");
                }
            }
        }
    }

    #[test]
    fn what_was_synced_survives_a_power_cut() {
        let records = records(30);
        for seed in 0..30 {
            let fs = MemFs::new();
            let mut wal =
                WalWriter::begin(Arc::new(fs.clone()), Path::new("wal"), 0, 1 << 20, WalCompression::Snappy).unwrap();
            fs.sync_dir(Path::new("")).unwrap();
            let mut synced = 0;
            for (i, record) in records.iter().enumerate() {
                wal.add(record).unwrap();
                wal.flush().unwrap();
                if i as u64 % 7 == seed % 7 {
                    wal.sync().unwrap();
                    synced = i + 1;
                }
            }
            fs.crash(Crash::PowerLoss { seed });
            let (back, _) = read(&fs);
            assert!(back.len() >= synced, "{} of {synced}", back.len());
            assert_eq!(back, records[..back.len()]);
        }
    }

    #[test]
    fn the_name_of_a_segment_that_was_begun_during_a_sync_is_durable_with_the_next_one() {
        for seed in 0..10 {
            let fs = MemFs::new();
            let mut wal =
                WalWriter::begin(Arc::new(fs.clone()), Path::new("wal"), 0, 1 << 20, WalCompression::None).unwrap();
            wal.add(&[1; 100]).unwrap();
            wal.flush().unwrap();
            wal.sync().unwrap();
            let unsynced = wal.unsynced();
            unsynced.sync(&fs).unwrap();
            wal.next_segment().unwrap();
            wal.note_synced(&unsynced);
            wal.add(&[2; 100]).unwrap();
            wal.flush().unwrap();
            wal.sync().unwrap();
            fs.crash(Crash::PowerLoss { seed });
            assert_eq!(read(&fs), (vec![vec![1; 100], vec![2; 100]], None));
        }
    }

    #[test]
    fn a_full_disk_leaves_the_log_as_it_was() {
        let fs = MemFs::new();
        let mut wal =
            WalWriter::begin(Arc::new(fs.clone()), Path::new("wal"), 0, 1 << 20, WalCompression::None).unwrap();
        wal.add(&[1; 100]).unwrap();
        wal.flush().unwrap();
        fs.limit_space(150);
        wal.add(&[2; 100]).unwrap();
        assert!(wal.flush().is_err());
        fs.limit_space(1000);
        wal.add(&[3; 100]).unwrap();
        wal.flush().unwrap();
        assert_eq!(read(&fs), (vec![vec![1; 100], vec![3; 100]], None));
    }
}
