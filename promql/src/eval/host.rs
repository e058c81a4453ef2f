//! Functions of the host: called once for each step, with values of PromQL.

use std::collections::HashMap;

use ferula_model::{Histogram, Labels, StepGrid, Timestamp, Value};

use super::build::{Builder, Built, ScalarSteps, unexpected};
use super::distinct::same_labelset;
use super::steps::{Point, PointRef, StepVector};
use super::window::RangeSource;
use super::{BoxOperator, EVALUATION, Head, Held, Worker};
use crate::error::QueryError;
use crate::functions::Function;
use crate::functions::rate::Windows;
use crate::functions::registry::{HostArgument, HostContext, HostResult, HostSample, HostSeries};
use crate::plan::{Kind, NodeId};
use crate::syntax::ast::ValueType;

/// An argument at all steps.
enum Argument<'q> {
    Scalar(ScalarSteps),
    Text(&'q str),
    Vector(Vec<(Head, StepVector)>),
    Matrix(Option<RangeSource<'q>>),
}

pub(super) fn call<'q>(
    builder: &mut Builder<'q>,
    _: NodeId,
    function: &Function,
    args: &'q [NodeId],
    grid: StepGrid,
) -> Result<Built<'q>, QueryError> {
    let env = builder.env;
    let Some(implementation) = env.functions.implementation(function.name()) else {
        return Err(QueryError::execution(format!("unknown function with name \"{}\"", function.name())));
    };
    let mut arguments = Vec::with_capacity(args.len());
    for &arg in args {
        arguments.push(match &env.plan.node(arg).kind {
            Kind::RangeSelect { .. } | Kind::Subquery { .. } => Argument::Matrix(builder.range(arg, grid)?),
            _ => match builder.build(arg, grid)? {
                Built::Scalar(scalar) => Argument::Scalar(scalar),
                Built::Text(text) => Argument::Text(text),
                Built::Vector(vector) => Argument::Vector(builder.hold(&*vector)?.into_series().collect()),
            },
        });
    }
    let mut worker = Worker::default();
    let mut scalars = Vec::new();
    let mut series: HashMap<Labels, StepVector> = HashMap::new();
    for step in 0..grid.len() {
        env.limits.check(EVALUATION)?;
        let values = arguments.iter().map(|argument| argument.at(step, grid, &mut worker));
        let values = values.collect::<Result<Vec<_>, _>>()?;
        let context = HostContext { at: grid.at(step) };
        match implementation(&context, &values).map_err(QueryError::Execution)? {
            HostResult::Scalar(value) => scalars.push(value),
            HostResult::Vector(samples) => {
                for sample in samples {
                    let head = Head::new(sample.labels);
                    let head = if function.keeps_name() { head } else { Head::new(head.labels.without_metric_name()) };
                    let vector = series.entry(head.labels).or_insert_with(|| StepVector::with_steps(grid.len()));
                    if vector.has(step) {
                        return Err(same_labelset());
                    }
                    vector.set(step, point(sample.value));
                }
            }
        }
    }
    env.settle(&mut worker);
    if function.returns() == ValueType::Scalar {
        if scalars.len() != grid.len() {
            return Err(unexpected("scalar"));
        }
        return Ok(Built::Scalar(ScalarSteps::Steps(scalars.into())));
    }
    let mut series: Vec<_> = series.into_iter().map(|(labels, vector)| (Head::new(labels), vector)).collect();
    series.sort_by(|(a, _), (b, _)| a.labels.cmp(&b.labels));
    let held: BoxOperator<'q> = Box::new(Held::new(grid.len(), series, env.limits)?);
    debug_assert!(held.is_held());
    Ok(Built::Vector(held))
}

fn point(value: Value) -> Point {
    match value {
        Value::Float(value) => Point::Float(value),
        Value::Histogram(histogram) => Point::Histogram(histogram.to_float()),
    }
}

fn value(point: PointRef<'_>) -> Value {
    match point {
        PointRef::Float(value) => Value::Float(value),
        PointRef::Histogram(histogram) => Value::Histogram(Histogram::Float(histogram.clone())),
    }
}

impl Argument<'_> {
    fn at(&self, step: usize, grid: StepGrid, worker: &mut Worker) -> Result<HostArgument, QueryError> {
        Ok(match self {
            Argument::Scalar(scalar) => HostArgument::Scalar(scalar.at(step)),
            Argument::Text(text) => HostArgument::String((*text).to_owned()),
            Argument::Vector(series) => HostArgument::Vector(
                series
                    .iter()
                    .filter_map(|(head, vector)| {
                        let value = value(vector.get(step)?);
                        Some(HostSample { labels: head.labels.clone(), value })
                    })
                    .collect(),
            ),
            Argument::Matrix(None) => HostArgument::Matrix(Vec::new()),
            Argument::Matrix(Some(source)) => {
                let mut series = Vec::new();
                for (index, head) in source.heads().iter().enumerate() {
                    source.load(index, worker)?;
                    let samples = worker.samples();
                    let (mut floats, mut histograms) =
                        (source.pointers(samples.times), source.pointers(samples.histogram_times));
                    let (_, _, from, to) = floats.window(step);
                    let (_, _, histogram_from, histogram_to) = histograms.window(step);
                    let window = samples.slice((from, to), (histogram_from, histogram_to));
                    if window.len() > 0 {
                        let points = window.merged().map(|(at, point)| {
                            let value = match point {
                                Point::Float(value) => Value::Float(value),
                                Point::Histogram(histogram) => Value::Histogram(Histogram::Float(histogram)),
                            };
                            (Timestamp(at), value)
                        });
                        series.push(HostSeries { labels: head.labels.clone(), samples: points.collect() });
                    }
                }
                debug_assert!(step < grid.len());
                HostArgument::Matrix(series)
            }
        })
    }
}
