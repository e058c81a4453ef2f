//! `sum_over_time` and `avg_over_time`, which take floats or histograms but not both.

use std::sync::Arc;

use ferula_model::histogram::{Combined, HistogramMean, HistogramSum, IncompatibleSchemas};
use ferula_model::{CounterResetHint, FloatHistogram};

use super::note::HistogramOperation;
use super::over_time::{mean_of, sum_of};
use super::window::{Context, Window};
use crate::eval::steps::Point;

pub(crate) fn sum(window: &Window<'_>, context: &mut Context<'_>) -> Option<Point> {
    let histograms = one_kind(window, context)?;
    let Some((first, rest)) = histograms.split_first() else {
        return Some(Point::Float(sum_of(window.samples.values)));
    };
    let mut sum = HistogramSum::new((**first).clone());
    add_all(first, rest, context, |histogram| sum.add(histogram))?;
    Some(Point::Histogram(Arc::new(sum.finish())))
}

pub(crate) fn avg(window: &Window<'_>, context: &mut Context<'_>) -> Option<Point> {
    let histograms = one_kind(window, context)?;
    let Some((first, rest)) = histograms.split_first() else {
        return mean_of(window.samples.values).map(Point::Float);
    };
    let mut mean = HistogramMean::new((**first).clone());
    add_all(first, rest, context, |histogram| mean.add(histogram))?;
    Some(Point::Histogram(Arc::new(mean.finish())))
}

/// The histograms, if there are only these; none, if there are only floats.
fn one_kind<'a>(window: &Window<'a>, context: &mut Context<'_>) -> Option<&'a [Arc<FloatHistogram>]> {
    let samples = window.samples;
    match (samples.values.is_empty(), samples.histograms.is_empty()) {
        (true, true) => None,
        (false, false) => {
            context.notes.mixed_floats_and_histograms(context.name);
            None
        }
        _ => Some(samples.histograms),
    }
}

fn add_all(
    first: &FloatHistogram,
    rest: &[Arc<FloatHistogram>],
    context: &mut Context<'_>,
    mut add: impl FnMut(&FloatHistogram) -> Result<Combined, IncompatibleSchemas>,
) -> Option<()> {
    let (mut saw_reset, mut saw_no_reset) = (false, false);
    let mut look = |histogram: &FloatHistogram| {
        saw_reset |= histogram.counter_reset == CounterResetHint::Reset;
        saw_no_reset |= histogram.counter_reset == CounterResetHint::NotReset;
    };
    look(first);
    for histogram in rest {
        look(histogram);
        match add(histogram) {
            Ok(combined) if combined.bounds_reconciled => {
                context.notes.custom_buckets_reconciled(HistogramOperation::Aggregation);
            }
            Ok(_) => {}
            Err(IncompatibleSchemas) => {
                context.notes.mixed_schemas(context.name);
                return None;
            }
        }
    }
    if saw_reset && saw_no_reset {
        context.notes.counter_reset_collision(HistogramOperation::Aggregation);
    }
    Some(())
}
