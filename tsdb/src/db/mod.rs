//! The database: open, append, query, maintain, close. The only module that knows every part.

mod builder;
mod closed;
mod error;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ferula_model::{
    Appendable, Appender, ExemplarQueryable, Matcher, Querier, Queryable, SelectError, SeriesExemplars, TimeRange,
};
use parking_lot::Mutex;

use crate::block::{BlockDirectory, BlockMeta, Quarantined};
use crate::compact::Retention;
use crate::fs::{Fs, FsError, Lock};
use crate::head::{Cardinality, Head, HeadStats, ReplayReport, WalReplay};
use crate::maintain::{Maintenance, MaintenanceStats};
use crate::snapshot::Snapshot;
use closed::Closed;

pub use builder::{DbBuilder, Durability};
pub use error::{DbError, OpenError};

/// A database of time series in a folder.
///
/// ```
/// use ferula_model::{Appendable, Matcher, Queryable, SelectHints, TimeRange, Timestamp, Columns};
/// use ferula_tsdb::Db;
///
/// let folder = tempfile::tempdir()?;
/// let db = Db::builder(folder.path()).open()?;
/// let mut appender = db.appender();
/// let up = appender.series(&[("__name__", "up"), ("job", "node")])?;
/// appender.append_float(up, Timestamp::from_millis(1_700_000_000_000), 1.0)?;
/// appender.commit()?;
///
/// let querier = db.querier(TimeRange::ALL)?;
/// let found = querier.select(&SelectHints::default(), &[Matcher::equal("job", "node")])?;
/// let mut columns = Columns::default();
/// found.read(0, TimeRange::ALL, &mut columns)?;
/// assert_eq!(columns.values, [1.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Db {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) path: PathBuf,
    pub(crate) head: Head,
    pub(crate) blocks: BlockDirectory,
    report: ReplayReport,
    closed: AtomicBool,
    /// Held by whoever compacts, deletes or takes a snapshot.
    pub(crate) maintaining: Mutex<Maintenance>,
    pub(crate) maintenance_stats: Mutex<MaintenanceStats>,
    lock: Mutex<Option<Box<dyn Lock>>>,
}

/// How a database stands: what the metrics `prometheus_tsdb_*` say.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DbStats {
    /// The head and its logs.
    pub head: HeadStats,
    /// The blocks.
    pub blocks: crate::block::BlockDirectoryStats,
    /// What was done about them.
    pub maintenance: MaintenanceStats,
    /// What is kept.
    pub retention: Retention,
}

impl Db {
    /// What a database is opened with.
    pub fn builder(path: impl Into<PathBuf>) -> DbBuilder {
        DbBuilder::new(path.into())
    }

    /// What opening found: how much was replayed, and what was damaged.
    pub fn opened(&self) -> &ReplayReport {
        &self.report
    }

    /// Blocks that were put aside because they are damaged.
    pub fn quarantined(&self) -> Vec<Quarantined> {
        self.blocks.quarantined()
    }

    /// The folder of the database.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How the database stands.
    pub fn stats(&self) -> DbStats {
        let maintenance = self.maintenance_stats.lock().clone();
        let retention = self.blocks.options().retention;
        DbStats { head: self.head.stats(), blocks: self.blocks.stats(), maintenance, retention }
    }

    /// The blocks that serve, by rising start, as their `meta.json` describes them.
    pub fn blocks(&self) -> Vec<Arc<BlockMeta>> {
        self.blocks.list().iter().map(|block| block.meta()).collect()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// About how many bytes the head occupies: what [`DbBuilder::memory_limit`] is held against. Walks all series.
    pub fn memory_bytes(&self) -> u64 {
        self.head.memory_bytes()
    }

    /// Which labels and metrics of the head have the most series, at most `limit` of each kind.
    pub fn cardinality(&self, limit: usize) -> Cardinality {
        self.head.cardinality(limit)
    }

    /// How far replay is. A database that is open has done it.
    pub fn wal_replay(&self) -> WalReplay {
        self.head.replay.read()
    }

    /// Makes everything durable that was acknowledged.
    ///
    /// # Errors
    ///
    /// See [`FsError`]. The database then takes no writes until it is reopened, for what is durable is unknown.
    pub fn sync(&self) -> Result<(), FsError> {
        self.head.sync()
    }

    /// Ends writing, makes everything durable and gives the folder free. Readers that are at work may go on. Closing twice is
    /// closing once.
    ///
    /// # Errors
    ///
    /// The log could not be made durable; the folder is free all the same.
    pub fn close(&self) -> Result<(), FsError> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        // A merge that is under way ends early; everything else ends by itself.
        self.blocks.stop();
        let _maintenance = self.maintaining.lock();
        let result = self.head.close();
        *self.lock.lock() = None;
        result
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the database could not be closed cleanly");
        }
    }
}

impl Appendable for Db {
    fn appender(&self) -> Box<dyn Appender + '_> {
        if self.closed.load(Ordering::Acquire) {
            return Box::new(Closed);
        }
        Box::new(self.head.appender())
    }
}

impl Queryable for Db {
    fn querier(&self, range: TimeRange) -> Result<Box<dyn Querier + '_>, SelectError> {
        Ok(Box::new(Snapshot::of(self, range)))
    }
}

impl ExemplarQueryable for Db {
    fn exemplars(&self, range: TimeRange, matcher_sets: &[Vec<Matcher>]) -> Result<Vec<SeriesExemplars>, SelectError> {
        Ok(self.head.exemplars(range, matcher_sets))
    }
}
