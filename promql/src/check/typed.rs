//! What does a well-typed query consist of? A tree in which nothing can stand in the wrong place.
//!
//! ```text
//!  Typed --- Scalar    one float per step
//!        |-- Instant   samples per series and step: what operators yield
//!        |-- Range     samples of a window per series and step: only selectors and subqueries
//!        '-- String    a literal
//! ```
//!
//! Parentheses and unary plus are gone; what they could influence, the positions in messages, is kept as spans.

use crate::functions::Function;
use crate::syntax::ast::{
    AggregateOp, Grouping, Length, MatrixSelector, Modifiers, StringLiteral, VectorMatching, VectorSelector,
};
use crate::syntax::span::Span;

/// A query of one of the four types.
///
/// ```
/// use ferula_promql::check::{Range, Typed, lower};
/// use ferula_promql::syntax::{Features, parse};
///
/// let typed = lower(parse("up[5m]", &Features::all()).unwrap()).unwrap();
/// let Typed::Range(range) = typed else { panic!("{typed:?}") };
/// assert!(matches!(range, Range::Selector(_)));
/// ```
#[derive(Clone, Debug)]
pub enum Typed {
    /// One float per step.
    Scalar(Scalar),
    /// A text.
    String(StringLiteral),
    /// One sample per series and step.
    Instant(Instant),
    /// A range of samples per series. Only instant queries may answer it.
    Range(Range),
}

/// An expression with one float per step.
///
/// ```
/// use ferula_promql::check::{Scalar, Typed, lower};
/// use ferula_promql::syntax::{Features, parse};
///
/// let typed = lower(parse("(5m)", &Features::all()).unwrap()).unwrap();
/// let Typed::Scalar(scalar) = typed else { panic!("{typed:?}") };
/// assert!(matches!(scalar, Scalar::Number(300.0)));
/// ```
#[derive(Clone, Debug)]
pub enum Scalar {
    /// A literal.
    Number(f64),
    /// `-a`
    Negate(Box<Scalar>),
    /// An operation on two scalars; of comparisons, the `bool` form.
    Binary(Box<ScalarBinary>),
    /// A function that answers a scalar.
    Call(Call),
}

/// An operation on two scalars.
///
/// ```
/// use ferula_promql::check::{Scalar, Typed, lower};
/// use ferula_promql::syntax::{Features, parse};
///
/// let typed = lower(parse("1 + 2", &Features::all()).unwrap()).unwrap();
/// let Typed::Scalar(Scalar::Binary(sum)) = typed else { panic!("{typed:?}") };
/// assert!(matches!(sum.left, Scalar::Number(1.0)));
/// ```
#[derive(Clone, Debug)]
pub struct ScalarBinary {
    /// Which one. A comparison answers 0 or 1.
    pub op: ScalarOp,
    /// Left operand.
    pub left: Scalar,
    /// Right operand.
    pub right: Scalar,
    /// Where both operands and the operator stand.
    pub span: Span,
}

/// Operations on two scalars.
///
/// ```
/// use ferula_promql::check::{CompareOp, Scalar, ScalarOp, Typed, lower};
/// use ferula_promql::syntax::{Features, parse};
///
/// let typed = lower(parse("1 < bool 2", &Features::all()).unwrap()).unwrap();
/// let Typed::Scalar(Scalar::Binary(node)) = typed else { panic!("{typed:?}") };
/// assert_eq!(node.op, ScalarOp::Compare(CompareOp::Less));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScalarOp {
    /// Arithmetic.
    Arithmetic(ArithmeticOp),
    /// A comparison that answers 0 or 1.
    Compare(CompareOp),
    /// A trim, which the grammar allows between scalars and the evaluation refuses.
    Trim(TrimOp),
}

/// An expression with one sample per series and step.
///
/// ```
/// use ferula_promql::check::{Instant, Typed, lower};
/// use ferula_promql::syntax::{Features, parse};
///
/// let typed = lower(parse("-up", &Features::all()).unwrap()).unwrap();
/// let Typed::Instant(instant) = typed else { panic!("{typed:?}") };
/// assert!(matches!(instant, Instant::Negate(_)));
/// ```
#[derive(Clone, Debug)]
pub enum Instant {
    /// A selector.
    Selector(Box<VectorSelector>),
    /// `-a`
    Negate(Box<Instant>),
    /// An aggregation.
    Aggregate(Box<Aggregate>),
    /// An operation between a vector and a scalar.
    WithScalar(Box<WithScalar>),
    /// An operation between two vectors.
    Join(Box<Join>),
    /// `and`, `or`, `unless`
    Set(Box<Set>),
    /// A function that answers an instant vector.
    Call(Call),
}

/// An aggregation.
///
/// ```
/// use ferula_promql::check::{Instant, Typed, lower};
/// use ferula_promql::syntax::{Features, parse};
///
/// let typed = lower(parse("sum by (job) (up)", &Features::all()).unwrap()).unwrap();
/// let Typed::Instant(Instant::Aggregate(node)) = typed else { panic!("{typed:?}") };
/// assert_eq!(node.grouping.labels, ["job"]);
/// ```
#[derive(Clone, Debug)]
pub struct Aggregate {
    /// Which one.
    pub op: AggregateOp,
    /// What it is told besides its input.
    pub param: AggregateParam,
    /// How groups are formed.
    pub grouping: Grouping,
    /// What is aggregated.
    pub operand: Instant,
    /// Where the operand stands, with its parentheses.
    pub operand_span: Span,
    /// Where the aggregation stands.
    pub span: Span,
}

