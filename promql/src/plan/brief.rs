//! Brevity: is there so little to do that a thread that must not be held up may do it?
//!
//! A server that hands each query to another thread and waits for it pays two changes of threads, tens of microseconds: for
//! most of the queries of a dashboard more than for the query itself. The judgement is made before anything is read, from
//! upper bounds that the storage knows at once, and it errs towards "no".

use ferula_model::{Querier, Question, StepGrid};

use super::reach::visit;
use super::{Kind, Plan};
use crate::eval::select::{Reach, Reference};
use crate::functions::FunctionId;

/// A query that takes no longer than this is brief.
const BRIEF_NANOS: u64 = 1_000_000;

/// A longer text is not even parsed.
pub(crate) const BRIEF_TEXT_BYTES: usize = 4 << 10;

// What things cost, on the machines that this was measured on (2026-11-28), rounded up.

/// To find a series, to begin to read it and to write its labels.
const SERIES_NANOS: u64 = 1_500;
/// To decode a sample.
const SAMPLE_NANOS: u64 = 8;
/// To look at a sample in one window more.
const WINDOW_SAMPLE_NANOS: u64 = 2;
/// To write a point of the answer.
const POINT_NANOS: u64 = 80;
/// For one operation to take a series, and to compute one step of it.
const OPERATION_NANOS: u64 = 200;
const STEP_NANOS: u64 = 10;

/// How far samples are taken to be apart. Where they are nearer, a brief query takes a few times longer than foreseen.
const SAMPLE_DISTANCE_MILLIS: u64 = 10_000;

/// Whether a plan is known to be brief over this storage.
pub(crate) fn is_brief(plan: &Plan, grid: StepGrid, lookback_millis: i64, querier: &dyn Querier) -> bool {
    // What functions of the host cost is not known, nor how many series `info` finds.
    let unknown = |kind: &Kind| matches!(kind, Kind::HostCall { .. } | Kind::Call { function: FunctionId::Info, .. });
    if plan.nodes().any(|(_, node)| unknown(&node.kind)) {
        return false;
    }
    let operations = plan.nodes().count() as u64;
    let computing =
        |steps: u64| operations.saturating_mul(OPERATION_NANOS.saturating_add(steps.saturating_mul(STEP_NANOS)));
    let mut nanos = Some(computing(grid.len() as u64));
    visit(plan, plan.root(), grid, &mut |_, selector, grid, range_millis| {
        let reference = Reference { grid, at_millis: selector.at_millis, offset_millis: selector.offset_millis };
        let times = Reach::of(selector, range_millis, lookback_millis).times(&reference);
        nanos = nanos.and_then(|nanos| {
            let series = querier.at_most(Question::Series(&selector.matchers), times)? as u64;
            let steps = grid.len() as u64;
            let samples = |millis: u64| millis / SAMPLE_DISTANCE_MILLIS + 1;
            let read = samples(times.max.as_millis().abs_diff(times.min.as_millis())).saturating_mul(SAMPLE_NANOS);
            let in_windows = samples(range_millis.unwrap_or(0).unsigned_abs()).saturating_mul(steps);
            let each = SERIES_NANOS
                .saturating_add(read)
                .saturating_add(in_windows.saturating_mul(WINDOW_SAMPLE_NANOS))
                .saturating_add(steps.saturating_mul(POINT_NANOS))
                .saturating_add(computing(steps));
            Some(nanos.saturating_add(series.saturating_mul(each)))
        });
    });
    nanos.is_some_and(|nanos| nanos <= BRIEF_NANOS)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ferula_model::{Labels, Sample, Timestamp};

    use crate::testing::MemoryStorage;
    use crate::{Engine, EngineOptions, QueryError, QueryOptions};

    use super::*;

    fn is_answered(series: usize, query: &str, minutes: i64) -> bool {
        let storage = MemoryStorage::new();
        for number in 0..series {
            let labels = Labels::from_pairs([("__name__", "up"), ("number", number.to_string().as_str())]);
            storage.insert(&labels, Sample::float(Timestamp(0), 1.0));
        }
        let engine = Engine::new(EngineOptions::default());
        let grid = StepGrid::new(Timestamp(0), Timestamp(minutes * 60_000), Duration::from_secs(60)).unwrap();
        let mut options = QueryOptions::default();
        let full = engine.range(&storage, query, grid, &options).unwrap();
        options.only_if_brief = true;
        match engine.range(&storage, query, grid, &options) {
            Ok(answer) => {
                assert_eq!(format!("{:?}", answer.value), format!("{:?}", full.value));
                assert_eq!(engine.statistics().queries, 2);
                true
            }
            Err(QueryError::NotBrief) => {
                assert_eq!(engine.statistics().queries, 1);
                false
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn what_is_much_in_any_way_is_not_brief() {
        assert!(is_answered(20, "up", 10));
        assert!(is_answered(20, "sum by (number) (rate(up[5m])) / 2", 10));
        assert!(is_answered(0, "absent(up)", 60));
        assert!(!is_answered(1000, "up", 0), "many series");
        assert!(!is_answered(20, "up", 5000), "many steps");
        assert!(!is_answered(20, "avg_over_time(up[1w])", 0), "many samples");
        assert!(!is_answered(20, "stddev_over_time(up[6h])", 60), "many windows");
        assert!(!is_answered(20, "max_over_time(up[1d:1s])", 0), "many steps of a subquery");
        assert!(!is_answered(0, &format!("absent(up){}", " ".repeat(BRIEF_TEXT_BYTES)), 0), "a long text");
    }

    #[test]
    fn what_is_wrong_and_what_must_wait_is_not_brief() {
        let storage = MemoryStorage::new();
        let options = EngineOptions::default();
        let engine = Engine::new(options);
        let ask = |query: &str, timeout| {
            let mut options = QueryOptions::default();
            (options.only_if_brief, options.timeout) = (true, timeout);
            engine.instant(&storage, query, Timestamp(0), &options)
        };
        assert!(ask("up", None).is_ok());
        assert!(matches!(ask("up{", None), Err(QueryError::NotBrief)));
        assert!(matches!(ask("up", Some(Duration::ZERO)), Err(QueryError::NotBrief)));
    }
}
