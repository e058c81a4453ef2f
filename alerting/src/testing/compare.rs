//! Is it what was expected? If not, both sides in `promtool`'s words.

use std::fmt::Write as _;

use ferula_model::number::{FloatForm, format_float};
use ferula_model::{Histogram, Labels, Value};
use ferula_promql::VectorSample;
use ferula_promql::testing::parse_series_line;

use super::file::{AlertTest, ExpectedSample};
use crate::evaluate::ALERT_NAME;
use crate::state::ActiveAlert;

/// Labels and annotations of alerts.
type Shown = Vec<(Labels, Labels)>;

/// What is wrong with the alerts that fire; `None` if nothing.
pub(super) fn alerts(test: &AlertTest, firing: &[ActiveAlert]) -> Option<String> {
    let mut got: Shown = firing.iter().map(|alert| (alert.labels.clone(), alert.annotations.clone())).collect();
    let expected = test.exp_alerts.iter().map(|alert| {
        let mut labels = Labels::from_pairs(&alert.labels).to_builder();
        labels.set(ALERT_NAME, &test.alertname);
        (labels.build(), Labels::from_pairs(&alert.annotations))
    });
    let mut expected: Shown = expected.collect();
    got.sort();
    expected.sort();
    (got != expected).then(|| format!("        exp:{}, \n        got:{}", show_alerts(&expected), show_alerts(&got)))
}

fn show_alerts(alerts: &Shown) -> String {
    if alerts.is_empty() {
        return "[]".to_owned();
    }
    let mut out = "[".to_owned();
    for (index, (labels, annotations)) in alerts.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        // A `String` takes everything that is written to it.
        let _ = write!(
            out,
            "{comma}\n            {index}:\n              Labels:{labels}\n              Annotations:{annotations}"
        );
    }
    out.push_str("\n            ]");
    out
}

/// What is wrong with the answer to a query; `None` if nothing.
pub(super) fn samples(expected: &[ExpectedSample], got: &[VectorSample], fuzzy: bool) -> Option<String> {
    let mut wanted = Vec::with_capacity(expected.len());
    for sample in expected {
        match read(sample) {
            Ok(sample) => wanted.push(sample),
            Err(problem) => return Some(format!("err: {problem}")),
        }
    }
    let mut got: Vec<(Labels, Value)> =
        got.iter().map(|sample| (sample.labels.clone(), sample.value.clone())).collect();
    got.sort_by(|a, b| a.0.cmp(&b.0));
    wanted.sort_by(|a, b| a.0.cmp(&b.0));
    let pairs = || wanted.iter().zip(&got);
    let same = wanted.len() == got.len() && pairs().all(|(w, g)| w.0 == g.0 && same_value(&w.1, &g.1, fuzzy));
    (!same).then(|| format!("\n        exp: {}\n        got: {}", show(&wanted), show(&got)))
}

fn read(sample: &ExpectedSample) -> Result<(Labels, Value), String> {
    let name = if sample.labels.trim().is_empty() { "{}" } else { &sample.labels };
    let value = if sample.histogram.is_empty() { "0" } else { &sample.histogram };
    let line = parse_series_line(&format!("{name} {value}"))
        .map_err(|error| format!("labels {}: {error}", ferula_model::go_quote(&sample.labels)))?;
    let point = line.points.into_iter().next().flatten();
    match point {
        Some(point) if !sample.histogram.is_empty() => Ok((line.labels, point.value)),
        _ => Ok((line.labels, Value::Float(sample.value))),
    }
}

fn same_value(a: &Value, b: &Value, fuzzy: bool) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => {
            let near = fuzzy && (a.next_up() == *b || a.next_down() == *b);
            a == b || (a.is_nan() && b.is_nan()) || near
        }
        (Value::Histogram(a), Value::Histogram(b)) => compact(a).equals(&compact(b)),
        _ => false,
    }
}

fn compact(histogram: &Histogram) -> ferula_model::FloatHistogram {
    let mut float = ferula_model::FloatHistogram::clone(&histogram.to_float());
    float.compact(0);
    float
}

fn show(samples: &[(Labels, Value)]) -> String {
    if samples.is_empty() {
        return "nil".to_owned();
    }
    let shown = samples.iter().map(|(labels, value)| match value {
        Value::Float(value) => format!("{labels} {}", format_float(*value, FloatForm::Exponent).replace('e', "E")),
        Value::Histogram(histogram) => format!("{labels} {histogram}"),
    });
    shown.collect::<Vec<_>>().join(", ")
}
