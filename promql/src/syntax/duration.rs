//! How long is a length that was written as an expression?

use thiserror::Error;

use super::ast::{DurationExpr, DurationOp, Length};
use super::span::Span;

/// A length that cannot be computed for this query.
///
/// ```
/// use ferula_promql::syntax::ast::Expr;
/// use ferula_promql::syntax::duration::{LengthProblem, QueryTimes};
/// use ferula_promql::syntax::{Features, parse};
///
/// let expr = parse("up[5m / step()]", &Features::all()).unwrap();
/// let Expr::Matrix(matrix) = expr else { panic!("{expr}") };
/// let instant = QueryTimes { step_millis: 0, range_millis: 0 };
/// assert_eq!(matrix.range.millis(instant, false).unwrap_err().problem, LengthProblem::DivisionByZero);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{}:{}: {}", .span.start, .span.end, .problem)]
pub struct LengthError {
    /// The expression.
    pub span: Span,
    /// What is wrong with it.
    pub problem: LengthProblem,
}

/// What is wrong with a length.
///
/// ```
/// use ferula_promql::syntax::duration::LengthProblem;
///
/// assert_eq!(LengthProblem::NotPositive.to_string(), "duration must be greater than 0");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LengthProblem {
    /// The right side of `/` is 0.
    #[error("division by zero")]
    DivisionByZero,
    /// The right side of `%` is 0.
    #[error("modulo by zero")]
    ModuloByZero,
    /// Only an offset may be zero or negative.
    #[error("duration must be greater than 0")]
    NotPositive,
    /// Not a number, or more nanoseconds than 64 bits hold.
    #[error("duration is out of range")]
    OutOfRange,
}

/// What duration expressions may ask about the query they stand in.
///
/// ```
/// use ferula_promql::syntax::duration::QueryTimes;
///
/// let instant_query = QueryTimes::default();
/// assert_eq!((instant_query.step_millis, instant_query.range_millis), (0, 0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryTimes {
    /// The step in milliseconds; 0 for an instant query.
    pub step_millis: i64,
    /// End minus start in milliseconds; 0 for an instant query.
    pub range_millis: i64,
}

impl Length {
    /// The length in whole milliseconds. Literals are cut to milliseconds as the engine of Prometheus cuts them.
    /// `signed` is true behind `offset`, where zero and negative lengths are allowed.
    ///
    /// # Errors
    ///
    /// Only of an expression: see [`DurationExpr::resolve`].
    pub fn millis(&self, times: QueryTimes, signed: bool) -> Result<i64, LengthError> {
        match self {
            Self::Nanos(nanos) => Ok(nanos / 1_000_000),
            Self::Expr(expr) => expr.resolve(times, signed),
        }
    }
}

impl DurationExpr {
    /// The value in whole milliseconds, cut towards zero.
    ///
    /// # Errors
    ///
    /// See [`LengthProblem`].
    pub fn resolve(&self, times: QueryTimes, signed: bool) -> Result<i64, LengthError> {
        let seconds = self.seconds(times)?;
        let fail = |problem| Err(LengthError { span: self.span(), problem });
        if seconds <= 0.0 && !signed {
            return fail(LengthProblem::NotPositive);
        }
        // The bound is the number of nanoseconds in a signed 64-bit integer.
        if !seconds.is_finite() || (seconds * 1e9).abs() >= 9_223_372_036_854_775_808.0 {
            return fail(LengthProblem::OutOfRange);
        }
        Ok((seconds * 1000.0) as i64)
    }

    fn seconds(&self, times: QueryTimes) -> Result<f64, LengthError> {
        Ok(match self {
            Self::Number(number) => number.value,
            Self::Step(_) => times.step_millis as f64 / 1000.0,
            Self::Range(_) => times.range_millis as f64 / 1000.0,
            Self::Paren { inner, .. } => inner.seconds(times)?,
            Self::Unary { negative: true, operand, .. } => -operand.seconds(times)?,
            Self::Unary { negative: false, operand, .. } => operand.seconds(times)?,
            Self::Binary { op, left, right, .. } => {
                let (left, right) = (left.seconds(times)?, right.seconds(times)?);
                let fail = |problem| Err(LengthError { span: self.span(), problem });
                match op {
                    DurationOp::Add => left + right,
                    DurationOp::Sub => left - right,
                    DurationOp::Mul => left * right,
                    DurationOp::Div if right == 0.0 => return fail(LengthProblem::DivisionByZero),
                    DurationOp::Div => left / right,
                    DurationOp::Mod if right == 0.0 => return fail(LengthProblem::ModuloByZero),
                    DurationOp::Mod => left % right,
                    DurationOp::Pow => left.powf(right),
                    DurationOp::Min => left.min(right),
                    DurationOp::Max => left.max(right),
                }
            }
        })
    }
}
