//! Functions of windows.

use ferula_model::{FloatHistogram, Labels, Value};
use ferula_promql::check::{Call, Instant, Range, Typed};
use ferula_promql::functions::FunctionId;
use ferula_promql::syntax::ast::Extension;

use super::buckets::{Buckets, growth, total};
use super::over_time::{holt, line, mean, quantile, sum, variance};
use super::select::{Window, floats, is_tame, tame_histograms};
use super::{Element, Fault, Oracle, Outcome, distinct, error, extended, nameless};

impl Oracle<'_> {
    /// A call of a function that takes a window.
    pub(super) fn over_windows(&self, id: FunctionId, call: &Call, at: i64) -> Outcome<Vec<Element>> {
        let range =
            call.args.iter().find_map(|arg| if let Typed::Range(range) = &arg.value { Some(range) } else { None });
        let Some(range) = range else { return Err(Fault::Unsure("no range")) };
        let mut params = Vec::new();
        for arg in &call.args {
            if let Typed::Scalar(scalar) = &arg.value {
                params.push(self.scalar(scalar, at)?);
            }
        }
        let windows = self.windows(range, at)?;
        if id == FunctionId::AbsentOverTime {
            let labels = if let Range::Selector(matrix) = range {
                absent_labels(&matrix.selector.matchers)
            } else {
                Labels::empty()
            };
            let absent = windows.is_empty().then_some(Element { labels, value: Value::Float(1.0) });
            return Ok(absent.into_iter().collect());
        }
        let mut elements = Vec::new();
        for window in windows {
            let Some(value) = of_window(id, &window, &params, at)? else { continue };
            let labels = if id.signature().keeps_name { window.labels.clone() } else { nameless(&window.labels) };
            self.only_source(call, &labels, &window.labels)?;
            elements.push(Element { labels, value });
        }
        distinct(elements)
    }

    /// Two series whose results have the same labels are an error even if they never meet at one step.
    fn only_source(&self, call: &Call, labels: &Labels, source: &Labels) -> Outcome<()> {
        let key = (std::ptr::from_ref(call).addr(), labels.clone());
        let mut sources = self.sources.borrow_mut();
        if sources.entry(key).or_insert_with(|| source.clone()) != source {
            return error("vector cannot contain metrics with the same labelset");
        }
        Ok(())
    }
}

/// The labels of `absent`: those of the first `=` of each name, unless another matcher of the name follows.
pub(super) fn absent_labels(matchers: &[ferula_model::Matcher]) -> Labels {
    let (mut labels, mut named) = (std::collections::BTreeMap::new(), Vec::new());
    for matcher in matchers.iter().filter(|matcher| matcher.name != "__name__") {
        if matcher.op == ferula_model::MatchOp::Equal && !named.contains(&&matcher.name) {
            labels.insert(matcher.name.clone(), matcher.value.clone());
            named.push(&matcher.name);
        } else {
            labels.remove(&matcher.name);
        }
    }
    Labels::from_pairs(labels)
}

/// The labels of the function's result if its operand is empty.
pub(super) fn absent_of(operand: &Instant) -> Labels {
    if let Instant::Selector(selector) = operand { absent_labels(&selector.matchers) } else { Labels::empty() }
}

fn of_window(id: FunctionId, window: &Window, params: &[f64], at: i64) -> Outcome<Option<Value>> {
    let samples = &window.samples;
    match id {
        FunctionId::CountOverTime if window.extension.is_none() => return Ok(Some(Value::Float(samples.len() as f64))),
        FunctionId::PresentOverTime => return Ok(Some(Value::Float(1.0))),
        FunctionId::FirstOverTime => return Ok(samples.first().map(|sample| sample.value.clone())),
        FunctionId::LastOverTime => return Ok(samples.last().map(|sample| sample.value.clone())),
        FunctionId::TsOfFirstOverTime => return Ok(samples.first().map(|s| Value::Float(s.timestamp.as_secs_f64()))),
        FunctionId::TsOfLastOverTime => return Ok(samples.last().map(|s| Value::Float(s.timestamp.as_secs_f64()))),
        FunctionId::DoubleExponentialSmoothing if params.iter().any(|factor| *factor <= 0.0 || *factor >= 1.0) => {
            return error("invalid factor");
        }
        _ => {}
    }
    let histograms = samples.iter().filter(|sample| matches!(sample.value, Value::Histogram(_))).count();
    if histograms > 0 && window.extension.is_none() {
        if let Some(result) = of_histograms(id, window, histograms == samples.len())? {
            return Ok(result);
        }
        let kept = samples.iter().filter(|sample| matches!(sample.value, Value::Float(_))).cloned().collect();
        return of_window(id, &Window { samples: kept, ..window.clone() }, params, at);
    }
    if samples.is_empty() {
        return Ok(None);
    }
    let points = floats(samples)?;
    let values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
    let tells_falls = matches!(
        id,
        FunctionId::Rate | FunctionId::Increase | FunctionId::Irate | FunctionId::Resets | FunctionId::Changes
    );
    let nearly =
        |pair: &[f64]| pair[0] != pair[1] && (pair[0] - pair[1]).abs() <= 1e-9 * pair[0].abs().max(pair[1].abs());
    if tells_falls && values.windows(2).any(nearly) {
        return Err(Fault::Unsure("a fall that rounding may have made"));
    }
    let is_delicate = matches!(
        id,
        FunctionId::Rate
            | FunctionId::Increase
            | FunctionId::Delta
            | FunctionId::AvgOverTime
            | FunctionId::StddevOverTime
            | FunctionId::StdvarOverTime
            | FunctionId::Deriv
            | FunctionId::PredictLinear
    );
    if is_delicate && !values.iter().all(|value| is_tame(*value)) {
        return Err(Fault::Unsure("extreme numbers, where the order of operations matters"));
    }
    let result = match window.extension {
        Some(Extension::Anchored) => extended::anchored(id, window, &points),
        Some(Extension::Smoothed) => extended::smoothed(id, window, &points),
        None => of_floats(id, window, &points, &values, params, at)?,
    };
    Ok(result.map(Value::Float))
}

