//! `anchored` and `smoothed`: what did the series say at the very ends of the window?
//!
//! An anchored window begins with the newest sample at or before its start. A smoothed one begins and ends with values
//! interpolated between neighbours; of a counter that was reset between them, the later life is taken to begin with
//! zero at the earlier neighbour. Nothing is extrapolated. Source: `extendedRate` of Prometheus 3.14.

use std::sync::Arc;

use ferula_model::histogram::IncompatibleSchemas;
use ferula_model::{CounterResetHint, FloatHistogram};

use super::FunctionId;
use super::instant_rate;
use super::note::{HistogramOperation, Notes};
use super::rate::RateKind;
use super::window::{Context, Samples, Window};
use crate::eval::select::Reference;
use crate::eval::steps::{Point, StepVector};
use crate::syntax::ast::Extension;

/// A function over an extended window.
pub(crate) fn evaluate(
    function: FunctionId,
    extension: Extension,
    window: &Window<'_>,
    context: &mut Context<'_>,
) -> Option<Point> {
    let cut = cut(window, extension)?;
    match function {
        FunctionId::Rate => rate(RateKind::RATE, extension, &cut, context),
        FunctionId::Increase => rate(RateKind::INCREASE, extension, &cut, context),
        FunctionId::Delta => rate(RateKind::DELTA, extension, &cut, context),
        FunctionId::Changes => instant_rate::changes(&cut, context),
        FunctionId::Resets => {
            let mut context = Context { name: context.name, notes: context.notes.again(), use_start_timestamps: false };
            instant_rate::resets(&cut, &mut context)
        }
        // The checker lets no other function through.
        _ => None,
    }
}

/// The window from the newest sample at or before its start to its end or, smoothed, to the oldest sample at or behind
/// it. `None` if no sample lies behind the start, or all lie behind the end.
fn cut<'a>(window: &Window<'a>, extension: Extension) -> Option<Window<'a>> {
    let samples = window.samples;
    let before = |times: &[i64]| times.partition_point(|at| *at <= window.start);
    let (floats_before, histograms_before) = (before(samples.times), before(samples.histogram_times));
    let anchor = [
        floats_before.checked_sub(1).map(|at| samples.times[at]),
        histograms_before.checked_sub(1).map(|at| samples.histogram_times[at]),
    ];
    let anchor = anchor.into_iter().flatten().max();
    let from = |times: &[i64]| times.partition_point(|at| anchor.is_some_and(|anchor| *at < anchor));
    let end = match extension {
        Extension::Anchored => window.end,
        Extension::Smoothed => {
            let next = |times: &[i64]| times.get(times.partition_point(|at| *at < window.end)).copied();
            [next(samples.times), next(samples.histogram_times)].into_iter().flatten().min().unwrap_or(window.end)
        }
    };
    let to = |times: &[i64]| times.partition_point(|at| *at <= end);
    let cut = samples
        .slice((from(samples.times), to(samples.times)), (from(samples.histogram_times), to(samples.histogram_times)));
    let first = cut.times.first().into_iter().chain(cut.histogram_times.first()).min()?;
    let last = cut.times.last().into_iter().chain(cut.histogram_times.last()).max()?;
    (*last > window.start && *first <= window.end).then_some(Window { samples: cut, ..*window })
}

fn rate(kind: RateKind, extension: Extension, window: &Window<'_>, context: &mut Context<'_>) -> Option<Point> {
    let samples = window.samples;
    let is_smoothed = extension == Extension::Smoothed;
    match (samples.times.is_empty(), samples.histogram_times.is_empty()) {
        (false, false) => {
            context.notes.mixed_floats_and_histograms(context.name);
            None
        }
        (false, true) => {
            let mut change = change_of_floats(kind, is_smoothed, window);
            if kind.per_second {
                change /= window.range as f64 / 1000.0;
            }
            Some(Point::Float(change))
        }
        _ => {
            let mut change = change_of_histograms(kind, is_smoothed, window, context)?;
            if kind.per_second {
                change.divide(window.range as f64 / 1000.0);
            }
            change.counter_reset = CounterResetHint::Gauge;
            change.compact(0);
            Some(Point::Histogram(Arc::new(change)))
        }
    }
}

/// How far `at` lies on the way between two times.
fn way(from: i64, to: i64, at: i64) -> f64 {
    (at - from) as f64 / (to - from) as f64
}

fn change_of_floats(kind: RateKind, is_smoothed: bool, window: &Window<'_>) -> f64 {
    let (times, values) = (window.samples.times, window.samples.values);
    let last = values.len() - 1;
    let is_reset = |index: usize| kind.is_counter && values[index] < values[index - 1];
    let left_inside = is_smoothed && times[0] < window.start && last > 0;
    let right_inside = is_smoothed && last > 0 && times[last] > window.end;
    let left = if left_inside {
        let base = if is_reset(1) { 0.0 } else { values[0] };
        base + (values[1] - base) * way(times[0], times[1], window.start)
    } else {
        values[0]
    };
    let right = if right_inside {
        let base = values[last - 1];
        let reached = if is_reset(last) { values[last] + base } else { values[last] };
        base + (reached - base) * way(times[last - 1], times[last], window.end)
    } else {
        values[last]
    };
    // A reset in the first pair is in `left`, one in the last pair is in `right`, where these were interpolated; of a
    // pair that holds both ends, the earlier value cancels out.
    let mut change = right - left;
    if left_inside && right_inside && last == 1 && is_reset(1) {
        return values[1] * (way(times[0], times[1], window.end) - way(times[0], times[1], window.start));
    }
    let mut correction = 0.0;
    let from = if left_inside { 2 } else { 1 };
    let to = if right_inside { last } else { last + 1 };
    for index in from..to {
        if is_reset(index) {
            correction += values[index - 1];
        }
    }
    change += correction;
    change
}

