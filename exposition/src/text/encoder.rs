//! Writes the Prometheus text format.
//!
//! The layout is that of Prometheus' own client libraries: HELP, TYPE, samples; labels by name with `le` or `quantile` last;
//! floats in Go's shortest form. What the format does not know is written as the nearest thing it does: info and state
//! sets as gauges, units and exemplars and native histograms not at all.

use ferula_model::number::{FloatForm, push_float};
use ferula_model::{MetricType, Timestamp, is_legacy_label_name, is_legacy_metric_name};

use crate::encode::EncodeOptions;
use crate::family::{Metric, MetricFamily, MetricValue};

pub(crate) fn encode(families: &[MetricFamily], options: &EncodeOptions, out: &mut Vec<u8>) {
    for family in families {
        if family.metrics.is_empty() {
            continue;
        }
        if !family.help.is_empty() {
            out.extend_from_slice(b"# HELP ");
            push_family_name(out, &family.name);
            out.push(b' ');
            push_escaped(out, &family.help, false);
            out.push(b'\n');
        }
        out.extend_from_slice(b"# TYPE ");
        push_family_name(out, &family.name);
        out.push(b' ');
        out.extend_from_slice(type_word(family.metric_type).as_bytes());
        out.push(b'\n');
        for metric in &family.metrics {
            push_metric(out, family, metric, options);
        }
    }
}

fn type_word(metric_type: MetricType) -> &'static str {
    match metric_type {
        MetricType::Unknown => "untyped",
        MetricType::Counter => "counter",
        MetricType::Gauge | MetricType::Info | MetricType::StateSet => "gauge",
        MetricType::Histogram | MetricType::GaugeHistogram => "histogram",
        MetricType::Summary => "summary",
    }
}

fn push_metric(out: &mut Vec<u8>, family: &MetricFamily, metric: &Metric, options: &EncodeOptions) {
    let mut line = |suffix: &str, extra: Option<(&str, Extra<'_>)>, value: f64| {
        push_series(out, &family.name, suffix, options.labels(metric), extra, FloatForm::Shortest);
        out.push(b' ');
        push_value(out, value, FloatForm::Shortest);
        push_timestamp(out, metric.timestamp);
        out.push(b'\n');
    };
    match &metric.value {
        MetricValue::Counter { value, .. } | MetricValue::Gauge(value) | MetricValue::Unknown(value) => {
            line("", None, *value);
        }
        MetricValue::Info => line("", None, 1.0),
        MetricValue::StateSet(states) => {
            for (state, holds) in states {
                line("", Some((&family.name, Extra::Text(state))), f64::from(u8::from(*holds)));
            }
        }
        MetricValue::Summary(summary) => {
            for (quantile, value) in &summary.quantiles {
                line("", Some(("quantile", Extra::Number(*quantile))), *value);
            }
            summary.sum.into_iter().for_each(|sum| line("_sum", None, sum));
            summary.count.into_iter().for_each(|count| line("_count", None, count));
        }
        MetricValue::Histogram(histogram) => {
            for bucket in &histogram.buckets {
                line("_bucket", Some(("le", Extra::Number(bucket.upper_bound))), bucket.cumulative_count);
            }
            let infinite = histogram.buckets.iter().any(|bucket| bucket.upper_bound == f64::INFINITY);
            if let (false, Some(count)) = (infinite, histogram.count) {
                line("_bucket", Some(("le", Extra::Number(f64::INFINITY))), count);
            }
            histogram.sum.into_iter().for_each(|sum| line("_sum", None, sum));
            histogram.count.into_iter().for_each(|count| line("_count", None, count));
        }
    }
}

/// The value of a label that the format adds.
#[derive(Clone, Copy)]
pub(crate) enum Extra<'a> {
    Number(f64),
    Text(&'a str),
}

/// Writes `name{labels}`; a name that needs quotes goes into the braces.
pub(crate) fn push_series<'m>(
    out: &mut Vec<u8>,
    name: &str,
    suffix: &str,
    labels: impl Iterator<Item = (&'m str, &'m str)>,
    extra: Option<(&str, Extra<'_>)>,
    form: FloatForm,
) {
    let legacy = is_legacy_metric_name(name);
    let mut separator = b'{';
    if legacy {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(suffix.as_bytes());
    } else {
        out.extend_from_slice(b"{\"");
        push_escaped(out, name, true);
        out.extend_from_slice(suffix.as_bytes());
        out.push(b'"');
        separator = b',';
    }
    for (label, value) in labels {
        push_label_name(out, &mut separator, label);
        push_escaped(out, value, true);
        out.push(b'"');
    }
    if let Some((label, value)) = extra {
        push_label_name(out, &mut separator, label);
        match value {
            Extra::Number(number) => push_float(out, number, form),
            Extra::Text(text) => push_escaped(out, text, true),
        }
        out.push(b'"');
    }
    if separator == b',' {
        out.push(b'}');
    }
}

/// Writes the value of a sample. Zero has no sign, as client libraries write it.
pub(crate) fn push_value(out: &mut Vec<u8>, value: f64, form: FloatForm) {
    push_float(out, if value == 0.0 { 0.0 } else { value }, form);
}

/// Writes separator, name, equals sign and opening quote.
pub(crate) fn push_label_name(out: &mut Vec<u8>, separator: &mut u8, label: &str) {
    out.push(*separator);
    *separator = b',';
    if is_legacy_label_name(label) {
        out.extend_from_slice(label.as_bytes());
    } else {
        out.push(b'"');
        push_escaped(out, label, true);
        out.push(b'"');
    }
    out.extend_from_slice(b"=\"");
}

/// Writes a family name, in quotes if it needs them.
pub(crate) fn push_family_name(out: &mut Vec<u8>, name: &str) {
    if is_legacy_metric_name(name) {
        out.extend_from_slice(name.as_bytes());
    } else {
        out.push(b'"');
        push_escaped(out, name, true);
        out.push(b'"');
    }
}

/// Writes a text with backslash and newline escaped, and the quote if asked for.
pub(crate) fn push_escaped(out: &mut Vec<u8>, text: &str, quote: bool) {
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'"' if quote => out.extend_from_slice(b"\\\""),
            other => out.push(other),
        }
    }
}

fn push_timestamp(out: &mut Vec<u8>, timestamp: Option<Timestamp>) {
    if let Some(timestamp) = timestamp {
        out.push(b' ');
        out.extend_from_slice(timestamp.as_millis().to_string().as_bytes());
    }
}
