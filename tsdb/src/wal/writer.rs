//! Writing a log: one write per commit.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{FRAGMENT_HEADER, PAGE_BYTES, segment_name};
use crate::fs::{Context, File, Fs, FsError, create_durably, sync_file};

/// How records are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WalCompression {
    /// Not at all.
    None,
    /// Snappy: cheap, and what Prometheus does.
    #[default]
    Snappy,
    /// Zstandard: denser and slower. Snappy in builds without the feature `zstd`.
    Zstd,
}

/// A log that is being written.
#[derive(Debug)]
pub struct WalWriter {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    segment_bytes: u64,
    compression: WalCompression,
    segment: Segment,
    /// Files before the segment that a process left behind when it died: they may not be durable yet.
    earlier: Vec<PathBuf>,
    /// Fragments that are not written yet, and where they belong.
    pending: Vec<u8>,
    compressor: Compressor,
    /// Bytes that were given to the log, before framing and compression.
    pub(crate) bytes_logged: u64,
    /// Bytes of records after compression.
    pub(crate) bytes_packed: u64,
    /// Bytes that went to files.
    pub(crate) bytes_written: u64,
    /// Writes, and pages that they completed.
    pub(crate) flushes: u64,
    /// Fragments of records.
    pub(crate) parts: u64,
    pub(crate) pages: u64,
}

/// Files of a log that may not be durable.
#[derive(Debug)]
pub(crate) struct Unsynced {
    earlier: Vec<PathBuf>,
    /// The folder of the log, if the names in it may not be durable.
    names: Option<PathBuf>,
    path: PathBuf,
    file: Arc<dyn File>,
}

impl Unsynced {
    /// Makes them durable, in the order of the log.
    pub(crate) fn sync(&self, fs: &dyn Fs) -> Result<(), FsError> {
        for path in &self.earlier {
            match sync_file(fs, path) {
                // A checkpoint stands for it now.
                Err(error) if error.source.kind() == ErrorKind::NotFound => {}
                synced => synced?,
            }
        }
        if let Some(dir) = &self.names {
            fs.sync_dir(dir).context("sync folder", dir)?;
        }
        self.file.sync().context("sync", &self.path)
    }
}

#[derive(Debug)]
struct Segment {
    number: u64,
    path: PathBuf,
    /// Whether its name is durable. It becomes so with the first [`sync`](WalWriter::sync): before, what is in the file may be
    /// lost as well, and on a busy disk an opening database would wait for it.
    is_named: bool,
    file: Arc<dyn File>,
    /// Where the next write goes: everything before is in the file.
    written: u64,
}

impl WalWriter {
    /// Begins a new segment, number `first`, in `dir`, which is created if it is missing.
    ///
    /// # Errors
    ///
    /// See [`FsError`].
    pub fn begin(
        fs: Arc<dyn Fs>,
        dir: &Path,
        first: u64,
        segment_bytes: u64,
        compression: WalCompression,
    ) -> Result<Self, FsError> {
        create_durably(&*fs, dir)?;
        let segment = Segment::create(&*fs, dir, first)?;
        Ok(Self {
            fs,
            dir: dir.to_owned(),
            // A segment is whole pages, as upstream has it.
            segment_bytes: (segment_bytes / PAGE_BYTES as u64).max(1) * PAGE_BYTES as u64,
            compression,
            segment,
            earlier: Vec::new(),
            pending: Vec::new(),
            compressor: Compressor { snappy: snap::raw::Encoder::new(), packed: Vec::new() },
            bytes_logged: 0,
            bytes_packed: 0,
            bytes_written: 0,
            flushes: 0,
            parts: 0,
            pages: 0,
        })
    }

    /// Says which files of the log may not be durable: they become so with the first [`sync`](Self::sync), before what comes
    /// after them. Nobody who only reads need wait for that.
    pub(crate) fn after(self, earlier: Vec<PathBuf>) -> Self {
        Self { earlier, ..self }
    }

    /// The number of the segment that is being written.
    pub fn segment(&self) -> u64 {
        self.segment.number
    }

    /// Where the next record goes in the current segment, in bytes.
    pub fn offset(&self) -> u64 {
        self.segment.written + self.pending.len() as u64
    }

