//! Quantiles, and the share of observations between two values.
//!
//! Inside a bucket, observations are taken as spread evenly on a logarithmic scale; in the zero bucket and in custom
//! buckets, on a linear one. The zero bucket of a histogram with only positive (only negative) buckets begins (ends) at
//! zero.
//!
//! Source: spec section 2.11, Prometheus 3.14.

use super::FloatHistogram;
use super::bucket::Bucket;

/// A number computed from buckets, and whether observations of NaN, which are in no bucket, bear on it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// What the caller should be told.
    pub nan: NanEffect,
}

/// What observations of NaN do to an estimate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NanEffect {
    /// Nothing.
    #[default]
    None,
    /// A quantile is skewed higher, since they count as the highest observations; a fraction leaves them out.
    Skewed,
    /// The quantile lies among them and is NaN.
    Result,
}

impl FloatHistogram {
    /// The φ-quantile: -Inf for φ < 0, +Inf for φ > 1, NaN for φ NaN or without observations.
    ///
    /// ```
    /// use ferula_model::{FloatHistogram, Span};
    ///
    /// let histogram = FloatHistogram {
    ///     count: 4.0, sum: 10.0,
    ///     positive_spans: vec![Span { offset: 1, length: 1 }], positive_buckets: vec![4.0],
    ///     ..FloatHistogram::default()
    /// };
    /// assert!((histogram.quantile(0.5).value - 2f64.sqrt()).abs() < 1e-15);
    /// ```
    pub fn quantile(&self, phi: f64) -> Estimate {
        let plain = |value| Estimate { value, nan: NanEffect::None };
        if phi < 0.0 {
            return plain(f64::NEG_INFINITY);
        }
        if phi > 1.0 {
            return plain(f64::INFINITY);
        }
        if self.count == 0.0 || phi.is_nan() {
            return plain(f64::NAN);
        }
        // From below if there may be observations that are in no bucket, else from the nearer end.
        let has_nan = self.sum.is_nan();
        let upward = has_nan || phi < 0.5;
        let rank = if upward { phi * self.count } else { (1.0 - phi) * self.count };
        let found = if upward { reach(self.buckets(), rank) } else { reach(self.buckets_reversed(), rank) };
        let Some((bucket, reached)) = found else {
            // No bucket at all: whatever was observed was NaN, or the counts contradict each other.
            return match (rank > 0.0, has_nan) {
                (true, true) => Estimate { value: f64::NAN, nan: NanEffect::Result },
                (true, false) => plain(0.0),
                (false, _) => plain(f64::NAN),
            };
        };
        let bucket = match self.bounded(bucket) {
            Ok(bucket) => bucket,
            Err(value) => return plain(value),
        };
        // Rounding may have added up to more than there is.
        let reached = reached.min(self.count);
        if reached < rank {
            return match has_nan {
                true => Estimate { value: f64::NAN, nan: NanEffect::Result },
                false => plain(bucket.upper),
            };
        }
        let into = if upward { rank - (reached - bucket.count) } else { reached - rank };
        let value = self.interpolate(&bucket, into / bucket.count);
        let skewed = has_nan && self.buckets().map(|bucket| bucket.count).sum::<f64>() < self.count;
        Estimate { value, nan: if skewed { NanEffect::Skewed } else { NanEffect::None } }
    }

