//! A second evaluator, slow and obvious: what should the answer be, computed step by step and sample by sample?
//!
//! It shares the parser and the typed tree with the engine, and the types of the model, and nothing else: no plan, no
//! vectors over steps, no moving pointers. Each step evaluates the whole tree again and looks at every sample again. What
//! it cannot say (the order of ties, some of what histograms can do) it calls [`Fault::Unsure`]; annotations it leaves out.
//!
//! - select: which samples? - expression: what does a node come to? - join, aggregate: how do series meet?
//! - range, extended, over_time: what does a window say? - buckets: native histograms
//! - classic, labels, math: the other functions
//!
//! Source: `spec/prometheus.md` of the project, section 2.

mod aggregate;
mod arithmetic;
mod buckets;
mod classic;
mod expression;
mod extended;
mod functions;
mod join;
mod labels;
mod math;
mod over_time;
mod range;
mod select;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use ferula_model::{Labels, Sample, Value};
use ferula_promql::check::{Range, Typed, lower};
use ferula_promql::syntax::{Features, parse};

use crate::generated::{Dataset, When};

/// Milliseconds that an instant selector looks back.
const LOOKBACK: i64 = 300_000;
/// Milliseconds between the moments of a subquery that names no step.
const SUBQUERY_STEP: i64 = 60_000;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The query fails.
    Error(String),
    /// This evaluator does not know.
    Unsure(&'static str),
}

type Outcome<T> = Result<T, Fault>;

fn error<T>(message: impl Into<String>) -> Outcome<T> {
    Err(Fault::Error(message.into()))
}

/// A series at one step.
#[derive(Clone, Debug)]
struct Element {
    labels: Labels,
    value: Value,
}

/// Points by label set, each by rising milliseconds.
pub(crate) type Answer = BTreeMap<Labels, Vec<(i64, Value)>>;

/// One query over one set of data.
struct Oracle<'d> {
    data: &'d Dataset,
    /// The times of the whole query, in milliseconds; the step is 0 for an instant query.
    start: i64,
    end: i64,
    step: i64,
    /// From which series the results of a range function came, by function and labels, at whatever step.
    sources: RefCell<HashMap<(usize, Labels), Labels>>,
}

/// Evaluates a query.
pub(crate) fn answer(data: &Dataset, query: &str, when: When) -> Outcome<Answer> {
    let expr = parse(query, &Features::all()).map_err(|error| Fault::Error(error.to_string()))?;
    let typed = lower(expr).map_err(|error| Fault::Error(error.to_string()))?;
    let (steps, step) = match when {
        When::At(at) => (vec![at.as_millis()], 0),
        When::Over(grid) => ((0..grid.len()).map(|index| grid.at(index).as_millis()).collect(), grid.step_millis()),
    };
    let (start, end) = match when {
        When::At(at) => (at.as_millis(), at.as_millis()),
        When::Over(grid) => (grid.start().as_millis(), grid.end().as_millis()),
    };
    let oracle = Oracle { data, start, end, step, sources: RefCell::default() };
    match (&typed, when) {
        (Typed::Range(range), When::At(at)) => oracle.whole_windows(range, at.as_millis()),
        (Typed::String(_), _) | (Typed::Range(_), _) => Err(Fault::Unsure("not an answer that is compared")),
        _ => oracle.at_steps(&typed, &steps),
    }
}

impl Oracle<'_> {
    fn at_steps(&self, typed: &Typed, steps: &[i64]) -> Outcome<Answer> {
        let mut answer = Answer::new();
        for &at in steps {
            match typed {
                Typed::Scalar(scalar) => {
                    let value = Value::Float(self.scalar(scalar, at)?);
                    answer.entry(Labels::empty()).or_default().push((at, value));
                }
                Typed::Instant(instant) => {
                    for element in self.vector(instant, at)? {
                        answer.entry(element.labels).or_default().push((at, element.value));
                    }
                }
                _ => return Err(Fault::Unsure("not an answer that is compared")),
            }
        }
        Ok(answer)
    }

    fn whole_windows(&self, range: &Range, at: i64) -> Outcome<Answer> {
        let mut answer = Answer::new();
        for window in self.windows(range, at)? {
            if window.extension.is_some() {
                return Err(Fault::Unsure("an extended range by itself"));
            }
            answer.insert(window.labels, points(&window.samples));
        }
        Ok(answer)
    }
}

fn points(samples: &[Sample]) -> Vec<(i64, Value)> {
    samples.iter().map(|sample| (sample.timestamp.as_millis(), sample.value.clone())).collect()
}

/// Fails if two elements have the same labels.
fn distinct(elements: Vec<Element>) -> Outcome<Vec<Element>> {
    for (index, element) in elements.iter().enumerate() {
        if elements[..index].iter().any(|other| other.labels == element.labels) {
            return error("vector cannot contain metrics with the same labelset");
        }
    }
    Ok(elements)
}

/// The labels without the metric name, type and unit.
fn nameless(labels: &Labels) -> Labels {
    Labels::from_pairs(labels.iter().filter(|(name, _)| !["__name__", "__type__", "__unit__"].contains(name)))
}
