//! Functions, each written down as the specification has it.

use ferula_model::Labels;
use ferula_model::number::{FloatForm, format_float};
use ferula_promql::functions::FunctionId as Id;
use ferula_promql::syntax::ast::{Call, Expr};

use super::{Refusal, Twin, Value, Vector, distinct, map, sum, without_name};

/// A float as `count_values` writes it.
pub(super) fn shown(value: f64) -> String {
    format_float(value, FloatForm::Plain)
}

pub(super) fn quantile(quantile: f64, mut values: Vec<f64>) -> f64 {
    if quantile.is_nan() || values.is_empty() {
        return f64::NAN;
    }
    if !(0.0..=1.0).contains(&quantile) {
        return if quantile < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    let key = |value: f64| if value.is_nan() { f64::NEG_INFINITY } else { value };
    values.sort_by(|a, b| key(*a).total_cmp(&key(*b)).then(b.is_nan().cmp(&a.is_nan())));
    let rank = quantile * (values.len() - 1) as f64;
    let (lower, upper) = (rank.floor() as usize, (rank.floor() as usize + 1).min(values.len() - 1));
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}

impl Twin<'_> {
    pub(super) fn call(&self, call: &Call, at: i64) -> Result<Value, Refusal> {
        let id = call.function.builtin().ok_or(Refusal::Unknown)?;
        let arg = |index: usize| call.args.get(index).ok_or(Refusal::Unknown);
        let math: fn(f64) -> f64 = match id {
            Id::Abs => f64::abs,
            Id::Ceil => f64::ceil,
            Id::Floor => f64::floor,
            Id::Exp => f64::exp,
            Id::Ln => f64::ln,
            Id::Log2 => f64::log2,
            Id::Log10 => f64::log10,
            Id::Sqrt => f64::sqrt,
            Id::Sin => f64::sin,
            Id::Cos => f64::cos,
            Id::Tan => f64::tan,
            Id::Asin => f64::asin,
            Id::Acos => f64::acos,
            Id::Atan => f64::atan,
            Id::Tanh => f64::tanh,
            Id::Deg => |value| value * 180.0 / std::f64::consts::PI,
            Id::Rad => |value| value * std::f64::consts::PI / 180.0,
            Id::Sgn => |value| {
                if value > 0.0 {
                    1.0
                } else if value < 0.0 {
                    -1.0
                } else {
                    value
                }
            },
            _ => return self.other_call(id, call, at),
        };
        Ok(Value::Vector(distinct(map(without_name(self.vector(arg(0)?, at)?), math))?))
    }

    fn other_call(&self, id: Id, call: &Call, at: i64) -> Result<Value, Refusal> {
        let arg = |index: usize| call.args.get(index).ok_or(Refusal::Unknown);
        let named = |vector: Vector| distinct(without_name(vector)).map(Value::Vector);
        Ok(match id {
            Id::Time => Value::Scalar(at as f64 / 1000.0),
            Id::Pi => Value::Scalar(std::f64::consts::PI),
            Id::Vector => Value::Vector(vec![(Labels::empty(), self.scalar(arg(0)?, at)?)]),
            Id::Scalar => match self.vector(arg(0)?, at)?.as_slice() {
                [(_, value)] => Value::Scalar(*value),
                _ => Value::Scalar(f64::NAN),
            },
            Id::Sort | Id::SortDesc | Id::SortByLabel | Id::SortByLabelDesc => Value::Vector(self.vector(arg(0)?, at)?),
            Id::Timestamp => {
                let mut inner = arg(0)?;
                while let Expr::Paren(paren) = inner {
                    inner = &paren.expr;
                }
                match inner {
                    Expr::Selector(selector) => {
                        let found = self.newest(selector, at)?;
                        named(found.into_iter().map(|(labels, time, _)| (labels, time as f64 / 1000.0)).collect())?
                    }
                    other => named(map(self.vector(other, at)?, |_| at as f64 / 1000.0))?,
                }
            }
            Id::Clamp => {
                let (min, max) = (self.scalar(arg(1)?, at)?, self.scalar(arg(2)?, at)?);
                let vector = self.vector(arg(0)?, at)?;
                if max < min {
                    return Ok(Value::Vector(Vector::new()));
                }
                named(map(vector, |value| go_max(min, go_min(max, value))))?
            }
            Id::ClampMin => {
                let min = self.scalar(arg(1)?, at)?;
                named(map(self.vector(arg(0)?, at)?, |value| go_max(min, value)))?
            }
            Id::ClampMax => {
                let max = self.scalar(arg(1)?, at)?;
                named(map(self.vector(arg(0)?, at)?, |value| go_min(max, value)))?
            }
            Id::Round => {
                let to = call.args.get(1).map_or(Ok(1.0), |to| self.scalar(to, at))?;
                named(map(self.vector(arg(0)?, at)?, |value| (value * (1.0 / to) + 0.5).floor() / (1.0 / to)))?
            }
            Id::Absent => {
                let labels = match arg(0)? {
                    Expr::Selector(selector) if selector.matchers.len() == 1 => Labels::empty(),
                    Expr::Selector(_) => return Err(Refusal::Unknown),
                    _ => Labels::empty(),
                };
                match self.vector(arg(0)?, at)?.is_empty() {
                    true => Value::Vector(vec![(labels, 1.0)]),
                    false => Value::Vector(Vector::new()),
                }
            }
            Id::HistogramCount | Id::HistogramSum | Id::HistogramAvg | Id::HistogramStddev | Id::HistogramStdvar => {
                self.vector(arg(0)?, at)?;
                Value::Vector(Vector::new())
            }
            _ => self.over_window(id, call, at)?,
        })
    }

    fn over_window(&self, id: Id, call: &Call, at: i64) -> Result<Value, Refusal> {
        let (range, param) = match (id, call.args.as_slice()) {
            (Id::QuantileOverTime, [quantile, range]) => (range, self.scalar(quantile, at)?),
            (Id::PredictLinear, [range, ahead]) => (range, self.scalar(ahead, at)?),
            (_, [range]) => (range, 0.0),
            _ => return Err(Refusal::Unknown),
        };
        if !matches!(
            id,
            Id::Rate
                | Id::Increase
                | Id::Delta
                | Id::Irate
                | Id::Idelta
                | Id::Changes
                | Id::Resets
                | Id::CountOverTime
                | Id::PresentOverTime
                | Id::SumOverTime
                | Id::AvgOverTime
                | Id::MinOverTime
                | Id::MaxOverTime
                | Id::LastOverTime
                | Id::FirstOverTime
                | Id::QuantileOverTime
                | Id::TsOfLastOverTime
                | Id::TsOfMinOverTime
                | Id::TsOfMaxOverTime
                | Id::PredictLinear
                | Id::Deriv
        ) {
            return Err(Refusal::Unknown);
        }
        let window = self.window(range, at)?;
        let mut out = Vector::new();
        for (labels, samples) in window.series {
            if let Some(value) = of_window(id, &samples, window.start, window.end, at, param)? {
                let keeps = matches!(id, Id::LastOverTime | Id::FirstOverTime);
                out.push((if keeps { labels } else { labels.without_metric_name() }, value));
            }
        }
        Ok(Value::Vector(distinct(out)?))
    }
}

