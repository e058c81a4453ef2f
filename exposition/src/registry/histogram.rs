//! A histogram: how many observations were at most so large?

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use ferula_model::{Clock, Exemplar, MetricType, Timestamp};
use parking_lot::Mutex;

use super::counter::add_float;
use super::exemplars::Exemplars;
use super::family::Instrument;
use super::native::{NativeOptions, Sketch};
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

/// Which buckets a histogram has: classic ones, native ones, or both. With neither there is a single bucket, up to `+Inf`.
///
/// ```
/// use ferula_exposition::Registry;
/// use ferula_exposition::registry::{DEFAULT_BUCKETS, HistogramOptions, NativeOptions};
///
/// let options = HistogramOptions::default().buckets(&DEFAULT_BUCKETS).native(NativeOptions::new(1.1)?);
/// let registry = Registry::new();
/// let latency = registry.histogram_family_with("latency_seconds", "How long requests take.", ["path"], options)?;
/// latency.with(["/"]).observe(0.2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramOptions {
    bounds: Arc<[f64]>,
    native: Option<NativeOptions>,
}

impl Default for HistogramOptions {
    fn default() -> Self {
        Self { bounds: [].into(), native: None }
    }
}

impl HistogramOptions {
    /// Classic buckets with these upper bounds, which rise strictly; the last bucket, up to `+Inf`, is added. Other bounds
    /// are refused when the histogram is registered.
    pub fn buckets(mut self, bounds: &[f64]) -> Self {
        self.bounds = match bounds {
            [finite @ .., last] if *last == f64::INFINITY => finite.into(),
            all => all.into(),
        };
        self
    }

    /// Native buckets.
    pub fn native(mut self, native: NativeOptions) -> Self {
        self.native = Some(native);
        self
    }

    pub(crate) fn are_valid(&self) -> bool {
        let rises = self.bounds.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
        rises && self.bounds.iter().all(|bound| bound.is_finite())
    }
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
    counts: Counts,
    exemplars: Mutex<Exemplars>,
}

#[derive(Debug)]
enum Counts {
    Classic {
        /// One more than bounds: the last one is up to `+Inf`. Not cumulative.
        buckets: Box<[AtomicU64]>,
        /// Bits of a float.
        sum: AtomicU64,
    },
    /// Native buckets, and the classic ones with them so that a reset empties both.
    Native(Box<Sketch>),
}

impl Histogram {
    /// Counts an observation. NaN falls into the last classic bucket and into no native one.
    #[inline]
    pub fn observe(&self, value: f64) {
        self.observe_times(value, 1);
    }

    /// Counts `times` observations of the same value.
    #[inline]
    pub fn observe_times(&self, value: f64, times: u64) {
        let core = &*self.0;
        match &core.counts {
            Counts::Classic { buckets, sum } => {
                if let Some(count) = buckets.get(core.bucket(value)) {
                    count.fetch_add(times, Relaxed);
                }
                add_float(sum, value * times as f64);
            }
            Counts::Native(sketch) => {
                let classic = (!core.bounds.is_empty()).then(|| core.bucket(value));
                sketch.add(value, times, classic);
            }
        }
    }

    /// Counts a duration in seconds.
    #[inline]
    pub fn observe_duration(&self, duration: Duration) {
        self.observe(duration.as_secs_f64());
    }

    /// Counts an observation, and remembers the event behind it: in place of the one remembered in its classic bucket, and
    /// among those of the native buckets, where it replaces the one that is most like it or too old.
    pub fn observe_with_exemplar(&self, value: f64, exemplar: Exemplar) {
        self.observe(value);
        self.0.exemplars.lock().keep(self.0.bucket(value), exemplar);
    }

    /// How many observations.
    pub fn count(&self) -> u64 {
        match &self.0.counts {
            Counts::Classic { buckets, .. } => buckets.iter().map(|count| count.load(Relaxed)).sum(),
            Counts::Native(sketch) => sketch.read().histogram().count,
        }
    }

    /// The sum of the observations.
    pub fn sum(&self) -> f64 {
        match &self.0.counts {
            Counts::Classic { sum, .. } => f64::from_bits(sum.load(Relaxed)),
            Counts::Native(sketch) => sketch.read().histogram().sum,
        }
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

    /// The classic buckets of counts that are not cumulative.
    fn classic(&self, counts: impl Iterator<Item = u64>) -> Vec<Bucket> {
        let exemplars = self.exemplars.lock();
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let mut total = 0;
        let buckets = bounds.zip(counts).enumerate().map(|(i, (upper_bound, count))| {
            total += count;
            Bucket { upper_bound, cumulative_count: total as f64, exemplar: exemplars.of_bucket(i) }
        });
        buckets.collect()
    }

    fn read_native(&self, sketch: &Sketch) -> HistogramValue {
        let reading = sketch.read();
        let native = reading.histogram();
        let mut buckets = Vec::new();
        if !self.bounds.is_empty() {
            buckets = self.classic(reading.classic().iter().copied());
            // An observation that came in between is only in the native buckets yet.
            let last = buckets.len() - 1;
            for (i, bucket) in buckets.iter_mut().enumerate() {
                let count = native.count as f64;
                bucket.cumulative_count = if i == last { count } else { bucket.cumulative_count.min(count) };
            }
        }
        let exemplars = self.exemplars.lock().native();
        let (count, sum) = (Some(native.count as f64), Some(native.sum));
        HistogramValue { count, sum, buckets, native: Some(native.into()), exemplars }
    }
}

impl Instrument for Histogram {
    type Options = HistogramOptions;
    const TYPE: MetricType = MetricType::Histogram;

    fn create(options: &HistogramOptions, clock: Option<&Arc<dyn Clock>>) -> Self {
        let (bounds, slots) = (Arc::clone(&options.bounds), options.bounds.len() + 1);
        let (counts, exemplars) = match &options.native {
            None => {
                let buckets = (0..slots).map(|_| AtomicU64::new(0)).collect();
                (Counts::Classic { buckets, sum: AtomicU64::new(0) }, Exemplars::new(slots, 0))
            }
            Some(native) => {
                let classic = if bounds.is_empty() { 0 } else { slots };
                let exemplars = Exemplars::new(classic, native.exemplars_max);
                (Counts::Native(Box::new(Sketch::new(native.clone(), classic, clock.cloned()))), exemplars)
            }
        };
        Self(Arc::new(Core { bounds, counts, exemplars: Mutex::new(exemplars) }))
    }

    fn read(&self) -> MetricValue {
        let core = &*self.0;
        let value = match &core.counts {
            Counts::Classic { buckets, .. } => {
                let buckets = core.classic(buckets.iter().map(|count| count.load(Relaxed)));
                let count = buckets.last().map(|last| last.cumulative_count);
                HistogramValue { count, sum: Some(self.sum()), buckets, ..HistogramValue::default() }
            }
            Counts::Native(sketch) => core.read_native(sketch),
        };
        MetricValue::Histogram(Box::new(value))
    }

    fn handles(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    fn activity(&self, _: u64) -> u64 {
        match &self.0.counts {
            Counts::Classic { .. } => self.count(),
            Counts::Native(sketch) => sketch.activity(),
        }
    }

    fn restarted(&self) -> Option<Timestamp> {
        match &self.0.counts {
            Counts::Classic { .. } => None,
            Counts::Native(sketch) => sketch.restarted(),
        }
    }
}
