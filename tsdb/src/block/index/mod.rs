//! The index of a block: which series are there, where are their chunks, and which series carry a label?
//!
//! ```text
//!  symbols | series (16-aligned) | postings | postings offset table | table of contents
//! ```
//!
//! [`IndexWriter`] writes version 2, front to back, with memory that does not follow the number of series; [`IndexReader`]
//! reads versions 1, 2 and 3 (which is 2) straight from the map. `format` knows the layout and nobody else does.
//!
//! Source: `tsdb/docs/format/index.md`, Prometheus 3.14.

mod format;
mod pairs;
mod reader;
mod symbols;
mod writer;

pub use format::{ChunkRef, SeriesEntry};
pub(crate) use reader::SymbolCache;
pub use reader::{IndexReader, LabelValues, UnreadList};
pub use writer::IndexWriter;

/// The name of the file in the block's folder.
pub const INDEX_FILE: &str = "index";
