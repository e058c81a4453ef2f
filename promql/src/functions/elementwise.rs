//! Functions of one sample: what becomes of each, whatever its neighbours are?

use std::sync::Arc;

use super::FunctionId;
use super::date::DatePart;
use crate::eval::build::ScalarSteps;
use crate::eval::steps::StepVector;
use ferula_model::{FloatHistogram, StepGrid};

/// What is done to each sample.
pub(crate) enum Elementwise {
    /// Floats are changed, histograms dropped.
    Math(fn(f64) -> f64),
    /// Floats are kept between bounds; histograms are dropped.
    Clamp { min: Option<ScalarSteps>, max: Option<ScalarSteps> },
    /// Floats are rounded to a multiple; histograms are dropped.
    Round { to: ScalarSteps },
    /// Floats are taken for times; histograms are dropped.
    Date(DatePart),
    /// Histograms become a number, floats are dropped.
    Statistic(fn(&FloatHistogram) -> f64),
    /// Both kinds become the time of the step, in seconds.
    StepTime,
    /// Both kinds change their sign.
    Negate,
}

impl Elementwise {
    /// What a function of the table does, if it is one of these. `params` are its scalar arguments.
    pub(crate) fn of(function: FunctionId, params: &[ScalarSteps]) -> Option<Self> {
        let param = |index: usize| params.get(index).cloned();
        Some(match function {
            FunctionId::Clamp => Self::Clamp { min: param(0), max: param(1) },
            FunctionId::ClampMin => Self::Clamp { min: param(0), max: None },
            FunctionId::ClampMax => Self::Clamp { min: None, max: param(0) },
            FunctionId::Round => Self::Round { to: param(0).unwrap_or(ScalarSteps::Constant(1.0)) },
            FunctionId::Timestamp => Self::StepTime,
            FunctionId::HistogramCount => Self::Statistic(|h| h.count),
            FunctionId::HistogramSum => Self::Statistic(|h| h.sum),
            FunctionId::HistogramAvg => Self::Statistic(FloatHistogram::mean),
            FunctionId::HistogramStddev => Self::Statistic(FloatHistogram::standard_deviation),
            FunctionId::HistogramStdvar => Self::Statistic(FloatHistogram::variance),
            other => return math(other).map(Self::Math).or_else(|| date_part(other).map(Self::Date)),
        })
    }

    /// Applies it to all steps of a series.
    pub(crate) fn apply(&self, grid: StepGrid, vector: &mut StepVector) {
        match self {
            Self::Math(function) => {
                vector.floats_only();
                map_floats(vector, |_, value| function(value));
            }
            Self::Date(part) => {
                vector.floats_only();
                map_floats(vector, |_, value| part.of(value));
            }
            Self::Round { to } => {
                vector.floats_only();
                map_floats(vector, |step, value| {
                    // Dividing once and multiplying by the inverse, as upstream does.
                    let inverse = 1.0 / to.at(step);
                    (value * inverse + 0.5).floor() / inverse
                });
            }
            Self::Clamp { min, max } => clamp(vector, min.as_ref(), max.as_ref()),
            Self::Statistic(statistic) => {
                vector.present.reset(vector.floats.len());
                for (step, histogram) in std::mem::take(&mut vector.histograms).into_iter().enumerate() {
                    if let Some(histogram) = histogram {
                        vector.set_float(step, statistic(&histogram));
                    }
                }
            }
            Self::StepTime => {
                for step in 0..vector.steps() {
                    if vector.has(step) {
                        vector.clear(step);
                        vector.set_float(step, grid.at(step).as_secs_f64());
                    }
                }
            }
            Self::Negate => {
                vector.floats.iter_mut().for_each(|value| *value = -*value);
                for histogram in vector.histograms.iter_mut().flatten() {
                    Arc::make_mut(histogram).multiply(-1.0);
                }
            }
        }
    }
}

fn map_floats(vector: &mut StepVector, function: impl Fn(usize, f64) -> f64) {
    let StepVector { floats, present, .. } = vector;
    for step in present.iter() {
        floats[step] = function(step, floats[step]);
    }
}

