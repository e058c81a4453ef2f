//! A disk in memory that fails on request: which bytes survive when the power goes?
//!
//! Every file has its content as programs see it and as the platter holds it, and the writes between the two in their
//! order; every folder likewise with its names. [`MemFs::crash`] throws away a random end of each such list, tears the
//! write at the edge, and the same `MemFs` can then be opened again.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

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

const ROOT: usize = 0;

#[derive(Debug)]
struct Disk {
    nodes: Vec<Node>,
    operations: u64,
    /// The operation that fails next, and whether all after it fail too.
    fail_at: Option<(u64, bool)>,
    fail_syncs: bool,
    capacity: u64,
    /// Bytes of file content; only kept up while there is a limit, for it takes a walk over the disk.
    used: u64,
    /// Rises with each crash: handles from before are dead.
    epoch: u64,
    locks: Vec<(usize, u64)>,
}

#[derive(Clone, Debug)]
enum Node {
    File { now: Vec<u8>, durable: Vec<u8>, pending: Vec<Change> },
    Dir { now: BTreeMap<String, usize>, durable: BTreeMap<String, usize>, pending: Vec<Naming> },
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Clone, Debug)]
struct Naming {
    name: String,
    node: Option<usize>,
    /// The name that the node had in the same folder: renaming is one step.
    old_name: Option<String>,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            nodes: vec![Node::empty_dir()],
            operations: 0,
            fail_at: None,
            fail_syncs: false,
            capacity: u64::MAX,
            used: 0,
            epoch: 0,
            locks: Vec::new(),
        }
    }
}

impl Node {
    fn empty_dir() -> Self {
        Node::Dir { now: BTreeMap::new(), durable: BTreeMap::new(), pending: Vec::new() }
    }
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

impl Node {
    /// Whether something was not synced. Where nothing is, a loss of power takes nothing.
    fn is_pending(&self) -> bool {
        match self {
            Node::File { pending, .. } => !pending.is_empty(),
            Node::Dir { pending, .. } => !pending.is_empty(),
        }
    }

    /// Keeps the first `keep(pending)` changes since the last sync; the next one may be half there.
    fn lose(&mut self, keep: &mut dyn FnMut(usize) -> usize, tear: bool) {
        match self {
            Node::File { now, durable, pending } => {
                let kept = keep(pending.len());
                for (i, change) in pending.iter().enumerate().take(kept) {
                    match change {
                        Change::Write { offset, bytes } if tear && i + 1 == kept => {
                            let torn = keep(bytes.len());
                            write(durable, *offset, bytes.get(..torn).unwrap_or(bytes));
                        }
                        change => apply(durable, change),
                    }
                }
                pending.clear();
                now.clone_from(durable);
            }
            Node::Dir { now, durable, pending } => {
                let kept = keep(pending.len());
                for naming in pending.drain(..).take(kept) {
                    apply_name(durable, &naming);
                }
                pending.clear();
                now.clone_from(durable);
            }
        }
    }
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { offset, bytes } => write(content, *offset, bytes),
        Change::Length(length) => content.resize(*length, 0),
    }
}

fn write(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if content.len() < offset + bytes.len() {
        content.resize(offset + bytes.len(), 0);
    }
    if let Some(target) = content.get_mut(offset..offset + bytes.len()) {
        target.copy_from_slice(bytes);
    }
}

fn apply_name(names: &mut BTreeMap<String, usize>, naming: &Naming) {
    if let Some(old) = &naming.old_name {
        names.remove(old);
    }
    match naming.node {
        Some(node) => names.insert(naming.name.clone(), node),
        None => names.remove(&naming.name),
    };
}

/// An xorshift generator: enough to choose what is lost.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        if bound == 0 { 0 } else { (self.0 % bound as u64) as usize }
    }
}

fn parts(path: &Path) -> impl Iterator<Item = Cow<'_, str>> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_string_lossy()),
        _ => None,
    })
}

impl Disk {
    fn bytes(&self) -> u64 {
        let mut seen = vec![false; self.nodes.len()];
        let mut open = vec![ROOT];
        let mut total = 0;
        while let Some(index) = open.pop() {
            let Some(flag) = seen.get_mut(index) else { continue };
            if std::mem::replace(flag, true) {
                continue;
            }
            match self.nodes.get(index) {
                Some(Node::File { now, .. }) => total += now.len() as u64,
                Some(Node::Dir { now, .. }) => open.extend(now.values()),
                None => {}
            }
        }
        total
    }

    /// Names went, and bytes with them.
    fn recount(&mut self) {
        if self.capacity != u64::MAX {
            self.used = self.bytes();
        }
    }

