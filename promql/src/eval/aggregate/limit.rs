//! `limitk` and `limit_ratio`: some series of each group, whatever they say.

use super::rank::count_at;
use super::{Aggregation, form_groups};
use crate::error::QueryError;
use crate::eval::steps::StepVector;
use crate::eval::{Held, Operator, hear, parallel};
use crate::functions::note::Notes;
use crate::plan::NodeId;

/// The first series of each group that have a sample, at each step.
pub(crate) fn limitk(aggregation: &Aggregation<'_>, child: &dyn Operator) -> Result<Held, QueryError> {
    let env = aggregation.env;
    let steps = child.steps();
    let input = child.heads().len();
    let counts: Vec<usize> = (0..steps)
        .map(|step| count_at(aggregation, step, input).map(Option::unwrap_or_default))
        .collect::<Result<_, _>>()?;
    let groups = form_groups(child.heads(), aggregation.grouping);
    let weight = (input as u64).saturating_mul(steps as u64);
    let kept = parallel::run(env, groups.len(), weight, |index, worker| {
        let mut left = counts.clone();
        let mut kept = Vec::new();
        for (nth, &member) in groups[index].members.iter().enumerate() {
            if left.iter().all(|left| *left == 0) {
                hear(env, child, &groups[index].members[nth..], worker)?;
                break;
            }
            worker.check(env.limits)?;
            let mut vector = StepVector::default();
            child.compute(member, worker, &mut vector)?;
            for (step, left) in left.iter_mut().enumerate() {
                if vector.has(step) {
                    if *left == 0 { vector.clear(step) } else { *left -= 1 }
                }
            }
            if vector.any() {
                kept.push((child.heads()[member].clone(), vector));
            }
        }
        Ok(kept)
    })?;
    Held::new(steps, kept.into_iter().flatten().collect(), env.limits)
}

/// The series whose hash falls into a share of all hashes.
pub(crate) fn limit_ratio(aggregation: &Aggregation<'_>, child: &dyn Operator) -> Result<Held, QueryError> {
    let env = aggregation.env;
    let steps = child.steps();
    let mut worker = crate::eval::Worker::default();
    let mut place = aggregation.place;
    place.position = aggregation.param_position;
    let mut ratios = Vec::with_capacity(steps);
    for step in 0..steps {
        let ratio = aggregation.param.as_ref().map_or(f64::NAN, |param| param.at(step));
        if ratio.is_nan() {
            return Err(QueryError::execution("Ratio value is NaN"));
        }
        let capped = ratio.clamp(-1.0, 1.0);
        if capped != ratio {
            Notes::new(&mut worker.annotations, place).invalid_ratio(ratio, capped);
        }
        ratios.push(capped);
    }
    env.settle(&mut worker);
    let _: NodeId = place.order;
    let heads = child.heads();
    let kept = parallel::run(env, heads.len(), (heads.len() * steps) as u64, |member, worker| {
        // Upstream's default build and ours hash label sets alike.
        let share = heads[member].labels.hash64() as f64 / 18_446_744_073_709_551_616.0;
        let belongs = |ratio: f64| (ratio >= 0.0 && share < ratio) || (ratio < 0.0 && share >= 1.0 + ratio);
        if !ratios.iter().any(|ratio| belongs(*ratio)) {
            hear(env, child, &[member], worker)?;
            return Ok(None);
        }
        let mut vector = StepVector::default();
        child.compute(member, worker, &mut vector)?;
        for (step, ratio) in ratios.iter().enumerate() {
            if !belongs(*ratio) {
                vector.clear(step);
            }
        }
        Ok(vector.any().then(|| (heads[member].clone(), vector)))
    })?;
    Held::new(steps, kept.into_iter().flatten().collect(), env.limits)
}
