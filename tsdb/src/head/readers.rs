//! Who is reading, and since when?
//!
//! A reader sees the commits up to the one that was newest when it began. Two questions follow from that: which commits
//! must a series still tell apart, and when may the head forget what a new block has?

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// All readers at work.
#[derive(Debug, Default)]
pub(super) struct Readers {
    /// The newest commit that is complete.
    published: AtomicU64,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    /// The commit that each reader sees, by the reader's number.
    readers: BTreeMap<u64, u64>,
}

impl Readers {
    /// The number of the commit that comes next.
    pub(super) fn next_commit(&self) -> u64 {
        self.published.load(Ordering::Acquire) + 1
    }

    /// The newest commit that is complete.
    pub(super) fn newest_commit(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// Lets new readers see a commit.
    pub(super) fn publish(&self, commit: u64) {
        self.published.store(commit, Ordering::Release);
    }

    /// The commit that the reader with the oldest view sees.
    pub(super) fn oldest_view(&self) -> Option<u64> {
        self.open.lock().readers.values().min().copied()
    }

    /// The number that the next reader will have.
    pub(super) fn next_reader(&self) -> u64 {
        self.open.lock().next
    }

    /// Whether readers with a smaller number are still at work.
    pub(super) fn is_waiting_for(&self, reader: u64) -> bool {
        self.open.lock().readers.first_key_value().is_some_and(|(&oldest, _)| oldest < reader)
    }
}

/// A reader at work; dropping it ends it.
#[derive(Debug)]
pub(crate) struct ReaderGuard<'a> {
    readers: &'a Readers,
    number: u64,
    /// The newest commit that it sees.
    pub(super) view: u64,
}

impl super::Head {
    /// Begins to read.
    pub(crate) fn reader(&self) -> ReaderGuard<'_> {
        let mut open = self.readers.open.lock();
        let (number, view) = (open.next, self.readers.published.load(Ordering::Acquire));
        open.next += 1;
        open.readers.insert(number, view);
        ReaderGuard { readers: &self.readers, number, view }
    }
}

impl Drop for ReaderGuard<'_> {
    fn drop(&mut self) {
        self.readers.open.lock().readers.remove(&self.number);
    }
}
