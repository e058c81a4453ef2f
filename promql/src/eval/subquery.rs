//! Subqueries: the steps of one expression as the samples of another's windows.

use std::sync::Arc;

use ferula_model::{CounterResetHint, StepGrid};

use super::steps::histogram_samples;
use super::{BoxOperator, Env, Head, Worker};
use crate::error::QueryError;

/// An operator over its own grid, read as samples.
pub(crate) struct SubquerySource<'q> {
    pub(crate) child: BoxOperator<'q>,
    pub(crate) grid: StepGrid,
    pub(crate) env: &'q Env<'q>,
}

impl SubquerySource<'_> {
    pub(crate) fn heads(&self) -> &[Head] {
        self.child.heads()
    }

    pub(crate) fn load(&self, index: usize, worker: &mut Worker) -> Result<(), QueryError> {
        let mut steps = worker.take(self.grid.len());
        self.child.compute(index, worker, &mut steps)?;
        worker.columns.clear();
        worker.float_histograms.clear();
        for step in steps.present.iter() {
            worker.columns.times.push(self.grid.at(step).as_millis());
            worker.columns.values.push(steps.floats[step]);
        }
        let mut samples = worker.columns.times.len() as u64;
        for (step, histogram) in steps.histograms.iter().enumerate() {
            let Some(histogram) = histogram else { continue };
            samples += histogram_samples(histogram);
            worker.columns.histogram_times.push(self.grid.at(step).as_millis());
            worker.float_histograms.push(match histogram.counter_reset {
                // What a hint says about the sample before need not hold for the step before.
                CounterResetHint::Reset | CounterResetHint::NotReset => {
                    let mut unknown = (**histogram).clone();
                    unknown.counter_reset = CounterResetHint::Unknown;
                    Arc::new(unknown)
                }
                CounterResetHint::Unknown | CounterResetHint::Gauge => Arc::clone(histogram),
            });
        }
        worker.give(steps);
        worker.reserve(self.env.limits, samples)
    }
}

/// The grid on which the expression of a subquery is evaluated: multiples of the step, from the first one inside the
/// first window to the end of the last. `None` if no multiple lies there.
pub(crate) fn inner_grid(first_start: i64, last_end: i64, step_millis: i64) -> Option<StepGrid> {
    if step_millis <= 0 {
        return None;
    }
    let start = first_start.div_euclid(step_millis).checked_add(1)?.checked_mul(step_millis)?;
    if start > last_end {
        return None;
    }
    let step = std::time::Duration::from_millis(step_millis as u64);
    StepGrid::new(ferula_model::Timestamp(start), ferula_model::Timestamp(last_end), step).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_steps_are_multiples_within_the_window() {
        let grid = inner_grid(-200, 250, 100).unwrap();
        assert_eq!((grid.at(0).as_millis(), grid.len()), (-100, 4));
        assert!(inner_grid(10, 90, 100).is_none());
    }
}
