//! The same histogram with as few buckets and spans as it needs.

use super::convert::{absolute, deltas};
use super::layout::Side;
use super::{FloatHistogram, IntegerHistogram, Span};

impl IntegerHistogram {
    /// As [`FloatHistogram::compact`].
    pub fn compact(&mut self, empty_max: usize) {
        for (spans, buckets) in [
            (&mut self.positive_spans, &mut self.positive_buckets),
            (&mut self.negative_spans, &mut self.negative_buckets),
        ] {
            let counts: Vec<i64> = absolute(buckets).collect();
            if !is_compact(spans, counts.contains(&0), empty_max) {
                let side = compacted(Side::of(std::mem::take(spans), counts), empty_max, |count| *count == 0);
                (*spans, *buckets) = (side.spans, deltas(&side.counts));
            }
        }
    }
}

impl FloatHistogram {
    /// Drops empty buckets at both ends of each side, and inside it runs of more than `empty_max`; shorter gaps between
    /// spans are filled with empty buckets, so that there are few spans. Results of queries are compacted with 0.
    ///
    /// ```
    /// use ferula_model::{FloatHistogram, Span};
    ///
    /// let mut histogram = FloatHistogram {
    ///     positive_spans: vec![Span { offset: 1, length: 5 }],
    ///     positive_buckets: vec![0.0, 2.0, 0.0, 0.0, 3.0],
    ///     ..FloatHistogram::default()
    /// };
    /// histogram.compact(0);
    /// assert_eq!(histogram.positive_spans, [Span { offset: 2, length: 1 }, Span { offset: 2, length: 1 }]);
    /// histogram.compact(2);
    /// assert_eq!(histogram.positive_buckets, [2.0, 0.0, 0.0, 3.0]);
    /// ```
    pub fn compact(&mut self, empty_max: usize) {
        for (spans, buckets) in [
            (&mut self.positive_spans, &mut self.positive_buckets),
            (&mut self.negative_spans, &mut self.negative_buckets),
        ] {
            if !is_compact(spans, buckets.contains(&0.0), empty_max) {
                let side = Side::of(std::mem::take(spans), std::mem::take(buckets));
                let side = compacted(side, empty_max, |count| *count == 0.0);
                (*spans, *buckets) = (side.spans, side.counts);
            }
        }
    }
}

/// The common case: nothing to do.
fn is_compact(spans: &[Span], has_empty: bool, empty_max: usize) -> bool {
    let first_ok = spans.first().is_none_or(|span| span.length > 0);
    let gap_ok = |span: &Span| span.length > 0 && usize::try_from(span.offset).is_ok_and(|gap| gap > empty_max);
    !has_empty && first_ok && spans.iter().skip(1).all(gap_ok)
}

pub(super) fn compacted<C: Copy + Default>(side: Side<C>, empty_max: usize, is_empty: impl Fn(&C) -> bool) -> Side<C> {
    let mut out = Side::new();
    let mut end: Option<i32> = None;
    for (index, count) in side.iter().filter(|(_, count)| !is_empty(count)) {
        // `end` is one behind the last populated bucket.
        if let Some(end) = end {
            let gap = i64::from(index) - i64::from(end);
            if usize::try_from(gap).is_ok_and(|gap| gap <= empty_max) {
                (end..index).for_each(|empty| out.push(empty, C::default()));
            }
        }
        out.push(index, count);
        end = Some(index.saturating_add(1));
    }
    out
}
