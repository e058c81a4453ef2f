//! Classic histograms become native ones with custom buckets.
//!
//! [`Cumulative`] is the conversion. In protobuf a histogram comes in one piece; in the text formats its lines are put
//! together by the [`Collator`], for as long as the next line has the same family and labels.
//!
//! Source: classic-to-custom conversion of Prometheus 3.14, oddities included: buckets out of order are put in their place,
//! repeated bounds ignored, and a histogram that contradicts itself is left out.

use std::sync::Arc;

use ferula_model::histogram::CUSTOM_BUCKETS_SCHEMA;
use ferula_model::number::parse_float;
use ferula_model::{Exemplar, FloatHistogram, Histogram, IntegerHistogram, METRIC_NAME, MetricType, Span, Timestamp};

use crate::event::SampleEvent;
use crate::series::LabelBuffer;

/// Runs of at most so many empty buckets are kept, as upstream does.
const EMPTY_BUCKETS_KEPT: usize = 2;

/// A classic histogram while its parts come in.
#[derive(Debug, Default)]
pub(crate) struct Cumulative {
    count: Option<f64>,
    sum: f64,
    /// Bound and cumulative count, by rising bound.
    buckets: Vec<(f64, f64)>,
    contradicts: bool,
}

impl Cumulative {
    pub(crate) fn set_count(&mut self, count: f64) {
        self.contradicts |= count.is_nan() || count < 0.0;
        self.count = Some(count);
    }

    pub(crate) fn set_sum(&mut self, sum: f64) {
        self.sum = sum;
    }

    pub(crate) fn add_bucket(&mut self, bound: f64, count: f64) {
        let place = self.buckets.partition_point(|(before, _)| *before < bound);
        if self.buckets.get(place).is_some_and(|(same, _)| *same == bound) {
            return;
        }
        let below = place.checked_sub(1).and_then(|before| self.buckets.get(before)).map_or(0.0, |(_, count)| *count);
        let above = self.buckets.get(place).map_or(f64::INFINITY, |(_, count)| *count);
        self.contradicts |= bound.is_nan() || !(below..=above).contains(&count);
        self.buckets.insert(place, (bound, count));
    }

    /// The native histogram; `None` if the parts contradict each other.
    pub(crate) fn convert(mut self) -> Option<Histogram> {
        let highest = self.buckets.last().copied();
        let count = self.count.or(highest.map(|(_, count)| count)).unwrap_or(0.0);
        if highest.is_none_or(|(bound, _)| bound != f64::INFINITY) {
            self.contradicts |= highest.is_some_and(|(_, below)| below > count);
            self.buckets.push((f64::INFINITY, count));
        }
        let agrees = self.buckets.last().is_some_and(|(_, total)| *total == count);
        if self.contradicts || !agrees {
            return None;
        }
        let whole = |count: f64| count.trunc() == count && count < 9e15;
        if self.buckets.iter().all(|(_, count)| whole(*count)) { self.integer(count) } else { self.float(count) }
    }

    fn integer(self, count: f64) -> Option<Histogram> {
        let (mut below, mut previous) = (0, 0);
        let deltas = self.buckets.iter().map(|(_, cumulative)| {
            let in_bucket = *cumulative as i64 - below;
            below = *cumulative as i64;
            in_bucket - std::mem::replace(&mut previous, in_bucket)
        });
        let mut histogram = IntegerHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count: count as u64,
            sum: self.sum,
            positive_buckets: deltas.collect(),
            positive_spans: vec![Span { offset: 0, length: u32::try_from(self.buckets.len()).ok()? }],
            custom_values: self.finite_bounds(),
            ..IntegerHistogram::default()
        };
        histogram.compact(EMPTY_BUCKETS_KEPT);
        histogram.validate().ok()?;
        Some(histogram.into())
    }

    fn float(self, count: f64) -> Option<Histogram> {
        let mut below = 0.0;
        let counts = self.buckets.iter().map(|(_, cumulative)| cumulative - std::mem::replace(&mut below, *cumulative));
        let mut histogram = FloatHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count,
            sum: self.sum,
            positive_buckets: counts.collect(),
            positive_spans: vec![Span { offset: 0, length: u32::try_from(self.buckets.len()).ok()? }],
            custom_values: self.finite_bounds(),
            ..FloatHistogram::default()
        };
        histogram.compact(EMPTY_BUCKETS_KEPT);
        histogram.validate().ok()?;
        Some(histogram.into())
    }

    fn finite_bounds(&self) -> Arc<[f64]> {
        self.buckets.iter().map(|(bound, _)| *bound).filter(|bound| *bound != f64::INFINITY).collect()
    }
}

/// Puts the lines of classic histograms together.
#[derive(Debug, Default)]
pub(crate) struct Collator {
    /// The family of the last TYPE line, if it is a histogram.
    family: Option<String>,
    pending: Option<Pending>,
    /// The finished histogram, whose event borrows from here.
    pub(crate) labels: LabelBuffer,
    pub(crate) key: Vec<u8>,
    /// Histograms that contradicted themselves.
    pub(crate) dropped: u64,
    buffer: LabelBuffer,
}

#[derive(Debug)]
struct Pending {
    labels: LabelBuffer,
    cumulative: Cumulative,
    exemplars: Vec<Exemplar>,
    timestamp: Option<Timestamp>,
    start: Option<Timestamp>,
}

/// A histogram that is complete.
pub(crate) struct Finished {
    pub(crate) histogram: Histogram,
    pub(crate) exemplars: Vec<Exemplar>,
    pub(crate) timestamp: Option<Timestamp>,
    pub(crate) start: Option<Timestamp>,
}

/// What the next line is to the histogram that is being put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// A part of it, or of a first one.
    Part,
    /// A part of another one.
    Another,
    /// No part of a histogram.
    None,
}

