//! What the host chooses: for an engine, and for a query.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::functions::FunctionRegistry;
use crate::syntax::Dialect;

/// What an engine is made of. Defaults are upstream's.
///
/// ```
/// use ferula_promql::EngineOptions;
///
/// let mut options = EngineOptions::default();
/// options.max_bytes_together = 512 << 20;
/// options.threads = 2;
/// assert_eq!(options.lookback.as_secs(), 300);
/// ```
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
    /// How many bytes all queries of the engine may hold together at one time; no limit (0).
    pub max_bytes_together: u64,
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
    /// Functions of the host; none.
    pub functions: FunctionRegistry,
    /// Is told which queries run; nobody.
    pub observer: Option<Arc<dyn QueryObserver>>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            lookback: Duration::from_secs(300),
            timeout: Duration::from_secs(120),
            max_samples: 50_000_000,
            max_bytes: 0,
            max_bytes_together: 0,
            max_concurrency: 20,
            subquery_step: Duration::from_secs(60),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            dialect: Dialect::default(),
            delayed_name_removal: false,
            use_start_timestamps: false,
            type_and_unit_labels: false,
            per_step_statistics: false,
            functions: FunctionRegistry::new(),
            observer: None,
        }
    }
}

/// What one query may have different from its engine.
///
/// ```
/// use std::time::Duration;
/// use ferula_model::Timestamp;
/// use ferula_promql::testing::MemoryStorage;
/// use ferula_promql::{Engine, EngineOptions, QueryOptions};
///
/// let mut options = QueryOptions::default();
/// options.timeout = Some(Duration::from_secs(5));
/// options.statistics = true;
/// let answer = Engine::new(EngineOptions::default()).instant(&MemoryStorage::new(), "up", Timestamp(0), &options)?;
/// assert_eq!(answer.statistics.samples.total_queryable, 0);
/// # Ok::<(), ferula_promql::QueryError>(())
/// ```
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
    /// Count the samples in all windows (`stats=true`).
    pub statistics: bool,
    /// Count samples for each step too (`stats=all`), if the engine allows it.
    pub per_step_statistics: bool,
    /// Evaluate only what takes about a millisecond at most and waits for nothing; refuse the rest as
    /// [`NotBrief`](crate::QueryError::NotBrief). For threads that must not be held up, such as those that serve sockets.
    /// It is judged before anything is read, from what the storage says in [`at_most`](ferula_model::Querier::at_most);
    /// over a storage that says nothing no selector is brief. The calling thread does all of the work.
    pub only_if_brief: bool,
}

/// Lets the asker of a query give up: clones share one flag, which the engine looks at before each series.
///
/// ```
/// use ferula_model::Timestamp;
/// use ferula_promql::testing::MemoryStorage;
/// use ferula_promql::{CancelToken, Engine, EngineOptions, QueryError, QueryOptions};
///
/// let mut options = QueryOptions::default();
/// options.cancel = CancelToken::new();
/// let for_another_thread = options.cancel.clone();
/// for_another_thread.cancel();
/// let outcome = Engine::new(EngineOptions::default()).instant(&MemoryStorage::new(), "up", Timestamp(0), &options);
/// assert!(matches!(outcome, Err(QueryError::Canceled { .. })));
/// ```
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

/// Is told which queries run: an active-query log, a metric, a monitor.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::sync::Arc;
/// use ferula_model::Timestamp;
/// use ferula_promql::testing::MemoryStorage;
/// use ferula_promql::{Engine, EngineOptions, QueryObserver, QueryOptions};
///
/// #[derive(Debug, Default)]
/// struct Count(AtomicU64);
///
/// impl QueryObserver for Count {
///     fn started(&self, _query: &str) -> u64 {
///         self.0.fetch_add(1, Ordering::Relaxed)
///     }
///
///     fn finished(&self, _token: u64) {}
/// }
///
/// let count = Arc::new(Count::default());
/// let mut options = EngineOptions::default();
/// options.observer = Some(count.clone());
/// Engine::new(options).instant(&MemoryStorage::new(), "1", Timestamp(0), &QueryOptions::default())?;
/// assert_eq!(count.0.load(Ordering::Relaxed), 1);
/// # Ok::<(), ferula_promql::QueryError>(())
/// ```
pub trait QueryObserver: Send + Sync + std::fmt::Debug {
    /// A query has left the queue and begins. The answer is given back when it ends.
    fn started(&self, query: &str) -> u64;

    /// A query has ended.
    fn finished(&self, token: u64);
}
