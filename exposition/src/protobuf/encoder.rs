//! Writes delimited protobuf.
//!
//! Nothing is lost here but the types that the message does not know: info and state sets become gauges.

use ferula_model::{Exemplar, Histogram, MetricType, Span, Timestamp};

use super::format::{bucket, exemplar, family, histogram, label, metric, number, quantile, span, summary, timestamp};
use super::wire::Writer;
use crate::encode::EncodeOptions;
use crate::family::{HistogramValue, Metric, MetricFamily, MetricValue};

pub(crate) fn encode(families: &[MetricFamily], options: &EncodeOptions, out: &mut Vec<u8>) {
    for family in families.iter().filter(|family| !family.metrics.is_empty()) {
        Writer(out).delimited(|message| push_family(message, family, options));
    }
}

fn push_family(out: &mut Writer<'_>, family: &MetricFamily, options: &EncodeOptions) {
    out.text(family::NAME, &family.name);
    out.text(family::HELP, &family.help);
    out.unsigned(family::TYPE, type_number(family.metric_type));
    for metric in &family.metrics {
        match &metric.value {
            MetricValue::StateSet(states) => {
                for (state, holds) in states {
                    let value = f64::from(u8::from(*holds));
                    let labels = options.labels(metric).chain([(&*family.name, &**state)]);
                    push_metric(out, metric, labels, |out| push_number(out, metric::GAUGE, value));
                }
            }
            _ => push_metric(out, metric, options.labels(metric), |out| push_value(out, family.metric_type, metric)),
        }
    }
    out.text(family::UNIT, &family.unit);
}

fn type_number(metric_type: MetricType) -> u64 {
    match metric_type {
        MetricType::Counter => 0,
        MetricType::Gauge | MetricType::Info | MetricType::StateSet => 1,
        MetricType::Summary => 2,
        MetricType::Unknown => 3,
        MetricType::Histogram => 4,
        MetricType::GaugeHistogram => 5,
    }
}

fn push_metric<'m>(
    out: &mut Writer<'_>,
    metric: &Metric,
    labels: impl Iterator<Item = (&'m str, &'m str)>,
    value: impl FnOnce(&mut Writer<'_>),
) {
    out.message(family::METRIC, |out| {
        labels.for_each(|pair| push_label(out, metric::LABEL, pair));
        value(out);
        if let Some(timestamp) = metric.timestamp {
            out.unsigned(metric::TIMESTAMP_MS, timestamp.0 as u64);
        }
    });
}

fn push_label(out: &mut Writer<'_>, field: u32, (name, value): (&str, &str)) {
    out.message(field, |out| {
        out.text(label::NAME, name);
        out.text(label::VALUE, value);
    });
}

fn push_number(out: &mut Writer<'_>, field: u32, value: f64) {
    out.message(field, |out| out.double(number::VALUE, value));
}

/// The value goes into the field that the family's type names, because that is the one that readers look at.
fn push_value(out: &mut Writer<'_>, metric_type: MetricType, metric: &Metric) {
    match &metric.value {
        MetricValue::Counter { value, exemplar } if metric_type == MetricType::Counter => {
            out.message(metric::COUNTER, |out| {
                out.double(number::VALUE, *value);
                exemplar.iter().for_each(|exemplar| push_exemplar(out, number::EXEMPLAR, exemplar));
                push_start(out, number::START, metric.start);
            });
        }
        MetricValue::Counter { value, .. } | MetricValue::Gauge(value) | MetricValue::Unknown(value) => {
            let field = match metric_type {
                MetricType::Counter => metric::COUNTER,
                MetricType::Unknown => metric::UNTYPED,
                _ => metric::GAUGE,
            };
            push_number(out, field, *value);
        }
        MetricValue::Info => push_number(out, metric::GAUGE, 1.0),
        MetricValue::StateSet(_) => {}
        MetricValue::Summary(value) => out.message(metric::SUMMARY, |out| {
            out.unsigned(summary::COUNT, value.count.unwrap_or_default() as u64);
            out.double(summary::SUM, value.sum.unwrap_or_default());
            for (at, value) in &value.quantiles {
                out.message(summary::QUANTILE, |out| {
                    out.double(quantile::QUANTILE, *at);
                    out.double(quantile::VALUE, *value);
                });
            }
            push_start(out, summary::START, metric.start);
        }),
        MetricValue::Histogram(value) => {
            out.message(metric::HISTOGRAM, |out| push_histogram(out, value, metric.start));
        }
    }
}

