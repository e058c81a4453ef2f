//! Expressions: what does a node of the tree come to at one step?

use ferula_model::{Labels, Value};
use ferula_promql::check::{Instant, Scalar, ScalarOp, Set, SetOp, VectorOp, WithScalar};

use super::arithmetic::{arithmetic, combine, compare, unary};
use super::join::signature;
use super::{Element, Oracle, Outcome, distinct, error, nameless};

impl Oracle<'_> {
    pub(super) fn scalar(&self, scalar: &Scalar, at: i64) -> Outcome<f64> {
        Ok(match scalar {
            Scalar::Number(number) => *number,
            Scalar::Negate(operand) => -self.scalar(operand, at)?,
            Scalar::Binary(binary) => {
                let (left, right) = (self.scalar(&binary.left, at)?, self.scalar(&binary.right, at)?);
                match binary.op {
                    ScalarOp::Arithmetic(op) => arithmetic(op, left, right),
                    ScalarOp::Compare(op) => f64::from(u8::from(compare(op, left, right))),
                    ScalarOp::Trim(_) => return error("operator not allowed between scalars"),
                }
            }
            Scalar::Call(call) => self.scalar_call(call, at)?,
        })
    }

    pub(super) fn vector(&self, instant: &Instant, at: i64) -> Outcome<Vec<Element>> {
        match instant {
            Instant::Selector(selector) => {
                Ok(self.instant(selector, at)?.into_iter().map(|(element, _)| element).collect())
            }
            Instant::Negate(operand) => {
                let operand = self.vector(operand, at)?;
                distinct(
                    operand
                        .into_iter()
                        .map(|e| Element { labels: nameless(&e.labels), value: unary(&e.value) })
                        .collect(),
                )
            }
            Instant::Aggregate(aggregate) => self.aggregate(aggregate, at),
            Instant::WithScalar(operation) => self.with_scalar(operation, at),
            Instant::Join(join) => self.join(join, at),
            Instant::Set(set) => self.set(set, at),
            Instant::Call(call) => self.call(call, at),
        }
    }

    fn with_scalar(&self, operation: &WithScalar, at: i64) -> Outcome<Vec<Element>> {
        let scalar = Value::Float(self.scalar(&operation.scalar, at)?);
        let mut elements = Vec::new();
        for Element { labels, value } in self.vector(&operation.vector, at)? {
            let (left, right) = if operation.scalar_left { (&scalar, &value) } else { (&value, &scalar) };
            let keeps_name = matches!(operation.op, VectorOp::Filter(_) | VectorOp::Trim(_));
            let labels = if keeps_name { labels } else { nameless(&labels) };
            let result = match operation.op {
                // What is kept is the vector's value, on whichever side it stands.
                VectorOp::Filter(_) => combine(operation.op, left, right)?.map(|_| value.clone()),
                _ => combine(operation.op, left, right)?,
            };
            elements.extend(result.map(|value| Element { labels, value }));
        }
        distinct(elements)
    }

    fn set(&self, set: &Set, at: i64) -> Outcome<Vec<Element>> {
        let (left, right) = (self.vector(&set.left, at)?, self.vector(&set.right, at)?);
        let meets = |a: &Labels, b: &Labels| signature(a, set.on, &set.labels) == signature(b, set.on, &set.labels);
        let among =
            |element: &Element, others: &[Element]| others.iter().any(|other| meets(&element.labels, &other.labels));
        distinct(match set.op {
            SetOp::And => left.into_iter().filter(|element| among(element, &right)).collect(),
            SetOp::Unless => left.into_iter().filter(|element| !among(element, &right)).collect(),
            SetOp::Or => {
                let added: Vec<_> = right.into_iter().filter(|element| !among(element, &left)).collect();
                left.into_iter().chain(added).collect()
            }
        })
    }
}
