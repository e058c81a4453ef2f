//! The storage engine: head, write-ahead log, blocks. The files are Prometheus' own, so that either opens what the other wrote.
//!
//! # One sample's way
//!
//! ```text
//!  Appender --staged, judged--> commit --one write--> wal --then visible--> head --tick, 2 h later--> block --tick--> larger block
//!                                                                            |                          |
//!                                                    Querier <---------------+--------------------------+
//! ```
//!
//! An appender ([`Db`] is [`Appendable`](ferula_model::Appendable)) stages samples; each is judged against its series. The
//! commit writes the batch to the [`wal`], then makes it visible as a whole. Open chunks ([`chunk`]) lie in the head; full ones
//! go to files that are mapped. [`Db::tick`] writes a range that is complete as a [`block`], trims the log, merges blocks
//! ([`compact`]) and lets the old ones go. A querier sees all of it as one.
//!
//! ```
//! use ferula_model::{Appendable, Columns, Matcher, Queryable, SelectHints, TimeRange, Timestamp};
//! use ferula_tsdb::Db;
//!
//! let folder = tempfile::tempdir()?;
//! let db = Db::builder(folder.path()).open()?;
//! let mut appender = db.appender();
//! let up = appender.series(&[("__name__", "up"), ("job", "node")])?;
//! for hour in 0..5 {
//!     appender.append_float(up, Timestamp::from_millis(hour * 3_600_000), 1.0)?;
//! }
//! appender.commit()?;
//!
//! let tick = db.tick(Timestamp::from_millis(5 * 3_600_000));
//! assert_eq!(tick.blocks.len(), 1, "the first two hours are a block now");
//!
//! let querier = db.querier(TimeRange::ALL)?;
//! let found = querier.select(&SelectHints::default(), &[Matcher::equal("job", "node")])?;
//! let mut columns = Columns::default();
//! found.read(0, TimeRange::ALL, &mut columns)?;
//! assert_eq!(columns.values.len(), 5, "block and head are read as one");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Map
//!
//! [`Db`] knows every part. Below it: the head (private), [`wal`], [`block`], [`chunk`], [`postings`], [`compact`]; beside it
//! [`verify`] and [`backfill`], which need no running database. Every file access goes through [`fs`].

pub mod backfill;
pub mod block;
pub mod chunk;
mod columns;
pub mod compact;
pub mod db;
mod distribution;
pub mod fs;
mod head;
mod maintain;
pub mod postings;
mod snapshot;
pub mod verify;
pub mod wal;

pub use db::{Db, DbBuilder, DbError, DbStats, Durability, OpenError};
pub use distribution::{ChunkStats, Distribution};
pub use head::{
    Cardinality, HeadStats, LogStats, Missing, ReplayError, ReplayProgress, ReplayReport, StartStorage, UnknownItems,
    WalReplay,
};
pub use maintain::{MaintenanceStats, Reload, Tick};
