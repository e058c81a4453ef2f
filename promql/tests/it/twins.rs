//! Does the engine agree with the slow evaluator? Random questions, without a peer; what 3.14 added most of all.
//!
//! `FERULA_TWINS=100000` asks that many, `FERULA_SEED=7` begins with another seed.

use std::collections::BTreeMap;

use ferula_model::{Labels, Value};
use ferula_promql::syntax::{Dialect, Features};
use ferula_promql::testing::MemoryStorage;
use ferula_promql::{Engine, EngineOptions, QueryOptions};

use crate::differential::answer::{Answered, Point, Reply, Row, point};
use crate::differential::compare::Measure;
use crate::differential::known::with_round_labels;
use crate::differential::{compare, number_from_environment};
use crate::generated::{Case, Dataset, Scope, When};
use crate::oracle::{self, Fault};

const QUESTIONS_PER_DATASET: u64 = 500;

/// The slow evaluator does not compute in the engine's order: differences of nearly equal numbers lose digits.
const CLOSE: Measure = Measure { tolerance: 1e-9, slack: 1e-14, ordered: false };

fn engine() -> Engine {
    let mut options = EngineOptions::default();
    options.dialect = Dialect { features: Features::all(), functions: Vec::new() };
    Engine::new(options)
}

fn ours(engine: &Engine, storage: &MemoryStorage, case: &Case) -> Reply {
    let options = QueryOptions::default();
    Reply::of(match case.when {
        When::At(at) => engine.instant(storage, &case.query, at, &options),
        When::Over(grid) => engine.range(storage, &case.query, grid, &options),
    })
}

/// The slow evaluator's, in the form of the engine's.
fn slow(data: &Dataset, case: &Case, like: &Reply) -> Result<Reply, &'static str> {
    let has = |words: &[&str]| words.iter().any(|word| case.query.contains(word));
    let statistics = ["histogram_count(", "histogram_sum(", "histogram_avg("];
    if has(&statistics) && has(&["width_gauge"]) && has(&["rate(", "increase(", "resets("]) {
        // Where only statistics are read, resets are found in them.
        return Err("resets of gauges whose buckets are not read");
    }
    match oracle::answer(data, &case.query, case.when) {
        Err(Fault::Unsure(why)) => Err(why),
        Err(Fault::Error(error)) => Ok(Reply::Error(error)),
        Ok(answer) => {
            let kind = if let Reply::Answer(like) = like { like.kind.clone() } else { String::new() };
            let row = |(labels, points): (Labels, Vec<(i64, Value)>)| {
                let points: Vec<(i64, Point)> = points.iter().map(|(at, value)| (*at, point(value))).collect();
                Row { labels, points }
            };
            let rows = answer.into_iter().map(row).collect();
            Ok(Reply::Answer(Answered { kind, rows, warnings: Vec::new(), infos: Vec::new() }))
        }
    }
}

/// What differs, if both know an answer. Messages of errors may: that both fail is enough.
fn difference(data: &Dataset, case: &Case, engine: &Reply) -> Result<Option<String>, &'static str> {
    let mut ours = engine.clone();
    let mut slow = slow(data, case, &ours)?;
    for reply in [&mut ours, &mut slow] {
        let Reply::Answer(answer) = reply else { continue };
        (answer.warnings, answer.infos) = (Vec::new(), Vec::new());
        let points = answer.rows.iter_mut().flat_map(|row| &mut row.points);
        // Not the sign of zero.
        points.for_each(|(_, point)| {
            if let Point::Float(value) = point {
                *value += 0.0
            }
        });
        if case.query.contains("count_values") {
            answer.rows = with_round_labels(&answer.rows, 7);
        }
    }
    if matches!((&ours, &slow), (Reply::Error(_), Reply::Error(_))) {
        return Ok(None);
    }
    let what = compare::difference(&ours, &slow, CLOSE);
    Ok(what.map(|what| {
        let (ours, slow) = compare::without_equal_points(&ours, &slow, CLOSE);
        format!("{what}\n  engine:\n{ours}  slow:\n{slow}")
    }))
}

/// Whether the slow evaluator agrees with the engine; `None` if it does not know.
pub(crate) fn confirms(data: &Dataset, case: &Case, storage: &MemoryStorage) -> Option<bool> {
    difference(data, case, &ours(&engine(), storage, case)).ok().map(|difference| difference.is_none())
}

#[test]
fn the_slow_evaluator_agrees() {
    let questions = number_from_environment("FERULA_TWINS").unwrap_or(1_500);
    let first = number_from_environment("FERULA_SEED").unwrap_or(1);
    let engine = engine();
    let (mut differences, mut compared) = (0, 0);
    let mut unsure: BTreeMap<&str, u64> = BTreeMap::new();
    let mut known: Option<(u64, Dataset, MemoryStorage)> = None;
    for seed in first..first + questions {
        let of_data = seed / QUESTIONS_PER_DATASET;
        if known.as_ref().is_none_or(|(known, ..)| *known != of_data) {
            let data = Dataset::new(of_data);
            let storage = data.storage();
            known = Some((of_data, data, storage));
        }
        let Some((_, data, storage)) = &known else { continue };
        let scope = Scope { newer: true, histograms: seed % 2 == 0, exotic: false };
        let case = Case::new(seed, scope);
        match difference(data, &case, &ours(&engine, storage, &case)) {
            Err(why) => *unsure.entry(why).or_default() += 1,
            Ok(None) => compared += 1,
            Ok(Some(what)) => {
                differences += 1;
                if differences <= 30 {
                    println!("--- FERULA_SEED={seed}\n    {}\n    {}\n  {what}", case.query, case.when);
                }
            }
        }
    }
    println!("{compared} of {questions} agree, {differences} differ; unsure: {unsure:#?}");
    assert_eq!(differences, 0, "the engine and the slow evaluator differ");
}
