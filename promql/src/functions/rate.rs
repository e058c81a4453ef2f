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

/// Where the samples lie in their window, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    /// From the start of the window to the first sample.
    before: i64,
    /// From the first sample to the last.
    sampled: i64,
    /// From the last sample to the end of the window.
    after: i64,
    intervals: usize,
}

/// How far, in seconds, the samples reach and may be stretched, whatever their values.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    to_start: f64,
    sampled: f64,
    to_end: f64,
}

impl Stretch {
    fn of(layout: Layout) -> Self {
        let seconds = |millis: i64| millis as f64 / 1000.0;
        let sampled = seconds(layout.sampled);
        let average = if layout.intervals == 0 { 0.0 } else { sampled / layout.intervals as f64 };
        let threshold = average * 1.1;
        let bounded = |distance: f64| if distance >= threshold { average / 2.0 } else { distance };
        Self { to_start: bounded(seconds(layout.before)), sampled, to_end: bounded(seconds(layout.after)) }
    }

    /// The same for a counter, which was not below zero before its first sample.
    fn not_below_zero(self, first: f64, change: f64) -> Self {
        if !(change > 0.0 && first >= 0.0) {
            return self;
        }
        let to_zero = self.sampled * (first / change);
        if to_zero < self.to_start { Self { to_start: to_zero, ..self } } else { self }
    }

    fn factor(self, range: i64, kind: RateKind) -> f64 {
        let factor = (self.sampled + self.to_start + self.to_end) / self.sampled;
        if kind.per_second { factor / (range as f64 / 1000.0) } else { factor }
    }
}

/// What a change is multiplied by to stand for the whole window.
pub(crate) fn extrapolation(observed: Observed, start: i64, end: i64, range: i64, kind: RateKind) -> f64 {
    let Observed { first_at, last_at, intervals, first, change, zero_at } = observed;
    let layout = Layout { before: first_at - start, sampled: last_at - first_at, after: end - last_at, intervals };
    let mut stretch = Stretch::of(layout);
    if let Some(zero_at) = zero_at {
        stretch = Stretch { to_start: 0.0, sampled: (last_at - zero_at) as f64 / 1000.0, ..stretch };
    } else if kind.is_counter {
        stretch = stretch.not_below_zero(first, change);
    }
    stretch.factor(range, kind)
}

/// The extrapolation of one window after the other. Samples are mostly evenly spaced, so that most windows look like one that
/// was there before: what was divided for that one holds for this one too.
#[derive(Debug)]
struct Extrapolator {
    kind: RateKind,
    range: i64,
    known: [(Layout, Stretch, f64); Extrapolator::KNOWN],
}

impl Extrapolator {
    const KNOWN: usize = 256;

    fn new(kind: RateKind, range: i64) -> Self {
        let layout = Layout { before: 0, sampled: 0, after: 0, intervals: 0 };
        let stretch = Stretch::of(layout);
        Self { kind, range, known: [(layout, stretch, stretch.factor(range, kind)); Self::KNOWN] }
    }

    /// Whether it is for these.
    fn suits(&self, kind: RateKind, range: i64) -> bool {
        (self.kind, self.range) == (kind, range)
    }

