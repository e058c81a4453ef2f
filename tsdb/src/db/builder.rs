//! What a database is opened with, and opening it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ferula_model::{Clock, SystemClock, millis};
use parking_lot::Mutex;

use super::{Db, OpenError};
use crate::block::meta::HINT_OUT_OF_ORDER;
use crate::block::{BlockDirectory, BlockDirectoryOptions, BlockOptions, Ulids};
use crate::chunk::FloatEncoding;
use crate::compact::{CompactionOptions, Retention};
use crate::fs::{Context, Fs, Lock, RealFs, create_durably};
use crate::head::{Head, HeadOptions, ReplayProgress, StartStorage};
use crate::wal::SEGMENT_BYTES_DEFAULT;
use crate::wal::writer::WalCompression;

/// When the log is made durable against a loss of power. A crash of the process alone never loses what was acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When the operating system likes: as Prometheus does.
    #[default]
    Os,
    /// With the first commit after so long, and at every [`Db::tick`].
    Interval(Duration),
    /// With every commit, before it is acknowledged.
    Always,
}

/// What a database is opened with. Every setter states its default.
#[derive(Clone, Debug)]
pub struct DbBuilder {
    path: PathBuf,
    fs: Arc<dyn Fs>,
    clock: Arc<dyn Clock>,
    retention: Retention,
    block_range: Duration,
    block_range_max: Option<Duration>,
    overlapping: bool,
    ulids: Option<u64>,
    lock_file: bool,
    head: HeadOptions,
    progress: ReplayProgress,
}

