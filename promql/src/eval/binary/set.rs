//! `and`, `or`, `unless`: which series of two sides stay?

use super::matching::{Meeting, Signature, meetings};
use crate::check::SetOp;
use crate::error::QueryError;
use crate::eval::steps::{Bitmap, StepVector};
use crate::eval::{BoxOperator, Env, Head, Operator, Worker, hear};

/// A set operation. The presence of the other side is held (a bit for each step and signature), its values are not.
pub(crate) struct SetOperation<'q> {
    left: BoxOperator<'q>,
    /// Only of `or`.
    right: Option<BoxOperator<'q>>,
    heads: Vec<Head>,
    /// For each series of the result, which of `masks` applies.
    mask_of: Vec<Option<usize>>,
    masks: Vec<Bitmap>,
    /// Whether a series stays where its mask is set, or where it is not.
    keeps_masked: bool,
}

impl<'q> SetOperation<'q> {
    pub(crate) fn new(
        env: &Env<'_>,
        op: SetOp,
        left: BoxOperator<'q>,
        right: BoxOperator<'q>,
        signature: Signature<'_>,
    ) -> Result<Self, QueryError> {
        let meetings = meetings(left.heads(), right.heads(), signature);
        let steps = left.steps();
        match op {
            SetOp::And | SetOp::Unless => {
                let (masks, of) = masks(env, &*right, &meetings, steps, |meeting| (&meeting.right, &meeting.left))?;
                let mask_of = (0..left.heads().len()).map(|index| of.get(&index).copied()).collect();
                let heads = left.heads().to_vec();
                Ok(Self { left, right: None, heads, mask_of, masks, keeps_masked: op == SetOp::And })
            }
            SetOp::Or => {
                let (masks, of) = masks(env, &*left, &meetings, steps, |meeting| (&meeting.left, &meeting.right))?;
                let lefts = left.heads().len();
                let rights = (0..right.heads().len()).map(|index| of.get(&index).copied());
                let mask_of = std::iter::repeat_n(None, lefts).chain(rights).collect();
                let heads = left.heads().iter().chain(right.heads()).cloned().collect();
                Ok(Self { left, right: Some(right), heads, mask_of, masks, keeps_masked: false })
            }
        }
    }
}

type MaskOf = std::collections::HashMap<usize, usize>;

/// For each meeting of both sides, where its `sources` are present; and which of these masks is for which target.
fn masks(
    env: &Env<'_>,
    source: &dyn Operator,
    meetings: &[Meeting],
    steps: usize,
    sides: impl Fn(&Meeting) -> (&Vec<usize>, &Vec<usize>) + Sync,
) -> Result<(Vec<Bitmap>, MaskOf), QueryError> {
    let both: Vec<&Meeting> = meetings.iter().filter(|m| !m.left.is_empty() && !m.right.is_empty()).collect();
    let weight = (source.heads().len() as u64).saturating_mul(steps as u64);
    let masks = crate::eval::parallel::run(env, both.len(), weight, |index, worker| {
        let (sources, _) = sides(both[index]);
        let mut mask = Bitmap::with_steps(steps);
        let mut vector = worker.take(steps);
        for &member in sources {
            source.compute(member, worker, &mut vector)?;
            mask.union(&vector.presence());
        }
        worker.give(vector);
        Ok(mask)
    })?;
    let alone = meetings.iter().filter(|meeting| sides(meeting).1.is_empty()).flat_map(|meeting| sides(meeting).0);
    let mut worker = Worker::default();
    hear(env, source, alone, &mut worker)?;
    env.settle(&mut worker);
    let mut of = MaskOf::new();
    for (index, meeting) in both.iter().enumerate() {
        for &target in sides(meeting).1 {
            of.insert(target, index);
        }
    }
    Ok((masks, of))
}

impl Operator for SetOperation<'_> {
    fn heads(&self) -> &[Head] {
        &self.heads
    }

    fn steps(&self) -> usize {
        self.left.steps()
    }

    fn compute(&self, index: usize, worker: &mut Worker, out: &mut StepVector) -> Result<(), QueryError> {
        let lefts = self.left.heads().len();
        let is_and_unless = self.right.is_none();
        if is_and_unless && self.keeps_masked && self.mask_of[index].is_none() {
            if !self.left.is_silent() {
                self.left.compute(index, worker, out)?;
            }
            out.reset(self.steps());
            return Ok(());
        }
        match &self.right {
            Some(right) if index >= lefts => right.compute(index - lefts, worker, out)?,
            _ => self.left.compute(index, worker, out)?,
        }
        let Some(mask) = self.mask_of[index] else { return Ok(()) };
        for step in 0..out.steps() {
            if self.masks[mask].get(step) != self.keeps_masked {
                out.clear(step);
            }
        }
        Ok(())
    }

    fn is_silent(&self) -> bool {
        self.left.is_silent() && self.right.as_ref().is_none_or(|right| right.is_silent())
    }
}