    #[inline]
    fn factor(&mut self, layout: Layout, first: f64, change: f64) -> f64 {
        // Scrapes are early or late by some milliseconds: all pairs of up to 16 neighbouring numbers get places of their own.
        let slot = &mut self.known[(layout.before + 16 * layout.after) as usize % Self::KNOWN];
        if slot.0 != layout {
            let stretch = Stretch::of(layout);
            *slot = (layout, stretch, stretch.factor(self.range, self.kind));
        }
        let (_, stretch, factor) = slot;
        // A counter that showed more than it grew by since was zero before the stretch begins.
        let far_from_zero = first >= change && stretch.sampled >= stretch.to_start;
        if far_from_zero || !self.kind.is_counter {
            return *factor;
        }
        let bounded = stretch.not_below_zero(first, change);
        if bounded.to_start == stretch.to_start { *factor } else { bounded.factor(self.range, self.kind) }
    }
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

/// What one series leaves to the next.
#[derive(Debug, Default)]
pub(crate) struct RateScratch {
    /// Positions of samples that are lower than the one before.
    resets: Vec<usize>,
    /// In a box, because it is large and this goes from hand to hand.
    extrapolator: Option<Box<Extrapolator>>,
}

/// Bounds of the windows of all steps.
pub(crate) trait Windows {
    /// Start, end, and the positions of the first sample in the window and behind it.
    fn window(&mut self, step: usize) -> (i64, i64, usize, usize);
}

/// `rate`, `increase` or `delta` of floats at all steps. The positions of resets are found in one pass, so that a
/// step costs no more than the resets in its window.
pub(crate) fn rate_at_all_steps(
    kind: RateKind,
    (times, values): (&[i64], &[f64]),
    range: i64,
    windows: &mut impl Windows,
    scratch: &mut RateScratch,
    out: &mut StepVector,
) {
    let RateScratch { resets, extrapolator } = scratch;
    find_resets(if kind.is_counter { values } else { &[] }, resets);
    let mut resets = resets.as_slice();
    let extrapolator = match extrapolator {
        Some(known) if known.suits(kind, range) => known,
        other => other.insert(Box::new(Extrapolator::new(kind, range))),
    };
    out.fill_floats(|step| {
        let (start, end, from, to) = windows.window(step);
        if to - from < 2 {
            return None;
        }
        let (first, last) = (values[from], values[to - 1]);
        let mut change = last - first;
        if !resets.is_empty() {
            let passed = resets.iter().take_while(|position| **position <= from).count();
            resets = &resets[passed..];
            for &position in resets.iter().take_while(|position| **position < to) {
                change += values[position - 1];
            }
        }
        let (first_at, last_at) = (times[from], times[to - 1]);
        let layout = Layout {
            before: first_at - start,
            sampled: last_at - first_at,
            after: end - last_at,
            intervals: to - from - 1,
        };
        Some(change * extrapolator.factor(layout, first, change))
    });
}

/// Fills in the positions of samples that are lower than the one before.
fn find_resets(values: &[f64], positions: &mut Vec<usize>) {
    positions.clear();
    // Most counters have none: counting needs no branch.
    let falls = values.windows(2).filter(|pair| pair[1] < pair[0]).count();
    if falls > 0 {
        let falling = values.windows(2).enumerate().filter(|(_, pair)| pair[1] < pair[0]);
        positions.extend(falling.map(|(index, _)| index + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What windows that look alike share must not change what any of them says.
    #[test]
    fn a_remembered_layout_answers_as_a_fresh_one() {
        let kinds = [RateKind::RATE, RateKind::INCREASE, RateKind::DELTA];
        let firsts = [0.0, 1.0, 40.0, 1e6, -3.0, f64::NAN, f64::INFINITY];
        let changes = [0.0, 1e-3, 40.0, 1e6, -7.0, f64::NAN, f64::INFINITY];
        for kind in kinds {
            let mut extrapolator = Extrapolator::new(kind, 300_000);
            for (before, intervals, after) in
                [(5, 19, 10), (5, 19, 10), (16_500, 1, 0), (14_000, 1, 15_000), (290_000, 1, 5)]
            {
                let (start, first_at) = (1_000, 1_000 + before);
                let last_at = first_at + 15_000 * intervals as i64;
                let end = last_at + after;
                for (first, change) in firsts.into_iter().flat_map(|first| changes.map(|change| (first, change))) {
                    let observed = Observed { first_at, last_at, intervals, first, change, zero_at: None };
                    let layout = Layout { before, sampled: last_at - first_at, after, intervals };
                    let fresh = extrapolation(observed, start, end, 300_000, kind);
                    assert_eq!(extrapolator.factor(layout, first, change).to_bits(), fresh.to_bits(), "{observed:?}");
                }
            }
        }
    }
}
