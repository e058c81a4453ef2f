//! `rate`, `increase` and `delta` of native histograms.
//!
//! Source: `histogramRate` of Prometheus 3.14.

use std::sync::Arc;

use ferula_model::histogram::{Combined, IncompatibleSchemas};
use ferula_model::{CounterResetHint, FloatHistogram};

use super::note::HistogramOperation;
use super::rate::{Observed, RateKind, extrapolation, overlaps, started_anew};
use super::window::{Context, Window};

pub(crate) fn rate(kind: RateKind, window: &Window<'_>, context: &mut Context<'_>) -> Option<FloatHistogram> {
    let samples = window.samples;
    let (&first_at, &last_at) = (samples.histogram_times.first()?, samples.histogram_times.last()?);
    let with_starts = kind.is_counter && context.use_start_timestamps && !samples.histogram_starts.is_empty();
    let mut zero_at = None;
    let mut anew = vec![false; samples.histograms.len()];
    if with_starts {
        let mut overlapping = false;
        for (index, anew) in anew.iter_mut().enumerate().skip(1) {
            let before = (samples.histogram_times[index - 1], samples.histogram_start(index - 1));
            let now = (samples.histogram_times[index], samples.histogram_start(index));
            *anew = started_anew(before, now);
            overlapping |= overlaps(before, now.1);
        }
        if overlapping {
            context.notes.overlapping_start(context.name);
        }
        let begun = samples.histogram_start(0);
        zero_at = (begun > window.start && begun < first_at).then_some(begun);
    }
    let intervals = samples.histograms.len() - 1;
    if intervals == 0 && zero_at.is_none() {
        return None;
    }
    let mut change = change(kind, samples.histograms, &anew, zero_at.is_some(), context)?;
    let observed =
        Observed { first_at, last_at, intervals, first: samples.histograms[0].count, change: change.count, zero_at };
    change.multiply(extrapolation(observed, window.start, window.end, window.range, kind));
    Some(change)
}

fn change(
    kind: RateKind,
    histograms: &[Arc<FloatHistogram>],
    anew: &[bool],
    from_zero: bool,
    context: &mut Context<'_>,
) -> Option<FloatHistogram> {
    let (first, last) = (histograms.first()?, histograms.last()?);
    let is_gauge = |histogram: &FloatHistogram| histogram.counter_reset == CounterResetHint::Gauge;
    if kind.is_counter && histograms.iter().any(|histogram| is_gauge(histogram)) {
        context.notes.not_a_counter_histogram(context.name);
    }
    // Before a reset the first sample does not matter, so neither does its layout.
    let mut previous = Arc::clone(first);
    if kind.is_counter
        && let Some(second) = histograms.get(1)
        && (anew[1] || second.detect_reset(first))
    {
        previous = Arc::new(FloatHistogram {
            schema: second.schema,
            custom_values: second.custom_values.clone(),
            ..FloatHistogram::default()
        });
    }
    let custom = previous.is_custom();
    let inner: &[Arc<FloatHistogram>] =
        if kind.is_counter && histograms.len() > 2 { &histograms[1..histograms.len() - 1] } else { &[] };
    if last.is_custom() != custom || inner.iter().any(|histogram| histogram.is_custom() != custom) {
        context.notes.mixed_schemas(context.name);
        return None;
    }
    let schema = inner.iter().map(|h| h.schema).chain([previous.schema, last.schema]).min()?;
    let mut result = (**last).clone();
    if !custom && schema < result.schema && result.reduce_resolution(schema).is_err() {
        return None;
    }
    let combined = result.sub(&previous);
    note(combined, HistogramOperation::Subtraction, context)?;
    if kind.is_counter {
        for (index, current) in histograms.iter().enumerate().skip(1) {
            if anew[index] || current.detect_reset(&previous) {
                let combined = result.add(&previous);
                note(combined, HistogramOperation::Addition, context)?;
            }
            previous = Arc::clone(current);
        }
    } else if !is_gauge(first) || !is_gauge(last) {
        context.notes.not_a_gauge_histogram(context.name);
    }
    if from_zero {
        let combined = result.add(first);
        note(combined, HistogramOperation::Addition, context)?;
    }
    result.counter_reset = CounterResetHint::Gauge;
    result.compact(0);
    Some(result)
}

/// Resets are dealt with here, so what hints say about each other does not matter.
fn note(
    combined: Result<Combined, IncompatibleSchemas>,
    operation: HistogramOperation,
    context: &mut Context<'_>,
) -> Option<()> {
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