/// What a function says about a window with histograms; `Some(None)` if nothing, `None` if it looks at the floats only.
fn of_histograms(id: FunctionId, window: &Window, alone: bool) -> Outcome<Option<Option<Value>>> {
    let samples = &window.samples;
    let pairs = || samples.windows(2).map(|pair| (&pair[0].value, &pair[1].value));
    let float = |value: &Value| match value {
        Value::Histogram(histogram) => FloatHistogram::clone(&histogram.to_float()),
        Value::Float(_) => FloatHistogram::default(),
    };
    let answer = |buckets: Buckets, factor: f64| Value::Histogram(buckets.times(factor).into());
    Ok(Some(match id {
        FunctionId::Changes => {
            let changed = |(before, after): &(&Value, &Value)| match (before, after) {
                (Value::Float(a), Value::Float(b)) => a != b && !(a.is_nan() && b.is_nan()),
                (Value::Histogram(_), Value::Histogram(_)) => !float(before).equals(&float(after)),
                _ => true,
            };
            Some(Value::Float(pairs().filter(changed).count() as f64))
        }
        FunctionId::Resets => {
            let reset = |(before, after): &(&Value, &Value)| match (before, after) {
                (Value::Float(a), Value::Float(b)) => b < a,
                (Value::Histogram(_), Value::Histogram(_)) => float(after).detect_reset(&float(before)),
                _ => true,
            };
            Some(Value::Float(pairs().filter(reset).count() as f64))
        }
        FunctionId::SumOverTime | FunctionId::AvgOverTime => {
            if !alone {
                return Ok(Some(None));
            }
            let histograms = tame_histograms(samples.iter().map(|sample| &sample.value))?;
            let share = if id == FunctionId::AvgOverTime { 1.0 / histograms.len() as f64 } else { 1.0 };
            total(&histograms).map(|sum| answer(sum, share))
        }
        FunctionId::Rate | FunctionId::Increase | FunctionId::Delta => {
            let histograms = tame_histograms(samples.iter().map(|sample| &sample.value))?;
            let growth = if alone { growth(&histograms, id != FunctionId::Delta) } else { None };
            growth.and_then(|growth| {
                // Stretched as a float would be that counts the observations.
                let times = samples.iter().map(|sample| sample.timestamp.as_millis());
                let observed = Observed { first: histograms[0].count, change: growth.count(), times: times.collect() };
                Some(answer(growth, stretch(id, window, &observed)?))
            })
        }
        FunctionId::Irate | FunctionId::Idelta => {
            let [.., before, after] = samples.as_slice() else { return Ok(Some(None)) };
            if matches!(before.value, Value::Float(_)) && matches!(after.value, Value::Float(_)) {
                return Ok(None);
            }
            let histograms = tame_histograms([&before.value, &after.value])?;
            let [first, second] = histograms.as_slice() else { return Ok(Some(None)) };
            let seconds = (after.timestamp.as_millis() - before.timestamp.as_millis()) as f64 / 1000.0;
            let is_rate = id == FunctionId::Irate;
            let change = if is_rate && second.detect_reset(first) {
                Some(Buckets::of(second))
            } else {
                Buckets::of(second).add(first, -1.0)
            };
            change.map(|change| answer(change.gauge(), if is_rate { 1.0 / seconds } else { 1.0 }))
        }
        _ => return Ok(None),
    }))
}

