//! A classic histogram: how many observations were at most so large?

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use ferula_model::{Exemplar, MetricType};
use parking_lot::Mutex;

use super::counter::add_float;
use super::family::Instrument;
use crate::family::{Bucket, HistogramValue, MetricValue};

/// Bounds for the latency of network services, in seconds; the default of Prometheus' client libraries.
pub const DEFAULT_BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// `count` bounds from `first` on, each `width` above the one before.
pub fn linear_buckets(first: f64, width: f64, count: usize) -> Vec<f64> {
    (0..count).map(|i| first + width * i as f64).collect()
}

/// `count` bounds from `first` on, each `factor` times the one before.
pub fn exponential_buckets(first: f64, factor: f64, count: usize) -> Vec<f64> {
    std::iter::successors(Some(first), |bound| Some(bound * factor)).take(count).collect()
}

/// Counts observations in buckets. Clones observe together.
///
/// The count is the sum of the buckets, so a reader never sees a bucket that disagrees with it. The sum of the observations
/// is a number apart: a reader may see it a moment before or after the bucket.
///
/// ```
/// use ferula_exposition::Registry;
///
/// let registry = Registry::new();
/// let latency = registry.histogram("latency_seconds", "How long requests take.", &[0.1, 1.0])?;
/// latency.observe(0.05);
/// latency.observe(3.0);
/// assert_eq!((latency.count(), latency.sum()), (2, 3.05));
/// # Ok::<(), ferula_exposition::registry::RegisterError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Core>);

#[derive(Debug)]
struct Core {
    bounds: Arc<[f64]>,
    /// One more than bounds: the last one is up to `+Inf`. Not cumulative.
    counts: Box<[AtomicU64]>,
    /// Bits of a float.
    sum: AtomicU64,
    exemplars: Mutex<Vec<Option<Exemplar>>>,
}

impl Histogram {
    /// Counts an observation. NaN falls into the last bucket.
    #[inline]
    pub fn observe(&self, value: f64) {
        let core = &*self.0;
        if let Some(count) = core.counts.get(core.bucket(value)) {
            count.fetch_add(1, Relaxed);
        }
        add_float(&core.sum, value);
    }

    /// Counts a duration in seconds.
    #[inline]
    pub fn observe_duration(&self, duration: Duration) {
        self.observe(duration.as_secs_f64());
    }

    /// Counts an observation, and remembers the event behind it in place of the one remembered in its bucket.
    pub fn observe_with_exemplar(&self, value: f64, exemplar: Exemplar) {
        self.observe(value);
        let mut exemplars = self.0.exemplars.lock();
        exemplars.resize(self.0.counts.len(), None);
        if let Some(slot) = exemplars.get_mut(self.0.bucket(value)) {
            *slot = Some(exemplar);
        }
    }

    /// How many observations.
    pub fn count(&self) -> u64 {
        self.0.counts.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// The sum of the observations.
    pub fn sum(&self) -> f64 {
        f64::from_bits(self.0.sum.load(Relaxed))
    }
}

impl Core {
    #[inline]
    fn bucket(&self, value: f64) -> usize {
        // Few bounds are searched faster one by one.
        if self.bounds.len() <= 24 {
            return self.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.bounds.len());
        }
        if value.is_nan() { self.bounds.len() } else { self.bounds.partition_point(|bound| *bound < value) }
    }
}

impl Instrument for Histogram {
    type Options = Arc<[f64]>;
    const TYPE: MetricType = MetricType::Histogram;

    fn create(bounds: &Arc<[f64]>) -> Self {
        Self(Arc::new(Core {
            bounds: Arc::clone(bounds),
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
            exemplars: Mutex::default(),
        }))
    }

    fn read(&self) -> MetricValue {
        let exemplars = self.0.exemplars.lock();
        let bounds = self.0.bounds.iter().copied().chain([f64::INFINITY]);
        let mut total = 0;
        let buckets: Vec<_> = bounds
            .zip(&self.0.counts)
            .enumerate()
            .map(|(i, (upper_bound, count))| {
                total += count.load(Relaxed);
                let exemplar = exemplars.get(i).cloned().flatten();
                Bucket { upper_bound, cumulative_count: total as f64, exemplar }
            })
            .collect();
        let (count, sum) = (Some(total as f64), Some(self.sum()));
        MetricValue::Histogram(Box::new(HistogramValue { count, sum, buckets, ..HistogramValue::default() }))
    }

    fn handles(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

/// The bounds without a trailing `+Inf`, if they rise strictly.
pub(super) fn checked_bounds(bounds: &[f64]) -> Option<Arc<[f64]>> {
    let finite = match bounds {
        [finite @ .., last] if *last == f64::INFINITY => finite,
        all => all,
    };
    let rises = finite.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
    (rises && finite.iter().all(|bound| bound.is_finite())).then(|| finite.into())
}
