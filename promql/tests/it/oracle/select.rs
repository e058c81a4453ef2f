//! Selectors and windows: which samples does a step see?

use ferula_model::{FloatHistogram, Labels, Sample, Timestamp, Value};
use ferula_promql::check::{Range, Subquery};
use ferula_promql::syntax::ast::{At, DurationExpr, DurationOp, Extension, Length, Modifiers, VectorSelector};

use super::{Element, Fault, LOOKBACK, Oracle, Outcome, SUBQUERY_STEP, error};

/// What a range function sees of a series at one step.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) labels: Labels,
    /// By rising time, without stale markers; of an extended selector, also those around the window.
    pub(super) samples: Vec<Sample>,
    /// The window is open here, in milliseconds ...
    pub(super) start: i64,
    /// ... and closed here.
    pub(super) end: i64,
    pub(super) extension: Option<Extension>,
}

impl Oracle<'_> {
    /// The moment that a selector looks back from.
    fn reference(&self, modifiers: &Modifiers, at: i64) -> Outcome<i64> {
        let from = match modifiers.at {
            None => at,
            Some(At::Timestamp(millis)) => millis,
            Some(At::Start) => self.start,
            Some(At::End) => self.end,
        };
        match &modifiers.offset {
            None => Ok(from),
            Some(length) => Ok(from - self.millis(length, true)?),
        }
    }

    /// A length of time in whole milliseconds.
    fn millis(&self, length: &Length, signed: bool) -> Outcome<i64> {
        let seconds = match length {
            Length::Nanos(nanos) => return Ok(nanos / 1_000_000),
            Length::Expr(expr) => self.seconds(expr)?,
        };
        if !seconds.is_finite() || (seconds <= 0.0 && !signed) {
            return error("a length of time that cannot be");
        }
        Ok((seconds * 1000.0).trunc() as i64)
    }

    fn seconds(&self, expr: &DurationExpr) -> Outcome<f64> {
        Ok(match expr {
            DurationExpr::Number(number) => number.value,
            DurationExpr::Step(_) => self.step as f64 / 1000.0,
            DurationExpr::Range(_) => (self.end - self.start) as f64 / 1000.0,
            DurationExpr::Unary { negative, operand, .. } => {
                let value = self.seconds(operand)?;
                if *negative { -value } else { value }
            }
            DurationExpr::Paren { inner, .. } => self.seconds(inner)?,
            DurationExpr::Binary { op, left, right, .. } => {
                let (left, right) = (self.seconds(left)?, self.seconds(right)?);
                match op {
                    DurationOp::Add => left + right,
                    DurationOp::Sub => left - right,
                    DurationOp::Mul => left * right,
                    DurationOp::Div if right == 0.0 => return error("division by zero"),
                    DurationOp::Div => left / right,
                    DurationOp::Mod if right == 0.0 => return error("modulo by zero"),
                    DurationOp::Mod => left % right,
                    DurationOp::Pow => left.powf(right),
                    DurationOp::Min => left.min(right),
                    DurationOp::Max => left.max(right),
                }
            }
            _ => return Err(Fault::Unsure("a new kind of length")),
        })
    }

    fn chosen<'s>(&'s self, selector: &'s VectorSelector) -> impl Iterator<Item = &'s (Labels, Vec<Sample>)> {
        self.data.series.iter().filter(|(labels, _)| {
            selector.matchers.iter().all(|matcher| matcher.matches(labels.get(&matcher.name).unwrap_or_default()))
        })
    }

    /// What an instant selector finds, with the time of each sample.
    pub(super) fn instant(&self, selector: &VectorSelector, at: i64) -> Outcome<Vec<(Element, i64)>> {
        let now = self.reference(&selector.modifiers, at)?;
        let mut found = Vec::new();
        for (labels, samples) in self.chosen(selector) {
            if selector.extension == Some(Extension::Smoothed) {
                if let Some(value) = smoothed(samples, now)? {
                    found.push((Element { labels: labels.clone(), value: Value::Float(value) }, now));
                }
                continue;
            }
            let newest = samples.iter().rev().find(|sample| {
                let time = sample.timestamp.as_millis();
                now - LOOKBACK < time && time <= now
            });
            if let Some(sample) = newest.filter(|sample| !sample.value.is_stale()) {
                let element = Element { labels: labels.clone(), value: sample.value.clone() };
                found.push((element, sample.timestamp.as_millis()));
            }
        }
        Ok(found)
    }

    /// The windows of a range vector that have any sample.
    pub(super) fn windows(&self, range: &Range, at: i64) -> Outcome<Vec<Window>> {
        let mut windows = match range {
            Range::Subquery(subquery) => self.subquery(subquery, at)?,
            Range::Selector(matrix) => {
                let end = self.reference(&matrix.selector.modifiers, at)?;
                let start = end - self.millis(&matrix.range, false)?;
                let extension = matrix.selector.extension;
                let before = if extension.is_some() { LOOKBACK } else { 0 };
                let after = if extension == Some(Extension::Smoothed) { LOOKBACK } else { 0 };
                let belongs = |sample: &&Sample| {
                    let time = sample.timestamp.as_millis();
                    start - before < time && time <= end + after && !sample.value.is_stale()
                };
                let of_series = |(labels, samples): &(Labels, Vec<Sample>)| Window {
                    labels: labels.clone(),
                    samples: samples.iter().filter(belongs).cloned().collect(),
                    start,
                    end,
                    extension,
                };
                self.chosen(&matrix.selector).map(of_series).collect()
            }
        };
        windows.retain(|window| !window.samples.is_empty());
        Ok(windows)
    }

    fn subquery(&self, subquery: &Subquery, at: i64) -> Outcome<Vec<Window>> {
        let end = self.reference(&subquery.modifiers, at)?;
        let start = end - self.millis(&subquery.range, false)?;
        let step = subquery.step.as_ref().map_or(Ok(SUBQUERY_STEP), |step| self.millis(step, false))?;
        if step <= 0 {
            return Err(Fault::Unsure("a step below a millisecond"));
        }
        let mut windows: Vec<Window> = Vec::new();
        // The moments are whole multiples of the step, whatever the query's own times are.
        let mut moment = start.div_euclid(step) * step + step;
        while moment <= end {
            for element in self.vector(&subquery.operand, moment)? {
                let sample = Sample { timestamp: Timestamp::from_millis(moment), start: None, value: element.value };
                match windows.iter_mut().find(|window| window.labels == element.labels) {
                    Some(window) => window.samples.push(sample),
                    None => {
                        windows.push(Window {
                            labels: element.labels,
                            samples: vec![sample],
                            start,
                            end,
                            extension: None,
                        });
                    }
                }
            }
            moment += step;
        }
        Ok(windows)
    }
}

