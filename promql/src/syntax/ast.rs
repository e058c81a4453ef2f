//! What did the query say? The syntax tree, as plain data with positions.
//!
//! The tree keeps everything that was written: parentheses, the form of a number, which modifiers stood there. It may
//! still be badly typed; [`check`](crate::check) turns it into a tree that cannot be. Nothing changes it after parsing.
//!
//! Reading order: [`Expr`], then the selectors with [`Modifiers`], then [`Length`] and [`DurationExpr`].

use ferula_model::Matcher;

use super::span::Span;
use crate::functions::Function;

/// An expression.
///
/// ```
/// use ferula_promql::syntax::ast::Expr;
/// use ferula_promql::syntax::{Features, parse};
///
/// let expr = parse("sum(up) / 2", &Features::default())?;
/// let Expr::Binary(division) = &expr else { panic!("{expr}") };
/// assert_eq!((division.left.to_string(), division.right.to_string()), ("sum(up)".into(), "2".into()));
/// # Ok::<(), ferula_promql::syntax::ParseError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Expr {
    /// `1.5`, `0x1f`, `5m`, `Inf`
    Number(NumberLiteral),
    /// `"text"`
    String(StringLiteral),
    /// `up{job="x"} offset 5m`
    Selector(Box<VectorSelector>),
    /// `up{job="x"}[5m] @ end()`
    Matrix(Box<MatrixSelector>),
    /// `rate(x[1m])[1h:5m]`
    Subquery(Box<Subquery>),
    /// `rate(x[1m])`
    Call(Call),
    /// `sum by (job) (up)`
    Aggregate(Box<Aggregate>),
    /// `a + on (job) b`
    Binary(Box<Binary>),
    /// `-a`
    Unary(Unary),
    /// `(a)`
    Paren(Paren),
}

/// The four types of PromQL.
///
/// ```
/// use ferula_promql::syntax::{Features, ValueType, parse};
///
/// assert_eq!(parse("rate(up[5m])", &Features::default())?.value_type(), ValueType::Vector);
/// assert_eq!(ValueType::Matrix.documented(), "range vector");
/// # Ok::<(), ferula_promql::syntax::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// One float per step.
    Scalar,
    /// A text.
    String,
    /// One sample per series and step.
    Vector,
    /// A range of samples per series and step.
    Matrix,
}

impl ValueType {
    /// The type's name in error messages.
    pub fn documented(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
        }
    }

    /// The type's name in the HTTP API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "vector",
            Self::Matrix => "matrix",
        }
    }
}

/// A number, written as such or as a duration.
///
/// ```
/// use ferula_promql::syntax::ast::Expr;
/// use ferula_promql::syntax::{Features, parse};
///
/// let expr = parse("5m", &Features::default())?;
/// let Expr::Number(number) = &expr else { panic!("{expr}") };
/// assert!(number.is_duration);
/// assert_eq!(number.value, 300.0);
/// # Ok::<(), ferula_promql::syntax::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NumberLiteral {
    /// The number; of a duration, its seconds.
    pub value: f64,
    /// Whether it was written as a duration (`5m`).
    pub is_duration: bool,
    /// Where it stands.
    pub span: Span,
}

/// A string.
///
/// ```
/// use ferula_promql::syntax::ast::Expr;
/// use ferula_promql::syntax::{Features, parse};
///
/// let expr = parse(r"'a\tb'", &Features::default())?;
/// let Expr::String(literal) = &expr else { panic!("{expr}") };
/// assert_eq!(literal.text, "a\tb");
/// # Ok::<(), ferula_promql::syntax::ParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StringLiteral {
    /// The text without quotes and escapes. Bytes that are not UTF-8 (`"\xff"`) appear as U+FFFD.
    pub text: String,
    /// The bytes themselves, if they are not UTF-8.
    pub bytes: Option<Box<[u8]>>,
    /// Where it stands, with its quotes.
    pub span: Span,
}