    /// Adds a record to the batch. Nothing reaches the file before [`flush`](Self::flush), unless a segment is full.
    ///
    /// # Errors
    ///
    /// See [`WalError`]: a full segment could not be sealed. [`roll_back`](Self::roll_back) gives the batch up.
    pub fn add(&mut self, record: &[u8]) -> Result<(), WalError> {
        self.bytes_logged += record.len() as u64;
        let Some(flag) = self.compressor.compress(self.compression, record) else {
            return self.add_framed(0, record);
        };
        let packed = std::mem::take(&mut self.compressor.packed);
        let result = self.add_framed(flag, &packed);
        self.compressor.packed = packed;
        result
    }

    fn add_framed(&mut self, flag: u8, record: &[u8]) -> Result<(), WalError> {
        self.bytes_packed += record.len() as u64;
        if self.offset() > 0
            && framed_bytes(self.offset(), record.len()) > self.segment_bytes.saturating_sub(self.offset())
        {
            self.next_segment()?;
        }
        let mut rest = record;
        let mut first = true;
        loop {
            let in_page = (self.offset() % PAGE_BYTES as u64) as usize;
            let room = PAGE_BYTES - in_page;
            if room < FRAGMENT_HEADER {
                self.pending.resize(self.pending.len() + room, 0);
                continue;
            }
            let (part, after) = rest.split_at(rest.len().min(room - FRAGMENT_HEADER));
            let kind = match (first, after.is_empty()) {
                (true, true) => 1,
                (true, false) => 2,
                (false, false) => 3,
                (false, true) => 4,
            };
            // A page that can hold the header alone is left to the next one, unless the record is empty.
            if part.is_empty() && !rest.is_empty() {
                self.pending.resize(self.pending.len() + room, 0);
                continue;
            }
            self.parts += 1;
            self.pending.push(kind | flag);
            self.pending.extend_from_slice(&(part.len() as u16).to_be_bytes());
            self.pending.extend_from_slice(&crc32c::crc32c(part).to_be_bytes());
            self.pending.extend_from_slice(part);
            first = false;
            rest = after;
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// Writes the batch, in one write.
    ///
    /// # Errors
    ///
    /// See [`FsError`]. The batch is given up and the file is cut back to where it was, so that the log stays whole; if
    /// even that fails, [`WalError::Broken`] says that the log must not be written to any more.
    pub fn flush(&mut self) -> Result<(), WalError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let segment = &mut self.segment;
        let result = segment.file.write_at(segment.written, &self.pending).context("write", &segment.path);
        match result {
            Ok(()) => {
                let pages = |bytes: u64| bytes / PAGE_BYTES as u64;
                self.pages -= pages(segment.written);
                segment.written += self.pending.len() as u64;
                self.pages += pages(segment.written);
                self.flushes += 1;
                self.bytes_written += self.pending.len() as u64;
                self.pending.clear();
                // One large scrape should not pin its buffer for ever.
                self.pending.shrink_to(4 << 20);
                Ok(())
            }
            Err(error) => {
                self.pending.clear();
                match segment.file.set_len(segment.written) {
                    Ok(()) => Err(WalError::Refused(error)),
                    Err(_) => Err(WalError::Broken(error)),
                }
            }
        }
    }

    /// Bytes that wait for [`flush`](Self::flush).
    pub(crate) fn pending_bytes(&self) -> u64 {
        self.pending.len() as u64
    }

    /// Where the log ends now: what [`roll_back`](Self::roll_back) goes back to.
    pub fn mark(&self) -> Mark {
        Mark { segment: self.segment.number, written: self.segment.written }
    }

    /// Gives up everything that was added since the mark, also what is in files already.
    ///
    /// # Errors
    ///
    /// A file could not be cut back: the log may end in a part of the batch, and must not be written to any more.
    pub fn roll_back(&mut self, mark: Mark) -> Result<(), FsError> {
        self.pending.clear();
        if self.mark() == mark {
            return Ok(());
        }
        if self.segment.number > mark.segment {
            let path = self.dir.join(segment_name(mark.segment));
            let file = self.fs.open(&path).context("open", &path)?;
            for number in (mark.segment + 1..=self.segment.number).rev() {
                let path = self.dir.join(segment_name(number));
                self.fs.remove(&path).context("remove", &path)?;
            }
            // It was synced before the next one was begun.
            self.segment = Segment { number: mark.segment, path, is_named: true, file, written: mark.written };
        }
        self.segment.written = mark.written;
        self.segment.file.set_len(mark.written).context("cut", &self.segment.path)
    }

    /// Makes everything that was flushed durable.
    ///
    /// # Errors
    ///
    /// See [`FsError`]; what is durable is then unknown, and the log must not be written to any more.
    pub fn sync(&mut self) -> Result<(), FsError> {
        let unsynced = self.unsynced();
        unsynced.sync(&*self.fs)?;
        self.note_synced(&unsynced);
        Ok(())
    }

    /// What [`sync`](Self::sync) makes durable, to do it without holding the writer. When it is done, the writer is
    /// [told](Self::note_synced).
    pub(crate) fn unsynced(&self) -> Unsynced {
        let Segment { path, file, is_named, .. } = &self.segment;
        let names = (!is_named).then(|| self.dir.clone());
        Unsynced { earlier: self.earlier.clone(), names, path: path.clone(), file: Arc::clone(file) }
    }

    /// Files were made durable; another segment may have been begun since they were named.
    pub(crate) fn note_synced(&mut self, synced: &Unsynced) {
        self.earlier.clear();
        self.segment.is_named |= Arc::ptr_eq(&self.segment.file, &synced.file);
    }

    /// Seals the current segment (fills its last page, makes it durable) and begins the next one. Gives its number.
    ///
    /// # Errors
    ///
    /// See [`WalError`]. If it is only refused, the old segment goes on where it was.
    pub fn next_segment(&mut self) -> Result<u64, WalError> {
        let next = Segment::create(&*self.fs, &self.dir, self.segment.number + 1).map_err(WalError::Refused)?;
        let in_page = (self.offset() % PAGE_BYTES as u64) as usize;
        if in_page > 0 {
            self.pending.resize(self.pending.len() + PAGE_BYTES - in_page, 0);
        }
        let path = &self.segment.path;
        if let Err(error) = self.segment.file.write_at(self.segment.written, &self.pending).context("write", path) {
            self.pending.clear();
            // The new segment is not needed: the old one goes on where it was, if it can be cut back.
            let cut = self.segment.file.set_len(self.segment.written).and_then(|()| self.fs.remove(&next.path));
            return Err(if cut.is_ok() { WalError::Refused(error) } else { WalError::Broken(error) });
        }
        self.sync().map_err(WalError::Broken)?;
        self.bytes_written += self.pending.len() as u64;
        self.pending.clear();
        self.segment = next;
        Ok(self.segment.number)
    }
}

/// A place in a log where a batch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    segment: u64,
    written: u64,
}

