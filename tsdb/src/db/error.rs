//! Why opening or maintenance went wrong.

use ferula_model::SelectError;
use thiserror::Error;

use crate::block::BlockError;
use crate::fs::FsError;
use crate::head::ReplayError;
use crate::wal::reader::ReadError;

/// Why a database could not be opened.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another database, in this process or another, has the folder.
    #[error("{path} is in use by another database")]
    Locked {
        /// The lock file.
        path: String,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The log could not be replayed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// An option contradicts itself.
    #[error("invalid option: {0}")]
    Option(&'static str),
}

/// Why maintenance, a deletion or a snapshot went wrong. Reading and writing go on.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum DbError {
    /// A file could not be read or written.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A block could not be read or written.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The head could not be read.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The database takes no writes any more.
    #[error("storage is not writable: {0}")]
    NotWritable(String),
}

impl DbError {
    /// Whether the disk has no space left: it is tried again, and works when there is some.
    pub fn is_full(&self) -> bool {
        match self {
            DbError::Fs(error) | DbError::Block(BlockError::Io(error)) | DbError::Log(ReadError::Fs(error)) => {
                error.is_full()
            }
            _ => false,
        }
    }
}