/// Chooses series, and of each the newest sample within the lookback.
///
/// ```
/// use ferula_promql::syntax::ast::Expr;
/// use ferula_promql::syntax::{Features, parse};
///
/// let expr = parse("up{job!=\"x\"}", &Features::default())?;
/// let Expr::Selector(selector) = &expr else { panic!("{expr}") };
/// assert_eq!(selector.name.as_deref(), Some("up"));
/// assert_eq!(selector.matchers.len(), 2);
/// # Ok::<(), ferula_promql::syntax::ParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct VectorSelector {
    /// The metric name, if it stood before the braces.
    pub name: Option<String>,
    /// Every condition, in the order written; last, the one for the name that stood before the braces. A metric name
    /// quoted inside the braces is an ordinary matcher on `__name__`.
    pub matchers: Vec<Matcher>,
    /// `offset` and `@`.
    pub modifiers: Modifiers,
    /// `anchored` or `smoothed`.
    pub extension: Option<Extension>,
    /// Where it stands, modifiers included.
    pub span: Span,
}

/// Chooses series, and of each the samples of a range.
///
/// ```
/// use ferula_promql::syntax::ast::{Expr, Length};
/// use ferula_promql::syntax::{Features, parse};
///
/// let expr = parse("up[5m]", &Features::default())?;
/// let Expr::Matrix(matrix) = &expr else { panic!("{expr}") };
/// assert_eq!(matrix.range, Length::Nanos(300_000_000_000));
/// # Ok::<(), ferula_promql::syntax::ParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct MatrixSelector {
    /// Which series. Modifiers that stand behind the brackets are found here.
    pub selector: VectorSelector,
    /// How far back.
    pub range: Length,
    /// Where it stands, modifiers included.
    pub span: Span,
}

/// An instant expression evaluated at many moments of a range.
///
/// ```
/// use ferula_promql::syntax::ast::Expr;
/// use ferula_promql::syntax::{Features, parse};
///
/// let expr = parse("up[1h:5m]", &Features::default())?;
/// let Expr::Subquery(subquery) = &expr else { panic!("{expr}") };
/// assert_eq!(subquery.expr.to_string(), "up");
/// assert!(subquery.step.is_some());
/// # Ok::<(), ferula_promql::syntax::ParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Subquery {
    /// What is evaluated.
    pub expr: Expr,
    /// How far back.
    pub range: Length,
    /// The distance of the moments; the engine's default if absent.
    pub step: Option<Length>,
    /// `offset` and `@`.
    pub modifiers: Modifiers,
    /// Where it stands, modifiers included.
    pub span: Span,
}

/// `offset` and `@` of a selector, range or subquery.
///
/// ```
/// use ferula_promql::syntax::ast::{At, Expr};
/// use ferula_promql::syntax::{Features, parse};
///
/// let expr = parse("up offset 1m @ 60", &Features::default())?;
/// let Expr::Selector(selector) = &expr else { panic!("{expr}") };
/// assert_eq!(selector.modifiers.at, Some(At::Timestamp(60_000)));
/// assert!(selector.modifiers.offset.is_some());
/// # Ok::<(), ferula_promql::syntax::ParseError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Modifiers {
    /// `offset`: how much earlier to look; negative for later.
    pub offset: Option<Length>,
    /// `@`: the moment to look from instead of the evaluation time.
    pub at: Option<At>,
}

/// The operand of `@`.
///
/// ```
/// use ferula_promql::syntax::ast::{At, Expr};
/// use ferula_promql::syntax::{Features, parse};
///
/// let expr = parse("up @ end()", &Features::default())?;
/// let Expr::Selector(selector) = &expr else { panic!("{expr}") };
/// assert_eq!(selector.modifiers.at, Some(At::End));
/// # Ok::<(), ferula_promql::syntax::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum At {
    /// A moment, in milliseconds since the epoch.
    Timestamp(i64),
    /// The start of the query.
    Start,
    /// The end of the query.
    End,
}

/// How a selector treats the borders of its window.
///
/// ```
/// use ferula_promql::syntax::ast::{Expr, Extension};
/// use ferula_promql::syntax::{Features, parse};
///
/// let expr = parse("up[5m] anchored", &Features::all())?;
/// let Expr::Matrix(matrix) = &expr else { panic!("{expr}") };
/// assert_eq!(matrix.selector.extension, Some(Extension::Anchored));
/// # Ok::<(), ferula_promql::syntax::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extension {
    /// `anchored`: the newest sample at or before the start of the window counts as its first.
    Anchored,
    /// `smoothed`: values at the borders are interpolated.
    Smoothed,
}

impl Extension {
    /// The keyword.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anchored => "anchored",
            Self::Smoothed => "smoothed",
        }
    }
}

