//! A counter: something that only rises.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ferula_model::{Clock, Exemplar, MetricType};
use parking_lot::Mutex;

use super::family::Instrument;
use crate::family::MetricValue;

/// Counts something that only rises: requests, bytes, seconds of work. Clones count together.
///
/// Whole numbers go into an integer, so that [`inc`](Self::inc) is a single atomic addition; the rest into a float.
///
/// ```
/// use ferula_exposition::registry::Counter;
///
/// let seconds = Counter::default();
/// seconds.inc();
/// seconds.add(0.25);
/// assert_eq!(seconds.value(), 1.25);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<Core>);

#[derive(Debug, Default)]
struct Core {
    whole: AtomicU64,
    /// Bits of a float.
    rest: AtomicU64,
    exemplar: Mutex<Option<Exemplar>>,
}

impl Counter {
    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.0.whole.fetch_add(1, Relaxed);
    }

    /// Adds a whole number.
    #[inline]
    pub fn inc_by(&self, by: u64) {
        self.0.whole.fetch_add(by, Relaxed);
    }

    /// Adds a number. A counter never falls: what is negative or no number adds nothing.
    #[inline]
    pub fn add(&self, by: f64) {
        if (0.0..9e15).contains(&by) && by.trunc() == by {
            self.inc_by(by as u64);
        } else if by > 0.0 {
            add_float(&self.0.rest, by);
        }
    }

    /// Adds a number, and remembers the event behind it in place of the one remembered before.
    pub fn add_with_exemplar(&self, by: f64, exemplar: Exemplar) {
        self.add(by);
        *self.0.exemplar.lock() = Some(exemplar);
    }

    /// Raises the counter to a number counted elsewhere; does nothing if it is there already. Not to be mixed with
    /// adding.
    pub fn raise_to(&self, value: u64) {
        self.0.whole.fetch_max(value, Relaxed);
    }

    /// The count. It is exact up to 2^53.
    pub fn value(&self) -> f64 {
        self.0.whole.load(Relaxed) as f64 + f64::from_bits(self.0.rest.load(Relaxed))
    }
}

impl Instrument for Counter {
    type Options = ();
    const TYPE: MetricType = MetricType::Counter;

    fn create((): &(), _: Option<&Arc<dyn Clock>>) -> Self {
        Self::default()
    }

    fn read(&self) -> MetricValue {
        MetricValue::Counter { value: self.value(), exemplar: self.0.exemplar.lock().clone() }
    }

    fn handles(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    fn activity(&self, _: u64) -> u64 {
        // Neither part ever falls, so any change shows in one of them.
        self.0.whole.load(Relaxed) ^ self.0.rest.load(Relaxed).rotate_left(32)
    }
}

/// Adds to a float that lives in an integer.
#[inline]
pub(crate) fn add_float(bits: &AtomicU64, by: f64) {
    let mut old = bits.load(Relaxed);
    while let Err(now) = bits.compare_exchange_weak(old, (f64::from_bits(old) + by).to_bits(), Relaxed, Relaxed) {
        old = now;
    }
}