/// The first argument of an aggregation that takes two.
///
/// ```
/// use ferula_promql::check::{AggregateParam, Instant, Typed, lower};
/// use ferula_promql::syntax::{Features, parse};
///
/// let typed = lower(parse("topk(3, up)", &Features::all()).unwrap()).unwrap();
/// let Typed::Instant(Instant::Aggregate(node)) = typed else { panic!("{typed:?}") };
/// assert!(matches!(node.param, AggregateParam::Scalar { .. }));
/// ```
#[derive(Clone, Debug)]
pub enum AggregateParam {
    /// It takes none.
    None,
    /// `topk`, `bottomk`, `quantile`, `limitk`, `limit_ratio`
    Scalar {
        /// The value, which may change from step to step.
        value: Scalar,
        /// Where it stands.
        span: Span,
    },
    /// `count_values`
    Label(StringLiteral),
}

/// An operation between a vector and a scalar.
///
/// ```
/// use ferula_promql::check::{Instant, Typed, lower};
/// use ferula_promql::syntax::{Features, parse};
///
/// let typed = lower(parse("2 * up", &Features::all()).unwrap()).unwrap();
/// let Typed::Instant(Instant::WithScalar(node)) = typed else { panic!("{typed:?}") };
/// assert!(node.scalar_left);
/// ```
#[derive(Clone, Debug)]
pub struct WithScalar {
    /// Which one.
    pub op: VectorOp,
    /// The vector.
    pub vector: Instant,
    /// The scalar.
    pub scalar: Scalar,
    /// Whether the scalar stands on the left of the operator.
    pub scalar_left: bool,
    /// Where both operands and the operator stand.
    pub span: Span,
}

/// An operation between two vectors, series by series.
///
/// ```
/// use ferula_promql::check::{ArithmeticOp, Instant, Typed, VectorOp, lower};
/// use ferula_promql::syntax::{Features, parse};
///
/// let typed = lower(parse("a / b", &Features::all()).unwrap()).unwrap();
/// let Typed::Instant(Instant::Join(node)) = typed else { panic!("{typed:?}") };
/// assert_eq!(node.op, VectorOp::Arithmetic(ArithmeticOp::Div));
/// ```
#[derive(Clone, Debug)]
pub struct Join {
    /// Which one.
    pub op: VectorOp,
    /// Left operand.
    pub left: Instant,
    /// Right operand.
    pub right: Instant,
    /// How series find their partners; never many-to-many.
    pub matching: VectorMatching,
    /// Where both operands and the operator stand.
    pub span: Span,
}

/// A set operation between two vectors.
///
/// ```
/// use ferula_promql::check::{Instant, SetOp, Typed, lower};
/// use ferula_promql::syntax::{Features, parse};
///
/// let typed = lower(parse("a unless on (job) b", &Features::all()).unwrap()).unwrap();
/// let Typed::Instant(Instant::Set(node)) = typed else { panic!("{typed:?}") };
/// assert!(node.on);
/// assert_eq!((node.op, node.labels.as_slice()), (SetOp::Unless, ["job".to_owned()].as_slice()));
/// ```
#[derive(Clone, Debug)]
pub struct Set {
    /// Which one.
    pub op: SetOp,
    /// Left operand.
    pub left: Instant,
    /// Right operand.
    pub right: Instant,
    /// Whether `labels` are those to match on, rather than those to ignore.
    pub on: bool,
    /// The labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// Where both operands and the operator stand.
    pub span: Span,
}

/// Operations in which a vector takes part, sample by sample.
///
/// ```
/// use ferula_promql::check::{CompareOp, VectorOp};
///
/// assert_eq!(VectorOp::Filter(CompareOp::Less).as_str(), "<");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VectorOp {
    /// Arithmetic: the metric name is dropped.
    Arithmetic(ArithmeticOp),
    /// A comparison that filters.
    Filter(CompareOp),
    /// A comparison with `bool` that answers 0 or 1.
    CompareBool(CompareOp),
    /// Trimming of histograms.
    Trim(TrimOp),
}

/// Arithmetic operators.
///
/// ```
/// use ferula_promql::check::{ArithmeticOp, Instant, Typed, VectorOp, lower};
/// use ferula_promql::syntax::{Features, parse};
///
/// let typed = lower(parse("up ^ 2", &Features::all()).unwrap()).unwrap();
/// let Typed::Instant(Instant::WithScalar(node)) = typed else { panic!("{typed:?}") };
/// assert_eq!(node.op, VectorOp::Arithmetic(ArithmeticOp::Pow));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArithmeticOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
    /// `atan2`
    Atan2,
}

