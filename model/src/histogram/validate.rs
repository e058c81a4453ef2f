//! Does a histogram agree with itself?

use thiserror::Error;

use super::layout::{RESERVED_SCHEMAS, is_exponential};
use super::{CUSTOM_BUCKETS_SCHEMA, FloatHistogram, IntegerHistogram, Span};

/// Which buckets are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketSide {
    /// Those above zero.
    Positive,
    /// Those below zero.
    Negative,
    /// Those with custom bounds.
    Custom,
}

impl std::fmt::Display for BucketSide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Positive => "positive side",
            Self::Negative => "negative side",
            Self::Custom => "custom buckets",
        })
    }
}

/// How a histogram contradicts itself. Meanings and words are those of Prometheus 3.14, on which clients match.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum HistogramError {
    /// A schema that is neither exponential nor custom.
    #[error(
        "histogram has an invalid schema, which must be between -4 and 8 for exponential buckets, or -53 for custom buckets, got schema {0}"
    )]
    Schema(i32),
    /// A schema that the format does not know at all.
    #[error(
        "histogram has an unknown schema, which must be between -9 and 52 for exponential buckets, or -53 for custom buckets, got schema {0}"
    )]
    UnknownSchema(i32),
    /// A span that begins before the previous one ends, or custom buckets before the first.
    #[error("{side}: span number {span} with offset {offset}: histogram has a span whose offset is negative")]
    SpanOffset {
        /// Where.
        side: BucketSide,
        /// Which span, from 1.
        span: usize,
        /// Its offset.
        offset: i32,
    },
    /// Spans and buckets disagree.
    #[error(
        "{side}: spans need {needed} buckets, have {have} buckets: histogram spans specify different number of buckets than provided"
    )]
    Buckets {
        /// Where.
        side: BucketSide,
        /// Buckets that the spans stand for.
        needed: usize,
        /// Buckets there are.
        have: usize,
    },
    /// A bucket below zero.
    #[error(
        "{side}: bucket number {bucket} has observation count of {count}: histogram has a bucket whose observation count is negative"
    )]
    NegativeBucket {
        /// Where.
        side: BucketSide,
        /// Which bucket, from 1.
        bucket: usize,
        /// Its observations.
        count: f64,
    },
    /// A count below zero.
    #[error("{what} is {count}: histogram's observation count is negative")]
    NegativeCount {
        /// `count` or `zero count`.
        what: &'static str,
        /// The observations.
        count: f64,
    },
    /// The buckets hold more than the histogram.
    #[error(
        "{found} observations found in buckets, but the Count field is {count}: histogram's observation count should be at least the number of observations found in the buckets"
    )]
    CountTooSmall {
        /// Observations in the buckets.
        found: u64,
        /// Observations by the count field.
        count: u64,
    },
    /// The buckets do not hold as much as the histogram.
    #[error(
        "{found} observations found in buckets, but the Count field is {count}: histogram's observation count should equal the number of observations found in the buckets (in absence of NaN)"
    )]
    CountMismatch {
        /// Observations in the buckets.
        found: u64,
        /// Observations by the count field.
        count: u64,
    },
    /// Custom bounds with an exponential schema.
    #[error("histogram with exponential schema must not have custom bounds")]
    UnexpectedBounds,
    /// Custom bounds out of order.
    #[error(
        "custom buckets: previous bound is {previous:.6} and current is {current:.6}: histogram custom bounds must be in strictly increasing order"
    )]
    BoundsOrder {
        /// The bound before.
        previous: f64,
        /// The bound that is not larger.
        current: f64,
    },
    /// A bound that is not a number.
    #[error("custom buckets: histogram custom bounds must not be NaN")]
    BoundNan,
    /// The last bound is infinite, which goes without saying.
    #[error("custom buckets: last +Inf bound must not be explicitly defined: histogram custom bounds must be finite")]
    BoundInfinite,
    /// More buckets than bounds.
    #[error(
        "custom buckets: only {bounds} custom bounds defined which is insufficient to cover total span length of {length}: histogram custom bounds are too few"
    )]
    TooFewBounds {
        /// How many bounds.
        bounds: usize,
        /// How many buckets and gaps.
        length: usize,
    },
    /// Custom buckets with a zero bucket or a negative side.
    #[error("custom buckets: must {0}")]
    CustomExtra(&'static str),
}

