//! What is counted of the blocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::block::Block;

/// What happened to the blocks since the directory was opened, and what is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockDirectoryStats {
    /// Blocks that serve.
    pub blocks: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Bytes in memory for them.
    pub heap_bytes: u64,
    /// Start of the oldest block, in milliseconds.
    pub oldest_time: Option<i64>,
    /// Tombstones in all blocks.
    pub tombstones: u64,
    /// Whether a block is being written, from the head or from others.
    pub is_writing: bool,
    /// Merges that were done.
    pub compactions: u64,
    /// Of those, merges of blocks that overlapped.
    pub vertical_compactions: u64,
    /// Times that the list of blocks changed.
    pub reloads: u64,
    /// Merges that went wrong.
    pub compactions_failed: u64,
    /// Blocks removed because they were too old.
    pub time_retentions: u64,
    /// Blocks removed because there was too much.
    pub size_retentions: u64,
    /// Blocks put into quarantine.
    pub quarantined: u64,
    /// Folders that could not be removed; the next start tries again.
    pub removals_failed: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Blocks that are being written.
    pub(super) writing: AtomicU64,
    pub(super) compactions: AtomicU64,
    pub(super) vertical_compactions: AtomicU64,
    pub(super) reloads: AtomicU64,
    pub(super) compactions_failed: AtomicU64,
    pub(super) time_retentions: AtomicU64,
    pub(super) size_retentions: AtomicU64,
    pub(super) quarantined: AtomicU64,
    pub(super) removals_failed: AtomicU64,
}

impl Counters {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// How things stand with these blocks.
    pub(super) fn stats(&self, list: &[Arc<Block>]) -> BlockDirectoryStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BlockDirectoryStats {
            blocks: list.len() as u64,
            bytes: list.iter().map(|block| block.file_bytes()).sum(),
            heap_bytes: list.iter().map(|block| block.heap_bytes() as u64).sum(),
            oldest_time: list.iter().map(|block| block.meta().min_time).min(),
            tombstones: list.iter().map(|block| block.tombstones().len() as u64).sum(),
            is_writing: read(&self.writing) > 0,
            compactions: read(&self.compactions),
            vertical_compactions: read(&self.vertical_compactions),
            reloads: read(&self.reloads),
            compactions_failed: read(&self.compactions_failed),
            time_retentions: read(&self.time_retentions),
            size_retentions: read(&self.size_retentions),
            quarantined: read(&self.quarantined),
            removals_failed: read(&self.removals_failed),
        }
    }
}
