//! The head chunk files: full chunks leave the heap at once and are read from the map.
//!
//! What is in these files is also in the log until a block has it, so the file that is being written is not synced; after
//! a crash, whatever of them is whole spares replay the work of encoding it again.
//!
//! Replay passes over what a series' newest chunk makes old, so chunks may be missing at the end, never in the middle: a
//! file is begun when the one before it is durable, and what is not believed any more goes from the last file on. What no
//! series needs goes from the first file on.

mod format;
mod read;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::chunk::ChunkEncoding;
use crate::fs::{Context, File, Fs, FsError, Map};
pub(super) use format::StoredChunk;
use format::{MAGIC, walk};
pub(super) use read::ChunkReader;

/// From here on the next round of maintenance ends a file.
const FILE_BYTES: u64 = 128 * 1024 * 1024;
/// A file ends here even if that makes whoever stores a chunk wait for the disk.
const FILE_BYTES_MAX: u64 = 4 * FILE_BYTES;
/// Written at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// All head chunk files.
#[derive(Debug)]
pub(super) struct HeadChunks {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    writer: Mutex<Writer>,
    /// What lies before this place is in a file: it is read without asking the writer.
    written_until: AtomicU64,
    maps: RwLock<BTreeMap<u32, Mapped>>,
    pub(super) write_errors: AtomicU64,
}

#[derive(Debug)]
struct Mapped {
    path: PathBuf,
    map: Option<Map>,
}

#[derive(Debug, Default)]
struct Writer {
    /// The file that is open, if any was needed yet.
    file: Option<Arc<dyn File>>,
    /// The finished file before it, as long as it is not durable: until then the open one is in memory only.
    behind: Option<Arc<dyn File>>,
    number: u32,
    /// How much of the file is written, and what follows.
    written: u64,
    buffer: Vec<u8>,
}

