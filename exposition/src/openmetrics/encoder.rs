//! Writes OpenMetrics text.
//!
//! The family of a counter loses its `_total`, that of an info its `_info`; their samples keep it. Bounds and quantiles are
//! written as floats (`1.0`). Native histograms have no form here, only their classic buckets do, and where there are none
//! the `+Inf` bucket stands for all.

use ferula_model::number::{FloatForm, push_float};
use ferula_model::{Exemplar, MetricType, Timestamp};

use crate::encode::EncodeOptions;
use crate::family::{Metric, MetricFamily, MetricValue};
use crate::text::encoder::{Extra, push_escaped, push_family_name, push_label_name, push_series, push_value};

/// Most characters in names and values of an exemplar's labels; longer ones are left out.
const EXEMPLAR_CHARS_MAX: usize = 128;

pub(crate) fn encode(families: &[MetricFamily], options: &EncodeOptions, out: &mut Vec<u8>) {
    for family in families.iter().filter(|family| !family.metrics.is_empty()) {
        let name = family_name(family);
        push_metadata(out, "TYPE", name, family.metric_type.as_str());
        let unit_fits = name.strip_suffix(&*family.unit).is_some_and(|base| base.ends_with('_'));
        if !family.unit.is_empty() && unit_fits {
            push_metadata(out, "UNIT", name, &family.unit);
        }
        if !family.help.is_empty() {
            push_metadata(out, "HELP", name, &family.help);
        }
        for metric in &family.metrics {
            Lines { out, name, metric, options }.push(family.metric_type);
        }
    }
    out.extend_from_slice(b"# EOF\n");
}

/// The name of the family without what its samples append.
fn family_name(family: &MetricFamily) -> &str {
    let suffix = match family.metric_type {
        MetricType::Counter => "_total",
        MetricType::Info => "_info",
        _ => return &family.name,
    };
    family.name.strip_suffix(suffix).filter(|name| !name.is_empty()).unwrap_or(&family.name)
}

fn push_metadata(out: &mut Vec<u8>, keyword: &str, name: &str, text: &str) {
    out.extend_from_slice(b"# ");
    out.extend_from_slice(keyword.as_bytes());
    out.push(b' ');
    push_family_name(out, name);
    out.push(b' ');
    push_escaped(out, text, true);
    out.push(b'\n');
}

/// The lines of one metric.
struct Lines<'a> {
    out: &'a mut Vec<u8>,
    name: &'a str,
    metric: &'a Metric,
    options: &'a EncodeOptions,
}

impl Lines<'_> {
    fn push(&mut self, metric_type: MetricType) {
        let metric = self.metric;
        match &metric.value {
            MetricValue::Counter { value, exemplar } => self.line("_total", None, *value, exemplar.as_ref()),
            MetricValue::Gauge(value) | MetricValue::Unknown(value) => self.line("", None, *value, None),
            MetricValue::Info => self.line("_info", None, 1.0, None),
            MetricValue::StateSet(states) => {
                for (state, holds) in states {
                    let name = self.name;
                    self.line("", Some((name, Extra::Text(state))), f64::from(u8::from(*holds)), None);
                }
            }
            MetricValue::Summary(summary) => {
                for (quantile, value) in &summary.quantiles {
                    self.line("", Some(("quantile", Extra::Number(*quantile))), *value, None);
                }
                summary.sum.into_iter().for_each(|sum| self.line("_sum", None, sum, None));
                summary.count.into_iter().for_each(|count| self.line("_count", None, count, None));
            }
            MetricValue::Histogram(histogram) => {
                for bucket in &histogram.buckets {
                    let le = Some(("le", Extra::Number(bucket.upper_bound)));
                    self.line("_bucket", le, bucket.cumulative_count, bucket.exemplar.as_ref());
                }
                let infinite = histogram.buckets.iter().any(|bucket| bucket.upper_bound == f64::INFINITY);
                if let (false, Some(count)) = (infinite, histogram.count) {
                    self.line("_bucket", Some(("le", Extra::Number(f64::INFINITY))), count, None);
                }
                let gauge = metric_type == MetricType::GaugeHistogram;
                let (sum_suffix, count_suffix) = if gauge { ("_gsum", "_gcount") } else { ("_sum", "_count") };
                histogram.sum.into_iter().for_each(|sum| self.line(sum_suffix, None, sum, None));
                histogram.count.into_iter().for_each(|count| self.line(count_suffix, None, count, None));
            }
        }
        let counts = matches!(metric_type, MetricType::Counter | MetricType::Histogram | MetricType::Summary);
        if let (true, true, Some(start)) = (self.options.created_lines, counts, metric.start) {
            self.series("_created", None);
            push_seconds(self.out, start);
            self.out.push(b'\n');
        }
    }

    fn line(&mut self, suffix: &str, extra: Option<(&str, Extra<'_>)>, value: f64, exemplar: Option<&Exemplar>) {
        self.series(suffix, extra);
        self.out.push(b' ');
        push_value(self.out, value, FloatForm::OpenMetrics);
        if let Some(timestamp) = self.metric.timestamp {
            push_seconds(self.out, timestamp);
        }
        if let Some(exemplar) = exemplar {
            push_exemplar(self.out, exemplar);
        }
        self.out.push(b'\n');
    }

    fn series(&mut self, suffix: &str, extra: Option<(&str, Extra<'_>)>) {
        push_series(self.out, self.name, suffix, self.options.labels(self.metric), extra, FloatForm::OpenMetrics);
    }
}

fn push_exemplar(out: &mut Vec<u8>, exemplar: &Exemplar) {
    let chars = |(name, value): (&str, &str)| name.chars().count() + value.chars().count();
    if exemplar.labels.iter().map(chars).sum::<usize>() > EXEMPLAR_CHARS_MAX {
        return;
    }
    out.extend_from_slice(b" # ");
    let mut separator = b'{';
    for (label, value) in &exemplar.labels {
        push_label_name(out, &mut separator, label);
        push_escaped(out, value, true);
        out.push(b'"');
    }
    if separator == b'{' {
        out.push(b'{');
    }
    out.extend_from_slice(b"} ");
    push_float(out, exemplar.value, FloatForm::OpenMetrics);
    if let Some(timestamp) = exemplar.timestamp {
        push_seconds(out, timestamp);
    }
}

/// A blank and the seconds, with the milliseconds as decimals if there are any. What a reader that truncates makes of it is
/// the same millisecond.
fn push_seconds(out: &mut Vec<u8>, timestamp: Timestamp) {
    let (sign, millis) = (timestamp.0 < 0, timestamp.0.unsigned_abs());
    let text = format!("{}{}.{:03}", if sign { "-" } else { "" }, millis / 1000, millis % 1000);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    out.push(b' ');
    out.extend_from_slice(text.as_bytes());
    // Readers such as Prometheus multiply the float by a thousand and cut it off, which may land a millisecond short: then
    // one more digit keeps them above the edge.
    if text.parse::<f64>().is_ok_and(|seconds| (seconds * 1000.0) as i64 != timestamp.0) {
        out.push(b'1');
    }
}
