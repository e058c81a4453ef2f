//! The storage engine: head, write-ahead log, blocks.

pub mod backfill;
pub mod block;
pub mod chunk;
mod columns;
pub mod compact;
pub mod db;
pub mod fs;
mod head;
mod maintain;
pub mod postings;
mod snapshot;
pub mod verify;
pub mod wal;

/// For the fuzz targets: decoders that have no door of their own.
#[doc(hidden)]
pub mod fuzz {
    pub use crate::head::{check_head_chunks, check_snapshot_record};
}

pub use db::{Db, DbBuilder, DbError, DbStats, Durability, OpenError};
pub use head::{Cardinality, HeadStats, ReplayError, ReplayProgress, ReplayReport, WalReplay};
pub use maintain::{MaintenanceStats, Reload, Tick};
