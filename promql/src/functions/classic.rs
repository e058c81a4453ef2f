//! Classic histograms: quantiles and fractions of cumulative buckets.
//!
//! Source: `quantile.go` of Prometheus 3.14.

/// A cumulative bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ClassicBucket {
    pub(crate) upper: f64,
    pub(crate) count: f64,
}

/// What had to be done to make counts rise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Forced {
    pub(crate) min_bucket: f64,
    pub(crate) max_bucket: f64,
    pub(crate) max_difference: f64,
}

/// The quantile of buckets sorted by bound. The buckets are changed: equal bounds merge, counts are made to rise.
pub(crate) fn bucket_quantile(quantile: f64, buckets: &mut Vec<ClassicBucket>) -> (f64, Option<Forced>) {
    if quantile.is_nan() {
        return (f64::NAN, None);
    }
    if quantile < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if quantile > 1.0 {
        return (f64::INFINITY, None);
    }
    if buckets.last().is_none_or(|last| last.upper != f64::INFINITY) {
        return (f64::NAN, None);
    }
    coalesce(buckets);
    let forced = make_monotonic(buckets);
    let [.., before_last, last] = buckets.as_slice() else { return (f64::NAN, None) };
    if last.count == 0.0 || last.count.is_nan() {
        return (f64::NAN, None);
    }
    let mut rank = quantile * last.count;
    let found = buckets[..buckets.len() - 1]
        .partition_point(|bucket| bucket.count < rank || (bucket.count.is_nan() || rank.is_nan()));
    if found == buckets.len() - 1 {
        return (before_last.upper, forced);
    }
    let bucket = buckets[found];
    if found == 0 && bucket.upper <= 0.0 {
        return (bucket.upper, forced);
    }
    let (mut start, mut count) = (0.0, bucket.count);
    if found > 0 {
        let before = buckets[found - 1];
        start = before.upper;
        count -= before.count;
        rank -= before.count;
    }
    (start + (bucket.upper - start) * (rank / count), forced)
}

/// The share of observations between two values, of buckets sorted by bound.
pub(crate) fn bucket_fraction(lower: f64, upper: f64, buckets: &mut Vec<ClassicBucket>) -> f64 {
    if buckets.last().is_none_or(|last| last.upper != f64::INFINITY) {
        return f64::NAN;
    }
    coalesce(buckets);
    let count = buckets.last().map_or(0.0, |last| last.count);
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let rank = |value: f64| rank_of(value, buckets).filter(|rank| *rank <= count).unwrap_or(count);
    (rank(upper) - rank(lower)) / count
}

/// How many observations lie below a value; `None` if it is not below the last bucket's bound.
fn rank_of(value: f64, buckets: &[ClassicBucket]) -> Option<f64> {
    let mut below = 0.0;
    let mut start = match buckets.first() {
        Some(first) if first.upper > 0.0 => 0.0,
        _ => f64::NEG_INFINITY,
    };
    for bucket in buckets {
        if start >= value {
            return Some(below);
        }
        if bucket.upper > value {
            // Of a bucket without lower end nothing is known but its count; one without upper end contributes nothing.
            return Some(match (start, bucket.upper) {
                (f64::NEG_INFINITY, _) => bucket.count,
                (_, f64::INFINITY) => below,
                (start, end) => below + (bucket.count - below) * ((value - start) / (end - start)),
            });
        }
        below = bucket.count;
        start = bucket.upper;
    }
    None
}

/// Adds up buckets of equal bounds.
fn coalesce(buckets: &mut Vec<ClassicBucket>) {
    buckets.dedup_by(|later, kept| {
        let same = later.upper == kept.upper;
        if same {
            kept.count += later.count;
        }
        same
    });
}

/// Differences below this share of both counts are rounding errors of earlier computations.
const TOLERANCE: f64 = 1e-12;

fn make_monotonic(buckets: &mut [ClassicBucket]) -> Option<Forced> {
    let mut forced: Option<Forced> = None;
    let mut previous = buckets.first()?.count;
    for bucket in &mut buckets[1..] {
        let current = bucket.count;
        if current == previous {
            continue;
        }
        if almost_equal(previous, current) {
            bucket.count = previous;
            continue;
        }
        if current < previous {
            bucket.count = previous;
            let difference = previous - current;
            let change = forced.get_or_insert(Forced {
                min_bucket: bucket.upper,
                max_bucket: bucket.upper,
                max_difference: difference,
            });
            change.max_bucket = bucket.upper;
            change.max_difference = change.max_difference.max(difference);
            continue;
        }
        previous = current;
    }
    forced
}

fn almost_equal(a: f64, b: f64) -> bool {
    if a.is_nan() && b.is_nan() {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(pairs: &[(f64, f64)]) -> Vec<ClassicBucket> {
        pairs.iter().map(|&(upper, count)| ClassicBucket { upper, count }).collect()
    }

    #[test]
    fn an_endless_bucket_contributes_nothing() {
        let bucket = |upper, count| ClassicBucket { upper, count };
        let fraction = |lower, upper| {
            let mut buckets = vec![bucket(1.0, 2.0), bucket(2.0, 3.0), bucket(f64::INFINITY, 4.0)];
            bucket_fraction(lower, upper, &mut buckets)
        };
        assert_eq!([fraction(0.0, 10.0), fraction(0.0, 1e308), fraction(1e3, 1e308)], [0.75, 0.75, 0.0]);
        assert_eq!(fraction(0.0, f64::INFINITY), 1.0);
    }

    #[test]
    fn quantiles_interpolate_within_a_bucket() {
        let of = |quantile| bucket_quantile(quantile, &mut buckets(&[(1.0, 2.0), (3.0, 4.0), (f64::INFINITY, 5.0)])).0;
        assert_eq!(of(0.2), 0.5);
        assert_eq!(of(0.6), 2.0);
        assert_eq!(of(1.0), 3.0);
        assert!(bucket_quantile(0.5, &mut buckets(&[(1.0, 2.0)])).0.is_nan());
    }

    #[test]
    fn falling_counts_are_lifted_and_reported() {
        let mut falling = buckets(&[(1.0, 4.0), (2.0, 3.0), (f64::INFINITY, 4.0)]);
        let (_, forced) = bucket_quantile(0.5, &mut falling);
        assert_eq!(forced, Some(Forced { min_bucket: 2.0, max_bucket: 2.0, max_difference: 1.0 }));
    }

    #[test]
    fn fractions_leave_endless_buckets_out() {
        let of = |lower, upper| bucket_fraction(lower, upper, &mut buckets(&[(1.0, 2.0), (f64::INFINITY, 4.0)]));
        assert_eq!(of(0.0, 1.0), 0.5);
        assert_eq!(of(0.5, 1.0), 0.25);
        assert_eq!(of(f64::NEG_INFINITY, f64::INFINITY), 1.0);
    }
}
