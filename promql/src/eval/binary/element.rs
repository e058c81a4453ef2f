//! Two samples and an operator.
//!
//! Which kinds of samples an operator takes stands in section 2.7 of the specification; whatever it does not take
//! vanishes with a note.

use std::sync::Arc;

use ferula_model::histogram::{Combined, IncompatibleSchemas};
use ferula_model::{CounterResetHint, FloatHistogram};

use crate::check::{ArithmeticOp, CompareOp, ScalarOp, TrimOp, VectorOp};
use crate::error::QueryError;
use crate::eval::steps::{Point, PointRef};
use crate::functions::note::{HistogramOperation, Notes};

/// What an operator makes of two samples.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A sample.
    Value(Point),
    /// A comparison that holds; the answer is one of the operands, or 1.
    Holds,
    /// A comparison that does not hold.
    Fails,
    /// The operator does not take these.
    Nothing,
}

/// What there is to say about two samples and an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BinaryNote {
    IncompatibleTypes { left: &'static str, right: &'static str },
    IncompatibleBuckets,
    Reconciled(HistogramOperation),
    Collided(HistogramOperation),
}

impl BinaryNote {
    pub(crate) fn write(self, op: VectorOp, notes: &mut Notes<'_>) {
        match self {
            Self::IncompatibleTypes { left, right } => notes.incompatible_types(left, op.as_str(), right),
            Self::IncompatibleBuckets => notes.incompatible_buckets(op.as_str()),
            Self::Reconciled(operation) => notes.custom_buckets_reconciled(operation),
            Self::Collided(operation) => notes.counter_reset_collision(operation),
        }
    }
}

/// Arithmetic on floats.
#[inline]
pub(crate) fn arithmetic(op: ArithmeticOp, left: f64, right: f64) -> f64 {
    match op {
        ArithmeticOp::Add => left + right,
        ArithmeticOp::Sub => left - right,
        ArithmeticOp::Mul => left * right,
        ArithmeticOp::Div => left / right,
        ArithmeticOp::Mod => left % right,
        ArithmeticOp::Pow => power(left, right),
        ArithmeticOp::Atan2 => left.atan2(right),
    }
}

/// Go's `math.Pow`, which agrees with C's but for one case: (-1) to the infinite is 1 in both, 1 to anything is 1.
fn power(base: f64, exponent: f64) -> f64 {
    base.powf(exponent)
}

/// A comparison of floats.
#[inline]
pub(crate) fn compare(op: CompareOp, left: f64, right: f64) -> bool {
    match op {
        CompareOp::Equal => left == right,
        CompareOp::NotEqual => left != right,
        CompareOp::Less => left < right,
        CompareOp::LessOrEqual => left <= right,
        CompareOp::Greater => left > right,
        CompareOp::GreaterOrEqual => left >= right,
    }
}

/// Two scalars.
pub(crate) fn scalars(op: ScalarOp, left: f64, right: f64) -> Result<f64, QueryError> {
    match op {
        ScalarOp::Arithmetic(op) => Ok(arithmetic(op, left, right)),
        ScalarOp::Compare(op) => Ok(f64::from(u8::from(compare(op, left, right)))),
        ScalarOp::Trim(op) => {
            Err(QueryError::execution(format!("operator \"{}\" not allowed for Scalar operations", op.as_str())))
        }
    }
}

/// Two samples of any kind. A note is left in `note`, over whatever stands there.
pub(crate) fn combine(op: VectorOp, left: PointRef<'_>, right: PointRef<'_>, note: &mut Option<BinaryNote>) -> Outcome {
    match (left, right) {
        (PointRef::Float(left), PointRef::Float(right)) => match op {
            VectorOp::Arithmetic(op) => Outcome::Value(Point::Float(arithmetic(op, left, right))),
            VectorOp::Filter(op) | VectorOp::CompareBool(op) => verdict(compare(op, left, right)),
            VectorOp::Trim(_) => incompatible("float", "float", note),
        },
        (PointRef::Float(factor), PointRef::Histogram(histogram)) => match op {
            VectorOp::Arithmetic(ArithmeticOp::Mul) => scaled(histogram, |h| h.multiply(factor)),
            _ => incompatible("float", "histogram", note),
        },
        (PointRef::Histogram(histogram), PointRef::Float(number)) => match op {
            VectorOp::Arithmetic(ArithmeticOp::Mul) => scaled(histogram, |h| h.multiply(number)),
            VectorOp::Arithmetic(ArithmeticOp::Div) => scaled(histogram, |h| h.divide(number)),
            VectorOp::Trim(TrimOp::Upper) => scaled(histogram, |h| h.trim_upper(number)),
            VectorOp::Trim(TrimOp::Lower) => scaled(histogram, |h| h.trim_lower(number)),
            _ => incompatible("histogram", "float", note),
        },
        (PointRef::Histogram(left), PointRef::Histogram(right)) => match op {
            VectorOp::Arithmetic(ArithmeticOp::Add) => sum(left, right, note),
            VectorOp::Arithmetic(ArithmeticOp::Sub) => difference(left, right, note),
            VectorOp::Filter(CompareOp::Equal) | VectorOp::CompareBool(CompareOp::Equal) => verdict(left.equals(right)),
            VectorOp::Filter(CompareOp::NotEqual) | VectorOp::CompareBool(CompareOp::NotEqual) => {
                verdict(!left.equals(right))
            }
            _ => incompatible("histogram", "histogram", note),
        },
    }
}

fn verdict(holds: bool) -> Outcome {
    if holds { Outcome::Holds } else { Outcome::Fails }
}

fn incompatible(left: &'static str, right: &'static str, note: &mut Option<BinaryNote>) -> Outcome {
    *note = Some(BinaryNote::IncompatibleTypes { left, right });
    Outcome::Nothing
}

fn scaled(histogram: &Arc<FloatHistogram>, change: impl FnOnce(&mut FloatHistogram)) -> Outcome {
    let mut changed = (**histogram).clone();
    change(&mut changed);
    changed.compact(0);
    Outcome::Value(Point::Histogram(Arc::new(changed)))
}

fn sum(left: &FloatHistogram, right: &FloatHistogram, note: &mut Option<BinaryNote>) -> Outcome {
    let mut result = left.clone();
    let combined = result.add(right);
    finish(result, combined, HistogramOperation::Addition, note)
}

fn difference(left: &FloatHistogram, right: &FloatHistogram, note: &mut Option<BinaryNote>) -> Outcome {
    let mut result = left.clone();
    let combined = result.sub(right);
    result.counter_reset = CounterResetHint::Gauge;
    finish(result, combined, HistogramOperation::Subtraction, note)
}

fn finish(
    mut result: FloatHistogram,
    combined: Result<Combined, IncompatibleSchemas>,
    operation: HistogramOperation,
    note: &mut Option<BinaryNote>,
) -> Outcome {
    match combined {
        Err(IncompatibleSchemas) => {
            *note = Some(BinaryNote::IncompatibleBuckets);
            Outcome::Nothing
        }
        Ok(combined) => {
            if combined.bounds_reconciled {
                *note = Some(BinaryNote::Reconciled(operation));
            }
            if combined.hints_collided {
                // Upstream takes this warning for an error and drops the element.
                *note = Some(BinaryNote::Collided(operation));
                return Outcome::Nothing;
            }
            result.compact(0);
            Outcome::Value(Point::Histogram(Arc::new(result)))
        }
    }
}