/// The value at a moment between two samples; the one before if there is none behind.
fn smoothed(samples: &[Sample], now: i64) -> Outcome<Option<f64>> {
    let near: Vec<(i64, f64)> = floats(samples.iter().filter(|sample| {
        let time = sample.timestamp.as_millis();
        now - LOOKBACK < time && time <= now + LOOKBACK && !sample.value.is_stale()
    }))?;
    let before = near.iter().rev().find(|(time, _)| *time <= now);
    let after = near.iter().find(|(time, _)| *time > now);
    Ok(match (before, after) {
        (None, _) => None,
        (Some((_, value)), None) => Some(*value),
        (Some((time, value)), _) if *time == now => Some(*value),
        (Some((_, value)), Some((_, next))) if !is_tame(*value) || !is_tame(*next) => {
            return Err(Fault::Unsure("extreme numbers, where the order of operations matters"));
        }
        (Some((time, value)), Some((later, next))) => {
            Some(value + (next - value) * (now - time) as f64 / (later - time) as f64)
        }
    })
}

/// Whether differences, sums and squares of such numbers are finite.
pub(super) fn is_tame(value: f64) -> bool {
    value.abs() < 1e150
}

/// The histograms among some values, if sums of them are finite.
pub(super) fn tame_histograms<'v>(values: impl IntoIterator<Item = &'v Value>) -> Outcome<Vec<FloatHistogram>> {
    let mut histograms = Vec::new();
    for value in values {
        let Value::Histogram(histogram) = value else { continue };
        let histogram = FloatHistogram::clone(&histogram.to_float());
        let counts = histogram.positive_buckets.iter().chain(&histogram.negative_buckets);
        if !counts.chain([&histogram.count, &histogram.sum, &histogram.zero_count]).all(|count| is_tame(*count)) {
            return Err(Fault::Unsure("extreme numbers, where the order of operations matters"));
        }
        histograms.push(histogram);
    }
    Ok(histograms)
}

/// Times and values, if all are floats.
pub(super) fn floats<'s>(samples: impl IntoIterator<Item = &'s Sample>) -> Outcome<Vec<(i64, f64)>> {
    samples
        .into_iter()
        .map(|sample| match &sample.value {
            Value::Float(value) => Ok((sample.timestamp.as_millis(), *value)),
            Value::Histogram(_) => Err(Fault::Unsure("histograms in a window")),
        })
        .collect()
}