/// A length of time in brackets or behind `offset`.
///
/// ```
/// use ferula_promql::syntax::ast::{Expr, Length};
/// use ferula_promql::syntax::{Features, parse};
///
/// let expr = parse("up[2 * step()]", &Features::all())?;
/// let Expr::Matrix(matrix) = &expr else { panic!("{expr}") };
/// assert!(matches!(matrix.range, Length::Expr(_)));
/// # Ok::<(), ferula_promql::syntax::ParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Length {
    /// A literal, in nanoseconds; negative only behind `offset`.
    Nanos(i64),
    /// To be computed from the query's step and range, once per query: [`DurationExpr::resolve`].
    Expr(Box<DurationExpr>),
}

/// An expression over lengths of time. Its numbers are seconds.
///
/// ```
/// use ferula_promql::syntax::ast::{Expr, Length};
/// use ferula_promql::syntax::{Features, parse};
///
/// let expr = parse("up[2 * step()]", &Features::all())?;
/// let Expr::Matrix(matrix) = &expr else { panic!("{expr}") };
/// let Length::Expr(length) = &matrix.range else { panic!() };
/// let times = ferula_promql::syntax::duration::QueryTimes { step_millis: 15_000, range_millis: 0 };
/// assert_eq!(length.resolve(times, false), Ok(30_000));
/// # Ok::<(), ferula_promql::syntax::ParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum DurationExpr {
    /// `5m`, `300`
    Number(NumberLiteral),
    /// `step()`: the step of the query, 0 for an instant query.
    Step(Span),
    /// `range()`: the length of the query, 0 for an instant query.
    Range(Span),
    /// `-a` or `+a`
    Unary {
        /// Whether the sign is minus.
        negative: bool,
        /// What it is applied to.
        operand: Box<DurationExpr>,
        /// Where it stands.
        span: Span,
    },
    /// `a * b`, `min_of(a, b)`
    Binary {
        /// What is done with the two.
        op: DurationOp,
        /// Left operand.
        left: Box<DurationExpr>,
        /// Right operand.
        right: Box<DurationExpr>,
        /// Where it stands.
        span: Span,
    },
    /// `(a)`
    Paren {
        /// What stands inside.
        inner: Box<DurationExpr>,
        /// Where it stands.
        span: Span,
    },
}

/// What a [`DurationExpr::Binary`] does.
///
/// ```
/// use ferula_promql::syntax::ast::DurationOp;
///
/// assert_eq!(DurationOp::Max.as_str(), "max_of");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DurationOp {
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
    /// `min_of(a, b)`
    Min,
    /// `max_of(a, b)`
    Max,
}

impl DurationOp {
    /// The operator or function name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Min => "min_of",
            Self::Max => "max_of",
        }
    }
}

/// A function call.
///
/// ```
/// use ferula_promql::syntax::ast::Expr;
/// use ferula_promql::syntax::{Features, parse};
///
/// let expr = parse("rate(up[5m])", &Features::default())?;
/// let Expr::Call(call) = &expr else { panic!("{expr}") };
/// assert_eq!((call.function.name(), call.args.len()), ("rate", 1));
/// # Ok::<(), ferula_promql::syntax::ParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Call {
    /// Which function.
    pub function: Function,
    /// Its arguments, as written.
    pub args: Vec<Expr>,
    /// Where it stands.
    pub span: Span,
}

/// An aggregation over the series of an instant vector.
///
/// ```
/// use ferula_promql::syntax::ast::{AggregateOp, Expr};
/// use ferula_promql::syntax::{Features, parse};
///
/// let expr = parse("topk by (job) (3, up)", &Features::default())?;
/// let Expr::Aggregate(node) = &expr else { panic!("{expr}") };
/// assert_eq!(node.op, AggregateOp::Topk);
/// assert!(node.param.is_some());
/// # Ok::<(), ferula_promql::syntax::ParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Aggregate {
    /// Which aggregation.
    pub op: AggregateOp,
    /// What is aggregated.
    pub expr: Expr,
    /// The first argument of those that take two.
    pub param: Option<Expr>,
    /// How groups are formed.
    pub grouping: Grouping,
    /// Where it stands.
    pub span: Span,
}

/// `by (...)` or `without (...)`.
///
/// ```
/// use ferula_promql::syntax::ast::Expr;
/// use ferula_promql::syntax::{Features, parse};
///
/// let expr = parse("sum without (job) (up)", &Features::default())?;
/// let Expr::Aggregate(node) = &expr else { panic!("{expr}") };
/// assert!(node.grouping.without);
/// assert_eq!(node.grouping.labels, ["job"]);
/// # Ok::<(), ferula_promql::syntax::ParseError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grouping {
    /// Whether the labels are those to leave out.
    pub without: bool,
    /// The labels, in the order written.
    pub labels: Vec<String>,
}

