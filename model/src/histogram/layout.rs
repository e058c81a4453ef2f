//! Where is a bucket? Spans to indexes, indexes to bounds.
//!
//! Bucket `i` of an exponential schema `n` holds observations in `(2^((i-1)·2^-n), 2^(i·2^-n)]`, mirrored on the negative
//! side. The last regular bucket ends at the largest float, one more behind it ends at infinity. Bucket `i` of the custom
//! schema ends at bound `i`, the one behind the last bound at infinity.

use super::{CUSTOM_BUCKETS_SCHEMA, Span};

/// The schemas that are stored and computed with, besides [`CUSTOM_BUCKETS_SCHEMA`].
pub const EXPONENTIAL_SCHEMAS: std::ops::RangeInclusive<i32> = -4..=8;

/// The schemas that the format knows: those above 8 are taken and reduced to 8 (see
/// [`reduce_reserved`](super::IntegerHistogram::reduce_reserved)).
pub const RESERVED_SCHEMAS: std::ops::RangeInclusive<i32> = -9..=52;

/// Whether a schema has exponential buckets of a resolution that is computed with.
pub fn is_exponential(schema: i32) -> bool {
    EXPONENTIAL_SCHEMAS.contains(&schema)
}

/// The upper bound of bucket `index` on the positive side of a schema.
///
/// ```
/// use ferula_model::histogram::upper_bound;
///
/// assert_eq!(upper_bound(3, 0, &[]), 8.0);
/// assert_eq!(upper_bound(1, -53, &[0.5, 2.5]), 2.5);
/// assert_eq!(upper_bound(2, -53, &[0.5, 2.5]), f64::INFINITY);
/// ```
pub fn upper_bound(index: i32, schema: i32, custom_values: &[f64]) -> f64 {
    if schema != CUSTOM_BUCKETS_SCHEMA {
        return exponential_bound(index, schema);
    }
    match usize::try_from(index) {
        Ok(index) => custom_values.get(index).copied().unwrap_or(f64::INFINITY),
        Err(_) => f64::NEG_INFINITY,
    }
}

/// The upper bound of an exponential bucket, to the bit as Prometheus 3.14 has it.
fn exponential_bound(index: i32, schema: i32) -> f64 {
    let (fraction, exponent) = if schema < 0 {
        (0.5, (i64::from(index) << schema.unsigned_abs().min(31)) + 1)
    } else {
        let schema = schema.min(8).unsigned_abs();
        let at = (index & ((1 << schema) - 1)) << (8 - schema);
        let fraction = usize::try_from(at).ok().and_then(|at| BOUNDS.get(at)).copied().unwrap_or(0.5);
        (fraction, (i64::from(index) >> schema) + 1)
    };
    if fraction == 0.5 && exponent == 1025 {
        return f64::MAX;
    }
    scale(fraction, exponent)
}

/// `fraction · 2^exponent` for a fraction in `[0.5, 1)`, in two steps so that neither leaves the range of floats early.
fn scale(fraction: f64, exponent: i64) -> f64 {
    let exponent = i32::try_from(exponent.clamp(-1200, 1100)).unwrap_or(0);
    let half = exponent / 2;
    fraction * 2f64.powi(half) * 2f64.powi(exponent - half)
}

/// `0.5 · 2^(i/256)`. A coarser schema takes every second, fourth, ... entry.
const BOUNDS: [f64; 256] = bounds();

/// Upstream generated its table by doubling the resolution eight times: old bounds stay, each new one is its lower
/// neighbour times `2^(2^-schema)`. The factors are those of Go's `math.Exp2`, which for the square root of two is one
/// unit in the last place below the nearest float. All 511 bounds above 1 were compared with Prometheus 3.5.
#[allow(clippy::approx_constant, reason = "not the square root of two, as the comment says")]
const fn bounds() -> [f64; 256] {
    const FACTORS: [f64; 8] = [
        1.414213562373095,
        1.189207115002721,
        1.0905077326652577,
        1.0442737824274138,
        1.0218971486541166,
        1.0108892860517005,
        1.0054299011128027,
        1.0027112750502025,
    ];
    let mut table = [0.5; 256];
    let mut schema = 0;
    while schema < 8 {
        let stride = 256 >> (schema + 1);
        let mut at = stride;
        while at < 256 {
            table[at] = table[at - stride] * FACTORS[schema];
            at += 2 * stride;
        }
        schema += 1;
    }
    table
}

/// The index of a bucket at a coarser resolution, `steps` schemas lower.
pub(super) fn reduced_index(index: i32, steps: u32) -> i32 {
    (index.wrapping_sub(1) >> steps.min(31)).wrapping_add(1)
}

/// The indexes of the buckets of some spans, rising.
pub(super) fn indexes(spans: &[Span]) -> impl Iterator<Item = i32> + Clone + '_ {
    let mut next = 0i32;
    spans.iter().flat_map(move |span| {
        let first = next.saturating_add(span.offset);
        next = first.saturating_add_unsigned(span.length);
        first..next
    })
}

/// The indexes of the buckets of some spans, falling.
pub(super) fn indexes_reversed(spans: &[Span]) -> impl Iterator<Item = i32> + '_ {
    let mut end =
        spans.iter().fold(0i32, |at, span| at.saturating_add(span.offset).saturating_add_unsigned(span.length));
    spans.iter().rev().flat_map(move |span| {
        let first = end.saturating_sub_unsigned(span.length);
        let range = first..end;
        end = first.saturating_sub(span.offset);
        range.rev()
    })
}

