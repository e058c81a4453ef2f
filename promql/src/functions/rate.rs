//! `rate`, `increase` and `delta`: how fast does it change, as if the samples reached the ends of the window?
//!
//! The samples of a window rarely reach its ends. The change between the first and the last is extrapolated to the
//! whole window, but by no more than half a sample distance where the series seems to begin or end inside, and a
//! counter not below zero. Source: `extrapolatedRate` of Prometheus 3.14.

use std::sync::Arc;

use super::rate_histogram;
use super::window::{Context, Window};
use crate::eval::steps::{Point, StepVector};

/// What is wanted of the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RateKind {
    /// Decreases are resets.
    pub(crate) is_counter: bool,
    /// Divide by the seconds of the window.
    pub(crate) per_second: bool,
}

impl RateKind {
    pub(crate) const RATE: RateKind = RateKind { is_counter: true, per_second: true };
    pub(crate) const INCREASE: RateKind = RateKind { is_counter: true, per_second: false };
    pub(crate) const DELTA: RateKind = RateKind { is_counter: false, per_second: false };
}

/// Where the observed samples lie in their window, and what a counter showed first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observed {
    pub(crate) first_at: i64,
    pub(crate) last_at: i64,
    pub(crate) intervals: usize,
    /// Value (of a histogram: count) of the first sample.
    pub(crate) first: f64,
    /// Change of the value (of a histogram: of its count).
    pub(crate) change: f64,
    /// When the series is known to have begun with zero, if that is within the window and before the first sample.
    pub(crate) zero_at: Option<i64>,
}

/// What a change is multiplied by to stand for the whole window.
#[inline]
pub(crate) fn extrapolation(observed: Observed, start: i64, end: i64, range: i64, kind: RateKind) -> f64 {
    let mut to_start = (observed.first_at - start) as f64 / 1000.0;
    let mut to_end = (end - observed.last_at) as f64 / 1000.0;
    let mut sampled = (observed.last_at - observed.first_at) as f64 / 1000.0;
    let average = if observed.intervals == 0 { 0.0 } else { sampled / observed.intervals as f64 };
    let threshold = average * 1.1;
    if let Some(zero_at) = observed.zero_at {
        sampled = (observed.last_at - zero_at) as f64 / 1000.0;
        to_start = 0.0;
    } else {
        if to_start >= threshold {
            to_start = average / 2.0;
        }
        if kind.is_counter {
            let mut to_zero = to_start;
            if observed.change > 0.0 && observed.first >= 0.0 {
                to_zero = sampled * (observed.first / observed.change);
            }
            if to_zero < to_start {
                to_start = to_zero;
            }
        }
    }
    if to_end >= threshold {
        to_end = average / 2.0;
    }
    let mut factor = (sampled + to_start + to_end) / sampled;
    if kind.per_second {
        factor /= range as f64 / 1000.0;
    }
    factor
}

/// The function at one step.
pub(crate) fn rate(kind: RateKind, window: &Window<'_>, context: &mut Context<'_>) -> Option<Point> {
    let samples = window.samples;
    if !samples.times.is_empty() && !samples.histogram_times.is_empty() {
        context.notes.mixed_floats_and_histograms(context.name);
        return None;
    }
    if !samples.histogram_times.is_empty() {
        return rate_histogram::rate(kind, window, context).map(|h| Point::Histogram(Arc::new(h)));
    }
    rate_of_floats(kind, window, context).map(Point::Float)
}