fn change_of_histograms(
    kind: RateKind,
    is_smoothed: bool,
    window: &Window<'_>,
    context: &mut Context<'_>,
) -> Option<FloatHistogram> {
    let (times, histograms) = (window.samples.histogram_times, window.samples.histograms);
    let last = histograms.len() - 1;
    let is_gauge = |histogram: &FloatHistogram| histogram.counter_reset == CounterResetHint::Gauge;
    if kind.is_counter && histograms.iter().any(|histogram| is_gauge(histogram)) {
        context.notes.not_a_counter_histogram(context.name);
    }
    if !(kind.is_counter || is_gauge(&histograms[0]) && is_gauge(&histograms[last])) {
        context.notes.not_a_gauge_histogram(context.name);
    }
    if histograms.iter().any(|histogram| histogram.is_custom() != histograms[0].is_custom()) {
        context.notes.mixed_schemas(context.name);
        return None;
    }
    let is_reset = |index: usize| kind.is_counter && histograms[index].detect_reset(&histograms[index - 1]);
    let left_inside = is_smoothed && times[0] < window.start && last > 0;
    let right_inside = is_smoothed && last > 0 && times[last] > window.end;
    let left = if left_inside {
        between(&histograms[0], &histograms[1], way(times[0], times[1], window.start), is_reset(1), context)?
    } else {
        (*histograms[0]).clone()
    };
    let mut change = if right_inside {
        let share = way(times[last - 1], times[last], window.end);
        between(&histograms[last - 1], &histograms[last], share, is_reset(last), context)?
    } else {
        (*histograms[last]).clone()
    };
    combine(&mut change, &left, HistogramOperation::Subtraction, context)?;
    let from = if left_inside { 2 } else { 1 };
    for index in from..=last {
        if is_reset(index) {
            combine(&mut change, &histograms[index - 1], HistogramOperation::Addition, context)?;
        }
    }
    Some(change)
}

/// The histogram a share of the way from one to the next; after a reset, on the way from zero.
fn between(
    first: &FloatHistogram,
    second: &FloatHistogram,
    share: f64,
    is_reset: bool,
    context: &mut Context<'_>,
) -> Option<FloatHistogram> {
    let mut result = second.clone();
    if is_reset {
        result.multiply(share);
        return Some(result);
    }
    combine(&mut result, first, HistogramOperation::Subtraction, context)?;
    result.multiply(share);
    combine(&mut result, first, HistogramOperation::Addition, context)?;
    result.counter_reset = second.counter_reset;
    Some(result)
}

fn combine(
    into: &mut FloatHistogram,
    other: &FloatHistogram,
    operation: HistogramOperation,
    context: &mut Context<'_>,
) -> Option<()> {
    let combined = match operation {
        HistogramOperation::Subtraction => into.sub(other),
        _ => into.add(other),
    };
    match combined {
        Ok(combined) => {
            if combined.bounds_reconciled {
                context.notes.custom_buckets_reconciled(operation);
            }
            Some(())
        }
        Err(IncompatibleSchemas) => {
            context.notes.mixed_schemas(context.name);
            None
        }
    }
}

/// A smoothed instant selector at all steps: the value between both neighbours, or the earlier one if there is no later.
pub(crate) fn smoothed_steps(
    samples: &Samples<'_>,
    reference: &Reference,
    lookback: i64,
    name: &str,
    notes: &mut Notes<'_>,
    out: &mut StepVector,
) {
    for step in 0..out.steps() {
        let at = reference.at(step);
        let within = |times: &[i64]| {
            let from = times.partition_point(|time| *time <= at.saturating_sub(lookback));
            let to = times.partition_point(|time| *time <= at.saturating_add(lookback));
            (from, to)
        };
        let near = samples.slice(within(samples.times), within(samples.histogram_times));
        match (near.times.is_empty(), near.histogram_times.is_empty()) {
            (true, true) => {}
            (false, false) => notes.mixed_floats_and_histograms(name),
            (false, true) => {
                if let Some(value) = smoothed_float(&near, at) {
                    out.set_float(step, value);
                }
            }
            (true, false) => {
                let mut context = Context { name, notes: notes.again(), use_start_timestamps: false };
                if let Some(histogram) = smoothed_histogram(&near, at, &mut context) {
                    out.set_histogram(step, histogram);
                }
            }
        }
    }
}

fn smoothed_float(near: &Samples<'_>, at: i64) -> Option<f64> {
    let next = near.times.partition_point(|time| *time <= at);
    let previous = next.checked_sub(1)?;
    let value = near.values[previous];
    if near.times[previous] == at || next == near.times.len() {
        return Some(value);
    }
    Some(value + (near.values[next] - value) * way(near.times[previous], near.times[next], at))
}

fn smoothed_histogram(near: &Samples<'_>, at: i64, context: &mut Context<'_>) -> Option<Arc<FloatHistogram>> {
    let next = near.histogram_times.partition_point(|time| *time <= at);
    let previous = next.checked_sub(1)?;
    let first = &near.histograms[previous];
    if near.histogram_times[previous] == at || next == near.histogram_times.len() {
        return Some(Arc::clone(first));
    }
    let second = &near.histograms[next];
    if first.is_custom() != second.is_custom() {
        context.notes.mixed_schemas(context.name);
        return None;
    }
    let is_counter = [first, second].iter().all(|histogram| histogram.counter_reset != CounterResetHint::Gauge);
    let share = way(near.histogram_times[previous], near.histogram_times[next], at);
    let result = between(first, second, share, is_counter && second.detect_reset(first), context)?;
    Some(Arc::new(result))
}
