//! Native histograms: layout, algebra and quantiles.
//!
//! Counts come in two forms: an [`IntegerHistogram`] as targets expose and disks store it (bucket counts as deltas), and a
//! [`FloatHistogram`] as queries compute with it (absolute counts). [`Histogram`] is either, behind one pointer.
//!
//! Buckets are sparse: a [`Span`] says how many neighbouring buckets follow after how large a gap, the counts stand one
//! behind the other. Schemas -4 to 8 are exponential with base `2^(2^-schema)`; schema -53 has custom bounds.
//!
//! - layout: where is a bucket? - bucket: with which bounds? - text: how is it written?
//! - validate: may it be stored? - convert: with float counts, at a coarser resolution? - compact: with fewer buckets?
//! - arithmetic: what is the sum, the difference, the mean? - equality, reset: what of two histograms?
//! - quantile, statistics, trim: what do the buckets say about the observations?
//!
//! Source: native histogram model of Prometheus 3.14.

mod arithmetic;
mod bucket;
mod compact;
mod convert;
mod equality;
mod layout;
mod quantile;
mod reset;
mod statistics;
mod text;
mod trim;
mod validate;

pub use arithmetic::{Combined, HistogramMean, HistogramSum, IncompatibleSchemas};
pub use bucket::Bucket;
pub use convert::ResolutionError;
pub use layout::{EXPONENTIAL_SCHEMAS, RESERVED_SCHEMAS, is_exponential, upper_bound};
pub use quantile::{Estimate, NanEffect};
pub use validate::{BucketSide, HistogramError};

use std::sync::Arc;

/// The schema of histograms with custom buckets.
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;

/// What is known about a counter reset between a histogram and the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CounterResetHint {
    /// Nothing is known; compare the buckets.
    #[default]
    Unknown = 0,
    /// There was a reset.
    Reset = 1,
    /// There was none.
    NotReset = 2,
    /// A gauge: resets have no meaning.
    Gauge = 3,
}

/// A run of neighbouring buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// The gap to the end of the previous span; for the first span, the index of its first bucket.
    pub offset: i32,
    /// How many buckets.
    pub length: u32,
}

/// A histogram with integer counts, as exposed and stored. Bucket counts are deltas: the first is absolute, each further
/// one is relative to the bucket before it.
#[derive(Clone, Debug, Default)]
pub struct IntegerHistogram {
    /// What is known about a reset before this histogram.
    pub counter_reset: CounterResetHint,
    /// Resolution: -4..=8 exponential, -53 custom.
    pub schema: i32,
    /// Width of the zero bucket: it holds observations with an absolute value of at most this.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: u64,
    /// All observations.
    pub count: u64,
    /// Sum of all observations; the stale marker marks staleness.
    pub sum: f64,
    /// Where the positive buckets are.
    pub positive_spans: Vec<Span>,
    /// Where the negative buckets are.
    pub negative_spans: Vec<Span>,
    /// Positive bucket counts, as deltas.
    pub positive_buckets: Vec<i64>,
    /// Negative bucket counts, as deltas.
    pub negative_buckets: Vec<i64>,
    /// Upper bounds of custom buckets, strictly rising, without `+Inf`; empty for exponential schemas.
    pub custom_values: Arc<[f64]>,
}

/// A histogram with float counts. Bucket counts are absolute.
#[derive(Clone, Debug, Default)]
pub struct FloatHistogram {
    /// What is known about a reset before this histogram.
    pub counter_reset: CounterResetHint,
    /// Resolution: -4..=8 exponential, -53 custom.
    pub schema: i32,
    /// Width of the zero bucket.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations.
    pub count: f64,
    /// Sum of all observations; the stale marker marks staleness.
    pub sum: f64,
    /// Where the positive buckets are.
    pub positive_spans: Vec<Span>,
    /// Where the negative buckets are.
    pub negative_spans: Vec<Span>,
    /// Positive bucket counts, absolute.
    pub positive_buckets: Vec<f64>,
    /// Negative bucket counts, absolute.
    pub negative_buckets: Vec<f64>,
    /// Upper bounds of custom buckets, strictly rising, without `+Inf`; empty for exponential schemas.
    pub custom_values: Arc<[f64]>,
}

/// A native histogram of either form, cheap to clone.
#[derive(Clone, Debug)]
pub enum Histogram {
    /// Integer counts.
    Integer(Arc<IntegerHistogram>),
    /// Float counts.
    Float(Arc<FloatHistogram>),
}

impl Histogram {
    /// The sum of observations.
    pub fn sum(&self) -> f64 {
        match self {
            Histogram::Integer(h) => h.sum,
            Histogram::Float(h) => h.sum,
        }
    }

    /// The counter-reset hint.
    pub fn counter_reset(&self) -> CounterResetHint {
        match self {
            Histogram::Integer(h) => h.counter_reset,
            Histogram::Float(h) => h.counter_reset,
        }
    }

    /// Equality of form, layout and every bit of every number; hints aside.
    pub fn same_bits(&self, other: &Histogram) -> bool {
        match (self, other) {
            (Histogram::Integer(a), Histogram::Integer(b)) => {
                a.schema == b.schema
                    && a.zero_threshold.to_bits() == b.zero_threshold.to_bits()
                    && a.zero_count == b.zero_count
                    && a.count == b.count
                    && a.sum.to_bits() == b.sum.to_bits()
                    && a.positive_spans == b.positive_spans
                    && a.negative_spans == b.negative_spans
                    && a.positive_buckets == b.positive_buckets
                    && a.negative_buckets == b.negative_buckets
                    && same_bits(&a.custom_values, &b.custom_values)
            }
            (Histogram::Float(a), Histogram::Float(b)) => {
                a.schema == b.schema
                    && a.zero_threshold.to_bits() == b.zero_threshold.to_bits()
                    && a.zero_count.to_bits() == b.zero_count.to_bits()
                    && a.count.to_bits() == b.count.to_bits()
                    && a.sum.to_bits() == b.sum.to_bits()
                    && a.positive_spans == b.positive_spans
                    && a.negative_spans == b.negative_spans
                    && same_bits(&a.positive_buckets, &b.positive_buckets)
                    && same_bits(&a.negative_buckets, &b.negative_buckets)
                    && same_bits(&a.custom_values, &b.custom_values)
            }
            _ => false,
        }
    }
}

fn same_bits(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

impl From<IntegerHistogram> for Histogram {
    fn from(histogram: IntegerHistogram) -> Self {
        Histogram::Integer(Arc::new(histogram))
    }
}

impl From<FloatHistogram> for Histogram {
    fn from(histogram: FloatHistogram) -> Self {
        Histogram::Float(Arc::new(histogram))
    }
}

#[cfg(test)]
mod tests;
