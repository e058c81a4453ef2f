//! Statistics: what did a query cost?

use std::time::Duration;

use ferula_model::Timestamp;

/// The cost of one query, as `stats=all` of the HTTP API reports it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Statistics {
    /// Where the time went.
    pub timings: Timings,
    /// How many samples were touched.
    pub samples: SampleStatistics,
}

/// Where the time of a query went.
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
