//! Results: from operators to the value of an answer.

use ferula_model::{Histogram, Labels, StepGrid, Timestamp};

use super::build::{Builder, Built};
use super::distinct::{Equal, distinct};
use super::limits::Hold;
use super::steps::{Point, PointRef, StepVector};
use super::window::RangeSource;
use super::{BoxOperator, Env, Head, Worker, is_metadata_label, parallel};
use crate::error::QueryError;
use crate::functions::labels::Relabelled;
use crate::functions::rate::Windows;
use crate::plan::Kind;
use crate::value::{FloatPoint, HistogramPoint, Series, Value, VectorSample};

/// Evaluates a plan at one moment.
pub(crate) fn instant(env: &Env<'_>, at: Timestamp) -> Result<Value, QueryError> {
    let grid = StepGrid::instant(at);
    let mut builder = Builder::new(env);
    let root = env.plan.root();
    if matches!(env.plan.node(root).kind, Kind::RangeSelect { .. } | Kind::Subquery { .. }) {
        let series = match builder.range(root, grid)? {
            Some(source) => windows(env, &source)?,
            None => Vec::new(),
        };
        return Ok(Value::Matrix(sorted(series)));
    }
    Ok(match builder.build(root, grid)? {
        Built::Scalar(scalar) => Value::Scalar { at, value: scalar.at(0) },
        Built::Text(text) => Value::String { at, value: text.to_owned() },
        Built::Vector(operator) => Value::Vector(computed(env, named(operator), |labels, vector| {
            let value = match vector.get(0)? {
                PointRef::Float(value) => ferula_model::Value::Float(value),
                PointRef::Histogram(histogram) => ferula_model::Value::Histogram(Histogram::Float(histogram.clone())),
            };
            Some(VectorSample { labels: labels.clone(), at, value })
        })?),
    })
}

/// Evaluates a plan at each step of a grid.
pub(crate) fn range(env: &Env<'_>, grid: StepGrid) -> Result<Value, QueryError> {
    let mut builder = Builder::new(env);
    Ok(match builder.build(env.plan.root(), grid)? {
        Built::Scalar(scalar) => {
            let floats = (0..grid.len()).map(|step| FloatPoint { at: grid.at(step), value: scalar.at(step) });
            Value::Matrix(vec![Series { labels: Labels::empty(), floats: floats.collect(), histograms: Vec::new() }])
        }
        Built::Vector(operator) => {
            let series = computed(env, named(operator), |labels, vector| {
                vector.any().then(|| points(labels.clone(), vector, grid))
            })?;
            Value::Matrix(sorted(series))
        }
        Built::Text(_) => {
            return Err(QueryError::Parse(
                "invalid expression type \"string\" for range query, must be Scalar or instant Vector".to_owned(),
            ));
        }
    })
}

/// Drops the names that were to be dropped at the end, and merges what is equal then.
fn named(operator: BoxOperator<'_>) -> BoxOperator<'_> {
    if !operator.heads().iter().any(|head| head.drop_name) {
        return operator;
    }
    let renamed = Relabelled::new(operator, |head| {
        if !head.drop_name {
            return head.clone();
        }
        let mut labels = head.labels.to_builder();
        labels.retain(|name, _| !is_metadata_label(name));
        Head::new(labels.build())
    });
    distinct(Box::new(renamed), Equal::Merge)
}

/// What `answer` makes of the series, but for those of which it makes nothing.
fn computed<T: Send>(
    env: &Env<'_>,
    operator: BoxOperator<'_>,
    answer: impl Fn(&Labels, &StepVector) -> Option<T> + Sync,
) -> Result<Vec<T>, QueryError> {
    let (count, steps) = (operator.heads().len(), operator.steps());
    let weight = (count as u64).saturating_mul(steps as u64);
    let heads = operator.heads();
    let answers = parallel::run(env, count, if operator.is_held() { 0 } else { weight }, |index, worker| {
        let labels = &heads[index].labels;
        if let Some(vector) = operator.held(index) {
            // The samples of what is held are counted already.
            let hold = hold_answer(env, 0, vector)?;
            return Ok(answer(labels, vector).map(|answer| (answer, hold)));
        }
        let mut vector = worker.take(steps);
        operator.compute(index, worker, &mut vector)?;
        let hold = hold_answer(env, vector.samples(), &vector)?;
        let answer = answer(labels, &vector).map(|answer| (answer, hold));
        worker.give(vector);
        Ok(answer)
    })?;
    Ok(answers.into_iter().flatten().map(|(answer, _)| answer).collect())
}

/// Counts a series of a range query as part of the answer. That of an instant query is one point, less than its labels.
fn hold_answer(env: &Env<'_>, samples: u64, vector: &StepVector) -> Result<Option<Hold>, QueryError> {
    if !env.settings.is_range {
        return Ok(None);
    }
    let points = size_of::<FloatPoint>() * vector.present.count();
    env.limits.hold(samples, points as u64 + vector.histogram_bytes()).map(Some)
}

fn points(labels: Labels, vector: &StepVector, grid: StepGrid) -> Series {
    let floats = vector.present.iter().map(|step| FloatPoint { at: grid.at(step), value: vector.floats[step] });
    let mut series = Series { labels, floats: Vec::with_capacity(vector.present.count()), histograms: Vec::new() };
    series.floats.extend(floats);
    for (step, histogram) in vector.histograms.iter().enumerate() {
        if let Some(histogram) = histogram {
            series.histograms.push(HistogramPoint { at: grid.at(step), histogram: histogram.clone() });
        }
    }
    series
}

/// The samples of a range at one moment.
fn windows(env: &Env<'_>, source: &RangeSource<'_>) -> Result<Vec<Series>, QueryError> {
    let mut worker = Worker::default();
    let mut out = Vec::new();
    for (index, head) in source.heads().iter().enumerate() {
        worker.check(env.limits)?;
        source.load(index, &mut worker)?;
        let samples = worker.samples();
        let (_, _, from, to) = source.pointers(samples.times).window(0);
        let (_, _, histogram_from, histogram_to) = source.pointers(samples.histogram_times).window(0);
        let window = samples.slice((from, to), (histogram_from, histogram_to));
        let mut labels = head.labels.clone();
        if head.drop_name {
            let mut builder = labels.to_builder();
            builder.retain(|name, _| !is_metadata_label(name));
            labels = builder.build();
        }
        let mut series = Series { labels, floats: Vec::new(), histograms: Vec::new() };
        for (at, point) in window.merged() {
            match point {
                Point::Float(value) => series.floats.push(FloatPoint { at: Timestamp(at), value }),
                Point::Histogram(histogram) => {
                    series.histograms.push(HistogramPoint { at: Timestamp(at), histogram });
                }
            }
        }
        if !(series.floats.is_empty() && series.histograms.is_empty()) {
            out.push(series);
        }
    }
    env.settle(&mut worker);
    Ok(out)
}

fn sorted(mut series: Vec<Series>) -> Vec<Series> {
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    series
}
