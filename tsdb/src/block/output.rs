//! Files that are written front to back: a buffer, a position and, for what need not outlive the writer, a file only when
//! it grows large.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fs::{Context, File, Fs, FsError, Map};

/// Bytes collected before they are handed to the system.
const BUFFER_BYTES: usize = 256 * 1024;

/// A file that is written front to back.
#[derive(Debug)]
pub(crate) struct Output {
    file: Arc<dyn File>,
    path: PathBuf,
    buffer: Vec<u8>,
    /// File offset of the first byte of the buffer.
    flushed: u64,
}

impl Output {
    /// A new file at `path`, replacing what is there.
    pub(crate) fn create(fs: &dyn Fs, path: PathBuf) -> Result<Self, FsError> {
        let file = fs.create(&path).context("create", &path)?;
        Ok(Self { file, path, buffer: Vec::new(), flushed: 0 })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// File offset of the next byte.
    pub(crate) fn position(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), FsError> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    /// Zeros up to the next multiple of `alignment`.
    pub(crate) fn align(&mut self, alignment: u64) -> Result<(), FsError> {
        let target = self.position().next_multiple_of(alignment);
        let missing = usize::try_from(target - self.position()).unwrap_or(0);
        self.buffer.resize(self.buffer.len() + missing, 0);
        Ok(())
    }

    /// Replaces bytes that were written before.
    pub(crate) fn patch(&mut self, offset: u64, bytes: &[u8]) -> Result<(), FsError> {
        self.flush()?;
        self.file.write_at(offset, bytes).context("write", &self.path)
    }

    pub(crate) fn flush(&mut self) -> Result<(), FsError> {
        if !self.buffer.is_empty() {
            self.file.write_at(self.flushed, &self.buffer).context("write", &self.path)?;
            self.flushed = self.position();
            self.buffer.clear();
        }
        Ok(())
    }

    /// Writes what is left and makes it durable. Gives the length.
    pub(crate) fn finish(mut self) -> Result<u64, FsError> {
        self.flush()?;
        self.file.sync().context("sync", &self.path)?;
        Ok(self.flushed)
    }
}

/// Bytes that are needed once more, and then no longer: in memory while they are few, in a temporary file when they are
/// many.
#[derive(Debug)]
pub(crate) struct Spill {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    memory: Vec<u8>,
    memory_max: usize,
    file: Option<Output>,
}

impl Spill {
    /// The file at `path` is created when more than `memory_max` bytes were written.
    pub(crate) fn new(fs: Arc<dyn Fs>, path: PathBuf, memory_max: usize) -> Self {
        Self { fs, path, memory: Vec::new(), memory_max, file: None }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), FsError> {
        if let Some(file) = &mut self.file {
            return file.write(bytes);
        }
        self.memory.extend_from_slice(bytes);
        if self.memory.len() > self.memory_max {
            let mut file = Output::create(&*self.fs, self.path.clone())?;
            file.write(&std::mem::take(&mut self.memory))?;
            self.file = Some(file);
        }
        Ok(())
    }

    /// All that was written. The temporary file, if there is one, loses its name.
    pub(crate) fn into_map(self) -> Result<Map, FsError> {
        let Some(mut file) = self.file else {
            return Ok(Map::from_vec(self.memory));
        };
        file.flush()?;
        let map = self.fs.map(&self.path).context("map", &self.path)?;
        self.fs.remove(&self.path).context("remove", &self.path)?;
        Ok(map)
    }
}