fn rate_of_floats(kind: RateKind, window: &Window<'_>, context: &mut Context<'_>) -> Option<f64> {
    let samples = window.samples;
    let with_starts = kind.is_counter && context.use_start_timestamps && !samples.starts.is_empty();
    let (&first_at, &last_at) = (samples.times.first()?, samples.times.last()?);
    let (first, last) = (samples.values[0], *samples.values.last()?);
    let mut observed =
        Observed { first_at, last_at, intervals: samples.times.len() - 1, first, change: last - first, zero_at: None };
    if with_starts {
        warn_of_overlaps(window, context);
        let begun = samples.start(0);
        if begun > window.start && begun < first_at {
            observed.zero_at = Some(begun);
            observed.change += first;
        }
    }
    if observed.intervals == 0 && observed.zero_at.is_none() {
        return None;
    }
    if kind.is_counter {
        let mut previous = first;
        for (index, &value) in samples.values.iter().enumerate().skip(1) {
            if value < previous || (with_starts && is_reset_by_start(&samples, index)) {
                observed.change += previous;
            }
            previous = value;
        }
    }
    Some(observed.change * extrapolation(observed, window.start, window.end, window.range, kind))
}

/// Whether the start timestamps say that the counter began anew between samples `index - 1` and `index`.
fn is_reset_by_start(samples: &super::window::Samples<'_>, index: usize) -> bool {
    started_anew((samples.times[index - 1], samples.start(index - 1)), (samples.times[index], samples.start(index)))
}

/// Whether a sample (time, start timestamp) belongs to a later life of its series than the one before it.
pub(crate) fn started_anew(previous: (i64, i64), current: (i64, i64)) -> bool {
    let (previous_at, previous_start) = previous;
    let (at, start) = current;
    if start <= 0 || start >= at {
        return false;
    }
    start > previous_at
        || (start == previous_at
            && previous_start != 0
            && previous_start != previous_at
            && previous_start <= previous_at)
}

fn warn_of_overlaps(window: &Window<'_>, context: &mut Context<'_>) {
    let samples = window.samples;
    let overlaps = (1..samples.times.len())
        .any(|index| overlaps((samples.times[index - 1], samples.start(index - 1)), samples.start(index)));
    if overlaps {
        context.notes.overlapping_start(context.name);
    }
}

/// Whether a start timestamp lies before the previous sample without being that sample's own.
pub(crate) fn overlaps(previous: (i64, i64), start: i64) -> bool {
    let (previous_at, previous_start) = previous;
    start != 0 && start < previous_at && start != previous_start
}

/// All steps of a series of floats at once: the positions of resets are found in one pass, so that a step costs no more
/// than the resets in its window.
#[derive(Debug, Default)]
pub(crate) struct Resets {
    /// Positions of samples that are lower than the one before.
    positions: Vec<usize>,
}

impl Resets {
    pub(crate) fn find(values: &[f64]) -> Self {
        let mut positions = Vec::new();
        for (index, pair) in values.windows(2).enumerate() {
            if pair[1] < pair[0] {
                positions.push(index + 1);
            }
        }
        Self { positions }
    }
}

/// Bounds of the windows of all steps.
pub(crate) trait Windows {
    /// Start, end, and the positions of the first sample in the window and behind it.
    fn window(&mut self, step: usize) -> (i64, i64, usize, usize);
}

/// `rate`, `increase` or `delta` of floats at all steps.
pub(crate) fn rate_at_all_steps(
    kind: RateKind,
    times: &[i64],
    values: &[f64],
    range: i64,
    windows: &mut impl Windows,
    out: &mut StepVector,
) {
    let resets = if kind.is_counter { Resets::find(values) } else { Resets::default() };
    let mut first_reset = 0;
    for step in 0..out.steps() {
        let (start, end, from, to) = windows.window(step);
        if to - from < 2 {
            continue;
        }
        let (first, last) = (values[from], values[to - 1]);
        let mut change = last - first;
        while first_reset < resets.positions.len() && resets.positions[first_reset] <= from {
            first_reset += 1;
        }
        for &position in resets.positions[first_reset..].iter().take_while(|position| **position < to) {
            change += values[position - 1];
        }
        let observed = Observed {
            first_at: times[from],
            last_at: times[to - 1],
            intervals: to - from - 1,
            first,
            change,
            zero_at: None,
        };
        out.set_float(step, change * extrapolation(observed, start, end, range, kind));
    }
}
