//! Statistics: what did a query cost?

use std::time::Duration;

use ferula_model::Timestamp;

/// The cost of one query, as `stats=all` of the HTTP API reports it.
///
/// ```
/// use ferula_model::{Labels, Sample, Timestamp};
/// use ferula_promql::testing::MemoryStorage;
/// use ferula_promql::{Engine, EngineOptions, QueryOptions};
///
/// let storage = MemoryStorage::new();
/// storage.insert(&Labels::from_pairs([("__name__", "up"), ("job", "api")]), Sample::float(Timestamp(0), 1.0));
/// let engine = Engine::new(EngineOptions::default());
/// let answer = engine.instant(&storage, "up", Timestamp(0), &QueryOptions::default())?;
/// assert_eq!(answer.statistics.samples.read, 1);
/// assert!(answer.statistics.timings.exec_total >= answer.statistics.timings.inner_eval);
/// # Ok::<(), ferula_promql::QueryError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Statistics {
    /// Where the time went.
    pub timings: Timings,
    /// How many samples were touched.
    pub samples: SampleStatistics,
}

/// Where the time of a query went.
///
/// ```
/// use ferula_promql::Timings;
///
/// let timings = Timings::default();
/// assert!(timings.exec_queue.is_zero(), "nothing ran");
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Timings {
    /// From the end of the queue to the answer.
    pub eval_total: Duration,
    /// Sorting the result.
    pub result_sort: Duration,
    /// Parsing, planning and selecting series.
    pub query_preparation: Duration,
    /// Evaluating.
    pub inner_eval: Duration,
    /// Waiting for a free place.
    pub exec_queue: Duration,
    /// Everything.
    pub exec_total: Duration,
}

/// How many samples a query touched. A histogram counts for as many samples as it is large (upstream's measure).
///
/// ```
/// use ferula_model::{Labels, Sample, Timestamp};
/// use ferula_promql::testing::MemoryStorage;
/// use ferula_promql::{Engine, EngineOptions, QueryOptions};
///
/// let storage = MemoryStorage::new();
/// storage.insert(&Labels::from_pairs([("__name__", "up"), ("job", "api")]), Sample::float(Timestamp(0), 1.0));
/// let engine = Engine::new(EngineOptions::default());
/// let mut options = QueryOptions::default();
/// options.statistics = true;
/// let answer = engine.instant(&storage, "count_over_time(up[5m])", Timestamp(0), &options)?;
/// let samples = &answer.statistics.samples;
/// assert_eq!((samples.total_queryable, samples.read), (1, 1));
/// # Ok::<(), ferula_promql::QueryError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SampleStatistics {
    /// Samples that the windows of all steps contain, counted once for each step.
    pub total_queryable: u64,
    /// Samples read, counted once.
    pub read: u64,
    /// The most samples held at one time.
    pub peak: u64,
    /// The most bytes of samples and steps held at one time, as far as the engine accounts for them.
    pub bytes_peak: u64,
    /// `total_queryable` for each step, if it was asked for.
    pub total_queryable_per_step: Vec<(Timestamp, u64)>,
    /// `read` for each step, if it was asked for.
    pub read_per_step: Vec<(Timestamp, u64)>,
}
