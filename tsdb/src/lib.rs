//! The storage engine: head, write-ahead log, blocks.

pub mod backfill;
pub mod block;
pub mod chunk;
mod columns;
pub mod compact;
pub mod db;
pub mod fs;
mod head;
pub mod postings;
mod snapshot;
pub mod verify;
pub mod wal;

pub use db::{Db, DbBuilder, DbError, DbStats, Durability, OpenError, WalReplay};
pub use head::{Cardinality, HeadStats, ReplayError, ReplayReport};
