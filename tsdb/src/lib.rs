//! The storage engine: head, write-ahead log, blocks.

pub mod block;
pub mod chunk;
pub mod compact;
pub mod fs;
pub mod postings;
