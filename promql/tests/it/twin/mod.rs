//! A second evaluator, slow and obvious: one step after the other, one sample after the other, nothing shared, nothing
//! clever. It knows floats only and no delayed name removal; the engine must agree with it on generated queries.
//!
//! `FERULA_SEED` (default 1) and `FERULA_QUERIES` (default 200) make the run another or longer one.

mod functions;
mod operators;

use std::collections::BTreeMap;
use std::time::Duration;

use ferula_model::{Labels, StepGrid, Timestamp, Value as Sample, is_stale};
use ferula_promql::syntax::ast::{At, Expr, Length, Modifiers, VectorSelector};
use ferula_promql::syntax::duration::QueryTimes;
use ferula_promql::syntax::{Features, parse};
use ferula_promql::{Engine, EngineOptions, QueryOptions, Value as Answer};

use crate::generate::Random;
use crate::generate::data::Data;
use crate::generate::queries::Query;

const LOOKBACK: i64 = 300_000;
const SUBQUERY_STEP: i64 = 60_000;

/// Why there is no value.
#[derive(Debug)]
enum Refusal {
    /// The query is wrong.
    Error(&'static str),
    /// The twin does not know this.
    Unknown,
}

type Vector = Vec<(Labels, f64)>;

enum Value {
    Scalar(f64),
    Vector(Vector),
}

/// Series with the samples of a window.
struct Window {
    series: Vec<(Labels, Vec<(i64, f64)>)>,
    /// The window is `(start, end]`.
    start: i64,
    end: i64,
}

struct Twin<'d> {
    series: &'d [(Labels, Vec<(i64, f64)>)],
    query: &'d Query,
}