/// The aggregations. Names, parameters and flags stand in [`functions`](crate::functions).
///
/// ```
/// use ferula_promql::syntax::ast::AggregateOp;
///
/// assert_eq!(AggregateOp::CountValues.name(), "count_values");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the aggregation of that name")]
pub enum AggregateOp {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    CountValues,
    Quantile,
    Limitk,
    LimitRatio,
}

/// An operation on two operands.
///
/// ```
/// use ferula_promql::syntax::ast::{BinaryOp, Expr};
/// use ferula_promql::syntax::{Features, parse};
///
/// let expr = parse("up > bool 1", &Features::default())?;
/// let Expr::Binary(node) = &expr else { panic!("{expr}") };
/// assert_eq!(node.op, BinaryOp::Greater);
/// assert!(node.return_bool);
/// # Ok::<(), ferula_promql::syntax::ParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Binary {
    /// Which operation.
    pub op: BinaryOp,
    /// Where the operator stands.
    pub op_span: Span,
    /// Left operand.
    pub left: Expr,
    /// Right operand.
    pub right: Expr,
    /// `bool`: a comparison answers 0 or 1 instead of filtering.
    pub return_bool: bool,
    /// How series of the two sides are paired; `None` unless both sides are instant vectors or a matching was written.
    pub matching: Option<VectorMatching>,
}

/// The operators between two operands.
///
/// ```
/// use ferula_promql::syntax::ast::BinaryOp;
///
/// assert_eq!(BinaryOp::Unless.as_str(), "unless");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
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
    /// `>/`: keeps the observations of a histogram above a bound.
    TrimLower,
    /// `</`: keeps the observations of a histogram below a bound.
    TrimUpper,
    /// `and`
    And,
    /// `or`
    Or,
    /// `unless`
    Unless,
}

impl BinaryOp {
    /// The operator as written, in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Greater => ">",
            Self::Less => "<",
            Self::GreaterOrEqual => ">=",
            Self::LessOrEqual => "<=",
            Self::TrimLower => ">/",
            Self::TrimUpper => "</",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
        }
    }

    /// Whether it is `and`, `or` or `unless`.
    pub fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }

    /// Whether it is one of `== != > < >= <=`.
    pub fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal | Self::NotEqual | Self::Greater | Self::Less | Self::GreaterOrEqual | Self::LessOrEqual
        )
    }

    /// How strongly it binds, from 1 (`or`) to 6 (`^`, which alone binds to the right).
    pub fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And | Self::Unless => 2,
            Self::Add | Self::Sub => 4,
            Self::Mul | Self::Div | Self::Mod | Self::Atan2 => 5,
            Self::Pow => 6,
            _ => 3,
        }
    }
}

/// How series of two sides find each other.
///
/// ```
/// use ferula_promql::syntax::ast::Expr;
/// use ferula_promql::syntax::{Features, parse};
///
/// let expr = parse("a * on (job) group_left (env) b", &Features::default())?;
/// let Expr::Binary(node) = &expr else { panic!("{expr}") };
/// let matching = node.matching.as_ref().unwrap();
/// assert!(matching.on);
/// assert_eq!((matching.labels.as_slice(), matching.include.as_slice()), (["job".to_owned()].as_slice(), ["env".to_owned()].as_slice()));
/// # Ok::<(), ferula_promql::syntax::ParseError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VectorMatching {
    /// How many partners a series may have.
    pub cardinality: Cardinality,
    /// Whether `labels` are those to match on, rather than those to ignore.
    pub on: bool,
    /// The labels of `on` or `ignoring`, in the order written.
    pub labels: Vec<String>,
    /// Labels copied from the "one" side: the list of `group_left` or `group_right`.
    pub include: Vec<String>,
    /// `fill` or `fill_left`: the value of a missing partner on the left.
    pub fill_left: Option<f64>,
    /// `fill` or `fill_right`: the value of a missing partner on the right.
    pub fill_right: Option<f64>,
}

/// How many partners a series may have on the other side.
///
/// ```
/// use ferula_promql::syntax::ast::Cardinality;
///
/// assert_ne!(Cardinality::ManyToOne.as_str(), Cardinality::OneToMany.as_str());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Cardinality {
    /// One on either side.
    #[default]
    OneToOne,
    /// `group_left`: many on the left share one on the right.
    ManyToOne,
    /// `group_right`: many on the right share one on the left.
    OneToMany,
    /// Set operators.
    ManyToMany,
}

