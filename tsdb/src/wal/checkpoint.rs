//! Checkpoints: what of the sealed segments is still needed?
//!
//! A checkpoint is a log of its own, in the folder `checkpoint.N` of the log, which stands for all segments up to `N`.

use std::path::{Path, PathBuf};

use crate::fs::{Context, Fs, FsError};

/// The newest finished checkpoint and its number.
///
/// # Errors
///
/// See [`FsError`].
pub fn latest(fs: &dyn Fs, wal: &Path) -> Result<Option<(u64, PathBuf)>, FsError> {
    if !fs.exists(wal) {
        return Ok(None);
    }
    let entries = fs.list(wal).context("list", wal)?;
    let numbered = entries.iter().filter(|entry| entry.is_dir).filter_map(|entry| {
        let number = entry.name.strip_prefix("checkpoint.")?.parse::<u64>().ok()?;
        Some((number, wal.join(&entry.name)))
    });
    Ok(numbered.max())
}