impl DbBuilder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            fs: Arc::new(RealFs),
            clock: Arc::new(SystemClock),
            retention: Retention { time: Some(Duration::from_secs(15 * 24 * 3600)), ..Retention::default() },
            block_range: Duration::from_secs(2 * 3600),
            block_range_max: None,
            overlapping: true,
            ulids: None,
            lock_file: true,
            progress: ReplayProgress::default(),
            head: HeadOptions {
                block_range: 0,
                late_window: 0,
                backfill: false,
                series_limit: None,
                memory_limit: None,
                exemplars: 100_000,
                durability: Durability::Os,
                segment_bytes: SEGMENT_BYTES_DEFAULT,
                compression: WalCompression::Snappy,
                snapshot_on_close: true,
                starts: StartStorage::None,
                floats: FloatEncoding::Xor,
            },
        }
    }

    /// Where files live. Default: [`RealFs`].
    #[must_use]
    pub fn fs(mut self, fs: Arc<dyn Fs>) -> Self {
        self.fs = fs;
        self
    }

    /// The time, for [`Durability::Interval`] only. Default: [`SystemClock`].
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// How long and how much is kept. Default: 15 days, as Prometheus.
    #[must_use]
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// The range of the smallest blocks. Default: 2 h, as everything that reads the blocks expects.
    #[must_use]
    pub fn block_range(mut self, range: Duration) -> Self {
        self.block_range = range;
        self
    }

    /// The range of the largest blocks. Default: a tenth of the retention time, at most 31 days.
    #[must_use]
    pub fn block_range_max(mut self, range: Duration) -> Self {
        self.block_range_max = Some(range);
        self
    }

    /// Whether blocks that overlap are merged. Default: yes; no, if something else (Thanos) does it.
    #[must_use]
    pub fn merge_overlapping(mut self, merge: bool) -> Self {
        self.overlapping = merge;
        self
    }

    /// How much older than the newest sample of the database a sample may be that is not newer than its series. Default:
    /// zero, such samples are refused.
    #[must_use]
    pub fn out_of_order_window(mut self, window: Duration) -> Self {
        self.head.late_window = millis(window);
        self
    }

    /// Whether samples of any age are taken, as long as each is newer than its series. Default: no; samples older than half
    /// a block range are refused as out of bounds.
    #[must_use]
    pub fn backfill(mut self, backfill: bool) -> Self {
        self.head.backfill = backfill;
        self
    }

    /// When the log is made durable. Default: [`Durability::Os`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.head.durability = durability;
        self
    }

    /// The most series in the head; beyond it new series are refused and known ones go on. Default: no limit.
    #[must_use]
    pub fn series_limit(mut self, limit: u64) -> Self {
        self.head.series_limit = Some(limit);
        self
    }

    /// The most bytes that the head may occupy (as it counts them itself); beyond it new series are refused and known ones
    /// go on. Default: no limit.
    #[must_use]
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.head.memory_limit = Some(bytes);
        self
    }

    /// How many exemplars are kept in all. Default: 100,000; 0 keeps none.
    #[must_use]
    pub fn exemplars(mut self, limit: usize) -> Self {
        self.head.exemplars = limit;
        self
    }

    /// How the records of the log are compressed. Default: snappy.
    #[must_use]
    pub fn wal_compression(mut self, compression: WalCompression) -> Self {
        self.head.compression = compression;
        self
    }

    /// Whether a clean close writes the head down, so that the next start need not read the log: the close takes longer, by
    /// about a second for a million series. Default: yes.
    #[must_use]
    pub fn snapshot_on_close(mut self, snapshot: bool) -> Self {
        self.head.snapshot_on_close = snapshot;
        self
    }

    /// Which start timestamps are kept with their samples, from the log to the blocks; queries give them back. Default: none.
    ///
    /// What is on disk is read whatever is chosen here, so that it may be switched on and off.
    #[must_use]
    pub fn start_timestamps(mut self, starts: StartStorage) -> Self {
        self.head.starts = starts;
        self
    }

    /// How floats without start timestamps are encoded in new chunks. Default: [`FloatEncoding::Xor`], which everything reads.
    #[must_use]
    pub fn float_encoding(mut self, encoding: FloatEncoding) -> Self {
        self.head.floats = encoding;
        self
    }

    /// Bytes of a segment of the log. Default: 128 MiB.
    #[must_use]
    pub fn wal_segment_bytes(mut self, bytes: u64) -> Self {
        self.head.segment_bytes = bytes;
        self
    }

    /// Whether a lock file keeps other databases away. Default: yes.
    #[must_use]
    pub fn lock_file(mut self, lock: bool) -> Self {
        self.lock_file = lock;
        self
    }

    /// Lets the names of blocks follow from a seed, for simulations. Default: they are random.
    #[must_use]
    pub fn seeded_block_names(mut self, seed: u64) -> Self {
        self.ulids = Some(seed);
        self
    }

    /// Shows how far the replay of the log is while [`open`](Self::open) works. Default: nobody looks.
    #[must_use]
    pub fn replay_progress(mut self, progress: &ReplayProgress) -> Self {
        self.progress = progress.clone();
        self
    }

    /// Opens the database, and creates it if it is not there.
    ///
    /// What is damaged is put aside or cut off, counted and reported (see [`Db::opened`]); it does not keep the database
    /// from opening, with one exception: a damaged checkpoint.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open(self) -> Result<Db, OpenError> {
        if self.block_range.as_millis() == 0 {
            return Err(OpenError::Option("the block range must be at least a millisecond"));
        }
        let (fs, path) = (self.fs, self.path);
        create_durably(&*fs, &path)?;
        let lock = if self.lock_file { Some(take_lock(&*fs, &path)?) } else { None };
        let block_range = millis(self.block_range);
        let compaction = match self.block_range_max {
            Some(max) => CompactionOptions::new(block_range, millis(max).max(block_range)),
            None => CompactionOptions::for_retention(block_range, self.retention.time.map(millis)),
        };
        let options = BlockDirectoryOptions {
            compaction: compaction.overlapping(self.overlapping),
            retention: self.retention,
            block: BlockOptions::default(),
        };
        let ulids = self.ulids.map_or_else(Ulids::random, Ulids::seeded);
        let blocks = BlockDirectory::open(&fs, &path, options, ulids)?;
        let valid_from = in_order_end(&blocks);
        let head_options = HeadOptions { block_range, ..self.head };
        let (head, report) = Head::open(Arc::clone(&fs), &path, self.clock, head_options, valid_from, self.progress)?;
        Ok(Db {
            fs,
            path,
            head,
            blocks,
            report,
            closed: AtomicBool::new(false),
            maintaining: Mutex::default(),
            maintenance_stats: Mutex::default(),
            lock: Mutex::new(lock),
        })
    }
}

/// The end of the blocks whose samples came in order: the head starts there.
fn in_order_end(blocks: &BlockDirectory) -> i64 {
    let list = blocks.list();
    let metas = list.iter().map(|block| block.meta());
    let in_order = metas.filter(|meta| !meta.has_hint(HINT_OUT_OF_ORDER));
    in_order.map(|meta| meta.max_time).max().unwrap_or(i64::MIN)
}

fn take_lock(fs: &dyn Fs, path: &Path) -> Result<Box<dyn Lock>, OpenError> {
    let file = path.join("lock");
    match fs.lock(&file) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            Err(OpenError::Locked { path: file.display().to_string() })
        }
        other => Ok(other.context("lock", &file)?),
    }
}
