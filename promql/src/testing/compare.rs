//! Is the answer the expected one? The tolerances are upstream's.

use std::fmt::Write as _;

use ferula_model::number::nearly_equal;
use ferula_model::{FloatHistogram, Labels, StepGrid, Timestamp, Value as SampleValue};

use super::script::{Expected, Notes, Text};
use super::series::Point;
use crate::value::{Series, Value, VectorSample};

/// How far apart two floats may be, relative to the sum of their sizes.
const TOLERANCE: f64 = 1e-6;

/// Compares an instant query's answer.
pub(super) fn compare_instant(expected: &Expected, actual: &Value) -> Result<(), String> {
    match actual {
        Value::Scalar { value, .. } => compare_scalar(expected, *value),
        Value::String { value, .. } => match &expected.string {
            Some(wanted) if wanted == value => Ok(()),
            Some(wanted) => Err(format!("expected string {wanted:?}, got {value:?}")),
            None => Err(format!("expected no string, got {value:?}")),
        },
        Value::Vector(samples) => compare_vector(expected, samples),
        Value::Matrix(series) => match expected.range {
            Some(grid) => compare_matrix(expected, series, grid),
            None => Err("expected no range vector, which needs an `expect range vector` line".to_owned()),
        },
    }
}

pub(super) fn compare_scalar(expected: &Expected, actual: f64) -> Result<(), String> {
    match expected.scalar {
        Some(wanted) if nearly_equal(wanted, actual, TOLERANCE) => Ok(()),
        Some(wanted) => Err(format!("expected scalar {wanted}, got {actual}")),
        None => Err(format!("expected a vector, got scalar {actual}")),
    }
}

/// Compares samples of one moment with the first point of each expected series.
pub(super) fn compare_vector(expected: &Expected, samples: &[VectorSample]) -> Result<(), String> {
    if let Some(scalar) = expected.scalar {
        return Err(format!("expected scalar {scalar}, got a vector"));
    }
    for (position, sample) in samples.iter().enumerate() {
        let found = find(expected, &sample.labels);
        let Some((wanted_position, points)) = found else {
            return Err(format!("unexpected series {} with value {}", sample.labels, shown(&sample.value)));
        };
        if expected.ordered && wanted_position != position {
            return Err(format!(
                "expected {} at position {}, found it at {}",
                sample.labels,
                wanted_position + 1,
                position + 1
            ));
        }
        match points {
            [Some(wanted)] => compare_point(wanted, &sample.value),
            _ => Err("expected one point for each series of an instant query".to_owned()),
        }
        .map_err(|problem| format!("{problem} for {}", sample.labels))?;
    }
    let here = |labels: &Labels| samples.iter().filter(|sample| sample.labels == *labels).count();
    check_complete(expected, here)
}

fn find<'e>(expected: &'e Expected, labels: &Labels) -> Option<(usize, &'e [Option<Point>])> {
    let mut wanted = expected.series.iter().enumerate();
    wanted.find(|(_, (wanted, _))| wanted == labels).map(|(position, (_, points))| (position, points.as_slice()))
}

/// Every expected series is there exactly once.
fn check_complete(expected: &Expected, count: impl Fn(&Labels) -> usize) -> Result<(), String> {
    for (labels, _) in &expected.series {
        match count(labels) {
            1 => {}
            0 => return Err(format!("expected series {labels} is missing")),
            more => return Err(format!("series {labels} comes {more} times")),
        }
    }
    Ok(())
}

/// Compares series with points at the moments of a grid.
pub(super) fn compare_matrix(expected: &Expected, actual: &[Series], grid: StepGrid) -> Result<(), String> {
    if let Some(scalar) = expected.scalar {
        return Err(format!("expected scalar {scalar}, got a range of series"));
    }
    if !actual.is_sorted_by(|a, b| a.labels < b.labels) {
        return Err("the series are not sorted by labels".to_owned());
    }
    for series in actual {
        let Some((_, points)) = find(expected, &series.labels) else {
            return Err(format!("unexpected series {} with {}", series.labels, shown_series(series)));
        };
        compare_points(points, series, grid).map_err(|problem| format!("{problem} for {}", series.labels))?;
    }
    check_complete(expected, |labels| actual.iter().filter(|series| series.labels == *labels).count())
}

