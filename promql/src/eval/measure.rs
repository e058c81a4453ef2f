//! Measures: what does each operation of a plan cost?
//!
//! For [`analyze`](crate::Engine::analyze), operators are wrapped: the time they are built and computed in, the series they
//! have, the samples and bytes that came out. Times include those of the operands, and add up over threads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::steps::StepVector;
use super::{BoxOperator, Head, Operator, Worker};
use crate::error::QueryError;
use crate::plan::{NodeId, Plan};

/// What one operation cost.
#[derive(Debug, Default)]
struct Cost {
    nanos: AtomicU64,
    series: AtomicU64,
    samples: AtomicU64,
    bytes: AtomicU64,
}

/// What each operation of a plan cost.
#[derive(Debug)]
pub(crate) struct Measures(Vec<Cost>);

impl Measures {
    pub(crate) fn of(plan: &Plan) -> Self {
        Self(plan.nodes().map(|_| Cost::default()).collect())
    }

    /// Notes how long an operation was in the building, and of how many series; gives back the operator that notes the rest.
    pub(crate) fn wrap<'q>(&'q self, id: NodeId, began: Instant, operator: BoxOperator<'q>) -> BoxOperator<'q> {
        let Some(cost) = self.0.get(id.0) else { return operator };
        add(&cost.nanos, nanos(began.elapsed()));
        add(&cost.series, operator.heads().len() as u64);
        if operator.is_held() {
            for index in 0..operator.heads().len() {
                operator.held(index).into_iter().for_each(|vector| cost.count(vector));
            }
            return operator;
        }
        Box::new(Measured { operator, cost })
    }

    /// `time, series, samples, bytes` of an operation; nothing if it was not evaluated by itself.
    pub(crate) fn describe(&self, id: NodeId) -> Option<String> {
        let cost = self.0.get(id.0)?;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&cost.nanos) > 0).then(|| {
            format!(
                "{:?}, {} series, {} samples, {} bytes",
                Duration::from_nanos(read(&cost.nanos)),
                read(&cost.series),
                read(&cost.samples),
                read(&cost.bytes)
            )
        })
    }
}

impl Cost {
    fn count(&self, vector: &StepVector) {
        add(&self.samples, vector.samples());
        add(&self.bytes, vector.heap_bytes());
    }
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// An operator whose work is measured.
struct Measured<'q> {
    operator: BoxOperator<'q>,
    cost: &'q Cost,
}

impl Operator for Measured<'_> {
    fn heads(&self) -> &[Head] {
        self.operator.heads()
    }

    fn steps(&self) -> usize {
        self.operator.steps()
    }

    fn compute(&self, index: usize, worker: &mut Worker, out: &mut StepVector) -> Result<(), QueryError> {
        let began = Instant::now();
        let outcome = self.operator.compute(index, worker, out);
        add(&self.cost.nanos, nanos(began.elapsed()));
        self.cost.count(out);
        outcome
    }

    fn is_distinct(&self) -> bool {
        self.operator.is_distinct()
    }

    fn is_silent(&self) -> bool {
        self.operator.is_silent()
    }
}