fn push_histogram(out: &mut Writer<'_>, value: &HistogramValue, start: Option<Timestamp>) {
    let native_is_float = matches!(value.native, Some(Histogram::Float(_)));
    match &value.native {
        // Exact, where a float would not be.
        Some(Histogram::Integer(native)) => out.unsigned(histogram::COUNT, native.count),
        _ => {
            let count = value.count.unwrap_or_default();
            push_count(out, (histogram::COUNT, histogram::COUNT_FLOAT), count, native_is_float);
        }
    }
    out.double(histogram::SUM, value.sum.unwrap_or_default());
    for of_value in &value.buckets {
        out.message(histogram::BUCKET, |out| {
            let fields = (bucket::CUMULATIVE_COUNT, bucket::CUMULATIVE_COUNT_FLOAT);
            push_count(out, fields, of_value.cumulative_count, native_is_float);
            out.double(bucket::UPPER_BOUND, of_value.upper_bound);
            of_value.exemplar.iter().for_each(|exemplar| push_exemplar(out, bucket::EXEMPLAR, exemplar));
        });
    }
    match &value.native {
        Some(Histogram::Integer(native)) => {
            out.zigzag(histogram::SCHEMA, i64::from(native.schema));
            out.double(histogram::ZERO_THRESHOLD, native.zero_threshold);
            out.unsigned(histogram::ZERO_COUNT, native.zero_count);
            push_spans(out, histogram::NEGATIVE_SPAN, &native.negative_spans);
            out.packed_zigzags(histogram::NEGATIVE_DELTA, &native.negative_buckets);
            push_spans(out, histogram::POSITIVE_SPAN, &native.positive_spans);
            out.packed_zigzags(histogram::POSITIVE_DELTA, &native.positive_buckets);
            push_native_mark(out, native.zero_threshold, &native.positive_spans, &native.negative_spans);
        }
        Some(Histogram::Float(native)) => {
            out.zigzag(histogram::SCHEMA, i64::from(native.schema));
            out.double(histogram::ZERO_THRESHOLD, native.zero_threshold);
            out.double(histogram::ZERO_COUNT_FLOAT, native.zero_count);
            push_spans(out, histogram::NEGATIVE_SPAN, &native.negative_spans);
            out.packed_doubles(histogram::NEGATIVE_COUNT, &native.negative_buckets);
            push_spans(out, histogram::POSITIVE_SPAN, &native.positive_spans);
            out.packed_doubles(histogram::POSITIVE_COUNT, &native.positive_buckets);
            push_native_mark(out, native.zero_threshold, &native.positive_spans, &native.negative_spans);
        }
        None => {}
    }
    push_start(out, histogram::START, start);
    value.exemplars.iter().for_each(|exemplar| push_exemplar(out, histogram::EXEMPLARS, exemplar));
}

/// A native histogram without anything in it is marked as native by an empty span.
fn push_native_mark(out: &mut Writer<'_>, zero_threshold: f64, positive: &[Span], negative: &[Span]) {
    if zero_threshold <= 0.0 && positive.is_empty() && negative.is_empty() {
        out.message(histogram::POSITIVE_SPAN, |_| {});
    }
}

/// Whole counts go into the integer field, others into the float field.
fn push_count(out: &mut Writer<'_>, (integer, float): (u32, u32), count: f64, as_float: bool) {
    if as_float || count.trunc() != count || !(0.0..1.8e19).contains(&count) {
        out.double(float, count);
    } else {
        out.unsigned(integer, count as u64);
    }
}

fn push_spans(out: &mut Writer<'_>, field: u32, spans: &[Span]) {
    for value in spans {
        out.message(field, |out| {
            out.zigzag(span::OFFSET, i64::from(value.offset));
            out.unsigned(span::LENGTH, u64::from(value.length));
        });
    }
}

fn push_exemplar(out: &mut Writer<'_>, field: u32, value: &Exemplar) {
    out.message(field, |out| {
        for pair in &value.labels {
            push_label(out, exemplar::LABEL, pair);
        }
        out.double(exemplar::VALUE, value.value);
        value.timestamp.iter().for_each(|at| push_timestamp(out, exemplar::TIMESTAMP, *at));
    });
}

fn push_start(out: &mut Writer<'_>, field: u32, start: Option<Timestamp>) {
    start.iter().for_each(|at| push_timestamp(out, field, *at));
}

fn push_timestamp(out: &mut Writer<'_>, field: u32, at: Timestamp) {
    out.message(field, |out| {
        out.unsigned(timestamp::SECONDS, at.0.div_euclid(1000) as u64);
        out.unsigned(timestamp::NANOS, at.0.rem_euclid(1000) as u64 * 1_000_000);
    });
}
