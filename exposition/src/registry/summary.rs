//! A summary: quantiles of what was observed lately.
//!
//! ```text
//!  observe --> count and sum, for ever
//!         '--> the newest of a ring of sketches --after max_age / ages--> the oldest is emptied and becomes the newest
//! ```
//!
//! The window slides in steps: it holds everything of the last `max_age` but for one step. Upstream's clients keep samples in a
//! stream under a lock; here each step is a sketch of exponential buckets (see [`native`](super::native)), so that observing
//! takes no lock, and a quantile is at most 1.1 % off the observation, whatever its rank.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use ferula_model::{Clock, FloatHistogram, MetricType, millis};
use parking_lot::Mutex;

use super::counter::add_float;
use super::family::Instrument;
use super::native::{NativeOptions, Sketch};
use crate::family::{MetricValue, SummaryValue};

/// Bounds 1.1 % apart.
const SCHEMA: i32 = 6;
/// Enough for eight powers of two at that resolution; beyond that it is halved.
const BUCKETS_MAX: usize = 512;

/// Which quantiles a summary tells, and of which time.
///
/// ```
/// use std::time::Duration;
/// use ferula_exposition::registry::SummaryOptions;
///
/// let options = SummaryOptions::new(&[0.5, 0.99]).max_age(Duration::from_secs(60));
/// # let _ = options;
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SummaryOptions {
    quantiles: Box<[f64]>,
    max_age: Duration,
    ages: usize,
}

impl SummaryOptions {
    /// These quantiles, between 0 and 1, of the last ten minutes, which slide in five steps: the defaults of client_golang.
    /// Without quantiles a summary is a count and a sum.
    pub fn new(quantiles: &[f64]) -> Self {
        Self { quantiles: quantiles.into(), max_age: Duration::from_secs(600), ages: 5 }
    }

    /// How long an observation counts, at most; at least a millisecond for each step.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// In how many steps the window slides; each costs a sketch. At least one.
    pub fn age_buckets(mut self, ages: usize) -> Self {
        self.ages = ages.max(1);
        self
    }

    /// A quantile that is none.
    pub(super) fn wrong_quantile(&self) -> Option<f64> {
        self.quantiles.iter().copied().find(|quantile| !(0.0..=1.0).contains(quantile))
    }

    pub(super) fn need_clock(&self) -> bool {
        !self.quantiles.is_empty()
    }
}

/// Counts observations and tells quantiles of the latest. Clones observe together.
///
/// Quantiles cannot be added up over machines; where that is wanted, take a [`Histogram`](super::Histogram).
///
/// ```
/// use std::sync::Arc;
/// use ferula_exposition::{MetricValue, Registry};
/// use ferula_exposition::registry::SummaryOptions;
/// use ferula_model::SystemClock;
///
/// let registry = Registry::with_clock(Arc::new(SystemClock));
/// let size = registry.summary("size_bytes", "Size of requests.", SummaryOptions::new(&[0.5]))?;
/// for bytes in 1..=99 {
///     size.observe(f64::from(bytes));
/// }
/// let MetricValue::Summary(value) = &registry.gather()[0].metrics[0].value else { unreachable!() };
/// let (_, median) = value.quantiles[0];
/// assert!((median / 50.0 - 1.0).abs() < 0.011);
/// # Ok::<(), ferula_exposition::registry::RegisterError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Summary(Arc<Core>);

#[derive(Debug)]
struct Core {
    options: SummaryOptions,
    count: AtomicU64,
    /// Bits of a float.
    sum: AtomicU64,
    window: Option<Window>,
}

impl Summary {
    /// Counts an observation. NaN is in no quantile.
    #[inline]
    pub fn observe(&self, value: f64) {
        self.0.count.fetch_add(1, Relaxed);
        add_float(&self.0.sum, value);
        if let Some(window) = self.0.window.as_ref().filter(|_| !value.is_nan()) {
            window.add(value);
        }
    }

    /// Counts a duration in seconds.
    #[inline]
    pub fn observe_duration(&self, duration: Duration) {
        self.observe(duration.as_secs_f64());
    }
}

impl Instrument for Summary {
    type Options = SummaryOptions;
    const TYPE: MetricType = MetricType::Summary;

    fn create(options: &SummaryOptions, clock: Option<&Arc<dyn Clock>>) -> Self {
        let window = clock.filter(|_| options.need_clock()).map(|clock| Window::new(options, Arc::clone(clock)));
        let (count, sum) = Default::default();
        Self(Arc::new(Core { options: options.clone(), count, sum, window }))
    }

    fn read(&self) -> MetricValue {
        let core = &*self.0;
        let quantiles = match &core.window {
            Some(window) => window.quantiles(&core.options.quantiles),
            None => Vec::new(),
        };
        let sum = f64::from_bits(core.sum.load(Relaxed));
        MetricValue::Summary(SummaryValue { count: Some(core.count.load(Relaxed) as f64), sum: Some(sum), quantiles })
    }

    fn handles(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    fn activity(&self, _: u64) -> u64 {
        self.0.count.load(Relaxed)
    }
}

/// The observations of late, in steps.
#[derive(Debug)]
struct Window {
    clock: Arc<dyn Clock>,
    step_millis: i64,
    steps: Box<[Step]>,
    newest: AtomicUsize,
    /// When the newest step began, in milliseconds.
    since: AtomicI64,
    turning: Mutex<()>,
}

#[derive(Debug)]
struct Step {
    sketch: Sketch,
    /// Bits of floats; `+Inf` and `-Inf` while nothing was observed.
    least: AtomicU64,
    greatest: AtomicU64,
}

impl Window {
    fn new(options: &SummaryOptions, clock: Arc<dyn Clock>) -> Self {
        let step_millis = (millis(options.max_age) / options.ages as i64).max(1);
        let steps = (0..options.ages).map(|_| Step::new()).collect();
        let since = AtomicI64::new(clock.now().as_millis());
        Self { clock, step_millis, steps, newest: AtomicUsize::new(0), since, turning: Mutex::default() }
    }

