//! Mean, variance and standard deviation, estimated from the buckets.

use super::FloatHistogram;
use super::bucket::Bucket;

impl FloatHistogram {
    /// The mean of the observations; NaN if there are none.
    pub fn mean(&self) -> f64 {
        self.sum / self.count
    }

    /// The population variance, with every observation at the middle of its bucket: the geometric mean of the bounds, or
    /// the arithmetic one for custom buckets; 0 for the zero bucket.
    ///
    /// ```
    /// use ferula_model::{FloatHistogram, Span};
    ///
    /// let histogram = FloatHistogram {
    ///     count: 2.0, sum: 0.0, zero_threshold: 0.001,
    ///     positive_spans: vec![Span { offset: 1, length: 1 }], positive_buckets: vec![1.0],
    ///     negative_spans: vec![Span { offset: 1, length: 1 }], negative_buckets: vec![1.0],
    ///     ..FloatHistogram::default()
    /// };
    /// assert!((histogram.variance() - 2.0).abs() < 1e-12);
    /// ```
    pub fn variance(&self) -> f64 {
        let mean = self.mean();
        let (mut sum, mut lost) = (0.0f64, 0.0f64);
        for bucket in self.buckets().filter(|bucket| bucket.count != 0.0) {
            let distance = self.middle(&bucket) - mean;
            let addend = bucket.count * distance * distance;
            let total = sum + addend;
            if total.is_infinite() {
                lost = 0.0;
            } else if sum.abs() >= addend.abs() {
                lost += (sum - total) + addend;
            } else {
                lost += (addend - total) + sum;
            }
            sum = total;
        }
        (sum + lost) / self.count
    }

    /// The square root of the [variance](Self::variance).
    pub fn standard_deviation(&self) -> f64 {
        self.variance().sqrt()
    }

    fn middle(&self, bucket: &Bucket) -> f64 {
        if self.is_custom() {
            return (bucket.upper + bucket.lower) / 2.0;
        }
        if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            return 0.0;
        }
        (bucket.upper * bucket.lower).sqrt().copysign(bucket.upper)
    }
}
