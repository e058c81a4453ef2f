//! From integer to float counts, and from one resolution to another.

use std::sync::Arc;

use thiserror::Error;

use super::layout::{EXPONENTIAL_SCHEMAS, Side, is_exponential, reduced_index};
use super::validate::check_incoming_schema;
use super::{CUSTOM_BUCKETS_SCHEMA, FloatHistogram, Histogram, HistogramError, IntegerHistogram, Span};

/// The resolution of a histogram cannot be changed as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("cannot reduce resolution from schema {from} to {to}")]
pub struct ResolutionError {
    /// The schema it has.
    pub from: i32,
    /// The schema asked for.
    pub to: i32,
}

impl Histogram {
    /// The histogram with float counts; the same pointer if it has them already.
    ///
    /// ```
    /// use ferula_model::{Histogram, IntegerHistogram, Span};
    ///
    /// let integer = IntegerHistogram {
    ///     count: 5,
    ///     positive_spans: vec![Span { offset: 0, length: 2 }], positive_buckets: vec![2, 1],
    ///     ..IntegerHistogram::default()
    /// };
    /// assert_eq!(Histogram::from(integer).to_float().positive_buckets, [2.0, 3.0]);
    /// ```
    pub fn to_float(&self) -> Arc<FloatHistogram> {
        match self {
            Histogram::Integer(histogram) => Arc::new(histogram.to_float()),
            Histogram::Float(histogram) => Arc::clone(histogram),
        }
    }
}

impl IntegerHistogram {
    /// The same histogram with float counts.
    pub fn to_float(&self) -> FloatHistogram {
        FloatHistogram {
            counter_reset: self.counter_reset,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count as f64,
            count: self.count as f64,
            sum: self.sum,
            positive_spans: self.positive_spans.clone(),
            negative_spans: self.negative_spans.clone(),
            positive_buckets: absolute(&self.positive_buckets).map(|count| count as f64).collect(),
            negative_buckets: absolute(&self.negative_buckets).map(|count| count as f64).collect(),
            custom_values: Arc::clone(&self.custom_values),
        }
    }

    /// Reduces the resolution to an exponential schema that is at most the present one.
    ///
    /// # Errors
    ///
    /// Custom buckets have no resolution, and it cannot be raised.
    pub fn reduce_resolution(&mut self, schema: i32) -> Result<(), ResolutionError> {
        let Some(steps) = reduction_steps(self.schema, schema)? else { return Ok(()) };
        for (spans, buckets) in [
            (&mut self.positive_spans, &mut self.positive_buckets),
            (&mut self.negative_spans, &mut self.negative_buckets),
        ] {
            let side = Side::of(std::mem::take(spans), absolute(buckets).collect());
            let side = reduce(side, steps, |sum, count| *sum = sum.wrapping_add(count));
            (*spans, *buckets) = (side.spans, deltas(&side.counts));
        }
        self.schema = schema;
        Ok(())
    }

    /// Brings a histogram as it was received to a schema that is stored: from 9 to 52 down to 8.
    ///
    /// # Errors
    ///
    /// Resolutions below -4 cannot be computed with; other numbers are no schema.
    pub fn reduce_reserved(&mut self) -> Result<(), HistogramError> {
        check_incoming_schema(self.schema)?;
        // The schema was just found to be finer than the finest stored one, or fine as it is.
        let _ = self.reduce_resolution(self.schema.min(*EXPONENTIAL_SCHEMAS.end()));
        Ok(())
    }
}

impl FloatHistogram {
    /// Reduces the resolution to an exponential schema that is at most the present one.
    ///
    /// # Errors
    ///
    /// Custom buckets have no resolution, and it cannot be raised.
    pub fn reduce_resolution(&mut self, schema: i32) -> Result<(), ResolutionError> {
        let Some(steps) = reduction_steps(self.schema, schema)? else { return Ok(()) };
        for (spans, buckets) in [
            (&mut self.positive_spans, &mut self.positive_buckets),
            (&mut self.negative_spans, &mut self.negative_buckets),
        ] {
            let side =
                reduce(Side::of(std::mem::take(spans), std::mem::take(buckets)), steps, |sum, count| *sum += count);
            (*spans, *buckets) = (side.spans, side.counts);
        }
        self.schema = schema;
        Ok(())
    }

    /// Brings a histogram as it was received to a schema that is stored: from 9 to 52 down to 8.
    ///
    /// # Errors
    ///
    /// Resolutions below -4 cannot be computed with; other numbers are no schema.
    pub fn reduce_reserved(&mut self) -> Result<(), HistogramError> {
        check_incoming_schema(self.schema)?;
        let _ = self.reduce_resolution(self.schema.min(*EXPONENTIAL_SCHEMAS.end()));
        Ok(())
    }

    /// The bytes that Prometheus 3.14 would hold this histogram in.
    pub fn size_bytes(&self) -> usize {
        // Its struct without slices.
        const STRUCT: usize = 168;
        let spans = self.positive_spans.len() + self.negative_spans.len();
        let floats = self.positive_buckets.len() + self.negative_buckets.len() + self.custom_values.len();
        STRUCT + spans * size_of::<Span>() + floats * size_of::<f64>()
    }

    /// How many float samples this histogram counts as, with its timestamp, when samples are limited.
    pub fn size_in_samples(&self) -> usize {
        (self.size_bytes() + 8) / 16
    }
}

/// Absolute counts from deltas.
pub(super) fn absolute(deltas: &[i64]) -> impl Iterator<Item = i64> + '_ {
    deltas.iter().scan(0i64, |count, delta| {
        *count = count.wrapping_add(*delta);
        Some(*count)
    })
}

/// Deltas from absolute counts.
pub(super) fn deltas(counts: &[i64]) -> Vec<i64> {
    let mut before = 0;
    counts.iter().map(|count| count.wrapping_sub(std::mem::replace(&mut before, *count))).collect()
}

/// The buckets at a resolution that is `steps` schemas lower.
pub(super) fn reduce<C: Copy>(side: Side<C>, steps: u32, join: impl Fn(&mut C, C)) -> Side<C> {
    let mut coarse = Side::new();
    for (index, count) in side.iter() {
        coarse.push_or(reduced_index(index, steps), count, &join);
    }
    coarse
}

fn reduction_steps(from: i32, to: i32) -> Result<Option<u32>, ResolutionError> {
    if from == to {
        return Ok(None);
    }
    if from == CUSTOM_BUCKETS_SCHEMA || !is_exponential(to) || from < to {
        return Err(ResolutionError { from, to });
    }
    Ok(Some(from.abs_diff(to)))
}
