//! Reach: which times does a plan look at, and how much is there to see?

use ferula_model::{Querier, SelectHints, StepGrid, TimeRange};

use super::{Kind, NodeId, Plan, Selector};
use crate::error::QueryError;
use crate::eval::select::{Reach, Reference};
use crate::eval::subquery::inner_grid;

/// What a query would cost at most, judged before it runs.
///
/// ```
/// use std::time::Duration;
/// use ferula_model::{Labels, Sample, StepGrid, Timestamp};
/// use ferula_promql::testing::MemoryStorage;
/// use ferula_promql::{Engine, EngineOptions, QueryOptions};
///
/// let storage = MemoryStorage::new();
/// storage.insert(&Labels::from_pairs([("__name__", "up")]), Sample::float(Timestamp(0), 1.0));
/// let grid = StepGrid::new(Timestamp(0), Timestamp(60_000), Duration::from_secs(30))?;
/// let estimate =
///     Engine::new(EngineOptions::default()).estimate(&storage, "rate(up[5m])", grid, &QueryOptions::default())?;
/// assert_eq!((estimate.series, estimate.steps, estimate.series_steps), (1, 3, 3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Estimate {
    /// Series that all selectors find together.
    pub series: u64,
    /// Steps of the query.
    pub steps: u64,
    /// Steps computed for all series, subqueries included.
    pub series_steps: u64,
}

/// All times that any selector looks at.
pub(crate) fn times_needed(plan: &Plan, grid: StepGrid, lookback_millis: i64) -> TimeRange {
    let mut needed: Option<TimeRange> = None;
    visit(plan, plan.root(), grid, &mut |_, selector, grid, range_millis| {
        let reference = Reference { grid, at_millis: selector.at_millis, offset_millis: selector.offset_millis };
        let times = Reach::of(selector, range_millis, lookback_millis).times(&reference);
        needed = Some(match needed {
            Some(known) => TimeRange::new(known.min.min(times.min), known.max.max(times.max)),
            None => times,
        });
    });
    needed.unwrap_or(TimeRange::new(grid.start(), grid.end()))
}

/// Counts the series of all selectors.
pub(crate) fn estimate(
    plan: &Plan,
    grid: StepGrid,
    lookback_millis: i64,
    querier: &dyn Querier,
) -> Result<Estimate, QueryError> {
    let mut estimate = Estimate { steps: grid.len() as u64, ..Estimate::default() };
    let mut failure = None;
    visit(plan, plan.root(), grid, &mut |_, selector, grid, range_millis| {
        let reference = Reference { grid, at_millis: selector.at_millis, offset_millis: selector.offset_millis };
        let range = Reach::of(selector, range_millis, lookback_millis).times(&reference);
        let hints = SelectHints { range: Some(range), labels_only: true, ..SelectHints::default() };
        match querier.select(&hints, &selector.matchers) {
            Ok(set) => {
                let series = set.len() as u64;
                estimate.series += series;
                estimate.series_steps += series.saturating_mul(grid.len() as u64);
            }
            Err(error) => failure = Some(error),
        }
    });
    failure.map_or(Ok(estimate), |error| Err(error.into()))
}

type Visitor<'a> = dyn FnMut(NodeId, &Selector, StepGrid, Option<i64>) + 'a;

/// Calls `see` for each selector with the grid it is evaluated on and the length of its window.
pub(super) fn visit(plan: &Plan, id: NodeId, grid: StepGrid, see: &mut Visitor<'_>) {
    match &plan.node(id).kind {
        Kind::Select(selector) => see(id, selector, grid, None),
        Kind::RangeSelect { selector, range_millis } => see(id, selector, grid, Some(*range_millis)),
        Kind::Invariant(child) => visit(plan, *child, StepGrid::instant(grid.start()), see),
        Kind::Subquery { child, range_millis, step_millis, offset_millis, at_millis } => {
            let reference = Reference { grid, at_millis: *at_millis, offset_millis: *offset_millis };
            let (first, last) = reference.span();
            if let Some(inner) = inner_grid(first.saturating_sub(*range_millis), last, *step_millis) {
                visit(plan, *child, inner, see);
            }
        }
        kind => {
            // `info` looks for its own series at the times of its operand, which is visited.
            for child in kind.children() {
                visit(plan, child, grid, see);
            }
        }
    }
}
