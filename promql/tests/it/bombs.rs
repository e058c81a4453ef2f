//! Query bombs: short texts that ask for more than anybody has. Each ends with a typed error, within the engine's limits.

use std::time::Duration;

use ferula_model::{Labels, Sample, StepGrid, Timestamp};
use ferula_promql::syntax::{Dialect, Features};
use ferula_promql::testing::MemoryStorage;
use ferula_promql::{Answer, CancelToken, Engine, EngineOptions, QueryError, QueryOptions};

/// 100 series with 100 samples each, all values different.
fn storage() -> MemoryStorage {
    let storage = MemoryStorage::new();
    for series in 0..100 {
        let labels = Labels::from_pairs([("__name__", "a"), ("series", &series.to_string()), ("x", "0123456789")]);
        for sample in 0..100 {
            let at = Timestamp::from_millis(sample * 15_000);
            storage.insert(&labels, Sample::float(at, (series * 1_000 + sample) as f64 + 0.5));
        }
    }
    storage
}

fn engine() -> Engine {
    let mut options = EngineOptions::default();
    options.dialect = Dialect { features: Features::all(), functions: Vec::new() };
    (options.max_samples, options.max_bytes) = (200_000, 32 << 20);
    Engine::new(options)
}

fn over(query: &str, seconds: i64, step: Duration) -> Result<Answer, QueryError> {
    let grid = StepGrid::new(Timestamp(0), Timestamp(seconds * 1_000), step).expect("a grid");
    engine().range(&storage(), query, grid, &QueryOptions::default())
}

fn at(query: &str) -> Result<Answer, QueryError> {
    engine().instant(&storage(), query, Timestamp(1_000_000), &QueryOptions::default())
}

fn is_limit(error: &QueryError) -> bool {
    matches!(error, QueryError::TooManySamples { .. } | QueryError::TooManyBytes { .. })
}

/// The query wrapped often in a call that makes it grow.
fn nested(times: usize, open: &str, close: &str) -> String {
    format!("{}a{}", open.repeat(times), close.repeat(times))
}

#[test]
fn a_thousand_million_steps() {
    for query in [
        "a",
        "1",
        "time()",
        "vector(1)",
        "sum(rate(a[5m]))",
        "absent(a)",
        "a + a",
        "topk(1, a)",
        "a @ 0",
        "-a",
        "hour()",
    ] {
        let error = over(query, 1_000_000_000, Duration::from_secs(1)).expect_err(query);
        assert!(is_limit(&error), "{query}: {error}");
    }
}

#[test]
fn subqueries_of_ages() {
    for query in [
        "sum_over_time(a[10000d:1ms])",
        "count_over_time(vector(1)[10000d:1ms])",
        "max_over_time(time()[10000d:1ms])",
        "sum_over_time(sum_over_time(sum_over_time(a[1d:1s])[1d:1s])[1d:1s])",
        "absent_over_time(absent(b)[10000d:1ms])",
    ] {
        // A scalar is no operand of a subquery: upstream refuses it too.
        let error = at(query).expect_err(query);
        assert!(is_limit(&error) || matches!(error, QueryError::Parse(_)), "{query}: {error}");
    }
}

#[test]
fn labels_that_double() {
    for query in [
        nested(60, "label_replace(", ", \"x\", \"$1$1\", \"x\", \"(.*)\")"),
        nested(60, "label_join(", ", \"x\", \"\", \"x\", \"x\")"),
    ] {
        let error = at(&query).expect_err(&query);
        assert!(is_limit(&error) || error.to_string().contains("longer than"), "{error}");
    }
    let references = "$1".repeat(20_000);
    let wide = format!(
        "label_replace(label_replace(a, \"x\", \"{references}\", \"x\", \"(.*)\"), \"x\", \"{references}\", \"x\", \"(.*)\")"
    );
    let error = at(&wide).expect_err("wide");
    assert!(is_limit(&error) || error.to_string().contains("longer than"), "{error}");
}

#[test]
fn values_that_become_labels() {
    let error = over("count_values(\"v\", a * (1 + time()))", 100_000, Duration::from_secs(10)).expect_err("too many");
    assert!(is_limit(&error), "{error}");
}

#[test]
fn expressions_that_explode() {
    for regex in ["(x{1000}){1000}", "((a*)*)*((b{500}){500}){500}", &"(".repeat(5_000)] {
        for query in [format!("a{{x=~\"{regex}\"}}"), format!("label_replace(a, \"x\", \"\", \"x\", \"{regex}\")")] {
            assert!(at(&query).is_err(), "{regex:.40}");
        }
    }
    // Where it is small enough to be compiled, matching takes linear time.
    assert!(at("a{x=~\"(0|01|012|0123)*(.*)*(.*)*(.*)*y\"}").is_ok());
}

#[test]
fn who_gives_up_is_heard() {
    let cancel = CancelToken::new();
    cancel.cancel();
    let mut options = QueryOptions::default();
    options.cancel = cancel;
    let error = engine().instant(&storage(), "sum(rate(a[5m]))", Timestamp(1_000_000), &options).expect_err("given up");
    assert!(matches!(error, QueryError::Canceled { .. }), "{error}");
    let mut options = QueryOptions::default();
    options.timeout = Some(Duration::ZERO);
    let error = engine().instant(&storage(), "sum(rate(a[5m]))", Timestamp(1_000_000), &options).expect_err("late");
    assert!(matches!(error, QueryError::Timeout { .. }), "{error}");
}
