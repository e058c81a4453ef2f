//! `irate`, `idelta`, `changes`, `resets`: what happened from one sample to the next?
//!
//! Source: `instantValue`, `funcChanges`, `funcResets` of Prometheus 3.14.

use std::sync::Arc;

use ferula_model::histogram::IncompatibleSchemas;
use ferula_model::{CounterResetHint, FloatHistogram};

use super::note::HistogramOperation;
use super::rate::{overlaps, started_anew};
use super::window::{Context, Samples, Window};
use crate::eval::steps::Point;

/// A sample with its times.
#[derive(Clone, Debug)]
struct Timed {
    at: i64,
    start: i64,
    point: Point,
}

pub(crate) fn irate(window: &Window<'_>, context: &mut Context<'_>) -> Option<Point> {
    instant_value(window, context, true)
}

pub(crate) fn idelta(window: &Window<'_>, context: &mut Context<'_>) -> Option<Point> {
    instant_value(window, context, false)
}

/// All samples of both kinds by rising time, with their start timestamps.
fn timed(samples: &Samples<'_>) -> Vec<Timed> {
    let (mut floats, mut histograms) = (0, 0);
    samples
        .merged()
        .map(|(at, point)| {
            let start = match point {
                Point::Float(_) => {
                    floats += 1;
                    samples.start(floats - 1)
                }
                Point::Histogram(_) => {
                    histograms += 1;
                    samples.histogram_start(histograms - 1)
                }
            };
            Timed { at, start, point }
        })
        .collect()
}

/// The last two samples.
fn last_two(samples: &Samples<'_>) -> Option<(Timed, Timed)> {
    let (floats, histograms) = (samples.times.len(), samples.histogram_times.len());
    let few = samples.slice((floats.saturating_sub(2), floats), (histograms.saturating_sub(2), histograms));
    let mut last = timed(&few).into_iter().rev();
    let second = last.next()?;
    Some((last.next()?, second))
}

fn instant_value(window: &Window<'_>, context: &mut Context<'_>, is_rate: bool) -> Option<Point> {
    let (first, second) = last_two(&window.samples)?;
    let millis = second.at - first.at;
    if millis == 0 {
        return None;
    }
    let with_starts = is_rate && context.use_start_timestamps;
    if with_starts && overlaps((first.at, first.start), second.start) {
        context.notes.overlapping_start(context.name);
    }
    let anew = with_starts && started_anew((first.at, first.start), (second.at, second.start));
    let seconds = millis as f64 / 1000.0;
    match (&first.point, &second.point) {
        (Point::Float(before), Point::Float(after)) => {
            let change = if is_rate && (after < before || anew) { *after } else { after - before };
            Some(Point::Float(if is_rate { change / seconds } else { change }))
        }
        (Point::Histogram(before), Point::Histogram(after)) => {
            let mut change = histogram_change(before, after, is_rate, anew, context)?;
            if is_rate {
                change.divide(seconds);
            }
            Some(Point::Histogram(Arc::new(change)))
        }
        _ => {
            context.notes.mixed_floats_and_histograms(context.name);
            None
        }
    }
}

fn histogram_change(
    before: &FloatHistogram,
    after: &FloatHistogram,
    is_rate: bool,
    anew: bool,
    context: &mut Context<'_>,
) -> Option<FloatHistogram> {
    let gauges = [before, after].map(|histogram| histogram.counter_reset == CounterResetHint::Gauge);
    if is_rate && gauges.contains(&true) {
        context.notes.not_a_counter_histogram(context.name);
    }
    if !is_rate && gauges.contains(&false) {
        context.notes.not_a_gauge_histogram(context.name);
    }
    let mut change = after.clone();
    if !is_rate || !(anew || after.detect_reset(before)) {
        match change.sub(before) {
            Ok(combined) if combined.bounds_reconciled => {
                context.notes.custom_buckets_reconciled(HistogramOperation::Subtraction);
            }
            Ok(_) => {}
            Err(IncompatibleSchemas) => {
                context.notes.mixed_schemas(context.name);
                return None;
            }
        }
    }
    change.counter_reset = CounterResetHint::Gauge;
    change.compact(0);
    Some(change)
}

pub(crate) fn changes(window: &Window<'_>, _: &mut Context<'_>) -> Option<Point> {
    let samples = window.samples;
    if samples.histogram_times.is_empty() {
        if samples.values.is_empty() {
            return None;
        }
        let changed = |pair: &&[f64]| pair[0] != pair[1] && !(pair[0].is_nan() && pair[1].is_nan());
        return Some(Point::Float(samples.values.windows(2).filter(changed).count() as f64));
    }
    let all = timed(&samples);
    let changed = |pair: &&[Timed]| match (&pair[0].point, &pair[1].point) {
        (Point::Float(a), Point::Float(b)) => a != b && !(a.is_nan() && b.is_nan()),
        (Point::Histogram(a), Point::Histogram(b)) => !a.equals(b),
        _ => true,
    };
    Some(Point::Float(all.windows(2).filter(changed).count() as f64))
}

pub(crate) fn resets(window: &Window<'_>, context: &mut Context<'_>) -> Option<Point> {
    let samples = window.samples;
    let with_starts =
        context.use_start_timestamps && !(samples.starts.is_empty() && samples.histogram_starts.is_empty());
    if samples.histogram_times.is_empty() && !with_starts {
        if samples.values.is_empty() {
            return None;
        }
        return Some(Point::Float(samples.values.windows(2).filter(|pair| pair[1] < pair[0]).count() as f64));
    }
    let all = timed(&samples);
    if all.is_empty() {
        return None;
    }
    let count = all
        .windows(2)
        .filter(|pair| {
            let anew = with_starts && started_anew((pair[0].at, pair[0].start), (pair[1].at, pair[1].start));
            anew || match (&pair[0].point, &pair[1].point) {
                (Point::Float(a), Point::Float(b)) => b < a,
                (Point::Histogram(a), Point::Histogram(b)) => b.detect_reset(a),
                _ => true,
            }
        })
        .count();
    Some(Point::Float(count as f64))
}
