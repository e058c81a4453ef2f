//! Open files and held locks of the disk in memory.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::{Change, Disk, Node, apply};
use crate::fs::{File, Lock};

#[derive(Debug)]
pub(super) struct MemFile {
    pub(super) disk: Arc<Mutex<Disk>>,
    pub(super) node: usize,
    pub(super) epoch: u64,
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
pub(super) struct MemLock {
    pub(super) disk: Arc<Mutex<Disk>>,
    pub(super) held: (usize, u64),
}

impl Lock for MemLock {}

impl Drop for MemLock {
    fn drop(&mut self) {
        self.disk.lock().locks.retain(|lock| *lock != self.held);
    }
}