impl Twin<'_> {
    fn eval(&self, expr: &Expr, at: i64) -> Result<Value, Refusal> {
        Ok(match expr {
            Expr::Number(number) => Value::Scalar(number.value),
            Expr::Paren(paren) => self.eval(&paren.expr, at)?,
            Expr::Selector(selector) => Value::Vector(self.select(selector, at)?),
            Expr::Unary(unary) => match self.eval(&unary.expr, at)? {
                value if !unary.negative => value,
                Value::Scalar(value) => Value::Scalar(-value),
                Value::Vector(vector) => Value::Vector(distinct(map(without_name(vector), |value| -value))?),
            },
            Expr::Call(call) => self.call(call, at)?,
            Expr::Aggregate(aggregate) => Value::Vector(self.aggregate(aggregate, at)?),
            Expr::Binary(binary) => self.binary(binary, at)?,
            _ => return Err(Refusal::Unknown),
        })
    }

    fn vector(&self, expr: &Expr, at: i64) -> Result<Vector, Refusal> {
        match self.eval(expr, at)? {
            Value::Vector(vector) => Ok(vector),
            Value::Scalar(_) => Err(Refusal::Unknown),
        }
    }

    fn scalar(&self, expr: &Expr, at: i64) -> Result<f64, Refusal> {
        match self.eval(expr, at)? {
            Value::Scalar(value) => Ok(value),
            Value::Vector(_) => Err(Refusal::Unknown),
        }
    }

    /// The newest sample of each series, unless it is too old or a stale marker.
    fn select(&self, selector: &VectorSelector, at: i64) -> Result<Vector, Refusal> {
        Ok(self.newest(selector, at)?.into_iter().map(|(labels, _, value)| (labels, value)).collect())
    }

    fn newest(&self, selector: &VectorSelector, at: i64) -> Result<Vec<(Labels, i64, f64)>, Refusal> {
        let at = self.moment(&selector.modifiers, at)?;
        let newest = |(labels, samples): &(Labels, Vec<(i64, f64)>)| {
            let (time, value) = samples.iter().rev().find(|(time, _)| *time <= at).copied()?;
            (time > at - LOOKBACK && !is_stale(value)).then(|| (labels.clone(), time, value))
        };
        Ok(self.matching(selector).filter_map(newest).collect())
    }

    fn matching<'a>(
        &'a self,
        selector: &'a VectorSelector,
    ) -> impl Iterator<Item = &'a (Labels, Vec<(i64, f64)>)> + 'a {
        self.series.iter().filter(|(labels, _)| {
            selector.matchers.iter().all(|matcher| matcher.matches(labels.get(&matcher.name).unwrap_or_default()))
        })
    }

    fn window(&self, expr: &Expr, at: i64) -> Result<Window, Refusal> {
        match expr {
            Expr::Paren(paren) => self.window(&paren.expr, at),
            Expr::Matrix(matrix) => {
                let end = self.moment(&matrix.selector.modifiers, at)?;
                let start = end - self.millis(&matrix.range, false)?;
                let inside = |(time, value): &&(i64, f64)| *time > start && *time <= end && !is_stale(*value);
                let series = self.matching(&matrix.selector);
                let cut = series.map(|(labels, samples)| {
                    (labels.clone(), samples.iter().filter(inside).copied().collect::<Vec<_>>())
                });
                Ok(Window { series: cut.filter(|(_, samples)| !samples.is_empty()).collect(), start, end })
            }
            Expr::Subquery(subquery) => {
                let end = self.moment(&subquery.modifiers, at)?;
                let start = end - self.millis(&subquery.range, false)?;
                let step = subquery.step.as_ref().map_or(Ok(SUBQUERY_STEP), |step| self.millis(step, false))?;
                let mut series: BTreeMap<Labels, Vec<(i64, f64)>> = BTreeMap::new();
                let mut moment = (start.div_euclid(step) + 1) * step;
                while moment <= end {
                    match self.eval(&subquery.expr, moment)? {
                        Value::Scalar(value) => series.entry(Labels::empty()).or_default().push((moment, value)),
                        Value::Vector(vector) => {
                            for (labels, value) in vector {
                                series.entry(labels).or_default().push((moment, value));
                            }
                        }
                    }
                    moment += step;
                }
                Ok(Window { series: series.into_iter().collect(), start, end })
            }
            _ => Err(Refusal::Unknown),
        }
    }

    /// From when a selector or subquery looks back.
    fn moment(&self, modifiers: &Modifiers, at: i64) -> Result<i64, Refusal> {
        let at = match modifiers.at {
            None => at,
            Some(At::Timestamp(at)) => at,
            Some(At::Start) => self.query.from,
            Some(At::End) => self.query.to,
        };
        let offset = modifiers.offset.as_ref().map_or(Ok(0), |offset| self.millis(offset, true))?;
        Ok(at - offset)
    }

    fn millis(&self, length: &Length, signed: bool) -> Result<i64, Refusal> {
        let step_millis = if self.query.is_range { self.query.step } else { 0 };
        let times = QueryTimes { step_millis, range_millis: self.query.to - self.query.from };
        length.millis(times, signed).map_err(|_| Refusal::Error("duration"))
    }
}

fn map(vector: Vector, change: impl Fn(f64) -> f64) -> Vector {
    vector.into_iter().map(|(labels, value)| (labels, change(value))).collect()
}

fn without_name(vector: Vector) -> Vector {
    vector.into_iter().map(|(labels, value)| (labels.without_metric_name(), value)).collect()
}

fn distinct(vector: Vector) -> Result<Vector, Refusal> {
    for (index, (labels, _)) in vector.iter().enumerate() {
        if vector[..index].iter().any(|(other, _)| other == labels) {
            return Err(Refusal::Error("vector cannot contain metrics with the same labelset"));
        }
    }
    Ok(vector)
}

/// A sum that forgets nothing.
fn sum(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0);
    for value in values {
        let next: f64 = sum + value;
        if next.is_infinite() {
            lost = 0.0;
        } else if sum.abs() >= value.abs() {
            lost += (sum - next) + value;
        } else {
            lost += (value - next) + sum;
        }
        sum = next;
    }
    sum + lost
}

type Points = BTreeMap<(Labels, i64), f64>;

