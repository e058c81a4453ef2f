//! Buckets with their bounds, in the order of the observations they hold.

use super::layout::{indexes, indexes_reversed, upper_bound};
use super::{CUSTOM_BUCKETS_SCHEMA, FloatHistogram};

/// A bucket and its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// The lower bound.
    pub lower: f64,
    /// The upper bound.
    pub upper: f64,
    /// Whether an observation equal to the lower bound belongs.
    pub lower_inclusive: bool,
    /// Whether an observation equal to the upper bound belongs.
    pub upper_inclusive: bool,
    /// The observations.
    pub count: f64,
    /// The index in its schema; 0 for the zero bucket.
    pub index: i32,
}

impl FloatHistogram {
    /// Whether the buckets have custom bounds.
    pub fn is_custom(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// The zero bucket, whether populated or not.
    pub fn zero_bucket(&self) -> Bucket {
        Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
            index: 0,
        }
    }

    /// The buckets of the positive side by rising bounds, empty ones included. For custom buckets, all buckets.
    pub fn positive(&self) -> impl Iterator<Item = Bucket> + '_ {
        indexes(&self.positive_spans).zip(&self.positive_buckets).map(|(i, count)| self.positive_bucket(i, *count))
    }

    /// The buckets of the negative side by falling bounds (away from zero), empty ones included.
    pub fn negative(&self) -> impl Iterator<Item = Bucket> + '_ {
        indexes(&self.negative_spans).zip(&self.negative_buckets).map(|(i, count)| self.negative_bucket(i, *count))
    }

    /// All buckets by rising bounds: the negative side, the zero bucket if it is populated, the positive side. Where the
    /// zero bucket reaches into another one, that one begins where the zero bucket ends.
    ///
    /// ```
    /// use ferula_model::{FloatHistogram, Span};
    ///
    /// let histogram = FloatHistogram {
    ///     count: 6.0, zero_count: 1.0, zero_threshold: 0.5,
    ///     positive_spans: vec![Span { offset: 0, length: 2 }], positive_buckets: vec![2.0, 3.0],
    ///     ..FloatHistogram::default()
    /// };
    /// let buckets: Vec<_> = histogram.buckets().map(|b| (b.lower, b.upper, b.count)).collect();
    /// assert_eq!(buckets, [(-0.5, 0.5, 1.0), (0.5, 1.0, 2.0), (1.0, 2.0, 3.0)]);
    /// ```
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> + '_ {
        let zero = self.zero_bucket();
        self.negative_reversed()
            .map(|b| self.beside_zero(b))
            .chain((zero.count > 0.0).then_some(zero))
            .chain(self.positive().map(|b| self.beside_zero(b)))
    }

    /// As [`buckets`](Self::buckets), by falling bounds.
    pub fn buckets_reversed(&self) -> impl Iterator<Item = Bucket> + '_ {
        let zero = self.zero_bucket();
        self.positive_reversed()
            .map(|b| self.beside_zero(b))
            .chain((zero.count > 0.0).then_some(zero))
            .chain(self.negative().map(|b| self.beside_zero(b)))
    }

    /// For each of the [`buckets`](Self::buckets), its upper bound and how many observations are not above it, as a
    /// classic histogram has them.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        let mut sum = 0.0;
        self.buckets().map(move |bucket| {
            sum += bucket.count;
            (bucket.upper, sum)
        })
    }

    fn positive_reversed(&self) -> impl Iterator<Item = Bucket> + '_ {
        // A count without a bucket, or the other way round, is cut off at the end: so it must be before turning round.
        let surplus = self.positive_buckets.len().saturating_sub(super::layout::bucket_count(&self.positive_spans));
        let missing = super::layout::bucket_count(&self.positive_spans).saturating_sub(self.positive_buckets.len());
        indexes_reversed(&self.positive_spans)
            .skip(missing)
            .zip(self.positive_buckets.iter().rev().skip(surplus))
            .map(|(i, count)| self.positive_bucket(i, *count))
    }

    fn negative_reversed(&self) -> impl Iterator<Item = Bucket> + '_ {
        let surplus = self.negative_buckets.len().saturating_sub(super::layout::bucket_count(&self.negative_spans));
        let missing = super::layout::bucket_count(&self.negative_spans).saturating_sub(self.negative_buckets.len());
        indexes_reversed(&self.negative_spans)
            .skip(missing)
            .zip(self.negative_buckets.iter().rev().skip(surplus))
            .map(|(i, count)| self.negative_bucket(i, *count))
    }

    fn positive_bucket(&self, index: i32, count: f64) -> Bucket {
        let lower = upper_bound(index.wrapping_sub(1), self.schema, &self.custom_values);
        let upper = upper_bound(index, self.schema, &self.custom_values);
        let lower_inclusive = self.is_custom() && index == 0;
        Bucket { lower, upper, lower_inclusive, upper_inclusive: true, count, index }
    }

    fn negative_bucket(&self, index: i32, count: f64) -> Bucket {
        let lower = -upper_bound(index, self.schema, &self.custom_values);
        let upper = -upper_bound(index.wrapping_sub(1), self.schema, &self.custom_values);
        Bucket { lower, upper, lower_inclusive: true, upper_inclusive: false, count, index }
    }

    /// Cuts a bucket where the zero bucket ends.
    fn beside_zero(&self, mut bucket: Bucket) -> Bucket {
        let zero = self.zero_threshold;
        if bucket.upper < 0.0 && bucket.upper > -zero {
            bucket.upper = -zero;
        } else if bucket.lower > 0.0 && bucket.lower < zero {
            bucket.lower = zero;
        }
        bucket
    }
}
