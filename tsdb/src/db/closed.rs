//! What a closed database gives to those who want to append.

use ferula_model::{
    AppendError, Appender, CommitError, CommitSummary, Exemplar, Metadata, Sample, SeriesRef, Timestamp,
};

/// The appender of a closed database.
pub(super) struct Closed;

fn closed() -> AppendError {
    AppendError::NotWritable("the database is closed".into())
}

impl Appender for Closed {
    fn series(&mut self, _: &[(&str, &str)]) -> Result<SeriesRef, AppendError> {
        Err(closed())
    }

    fn append(&mut self, _: SeriesRef, _: Sample) -> Result<(), AppendError> {
        Err(closed())
    }

    fn append_float(&mut self, _: SeriesRef, _: Timestamp, _: f64) -> Result<(), AppendError> {
        Err(closed())
    }

    fn append_exemplar(&mut self, _: SeriesRef, _: Exemplar) -> Result<(), AppendError> {
        Err(closed())
    }

    fn set_metadata(&mut self, _: SeriesRef, _: &Metadata) -> Result<(), AppendError> {
        Err(closed())
    }

    fn commit(self: Box<Self>) -> Result<CommitSummary, CommitError> {
        Err(CommitError::NotWritable("the database is closed".into()))
    }

    fn rollback(self: Box<Self>) {}
}
