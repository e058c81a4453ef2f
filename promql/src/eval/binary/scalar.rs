//! A vector and a scalar.

use super::element::{self, Outcome};
use crate::check::{ArithmeticOp, CompareOp, VectorOp};
use crate::error::QueryError;
use crate::eval::build::ScalarSteps;
use crate::eval::steps::{Point, PointRef, StepVector};
use crate::eval::{BoxOperator, Env, Head, Operator, Worker, renamed};
use crate::functions::note::{Notes, Place};

/// Combines each series with the scalar, step by step.
pub(crate) struct WithScalar<'q> {
    child: BoxOperator<'q>,
    heads: Vec<Head>,
    op: VectorOp,
    scalar: ScalarSteps,
    scalar_left: bool,
    place: Place,
}

impl<'q> WithScalar<'q> {
    pub(crate) fn new(
        env: &Env<'_>,
        child: BoxOperator<'q>,
        op: VectorOp,
        scalar: ScalarSteps,
        scalar_left: bool,
        place: Place,
    ) -> Self {
        let drops_name = matches!(op, VectorOp::Arithmetic(_) | VectorOp::CompareBool(_));
        let name = |head: &Head| if drops_name { env.settings.without_name(head) } else { head.clone() };
        let heads = renamed(child.heads(), name);
        Self { child, heads, op, scalar, scalar_left, place }
    }

    fn floats(&self, out: &mut StepVector) {
        match self.op {
            VectorOp::Arithmetic(op) => self.arithmetic(op, out),
            VectorOp::Filter(op) => {
                for step in 0..out.steps() {
                    if out.present.get(step) && !self.holds(op, step, out.floats[step]) {
                        out.present.clear(step);
                    }
                }
            }
            VectorOp::CompareBool(op) => {
                for step in 0..out.steps() {
                    out.floats[step] = f64::from(u8::from(self.holds(op, step, out.floats[step])));
                }
            }
            VectorOp::Trim(_) => {}
        }
    }

    fn holds(&self, op: CompareOp, step: usize, value: f64) -> bool {
        let scalar = self.scalar.at(step);
        if self.scalar_left { element::compare(op, scalar, value) } else { element::compare(op, value, scalar) }
    }

    /// Values of absent steps are computed too: they mean nothing, and the loop has no branch.
    fn arithmetic(&self, op: ArithmeticOp, out: &mut StepVector) {
        if let ScalarSteps::Constant(scalar) = self.scalar {
            return match (op, self.scalar_left) {
                (ArithmeticOp::Add, _) => out.floats.iter_mut().for_each(|value| *value += scalar),
                (ArithmeticOp::Mul, _) => out.floats.iter_mut().for_each(|value| *value *= scalar),
                (ArithmeticOp::Div, false) => out.floats.iter_mut().for_each(|value| *value /= scalar),
                (op, true) => {
                    out.floats.iter_mut().for_each(|value| *value = element::arithmetic(op, scalar, *value));
                }
                (op, false) => {
                    out.floats.iter_mut().for_each(|value| *value = element::arithmetic(op, *value, scalar));
                }
            };
        }
        for (step, value) in out.floats.iter_mut().enumerate() {
            let scalar = self.scalar.at(step);
            *value = if self.scalar_left {
                element::arithmetic(op, scalar, *value)
            } else {
                element::arithmetic(op, *value, scalar)
            };
        }
    }

    fn one_by_one(&self, notes: &mut Notes<'_>, out: &mut StepVector) {
        for step in 0..out.steps() {
            let Some(point) = out.get(step) else { continue };
            let scalar = PointRef::Float(self.scalar.at(step));
            let mut note = None;
            let outcome = if self.scalar_left {
                element::combine(self.op, scalar, point, &mut note)
            } else {
                element::combine(self.op, point, scalar, &mut note)
            };
            if let Some(note) = note {
                note.write(self.op, notes);
            }
            let is_bool = matches!(self.op, VectorOp::CompareBool(_));
            match outcome {
                Outcome::Holds if !is_bool => {}
                Outcome::Value(value) => {
                    out.clear(step);
                    out.set(step, value);
                }
                Outcome::Holds | Outcome::Fails if is_bool => {
                    let holds = matches!(outcome, Outcome::Holds);
                    out.clear(step);
                    out.set(step, Point::Float(f64::from(u8::from(holds))));
                }
                _ => out.clear(step),
            }
        }
    }
}

impl Operator for WithScalar<'_> {
    fn heads(&self) -> &[Head] {
        &self.heads
    }

    fn steps(&self) -> usize {
        self.child.steps()
    }

    fn compute(&self, index: usize, worker: &mut Worker, out: &mut StepVector) -> Result<(), QueryError> {
        self.child.compute(index, worker, out)?;
        if out.histograms.is_empty() && !matches!(self.op, VectorOp::Trim(_)) {
            self.floats(out);
        } else {
            self.one_by_one(&mut Notes::new(&mut worker.annotations, self.place), out);
        }
        Ok(())
    }

    fn is_distinct(&self) -> bool {
        self.child.is_distinct()
    }
}
