//! The hot paths in one process, without sockets: parsing, appending, remote write, querying.
//!
//! `cargo bench --bench hot_paths [NAME]`. Each line is a median of several rounds; compare lines of one run with each
//! other, not runs on busy machines.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench stops at the first thing that goes wrong")]

#[path = "../tests/support/write_request.rs"]
mod write_request;

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferula::exposition::{Event, Format, ParseOptions, Parser};
use ferula::model::{Appendable, Clock, ManualClock, SeriesRef, StepGrid, Timestamp};
use ferula::promql::{Engine, EngineOptions, QueryOptions};
use ferula::remote::write::WriteReceiver;
use ferula::tsdb::Db;
use write_request::WriteRequest;

const ROUNDS: usize = 9;
const SERIES: usize = 10_000;
/// Samples of each series when queries are measured: an hour, one each 15 s.
const SAMPLES: i64 = 240;
const STEP_MILLIS: i64 = 15_000;
const FIRST: i64 = 1_700_000_000_000;

fn main() {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    for (name, bench) in
        [("parse", parse as fn()), ("append", append), ("remote_write", remote_write), ("query", query)]
    {
        if name.contains(&wanted) {
            bench();
        }
    }
}

/// Runs `round` several times and prints what one of its `units` costs in the middle one.
fn measure(name: &str, unit: &str, units: usize, mut round: impl FnMut()) {
    round();
    let mut took: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            round();
            began.elapsed()
        })
        .collect();
    took.sort();
    let median = took[ROUNDS / 2].as_secs_f64();
    let each = median * 1e9 / units as f64;
    println!("{name:<34} {:>12.0} {unit}/s {each:>10.1} ns/{unit}", units as f64 / median);
}

fn parse() {
    let mut body = String::new();
    for family in 0..SERIES / 10 {
        // A `String` takes everything that is written to it.
        let _ = writeln!(body, "# TYPE requests_{family}_total counter");
        for code in 0..10 {
            let _ = writeln!(body, "requests_{family}_total{{code=\"{code}\",method=\"GET\"}} {}", family * code);
        }
    }
    for (name, text) in [("parse text", body.clone()), ("parse OpenMetrics", body + "# EOF\n")] {
        let format = if text.ends_with("EOF\n") { Format::OpenMetrics } else { Format::Text };
        measure(name, "sample", SERIES, || {
            let mut parser = Parser::new(text.as_bytes(), format, &ParseOptions::default());
            let mut samples = 0;
            while let Some(event) = parser.next() {
                samples += usize::from(matches!(event.unwrap(), Event::Sample(_)));
            }
            assert_eq!(samples, SERIES);
        });
    }
}

fn database() -> (tempfile::TempDir, Arc<Db>) {
    let folder = tempfile::tempdir().unwrap();
    let db = Arc::new(Db::builder(folder.path()).open().unwrap());
    (folder, db)
}

/// The series of the benches in a storage; they are created at the first call.
fn series(db: &Db) -> Vec<SeriesRef> {
    let mut appender = db.appender();
    let refs = (0..SERIES)
        .map(|number| {
            let (instance, job) = (format!("host-{}:9100", number / 100), format!("job-{}", number % 10));
            let labels = [("__name__", format!("metric_{}", number % 100 / 10)), ("instance", instance), ("job", job)];
            let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
            appender.series(&labels).unwrap()
        })
        .collect();
    appender.commit().unwrap();
    refs
}

fn append() {
    let (_folder, db) = database();
    measure("append: series, first seen or not", "series", SERIES, || {
        series(&db);
    });
    let refs = series(&db);
    let mut at = FIRST;
    measure("append: samples of known series", "sample", SERIES, || {
        at += STEP_MILLIS;
        append_round(&db, &refs, at);
    });
}

fn append_round(db: &Db, refs: &[SeriesRef], at: i64) {
    let mut appender = db.appender();
    for (number, series) in refs.iter().enumerate() {
        appender.append_float(*series, Timestamp(at), (at / STEP_MILLIS) as f64 * (number % 7) as f64).unwrap();
    }
    appender.commit().unwrap();
}

fn remote_write() {
    let (_folder, db) = database();
    let clock = Arc::new(ManualClock::at(Timestamp(FIRST)));
    let receiver = WriteReceiver::new(db.clone(), Arc::clone(&clock) as Arc<dyn Clock>);
    let mut at = FIRST;
    let bodies: Vec<Vec<u8>> = (0..ROUNDS + 1)
        .map(|_| {
            at += STEP_MILLIS;
            let mut request = WriteRequest::default();
            for number in 0..SERIES {
                let instance = number.to_string();
                request.series(&[("__name__", "pushed"), ("instance", &instance), ("job", "push")], &[(at, 1.5)]);
            }
            request.snappy()
        })
        .collect();
    clock.set(Timestamp(at));
    let mut bodies = bodies.into_iter();
    measure("remote write: decode and store", "sample", SERIES, || {
        receiver.write(&bodies.next().unwrap()).unwrap();
    });
}

fn query() {
    let (_folder, db) = database();
    let refs = series(&db);
    for number in 0..SAMPLES {
        append_round(&db, &refs, FIRST + number * STEP_MILLIS);
    }
    let end = Timestamp(FIRST + (SAMPLES - 1) * STEP_MILLIS);
    let grid = StepGrid::new(Timestamp(FIRST), end, Duration::from_secs(60)).unwrap();
    let samples = SERIES / 10 * SAMPLES as usize;
    for threads in [1, 2] {
        let mut options = EngineOptions::default();
        options.threads = threads;
        let engine = Engine::new(options);
        for query in ["sum by (job) (rate(metric_1[5m]))", "avg_over_time(metric_1[10m])", "topk(5, metric_1)"] {
            measure(&format!("query, {threads} thread(s): {query}"), "sample", samples, || {
                engine.range(&*db, query, grid, &QueryOptions::default()).unwrap();
            });
        }
    }
}