impl Cardinality {
    /// The name in the HTTP API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OneToOne => "one-to-one",
            Self::ManyToOne => "many-to-one",
            Self::OneToMany => "one-to-many",
            Self::ManyToMany => "many-to-many",
        }
    }
}

/// A sign before an operand.
///
/// ```
/// use ferula_promql::syntax::ast::Expr;
/// use ferula_promql::syntax::{Features, parse};
///
/// let expr = parse("-up", &Features::default())?;
/// let Expr::Unary(node) = &expr else { panic!("{expr}") };
/// assert!(node.negative);
/// # Ok::<(), ferula_promql::syntax::ParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Unary {
    /// Whether the sign is minus.
    pub negative: bool,
    /// What it is applied to.
    pub expr: Box<Expr>,
    /// Where it stands.
    pub span: Span,
}

/// An expression in parentheses.
///
/// ```
/// use ferula_promql::syntax::ast::Expr;
/// use ferula_promql::syntax::{Features, parse};
///
/// let expr = parse("(up)", &Features::default())?;
/// let Expr::Paren(node) = &expr else { panic!("{expr}") };
/// assert_eq!(node.expr.to_string(), "up");
/// # Ok::<(), ferula_promql::syntax::ParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Paren {
    /// What stands inside.
    pub expr: Box<Expr>,
    /// Where it stands, parentheses included.
    pub span: Span,
}

impl Expr {
    /// Where the expression stands.
    pub fn span(&self) -> Span {
        match self {
            Self::Number(node) => node.span,
            Self::String(node) => node.span,
            Self::Selector(node) => node.span,
            Self::Matrix(node) => node.span,
            Self::Subquery(node) => node.span,
            Self::Call(node) => node.span,
            Self::Aggregate(node) => node.span,
            Self::Binary(node) => node.left.span().to(node.right.span()),
            Self::Unary(node) => node.span,
            Self::Paren(node) => node.span,
        }
    }

    /// The type of the expression's value. Of a badly typed expression, the type that its outermost node would have.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Number(_) => ValueType::Scalar,
            Self::String(_) => ValueType::String,
            Self::Selector(_) | Self::Aggregate(_) => ValueType::Vector,
            Self::Matrix(_) | Self::Subquery(_) => ValueType::Matrix,
            Self::Call(node) => node.function.returns(),
            Self::Binary(node) => match (node.left.value_type(), node.right.value_type()) {
                (ValueType::Scalar, ValueType::Scalar) => ValueType::Scalar,
                _ => ValueType::Vector,
            },
            Self::Unary(node) => node.expr.value_type(),
            Self::Paren(node) => node.expr.value_type(),
        }
    }

    /// The expression without the parentheses around it.
    pub fn without_parens(&self) -> &Expr {
        let mut expr = self;
        while let Self::Paren(paren) = expr {
            expr = &paren.expr;
        }
        expr
    }

    /// The direct operands, in the order of the text: a subquery's expression, a call's arguments, and so on.
    pub fn children(&self) -> Vec<&Expr> {
        match self {
            Self::Number(_) | Self::String(_) | Self::Selector(_) | Self::Matrix(_) => Vec::new(),
            Self::Subquery(node) => vec![&node.expr],
            Self::Call(node) => node.args.iter().collect(),
            Self::Aggregate(node) => node.param.iter().chain([&node.expr]).collect(),
            Self::Binary(node) => vec![&node.left, &node.right],
            Self::Unary(node) => vec![&node.expr],
            Self::Paren(node) => vec![&node.expr],
        }
    }

    /// Every selector in the expression with its conditions, in the order of the text.
    pub fn selectors(&self) -> Vec<&VectorSelector> {
        match self {
            Self::Selector(node) => vec![node],
            Self::Matrix(node) => vec![&node.selector],
            _ => self.children().into_iter().flat_map(Expr::selectors).collect(),
        }
    }
}

impl DurationExpr {
    /// Where the expression stands.
    pub fn span(&self) -> Span {
        match self {
            Self::Number(number) => number.span,
            Self::Step(span) | Self::Range(span) => *span,
            Self::Unary { span, .. } | Self::Binary { span, .. } | Self::Paren { span, .. } => *span,
        }
    }
}
