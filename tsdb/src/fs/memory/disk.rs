//! The disk itself: what programs see, what the platter holds, and the changes between the two.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};

pub(super) const ROOT: usize = 0;

#[derive(Debug)]
pub(super) struct Disk {
    pub(super) nodes: Vec<Node>,
    pub(super) operations: u64,
    /// The operation that fails next, and whether all after it fail too.
    pub(super) fail_at: Option<(u64, bool)>,
    pub(super) fail_syncs: bool,
    pub(super) capacity: u64,
    /// Bytes of file content; only kept up while there is a limit, for it takes a walk over the disk.
    pub(super) used: u64,
    /// Rises with each crash: handles from before are dead.
    pub(super) epoch: u64,
    pub(super) locks: Vec<(usize, u64)>,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    File { now: Vec<u8>, durable: Vec<u8>, pending: Vec<Change> },
    Dir { now: BTreeMap<String, usize>, durable: BTreeMap<String, usize>, pending: Vec<Naming> },
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Clone, Debug)]
pub(super) struct Naming {
    pub(super) name: String,
    pub(super) node: Option<usize>,
    /// The name that the node had in the same folder: renaming is one step.
    pub(super) old_name: Option<String>,
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
    pub(super) fn empty_dir() -> Self {
        Node::Dir { now: BTreeMap::new(), durable: BTreeMap::new(), pending: Vec::new() }
    }
}

impl Node {
    /// Whether something was not synced. Where nothing is, a loss of power takes nothing.
    pub(super) fn is_pending(&self) -> bool {
        match self {
            Node::File { pending, .. } => !pending.is_empty(),
            Node::Dir { pending, .. } => !pending.is_empty(),
        }
    }

    /// Keeps the first `keep(pending)` changes since the last sync; the next one may be half there.
    pub(super) fn lose(&mut self, keep: &mut dyn FnMut(usize) -> usize, tear: bool) {
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

pub(super) fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { offset, bytes } => write(content, *offset, bytes),
        Change::Length(length) => content.resize(*length, 0),
    }
}

pub(super) fn write(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if content.len() < offset + bytes.len() {
        content.resize(offset + bytes.len(), 0);
    }
    if let Some(target) = content.get_mut(offset..offset + bytes.len()) {
        target.copy_from_slice(bytes);
    }
}

pub(super) fn apply_name(names: &mut BTreeMap<String, usize>, naming: &Naming) {
    if let Some(old) = &naming.old_name {
        names.remove(old);
    }
    match naming.node {
        Some(node) => names.insert(naming.name.clone(), node),
        None => names.remove(&naming.name),
    };
}

/// An xorshift generator: enough to choose what is lost.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        if bound == 0 { 0 } else { (self.0 % bound as u64) as usize }
    }
}

pub(super) fn parts(path: &Path) -> impl Iterator<Item = Cow<'_, str>> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_string_lossy()),
        _ => None,
    })
}

impl Disk {
    pub(super) fn bytes(&self) -> u64 {
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
    pub(super) fn recount(&mut self) {
        if self.capacity != u64::MAX {
            self.used = self.bytes();
        }
    }

    /// Empties the files that no name leads to any more, not even after a loss of power; nobody has them open after a crash.
    pub(super) fn free_unnamed(&mut self) {
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

    pub(super) fn find(&self, path: &Path) -> io::Result<usize> {
        let mut at = ROOT;
        for part in parts(path) {
            let Some(Node::Dir { now, .. }) = self.nodes.get(at) else { return Err(io::ErrorKind::NotFound.into()) };
            at = *now.get(&*part).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(at)
    }

    pub(super) fn find_parent(&self, path: &Path) -> io::Result<(usize, String)> {
        let name = parts(path).last().ok_or(io::ErrorKind::InvalidInput)?.into_owned();
        Ok((self.find(path.parent().unwrap_or(Path::new("")))?, name))
    }

    pub(super) fn name(&mut self, dir: usize, name: String, node: Option<usize>) -> io::Result<()> {
        self.rename(dir, name, node, None)
    }

    pub(super) fn rename(
        &mut self,
        dir: usize,
        name: String,
        node: Option<usize>,
        old_name: Option<String>,
    ) -> io::Result<()> {
        let Some(Node::Dir { now, pending, .. }) = self.nodes.get_mut(dir) else {
            return Err(io::ErrorKind::NotADirectory.into());
        };
        let naming = Naming { name, node, old_name };
        apply_name(now, &naming);
        pending.push(naming);
        Ok(())
    }

    /// Counts one changing operation and lets it fail if it was chosen to.
    pub(super) fn operate(&mut self) -> io::Result<()> {
        let number = self.operations;
        self.operations += 1;
        match self.fail_at {
            Some((at, forever)) if number == at || (forever && number > at) => {
                Err(io::Error::other(format!("injected fault at operation {number}")))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn change(&mut self, node: usize, change: Change) -> io::Result<()> {
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
