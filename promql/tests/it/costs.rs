//! What queries cost: told by `analyze`, and limited for all queries of an engine together.

use std::time::Duration;

use ferula_model::{Labels, Sample, StepGrid, Timestamp};
use ferula_promql::testing::MemoryStorage;
use ferula_promql::{Engine, EngineOptions, QueryError, QueryOptions};

/// 200 counters, a sample each minute for ten minutes.
fn storage() -> MemoryStorage {
    let storage = MemoryStorage::new();
    for series in 0..200 {
        let labels = Labels::from_pairs([("__name__", "m"), ("n", format!("{series}").as_str())]);
        for minute in 0..10 {
            storage.insert(&labels, Sample::float(Timestamp::from_millis(minute * 60_000), (series + minute) as f64));
        }
    }
    storage
}

fn grid(steps: i64) -> StepGrid {
    StepGrid::new(Timestamp::from_millis(0), Timestamp::from_millis(steps - 1), Duration::from_millis(1))
        .expect("a grid")
}

#[test]
fn an_analyzed_plan_tells_what_each_operation_cost() {
    let engine = Engine::new(EngineOptions::default());
    let query = "sum(rate(m[5m] offset -5m)) + 1";
    let (_, plan) = engine.analyze(&storage(), query, grid(100), &QueryOptions::default()).expect("an answer");
    let line = |what: &str| plan.lines().find(|line| line.contains(what)).unwrap_or_default().to_owned();
    assert!(line("rate()").contains("200 series, 20000 samples"), "{plan}");
    assert!(line("aggregate sum").contains("1 series, 100 samples"), "{plan}");
}

#[test]
fn all_queries_together_have_a_limit_and_give_everything_back() {
    let mut options = EngineOptions::default();
    options.max_bytes_together = 10_000;
    let engine = Engine::new(options);
    let outcome = engine.range(&storage(), "m + 1", grid(1_000), &QueryOptions::default());
    let error = outcome.expect_err("too much");
    assert!(matches!(error, QueryError::TooManyBytesTogether { limit: 10_000 }), "{error}");
    assert!(error.is_retryable(), "others may be done later");
    assert_eq!(engine.statistics().bytes, 0);
}