    /// Empties the files that no name leads to any more, not even after a loss of power; nobody has them open after a crash.
    fn free_unnamed(&mut self) {
        let mut named = vec![false; self.nodes.len()];
        let mut open = vec![ROOT];
        while let Some(index) = open.pop() {
            let Some(flag) = named.get_mut(index) else { continue };
            if std::mem::replace(flag, true) {
                continue;
            }
            if let Some(Node::Dir { now, durable, pending }) = self.nodes.get(index) {
                open.extend(now.values().chain(durable.values()).copied());
                open.extend(pending.iter().filter_map(|naming| naming.node));
            }
        }
        for (node, _) in self.nodes.iter_mut().zip(named).filter(|(_, named)| !named) {
            *node = Node::empty_dir();
        }
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        let mut at = ROOT;
        for part in parts(path) {
            let Some(Node::Dir { now, .. }) = self.nodes.get(at) else { return Err(io::ErrorKind::NotFound.into()) };
            at = *now.get(&*part).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(at)
    }

    fn find_parent(&self, path: &Path) -> io::Result<(usize, String)> {
        let name = parts(path).last().ok_or(io::ErrorKind::InvalidInput)?.into_owned();
        Ok((self.find(path.parent().unwrap_or(Path::new("")))?, name))
    }

    fn name(&mut self, dir: usize, name: String, node: Option<usize>) -> io::Result<()> {
        self.rename(dir, name, node, None)
    }

    fn rename(&mut self, dir: usize, name: String, node: Option<usize>, old_name: Option<String>) -> io::Result<()> {
        let Some(Node::Dir { now, pending, .. }) = self.nodes.get_mut(dir) else {
            return Err(io::ErrorKind::NotADirectory.into());
        };
        let naming = Naming { name, node, old_name };
        apply_name(now, &naming);
        pending.push(naming);
        Ok(())
    }

    /// Counts one changing operation and lets it fail if it was chosen to.
    fn operate(&mut self) -> io::Result<()> {
        let number = self.operations;
        self.operations += 1;
        match self.fail_at {
            Some((at, forever)) if number == at || (forever && number > at) => {
                Err(io::Error::other(format!("injected fault at operation {number}")))
            }
            _ => Ok(()),
        }
    }

    fn change(&mut self, node: usize, change: Change) -> io::Result<()> {
        self.operate()?;
        let (capacity, mut used) = (self.capacity, self.used);
        let Some(Node::File { now, pending, .. }) = self.nodes.get_mut(node) else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        let before = now.len() as u64;
        let mut full = false;
        let change = match change {
            Change::Write { offset, mut bytes } => {
                let grown = ((offset + bytes.len()) as u64).saturating_sub(before);
                let free = capacity.saturating_sub(used);
                if grown > free {
                    full = true;
                    let fits = (bytes.len() as u64).saturating_sub(grown - free);
                    bytes.truncate(usize::try_from(fits).unwrap_or(0));
                }
                Change::Write { offset, bytes }
            }
            other => other,
        };
        apply(now, &change);
        used = used + now.len() as u64 - before.min(used + now.len() as u64);
        pending.push(change);
        self.used = used;
        if full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
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

#[derive(Debug)]
struct MemFile {
    disk: Arc<Mutex<Disk>>,
    node: usize,
    epoch: u64,
}

impl MemFile {
    fn with<T>(&self, act: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.disk.lock();
        if disk.epoch != self.epoch {
            return Err(io::Error::other("the file was open when the disk crashed"));
        }
        act(&mut disk)
    }
}

impl File for MemFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        self.with(|disk| disk.change(self.node, Change::Write { offset, bytes: bytes.to_vec() }))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        self.with(|disk| {
            let Some(Node::File { now, .. }) = disk.nodes.get(self.node) else { return Ok(0) };
            let Some(rest) = now.get(offset..) else { return Ok(0) };
            let length = rest.len().min(buffer.len());
            if let (Some(target), Some(source)) = (buffer.get_mut(..length), rest.get(..length)) {
                target.copy_from_slice(source);
            }
            Ok(length)
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|disk| match disk.nodes.get(self.node) {
            Some(Node::File { now, .. }) => Ok(now.len() as u64),
            _ => Ok(0),
        })
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.with(|disk| disk.change(self.node, Change::Length(length)))
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|disk| {
            disk.operate()?;
            if disk.fail_syncs {
                return Err(io::Error::other("injected sync fault"));
            }
            if let Some(Node::File { now, durable, pending }) = disk.nodes.get_mut(self.node) {
                if pending.iter().all(|change| matches!(change, Change::Write { .. })) && now.len() >= durable.len() {
                    pending.drain(..).for_each(|change| apply(durable, &change));
                } else {
                    durable.clone_from(now);
                }
                pending.clear();
            }
            Ok(())
        })
    }
}

#[derive(Debug)]
struct MemLock {
    disk: Arc<Mutex<Disk>>,
    held: (usize, u64),
}

impl Lock for MemLock {}

impl Drop for MemLock {
    fn drop(&mut self) {
        self.disk.lock().locks.retain(|lock| *lock != self.held);
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
