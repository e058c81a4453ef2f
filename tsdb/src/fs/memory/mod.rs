//! A disk in memory that fails on request: which bytes survive when the power goes?
//!
//! Every file has its content as programs see it and as the platter holds it, and the writes between the two in their
//! order; every folder likewise with its names. [`MemFs::crash`] throws away a random end of each such list, tears the
//! write at the edge, and the same `MemFs` can then be opened again.

mod disk;
mod file;

use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use self::disk::{Change, Disk, Node, ROOT, Random, parts};
use self::file::{MemFile, MemLock};
use super::{Entry, File, Fs, Lock, Map, Space};

/// A file system in memory with a power switch. Clones share the disk.
///
/// ```
/// use ferula_tsdb::fs::{Crash, Fs, MemFs};
/// use std::path::Path;
///
/// let disk = MemFs::new();
/// let file = disk.create(Path::new("log"))?;
/// disk.sync_dir(Path::new(""))?;
/// file.write_at(0, b"kept")?;
/// file.sync()?;
/// file.write_at(4, b"lost")?;
/// disk.crash(Crash::PowerLossKeepNothing);
/// assert_eq!(disk.read(Path::new("log"))?, b"kept");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemFs {
    disk: Arc<Mutex<Disk>>,
    /// The number of the crash that ends this handle; `None` for one that survives them.
    session: Option<u64>,
}

/// How a crash goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process dies, the system lives: everything that was written stays.
    Process,
    /// The power goes: of what was not synced, a random beginning of each file's writes stays, the last one torn.
    PowerLoss {
        /// The same seed loses the same bytes.
        seed: u64,
    },
    /// The power goes and takes all that was not synced.
    PowerLossKeepNothing,
}

impl MemFs {
    /// An empty disk without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// A handle that ends with the next crash, as a process does: what is done through it afterwards fails.
    #[must_use]
    pub fn session(&self) -> Self {
        Self { disk: Arc::clone(&self.disk), session: Some(self.disk.lock().epoch) }
    }

    fn disk(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.disk.lock();
        match self.session {
            Some(session) if session != disk.epoch => Err(io::Error::other("the process died when the disk crashed")),
            _ => Ok(disk),
        }
    }

    /// Ends every open handle and decides what is left. Faults and the limit of space are lifted.
    pub fn crash(&self, how: Crash) {
        let disk = &mut *self.disk.lock();
        disk.epoch += 1;
        disk.locks.clear();
        disk.fail_at = None;
        disk.fail_syncs = false;
        disk.capacity = u64::MAX;
        let mut random = Random(match how {
            Crash::PowerLoss { seed } => seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            _ => 1,
        });
        for node in disk.nodes.iter_mut().filter(|node| node.is_pending()) {
            match how {
                Crash::Process => continue,
                Crash::PowerLoss { .. } => node.lose(&mut |pending| random.below(pending + 1), true),
                Crash::PowerLossKeepNothing => node.lose(&mut |_| 0, false),
            }
        }
        disk.free_unnamed();
    }

    /// Lets operation number `n` from now (0: the next one) fail with an I/O error; with `forever`, all after it too.
    /// Operations are those that change the disk.
    pub fn fail_at(&self, n: u64, forever: bool) {
        let mut disk = self.disk.lock();
        disk.fail_at = Some((disk.operations + n, forever));
    }

    /// Lets every sync fail, or no longer.
    pub fn fail_syncs(&self, fail: bool) {
        self.disk.lock().fail_syncs = fail;
    }

    /// Lifts all faults.
    pub fn heal(&self) {
        let mut disk = self.disk.lock();
        disk.fail_at = None;
        disk.fail_syncs = false;
        disk.capacity = u64::MAX;
    }

    /// Limits the disk to `bytes` of file content; what is beyond is refused as "no space left".
    pub fn limit_space(&self, bytes: u64) {
        let mut disk = self.disk.lock();
        disk.used = disk.bytes();
        disk.capacity = bytes;
    }

    /// Bytes of file content on the disk.
    pub fn used(&self) -> u64 {
        self.disk.lock().bytes()
    }

    /// How many operations have changed the disk so far.
    pub fn operations(&self) -> u64 {
        self.disk.lock().operations
    }

    /// Flips the bits of `mask` in one byte of a file, as a decaying disk does.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`], or [`io::ErrorKind::InvalidInput`] behind the end.
    pub fn flip(&self, path: &Path, offset: usize, mask: u8) -> io::Result<()> {
        let disk = &mut *self.disk.lock();
        let node = disk.find(path)?;
        let Some(Node::File { now, durable, .. }) = disk.nodes.get_mut(node) else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        let byte = now.get_mut(offset).ok_or(io::ErrorKind::InvalidInput)?;
        *byte ^= mask;
        if let Some(byte) = durable.get_mut(offset) {
            *byte ^= mask;
        }
        Ok(())
    }
}

impl Fs for MemFs {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let disk = self.disk()?;
        let node = disk.find(path)?;
        match disk.nodes.get(node) {
            Some(Node::File { .. }) => Ok(Arc::new(MemFile { disk: Arc::clone(&self.disk), node, epoch: disk.epoch })),
            _ => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let disk = &mut *self.disk()?;
        if let Ok(node) = disk.find(path) {
            disk.change(node, Change::Length(0))?;
            return Ok(Arc::new(MemFile { disk: Arc::clone(&self.disk), node, epoch: disk.epoch }));
        }
        let (dir, name) = disk.find_parent(path)?;
        disk.operate()?;
        if disk.used >= disk.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let node = disk.nodes.len();
        disk.nodes.push(Node::File { now: Vec::new(), durable: Vec::new(), pending: Vec::new() });
        disk.name(dir, name, Some(node))?;
        Ok(Arc::new(MemFile { disk: Arc::clone(&self.disk), node, epoch: disk.epoch }))
    }

