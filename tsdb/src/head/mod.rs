//! The head: the part of the database that still changes.
//!
//! ```text
//!  Appender --stage--> verdict --admit--> wal --written--> series pages
//!                         |                                    |
//!                       refuse                    select <-----+-----> cut
//! ```
//!
//! A sample enters through an [`Appender`](ferula_model::Appender), is judged against its series, is logged with the
//! rest of its batch and only then becomes visible. Once a whole block range lies behind the newest sample, the range is
//! handed to [`block`](crate::block) and the head forgets it.
//!
//! Read in this order: [`series`] (what one series holds), [`verdict`] (may this sample enter, decided without side
//! effects), [`append`] (the batch), [`index`] and [`select`] (who is asked for), [`replay`] (the same batches, read back
//! from the log).
//!
//! # Invariants
//!
//! - Logged before visible: no reader sees a sample that a crash could take back.
//! - A reader sees whole commits: commits are applied one after the other, each under its number, and a reader passes
//!   over what is newer than the number it began with.
//! - Timestamps rise strictly inside a chunk; merging late samples is the reader's work, never the writer's.
//! - The lower bound of the head only moves forward, and only in `truncate`.
//! - Locks are taken in this order: commit, index, a shard of the table, the list of unlogged series, page, chunk files.

mod append;
mod boundary;
mod chunks;
mod cut;
mod delete;
mod exemplars;
mod index;
mod late;
mod line_table;
mod maintain;
mod numbers;
mod progress;
mod readers;
mod replay;
mod select;
mod series;
mod snapshot;
mod stats;
mod symbols;
mod table;
mod tally;
mod verdict;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ferula_model::{AppendError, Clock, TimeRange, Timestamp};
use hashbrown::{HashMap, HashSet};
use parking_lot::{Mutex, RwLock};

use crate::block::tombstones::Intervals;
use crate::chunk::FloatEncoding;
use crate::db::Durability;
use crate::fs::{Fs, FsError};
use crate::wal::writer::WalCompression;
use append::{Appenders, Commit};
use boundary::Boundary;
use chunks::HeadChunks;
use exemplars::ExemplarRing;
use index::{Index, PackedLabels};
use maintain::Idle;
use numbers::{Numbers, Run};
use readers::Readers;
use series::{ChunkRules, Pages, Series};
use stats::Counters;
use table::Table;
use verdict::Window;

pub(crate) use cut::Parts;
pub(crate) use maintain::Sealed;
pub use progress::{ReplayProgress, WalReplay};
pub(crate) use readers::ReaderGuard;
pub use replay::{Missing, ReplayError, ReplayReport, UnknownItems};
pub(crate) use select::{HeadSet, merge_into};
pub use stats::{Cardinality, HeadStats, LogStats};

/// Which start timestamps are kept. What is not kept is dropped where samples enter, as if nobody had said it.
///
/// ```
/// use ferula_model::{Appendable, Columns, Queryable, Sample, SelectHints, TimeRange, Timestamp, Value};
/// use ferula_tsdb::{Db, StartStorage};
///
/// # let folder = tempfile::tempdir()?;
/// let db = Db::builder(folder.path()).start_timestamps(StartStorage::Floats).open()?;
/// let mut appender = db.appender();
/// let series = appender.series(&[("__name__", "requests_total")])?;
/// let (timestamp, start) = (Timestamp(1_700_000_000_000), Some(Timestamp(1_699_999_000_000)));
/// appender.append(series, Sample { timestamp, start, value: Value::Float(7.0) })?;
/// appender.commit()?;
///
/// let querier = db.querier(TimeRange::ALL)?;
/// let mut columns = Columns::default();
/// querier.select(&SelectHints::default(), &[])?.read(0, TimeRange::ALL, &mut columns)?;
/// assert_eq!(columns.starts, [1_699_999_000_000]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartStorage {
    /// None, as upstream by default: every byte on disk is as all of Prometheus' releases write it.
    #[default]
    None,
    /// Those of floats, as upstream with `st-storage`: in records 11 of the log, and in XOR2 chunks, which Prometheus reads from
    /// 3.11 on. Samples without one are written as always.
    Floats,
    /// Those of histograms too, as upstream with `histograms-st-encoding`: in records 12 and 13, and in chunk encodings 5 and 6,
    /// whose format upstream (3.14) calls unstable.
    FloatsAndHistograms,
}

