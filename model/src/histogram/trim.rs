//! Cutting observations off: PromQL's `</` and `>/`.

use super::FloatHistogram;
use super::bucket::Bucket;

impl FloatHistogram {
    /// Keeps the observations up to `limit` (PromQL's `</`). Buckets beyond it are emptied, the one that holds it is cut by
    /// interpolation; if anything was cut, count and sum are estimated anew and the histogram is compacted.
    ///
    /// ```
    /// use ferula_model::{FloatHistogram, Span};
    ///
    /// let mut histogram = FloatHistogram {
    ///     count: 3.0, sum: 6.0,
    ///     positive_spans: vec![Span { offset: 1, length: 2 }], positive_buckets: vec![1.0, 2.0],
    ///     ..FloatHistogram::default()
    /// };
    /// histogram.trim_upper(2.0);
    /// assert_eq!((histogram.count, histogram.positive_buckets), (1.0, vec![1.0]));
    /// ```
    pub fn trim_upper(&mut self, limit: f64) {
        self.trim(limit, Keep::Below);
    }

    /// Keeps the observations from `limit` (PromQL's `>/`); otherwise as [`trim_upper`](Self::trim_upper).
    pub fn trim_lower(&mut self, limit: f64) {
        self.trim(limit, Keep::Above);
    }

    fn trim(&mut self, limit: f64, keep: Keep) {
        let custom = self.is_custom();
        let cut = |bucket: Bucket| {
            if custom { cut_custom(bucket, limit, keep) } else { cut_exponential(bucket, limit, keep) }
        };
        let positive: Vec<_> = self.positive().map(cut).collect();
        let negative: Vec<_> = self.negative().map(cut).collect();
        let zero = cut_linear(self.biased_zero_bucket(), limit, keep);

        let parts = || positive.iter().chain(&negative).chain([&zero]);
        if parts().all(|part| !part.changed) {
            return;
        }
        self.count = parts().map(|part| part.count).sum();
        self.sum = parts().filter(|part| part.count != 0.0).map(|part| part.middle * part.count).sum();
        self.zero_count = zero.count;
        for (bucket, part) in self.positive_buckets.iter_mut().zip(&positive) {
            *bucket = part.count;
        }
        for (bucket, part) in self.negative_buckets.iter_mut().zip(&negative) {
            *bucket = part.count;
        }
        self.compact(0);
    }

    /// The zero bucket, on the side of zero where there are observations if they are on one side only.
    fn biased_zero_bucket(&self) -> Bucket {
        let mut zero = self.zero_bucket();
        let populated = |buckets: &[f64]| buckets.iter().any(|count| *count != 0.0);
        match (populated(&self.negative_buckets), populated(&self.positive_buckets)) {
            (false, true) => zero.lower = 0.0,
            (true, false) => zero.upper = 0.0,
            _ => {}
        }
        zero
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Keep {
    Below,
    Above,
}

/// What is left of a bucket.
struct Part {
    count: f64,
    /// The value at which the rest is taken to be.
    middle: f64,
    changed: bool,
}

impl Part {
    fn whole(bucket: &Bucket, middle: f64) -> Self {
        Self { count: bucket.count, middle, changed: false }
    }

    fn nothing(bucket: &Bucket) -> Self {
        Self { count: 0.0, middle: 0.0, changed: bucket.count != 0.0 }
    }

    fn fraction(bucket: &Bucket, fraction: f64, middle: f64) -> Self {
        let count = bucket.count * fraction;
        Self { count, middle, changed: count != bucket.count }
    }
}

/// Cuts a bucket with finite bounds. `fraction` is how much of it lies below the limit, `middle` the middle between two
/// values.
fn cut(bucket: &Bucket, limit: f64, keep: Keep, fraction: impl Fn() -> f64, middle: impl Fn(f64, f64) -> f64) -> Part {
    let Bucket { lower, upper, .. } = *bucket;
    match keep {
        Keep::Below if upper <= limit => Part::whole(bucket, middle(lower, upper)),
        Keep::Above if lower >= limit => Part::whole(bucket, middle(lower, upper)),
        Keep::Below if lower < limit => Part::fraction(bucket, fraction(), middle(lower, limit)),
        Keep::Above if upper > limit => Part::fraction(bucket, 1.0 - fraction(), middle(limit, upper)),
        _ => Part::nothing(bucket),
    }
}

fn cut_linear(bucket: Bucket, limit: f64, keep: Keep) -> Part {
    let fraction = || (limit - bucket.lower) / (bucket.upper - bucket.lower);
    cut(&bucket, limit, keep, fraction, |a, b| (a + b) / 2.0)
}

fn cut_exponential(bucket: Bucket, limit: f64, keep: Keep) -> Part {
    let log = |value: f64| value.abs().log2();
    let fraction = || match bucket.lower >= 0.0 {
        true => (log(limit) - log(bucket.lower)) / (log(bucket.upper) - log(bucket.lower)),
        false => 1.0 - (log(limit) - log(bucket.upper)) / (log(bucket.lower) - log(bucket.upper)),
    };
    cut(&bucket, limit, keep, fraction, |a, b| (a * b).abs().sqrt().copysign(a + b))
}

/// Custom buckets may be endless on either side. The first one begins at zero if it ends above it. Of an endless one
/// nothing is known but where it ends: it is kept whole or not at all.
fn cut_custom(mut bucket: Bucket, limit: f64, keep: Keep) -> Part {
    let all = match keep {
        Keep::Below => limit == f64::INFINITY,
        Keep::Above => limit == f64::NEG_INFINITY,
    };
    match (bucket.lower, bucket.upper) {
        (f64::NEG_INFINITY, f64::INFINITY) if all => Part::whole(&bucket, 0.0),
        (f64::NEG_INFINITY, f64::INFINITY) => Part::nothing(&bucket),
        (f64::NEG_INFINITY, upper) if upper <= 0.0 => match keep {
            Keep::Below if limit == f64::NEG_INFINITY => Part::nothing(&bucket),
            Keep::Below => Part::whole(&bucket, limit.min(upper)),
            Keep::Above if all => Part::whole(&bucket, upper),
            Keep::Above => Part::nothing(&bucket),
        },
        (lower, f64::INFINITY) => match keep {
            Keep::Above if limit == f64::INFINITY => Part::nothing(&bucket),
            Keep::Above => Part::whole(&bucket, limit.max(lower)),
            Keep::Below if all => Part::whole(&bucket, lower),
            Keep::Below => Part::nothing(&bucket),
        },
        (f64::NEG_INFINITY, _) if all => Part::whole(&bucket, 0.0),
        // Upstream takes the first bucket to begin at zero, but lets it go for a limit below that.
        (f64::NEG_INFINITY, _) if limit < 0.0 => Part::nothing(&bucket),
        (f64::NEG_INFINITY, _) => {
            bucket.lower = 0.0;
            cut_linear(bucket, limit, keep)
        }
        _ => cut_linear(bucket, limit, keep),
    }
}
