//! What can be wrong with a block.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ferula_model::SelectError;
use thiserror::Error;

use super::wire::Malformed;
use crate::fs::FsError;

/// Why a block could not be read or written. The other blocks of the directory are not concerned.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum BlockError {
    /// The system refused an operation on a file. Trying again may help.
    #[error(transparent)]
    Io(#[from] FsError),
    /// Bytes that are not what the format says. The file will not get better by itself.
    #[error("{}: {problem} at byte {offset}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        offset: u64,
        /// What is wrong there.
        problem: String,
    },
    /// A file from a newer, or no, writer.
    #[error("{}: unknown version {version}", path.display())]
    UnknownVersion {
        /// The file.
        path: PathBuf,
        /// The version it says.
        version: u64,
    },
    /// The merge was stopped before it was done, by
    /// [`BlockDirectory::stop`](super::BlockDirectory::stop). All blocks are as they were.
    #[error("stopped")]
    Stopped,
    /// More than the format can hold: split the block.
    #[error("{what} of {size} exceeds the format's limit of {limit}")]
    TooLarge {
        /// What grew too large, `symbol table` for instance.
        what: &'static str,
        /// Its size.
        size: u64,
        /// The largest size.
        limit: u64,
    },
    /// Series or chunks were handed to a writer in the wrong order, or a symbol was not announced. The block that was being
    /// written is worthless; nothing on disk has changed.
    #[error("series {series}: {problem}")]
    OutOfOrder {
        /// Labels of the series.
        series: String,
        /// What is out of order.
        problem: &'static str,
    },
}

impl BlockError {
    /// Malformed bytes of a file.
    pub(crate) fn corrupt(path: &Path) -> impl Fn(Malformed) -> Self {
        move |Malformed { offset, problem }| Self::Corrupt {
            path: path.to_owned(),
            offset,
            problem: problem.to_owned(),
        }
    }

    /// Whether bytes on disk are wrong, as opposed to an operation that the system refused: such a block is put into
    /// quarantine, while a refused operation is tried again.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::UnknownVersion { .. })
    }
}

impl From<BlockError> for SelectError {
    fn from(error: BlockError) -> Self {
        match error {
            BlockError::Corrupt { path, offset, problem } => {
                Self::Corrupt { place: format!("{} at byte {offset}", path.display()), problem }
            }
            BlockError::Io(FsError { operation, path, source }) => {
                Self::Io { context: format!("{operation} {path}"), source }
            }
            other => Self::Other(Arc::new(other)),
        }
    }
}