fn clamp(vector: &mut StepVector, min: Option<&ScalarSteps>, max: Option<&ScalarSteps>) {
    vector.floats_only();
    for step in 0..vector.steps() {
        if !vector.present.get(step) {
            continue;
        }
        let low = min.map_or(f64::NEG_INFINITY, |min| min.at(step));
        let high = max.map_or(f64::INFINITY, |max| max.at(step));
        if high < low {
            vector.present.clear(step);
            continue;
        }
        vector.floats[step] = go_max(low, go_min(high, vector.floats[step]));
    }
}

/// Go's `math.Max`: NaN wins.
pub(crate) fn go_max(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        return f64::INFINITY;
    }
    if a.is_nan() || b.is_nan() {
        return f64::NAN;
    }
    a.max(b)
}

/// Go's `math.Min`: NaN wins, unless the other is -Inf.
pub(crate) fn go_min(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    if a.is_nan() || b.is_nan() {
        return f64::NAN;
    }
    a.min(b)
}

fn math(function: FunctionId) -> Option<fn(f64) -> f64> {
    Some(match function {
        FunctionId::Abs => f64::abs,
        FunctionId::Ceil => f64::ceil,
        FunctionId::Floor => f64::floor,
        FunctionId::Exp => f64::exp,
        FunctionId::Ln => f64::ln,
        FunctionId::Log2 => f64::log2,
        FunctionId::Log10 => f64::log10,
        FunctionId::Sqrt => f64::sqrt,
        FunctionId::Sgn => |value| {
            if value < 0.0 {
                -1.0
            } else if value > 0.0 {
                1.0
            } else {
                value
            }
        },
        FunctionId::Sin => f64::sin,
        FunctionId::Cos => f64::cos,
        FunctionId::Tan => f64::tan,
        FunctionId::Asin => f64::asin,
        FunctionId::Acos => f64::acos,
        FunctionId::Atan => f64::atan,
        FunctionId::Sinh => sinh,
        FunctionId::Cosh => cosh,
        FunctionId::Tanh => f64::tanh,
        FunctionId::Asinh => asinh,
        FunctionId::Acosh => acosh,
        FunctionId::Atanh => f64::atanh,
        FunctionId::Deg => |value| value * 180.0 / std::f64::consts::PI,
        FunctionId::Rad => |value| value * std::f64::consts::PI / 180.0,
        _ => return None,
    })
}

fn date_part(function: FunctionId) -> Option<DatePart> {
    Some(match function {
        FunctionId::Minute => DatePart::Minute,
        FunctionId::Hour => DatePart::Hour,
        FunctionId::DayOfWeek => DatePart::DayOfWeek,
        FunctionId::DayOfMonth => DatePart::DayOfMonth,
        FunctionId::DayOfYear => DatePart::DayOfYear,
        FunctionId::DaysInMonth => DatePart::DaysInMonth,
        FunctionId::Month => DatePart::Month,
        FunctionId::Year => DatePart::Year,
        _ => return None,
    })
}

/// Where the square of a number, plus or minus one, is the square itself.
const LARGE: f64 = 268_435_456.0;

/// Finite for every finite number: the standard library's doubles its operand first.
fn asinh(value: f64) -> f64 {
    if value.abs() > LARGE { (value.abs().ln() + std::f64::consts::LN_2).copysign(value) } else { value.asinh() }
}

/// Finite for every finite number from 1.
fn acosh(value: f64) -> f64 {
    if value > LARGE { value.ln() + std::f64::consts::LN_2 } else { value.acosh() }
}

/// Go's `math.Sinh`, which is infinite from where `exp` is.
fn sinh(value: f64) -> f64 {
    if value.abs() > 21.0 { (value.abs().exp() * 0.5).copysign(value) } else { value.sinh() }
}

/// Go's `math.Cosh`, which is infinite from where `exp` is.
fn cosh(value: f64) -> f64 {
    if value.abs() > 21.0 { value.abs().exp() * 0.5 } else { value.cosh() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverse_hyperbolic_functions_do_not_overflow() {
        assert_eq!(asinh(f64::MAX), 710.475_860_073_943_9);
        assert_eq!(asinh(-f64::MAX), -710.475_860_073_943_9);
        assert_eq!(acosh(f64::MAX), 710.475_860_073_943_9);
        assert_eq!(asinh(f64::NEG_INFINITY), f64::NEG_INFINITY);
        assert!(acosh(0.5).is_nan() && asinh(f64::NAN).is_nan());
    }
}