impl Collator {
    pub(crate) fn begin_family(&mut self, family: &str, metric_type: MetricType) {
        self.family = (metric_type == MetricType::Histogram).then(|| family.to_owned());
    }

    /// How the next sample fits. What it is stays noted for [`take`](Self::take).
    pub(crate) fn fit(&mut self, sample: &SampleEvent<'_>) -> Fit {
        let Some(family) = &self.family else { return Fit::None };
        sample.labels(&mut self.buffer);
        let name = self.buffer.get(METRIC_NAME).unwrap_or_default();
        let fits = match name.strip_prefix(family.as_str()) {
            Some("_bucket") => bound(&self.buffer).is_some(),
            Some("_sum" | "_count") => true,
            _ => false,
        };
        match &self.pending {
            _ if !fits => Fit::None,
            None => Fit::Part,
            Some(pending) if same_metric(&pending.labels, &self.buffer) => Fit::Part,
            Some(_) => Fit::Another,
        }
    }

    /// Adds the sample that [`fit`](Self::fit) just saw.
    pub(crate) fn take(&mut self, sample: &SampleEvent<'_>) {
        let family = self.family.clone().unwrap_or_default();
        let buffer = &self.buffer;
        let pending = self.pending.get_or_insert_with(|| {
            let mut labels = LabelBuffer::default();
            let others = buffer.iter().filter(|(name, _)| *name != METRIC_NAME && *name != "le");
            labels.assign(others.chain([(METRIC_NAME, family.as_str())]));
            let (timestamp, start) = (sample.timestamp, sample.start);
            Pending { labels, cumulative: Cumulative::default(), exemplars: Vec::new(), timestamp, start }
        });
        match buffer.get(METRIC_NAME).and_then(|name| name.strip_prefix(family.as_str())) {
            Some("_bucket") => {
                pending.cumulative.add_bucket(bound(buffer).unwrap_or(f64::NAN), sample.value);
                pending.exemplars.extend(sample.exemplar.as_ref().map(|exemplar| exemplar.to_exemplar()));
            }
            Some("_count") => pending.cumulative.set_count(sample.value),
            _ => pending.cumulative.set_sum(sample.value),
        }
    }

    /// Ends the histogram; `None` if there was none, or if it contradicts itself.
    pub(crate) fn finish(&mut self) -> Option<Finished> {
        let Pending { labels, cumulative, exemplars, timestamp, start } = self.pending.take()?;
        let Some(histogram) = cumulative.convert() else {
            self.dropped += 1;
            return None;
        };
        self.labels = labels;
        self.key.clear();
        for (name, value) in self.labels.iter() {
            for text in [name, value] {
                self.key.extend_from_slice(text.as_bytes());
                self.key.push(0xfb);
            }
        }
        Some(Finished { histogram, exemplars, timestamp, start })
    }
}

/// The bound of a bucket, if it is a number.
fn bound(labels: &LabelBuffer) -> Option<f64> {
    labels.get("le").and_then(|text| parse_float(text).ok()).filter(|bound| !bound.is_nan())
}

/// Whether both name the same metric, bound and metric name aside.
fn same_metric(a: &LabelBuffer, b: &LabelBuffer) -> bool {
    let others = |(name, _): &(&str, &str)| *name != METRIC_NAME && *name != "le";
    a.iter().filter(others).eq(b.iter().filter(others))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(count: Option<f64>, buckets: &[(f64, f64)]) -> Option<(u64, Vec<i64>, Vec<f64>)> {
        let mut cumulative = Cumulative::default();
        count.into_iter().for_each(|count| cumulative.set_count(count));
        buckets.iter().for_each(|(bound, count)| cumulative.add_bucket(*bound, *count));
        match cumulative.convert()? {
            Histogram::Integer(h) => Some((h.count, h.positive_buckets.clone(), h.custom_values.to_vec())),
            Histogram::Float(_) => None,
        }
    }

    #[test]
    fn buckets_become_custom_buckets() {
        let inf = f64::INFINITY;
        assert_eq!(
            converted(Some(6.0), &[(1.0, 2.0), (2.0, 5.0), (inf, 6.0)]),
            Some((6, vec![2, 1, -2], vec![1.0, 2.0]))
        );
        assert_eq!(converted(None, &[(2.0, 5.0), (1.0, 2.0)]), Some((5, vec![2, 1], vec![1.0, 2.0])), "out of order");
        assert_eq!(converted(Some(3.0), &[]), Some((3, vec![3], vec![])), "only a count");
        assert_eq!(converted(Some(2.0), &[(1.0, 1.0), (1.0, 9.0), (inf, 2.0)]), Some((2, vec![1, 0], vec![1.0])));
    }

    #[test]
    fn contradictions_are_not_converted() {
        assert_eq!(converted(None, &[(1.0, 3.0), (2.0, 2.0)]), None, "falling");
        assert_eq!(converted(Some(2.0), &[(1.0, 3.0)]), None, "more than the count");
        assert_eq!(converted(Some(2.0), &[(f64::INFINITY, 3.0)]), None, "count is not +Inf");
        assert_eq!(converted(None, &[(1.0, -1.0)]), None, "negative");
        assert_eq!(converted(None, &[(1.0, f64::NAN)]), None);
    }

    #[test]
    fn fractions_make_a_float_histogram() {
        let mut cumulative = Cumulative::default();
        cumulative.add_bucket(1.0, 0.5);
        cumulative.add_bucket(f64::INFINITY, 2.0);
        let Some(Histogram::Float(histogram)) = cumulative.convert() else { panic!("a float histogram") };
        assert_eq!(histogram.positive_buckets, [0.5, 1.5]);
    }
}
