//! Which samples is a metric?

use std::sync::Arc;

use ferula_model::{Exemplar, Histogram, Value};

use crate::family::{HistogramValue, Metric, MetricValue};
use crate::nhcb::Cumulative;

/// A sample of a metric. Numbers are bits, so that they compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The number that the metric is.
    Whole,
    /// A native histogram.
    Native,
    /// How many observations.
    Count,
    /// Their sum.
    Sum,
    /// How many up to this bound.
    Bucket(u64),
    /// What so large a share of the observations does not exceed.
    Quantile(u64),
    /// Whether this state holds.
    State(Arc<str>),
}

/// In which forms histograms are stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct HistogramForms {
    pub(super) native: bool,
    pub(super) keep_classic: bool,
    pub(super) convert_classic: bool,
}

impl Default for HistogramForms {
    fn default() -> Self {
        Self { native: true, keep_classic: false, convert_classic: false }
    }
}

impl HistogramForms {
    /// Hands out each sample of a metric, with its exemplars.
    pub(super) fn for_each_part<E>(
        self,
        metric: &Metric,
        put: &mut impl FnMut(Part, Value, &[Exemplar]) -> Result<(), E>,
    ) -> Result<(), E> {
        match &metric.value {
            MetricValue::Counter { value, exemplar } => put(Part::Whole, (*value).into(), exemplar.as_slice()),
            MetricValue::Gauge(value) | MetricValue::Unknown(value) => put(Part::Whole, (*value).into(), &[]),
            MetricValue::Info => put(Part::Whole, 1.0.into(), &[]),
            MetricValue::StateSet(states) => {
                for (state, holds) in states {
                    let value = f64::from(u8::from(*holds));
                    put(Part::State(Arc::clone(state)), value.into(), &[])?;
                }
                Ok(())
            }
            MetricValue::Summary(summary) => {
                for (quantile, value) in &summary.quantiles {
                    put(Part::Quantile(quantile.to_bits()), (*value).into(), &[])?;
                }
                summary.sum.into_iter().try_for_each(|sum| put(Part::Sum, sum.into(), &[]))?;
                summary.count.into_iter().try_for_each(|count| put(Part::Count, count.into(), &[]))
            }
            MetricValue::Histogram(histogram) => self.histogram(histogram, put),
        }
    }

    fn histogram<E>(
        self,
        histogram: &HistogramValue,
        put: &mut impl FnMut(Part, Value, &[Exemplar]) -> Result<(), E>,
    ) -> Result<(), E> {
        let exposed = histogram.native.clone().filter(|_| self.native);
        let native = match exposed {
            None if self.convert_classic => convert(histogram),
            exposed => exposed,
        };
        let classic_too = native.is_none() || self.keep_classic;
        if let Some(native) = native {
            match histogram.exemplars.as_slice() {
                [] => {
                    let of_buckets = histogram.buckets.iter().filter_map(|bucket| bucket.exemplar.clone());
                    put(Part::Native, native.into(), &of_buckets.collect::<Vec<_>>())?;
                }
                exemplars => put(Part::Native, native.into(), exemplars)?,
            }
        }
        if classic_too { classic(histogram, put) } else { Ok(()) }
    }
}

fn classic<E>(
    histogram: &HistogramValue,
    put: &mut impl FnMut(Part, Value, &[Exemplar]) -> Result<(), E>,
) -> Result<(), E> {
    for bucket in &histogram.buckets {
        let part = Part::Bucket(bucket.upper_bound.to_bits());
        put(part, bucket.cumulative_count.into(), bucket.exemplar.as_slice())?;
    }
    let infinite = histogram.buckets.last().is_some_and(|bucket| bucket.upper_bound == f64::INFINITY);
    if let (false, Some(count)) = (infinite, histogram.count) {
        put(Part::Bucket(f64::INFINITY.to_bits()), count.into(), &[])?;
    }
    histogram.sum.into_iter().try_for_each(|sum| put(Part::Sum, sum.into(), &[]))?;
    histogram.count.into_iter().try_for_each(|count| put(Part::Count, count.into(), &[]))
}

/// The classic buckets as a native histogram with custom ones, unless they contradict each other.
fn convert(histogram: &HistogramValue) -> Option<Histogram> {
    let mut cumulative = Cumulative::default();
    histogram.count.into_iter().for_each(|count| cumulative.set_count(count));
    histogram.sum.into_iter().for_each(|sum| cumulative.set_sum(sum));
    for bucket in &histogram.buckets {
        cumulative.add_bucket(bucket.upper_bound, bucket.cumulative_count);
    }
    cumulative.convert()
}