/// The smaller one; NaN wins over everything but the infinite.
fn go_min(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

fn go_max(a: f64, b: f64) -> f64 {
    -go_min(-a, -b)
}

/// What a function makes of the samples in `(start, end]`, of which there is at least one.
fn of_window(
    id: Id,
    samples: &[(i64, f64)],
    start: i64,
    end: i64,
    at: i64,
    param: f64,
) -> Result<Option<f64>, Refusal> {
    let values: Vec<f64> = samples.iter().map(|(_, value)| *value).collect();
    let count = values.len();
    let pairs = || values.iter().zip(&values[1..]);
    let last = samples[count - 1];
    let extreme = |better: fn(f64, f64) -> bool| {
        let mut best = samples[0];
        for sample in &samples[1..] {
            if best.1.is_nan() || better(sample.1, best.1) {
                best = *sample;
            }
        }
        best
    };
    let of_last_extreme = |better: fn(f64, f64) -> bool| extreme(better).0 as f64 / 1000.0;
    Ok(match id {
        Id::Rate => extrapolated(samples, start, end, true).map(|value| value / ((end - start) as f64 / 1000.0)),
        Id::Increase => extrapolated(samples, start, end, true),
        Id::Delta => extrapolated(samples, start, end, false),
        Id::Irate | Id::Idelta if count < 2 => None,
        Id::Irate => {
            let before = samples[count - 2];
            let risen = if last.1 < before.1 { last.1 } else { last.1 - before.1 };
            Some(risen / ((last.0 - before.0) as f64 / 1000.0))
        }
        Id::Idelta => Some(last.1 - samples[count - 2].1),
        Id::Changes => Some(pairs().filter(|(a, b)| a != b && !(a.is_nan() && b.is_nan())).count() as f64),
        Id::Resets => Some(pairs().filter(|(a, b)| b < a).count() as f64),
        Id::CountOverTime => Some(count as f64),
        Id::PresentOverTime => Some(1.0),
        Id::SumOverTime => Some(sum(values)),
        Id::AvgOverTime => {
            let mean = sum(values.iter().copied()) / count as f64;
            // Means beyond the largest float are another matter.
            if !mean.is_finite() && values.iter().all(|value| value.is_finite()) {
                return Err(Refusal::Unknown);
            }
            Some(if mean.is_nan() && !values.iter().any(|v| v.is_nan()) { f64::NAN } else { mean })
        }
        Id::MinOverTime => Some(extreme(|a, b| a < b).1),
        Id::MaxOverTime => Some(extreme(|a, b| a > b).1),
        Id::LastOverTime => Some(last.1),
        Id::FirstOverTime => Some(samples[0].1),
        Id::TsOfLastOverTime => Some(last.0 as f64 / 1000.0),
        Id::TsOfMinOverTime => Some(of_last_extreme(|a, b| a <= b)),
        Id::TsOfMaxOverTime => Some(of_last_extreme(|a, b| a >= b)),
        Id::QuantileOverTime => Some(quantile(param, values)),
        Id::Deriv => regression(samples, samples[0].0).map(|(slope, _)| slope),
        _ => regression(samples, at).map(|(slope, intercept)| slope * param + intercept),
    })
}

fn extrapolated(samples: &[(i64, f64)], start: i64, end: i64, is_counter: bool) -> Option<f64> {
    let [first, .., last] = samples else { return None };
    let mut risen = last.1 - first.1;
    if is_counter {
        for pair in samples.windows(2) {
            if pair[1].1 < pair[0].1 {
                risen += pair[0].1;
            }
        }
    }
    let seconds = |millis: i64| millis as f64 / 1000.0;
    let sampled = seconds(last.0 - first.0);
    let between = sampled / (samples.len() - 1) as f64;
    let (mut before, mut after) = (seconds(first.0 - start), seconds(end - last.0));
    if before >= between * 1.1 {
        before = between / 2.0;
    }
    if is_counter && risen > 0.0 && first.1 >= 0.0 {
        before = before.min(sampled * (first.1 / risen));
    }
    if after >= between * 1.1 {
        after = between / 2.0;
    }
    Some(risen * ((sampled + before + after) / sampled))
}

/// Slope and intercept of the least squares, time counted in seconds from `origin`.
fn regression(samples: &[(i64, f64)], origin: i64) -> Option<(f64, f64)> {
    if samples.len() < 2 {
        return None;
    }
    let first = samples[0].1;
    if samples.iter().all(|(_, value)| *value == first) {
        return Some(if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) });
    }
    let count = samples.len() as f64;
    let x = |time: i64| (time - origin) as f64 / 1000.0;
    let sum_x = sum(samples.iter().map(|(time, _)| x(*time)));
    let sum_y = sum(samples.iter().map(|(_, value)| *value));
    let sum_xy = sum(samples.iter().map(|(time, value)| x(*time) * value));
    let sum_xx = sum(samples.iter().map(|(time, _)| x(*time) * x(*time)));
    let slope = (sum_xy - sum_x * sum_y / count) / (sum_xx - sum_x * sum_x / count);
    Some((slope, sum_y / count - slope * sum_x / count))
}
