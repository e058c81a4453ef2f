//! How far is the replay? Asked while the database is being opened.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Shows how far the replay of a database is. Make one, hand it to
/// [`DbBuilder::replay_progress`](crate::DbBuilder::replay_progress), and ask it from another thread while `open` works.
#[derive(Clone, Debug, Default)]
pub struct ReplayProgress(Arc<State>);

#[derive(Debug, Default)]
struct State {
    first: AtomicU64,
    last: AtomicU64,
    current: AtomicU64,
    is_done: AtomicBool,
}

/// How far a replay is, in segments of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalReplay {
    /// The first segment.
    pub min: u64,
    /// The last segment.
    pub max: u64,
    /// The segment that is being read.
    pub current: u64,
    /// Whether the replay is over.
    pub is_done: bool,
}

impl ReplayProgress {
    /// How far it is.
    pub fn read(&self) -> WalReplay {
        let state = &self.0;
        WalReplay {
            min: state.first.load(Ordering::Relaxed),
            max: state.last.load(Ordering::Relaxed),
            current: state.current.load(Ordering::Relaxed),
            is_done: state.is_done.load(Ordering::Acquire),
        }
    }

    pub(super) fn begin(&self, first: u64, last: u64) {
        self.0.first.store(first, Ordering::Relaxed);
        self.0.last.store(last, Ordering::Relaxed);
        self.0.current.store(first, Ordering::Relaxed);
        self.0.is_done.store(false, Ordering::Release);
    }

    pub(super) fn at(&self, segment: u64) {
        self.0.current.store(segment, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.0.is_done.store(true, Ordering::Release);
    }
}
