//! Below an aggregation a series has only the labels that are looked at. It must not show.

use std::time::Duration;

use ferula_model::{Labels, Sample, StepGrid, Timestamp};
use ferula_promql::testing::MemoryStorage;
use ferula_promql::{Engine, EngineOptions, QueryError, QueryOptions};

const END: Timestamp = Timestamp(600_000);

/// Counters that rise by six a minute, in the order of their labels.
fn storage(series: &[&[(&str, &str)]]) -> MemoryStorage {
    let storage = MemoryStorage::new();
    for labels in series {
        let labels = Labels::from_pairs(labels.iter().copied());
        for minute in 0..=10 {
            storage.insert(&labels, Sample::float(Timestamp(minute * 60_000), 6.0 * minute as f64));
        }
    }
    storage
}

fn answer(storage: &MemoryStorage, query: &str) -> Result<Vec<(String, f64)>, QueryError> {
    let engine = Engine::new(EngineOptions::default());
    let grid = StepGrid::new(Timestamp(300_000), END, Duration::from_secs(60)).expect("a grid");
    let answer = engine.range(storage, query, grid, &QueryOptions::default())?;
    let last = |series: &ferula_promql::Series| series.floats.last().map_or(f64::NAN, |point| point.value);
    Ok(answer.matrix()?.iter().map(|series| (series.labels.to_string(), last(series))).collect())
}

#[test]
fn the_plan_says_which_labels_are_read() {
    let engine = Engine::new(EngineOptions::default());
    let plan = |query| engine.explain(query, StepGrid::instant(END)).expect("a plan");
    for (query, labels) in [
        ("sum(x)", Some("__name__")),
        ("sum by (job) (rate(x[5m]))", Some("__name__, job")),
        ("count by (b, a) (-abs(x) * 2)", Some("__name__, a, b")),
        ("max(max_over_time(rate(x[1m])[5m:1m]))", Some("__name__")),
        ("sum without (job) (x)", None),
        ("topk by (job) (1, x)", None),
        ("sum(label_replace(x, \"a\", \"b\", \"c\", \"d\"))", None),
        ("sum(sort(x))", None),
        ("sum(x) + count(x)", None),
        ("sum(x * on (a) y)", None),
    ] {
        let plan = plan(query);
        match labels {
            Some(labels) => assert!(plan.contains(&format!("only labels ({labels})")), "{query}\n{plan}"),
            None => assert!(!plan.contains("only labels"), "{query}\n{plan}"),
        }
    }
}

#[test]
fn series_that_differ_in_other_labels_are_not_one() {
    let storage = storage(&[
        &[("__name__", "a"), ("host", "1"), ("job", "x")],
        &[("__name__", "a"), ("host", "2"), ("job", "x")],
        &[("__name__", "a"), ("host", "2"), ("job", "y")],
        &[("__name__", "b"), ("host", "3"), ("job", "y")],
    ]);
    let by_job = |query| answer(&storage, query).expect("an answer");
    let expected = |x: f64, y: f64| vec![("{job=\"x\"}".to_owned(), x), ("{job=\"y\"}".to_owned(), y)];
    assert_eq!(by_job("sum by (job) (increase(a[5m]))"), expected(60.0, 30.0));
    assert_eq!(by_job("sum by (job) (increase({__name__=~\"a|b\"}[5m]))"), expected(60.0, 60.0));
    assert_eq!(by_job("count by (job) ({host!=\"\"})"), expected(2.0, 2.0));
}

#[test]
fn series_that_differ_in_the_name_only_still_clash_when_it_is_dropped() {
    let series: &[&[(&str, &str)]] = &[&[("__name__", "a"), ("job", "x")], &[("__name__", "b"), ("job", "x")]];
    let named = storage(series);
    for query in ["sum(rate({job=\"x\"}[5m]))", "sum by (job) ({job=\"x\"} * 2)", "count(-{job=\"x\"})"] {
        let error = answer(&named, query).expect_err(query);
        assert_eq!(error.to_string(), "vector cannot contain metrics with the same labelset", "{query}");
    }
    assert_eq!(answer(&named, "count({job=\"x\"})").expect("names are there"), [("{}".to_owned(), 2.0)]);
    // Type and unit are dropped with the name.
    let typed = storage(&[
        &[("__name__", "a"), ("__type__", "counter"), ("job", "x")],
        &[("__name__", "a"), ("__type__", "gauge"), ("job", "x")],
    ]);
    let error = answer(&typed, "sum(rate(a[5m]))").expect_err("equal without types");
    assert_eq!(error.to_string(), "vector cannot contain metrics with the same labelset");
}