/// Comparison operators.
///
/// ```
/// use ferula_promql::check::{CompareOp, Instant, Typed, VectorOp, lower};
/// use ferula_promql::syntax::{Features, parse};
///
/// let typed = lower(parse("up == 1", &Features::all()).unwrap()).unwrap();
/// let Typed::Instant(Instant::WithScalar(node)) = typed else { panic!("{typed:?}") };
/// assert_eq!(node.op, VectorOp::Filter(CompareOp::Equal));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CompareOp {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `>`
    Greater,
    /// `<`
    Less,
    /// `>=`
    GreaterOrEqual,
    /// `<=`
    LessOrEqual,
}

/// Trim operators.
///
/// ```
/// use ferula_promql::check::{Instant, TrimOp, Typed, VectorOp, lower};
/// use ferula_promql::syntax::{Features, parse};
///
/// let typed = lower(parse("up </ 1", &Features::all()).unwrap()).unwrap();
/// let Typed::Instant(Instant::WithScalar(node)) = typed else { panic!("{typed:?}") };
/// assert_eq!(node.op, VectorOp::Trim(TrimOp::Upper));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrimOp {
    /// `>/`: observations above the bound stay.
    Lower,
    /// `</`: observations below the bound stay.
    Upper,
}

/// Set operators.
///
/// ```
/// use ferula_promql::check::{Instant, SetOp, Typed, lower};
/// use ferula_promql::syntax::{Features, parse};
///
/// let typed = lower(parse("a or b", &Features::all()).unwrap()).unwrap();
/// let Typed::Instant(Instant::Set(node)) = typed else { panic!("{typed:?}") };
/// assert_eq!(node.op, SetOp::Or);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetOp {
    /// `and`
    And,
    /// `or`
    Or,
    /// `unless`
    Unless,
}

/// A function call with arguments of the right number and types.
///
/// ```
/// use ferula_promql::check::{Instant, Typed, lower};
/// use ferula_promql::syntax::{Features, parse};
///
/// let typed = lower(parse("round(up, 5)", &Features::all()).unwrap()).unwrap();
/// let Typed::Instant(Instant::Call(call)) = typed else { panic!("{typed:?}") };
/// assert_eq!((call.function.name(), call.args.len()), ("round", 2));
/// ```
#[derive(Clone, Debug)]
pub struct Call {
    /// Which function.
    pub function: Function,
    /// Its arguments, as many as were written.
    pub args: Vec<Arg>,
    /// Where the call stands.
    pub span: Span,
}

/// An argument of a call.
///
/// ```
/// use ferula_promql::check::{Instant, Typed, lower};
/// use ferula_promql::syntax::{Features, parse};
///
/// let typed = lower(parse("abs(up)", &Features::all()).unwrap()).unwrap();
/// let Typed::Instant(Instant::Call(call)) = typed else { panic!("{typed:?}") };
/// assert!(matches!(call.args[0].value, Typed::Instant(_)));
/// ```
#[derive(Clone, Debug)]
pub struct Arg {
    /// What it is.
    pub value: Typed,
    /// Where it stands, with its parentheses.
    pub span: Span,
}

/// An expression with a window of samples per series and step.
///
/// ```
/// use ferula_promql::check::{Range, Typed, lower};
/// use ferula_promql::syntax::{Features, parse};
///
/// let typed = lower(parse("up[1h:1m]", &Features::all()).unwrap()).unwrap();
/// let Typed::Range(range) = typed else { panic!("{typed:?}") };
/// assert!(matches!(range, Range::Subquery(_)));
/// ```
#[derive(Clone, Debug)]
pub enum Range {
    /// A range selector.
    Selector(Box<MatrixSelector>),
    /// A subquery.
    Subquery(Box<Subquery>),
}

/// An instant expression evaluated at many moments of a window.
///
/// ```
/// use ferula_promql::check::{Range, Typed, lower};
/// use ferula_promql::syntax::{Features, parse};
///
/// let typed = lower(parse("up[1h:]", &Features::all()).unwrap()).unwrap();
/// let Typed::Range(Range::Subquery(subquery)) = typed else { panic!("{typed:?}") };
/// assert!(subquery.step.is_none());
/// ```
#[derive(Clone, Debug)]
pub struct Subquery {
    /// What is evaluated.
    pub operand: Instant,
    /// How far back.
    pub range: Length,
    /// The distance of the moments; the engine's default if absent.
    pub step: Option<Length>,
    /// `offset` and `@`.
    pub modifiers: Modifiers,
    /// Where the subquery stands.
    pub span: Span,
}

impl ArithmeticOp {
    /// As written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
        }
    }
}

impl CompareOp {
    /// As written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Greater => ">",
            Self::Less => "<",
            Self::GreaterOrEqual => ">=",
            Self::LessOrEqual => "<=",
        }
    }
}

impl TrimOp {
    /// As written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lower => ">/",
            Self::Upper => "</",
        }
    }
}

impl SetOp {
    /// As written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
        }
    }
}

impl VectorOp {
    /// As written, without `bool`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Arithmetic(op) => op.as_str(),
            Self::Filter(op) | Self::CompareBool(op) => op.as_str(),
            Self::Trim(op) => op.as_str(),
        }
    }
}
