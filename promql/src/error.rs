//! Errors: why is there no answer?

use std::time::Duration;

use ferula_model::SelectError;
use thiserror::Error;

/// Why a query has no answer. The texts are upstream's where clients match on them.
///
/// ```
/// use ferula_model::Timestamp;
/// use ferula_promql::testing::MemoryStorage;
/// use ferula_promql::{Engine, EngineOptions, QueryError, QueryOptions};
///
/// let engine = Engine::new(EngineOptions::default());
/// let error = engine.instant(&MemoryStorage::new(), "sum(", Timestamp(0), &QueryOptions::default()).unwrap_err();
/// assert!(matches!(error, QueryError::Parse(_)));
/// assert!(!error.is_retryable());
/// ```
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The text is not PromQL, or its types do not fit: the asker's mistake (HTTP 400, `bad_data`). The text has line
    /// and column.
    #[error("{0}")]
    Parse(String),
    /// The query is well-formed but cannot be evaluated over this data (HTTP 422, `execution`).
    #[error("{0}")]
    Execution(String),
    /// A limit was reached: the query would hold too many samples (HTTP 422, `execution`).
    #[error("query processing would load too many samples into memory in query execution")]
    TooManySamples {
        /// The limit.
        limit: u64,
    },
    /// A limit was reached: the query would hold too many bytes (HTTP 422, `execution`).
    #[error("query processing would hold more than {limit} bytes of memory in query execution")]
    TooManyBytes {
        /// The limit.
        limit: u64,
    },
    /// A limit was reached: all queries that run together would hold too many bytes (HTTP 422, `execution`).
    #[error("the queries that run now would together hold more than {limit} bytes of memory")]
    TooManyBytesTogether {
        /// The limit.
        limit: u64,
    },
    /// It took too long (HTTP 503, `timeout`).
    #[error("query timed out in {stage}")]
    Timeout {
        /// What was being done.
        stage: &'static str,
        /// How long it was allowed to take.
        after: Duration,
    },
    /// The asker gave up (HTTP 499, `canceled`).
    #[error("query was canceled in {stage}")]
    Canceled {
        /// What was being done.
        stage: &'static str,
    },
    /// The query may take more than a moment, which [`QueryOptions::only_if_brief`](crate::QueryOptions::only_if_brief)
    /// does not allow. Nothing was evaluated: ask again without, where blocking is allowed.
    #[error("the query may take more than a moment")]
    NotBrief,
    /// The storage could not answer (HTTP 500, `internal`).
    #[error("{0}")]
    Storage(#[from] SelectError),
    /// The answer has another type than the caller asked for.
    #[error("expected a {expected}, got a {got}")]
    WrongType {
        /// The type that was asked for.
        expected: &'static str,
        /// The type of the answer.
        got: &'static str,
    },
}

impl QueryError {
    pub(crate) fn wrong_type(expected: &'static str, got: &'static str) -> Self {
        QueryError::WrongType { expected, got }
    }

    pub(crate) fn execution(message: impl Into<String>) -> Self {
        QueryError::Execution(message.into())
    }

    /// Whether the same query may succeed later: it timed out, was cancelled, other queries needed the memory, or the
    /// storage was in trouble.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            QueryError::Timeout { .. }
                | QueryError::Canceled { .. }
                | QueryError::Storage(_)
                | QueryError::TooManyBytesTogether { .. }
        )
    }
}
