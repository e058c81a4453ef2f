//! Operators between two samples.

use ferula_model::{CounterResetHint, FloatHistogram, Histogram, Value};
use ferula_promql::check::{ArithmeticOp, CompareOp, TrimOp, VectorOp};

use super::Outcome;
use super::buckets::Buckets;
use super::select::tame_histograms;

pub(super) fn arithmetic(op: ArithmeticOp, left: f64, right: f64) -> f64 {
    match op {
        ArithmeticOp::Add => left + right,
        ArithmeticOp::Sub => left - right,
        ArithmeticOp::Mul => left * right,
        ArithmeticOp::Div => left / right,
        ArithmeticOp::Mod => left % right,
        ArithmeticOp::Pow => left.powf(right),
        ArithmeticOp::Atan2 => left.atan2(right),
    }
}

pub(super) fn compare(op: CompareOp, left: f64, right: f64) -> bool {
    match op {
        CompareOp::Equal => left == right,
        CompareOp::NotEqual => left != right,
        CompareOp::Greater => left > right,
        CompareOp::Less => left < right,
        CompareOp::GreaterOrEqual => left >= right,
        CompareOp::LessOrEqual => left <= right,
    }
}

/// With the other sign.
pub(super) fn unary(value: &Value) -> Value {
    match value {
        Value::Float(value) => Value::Float(-value),
        Value::Histogram(histogram) => changed(histogram, |histogram| histogram.multiply(-1.0)),
    }
}

fn changed(histogram: &Histogram, change: impl FnOnce(&mut FloatHistogram)) -> Value {
    let mut histogram = FloatHistogram::clone(&histogram.to_float());
    change(&mut histogram);
    Value::Histogram(histogram.into())
}

/// What an operation of two samples gives; `None` if nothing. A comparison that holds gives its left operand.
pub(super) fn combine(op: VectorOp, left: &Value, right: &Value) -> Outcome<Option<Value>> {
    use ArithmeticOp::{Add, Div, Mul, Sub};
    use Value::{Float, Histogram};
    let truth = |holds: bool| Value::Float(f64::from(u8::from(holds)));
    Ok(match (op, left, right) {
        (VectorOp::Arithmetic(op), Float(left), Float(right)) => Some(Float(arithmetic(op, *left, *right))),
        (VectorOp::Filter(op), Float(a), Float(b)) => compare(op, *a, *b).then(|| left.clone()),
        (VectorOp::CompareBool(op), Float(left), Float(right)) => Some(truth(compare(op, *left, *right))),
        (VectorOp::Arithmetic(Mul), Float(factor), Histogram(histogram))
        | (VectorOp::Arithmetic(Mul), Histogram(histogram), Float(factor)) => {
            Some(changed(histogram, |histogram| histogram.multiply(*factor)))
        }
        (VectorOp::Arithmetic(Div), Histogram(histogram), Float(divisor)) => {
            Some(changed(histogram, |histogram| histogram.divide(*divisor)))
        }
        (VectorOp::Trim(TrimOp::Upper), Histogram(histogram), Float(bound)) => {
            Some(changed(histogram, |histogram| histogram.trim_upper(*bound)))
        }
        (VectorOp::Trim(TrimOp::Lower), Histogram(histogram), Float(bound)) => {
            Some(changed(histogram, |histogram| histogram.trim_lower(*bound)))
        }
        (VectorOp::Arithmetic(op @ (Add | Sub)), Histogram(a), Histogram(b)) => {
            let hints = [a.to_float().counter_reset, b.to_float().counter_reset];
            // The warning about it takes the place of the result.
            if hints.contains(&CounterResetHint::Reset) && hints.contains(&CounterResetHint::NotReset) {
                return Ok(None);
            }
            let histograms = tame_histograms([left, right])?;
            let sum = Buckets::of(&histograms[0]).add(&histograms[1], if op == Add { 1.0 } else { -1.0 });
            sum.map(|sum| Value::Histogram(sum.times(1.0).into()))
        }
        (VectorOp::Filter(op), Histogram(a), Histogram(b)) => {
            equality(op, a, b).filter(|holds| *holds).map(|_| left.clone())
        }
        (VectorOp::CompareBool(op), Histogram(a), Histogram(b)) => equality(op, a, b).map(truth),
        _ => None,
    })
}

fn equality(op: CompareOp, left: &Histogram, right: &Histogram) -> Option<bool> {
    let equal = || {
        let [mut left, mut right] = [left, right].map(|histogram| FloatHistogram::clone(&histogram.to_float()));
        left.compact(0);
        right.compact(0);
        left.equals(&right)
    };
    match op {
        CompareOp::Equal => Some(equal()),
        CompareOp::NotEqual => Some(!equal()),
        _ => None,
    }
}