impl IntegerHistogram {
    /// Checks that the histogram may be stored.
    ///
    /// # Errors
    ///
    /// See [`HistogramError`].
    pub fn validate(&self) -> Result<(), HistogramError> {
        let shape = Shape {
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            has_zero_count: self.zero_count != 0,
            positive: (&self.positive_spans, self.positive_buckets.len()),
            negative: (&self.negative_spans, self.negative_buckets.len()),
            custom_values: &self.custom_values,
        };
        shape.check()?;
        let negative = sum_of_deltas(&self.negative_buckets, BucketSide::Negative)?;
        let positive = sum_of_deltas(&self.positive_buckets, shape.positive_side())?;
        let (found, count) = (negative.saturating_add(positive).saturating_add(self.zero_count), self.count);
        match found.cmp(&count) {
            std::cmp::Ordering::Equal => Ok(()),
            // Observations of NaN are in no bucket.
            std::cmp::Ordering::Less if self.sum.is_nan() => Ok(()),
            _ if self.sum.is_nan() => Err(HistogramError::CountTooSmall { found, count }),
            _ => Err(HistogramError::CountMismatch { found, count }),
        }
    }
}

impl FloatHistogram {
    /// Checks that the histogram may be stored. The count is not compared with the buckets: floats need not add up.
    ///
    /// # Errors
    ///
    /// See [`HistogramError`].
    pub fn validate(&self) -> Result<(), HistogramError> {
        for (what, count) in [("count", self.count), ("zero count", self.zero_count)] {
            if count < 0.0 {
                return Err(HistogramError::NegativeCount { what, count });
            }
        }
        let shape = Shape {
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            has_zero_count: self.zero_count != 0.0,
            positive: (&self.positive_spans, self.positive_buckets.len()),
            negative: (&self.negative_spans, self.negative_buckets.len()),
            custom_values: &self.custom_values,
        };
        shape.check()?;
        check_counts(&self.negative_buckets, BucketSide::Negative)?;
        check_counts(&self.positive_buckets, shape.positive_side())
    }
}

/// Whether a schema may come in: those that are computed with, and finer ones, which are reduced on the way.
///
/// # Errors
///
/// [`HistogramError::Schema`] or [`HistogramError::UnknownSchema`].
pub(super) fn check_incoming_schema(schema: i32) -> Result<(), HistogramError> {
    if schema == CUSTOM_BUCKETS_SCHEMA || is_exponential(schema) || (9..=52).contains(&schema) {
        Ok(())
    } else if RESERVED_SCHEMAS.contains(&schema) {
        Err(HistogramError::Schema(schema))
    } else {
        Err(HistogramError::UnknownSchema(schema))
    }
}

/// What both forms have in common.
struct Shape<'a> {
    schema: i32,
    zero_threshold: f64,
    has_zero_count: bool,
    positive: (&'a [Span], usize),
    negative: (&'a [Span], usize),
    custom_values: &'a [f64],
}

impl Shape<'_> {
    fn positive_side(&self) -> BucketSide {
        if self.schema == CUSTOM_BUCKETS_SCHEMA { BucketSide::Custom } else { BucketSide::Positive }
    }

    fn check(&self) -> Result<(), HistogramError> {
        if self.schema == CUSTOM_BUCKETS_SCHEMA {
            return self.check_custom();
        }
        if !is_exponential(self.schema) {
            return Err(HistogramError::Schema(self.schema));
        }
        check_spans(self.negative.0, self.negative.1, BucketSide::Negative)?;
        check_spans(self.positive.0, self.positive.1, BucketSide::Positive)?;
        if self.custom_values.is_empty() { Ok(()) } else { Err(HistogramError::UnexpectedBounds) }
    }

    fn check_custom(&self) -> Result<(), HistogramError> {
        check_bounds(self.custom_values)?;
        let (spans, have) = self.positive;
        if let Some(first) = spans.first().filter(|span| span.offset < 0) {
            return Err(HistogramError::SpanOffset { side: BucketSide::Custom, span: 1, offset: first.offset });
        }
        check_spans(spans, have, BucketSide::Custom)?;
        let gaps = spans.iter().map(|span| span.offset.unsigned_abs() as usize).fold(0usize, usize::saturating_add);
        let length = gaps.saturating_add(have);
        if length > self.custom_values.len() + 1 {
            return Err(HistogramError::TooFewBounds { bounds: self.custom_values.len(), length });
        }
        let extras = [
            (self.has_zero_count, "have zero count of 0"),
            (self.zero_threshold != 0.0, "have zero threshold of 0"),
            (!self.negative.0.is_empty(), "not have negative spans"),
            (self.negative.1 != 0, "not have negative buckets"),
        ];
        match extras.into_iter().find(|(wrong, _)| *wrong) {
            Some((_, must)) => Err(HistogramError::CustomExtra(must)),
            None => Ok(()),
        }
    }
}

fn check_bounds(bounds: &[f64]) -> Result<(), HistogramError> {
    if bounds.iter().any(|bound| bound.is_nan()) {
        return Err(HistogramError::BoundNan);
    }
    if let Some([previous, current]) = bounds.array_windows().find(|[previous, current]| current <= previous) {
        return Err(HistogramError::BoundsOrder { previous: *previous, current: *current });
    }
    match bounds.last() {
        Some(&f64::INFINITY) => Err(HistogramError::BoundInfinite),
        _ => Ok(()),
    }
}