/// Why a stored chunk cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum StoredError {
    #[error(transparent)]
    Fs(#[from] FsError),
    #[error("head chunk {file:06} at offset {offset}: {problem}")]
    Corrupt { file: u32, offset: u64, problem: &'static str },
}

/// What the files were found like.
pub(super) struct Loaded {
    /// Files that a crash does not leave behind like this.
    pub(super) damaged: u64,
    /// Whether nothing was cut off, not even what a crash leaves half-written.
    pub(super) are_whole: bool,
}

impl HeadChunks {
    /// Takes the files of a folder as they are; [`load`](Self::load) says what is in them.
    pub(super) fn open(fs: Arc<dyn Fs>, dir: &Path) -> Result<Self, FsError> {
        fs.create_dir(dir).context("create folder", dir)?;
        let mut maps = BTreeMap::new();
        for entry in fs.list(dir).context("list", dir)? {
            if let Ok(number) = entry.name.parse::<u32>() {
                maps.insert(number, Mapped { path: dir.join(&entry.name), map: None });
            }
        }
        let number = maps.keys().last().copied().unwrap_or(0);
        let writer = Mutex::new(Writer { number, ..Writer::default() });
        Ok(Self {
            fs,
            dir: dir.to_owned(),
            writer,
            written_until: AtomicU64::new((u64::from(number) + 1) << 32),
            maps: RwLock::new(maps),
            write_errors: AtomicU64::new(0),
        })
    }

    /// Hands out every whole chunk, in the order they were written. From the first damage on, chunks are not believed:
    /// the damaged file's rest and all later files are removed; the log still has what was in them.
    pub(super) fn load(&self, mut each: impl FnMut(StoredChunk)) -> Result<Loaded, FsError> {
        let numbers: Vec<u32> = self.maps.read().keys().copied().collect();
        let (mut damaged, mut gone, mut cut) = (0, Vec::new(), Vec::new());
        let mut are_whole = true;
        for (at, &number) in numbers.iter().enumerate() {
            if damaged > 0 {
                gone.push(number);
                continue;
            }
            let path = self.dir.join(file_name(number));
            let is_last = at + 1 == numbers.len();
            let map = self.fs.map(&path).context("map", &path)?;
            let end = walk(&map, number, &mut each);
            let clean = end == map.len() || map.get(end..).is_some_and(|rest| rest.iter().all(|byte| *byte == 0));
            damaged += u64::from(!is_last && (end == 0 || !clean));
            are_whole &= clean && (end > 0 || map.is_empty());
            if end == 0 {
                // Not even a header: a file that was just created when the power went.
                damaged += u64::from(is_last && !clean);
                gone.push(number);
            } else if end < map.len() || is_last {
                cut.push((path, end));
            }
        }
        if !gone.is_empty() {
            gone.into_iter().rev().try_for_each(|number| self.forget(number))?;
            self.fs.sync_dir(&self.dir).context("sync folder", &self.dir)?;
        }
        for (path, end) in cut {
            let file = self.fs.open(&path).context("open", &path)?;
            file.set_len(end as u64).context("cut", &path)?;
            file.sync().context("sync", &path)?;
        }
        Ok(Loaded { damaged, are_whole })
    }

    fn forget(&self, number: u32) -> Result<(), FsError> {
        if let Some(mapped) = self.maps.write().remove(&number) {
            self.fs.remove(&mapped.path).context("remove", &mapped.path)?;
        }
        Ok(())
    }

    /// Stores a chunk and says where. The bytes may stay in memory for a while: what cannot be written now is tried again
    /// with the next chunk, and is readable meanwhile.
    pub(super) fn store(
        &self,
        series: u32,
        encoding: ChunkEncoding,
        times: (i64, i64),
        late: bool,
        bytes: &[u8],
    ) -> u64 {
        let mut writer = self.writer.lock();
        let header = writer.buffer.is_empty() && writer.written == 0;
        if header || writer.written + writer.buffer.len() as u64 > FILE_BYTES_MAX {
            self.next_file(&mut writer);
        }
        let place = u64::from(writer.number) << 32 | (writer.written + writer.buffer.len() as u64);
        format::put(&mut writer.buffer, u64::from(series), encoding, times, late, bytes);
        if writer.buffer.len() >= BUFFER_BYTES {
            self.write_out(&mut writer);
        }
        place
    }

    /// Begins a new file if this one is long.
    pub(super) fn cut_if_full(&self) {
        let is_full = self.writer.lock().written >= FILE_BYTES;
        if is_full {
            self.cut();
        } else {
            self.settle();
        }
    }

    /// Begins a new file with the next chunk, so that this one can be deleted once it is old. Nobody who stores a chunk waits
    /// for the disk: what is stored meanwhile goes on in the old file, and then, for a moment, stays in memory.
    pub(super) fn cut(&self) {
        if !self.settle() {
            return;
        }
        let file = {
            let mut writer = self.writer.lock();
            self.write_out(&mut writer);
            writer.file.clone()
        };
        if !file.is_none_or(|file| self.make_durable(&*file)) {
            return;
        }
        let mut writer = self.writer.lock();
        self.write_out(&mut writer);
        if writer.buffer.is_empty() {
            writer.behind = writer.file.take();
            writer.written = 0;
            drop(writer);
            self.settle();
        }
    }

    /// Makes the finished file durable, if there is one that is not, and writes what waited for it. False: it cannot be.
    fn settle(&self) -> bool {
        let Some(file) = self.writer.lock().behind.clone() else { return true };
        if !self.make_durable(&*file) {
            return false;
        }
        let mut writer = self.writer.lock();
        writer.behind = None;
        self.write_out(&mut writer);
        true
    }

    fn make_durable(&self, file: &dyn File) -> bool {
        let synced = file.sync().and_then(|()| self.fs.sync_dir(&self.dir));
        if let Err(error) = &synced {
            self.write_errors.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%error, "no new file of head chunks is begun");
        }
        synced.is_ok()
    }

    /// Makes the file durable that is being written, and takes it off the writer's hands. False: it cannot be, so that no
    /// other may be begun.
    fn finish(&self, writer: &mut Writer) -> bool {
        let is_durable = writer.file.as_ref().is_none_or(|file| self.make_durable(&**file));
        if is_durable {
            writer.file = None;
        }
        is_durable
    }

    /// Writes what is still in memory.
    pub(super) fn flush(&self) {
        self.settle();
        self.write_out(&mut self.writer.lock());
    }

    /// Makes everything that was stored durable. False: some of it is still in memory, because the disk is full.
    pub(super) fn sync(&self) -> Result<bool, FsError> {
        self.settle();
        let mut writer = self.writer.lock();
        self.write_out(&mut writer);
        let is_written = writer.buffer.is_empty();
        drop(writer);
        for Mapped { path, .. } in self.maps.read().values() {
            if self.fs.exists(path) {
                self.fs.open(path).and_then(|file| file.sync()).context("sync", path)?;
            }
        }
        self.fs.sync_dir(&self.dir).context("sync folder", &self.dir)?;
        Ok(is_written)
    }

    /// Lets new files have higher numbers than `number`: something still speaks of a file with that number.
    pub(super) fn number_after(&self, number: u32) {
        let mut writer = self.writer.lock();
        if writer.file.is_none() && writer.buffer.is_empty() {
            writer.number = writer.number.max(number);
        }
    }

    fn next_file(&self, writer: &mut Writer) {
        self.write_out(writer);
        if !writer.buffer.is_empty() || !self.finish(writer) {
            // The disk is full, or refuses: go on in the same file, perhaps in memory.
            return;
        }
        writer.written = 0;
        writer.number += 1;
        writer.buffer.extend_from_slice(&MAGIC);
        let path = self.dir.join(file_name(writer.number));
        self.maps.write().insert(writer.number, Mapped { path, map: None });
    }

    fn write_out(&self, writer: &mut Writer) {
        if writer.buffer.is_empty() || writer.behind.is_some() {
            return;
        }
        let write = |writer: &mut Writer| {
            let file = match &writer.file {
                Some(file) => file,
                None => writer.file.insert(self.fs.create(&self.dir.join(file_name(writer.number)))?),
            };
            file.write_at(writer.written, &writer.buffer)
        };
        match write(writer) {
            Ok(()) => {
                writer.written += writer.buffer.len() as u64;
                writer.buffer.clear();
                self.written_until.store(u64::from(writer.number) << 32 | writer.written, Ordering::Release);
            }
            Err(error) => {
                self.write_errors.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%error, "head chunks stay in memory");
            }
        }
    }

    /// Reads stored chunks.
    pub(super) fn reader(&self) -> ChunkReader<'_> {
        ChunkReader::new(self)
    }

    /// A map of the file that reaches beyond `offset`.
    fn map(&self, number: u32, offset: u64) -> Result<Map, StoredError> {
        if let Some(map) = self.maps.read().get(&number).and_then(|mapped| mapped.map.as_ref())
            && map.len() as u64 > offset
        {
            return Ok(map.clone());
        }
        let mut maps = self.maps.write();
        let Some(mapped) = maps.get_mut(&number) else {
            return Err(StoredError::Corrupt { file: number, offset, problem: "the file is gone" });
        };
        let map = self.fs.map(&mapped.path).context("map", &mapped.path)?;
        mapped.map = Some(map.clone());
        Ok(map)
    }

    /// Deletes the files before number `keep`, the first one that is still needed, but never the one that is being written.
    pub(super) fn truncate(&self, keep: u32) -> Result<(), FsError> {
        let current = self.writer.lock().number;
        loop {
            let first = self.maps.read().first_key_value().map(|(number, mapped)| (*number, mapped.path.clone()));
            let Some((number, path)) = first.filter(|(number, _)| *number < current.min(keep)) else { return Ok(()) };
            if self.fs.exists(&path) {
                self.fs.remove(&path).context("remove", &path)?;
            }
            self.maps.write().remove(&number);
        }
    }

    /// Bytes of all files.
    pub(super) fn disk_bytes(&self) -> u64 {
        let listed = self.fs.list(&self.dir).unwrap_or_default();
        listed.iter().map(|entry| entry.bytes).sum()
    }
}

