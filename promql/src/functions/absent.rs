//! `absent` and `absent_over_time`: is there nothing?

use std::collections::HashSet;

use ferula_model::{Labels, LabelsBuilder, METRIC_NAME, MatchOp, Matcher};

use crate::error::QueryError;
use crate::eval::steps::{Bitmap, StepVector};
use crate::eval::window::RangeSource;
use crate::eval::{Env, Head, Held, Operator, Worker};

/// The labels that the absent series would have had for sure: those with exactly one `=` matcher and no other.
pub(crate) fn labels_of(matchers: &[Matcher]) -> Labels {
    let mut builder = LabelsBuilder::new();
    let mut seen = HashSet::new();
    // Upstream's storage puts the matchers that only take away behind the others before the labels are made.
    let takes_away = |matcher: &&Matcher| matcher.op.is_negative() && matcher.matches("");
    let first = matchers.iter().filter(|matcher| !takes_away(matcher));
    let in_order = first.chain(matchers.iter().filter(takes_away));
    for matcher in in_order.filter(|matcher| matcher.name != METRIC_NAME) {
        if matcher.op == MatchOp::Equal && seen.insert(&matcher.name) {
            builder.set(&matcher.name, &matcher.value);
        } else {
            builder.remove(&matcher.name);
        }
    }
    builder.build()
}

/// One series, present with 1 where none of `child` is.
pub(crate) fn absent(env: &Env<'_>, child: &dyn Operator, labels: Labels) -> Result<Held, QueryError> {
    let steps = child.steps();
    let mut present = Bitmap::with_steps(steps);
    let mut worker = Worker::default();
    let mut vector = worker.take(steps);
    for index in 0..child.heads().len() {
        if child.is_silent() && present.count() == steps {
            break;
        }
        worker.check(env.limits)?;
        child.compute(index, &mut worker, &mut vector)?;
        present.union(&vector.presence());
    }
    env.settle(&mut worker);
    answer(env, steps, &present, labels)
}

/// One series, present with 1 where no window of `source` has a sample.
pub(crate) fn absent_over_time(
    env: &Env<'_>,
    source: &RangeSource<'_>,
    steps: usize,
    labels: Labels,
) -> Result<Held, QueryError> {
    use crate::functions::rate::Windows;
    let mut present = Bitmap::with_steps(steps);
    let mut worker = Worker::default();
    for index in 0..source.heads().len() {
        if present.count() == steps {
            break;
        }
        worker.check(env.limits)?;
        source.load(index, &mut worker)?;
        let samples = worker.samples();
        let mut floats = source.pointers(samples.times);
        let mut histograms = source.pointers(samples.histogram_times);
        for step in 0..steps {
            let (_, _, from, to) = floats.window(step);
            let (_, _, histogram_from, histogram_to) = histograms.window(step);
            if from < to || histogram_from < histogram_to {
                present.set(step);
            }
        }
    }
    env.settle(&mut worker);
    answer(env, steps, &present, labels)
}

fn answer(env: &Env<'_>, steps: usize, present: &Bitmap, labels: Labels) -> Result<Held, QueryError> {
    let mut vector = StepVector::with_steps(steps);
    for step in 0..steps {
        if !present.get(step) {
            vector.set_float(step, 1.0);
        }
    }
    let series = if vector.any() { vec![(Head::new(labels), vector)] } else { Vec::new() };
    Held::new(steps, series, env.limits)
}