/// What the host chose for the head.
#[derive(Clone, Debug)]
pub(crate) struct HeadOptions {
    /// Length of a block in milliseconds.
    pub(crate) block_range: i64,
    /// How late a sample may be, in milliseconds; 0: not at all.
    pub(crate) late_window: i64,
    /// Whether samples of any age may enter.
    pub(crate) backfill: bool,
    pub(crate) series_limit: Option<u64>,
    /// Bytes.
    pub(crate) memory_limit: Option<u64>,
    /// How many exemplars are kept; 0: none.
    pub(crate) exemplars: usize,
    pub(crate) durability: Durability,
    pub(crate) segment_bytes: u64,
    pub(crate) compression: WalCompression,
    /// Whether a clean close writes the head down.
    pub(crate) snapshot_on_close: bool,
    pub(crate) starts: StartStorage,
    /// The encoding of floats without start timestamps.
    pub(crate) floats: FloatEncoding,
}

/// The head. Shared by appenders, readers and maintenance.
#[derive(Debug)]
pub(crate) struct Head {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    clock: Arc<dyn Clock>,
    options: RwLock<HeadOptions>,
    index: RwLock<Index>,
    table: Table,
    pages: Pages,
    chunks: HeadChunks,
    exemplars: RwLock<ExemplarRing>,
    /// Deleted ranges by series.
    tombstones: RwLock<HashMap<u32, Intervals>>,
    commit: Mutex<Commit>,
    /// Series that are not in the log yet.
    unlogged: Mutex<Vec<u32>>,
    /// Those that the next series get.
    numbers: Numbers,
    /// Oldest and newest time of samples in order; `i64::MAX` and `i64::MIN` in an empty head.
    min_time: AtomicI64,
    max_time: AtomicI64,
    /// Samples before this time no longer enter in order: they are in blocks, or a block is being written of them.
    valid_from: AtomicI64,
    /// Samples in order before this time are in blocks, and the head has forgotten them.
    in_blocks_until: AtomicI64,
    readers: Readers,
    appenders: Mutex<Appenders>,
    /// Series with late samples of which none are on their way into blocks: the next ones to go.
    late_waiting: Mutex<HashSet<u32>>,
    /// Series that are gone, and the last segment of the log that may speak of them.
    gone: Mutex<HashMap<u32, u64>>,
    idle: Mutex<Idle>,
    /// Numbers under which the logs know series as well, because they went and came back.
    aliases: RwLock<HashMap<u64, u64>>,
    pub(crate) counters: Counters,
    pub(crate) replay: ReplayProgress,
}

