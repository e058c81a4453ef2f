//! When are two histograms the same?

use super::arithmetic::same_bounds;
use super::layout::normalized;
use super::{FloatHistogram, Histogram, IntegerHistogram, Span};

impl Histogram {
    /// Whether both have the same form and, of that form, are [equal](FloatHistogram::equals).
    pub fn equals(&self, other: &Histogram) -> bool {
        match (self, other) {
            (Histogram::Integer(a), Histogram::Integer(b)) => a.equals(b),
            (Histogram::Float(a), Histogram::Float(b)) => a.equals(b),
            _ => false,
        }
    }
}

impl IntegerHistogram {
    /// As [`FloatHistogram::equals`].
    pub fn equals(&self, other: &IntegerHistogram) -> bool {
        self.schema == other.schema
            && self.count == other.count
            && self.sum.to_bits() == other.sum.to_bits()
            && same_bounds(&self.custom_values, &other.custom_values)
            && self.zero_threshold == other.zero_threshold
            && self.zero_count == other.zero_count
            && same_spans(&self.positive_spans, &other.positive_spans)
            && same_spans(&self.negative_spans, &other.negative_spans)
            && self.positive_buckets == other.positive_buckets
            && self.negative_buckets == other.negative_buckets
    }
}

impl FloatHistogram {
    /// The equality of PromQL's `==`: the same resolution, the same buckets, every number the same bit for bit (so `NaN`
    /// equals itself). The counter-reset hint and spans of length zero do not matter; whether a bucket is empty or
    /// absent does, so compact both first to compare what they hold.
    pub fn equals(&self, other: &FloatHistogram) -> bool {
        self.matches(other, |a, b| a.to_bits() == b.to_bits())
    }

    /// As [`equals`](Self::equals), with counts and sums that differ by less than `relative` of their size: how rule tests
    /// and promqltest scripts compare. Compact both first.
    pub fn nearly_equals(&self, other: &FloatHistogram, relative: f64) -> bool {
        self.matches(other, |a, b| crate::number::nearly_equal(a, b, relative))
    }

    fn matches(&self, other: &FloatHistogram, same: impl Fn(f64, f64) -> bool) -> bool {
        let all_same = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(*a, *b));
        self.schema == other.schema
            && same(self.count, other.count)
            && same(self.sum, other.sum)
            && same_bounds(&self.custom_values, &other.custom_values)
            && self.zero_threshold == other.zero_threshold
            && same(self.zero_count, other.zero_count)
            && same_spans(&self.positive_spans, &other.positive_spans)
            && same_spans(&self.negative_spans, &other.negative_spans)
            && all_same(&self.positive_buckets, &other.positive_buckets)
            && all_same(&self.negative_buckets, &other.negative_buckets)
    }
}

fn same_spans(a: &[Span], b: &[Span]) -> bool {
    a == b || normalized(a).eq(normalized(b))
}
