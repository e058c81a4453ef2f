//! Does a real Prometheus answer the same? Generated queries over generated data, put to both.
//!
//! Runs if `FERULA_PEERS` names a folder of programs. `FERULA_SEED` (default 1), `FERULA_ROUNDS` (data sets, default 1)
//! and `FERULA_QUERIES` (of each data set, default 300) make it longer:
//!
//! ```text
//! FERULA_PEERS=... FERULA_ROUNDS=20 FERULA_QUERIES=2000 cargo test --release -p ferula-promql --test it differential
//! ```

mod answer;
mod known;
mod peer;
mod remote_write;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use ferula_model::{Labels, Sample, StepGrid, Timestamp, Value};
use ferula_promql::syntax::{Dialect, Features};
use ferula_promql::testing::MemoryStorage;
use ferula_promql::{Engine, EngineOptions, QueryOptions};

use crate::generate::Random;
use crate::generate::data::{BEGIN, Data, LENGTH};
use crate::generate::queries::Query;
use answer::Outcome;
use peer::Peer;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn prometheus_answers_the_same() {
    compare_with_peer(setting("FERULA_SEED", 1), false);
}

#[test]
fn prometheus_answers_the_same_with_delayed_name_removal() {
    compare_with_peer(setting("FERULA_SEED", 1) + 1_000_000, true);
}

fn compare_with_peer(seed: u64, delayed_name_removal: bool) {
    let Ok(programs) = std::env::var("FERULA_PEERS") else {
        println!("skipped: FERULA_PEERS is not set");
        return;
    };
    let mut features = "native-histograms,promql-experimental-functions".to_owned();
    if delayed_name_removal {
        features.push_str(",promql-delayed-name-removal");
    }
    let mut options = EngineOptions::default();
    options.dialect = Dialect { features: Features::all(), functions: Vec::new() };
    options.delayed_name_removal = delayed_name_removal;
    let engine = Engine::new(options);
    let mut tally = Tally::default();
    for round in 0..setting("FERULA_ROUNDS", 1) {
        let seed = seed + round;
        let data = Data::generate(seed);
        let mut peer = Peer::start(Path::new(&programs), &features);
        send(&data, &mut peer);
        let storage = data.storage();
        let mut random = Random::new(seed ^ 0x5eed);
        for number in 0..setting("FERULA_QUERIES", 300) {
            let query = Query::generate(&mut random);
            let mut theirs = Outcome::of_peer(&ask_peer(&mut peer, &query));
            let ours = ask_ours(&engine, &storage, &query);
            // Where order decides (ties of `topk`, `limitk`), the peer itself varies: it walks a map. Any of its answers
            // will do.
            for _ in 0..if order_decides(&query.text) { 300 } else { 0 } {
                if ours.difference(&theirs).is_none() {
                    break;
                }
                theirs = Outcome::of_peer(&ask_peer(&mut peer, &query));
            }
            tally.count(&query, &ours, &theirs, |difference| {
                if let Some(reason) = known::reason(&query, delayed_name_removal, difference) {
                    return Ok(reason);
                }
                if contradicts_itself(&mut peer, &engine, &storage, &query, difference) {
                    return Ok("the peer's instant query at that step agrees");
                }
                Err(format!("seed {seed} query {number}"))
            });
        }
    }
    tally.report();
}

/// Whether the peer, asked about the one step at which a range query differs, agrees with us.
fn contradicts_itself(
    peer: &mut Peer,
    engine: &Engine,
    storage: &MemoryStorage,
    query: &Query,
    difference: &str,
) -> bool {
    let at = difference.split(" at ").nth(1).and_then(|rest| rest.split(':').next()).and_then(|at| at.parse().ok());
    let (Some(at), true, false) = (at, query.is_range, query.text.contains('@')) else { return false };
    let instant = Query { from: at, to: at, is_range: false, ..query.clone() };
    let ours = ask_ours(engine, storage, &instant);
    ours.error.is_none() && ours.difference(&Outcome::of_peer(&ask_peer(peer, &instant))).is_none()
}

