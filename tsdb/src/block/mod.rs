//! Blocks: the part of the database that does not change any more.
//!
//! A block is a folder named by a ULID: `meta.json` (what it says about itself), `index` (which series, where their chunks
//! are), `chunks/000001`... (the samples) and `tombstones` (what was deleted since). The files are Prometheus' own, byte for
//! byte (3.14, `tsdb/docs/format`).
//!
//! Read in this order: [`meta`], [`tombstones`], [`index`].
//!
//! # Invariants
//!
//! - A block appears by a rename and vanishes by a rename; what lies under its name is complete.
//! - Series are sorted by labels, the chunks of a series by time, and chunks do not overlap.
//! - Bytes on disk are never trusted: what is wrong with them is a [`BlockError`] with file and offset.

mod error;
pub mod index;
pub mod meta;
mod output;
pub mod tombstones;
pub(crate) mod wire;

pub use error::BlockError;
pub use meta::{BlockMeta, BlockParent, BlockStats, Compaction};
pub use tombstones::{Interval, Intervals, Tombstones};
