//! Samples: what a series holds at one moment.

use std::fmt;

use crate::histogram::Histogram;
use crate::number::{FloatForm, write_float};
use crate::time::Timestamp;

/// The NaN that says "this series has ended here". Compare with [`is_stale`], never with `==`.
pub const STALE_MARKER: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// The NaN that every other NaN becomes when it is read from an exposition.
pub const NORMAL_NAN: f64 = f64::from_bits(0x7ff8_0000_0000_0001);

/// Whether a float is the stale marker, bit for bit.
///
/// ```
/// use ferula_model::{is_stale, STALE_MARKER};
/// assert!(is_stale(STALE_MARKER) && !is_stale(f64::NAN));
/// ```
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_MARKER.to_bits()
}

/// A value of a series: a float or a native histogram.
#[derive(Clone, Debug)]
pub enum Value {
    /// A 64-bit float. NaN payloads are kept; the stale marker is one of them.
    Float(f64),
    /// A native histogram. Its stale marker is a histogram whose sum is [`STALE_MARKER`].
    Histogram(Histogram),
}

impl Value {
    /// Whether this is a staleness marker of either kind.
    pub fn is_stale(&self) -> bool {
        match self {
            Value::Float(value) => is_stale(*value),
            Value::Histogram(histogram) => is_stale(histogram.sum()),
        }
    }

    /// Equality by bits: `NaN` equals the same `NaN`, `0` differs from `-0`. This is how the engine tells a repeated
    /// sample from a conflicting one.
    pub fn same_bits(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
            (Value::Histogram(a), Value::Histogram(b)) => a.same_bits(b),
            _ => false,
        }
    }
}

/// A float as Prometheus writes it in answers (`NaN`, `+Inf`, `1e+21`), a histogram as it prints one (`{count:3, sum:4, (1,2]:3}`).
///
/// ```
/// use ferula_model::Value;
///
/// assert_eq!(Value::Float(0.5).to_string(), "0.5");
/// assert_eq!(Value::Float(f64::INFINITY).to_string(), "+Inf");
/// ```
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Float(value) => write_float(f, *value, FloatForm::Json),
            Value::Histogram(histogram) => histogram.fmt(f),
        }
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Float(value)
    }
}

impl From<Histogram> for Value {
    fn from(histogram: Histogram) -> Self {
        Value::Histogram(histogram)
    }
}

/// A value with its time.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When the value held.
    pub timestamp: Timestamp,
    /// The start timestamp of a counter or histogram, where the target said one.
    pub start: Option<Timestamp>,
    /// What held.
    pub value: Value,
}

impl Sample {
    /// A float sample without a start timestamp.
    pub fn float(timestamp: Timestamp, value: f64) -> Self {
        Self { timestamp, start: None, value: Value::Float(value) }
    }

    /// A histogram sample without a start timestamp.
    pub fn histogram(timestamp: Timestamp, histogram: impl Into<Histogram>) -> Self {
        Self { timestamp, start: None, value: Value::Histogram(histogram.into()) }
    }
}
