//! Where do the blocks end and the head begin, and which series numbers are used up?
//!
//! Upstream derives both from what lies in the folder: the head begins where the newest block ends, and numbers go on from
//! the highest one in the log. That is wrong when a block reaches into the head's time (late samples, an import) or when a
//! range left no block because all of it was deleted. So the answer is written down, before anything is forgotten, in the
//! file `head.boundary`:
//!
//! ```text
//! magic "FHB1" | valid_from i64 | next_series u64 | crc32 u32      (big-endian)
//! ```
//!
//! A folder without the file was written by Prometheus, which passes over the file. If Prometheus wrote on in the meantime,
//! the file says less than could be known: some samples are then in the head and in a block, which reading does not show.

use std::path::Path;

use crate::fs::{Context, Fs, FsError};
use crate::wal::format::Bytes;

const FILE: &str = "head.boundary";
const MAGIC: &[u8; 4] = b"FHB1";

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Boundary {
    /// Samples before this time, in milliseconds, are in blocks.
    pub(super) valid_from: i64,
    /// The number of the next new series.
    pub(super) next_series: u64,
}

/// Reads the file, if it is there. A damaged one is reported and passed over.
pub(super) fn load(fs: &dyn Fs, dir: &Path) -> Result<Option<Boundary>, FsError> {
    let path = dir.join(FILE);
    if !fs.exists(&path) {
        return Ok(None);
    }
    // Perhaps the process died between renaming and syncing: what is relied on from here on must not be taken back.
    fs.sync_dir(dir).context("sync folder", dir)?;
    let bytes = fs.read(&path).context("read", &path)?;
    let boundary = decode(&bytes);
    if boundary.is_none() {
        tracing::warn!(path = %path.display(), "damaged; the head begins where the newest block ends");
    }
    Ok(boundary)
}

/// Writes the file durably.
pub(super) fn store(fs: &dyn Fs, dir: &Path, boundary: Boundary) -> Result<(), FsError> {
    let path = dir.join(FILE);
    fs.replace(&path, &encode(boundary)).context("write", &path)
}

fn encode(boundary: Boundary) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&boundary.valid_from.to_be_bytes());
    bytes.extend_from_slice(&boundary.next_series.to_be_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Boundary> {
    let (content, crc) = bytes.split_last_chunk::<4>()?;
    let mut rest = Bytes(content);
    let magic = rest.take(MAGIC.len()).ok()?;
    let boundary = Boundary { valid_from: rest.u64().ok()? as i64, next_series: rest.u64().ok()? };
    let whole = magic == MAGIC && rest.is_empty() && crc32fast::hash(content) == u32::from_be_bytes(*crc);
    whole.then_some(boundary)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::fs::MemFs;

    #[test]
    fn what_was_stored_is_loaded_and_damage_is_passed_over() {
        let fs = MemFs::new();
        let dir = Path::new("");
        assert_eq!(load(&fs, dir).unwrap(), None);
        let boundary = Boundary { valid_from: -5, next_series: 1 << 40 };
        store(&fs, dir, boundary).unwrap();
        assert_eq!(load(&fs, dir).unwrap(), Some(boundary));
        for at in 0..24 {
            fs.flip(Path::new(FILE), at, 1).unwrap();
            assert_eq!(load(&fs, dir).unwrap(), None, "byte {at}");
            fs.flip(Path::new(FILE), at, 1).unwrap();
        }
    }
}