/// Why a batch was not written.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalError {
    /// Nothing of it is in the log; the log is as it was.
    #[error(transparent)]
    Refused(FsError),
    /// The log may end in a part of it, and must not be written to any more.
    #[error(transparent)]
    Broken(FsError),
}

impl WalError {
    /// What the file system said, where it does not matter how the log is left.
    pub(crate) fn into_inner(self) -> FsError {
        match self {
            Self::Refused(error) | Self::Broken(error) => error,
        }
    }
}

impl Segment {
    fn create(fs: &dyn Fs, dir: &Path, number: u64) -> Result<Self, FsError> {
        let path = dir.join(segment_name(number));
        let file = fs.create(&path).context("create", &path)?;
        Ok(Self { number, path, is_named: false, file, written: 0 })
    }
}

/// How many bytes a record takes from `offset` on, with headers and what is left empty at the ends of pages.
fn framed_bytes(offset: u64, record: usize) -> u64 {
    let page = PAGE_BYTES as u64;
    let (payload, header) = (page - FRAGMENT_HEADER as u64, FRAGMENT_HEADER as u64);
    let room = page - offset % page;
    let here = room.saturating_sub(header);
    let record = record as u64;
    if record <= here && room >= header {
        return record + header;
    }
    let rest = record - here.min(record);
    room + rest.div_ceil(payload) * header + rest
}

/// Buffers for compression, kept from record to record.
struct Compressor {
    snappy: snap::raw::Encoder,
    packed: Vec<u8>,
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Compressor")
    }
}

impl Compressor {
    /// Fills `packed` and returns the flag, if that is smaller.
    fn compress(&mut self, how: WalCompression, record: &[u8]) -> Option<u8> {
        let flag = match how {
            WalCompression::None => return None,
            #[cfg(feature = "zstd")]
            WalCompression::Zstd => {
                self.packed = zstd::bulk::compress(record, 0).ok()?;
                0x10
            }
            _ => {
                self.packed.resize(snap::raw::max_compress_len(record.len()), 0);
                let length = self.snappy.compress(record, &mut self.packed).ok()?;
                self.packed.truncate(length);
                0x08
            }
        };
        (self.packed.len() < record.len()).then_some(flag)
    }
}