impl Head {
    /// Opens head chunks and logs under `dir`, replays them and begins new segments. Samples before `valid_from` are in
    /// blocks already.
    ///
    /// # Errors
    ///
    /// See [`ReplayError`]. A damaged log is no error: it is cut, and the report says what was lost.
    pub(crate) fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        clock: Arc<dyn Clock>,
        options: HeadOptions,
        valid_from: i64,
        progress: ReplayProgress,
    ) -> Result<(Self, ReplayReport), ReplayError> {
        let chunks = HeadChunks::open(Arc::clone(&fs), &dir.join("chunks_head"))?;
        let boundary = match boundary::load(&*fs, dir)? {
            Some(boundary) => boundary,
            None => {
                // What follows from the blocks must outlive them, or the log brings back what went with the oldest.
                let boundary = Boundary { valid_from, next_series: 1 };
                if valid_from > i64::MIN {
                    boundary::store(&*fs, dir, boundary)?;
                }
                boundary
            }
        };
        let head = Self {
            exemplars: RwLock::new(ExemplarRing::new(options.exemplars)),
            commit: Mutex::new(Commit::default()),
            fs,
            dir: dir.to_owned(),
            clock,
            options: RwLock::new(options),
            index: RwLock::default(),
            table: Table::new(),
            pages: Pages::new(),
            chunks,
            tombstones: RwLock::default(),
            unlogged: Mutex::default(),
            numbers: Numbers::new(boundary.next_series),
            min_time: AtomicI64::new(i64::MAX),
            max_time: AtomicI64::new(i64::MIN),
            valid_from: AtomicI64::new(boundary.valid_from),
            in_blocks_until: AtomicI64::new(boundary.valid_from),
            readers: Readers::default(),
            appenders: Mutex::default(),
            late_waiting: Mutex::default(),
            gone: Mutex::default(),
            idle: Mutex::default(),
            aliases: RwLock::default(),
            counters: Counters::default(),
            replay: progress,
        };
        let began = head.clock.now();
        let report = head.replay()?;
        head.counters.note_replay(head.millis_since(began), &report);
        head.begin_logs(&report)?;
        // The log has moved on: a snapshot is of no use any more.
        snapshot::remove_all(&*head.fs, &head.dir)?;
        Ok((head, report))
    }

    /// The folder of the log, and of the log of late samples.
    fn log_dir(&self, late: bool) -> PathBuf {
        self.dir.join(if late { "wbl" } else { "wal" })
    }

    /// Oldest and newest time of samples that came in order, if there are any.
    pub(crate) fn bounds(&self) -> Option<(i64, i64)> {
        let (min, max) = (self.min_time.load(Ordering::Acquire), self.max_time.load(Ordering::Acquire));
        (min <= max).then_some((min, max))
    }

    /// Whether there may be samples in a range. Late ones are taken to be anywhere.
    pub(crate) fn overlaps(&self, range: TimeRange) -> bool {
        let in_order = self.bounds().map(|(min, max)| TimeRange::new(Timestamp(min), Timestamp(max)));
        in_order.is_some_and(|bounds| bounds.overlaps(range)) || self.has_late()
    }

    /// What may enter now.
    fn window(&self) -> Window {
        let newest = self.max_time.load(Ordering::Acquire);
        let options = self.options.read();
        if newest == i64::MIN {
            let in_order_from = self.valid_from.load(Ordering::Acquire);
            return Window { in_order_from, late_from: None, backfill: options.backfill };
        }
        let valid_from = self.valid_from.load(Ordering::Acquire);
        Window {
            in_order_from: valid_from.max(newest.saturating_sub(options.block_range / 2)),
            late_from: (options.late_window > 0).then(|| newest.saturating_sub(options.late_window)),
            backfill: options.backfill,
        }
    }

    fn widen_bounds(&self, min: i64, max: i64) {
        self.min_time.fetch_min(min, Ordering::AcqRel);
        self.max_time.fetch_max(max, Ordering::AcqRel);
    }

    /// The series with these labels, created if it is new, with a number of `run`. The caller asked for `last` before, 0 for
    /// none.
    fn series(&self, last: u32, run: &mut Run, labels: &[(&str, &str)]) -> Result<u32, AppendError> {
        let fingerprint = self.table.fingerprint(labels.iter().copied());
        // A series that is found may be on its way out: then it is gone when the index is free.
        if let Some(series) = self.table.find_after(last, fingerprint).filter(|series| self.touch(*series)) {
            return Ok(series);
        }
        let empty = labels.iter().any(|(_, value)| value.is_empty());
        let rises = labels.windows(2).all(|pair| matches!(pair, [(a, _), (b, _)] if a < b));
        if empty || !rises {
            let mut sorted: Vec<_> = labels.iter().copied().filter(|(_, value)| !value.is_empty()).collect();
            sorted.sort_unstable();
            if let Some([(name, _), _]) = sorted.windows(2).find(|pair| matches!(pair, [(a, _), (b, _)] if a == b)) {
                return Err(AppendError::InvalidLabels(format!("label name \"{name}\" is not unique")));
            }
            return self.series(last, run, &sorted);
        }
        if labels.is_empty() {
            return Err(AppendError::InvalidLabels("empty labelset".into()));
        }
        self.check_limits()?;
        self.create(run, labels, fingerprint)
    }

    /// Keeps a series from being collected for a while. False: it is gone.
    #[inline]
    fn touch(&self, series: u32) -> bool {
        self.pages.with(series, Series::touch).is_some()
    }

    /// The series whose labels are encoded like this, as [`Appender::known_series`](ferula_model::Appender::known_series)
    /// has it.
    #[inline]
    fn known_series(&self, last: u32, encoded: &[u8]) -> Option<u32> {
        self.table.find_unless_new(last, self.table.fingerprint_encoded(encoded)).filter(|series| self.touch(*series))
    }

    fn create(
        &self,
        run: &mut Run,
        labels: &[(&str, &str)],
        fingerprint: table::Fingerprint,
    ) -> Result<u32, AppendError> {
        let mut index = self.index.write();
        let series = u32::try_from(self.numbers.next(run));
        let series = series.map_err(|_| AppendError::SeriesLimit { limit: u64::from(u32::MAX) })?;
        let known = self.table.find_or_insert(fingerprint, series, || {
            run.take();
            let packed = index.pack(labels);
            index.add(series, &packed);
            self.place(series, packed);
            // Before anybody finds it: its samples must not be logged before it.
            self.unlogged.lock().push(series);
        });
        if let Some(known) = known {
            // It cannot go while the index is ours.
            self.touch(known);
        }
        Ok(known.unwrap_or(series))
    }

    /// Puts a new series in its place and counts it.
    fn place(&self, series: u32, labels: PackedLabels) {
        self.pages.put(series, Series::new(labels));
        self.counters.series.fetch_add(1, Ordering::Relaxed);
        self.counters.series_created.fetch_add(1, Ordering::Relaxed);
    }

    fn check_limits(&self) -> Result<(), AppendError> {
        let (series_limit, memory_limit) = {
            let options = self.options.read();
            (options.series_limit, options.memory_limit)
        };
        let series = self.counters.series.load(Ordering::Relaxed);
        let refuse = |limit| {
            self.counters.series_refused.fetch_add(1, Ordering::Relaxed);
            Err(AppendError::SeriesLimit { limit })
        };
        if let Some(limit) = series_limit.filter(|limit| series >= *limit) {
            return refuse(limit);
        }
        // Measuring walks the pages, so it is done once for some hundred new series, more often near the limit.
        if let Some(limit) = memory_limit {
            if self.counters.series_created.load(Ordering::Relaxed).is_multiple_of(256)
                || self.counters.is_memory_full()
            {
                self.counters.note_memory(self.memory_bytes(), limit);
            }
            if self.counters.is_memory_full() {
                return refuse(series);
            }
        }
        Ok(())
    }

    fn chunk_rules(&self) -> ChunkRules {
        let options = self.options.read();
        ChunkRules { block_range: options.block_range, floats: options.floats }
    }

    /// About how many bytes the head occupies.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let fixed = self.table.bytes() + self.index.read().bytes();
        let pages = self.pages.iter().map(|(_, page)| {
            let page = page.read();
            page.capacity() * size_of::<Series>() + page.iter().map(Series::heap_bytes).sum::<usize>()
        });
        (fixed + pages.sum::<usize>() + self.exemplars.read().bytes()) as u64
    }

    /// Changes what can be changed while the head is open.
    ///
    /// # Errors
    ///
    /// The log of late samples could not be begun; nothing has changed then.
    pub(crate) fn set_options(&self, late_window: Option<i64>, exemplars: Option<usize>) -> Result<(), FsError> {
        if let Some(window) = late_window {
            let mut commit = self.commit.lock();
            if window > 0 {
                self.begin_late_log(&mut commit)?;
            }
            self.options.write().late_window = window.max(0);
        }
        if let Some(limit) = exemplars {
            self.options.write().exemplars = limit;
            self.exemplars.write().resize(limit);
        }
        Ok(())
    }

    /// How floats without start timestamps are encoded in chunks that begin from now on.
    pub(crate) fn set_float_encoding(&self, encoding: FloatEncoding) {
        self.options.write().floats = encoding;
    }

    /// The time by the host's clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Samples in order before this time are in blocks, and the head has forgotten them.
    pub(crate) fn in_blocks_until(&self) -> i64 {
        self.in_blocks_until.load(Ordering::Acquire)
    }

    /// Bytes of the logs and the head chunk files.
    pub(crate) fn disk_bytes(&self) -> u64 {
        let log = |late| {
            let listed = self.fs.list(&self.log_dir(late)).unwrap_or_default();
            listed.iter().map(|entry| entry.bytes).sum::<u64>()
        };
        log(false) + log(true) + self.chunks.disk_bytes()
    }
}

impl From<FsError> for ReplayError {
    fn from(error: FsError) -> Self {
        ReplayError::Fs(error)
    }
}