fn of_floats(
    id: FunctionId,
    window: &Window,
    points: &[(i64, f64)],
    values: &[f64],
    params: &[f64],
    at: i64,
) -> Outcome<Option<f64>> {
    let param = params.first().copied().unwrap_or(f64::NAN);
    let pairs = || values.windows(2).map(|pair| (pair[0], pair[1]));
    let extreme_time = |better: fn(f64, f64) -> bool| {
        let mut best = points[0];
        for &point in points {
            if better(point.1, best.1) || best.1.is_nan() {
                best = point;
            }
        }
        best.0 as f64 / 1000.0
    };
    Ok(Some(match id {
        FunctionId::Rate | FunctionId::Increase | FunctionId::Delta => return Ok(extrapolated(id, window, points)),
        FunctionId::Irate | FunctionId::Idelta => return Ok(of_last_two(id, points)),
        FunctionId::SumOverTime => sum(values),
        FunctionId::AvgOverTime => mean(values),
        FunctionId::MinOverTime => values.iter().copied().fold(f64::NAN, f64::min),
        FunctionId::MaxOverTime => values.iter().copied().fold(f64::NAN, f64::max),
        FunctionId::StddevOverTime => variance(values, true).sqrt(),
        FunctionId::StdvarOverTime => variance(values, true),
        FunctionId::QuantileOverTime => quantile(param, values),
        FunctionId::MadOverTime if values.iter().any(|value| value.is_nan()) => f64::NAN,
        FunctionId::MadOverTime => {
            let median = quantile(0.5, values);
            quantile(0.5, &values.iter().map(|value| (value - median).abs()).collect::<Vec<_>>())
        }
        FunctionId::Changes => pairs().filter(|(a, b)| a != b && !(a.is_nan() && b.is_nan())).count() as f64,
        FunctionId::Resets => pairs().filter(|(a, b)| b < a).count() as f64,
        FunctionId::TsOfMinOverTime => extreme_time(|value, best| value <= best),
        FunctionId::TsOfMaxOverTime => extreme_time(|value, best| value >= best),
        FunctionId::Deriv => return Ok(points.first().and_then(|first| line(points, first.0)).map(|(slope, _)| slope)),
        FunctionId::PredictLinear => return Ok(line(points, at).map(|(slope, value)| slope * param + value)),
        FunctionId::DoubleExponentialSmoothing => return Ok(holt(values, param, params[1])),
        _ => return Err(Fault::Unsure("another function of a range")),
    }))
}

/// `rate`, `increase`, `delta`: from the first and the last sample, stretched to the borders of the window.
fn extrapolated(id: FunctionId, window: &Window, points: &[(i64, f64)]) -> Option<f64> {
    let is_counter = id != FunctionId::Delta;
    let (&(_, first), &(_, last)) = (points.first()?, points.last()?);
    if points.len() < 2 {
        return None;
    }
    let mut result = last - first;
    if is_counter {
        for pair in points.windows(2) {
            if pair[1].1 < pair[0].1 {
                result += pair[0].1;
            }
        }
    }
    let observed = Observed { first, change: result, times: points.iter().map(|(time, _)| *time).collect() };
    Some(result * stretch(id, window, &observed)?)
}

/// What is known of the growth within a window.
struct Observed {
    /// The first value, and how much it grew by.
    first: f64,
    change: f64,
    times: Vec<i64>,
}

/// What the growth between the samples is multiplied by to stand for the whole window, or for a second of it.
fn stretch(id: FunctionId, window: &Window, observed: &Observed) -> Option<f64> {
    let Observed { first, change, ref times } = *observed;
    let (&first_time, &last_time) = (times.first()?, times.last()?);
    let is_counter = id != FunctionId::Delta;
    let seconds = |millis: i64| millis as f64 / 1000.0;
    let sampled = seconds(last_time - first_time);
    let average = sampled / (times.len() as f64 - 1.0);
    let mut to_start = seconds(first_time - window.start);
    let mut to_end = seconds(window.end - last_time);
    if to_start >= average * 1.1 {
        to_start = average / 2.0;
    }
    if is_counter && change > 0.0 && first >= 0.0 {
        // Before it was zero there was no counter.
        to_start = to_start.min(sampled * (first / change));
    }
    if to_end >= average * 1.1 {
        to_end = average / 2.0;
    }
    let factor = (sampled + to_start + to_end) / sampled;
    Some(if id == FunctionId::Rate { factor / seconds(window.end - window.start) } else { factor })
}

fn of_last_two(id: FunctionId, points: &[(i64, f64)]) -> Option<f64> {
    let [.., (time, before), (later, last)] = points else { return None };
    if id == FunctionId::Idelta {
        return Some(last - before);
    }
    let increase = if last < before { *last } else { last - before };
    Some(increase / ((later - time) as f64 / 1000.0))
}
