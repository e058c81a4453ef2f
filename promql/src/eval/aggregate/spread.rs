//! `quantile` and `count_values`: aggregations that must see all values of a step together.

use std::collections::BTreeMap;

use ferula_model::number::{FloatForm, format_float};

use super::{Aggregation, form_groups};
use crate::error::QueryError;
use crate::eval::label_sets::ByLabels;
use crate::eval::steps::{PointRef, StepVector};
use crate::eval::{Head, Held, Operator, Worker, parallel};
use crate::functions::note::Notes;
use crate::functions::over_time::quantile_of;

pub(crate) fn quantile(aggregation: &Aggregation<'_>, child: &dyn Operator) -> Result<Held, QueryError> {
    let env = aggregation.env;
    let steps = child.steps();
    let groups = form_groups(child.heads(), aggregation.grouping);
    let quantile_at = |step: usize| aggregation.param.as_ref().map_or(f64::NAN, |param| param.at(step));
    let mut worker = Worker::default();
    let mut place = aggregation.place;
    place.position = aggregation.param_position;
    let mut notes = Notes::new(&mut worker.annotations, place);
    let (mut lowest, mut highest) = (f64::INFINITY, f64::NEG_INFINITY);
    for quantile in (0..steps).map(quantile_at) {
        if quantile.is_nan() {
            notes.invalid_quantile(quantile);
        }
        (lowest, highest) = (lowest.min(quantile), highest.max(quantile));
    }
    if highest > 1.0 {
        notes.invalid_quantile(highest);
    }
    if lowest < 0.0 {
        notes.invalid_quantile(lowest);
    }
    env.settle(&mut worker);
    let weight = (child.heads().len() as u64).saturating_mul(steps as u64);
    let vectors = parallel::run(env, groups.len(), weight, |index, worker| {
        let mut values: Vec<Vec<f64>> = vec![Vec::new(); steps];
        let mut vector = worker.take(steps);
        let mut holds = Vec::new();
        for &member in &groups[index].members {
            worker.check(env.limits)?;
            child.compute(member, worker, &mut vector)?;
            if vector.has_histograms() {
                Notes::new(&mut worker.annotations, aggregation.place).histogram_ignored_in_aggregation("quantile");
            }
            let count = vector.present.count() as u64;
            holds.push(env.limits.hold(count, count * 8)?);
            for step in vector.present.iter() {
                values[step].push(vector.floats[step]);
            }
        }
        vector.reset(steps);
        for (step, values) in values.iter_mut().enumerate() {
            if !values.is_empty() {
                vector.set_float(step, quantile_of(quantile_at(step), values));
            }
        }
        Ok(vector)
    })?;
    let series = groups.into_iter().map(|group| group.head).zip(vectors).filter(|(_, vector)| vector.any()).collect();
    Held::new(steps, series, env.limits)
}

pub(crate) fn count_values(aggregation: &Aggregation<'_>, child: &dyn Operator) -> Result<Held, QueryError> {
    let env = aggregation.env;
    let steps = child.steps();
    let label = aggregation.label;
    if label.is_empty() {
        return Err(QueryError::execution(format!("invalid label name {}", ferula_model::go_quote(label))));
    }
    let groups = form_groups(child.heads(), aggregation.grouping);
    let weight = (child.heads().len() as u64).saturating_mul(steps as u64);
    let counted = parallel::run(env, groups.len(), weight, |index, worker| {
        let group = &groups[index];
        let mut counts: BTreeMap<String, StepVector> = BTreeMap::new();
        let mut holds = Vec::new();
        let mut vector = worker.take(steps);
        for &member in &group.members {
            worker.check(env.limits)?;
            child.compute(member, worker, &mut vector)?;
            for step in 0..steps {
                let text = match vector.get(step) {
                    Some(PointRef::Float(value)) => format_float(value, FloatForm::Plain),
                    Some(PointRef::Histogram(histogram)) => histogram.to_string(),
                    None => continue,
                };
                let count = match counts.get_mut(&text) {
                    Some(count) => count,
                    None => {
                        // Each new value is a new series, and there may be many.
                        let bytes = steps as u64 * 8 + text.len() as u64;
                        holds.push(env.limits.hold(1, bytes)?);
                        counts.entry(text).or_insert_with(|| StepVector::with_steps(steps))
                    }
                };
                let before = if count.present.get(step) { count.floats[step] } else { 0.0 };
                count.set_float(step, before + 1.0);
            }
        }
        worker.give(vector);
        // As upstream, a name that was grouped by stays, even one that was to be dropped.
        let named = counts.into_iter().map(|(text, vector)| {
            let mut labels = group.head.labels.to_builder();
            if !(aggregation.grouping.without && aggregation.grouping.labels.iter().any(|name| name == label)) {
                labels.set(label, &text);
            }
            (Head::new(labels.build()), vector)
        });
        Ok(named.collect::<Vec<_>>())
    })?;
    merged(counted.into_iter().flatten().collect(), steps, aggregation)
}

/// The label may overwrite one of the grouping: what then is equal is counted together.
fn merged(series: Vec<(Head, StepVector)>, steps: usize, aggregation: &Aggregation<'_>) -> Result<Held, QueryError> {
    if !aggregation.grouping.labels.iter().any(|label| label == aggregation.label) && !aggregation.grouping.without {
        return Held::new(steps, series, aggregation.env.limits);
    }
    let mut positions = ByLabels::new();
    let mut out: Vec<(Head, StepVector)> = Vec::with_capacity(series.len());
    for (head, vector) in series {
        match positions.entry(head.labels.clone()) {
            hashbrown::hash_map::Entry::Vacant(vacant) => {
                vacant.insert(out.len());
                out.push((head, vector));
            }
            hashbrown::hash_map::Entry::Occupied(occupied) => {
                let into = &mut out[*occupied.get()].1;
                for step in vector.present.iter() {
                    let before = if into.present.get(step) { into.floats[step] } else { 0.0 };
                    into.set_float(step, before + vector.floats[step]);
                }
            }
        }
    }
    Held::new(steps, out, aggregation.env.limits)
}
