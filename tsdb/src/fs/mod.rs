//! Files: where do bytes live, and what survives a crash?
//!
//! Everything this crate keeps passes through [`Fs`], so that a host can put it elsewhere and tests can cut the power at
//! any write. [`RealFs`] is the operating system; [`MemFs`] is a disk in memory that loses what was not synced, tears
//! writes, fails at a chosen operation and runs out of space.
//!
//! # Rules that callers keep
//!
//! - A file is durable after [`File::sync`], its name after [`Fs::sync_dir`] of the folder that holds it.
//! - A file under a final name is never changed but by appending; replacing means writing a temporary name, `sync`,
//!   [`Fs::rename`], `sync_dir`.
//! - A [`Map`] shows the file as it was long when it was mapped; bytes below that length never change afterwards.

mod memory;
mod real;

use std::fmt;
use std::io;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

pub use memory::{Crash, MemFs};
pub use real::RealFs;

/// A file system, or a pretence of one. Paths are as the host gave them; nothing outside the database's folder is
/// touched.
pub trait Fs: Send + Sync + fmt::Debug {
    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`], or what the system says.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Creates a file, or empties the one that is there.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Makes the bytes of a file readable in place. An empty file gives an empty map.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    fn map(&self, path: &Path) -> io::Result<Map>;

    /// Renames a file or folder; an existing file at `to` is replaced in one step.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name (a hard link).
    ///
    /// # Errors
    ///
    /// What the system says; [`io::ErrorKind::AlreadyExists`] if `to` is taken.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// The entries of a folder, sorted by name.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`], or what the system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes a folder and all that is in it.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;

    /// Creates a folder and those above it that are missing.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Whether a file or folder is there.
    fn exists(&self, path: &Path) -> bool;

    /// Takes the lock file at `path`, or says who else has it. The lock ends when the handle is dropped.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if another database holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;

    /// Size of the disk that holds `path`.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn space(&self, path: &Path) -> io::Result<Space>;

    /// The whole content of a file.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(filled as u64, bytes.get_mut(filled..).unwrap_or_default())? {
                0 => break,
                read => filled += read,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Puts a whole file in place so that a crash leaves the old or the new content: temporary name (`path` plus `.tmp`),
    /// sync, rename, sync of the folder.
    ///
    /// # Errors
    ///
    /// What the system says; the old content is then still there.
    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = Path::new(&temporary);
        let file = self.create(temporary)?;
        file.write_at(0, content)?;
        file.sync()?;
        self.rename(temporary, path)?;
        self.sync_dir(path.parent().unwrap_or(Path::new("")))
    }
}

/// An open file. Handles are shared between threads; there is no cursor.
pub trait File: Send + Sync + fmt::Debug {
    /// Writes all of `bytes` at `offset`; a gap before it reads as zeros.
    ///
    /// # Errors
    ///
    /// What the system says; a part may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Reads up to `buffer.len()` bytes at `offset`; 0 at the end of the file.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Length in bytes.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn len(&self) -> io::Result<u64>;

    /// Whether there is no byte in it.
    ///
    /// # Errors
    ///
    /// As [`len`](Self::len).
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|length| length == 0)
    }

    /// Cuts the file, or fills it with zeros, to `length` bytes.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// Makes content and length durable.
    ///
    /// # Errors
    ///
    /// What the system says. The state of the unsynced bytes is then unknown: do not try again, reopen.
    fn sync(&self) -> io::Result<()>;
}

/// A held lock; dropping it gives it back.
pub trait Lock: Send + Sync + fmt::Debug {}

/// A name in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The last part of the path.
    pub name: String,
    /// Whether it is a folder.
    pub is_dir: bool,
    /// Length in bytes; 0 for folders.
    pub bytes: u64,
}

/// How large a disk is and what is free of it, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total: u64,
    /// What an ordinary user can still write.
    pub free: u64,
}

/// The bytes of a file, readable in place by any thread.
#[derive(Clone)]
pub struct Map(Arc<MapInner>);

enum MapInner {
    Mapped(memmap2::Mmap),
    Owned(Vec<u8>),
}

impl Map {
    /// A map over bytes that are in memory already.
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        Self(Arc::new(MapInner::Owned(bytes)))
    }

    fn from_mmap(map: memmap2::Mmap) -> Self {
        Self(Arc::new(MapInner::Mapped(map)))
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &*self.0 {
            MapInner::Mapped(map) => map,
            MapInner::Owned(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Map({} bytes)", self.len())
    }
}

/// An I/O error that says which operation on which path failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{operation} {path}: {source}")]
pub struct FsError {
    /// What was being done: `write`, `sync`, `rename` and so on.
    pub operation: &'static str,
    /// To which path.
    pub path: String,
    /// What the system said.
    #[source]
    pub source: Arc<io::Error>,
}

impl FsError {
    /// Whether the disk has no space left: try again when there is some.
    pub fn is_full(&self) -> bool {
        is_full(&self.source)
    }
}

/// Creates a folder; if it was not there, its name is made durable.
pub(crate) fn create_durably(fs: &dyn Fs, dir: &Path) -> Result<(), FsError> {
    if fs.exists(dir) {
        return Ok(());
    }
    fs.create_dir(dir).context("create folder", dir)?;
    let parent = dir.parent().unwrap_or(Path::new(""));
    fs.sync_dir(parent).context("sync folder", parent)
}

/// Makes what others wrote to a file durable.
pub(crate) fn sync_file(fs: &dyn Fs, path: &Path) -> Result<(), FsError> {
    fs.open(path).and_then(|file| file.sync()).context("sync", path)
}

/// Whether an error means that the disk has no space left.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

/// Adds operation and path to an [`io::Result`].
pub(crate) trait Context<T> {
    fn context(self, operation: &'static str, path: &Path) -> Result<T, FsError>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, operation: &'static str, path: &Path) -> Result<T, FsError> {
        self.map_err(|source| FsError { operation, path: path.display().to_string(), source: Arc::new(source) })
    }
}