fn compare_points(wanted: &[Option<Point>], series: &Series, grid: StepGrid) -> Result<(), String> {
    if wanted.len() > grid.len() {
        return Err(format!("expected {} points where only {} can be", wanted.len(), grid.len()));
    }
    let mut actual = series.points();
    let mut next = actual.next();
    for (index, wanted) in wanted.iter().enumerate() {
        let Some(wanted) = wanted else { continue };
        let at = grid.at(index);
        let Some((found_at, value)) = next.filter(|(found_at, _)| *found_at <= at) else {
            return Err(format!("no point at {}, got {}", seconds(at), shown_series(series)));
        };
        if found_at < at {
            return Err(format!("unexpected point {} at {}", shown(&value), seconds(found_at)));
        }
        compare_point(wanted, &value).map_err(|problem| format!("{problem} at {}", seconds(found_at)))?;
        next = actual.next();
    }
    match next {
        Some((at, value)) => Err(format!("unexpected point {} at {}", shown(&value), seconds(at))),
        None => Ok(()),
    }
}

fn seconds(at: Timestamp) -> String {
    format!("{}s", at.as_secs_f64())
}

fn compare_point(wanted: &Point, actual: &SampleValue) -> Result<(), String> {
    let same = match (&wanted.value, actual) {
        (SampleValue::Float(wanted), SampleValue::Float(actual)) => nearly_equal(*wanted, *actual, TOLERANCE),
        (SampleValue::Histogram(histogram), SampleValue::Histogram(actual)) => {
            let (histogram, actual) = (compacted(&histogram.to_float()), compacted(&actual.to_float()));
            let same_hint = !wanted.hint_written || histogram.counter_reset == actual.counter_reset;
            same_hint && histogram.nearly_equals(&actual, TOLERANCE)
        }
        _ => false,
    };
    if same { Ok(()) } else { Err(format!("expected {}, got {}", shown(&wanted.value), shown(actual))) }
}

fn compacted(histogram: &FloatHistogram) -> FloatHistogram {
    let mut histogram = histogram.clone();
    histogram.compact(0);
    histogram
}

fn shown(value: &SampleValue) -> String {
    match value {
        SampleValue::Float(value) => value.to_string(),
        SampleValue::Histogram(histogram) => compacted(&histogram.to_float()).test_expression(),
    }
}

fn shown_series(series: &Series) -> String {
    let mut out = String::new();
    for (at, value) in series.points() {
        // A `String` takes everything that is written to it.
        let _ = write!(out, "{}@{} ", shown(&value), seconds(at));
    }
    out.trim_end().to_owned()
}

/// Whether every annotation is expected, and every expected one is there. Without expectations, anything goes.
pub(super) fn compare_notes(what: &str, expected: &Notes, actual: &[String]) -> Result<(), String> {
    if let Some(first) = actual.first().filter(|_| expected.forbidden) {
        return Err(format!("expected no {what}, got: {first}"));
    }
    if expected.required.is_empty() {
        return Ok(());
    }
    for note in actual {
        if !expected.required.iter().any(|wanted| wanted.accepts(note)) {
            return Err(format!("unexpected {what}: {note}"));
        }
    }
    for wanted in &expected.required {
        if !actual.iter().any(|note| wanted.accepts(note)) {
            return Err(format!("expected {what} {wanted:?}, got {actual:?}"));
        }
    }
    Ok(())
}

impl Text {
    pub(super) fn accepts(&self, actual: &str) -> bool {
        match self {
            Text::Any => true,
            Text::Exactly(wanted) => wanted == actual,
            Text::Matching(expression) => expression.matches(actual),
        }
    }
}
