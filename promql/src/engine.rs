//! The engine: text in, answer out.
//!
//! ```text
//!  text --parse--> tree --check--> typed tree --lower, rewrite--> plan --build--> operators --> Answer
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ferula_model::{Queryable, StepGrid, Timestamp};

use crate::error::QueryError;
use crate::syntax::Dialect;
use crate::value::Answer;

/// What an engine is made of. Defaults are upstream's.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EngineOptions {
    /// How far an instant selector looks back; 5 minutes.
    pub lookback: Duration,
    /// How long a query may take; 2 minutes.
    pub timeout: Duration,
    /// How many samples a query may hold at one time; 50,000,000.
    pub max_samples: u64,
    /// How many bytes a query may hold at one time; no limit (0).
    pub max_bytes: u64,
    /// How many queries run at one time, others wait; 20.
    pub max_concurrency: usize,
    /// The step of subqueries that name none; 1 minute.
    pub subquery_step: Duration,
    /// How many threads one query may use; the number of cores.
    pub threads: usize,
    /// The language: its experimental parts, and functions of the host; upstream's stable language.
    pub dialect: Dialect,
    /// Remember that a name is to be dropped and drop it at the end of the evaluation
    /// (`promql-delayed-name-removal`); off.
    pub delayed_name_removal: bool,
    /// Let start timestamps take part in `rate` and its family (`use-start-timestamps`); off.
    pub use_start_timestamps: bool,
    /// Judge by the label `__type__` whether a metric is a counter (`type-and-unit-labels`); off.
    pub type_and_unit_labels: bool,
    /// Count samples for each step too (`promql-per-step-stats`); off.
    pub per_step_statistics: bool,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            lookback: Duration::from_secs(300),
            timeout: Duration::from_secs(120),
            max_samples: 50_000_000,
            max_bytes: 0,
            max_concurrency: 20,
            subquery_step: Duration::from_secs(60),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            dialect: Dialect::default(),
            delayed_name_removal: false,
            use_start_timestamps: false,
            type_and_unit_labels: false,
            per_step_statistics: false,
        }
    }
}

/// What one query may have different from its engine.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct QueryOptions {
    /// How far an instant selector looks back; the engine's if none.
    pub lookback: Option<Duration>,
    /// How long the query may take, if that is less than the engine's.
    pub timeout: Option<Duration>,
    /// How many samples the query may hold, if that is less than the engine's.
    pub max_samples: Option<u64>,
    /// Lets the asker give up.
    pub cancel: CancelToken,
    /// Count samples for each step too, if the engine allows it.
    pub per_step_statistics: bool,
}

/// Lets the asker of a query give up: clones share one flag, which the engine looks at before each series.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token nobody has cancelled yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives up.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody gave up.
    pub fn is_canceled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Evaluates queries over any storage. Holds no thread while it is idle.
#[derive(Debug)]
pub struct Engine {
    options: EngineOptions,
}

impl Engine {
    /// An engine.
    pub fn new(options: EngineOptions) -> Self {
        Self { options }
    }

    /// The options it was made with.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Evaluates a query at one moment. The answer may be of any type.
    ///
    /// # Errors
    ///
    /// See [`QueryError`].
    pub fn instant(
        &self,
        storage: &dyn Queryable,
        query: &str,
        at: Timestamp,
        options: &QueryOptions,
    ) -> Result<Answer, QueryError> {
        let _ = (storage, query, at, options);
        Err(QueryError::execution("not there yet"))
    }

    /// Evaluates a query at each moment of a grid. The answer is a matrix; a scalar becomes a series without labels.
    ///
    /// # Errors
    ///
    /// See [`QueryError`].
    pub fn range(
        &self,
        storage: &dyn Queryable,
        query: &str,
        grid: StepGrid,
        options: &QueryOptions,
    ) -> Result<Answer, QueryError> {
        let _ = (storage, query, grid, options);
        Err(QueryError::execution("not there yet"))
    }
}
