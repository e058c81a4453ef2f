//! What must hold for the evaluation of any text: shared by a fuzz target and the replay of its corpus.

use std::sync::OnceLock;
use std::time::Duration;

use ferula_model::{Sample, StepGrid, Timestamp};
use ferula_promql::syntax::{Dialect, Features};
use ferula_promql::testing::{MemoryStorage, parse_series_line};
use ferula_promql::{Answer, Engine, EngineOptions, QueryError, QueryOptions, Value};

/// Small, but with every kind of sample.
const SERIES: &[&str] = &[
    "a{job=\"x\",instance=\"1\"} 0+10x20",
    "a{job=\"x\",instance=\"2\"} 5 10 3 _ stale 4 NaN Inf -Inf 1e308 -0 7",
    "b{job=\"x\"} 1 2 _x5 3",
    "l_bucket{le=\"1\"} 0+1x20",
    "l_bucket{le=\"+Inf\"} 0+2x20",
    "l_bucket{le=\"no\"} 1x20",
    "h {{schema:1 count:5 sum:9 z_bucket:1 z_bucket_w:0.1 buckets:[1 2 1]}}+{{schema:1 count:2 sum:3 buckets:[1 0 1]}}x20",
    "g {{schema:0 count:3 sum:2 n_buckets:[1 1] buckets:[1] counter_reset_hint:gauge}}x20",
    "c {{schema:-53 count:4 sum:5 custom_values:[1 2 5] buckets:[1 1 1 1]}}x9 {{schema:-53 count:2 sum:1 custom_values:[2] buckets:[1 1]}}x9",
    "m 1 2 {{count:1 sum:1 buckets:[1]}} 3 {{schema:-53 count:1 sum:1 custom_values:[1] buckets:[1]}}",
    "target_info{job=\"x\",instance=\"1\",cluster=\"y\"} 1x20",
];

const INTERVAL: i64 = 15_000;
/// How many samples a query may hold: a few times as many as there are.
const SAMPLES_MAX: u64 = 20_000;

struct Setting {
    storage: MemoryStorage,
    engines: [Engine; 2],
}

fn setting() -> &'static Setting {
    static SETTING: OnceLock<Setting> = OnceLock::new();
    SETTING.get_or_init(|| {
        let storage = MemoryStorage::new();
        for line in SERIES {
            let line = parse_series_line(line).expect("a series");
            for (at, point) in (0..).step_by(INTERVAL as usize).zip(line.points) {
                let Some(point) = point else { continue };
                let timestamp = Timestamp::from_millis(at);
                storage.insert(&line.labels, Sample { timestamp, start: None, value: point.value });
            }
        }
        let engine = |delayed_name_removal| {
            let mut options = EngineOptions::default();
            options.dialect = Dialect { features: Features::all(), functions: Vec::new() };
            options.delayed_name_removal = delayed_name_removal;
            (options.threads, options.max_samples, options.max_bytes) = (1, SAMPLES_MAX, 16 << 20);
            Engine::new(options)
        };
        Setting { storage, engines: [engine(false), engine(true)] }
    })
}

/// Evaluation ends, with an answer in good order or with an error of the query; within the limits of the engine.
pub(crate) fn evaluation_ends_well(text: &str) {
    let Setting { storage, engines } = setting();
    let at = Timestamp::from_millis(20 * INTERVAL);
    let grid = StepGrid::new(Timestamp::from_millis(7_000), at, Duration::from_secs(20)).expect("a grid");
    for engine in engines {
        let options = QueryOptions::default();
        for (answer, grid) in [
            (engine.instant(storage, text, at, &options), StepGrid::instant(at)),
            (engine.range(storage, text, grid, &options), grid),
        ] {
            match answer {
                Ok(answer) => in_good_order(&answer, grid, text),
                Err(QueryError::Storage(error)) => panic!("the storage has no errors: {error}"),
                Err(error) => assert!(!error.to_string().is_empty(), "errors say something"),
            }
        }
    }
}

/// Each label set once, series of a matrix by rising labels, points by rising time; on the grid, unless they are samples.
fn in_good_order(answer: &Answer, grid: StepGrid, text: &str) {
    let samples = answer.statistics.samples.peak;
    assert!(samples <= SAMPLES_MAX, "{text}: holds {samples} samples");
    match &answer.value {
        Value::Scalar { .. } | Value::String { .. } => {}
        Value::Vector(samples) => {
            let mut labels: Vec<_> = samples.iter().map(|sample| &sample.labels).collect();
            labels.sort();
            assert!(labels.is_sorted_by(|a, b| a < b), "{text}: a label set is there twice");
        }
        Value::Matrix(series) => {
            assert!(series.is_sorted_by(|a, b| a.labels < b.labels), "{text}: series are out of order");
            for series in series {
                let times: Vec<_> = series.points().map(|(at, _)| at).collect();
                assert!(!times.is_empty() && times.is_sorted_by(|a, b| a < b), "{text}: points are out of order");
                let on_grid = |at: &Timestamp| (at.0 - grid.start().0) % grid.step_millis() == 0;
                assert!(grid.len() == 1 || times.iter().all(on_grid), "{text}: points beside the steps");
            }
        }
    }
}
