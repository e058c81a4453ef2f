//! What replay says: how much there was, and what was wrong.

use thiserror::Error;

use super::Missing;
use crate::fs::FsError;
use crate::wal::reader::{Corruption, Lost};

/// Why the log could not be replayed.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// A file could not be read or written.
    #[error(transparent)]
    Fs(FsError),
    /// A checkpoint is damaged. It holds what is nowhere else, so the host must decide: restore it from a backup, or remove
    /// it together with the log and lose what it had.
    #[error("checkpoint: {0}")]
    Checkpoint(Corruption),
    /// A series number that this version cannot hold.
    #[error("series number {0} in the log is beyond 2^32")]
    SeriesNumber(u64),
}

/// What replay found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ReplayReport {
    /// Series that were created.
    pub series: u64,
    /// Samples that were applied.
    pub samples: u64,
    /// Records that were read.
    pub records: u64,
    /// Items of the log of series that no record had introduced: they are lost.
    pub unknown: UnknownItems,
    /// The same for the log of late samples.
    pub unknown_late: UnknownItems,
    /// Records that could not be understood: they are lost.
    pub bad_records: u64,
    /// Where the log was damaged, and what was cut off.
    pub damage: Vec<(Corruption, Lost)>,
    /// What of the log is not there at all.
    pub missing: Vec<Missing>,
    /// Whether the head came from the snapshot of a clean close, so that the log was not read.
    pub from_snapshot: bool,
    /// Head chunk files that were damaged; what they held was taken from the log.
    pub damaged_chunk_files: u64,
    pub(crate) next_segment: u64,
    pub(crate) next_late_segment: u64,
    /// Whether something in the log deletes samples.
    pub(crate) deletes: bool,
}

/// Items of a log whose series no record had introduced, by their kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownItems {
    /// Float samples.
    pub samples: u64,
    /// Histogram samples.
    pub histograms: u64,
    /// Exemplars.
    pub exemplars: u64,
    /// Metadata.
    pub metadata: u64,
    /// Deletions.
    pub tombstones: u64,
}

impl UnknownItems {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.samples + self.histograms + self.exemplars + self.metadata + self.tombstones
    }
}
