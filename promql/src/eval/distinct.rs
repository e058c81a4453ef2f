//! Distinct series: what if two have the same labels?
//!
//! Dropping or rewriting labels can make series equal. Equal series that never meet at a step become one series; where
//! they meet, the query has no answer.

use super::label_sets::ByLabels;
use super::steps::StepVector;
use super::{BoxOperator, Head, Operator, Worker};
use crate::error::QueryError;

/// What is done about equal series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Equal {
    /// They become one, if they never meet.
    Merge,
    /// Two that both have points are an error, even if they never meet.
    Refuse,
}

/// The error for equal series.
pub(crate) fn same_labelset() -> QueryError {
    QueryError::execution("vector cannot contain metrics with the same labelset")
}

/// The operator itself if its labels differ, else one in which each label set appears once.
pub(crate) fn distinct(child: BoxOperator<'_>, equal: Equal) -> BoxOperator<'_> {
    if child.is_distinct() || all_differ(child.heads()) {
        return child;
    }
    let mut first = ByLabels::with_capacity(child.heads().len());
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (index, head) in child.heads().iter().enumerate() {
        let group = *first.entry(head.labels.clone()).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[group].push(index);
    }
    let heads = groups.iter().map(|group| child.heads()[group[0]].clone()).collect();
    Box::new(Distinct { child, heads, groups, equal })
}

/// Whether no two series have the same labels.
fn all_differ(heads: &[Head]) -> bool {
    let mut hashes: Vec<u64> = heads.iter().map(|head| head.labels.hash64()).collect();
    hashes.sort_unstable();
    // Equal hashes of different labels only mean that the labels are looked at.
    hashes.windows(2).all(|pair| pair[0] != pair[1])
}

struct Distinct<'q> {
    child: BoxOperator<'q>,
    heads: Vec<Head>,
    groups: Vec<Vec<usize>>,
    equal: Equal,
}

impl Operator for Distinct<'_> {
    fn heads(&self) -> &[Head] {
        &self.heads
    }

    fn steps(&self) -> usize {
        self.child.steps()
    }

    fn compute(&self, index: usize, worker: &mut Worker, out: &mut StepVector) -> Result<(), QueryError> {
        let group = &self.groups[index];
        self.child.compute(group[0], worker, out)?;
        for &member in &group[1..] {
            let mut other = worker.take(self.steps());
            self.child.compute(member, worker, &mut other)?;
            let verdict = merge(out, &other, self.equal);
            worker.give(other);
            verdict?;
        }
        Ok(())
    }
}

/// Adds the points of `other` to `into`.
pub(crate) fn merge(into: &mut StepVector, other: &StepVector, equal: Equal) -> Result<(), QueryError> {
    if !other.any() {
        return Ok(());
    }
    if equal == Equal::Refuse && into.any() {
        return Err(same_labelset());
    }
    for step in 0..other.steps() {
        if let Some(point) = other.get(step) {
            if into.has(step) {
                return Err(same_labelset());
            }
            into.set(step, point.to_point());
        }
    }
    Ok(())
}