fn order_decides(query: &str) -> bool {
    ["topk", "bottomk", "limitk"].iter().any(|word| query.contains(word))
}

/// Sends everything by rising time. A commit of the peer takes its floats before its histograms, and makes stale markers
/// of either kind: so a request has, of each series, one kind only.
fn send(data: &Data, peer: &mut Peer) {
    const STRETCH: i64 = 10 * 60_000;
    let mut from = BEGIN;
    while from < BEGIN + LENGTH + STRETCH {
        let mut stretch: Vec<(&Labels, &[Sample])> = Vec::new();
        for (labels, samples) in &data.series {
            let before = |limit: i64| samples.partition_point(|sample| sample.timestamp.as_millis() < limit);
            stretch.push((labels, &samples[before(from)..before(from + STRETCH)]));
        }
        loop {
            let mut request = Vec::new();
            for (labels, rest) in &mut stretch {
                let kind = |sample: &Sample| match sample.value {
                    Value::Float(value) if ferula_model::is_stale(value) => 2,
                    Value::Float(_) => 1,
                    Value::Histogram(_) => 0,
                };
                let same_kind = |a: &Sample, b: &Sample| kind(a) == kind(b);
                let Some(run) = rest.chunk_by(same_kind).next() else { continue };
                request.push((*labels, run));
                *rest = &rest[run.len()..];
            }
            if request.is_empty() {
                break;
            }
            peer.write(&request);
        }
        from += STRETCH;
    }
}

fn ask_peer(peer: &mut Peer, query: &Query) -> serde_json::Value {
    let seconds = |millis: i64| format!("{}.{:03}", millis / 1000, millis % 1000);
    let (from, to, step) = (seconds(query.from), seconds(query.to), seconds(query.step));
    if query.is_range {
        let form = [("query", query.text.as_str()), ("start", &from), ("end", &to), ("step", &step)];
        peer.ask("/api/v1/query_range", &form)
    } else {
        peer.ask("/api/v1/query", &[("query", query.text.as_str()), ("time", &from)])
    }
}

fn ask_ours(engine: &Engine, storage: &MemoryStorage, query: &Query) -> Outcome {
    let (from, to) = (Timestamp::from_millis(query.from), Timestamp::from_millis(query.to));
    let answer = if query.is_range {
        let grid = StepGrid::new(from, to, Duration::from_millis(query.step as u64)).expect("a grid");
        engine.range(storage, &query.text, grid, &QueryOptions::default())
    } else {
        engine.instant(storage, &query.text, from, &QueryOptions::default())
    };
    Outcome::of_ours(answer)
}

/// What came of all queries.
#[derive(Default)]
struct Tally {
    queries: usize,
    with_points: usize,
    points: usize,
    errors: usize,
    known: BTreeMap<&'static str, usize>,
    differences: Vec<String>,
}

impl Tally {
    fn count(
        &mut self,
        query: &Query,
        ours: &Outcome,
        theirs: &Outcome,
        judge: impl FnOnce(&str) -> Result<&'static str, String>,
    ) {
        self.queries += 1;
        self.with_points += usize::from(theirs.points() > 0);
        self.points += theirs.points();
        self.errors += usize::from(theirs.error.is_some());
        let Some(difference) = ours.difference(theirs) else { return };
        match judge(&difference) {
            Ok(reason) => *self.known.entry(reason).or_default() += 1,
            Err(place) => self.differences.push(format!(
                "{place} ({} {}..{} step {}): {}\n  {difference}",
                if query.is_range { "range" } else { "instant" },
                query.from,
                query.to,
                query.step,
                query.text
            )),
        }
    }

    fn report(&self) {
        let Self { queries, with_points, points, errors, known, differences } = self;
        println!("{queries} queries, {with_points} with {points} points in all, {errors} errors");
        for (reason, count) in known {
            println!("known: {count} times: {reason}");
        }
        let shown = differences.iter().take(60).cloned().collect::<Vec<_>>().join("\n");
        assert!(differences.is_empty(), "{} differences:\n{shown}", differences.len());
    }
}
