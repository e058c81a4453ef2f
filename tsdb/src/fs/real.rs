//! The operating system's files.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::{Entry, File, Fs, Lock, Map, Space};

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

impl Fs for RealFs {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        // A snapshot or a foreign block may be read-only, and most files are only read.
        let file = match fs::OpenOptions::new().read(true).write(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => fs::File::open(path)?,
            other => other?,
        };
        Ok(Arc::new(RealFile(file)))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn map(&self, path: &Path) -> io::Result<Map> {
        let file = fs::File::open(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(Map::from_vec(Vec::new()));
        }
        // SAFETY: files of the database are only appended to or replaced by rename while it holds the lock file, so the
        // mapped bytes do not change; a foreign process that truncates them breaks more than this map.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        Ok(Map::from_mmap(map))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            // A file may vanish between the listing and the question.
            let Ok(metadata) = entry.metadata() else { continue };
            let is_dir = metadata.is_dir();
            let name = entry.file_name().to_string_lossy().into_owned();
            entries.push(Entry { name, is_dir, bytes: if is_dir { 0 } else { metadata.len() } });
        }
        entries.sort_unstable();
        Ok(entries)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir_all(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        fs::File::open(dir)?.sync_all()
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
        // Not emptied first: giving up a block waits for the file system's journal, half a second while the disk is busy.
        let owner = format!("{}\n", std::process::id());
        file.write_all_at(owner.as_bytes(), 0)?;
        if file.metadata()?.len() > owner.len() as u64 {
            file.set_len(owner.len() as u64)?;
        }
        Ok(Box::new(RealLock { _file: file }))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let statistics = rustix::fs::statvfs(path)?;
        let unit = statistics.f_frsize;
        Ok(Space { total: statistics.f_blocks.saturating_mul(unit), free: statistics.f_bavail.saturating_mul(unit) })
    }
}

#[derive(Debug)]
struct RealFile(fs::File);

impl File for RealFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.metadata().map(|metadata| metadata.len())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[derive(Debug)]
struct RealLock {
    _file: fs::File,
}

impl Lock for RealLock {}
