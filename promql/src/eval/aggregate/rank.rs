//! `topk` and `bottomk`: the best of each group, at each step.
//!
//! Each group keeps its best so far for every step; a series is computed, offered and dropped. What is held grows with
//! the answer, not with the input.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::{Aggregation, form_groups};
use crate::error::QueryError;
use crate::eval::steps::StepVector;
use crate::eval::{Held, Operator, Worker, hear, parallel};
use crate::functions::note::{Notes, Place};
use crate::syntax::ast::AggregateOp;

#[derive(Clone, Copy, Debug)]
struct Entry {
    value: f64,
    member: usize,
}

/// What a count parameter comes to at a step: `None` keeps nothing.
pub(crate) fn count_at(aggregation: &Aggregation<'_>, step: usize, input: usize) -> Result<Option<usize>, QueryError> {
    let count = aggregation.param.as_ref().map_or(f64::NAN, |param| param.at(step));
    if count.is_nan() {
        return Err(QueryError::execution("Parameter value is NaN"));
    }
    if count < -9_223_372_036_854_775_808.0 {
        return Err(QueryError::execution(format!("Scalar value {} underflows int64", display(count))));
    }
    if count >= 9_223_372_036_854_775_808.0 {
        return Err(QueryError::execution(format!("Scalar value {} overflows int64", display(count))));
    }
    Ok((count >= 1.0).then(|| (count as usize).min(input)))
}

fn display(value: f64) -> String {
    ferula_model::number::format_float(value, ferula_model::number::FloatForm::Shortest)
}

pub(crate) fn aggregate(aggregation: &Aggregation<'_>, child: &dyn Operator) -> Result<Held, QueryError> {
    let env = aggregation.env;
    let steps = child.steps();
    let input = child.heads().len();
    let counts: Vec<usize> = (0..steps)
        .map(|step| count_at(aggregation, step, input).map(Option::unwrap_or_default))
        .collect::<Result<_, _>>()?;
    if counts.iter().all(|count| *count == 0) {
        let mut worker = Worker::default();
        hear(env, child, &(0..input).collect::<Vec<_>>(), &mut worker)?;
        env.settle(&mut worker);
        return Held::new(steps, Vec::new(), env.limits);
    }
    let groups = form_groups(child.heads(), aggregation.grouping);
    let is_top = aggregation.op == AggregateOp::Topk;
    let weight = (input as u64).saturating_mul(steps as u64);
    let ranked = parallel::run(env, groups.len(), weight, |index, worker| {
        let mut best: Vec<Vec<Entry>> = vec![Vec::new(); steps];
        let mut vector = worker.take(steps);
        for &member in &groups[index].members {
            worker.check(env.limits)?;
            child.compute(member, worker, &mut vector)?;
            let ignored = |(histogram, count): (&Option<_>, &usize)| histogram.is_some() && *count > 0;
            if vector.histograms.iter().zip(&counts).any(ignored) {
                let place = Place { position: aggregation.own_position, ..aggregation.place };
                Notes::new(&mut worker.annotations, place).histogram_ignored_in_aggregation(aggregation.op.name());
            }
            for step in vector.present.iter() {
                offer(&mut best[step], counts[step], Entry { value: vector.floats[step], member }, is_top);
            }
        }
        worker.give(vector);
        Ok(chosen(best, steps, is_top))
    })?;
    let series = ranked.into_iter().flatten().map(|(member, vector)| (child.heads()[member].clone(), vector)).collect();
    Held::new(steps, series, env.limits)
}

/// Whether `a` ranks behind `b`: NaN last, then by value.
fn is_worse(a: f64, b: f64, is_top: bool) -> bool {
    if a.is_nan() {
        return true;
    }
    if is_top { a < b } else { a > b }
}

/// A binary heap with the worst entry on top, moved as Go's `container/heap` moves it: of equal values the same series
/// stay as upstream.
fn offer(heap: &mut Vec<Entry>, count: usize, entry: Entry, is_top: bool) {
    let worse = |a: Entry, b: Entry| is_worse(a.value, b.value, is_top);
    if heap.len() < count {
        heap.push(entry);
        let mut at = heap.len() - 1;
        while at > 0 {
            let parent = (at - 1) / 2;
            if !worse(heap[at], heap[parent]) {
                break;
            }
            heap.swap(at, parent);
            at = parent;
        }
        return;
    }
    let Some(worst) = heap.first().copied() else { return };
    let better = if is_top { worst.value < entry.value } else { worst.value > entry.value };
    if !(better || (worst.value.is_nan() && !entry.value.is_nan())) {
        return;
    }
    heap[0] = entry;
    let mut at = 0;
    loop {
        let left = 2 * at + 1;
        if left >= heap.len() {
            break;
        }
        let right = left + 1;
        let child = if right < heap.len() && worse(heap[right], heap[left]) { right } else { left };
        if !worse(heap[child], heap[at]) {
            break;
        }
        heap.swap(at, child);
        at = child;
    }
}

/// The series that were chosen at any step, best first if there is one step.
fn chosen(best: Vec<Vec<Entry>>, steps: usize, is_top: bool) -> Vec<(usize, StepVector)> {
    if let [only] = best.as_slice() {
        let mut only = only.clone();
        only.sort_by(|a, b| match (is_worse(a.value, b.value, is_top), is_worse(b.value, a.value, is_top)) {
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            _ => Ordering::Equal,
        });
        return only
            .into_iter()
            .map(|entry| {
                let mut vector = StepVector::with_steps(1);
                vector.set_float(0, entry.value);
                (entry.member, vector)
            })
            .collect();
    }
    let mut series: BTreeMap<usize, StepVector> = BTreeMap::new();
    for (step, entries) in best.into_iter().enumerate() {
        for entry in entries {
            series.entry(entry.member).or_insert_with(|| StepVector::with_steps(steps)).set_float(step, entry.value);
        }
    }
    series.into_iter().collect()
}