fn file_name(number: u32) -> String {
    format!("{number:06}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::fs::{Crash, MemFs};

    #[test]
    fn chunks_are_read_from_memory_and_from_the_file() {
        let fs = Arc::new(MemFs::new());
        let chunks = HeadChunks::open(fs.clone(), Path::new("c")).unwrap();
        let stored: Vec<_> = (0..3000u32)
            .map(|i| {
                (chunks.store(i, ChunkEncoding::Xor, (i64::from(i), i64::from(i) + 1), i % 5 == 0, &[i as u8; 200]), i)
            })
            .collect();
        for &(place, i) in &stored {
            chunks
                .reader()
                .read(place, |encoding, data| {
                    assert_eq!((encoding, data), (ChunkEncoding::Xor, [i as u8; 200].as_slice()))
                })
                .unwrap();
        }
        chunks.flush();
        drop(chunks);
        let chunks = HeadChunks::open(fs, Path::new("c")).unwrap();
        let mut found = Vec::new();
        assert_eq!(chunks.load(|chunk| found.push(chunk)).unwrap().damaged, 0);
        assert_eq!(found.iter().map(|chunk| (chunk.place, chunk.series as u32)).collect::<Vec<_>>(), stored);
        assert!(found.iter().all(|chunk| chunk.late == (chunk.series % 5 == 0)));
        let place = chunks.store(9, ChunkEncoding::Xor, (0, 1), false, &[1]);
        assert_eq!(place >> 32, 2, "a new run begins a new file");
        chunks.truncate(u32::MAX).unwrap();
        assert!(chunks.reader().read(stored[0].0, |_, _| ()).is_err());
        assert!(chunks.reader().read(place, |_, _| ()).is_ok());
    }

    #[test]
    fn a_torn_last_file_keeps_its_whole_chunks() {
        let fs = Arc::new(MemFs::new());
        let chunks = HeadChunks::open(fs.clone(), Path::new("c")).unwrap();
        for i in 0..10 {
            chunks.store(i, ChunkEncoding::Xor, (0, 1), false, &[1; 50]);
        }
        chunks.flush();
        let path = Path::new("c/000001");
        let length = fs.read(path).unwrap().len();
        fs.open(path).unwrap().set_len(length as u64 - 3).unwrap();
        let chunks = HeadChunks::open(fs, Path::new("c")).unwrap();
        let mut found = 0;
        assert_eq!(chunks.load(|_| found += 1).unwrap().damaged, 0);
        assert_eq!(found, 9);
    }

    /// Three files with a chunk each, all durable.
    fn three_files(fs: &MemFs) -> Arc<MemFs> {
        let chunks = HeadChunks::open(Arc::new(fs.session()), Path::new("c")).unwrap();
        for i in 0..3 {
            chunks.store(1, ChunkEncoding::Xor, (i, i), false, &[1; 50]);
            chunks.cut();
        }
        fs.sync_dir(Path::new("")).unwrap();
        Arc::new(fs.session())
    }

    fn loaded(fs: Arc<MemFs>) -> (u64, Vec<i64>) {
        let mut times = Vec::new();
        let chunks = HeadChunks::open(fs, Path::new("c")).unwrap();
        let files = chunks.load(|chunk| times.push(chunk.min_time)).unwrap();
        (files.damaged, times)
    }

    #[test]
    fn files_behind_a_damaged_one_do_not_come_back() {
        for (damaged, offset, left) in [("c/000001", 0, vec![]), ("c/000001", 20, vec![]), ("c/000002", 20, vec![0])] {
            let disk = MemFs::new();
            let fs = three_files(&disk);
            fs.flip(Path::new(damaged), offset, 1).unwrap();
            assert_eq!(loaded(fs), (1, left.clone()));
            disk.crash(Crash::PowerLossKeepNothing);
            assert_eq!(loaded(Arc::new(disk.session())), (0, left));
        }
    }

    #[test]
    fn no_removal_is_kept_without_that_of_all_later_files() {
        for operation in 0..8 {
            for seed in 0..20 {
                let disk = MemFs::new();
                let fs = three_files(&disk);
                fs.flip(Path::new("c/000001"), 12, 1).unwrap();
                disk.fail_at(operation, true);
                let chunks = HeadChunks::open(fs, Path::new("c")).unwrap();
                let _ = chunks.load(|_| ());
                disk.crash(Crash::PowerLoss { seed });
                assert_eq!(loaded(Arc::new(disk.session())).1, Vec::<i64>::new(), "operation {operation}, seed {seed}");
            }
        }
    }

    #[test]
    fn a_file_is_begun_when_the_one_before_it_is_durable() {
        let disk = MemFs::new();
        disk.create_dir(Path::new("c")).unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        let chunks = HeadChunks::open(Arc::new(disk.session()), Path::new("c")).unwrap();
        chunks.store(1, ChunkEncoding::Xor, (0, 0), false, &[1; 50]);
        disk.fail_syncs(true);
        chunks.cut();
        let second = chunks.store(1, ChunkEncoding::Xor, (1, 1), false, &[1; 50]);
        assert_eq!(second >> 32, 1, "the first file cannot be made durable, so it goes on");
        disk.fail_syncs(false);
        chunks.cut();
        assert_eq!(chunks.store(1, ChunkEncoding::Xor, (2, 2), false, &[1; 50]) >> 32, 2);
        chunks.flush();
        disk.crash(Crash::PowerLossKeepNothing);
        assert_eq!(loaded(Arc::new(disk.session())), (0, vec![0, 1]));
    }

    #[test]
    fn while_a_finished_file_is_not_durable_the_next_one_is_in_memory() {
        let disk = MemFs::new();
        disk.create_dir(Path::new("c")).unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        let chunks = HeadChunks::open(Arc::new(disk.session()), Path::new("c")).unwrap();
        chunks.store(1, ChunkEncoding::Xor, (0, 0), false, &[1; 50]);
        chunks.flush();
        {
            let mut writer = chunks.writer.lock();
            writer.behind = writer.file.take();
            writer.written = 0;
        }
        let place = chunks.store(1, ChunkEncoding::Xor, (1, 1), false, &[7; BUFFER_BYTES]);
        chunks.store(1, ChunkEncoding::Xor, (2, 2), false, &[8; 50]);
        assert_eq!(place >> 32, 2);
        assert!(!disk.exists(Path::new("c/000002")));
        chunks.reader().read(place, |_, data| assert_eq!(data, [7; BUFFER_BYTES])).unwrap();
        disk.fail_syncs(true);
        chunks.flush();
        assert!(!disk.exists(Path::new("c/000002")), "the first file still cannot be made durable");
        disk.fail_syncs(false);
        assert!(chunks.sync().unwrap());
        disk.crash(Crash::PowerLossKeepNothing);
        assert_eq!(loaded(Arc::new(disk.session())), (0, vec![0, 1, 2]));
    }
}