    #[inline]
    fn add(&self, value: f64) {
        self.turn();
        if let Some(step) = self.steps.get(self.newest.load(Relaxed)) {
            step.add(value);
        }
    }

    /// Goes on to the step of this moment.
    #[inline]
    fn turn(&self) {
        let now = self.clock.now().as_millis();
        if now.saturating_sub(self.since.load(Relaxed)) < self.step_millis {
            return;
        }
        let _turning = self.turning.lock();
        let since = self.since.load(Relaxed);
        let passed = now.saturating_sub(since) / self.step_millis;
        let mut newest = self.newest.load(Relaxed);
        for _ in 0..passed.min(self.steps.len() as i64) {
            newest = (newest + 1) % self.steps.len();
            if let Some(step) = self.steps.get(newest) {
                step.clear();
            }
        }
        self.newest.store(newest, Relaxed);
        self.since.store(since.saturating_add(passed.saturating_mul(self.step_millis)), Relaxed);
    }

    fn quantiles(&self, quantiles: &[f64]) -> Vec<(f64, f64)> {
        self.turn();
        let (mut all, mut least, mut greatest) = (None::<FloatHistogram>, f64::INFINITY, f64::NEG_INFINITY);
        for step in &self.steps {
            let of_step = step.sketch.read().histogram().to_float();
            least = least.min(f64::from_bits(step.least.load(Relaxed)));
            greatest = greatest.max(f64::from_bits(step.greatest.load(Relaxed)));
            match &mut all {
                None => all = Some(of_step),
                // Exponential buckets can always be added.
                Some(all) => drop(all.add(&of_step)),
            }
        }
        let value = |quantile: f64| match &all {
            Some(all) if all.count > 0.0 && least <= greatest => all.quantile(quantile).value.clamp(least, greatest),
            _ => f64::NAN,
        };
        quantiles.iter().map(|quantile| (*quantile, value(*quantile))).collect()
    }
}

impl Step {
    fn new() -> Self {
        let options = NativeOptions::of_schema(SCHEMA).buckets_max(BUCKETS_MAX).reset_after(Duration::ZERO);
        Self {
            sketch: Sketch::new(options, 0, None),
            least: AtomicU64::new(f64::INFINITY.to_bits()),
            greatest: AtomicU64::new(f64::NEG_INFINITY.to_bits()),
        }
    }

    #[inline]
    fn add(&self, value: f64) {
        let replaces = |extreme: &AtomicU64, better: fn(&f64, &f64) -> bool| {
            let mut old = extreme.load(Relaxed);
            while better(&value, &f64::from_bits(old)) {
                match extreme.compare_exchange_weak(old, value.to_bits(), Relaxed, Relaxed) {
                    Ok(_) => break,
                    Err(now) => old = now,
                }
            }
        };
        replaces(&self.least, f64::lt);
        replaces(&self.greatest, f64::gt);
        self.sketch.add(value, 1, None);
    }

    fn clear(&self) {
        self.sketch.clear();
        self.least.store(f64::INFINITY.to_bits(), Relaxed);
        self.greatest.store(f64::NEG_INFINITY.to_bits(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferula_model::{ManualClock, Timestamp};

    fn read(summary: &Summary) -> SummaryValue {
        match summary.read() {
            MetricValue::Summary(value) => value,
            _ => SummaryValue::default(),
        }
    }

    #[test]
    fn quantiles_are_close_to_the_observations_of_that_rank() {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Timestamp(0)));
        let options = SummaryOptions::new(&[0.0, 0.25, 0.5, 0.9, 0.999, 1.0]);
        let summary = Summary::create(&options, Some(&clock));
        let mut values: Vec<f64> = (0..10_000).map(|i| (f64::from(i % 9_973) / 500.0).exp() / 1000.0).collect();
        values.iter().for_each(|value| summary.observe(*value));
        values.sort_by(f64::total_cmp);
        for (quantile, value) in read(&summary).quantiles {
            let exact = values[((quantile * 10_000.0) as usize).min(9_999)];
            assert!((value / exact - 1.0).abs() < 0.05, "{quantile}: {value} for {exact}");
        }
    }

    #[test]
    fn equal_observations_have_exact_quantiles() {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Timestamp(0)));
        let summary = Summary::create(&SummaryOptions::new(&[0.5]), Some(&clock));
        (0..3).for_each(|_| summary.observe(5.0));
        summary.observe(f64::NAN);
        assert_eq!(read(&summary).quantiles, [(0.5, 5.0)]);
        assert_eq!(read(&summary).count, Some(4.0));
    }

    #[test]
    fn what_is_old_leaves_the_window_and_stays_in_the_count() {
        let clock = Arc::new(ManualClock::at(Timestamp(0)));
        let shared: Arc<dyn Clock> = clock.clone();
        let options = SummaryOptions::new(&[1.0]).max_age(Duration::from_secs(50));
        let summary = Summary::create(&options, Some(&shared));
        summary.observe(100.0);
        clock.advance(Duration::from_secs(40));
        summary.observe(1.0);
        assert_eq!(read(&summary).quantiles, [(1.0, 100.0)]);
        clock.advance(Duration::from_secs(10));
        assert_eq!(read(&summary).quantiles, [(1.0, 1.0)]);
        clock.advance(Duration::from_secs(5000));
        assert!(read(&summary).quantiles[0].1.is_nan());
        assert_eq!((read(&summary).count, read(&summary).sum), (Some(2.0), Some(101.0)));
    }
}