    fn map(&self, path: &Path) -> io::Result<Map> {
        let disk = self.disk()?;
        match disk.nodes.get(disk.find(path)?) {
            Some(Node::File { now, .. }) => Ok(Map::from_vec(now.clone())),
            _ => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let disk = &mut *self.disk()?;
        let node = disk.find(from)?;
        let (from_dir, from_name) = disk.find_parent(from)?;
        let (to_dir, to_name) = disk.find_parent(to)?;
        disk.operate()?;
        if from_dir == to_dir {
            let old_name = (from_name != to_name).then_some(from_name);
            disk.rename(to_dir, to_name, Some(node), old_name)?;
        } else {
            disk.name(from_dir, from_name, None)?;
            disk.name(to_dir, to_name, Some(node))?;
        }
        disk.recount();
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let disk = &mut *self.disk()?;
        let node = disk.find(from)?;
        if disk.find(to).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let (dir, name) = disk.find_parent(to)?;
        disk.operate()?;
        disk.name(dir, name, Some(node))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let disk = self.disk()?;
        let Some(Node::Dir { now, .. }) = disk.nodes.get(disk.find(dir)?) else {
            return Err(io::ErrorKind::NotADirectory.into());
        };
        let entry = |(name, node): (&String, &usize)| match disk.nodes.get(*node) {
            Some(Node::File { now, .. }) => Entry { name: name.clone(), is_dir: false, bytes: now.len() as u64 },
            _ => Entry { name: name.clone(), is_dir: true, bytes: 0 },
        };
        Ok(now.iter().map(entry).collect())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let disk = &mut *self.disk()?;
        disk.find(path)?;
        let (dir, name) = disk.find_parent(path)?;
        disk.operate()?;
        disk.name(dir, name, None)?;
        disk.recount();
        Ok(())
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.remove(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let disk = &mut *self.disk()?;
        let mut at = ROOT;
        for part in parts(dir) {
            let Some(Node::Dir { now, .. }) = disk.nodes.get(at) else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            if let Some(&next) = now.get(&*part) {
                at = next;
                continue;
            }
            disk.operate()?;
            let node = disk.nodes.len();
            disk.nodes.push(Node::empty_dir());
            disk.name(at, part.into_owned(), Some(node))?;
            at = node;
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let disk = &mut *self.disk()?;
        disk.operate()?;
        if disk.fail_syncs {
            return Err(io::Error::other("injected sync fault"));
        }
        let node = disk.find(dir)?;
        let Some(Node::Dir { now, durable, pending }) = disk.nodes.get_mut(node) else {
            return Err(io::ErrorKind::NotADirectory.into());
        };
        durable.clone_from(now);
        pending.clear();
        Ok(())
    }

    fn exists(&self, path: &Path) -> bool {
        self.disk().is_ok_and(|disk| disk.find(path).is_ok())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let file = match self.open(path) {
            Ok(_) => self.disk()?.find(path)?,
            Err(_) => {
                self.create(path)?;
                self.disk()?.find(path)?
            }
        };
        let mut disk = self.disk()?;
        let epoch = disk.epoch;
        if disk.locks.contains(&(file, epoch)) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        disk.locks.push((file, epoch));
        drop(disk);
        Ok(Box::new(MemLock { disk: Arc::clone(&self.disk), held: (file, epoch) }))
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let disk = self.disk()?;
        let total = disk.capacity.min(1 << 40);
        Ok(Space { total, free: total.saturating_sub(disk.bytes()) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_lost_without_a_sync_of_its_folder() {
        let disk = MemFs::new();
        disk.create_dir(Path::new("a/b")).unwrap();
        let file = disk.create(Path::new("a/b/c")).unwrap();
        file.write_at(0, b"x").unwrap();
        file.sync().unwrap();
        disk.crash(Crash::PowerLossKeepNothing);
        assert!(!disk.exists(Path::new("a")));
        assert!(file.write_at(0, b"y").is_err(), "handles die with the power");
    }

    #[test]
    fn a_rename_replaces_in_one_step() {
        let disk = MemFs::new();
        disk.replace(Path::new("meta"), b"one").unwrap();
        for seed in 0..50 {
            disk.replace(Path::new("meta"), b"two").unwrap();
            disk.crash(Crash::PowerLoss { seed });
            assert_eq!(disk.read(Path::new("meta")).unwrap(), b"two");
        }
    }

    #[test]
    fn a_full_disk_writes_what_fits() {
        let disk = MemFs::new();
        let file = disk.create(Path::new("f")).unwrap();
        disk.limit_space(3);
        assert_eq!(file.write_at(0, b"12345").unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(disk.read(Path::new("f")).unwrap(), b"123");
        disk.limit_space(100);
        file.write_at(3, b"45").unwrap();
        assert_eq!(disk.used(), 5);
    }

    #[test]
    fn the_chosen_operation_fails_once() {
        let disk = MemFs::new();
        let file = disk.create(Path::new("f")).unwrap();
        disk.fail_at(1, false);
        assert!(file.write_at(0, b"a").is_ok());
        assert!(file.write_at(1, b"b").is_err());
        assert!(file.write_at(1, b"b").is_ok());
    }

    #[test]
    fn a_lock_is_held_once() {
        let disk = MemFs::new();
        let held = disk.lock(Path::new("lock")).unwrap();
        assert_eq!(disk.lock(Path::new("lock")).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(held);
        assert!(disk.lock(Path::new("lock")).is_ok());
    }
}
