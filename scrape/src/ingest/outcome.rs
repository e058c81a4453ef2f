//! What comes of a body: counts, and why it brought nothing.

use ferula_exposition::ParseError;
use ferula_model::AppendError;
use thiserror::Error;

use super::rules::SeriesError;
use crate::job::ContentTypeError;

/// What a body brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Samples in the body.
    pub(crate) scraped: u64,
    /// Samples that relabelling left, dropped ones of other reasons included.
    pub(crate) after_relabelling: u64,
    /// Series that the cache did not know.
    pub(crate) series_added: u64,
    pub(crate) refused: Refused,
}

/// Samples that were refused one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) out_of_order: u64,
    pub(crate) duplicate: u64,
    pub(crate) out_of_bounds: u64,
    pub(crate) exemplars_out_of_order: u64,
    /// Exemplars that the storage refused for another reason.
    pub(crate) exemplars_invalid: u64,
    /// Samples of new series that the storage has no room for.
    pub(crate) series_limit: u64,
}

/// Why a scrape brought nothing.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum IngestError {
    /// The answer does not say what it is.
    #[error(transparent)]
    ContentType(#[from] ContentTypeError),
    /// The body is not in its format.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A series cannot be.
    #[error(transparent)]
    Series(#[from] SeriesError),
    /// More samples than `sample_limit`.
    #[error("sample limit exceeded")]
    SampleLimit,
    /// More buckets than `native_histogram_bucket_limit`, and no coarser resolution.
    #[error("histogram bucket limit exceeded")]
    BucketLimit,
    /// The storage refuses more than the sample.
    #[error(transparent)]
    Append(#[from] AppendError),
}
