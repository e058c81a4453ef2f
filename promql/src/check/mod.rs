//! Is the query well typed, and what does it then consist of?
//!
//! ```text
//!  Expr --verify--> first mistake, in upstream's words
//!   '----lower----> Typed: scalar, string, instant, range; nothing can stand in the wrong place
//! ```
//!
//! [`parse`](crate::syntax::parse) verifies what it has read, so a parsed query always lowers. A tree that a program built
//! by hand is verified by [`lower`] itself.
//!
//! Source of the rules and texts: Prometheus 3.14, type checking of its parser.

mod lower;
mod typed;
mod verify;

use thiserror::Error;

pub use lower::lower;
pub use typed::{
    Aggregate, AggregateParam, Arg, ArithmeticOp, Call, CompareOp, Instant, Join, Range, Scalar, ScalarBinary,
    ScalarOp, Set, SetOp, Subquery, TrimOp, Typed, VectorOp, WithScalar,
};
pub(crate) use verify::verify;

use crate::syntax::{ParseErrorKind, Span};

/// The first mistake in a tree that is not well typed.
///
/// ```
/// use ferula_promql::check::lower;
/// use ferula_promql::syntax::ast::{Expr, Unary};
/// use ferula_promql::syntax::{Features, Span, parse};
///
/// // The parser refuses such a tree; a program can build it.
/// let text = parse("\"text\"", &Features::default()).unwrap();
/// let negated = Expr::Unary(Unary { negative: true, expr: Box::new(text), span: Span::default() });
/// assert!(lower(negated).unwrap_err().message.starts_with("unary expression only allowed"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct TypeError {
    /// The sort of mistake.
    pub kind: ParseErrorKind,
    /// What it is, in upstream's words.
    pub message: String,
    /// Where it is.
    pub span: Span,
}
