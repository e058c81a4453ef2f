//! A gauge: something that goes up and down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use ferula_model::{Clock, MetricType, Timestamp};

use super::counter::add_float;
use super::family::Instrument;
use crate::family::MetricValue;

/// Shows something that goes up and down: a length, a temperature, a moment. Clones show the same.
///
/// ```
/// use ferula_exposition::registry::Gauge;
///
/// let open = Gauge::default();
/// open.set(3.0);
/// open.dec();
/// assert_eq!(open.value(), 2.0);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<Core>);

#[derive(Debug, Default)]
struct Core {
    /// Bits of a float.
    bits: AtomicU64,
    /// Something was shown since this was last asked: a gauge that is set to what it shows already is not idle.
    touched: AtomicBool,
}

impl Gauge {
    /// Shows `value`.
    #[inline]
    pub fn set(&self, value: f64) {
        self.0.bits.store(value.to_bits(), Relaxed);
        self.0.touched.store(true, Relaxed);
    }

    /// Shows a moment, in seconds since the epoch.
    pub fn set_timestamp(&self, at: Timestamp) {
        self.set(at.as_secs_f64());
    }

    /// Adds `by`, which may be negative.
    #[inline]
    pub fn add(&self, by: f64) {
        add_float(&self.0.bits, by);
        self.0.touched.store(true, Relaxed);
    }

    /// Takes `by` away.
    #[inline]
    pub fn sub(&self, by: f64) {
        self.add(-by);
    }

    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.add(1.0);
    }

    /// Takes one away.
    #[inline]
    pub fn dec(&self) {
        self.add(-1.0);
    }

    /// What it shows.
    pub fn value(&self) -> f64 {
        f64::from_bits(self.0.bits.load(Relaxed))
    }
}

impl Instrument for Gauge {
    type Options = ();
    const TYPE: MetricType = MetricType::Gauge;

    fn create((): &(), _: Option<&Arc<dyn Clock>>) -> Self {
        Self::default()
    }

    fn read(&self) -> MetricValue {
        MetricValue::Gauge(self.value())
    }

    fn handles(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    fn activity(&self, before: u64) -> u64 {
        before.wrapping_add(u64::from(self.0.touched.swap(false, Relaxed)))
    }
}
