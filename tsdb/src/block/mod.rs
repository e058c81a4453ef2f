//! Blocks: the part of the database that does not change any more.
//!
//! A block is a folder named by a ULID: `meta.json` (what it says about itself), `index` (which series, where their chunks
//! are), `chunks/000001`... (the samples) and `tombstones` (what was deleted since). The files are Prometheus' own, byte for
//! byte (3.14, `tsdb/docs/format`).
//!
//! ```text
//!  series, by labels --BlockWriter--> a folder --Block--> series by matchers, columns by time
//! ```
//!
//! Read in this order: [`meta`], [`tombstones`], [`index`], `segment` (chunk files), `writer`, `reader`, `select`,
//! `directory` (all blocks of a database).
//!
//! # Invariants
//!
//! - A block appears by a rename and vanishes by a rename; what lies under its name is complete.
//! - Series are sorted by labels, the chunks of a series by time, and chunks do not overlap.
//! - Bytes on disk are never trusted: what is wrong with them is a [`BlockError`] with file and offset.

mod directory;
mod error;
pub mod index;
pub mod meta;
mod output;
mod reader;
mod segment;
mod select;
pub mod tombstones;
pub(crate) mod wire;
pub(crate) mod writer;

pub use directory::{BlockDirectory, BlockDirectoryOptions, BlockDirectoryStats, Compacted, Quarantined};
pub use error::BlockError;
pub use meta::{BlockMeta, BlockParent, BlockStats, Compaction};
pub use reader::Block;
pub use segment::{ChunkBytes, SEGMENT_BYTES_MAX};
pub use tombstones::{Interval, Intervals, Tombstones};
pub use writer::{BlockOptions, BlockWriter, NewChunk, Ulids};

/// What the name of a folder ends in while its block is written; removed at the next start.
pub const TMP_CREATION: &str = ".tmp-for-creation";
/// What the name of a folder ends in while its block is removed; removed at the next start.
pub const TMP_DELETION: &str = ".tmp-for-deletion";
/// What the name of a folder ends in when its block is damaged. Nobody reads or removes it.
pub const QUARANTINE: &str = ".quarantined";