fn check_spans(spans: &[Span], have: usize, side: BucketSide) -> Result<(), HistogramError> {
    if let Some((at, span)) = spans.iter().enumerate().skip(1).find(|(_, span)| span.offset < 0) {
        return Err(HistogramError::SpanOffset { side, span: at + 1, offset: span.offset });
    }
    let needed = super::layout::bucket_count(spans);
    if needed == have { Ok(()) } else { Err(HistogramError::Buckets { side, needed, have }) }
}

fn sum_of_deltas(deltas: &[i64], side: BucketSide) -> Result<u64, HistogramError> {
    let (mut count, mut sum) = (0i64, 0u64);
    for (at, delta) in deltas.iter().enumerate() {
        count = count.wrapping_add(*delta);
        match u64::try_from(count) {
            Ok(count) => sum = sum.saturating_add(count),
            Err(_) => return Err(HistogramError::NegativeBucket { side, bucket: at + 1, count: count as f64 }),
        }
    }
    Ok(sum)
}

fn check_counts(counts: &[f64], side: BucketSide) -> Result<(), HistogramError> {
    match counts.iter().enumerate().find(|(_, count)| **count < 0.0) {
        Some((at, count)) => Err(HistogramError::NegativeBucket { side, bucket: at + 1, count: *count }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> IntegerHistogram {
        IntegerHistogram {
            count: 12,
            zero_count: 2,
            zero_threshold: 0.001,
            sum: 18.4,
            schema: 1,
            positive_spans: vec![Span { offset: 0, length: 2 }, Span { offset: 1, length: 2 }],
            positive_buckets: vec![1, 1, -1, 0],
            negative_spans: vec![Span { offset: -3, length: 1 }, Span { offset: 2, length: 1 }],
            negative_buckets: vec![3, -1],
            ..IntegerHistogram::default()
        }
    }

    fn custom() -> IntegerHistogram {
        IntegerHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count: 3,
            sum: 3.0,
            positive_spans: vec![Span { offset: 1, length: 2 }],
            positive_buckets: vec![1, 1],
            custom_values: [f64::NEG_INFINITY, 2.0].into(),
            ..IntegerHistogram::default()
        }
    }

    #[test]
    fn good_histograms_pass_in_both_forms() {
        for histogram in [good(), custom(), IntegerHistogram { sum: f64::NAN, count: 99, ..good() }] {
            assert_eq!(histogram.validate(), Ok(()));
            assert_eq!(histogram.to_float().validate(), Ok(()));
        }
    }

    #[test]
    fn each_contradiction_is_named() {
        type Change = fn(&mut IntegerHistogram);
        let cases: &[(IntegerHistogram, Change, &str)] = &[
            (good(), |h| h.schema = 9, "invalid schema"),
            (good(), |h| h.schema = -5, "got schema -5"),
            (good(), |h| h.count = 11, "should equal the number of observations"),
            (good(), |h| (h.sum, h.count) = (f64::NAN, 3), "should be at least the number of observations"),
            (good(), |h| h.positive_buckets[0] = -1, "positive side: bucket number 1 has observation count of -1"),
            (good(), |h| h.negative_buckets[1] = -9, "negative side: bucket number 2 has observation count of -6"),
            (good(), |h| h.positive_spans[1].offset = -1, "positive side: span number 2 with offset -1"),
            (good(), |h| h.negative_spans[1].length = 7, "negative side: spans need 8 buckets, have 2 buckets"),
            (good(), |h| h.custom_values = [1.0].into(), "must not have custom bounds"),
            (custom(), |h| h.custom_values = [2.0, 2.0].into(), "previous bound is 2.000000 and current is 2.000000"),
            (custom(), |h| h.custom_values = [2.0, f64::INFINITY].into(), "last +Inf bound must not be"),
            (custom(), |h| h.custom_values = [f64::NAN, 1.0].into(), "must not be NaN"),
            (custom(), |h| h.custom_values = [1.0].into(), "only 1 custom bounds defined"),
            (custom(), |h| h.positive_spans[0].offset = -1, "custom buckets: span number 1 with offset -1"),
            (custom(), |h| h.zero_count = 1, "must have zero count of 0"),
            (custom(), |h| h.zero_threshold = 1.0, "must have zero threshold of 0"),
            (custom(), |h| h.negative_spans.push(Span::default()), "must not have negative spans"),
            (custom(), |h| h.negative_buckets.push(0), "must not have negative buckets"),
        ];
        for (histogram, change, words) in cases {
            let mut histogram = histogram.clone();
            change(&mut histogram);
            let error = histogram.validate().expect_err(words).to_string();
            assert!(error.contains(words), "{error} should say {words}");
        }
        let float = FloatHistogram { count: -1.0, ..FloatHistogram::default() };
        assert!(matches!(float.validate(), Err(HistogramError::NegativeCount { .. })));
    }
}