/// How many buckets the spans stand for.
pub(super) fn bucket_count(spans: &[Span]) -> usize {
    spans.iter().fold(0usize, |sum, span| sum.saturating_add(span.length as usize))
}

/// The spans without those of length zero, whose offsets count for the next one; trailing ones have no meaning.
pub(super) fn normalized(spans: &[Span]) -> impl Iterator<Item = Span> + '_ {
    let mut skipped = 0i32;
    spans.iter().filter_map(move |span| {
        let offset = skipped.saturating_add(span.offset);
        skipped = if span.length == 0 { offset } else { 0 };
        (span.length > 0).then_some(Span { offset, length: span.length })
    })
}

/// One side of a histogram while it is computed with: the buckets as spans and counts of any kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Side<C> {
    pub(super) spans: Vec<Span>,
    pub(super) counts: Vec<C>,
    /// One more than the index of the last bucket.
    end: i32,
}

impl<C: Copy> Side<C> {
    pub(super) fn new() -> Self {
        Self { spans: Vec::new(), counts: Vec::new(), end: 0 }
    }

    /// A side with given content. Buckets without a count, or counts without a bucket, are dropped: such a histogram is
    /// not valid, and this is where it stops to matter.
    pub(super) fn of(spans: Vec<Span>, counts: Vec<C>) -> Self {
        if bucket_count(&spans) == counts.len() {
            let end = indexes_reversed(&spans).next().map_or(0, |last| last.saturating_add(1));
            return Self { spans, counts, end };
        }
        let mut side = Self::new();
        for (index, count) in indexes(&spans).zip(counts) {
            side.push(index, count);
        }
        side
    }

    /// Index and count of each bucket, by rising index.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i32, C)> + Clone + '_ {
        indexes(&self.spans).zip(self.counts.iter().copied())
    }

    /// Adds a bucket behind all others.
    pub(super) fn push(&mut self, index: i32, count: C) {
        let gap = index.saturating_sub(self.end);
        match self.spans.last_mut() {
            Some(span) if gap == 0 => span.length += 1,
            Some(_) => self.spans.push(Span { offset: gap, length: 1 }),
            None => self.spans.push(Span { offset: index, length: 1 }),
        }
        self.counts.push(count);
        self.end = index.saturating_add(1);
    }

    /// Adds to the last bucket if it has this index, else adds a bucket.
    pub(super) fn push_or(&mut self, index: i32, count: C, join: impl FnOnce(&mut C, C)) {
        match self.counts.last_mut() {
            Some(last) if index == self.end - 1 => join(last, count),
            _ => self.push(index, count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(offset: i32, length: u32) -> Span {
        Span { offset, length }
    }

    #[test]
    #[allow(clippy::approx_constant)]
    fn bounds_are_those_of_prometheus() {
        // Printed by Prometheus 3.5 for histograms of these schemas.
        assert_eq!(upper_bound(1, 1, &[]), 1.414213562373095);
        assert_eq!(upper_bound(1, 2, &[]), 1.189207115002721);
        assert_eq!(upper_bound(3, 2, &[]), 1.6817928305074288);
        assert_eq!(upper_bound(-1, 3, &[]), 0.9170040432046711);
        assert_eq!(upper_bound(2, -2, &[]), 256.0);
        for schema in EXPONENTIAL_SCHEMAS {
            let last = if schema < 0 { 1024 >> -schema } else { 1024 << schema };
            assert_eq!(upper_bound(last, schema, &[]), f64::MAX, "schema {schema}");
            assert_eq!(upper_bound(last + 1, schema, &[]), f64::INFINITY, "schema {schema}");
            assert!(upper_bound(last - 1, schema, &[]) < f64::MAX, "schema {schema}");
            assert_eq!(upper_bound(0, schema, &[]), 1.0);
            assert_eq!(upper_bound(i32::MIN, schema, &[]), 0.0);
            assert_eq!(upper_bound(i32::MAX, schema, &[]), f64::INFINITY);
        }
        assert_eq!(upper_bound(-1074, 0, &[]), 5e-324);
    }

    #[test]
    fn indexes_run_both_ways() {
        let spans = [span(-3, 2), span(0, 1), span(4, 0), span(1, 2)];
        let forward: Vec<_> = indexes(&spans).collect();
        assert_eq!(forward, [-3, -2, -1, 5, 6]);
        let mut backward: Vec<_> = indexes_reversed(&spans).collect();
        backward.reverse();
        assert_eq!(forward, backward);
        assert_eq!(normalized(&spans).collect::<Vec<_>>(), [span(-3, 2), span(0, 1), span(5, 2)]);
    }

    #[test]
    fn extreme_spans_do_not_overflow() {
        let spans = [span(i32::MAX, 2), span(i32::MAX, 3), span(i32::MIN, 1)];
        assert!(indexes(&spans).count() <= 6);
        let _ = indexes_reversed(&spans).count();
    }

    #[test]
    fn reducing_an_index_halves_the_resolution() {
        for index in -20..20 {
            let (fine, coarse) = (upper_bound(index, 3, &[]), upper_bound(reduced_index(index, 1), 2, &[]));
            assert!(fine <= coarse);
            assert!(upper_bound(reduced_index(index, 1) - 1, 2, &[]) < fine);
        }
    }
}