fn ask_twin(series: &[(Labels, Vec<(i64, f64)>)], query: &Query) -> Result<Points, Refusal> {
    let expr = parse(&query.text, &Features::all()).map_err(|_| Refusal::Error("parse error"))?;
    let twin = Twin { series, query };
    let mut points = Points::new();
    let mut at = query.from;
    while at <= query.to {
        match twin.eval(&expr, at)? {
            Value::Scalar(value) => _ = points.insert((Labels::empty(), at), value),
            Value::Vector(vector) => {
                for (labels, value) in distinct(vector)? {
                    points.insert((labels, at), value);
                }
            }
        }
        at += query.step;
    }
    Ok(points)
}

fn ask_engine(engine: &Engine, storage: &dyn ferula_model::Queryable, query: &Query) -> Result<Points, String> {
    let (from, to) = (Timestamp::from_millis(query.from), Timestamp::from_millis(query.to));
    let options = QueryOptions::default();
    let answer = if query.is_range {
        let grid = StepGrid::new(from, to, Duration::from_millis(query.step as u64)).expect("a grid");
        engine.range(storage, &query.text, grid, &options)
    } else {
        engine.instant(storage, &query.text, from, &options)
    };
    let mut points = Points::new();
    let float = |value: &Sample| match value {
        Sample::Float(value) => *value,
        Sample::Histogram(_) => unreachable!("there are only floats"),
    };
    match answer.map_err(|error| error.to_string())?.value {
        Answer::Scalar { at, value } => _ = points.insert((Labels::empty(), at.as_millis()), value),
        Answer::String { .. } => {}
        Answer::Vector(samples) => {
            points.extend(samples.iter().map(|sample| ((sample.labels.clone(), query.from), float(&sample.value))));
        }
        Answer::Matrix(series) => {
            for series in series {
                points.extend(series.points().map(|(at, v)| ((series.labels.clone(), at.as_millis()), float(&v))));
            }
        }
    }
    Ok(points)
}

fn same(ours: f64, theirs: f64) -> bool {
    ours == theirs || (ours.is_nan() && theirs.is_nan()) || (ours - theirs).abs() <= 1e-9 * ours.abs().max(theirs.abs())
}

#[test]
fn engine_and_twin_agree() {
    let setting = |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let seed = setting("FERULA_SEED", 1_u64);
    let mut data = Data::generate(seed);
    data.series.retain(|(_, samples)| samples.iter().all(|sample| matches!(sample.value, Sample::Float(_))));
    let storage = data.storage();
    let plain = |sample: &ferula_model::Sample| match sample.value {
        Sample::Float(value) => (sample.timestamp.as_millis(), value),
        Sample::Histogram(_) => unreachable!("there are only floats"),
    };
    let series: Vec<_> =
        data.series.iter().map(|(l, samples)| (l.clone(), samples.iter().map(plain).collect())).collect();
    let mut options = EngineOptions::default();
    options.dialect.features = Features::all();
    let engine = Engine::new(options);
    let mut random = Random::new(seed ^ 0x7714);
    let (mut compared, mut unknown, mut points) = (0, 0, 0);
    for number in 0..setting("FERULA_QUERIES", 200) {
        let query = Query::generate(&mut random);
        let engines = ask_engine(&engine, &storage, &query);
        let twins = ask_twin(&series, &query);
        let about = || format!("seed {seed} query {number}: {query:?}");
        match (engines, twins) {
            (_, Err(Refusal::Unknown)) => {
                unknown += 1;
                continue;
            }
            // The engine also refuses equal series that never meet at one step.
            (Err(_), Err(Refusal::Error(_))) => {}
            (Err(error), Ok(_)) => assert!(error.contains("same labelset"), "{error} for {}", about()),
            (Ok(_), Err(Refusal::Error(error))) => unreachable!("only the twin fails with {error} for {}", about()),
            (Ok(engines), Ok(twins)) => {
                for key in engines.keys().chain(twins.keys()) {
                    let (a, b) = (engines.get(key), twins.get(key));
                    let equal = a.zip(b).is_some_and(|(a, b)| same(*a, *b));
                    assert!(equal, "engine {a:?}, twin {b:?} at {key:?} for {}", about());
                }
                points += twins.len();
            }
        }
        compared += 1;
    }
    println!("{compared} queries compared, {points} points; {unknown} the twin does not know");
    assert!(compared > unknown, "the twin knows too little");
}
