//! The write-ahead log: what was acknowledged, in the order it was acknowledged.
//!
//! ```text
//!  commit --records--> writer --one write--> segment 00000007 --sealed--> checkpoint.00000007 --read--> replay
//! ```
//!
//! A log is a folder of numbered segments; a segment is a run of 32 KiB pages; a page holds fragments of records, each
//! with its CRC-32C. The same framing carries the log of late samples (`wbl`), checkpoints and memory snapshots. All
//! bytes are Prometheus' (3.14): a log written here replays there, and the other way round.
//!
//! Read in this order: [`mod@format`] (what the bytes mean, alone), [`writer`], [`reader`], [`checkpoint`].
//!
//! # Invariants
//!
//! - One commit is one write; a record lies in one segment.
//! - A reader that meets damage says where the last good record ended; [`reader::repair`] cuts the log there.

pub mod checkpoint;
pub mod format;
pub mod reader;
pub mod writer;

use std::path::{Path, PathBuf};

use crate::fs::{Context, Fs, FsError};

/// Bytes of a page.
pub(crate) const PAGE_BYTES: usize = 32 * 1024;
/// Bytes in front of each fragment: type, length, checksum.
pub(crate) const FRAGMENT_HEADER: usize = 7;
/// Bytes of a segment, unless the host says otherwise.
pub const SEGMENT_BYTES_DEFAULT: u64 = 128 * 1024 * 1024;

/// The name of a segment: eight digits.
pub(crate) fn segment_name(number: u64) -> String {
    format!("{number:08}")
}

/// Segments of a log, by rising number. A folder that is not there has none.
pub(crate) fn segments(fs: &dyn Fs, dir: &Path) -> Result<Vec<(u64, PathBuf)>, FsError> {
    if !fs.exists(dir) {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs.list(dir).context("list", dir)? {
        let digits = entry.name.len() >= 8 && entry.name.bytes().all(|byte| byte.is_ascii_digit());
        if let (true, false, Ok(number)) = (digits, entry.is_dir, entry.name.parse()) {
            found.push((number, dir.join(&entry.name)));
        }
    }
    found.sort_unstable();
    Ok(found)
}