    /// The share of observations between two values: 0 if `lower` is not below `upper`, NaN if a bound is NaN or there
    /// are no observations.
    ///
    /// ```
    /// use ferula_model::{FloatHistogram, Span};
    ///
    /// let histogram = FloatHistogram {
    ///     count: 4.0, sum: 10.0,
    ///     positive_spans: vec![Span { offset: 1, length: 2 }], positive_buckets: vec![1.0, 3.0],
    ///     ..FloatHistogram::default()
    /// };
    /// assert_eq!(histogram.fraction(2.0, f64::INFINITY).value, 0.75);
    /// ```
    pub fn fraction(&self, lower: f64, upper: f64) -> Estimate {
        if self.count == 0.0 || lower.is_nan() || upper.is_nan() {
            return Estimate { value: f64::NAN, nan: NanEffect::None };
        }
        if lower >= upper {
            return Estimate { value: 0.0, nan: NanEffect::None };
        }
        let (mut below, mut lower_rank, mut upper_rank) = (0.0, None, None);
        for bucket in self.buckets() {
            let linear = self.is_custom() || holds_zero(&bucket);
            let bucket = self.one_sided(bucket);
            for (value, rank) in [(lower, &mut lower_rank), (upper, &mut upper_rank)] {
                if rank.is_none() && bucket.lower >= value {
                    *rank = Some(below);
                } else if rank.is_none() && bucket.upper > value {
                    *rank = Some(rank_inside(&bucket, below, value, linear));
                }
            }
            below += bucket.count;
            if lower_rank.is_some() && upper_rank.is_some() && !self.sum.is_nan() {
                break;
            }
        }
        // Observations of NaN are in no bucket, so no rank can reach them; but they do count.
        let (total, nan) = match self.sum.is_nan() {
            true if below < self.count => (below, NanEffect::Skewed),
            _ => (self.count, NanEffect::None),
        };
        let rank = |rank: Option<f64>| rank.unwrap_or(total).min(total);
        Estimate { value: (rank(upper_rank) - rank(lower_rank)) / self.count, nan }
    }

    /// The bucket with the bounds that are interpolated between, or the answer if one is infinite.
    fn bounded(&self, mut bucket: Bucket) -> Result<Bucket, f64> {
        if !self.is_custom() {
            return Ok(self.one_sided(bucket));
        }
        if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return Err(bucket.upper);
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return Err(bucket.lower);
        }
        Ok(bucket)
    }

    /// The zero bucket reaches only to the side on which there are observations.
    fn one_sided(&self, mut bucket: Bucket) -> Bucket {
        if holds_zero(&bucket) {
            match (self.negative_buckets.is_empty(), self.positive_buckets.is_empty()) {
                (true, false) => bucket.lower = 0.0,
                (false, true) => bucket.upper = 0.0,
                _ => {}
            }
        }
        bucket
    }

    /// The value after a fraction (0 to 1) of a bucket's observations.
    fn interpolate(&self, bucket: &Bucket, fraction: f64) -> f64 {
        let Bucket { lower, upper, .. } = *bucket;
        if self.is_custom() || holds_zero(bucket) {
            return lower + (upper - lower) * fraction;
        }
        let (log_lower, log_upper) = (lower.abs().log2(), upper.abs().log2());
        if lower > 0.0 {
            return (log_lower + (log_upper - log_lower) * fraction).exp2();
        }
        -(log_upper + (log_lower - log_upper) * (1.0 - fraction)).exp2()
    }
}

fn holds_zero(bucket: &Bucket) -> bool {
    bucket.lower <= 0.0 && bucket.upper >= 0.0
}

/// The bucket in which a rank is reached, or else the last populated one, with all observations up to and in it.
fn reach(buckets: impl Iterator<Item = Bucket>, rank: f64) -> Option<(Bucket, f64)> {
    let (mut reached, mut last) = (0.0, None);
    for bucket in buckets.filter(|bucket| bucket.count != 0.0) {
        reached += bucket.count;
        last = Some((bucket, reached));
        if reached >= rank {
            break;
        }
    }
    last
}

/// How many observations lie below a value inside a bucket, with those below the bucket.
fn rank_inside(bucket: &Bucket, below: f64, value: f64, linear: bool) -> f64 {
    let Bucket { lower, upper, count, .. } = *bucket;
    if linear {
        // Of a bucket without lower end nothing is known but its count; one without upper end contributes nothing.
        return match (lower, upper) {
            (f64::NEG_INFINITY, _) => count,
            (_, f64::INFINITY) => below,
            _ => below + count * ((value - lower) / (upper - lower)),
        };
    }
    let (log_lower, log_upper, log_value) = (lower.abs().log2(), upper.abs().log2(), value.abs().log2());
    let fraction = if value > 0.0 {
        (log_value - log_lower) / (log_upper - log_lower)
    } else {
        1.0 - (log_value - log_upper) / (log_lower - log_upper)
    };
    below + count * fraction
}
