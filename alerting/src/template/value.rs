//! What templates compute with, and how Go prints it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use ferula_model::number::{FloatForm, format_float};
use ferula_model::{FloatHistogram, Labels};

use crate::civil::Civil;

/// A value. Names of types in messages are those of upstream's Go types.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    /// Nanoseconds.
    Duration(i64),
    /// Milliseconds since the epoch.
    Time(i64),
    Histogram(Arc<FloatHistogram>),
    /// A map of texts.
    Labels(Labels),
    /// A map of anything.
    Map(Arc<BTreeMap<String, Value>>),
    Sample(Arc<Sample>),
    Samples(Arc<[Arc<Sample>]>),
    /// What an alert's template is about.
    Alert(Arc<Alert>),
}

/// A sample that a query in a template answered.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) labels: Labels,
    /// A float or a histogram.
    pub(super) value: Value,
}

/// What an alert's template is about: its dot.
#[derive(Debug)]
pub(super) struct Alert {
    pub(super) labels: Labels,
    pub(super) external_labels: Labels,
    pub(super) external_url: Arc<str>,
    pub(super) value: Value,
}

impl Value {
    pub(super) fn text(text: impl AsRef<str>) -> Self {
        Value::Text(text.as_ref().into())
    }

    /// The Go type.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Value::Nil => "nil",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float64",
            Value::Text(_) => "string",
            Value::Duration(_) => "*time.Duration",
            Value::Time(_) => "*time.Time",
            Value::Histogram(_) => "*histogram.FloatHistogram",
            Value::Labels(_) => "map[string]string",
            Value::Map(_) => "map[string]interface {}",
            Value::Sample(_) => "*template.sample",
            Value::Samples(_) => "template.queryResult",
            Value::Alert(_) => {
                "struct { Labels map[string]string; ExternalLabels map[string]string; ExternalURL string; Value interface {} }"
            }
        }
    }

    /// Whether `if` takes it for true: not zero, not empty.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Value::Nil => false,
            Value::Bool(value) => *value,
            Value::Int(value) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::Labels(labels) => !labels.is_empty(),
            Value::Map(map) => !map.is_empty(),
            Value::Samples(samples) => !samples.is_empty(),
            Value::Duration(_) | Value::Time(_) | Value::Histogram(_) | Value::Sample(_) | Value::Alert(_) => true,
        }
    }

    /// The value as an action prints it.
    pub(super) fn print(&self, out: &mut String) {
        match self {
            Value::Nil => out.push_str("<no value>"),
            Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Value::Int(value) => push(out, value),
            Value::Float(value) => out.push_str(&format_float(*value, FloatForm::Shortest)),
            Value::Text(text) => out.push_str(text),
            Value::Duration(nanos) => push_duration(out, *nanos),
            Value::Time(millis) => push_time(out, *millis),
            Value::Histogram(histogram) => push(out, histogram),
            Value::Labels(labels) => push_map(out, labels.iter().map(|(name, value)| (name, Value::text(value)))),
            Value::Map(map) => push_map(out, map.iter().map(|(name, value)| (name.as_str(), value.clone()))),
            Value::Sample(sample) => {
                out.push('{');
                Value::Labels(sample.labels.clone()).print(out);
                out.push(' ');
                sample.value.print(out);
                out.push('}');
            }
            Value::Samples(samples) => {
                out.push('[');
                for (index, sample) in samples.iter().enumerate() {
                    if index > 0 {
                        out.push(' ');
                    }
                    // Go prints where the sample is in memory, which says nothing.
                    out.push('&');
                    Value::Sample(Arc::clone(sample)).print(out);
                }
                out.push(']');
            }
            Value::Alert(alert) => {
                out.push('{');
                Value::Labels(alert.labels.clone()).print(out);
                out.push(' ');
                Value::Labels(alert.external_labels.clone()).print(out);
                out.push(' ');
                out.push_str(&alert.external_url);
                out.push(' ');
                alert.value.print(out);
                out.push('}');
            }
        }
    }

    pub(super) fn to_text(&self) -> String {
        let mut out = String::new();
        self.print(&mut out);
        out
    }
}

fn push(out: &mut String, value: impl std::fmt::Display) {
    // A `String` takes everything that is written to it.
    let _ = write!(out, "{value}");
}

fn push_map<'a>(out: &mut String, entries: impl Iterator<Item = (&'a str, Value)>) {
    out.push_str("map[");
    for (index, (name, value)) in entries.enumerate() {
        if index > 0 {
            out.push(' ');
        }
        out.push_str(name);
        out.push(':');
        match value {
            Value::Nil => out.push_str("<nil>"),
            value => value.print(out),
        }
    }
    out.push(']');
}

/// Go's `time.Time.String` in UTC.
fn push_time(out: &mut String, millis: i64) {
    let Civil { year, month, day, hour, minute, second, .. } = Civil::from_seconds(millis.div_euclid(1000));
    push(out, format_args!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"));
    let fraction = millis.rem_euclid(1000);
    if fraction > 0 {
        push(out, format_args!(".{}", format!("{fraction:03}").trim_end_matches('0')));
    }
    out.push_str(" +0000 UTC");
}

/// Go's `time.Duration.String`: `1h0m0.5s`, `1.5ms`.
fn push_duration(out: &mut String, nanos: i64) {
    if nanos == 0 {
        out.push_str("0s");
        return;
    }
    if nanos < 0 {
        out.push('-');
    }
    let nanos = nanos.unsigned_abs();
    let decimal = |out: &mut String, value: u64, unit: u64| {
        push(out, value / unit);
        let fraction = value % unit;
        if fraction > 0 {
            let width = unit.ilog10() as usize;
            push(out, format_args!(".{}", format!("{fraction:0width$}").trim_end_matches('0')));
        }
    };
    match nanos {
        0..1_000 => push(out, format_args!("{nanos}ns")),
        1_000..1_000_000 => {
            decimal(out, nanos, 1_000);
            out.push_str("µs");
        }
        1_000_000..1_000_000_000 => {
            decimal(out, nanos, 1_000_000);
            out.push_str("ms");
        }
        _ => {
            let minutes = nanos / 60_000_000_000;
            if minutes >= 60 {
                push(out, format_args!("{}h", minutes / 60));
            }
            if minutes > 0 {
                push(out, format_args!("{}m", minutes % 60));
            }
            decimal(out, nanos % 60_000_000_000, 1_000_000_000);
            out.push('s');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_moments_print_as_go_prints_them() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (-2_000_000, "-2ms"),
            (1_000_000_000, "1s"),
            (90_500_000_000, "1m30.5s"),
            (3_600_000_000_000, "1h0m0s"),
        ] {
            assert_eq!(Value::Duration(nanos).to_text(), text);
        }
        assert_eq!(Value::Time(1_431_943_920_120).to_text(), "2015-05-18 10:12:00.12 +0000 UTC");
    }
}
