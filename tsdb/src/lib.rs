//! The storage engine: head, write-ahead log, blocks.

pub mod backfill;
pub mod block;
pub mod chunk;
mod columns;
pub mod compact;
pub mod fs;
pub mod postings;
pub mod verify;
pub mod wal;
