//! How does a syntax tree become a typed one?

use super::typed::{
    Aggregate, AggregateParam, Arg, ArithmeticOp, Call, CompareOp, Instant, Join, Range, Scalar, ScalarBinary,
    ScalarOp, Set, SetOp, Subquery, TrimOp, Typed, VectorOp, WithScalar,
};
use super::{TypeError, verify};
use crate::syntax::ast::{self, BinaryOp, Expr, ValueType, VectorMatching};
use crate::syntax::{ParseErrorKind, Span};

/// Turns a tree into its typed form; selectors and literals move over, nothing is copied.
///
/// # Errors
///
/// The first mistake in the types, in upstream's words. There is none in a tree that [`parse`](crate::syntax::parse) made.
///
/// ```
/// use ferula_promql::check::{lower, Instant, Typed};
/// use ferula_promql::syntax::{parse, Features};
///
/// let expr = parse("(sum(up)) > 1", &Features::default()).unwrap();
/// let typed = lower(expr).unwrap();
/// assert!(matches!(typed, Typed::Instant(Instant::WithScalar(_))));
/// ```
pub fn lower(expr: Expr) -> Result<Typed, TypeError> {
    verify(&expr)?;
    typed(expr)
}

/// `expr` is verified; what cannot be lowered nevertheless is an error all the same. Each kind of node has a function of
/// its own, which keeps the frames of this recursion small.
fn typed(expr: Expr) -> Result<Typed, TypeError> {
    match expr {
        Expr::Number(number) => Ok(Typed::Scalar(Scalar::Number(number.value))),
        Expr::String(string) => Ok(Typed::String(string)),
        Expr::Selector(selector) => Ok(Typed::Instant(Instant::Selector(selector))),
        Expr::Matrix(matrix) => Ok(Typed::Range(Range::Selector(matrix))),
        Expr::Paren(node) => typed(*node.expr),
        Expr::Subquery(node) => subquery(*node),
        Expr::Unary(node) => signed(node),
        Expr::Aggregate(node) => aggregate(*node),
        Expr::Binary(node) => binary(*node),
        Expr::Call(node) => call(node),
    }
}

fn subquery(node: ast::Subquery) -> Result<Typed, TypeError> {
    let operand = instant(node.expr)?;
    let (range, step, modifiers, span) = (node.range, node.step, node.modifiers, node.span);
    Ok(Typed::Range(Range::Subquery(Box::new(Subquery { operand, range, step, modifiers, span }))))
}

fn unexpected<T>(span: Span, wanted: ValueType) -> Result<T, TypeError> {
    let message = format!("expected type {}", wanted.documented());
    Err(TypeError { kind: ParseErrorKind::Type, message, span })
}

fn instant(expr: Expr) -> Result<Instant, TypeError> {
    let span = expr.span();
    match typed(expr)? {
        Typed::Instant(instant) => Ok(instant),
        _ => unexpected(span, ValueType::Vector),
    }
}

fn signed(node: ast::Unary) -> Result<Typed, TypeError> {
    match typed(*node.expr)? {
        plain if !node.negative => Ok(plain),
        Typed::Scalar(operand) => Ok(Typed::Scalar(Scalar::Negate(Box::new(operand)))),
        Typed::Instant(operand) => Ok(Typed::Instant(Instant::Negate(Box::new(operand)))),
        Typed::String(_) | Typed::Range(_) => unexpected(node.span, ValueType::Vector),
    }
}

fn aggregate(node: ast::Aggregate) -> Result<Typed, TypeError> {
    let operand_span = node.expr.span();
    let param = match node.param {
        None => AggregateParam::None,
        Some(param) => {
            let span = param.without_parens().span();
            match typed(param)? {
                Typed::Scalar(value) => AggregateParam::Scalar { value, span },
                Typed::String(label) => AggregateParam::Label(label),
                _ => return unexpected(span, ValueType::Scalar),
            }
        }
    };
    let operand = instant(node.expr)?;
    let (op, grouping, span) = (node.op, node.grouping, node.span);
    let aggregate = Aggregate { op, param, grouping, operand, operand_span, span };
    Ok(Typed::Instant(Instant::Aggregate(Box::new(aggregate))))
}

fn call(node: ast::Call) -> Result<Typed, TypeError> {
    let returns = node.function.returns();
    let args = node.args.into_iter().map(|arg| {
        // Upstream takes parentheses off arguments before it evaluates them.
        let span = arg.without_parens().span();
        Ok(Arg { value: typed(arg)?, span })
    });
    let call = Call { args: args.collect::<Result<_, _>>()?, function: node.function, span: node.span };
    match returns {
        ValueType::Scalar => Ok(Typed::Scalar(Scalar::Call(call))),
        ValueType::Vector => Ok(Typed::Instant(Instant::Call(call))),
        ValueType::String | ValueType::Matrix => unexpected(call.span, ValueType::Vector),
    }
}

fn binary(node: ast::Binary) -> Result<Typed, TypeError> {
    let span = node.left.span().to(node.right.span());
    let left = typed(node.left)?;
    let right = typed(node.right)?;
    let operator = Operator { kind: OpKind::of(node.op), return_bool: node.return_bool, span };
    match (left, right) {
        (Typed::Scalar(left), Typed::Scalar(right)) => operator.scalars(left, right),
        (Typed::Scalar(scalar), Typed::Instant(vector)) => operator.with_scalar(vector, scalar, true),
        (Typed::Instant(vector), Typed::Scalar(scalar)) => operator.with_scalar(vector, scalar, false),
        (Typed::Instant(left), Typed::Instant(right)) => {
            operator.vectors(left, right, node.matching.unwrap_or_default())
        }
        _ => unexpected(span, ValueType::Vector),
    }
}

/// A binary operator without its operands.
struct Operator {
    kind: OpKind,
    return_bool: bool,
    span: Span,
}

impl Operator {
    fn scalars(self, left: Scalar, right: Scalar) -> Result<Typed, TypeError> {
        let op = match self.kind {
            OpKind::Arithmetic(op) => ScalarOp::Arithmetic(op),
            OpKind::Compare(op) => ScalarOp::Compare(op),
            OpKind::Trim(op) => ScalarOp::Trim(op),
            OpKind::Set(_) => return unexpected(self.span, ValueType::Vector),
        };
        Ok(Typed::Scalar(Scalar::Binary(Box::new(ScalarBinary { op, left, right, span: self.span }))))
    }

    fn with_scalar(self, vector: Instant, scalar: Scalar, scalar_left: bool) -> Result<Typed, TypeError> {
        match self.vector_op() {
            Ok(op) => {
                let node = WithScalar { op, vector, scalar, scalar_left, span: self.span };
                Ok(Typed::Instant(Instant::WithScalar(Box::new(node))))
            }
            Err(_) => unexpected(self.span, ValueType::Vector),
        }
    }

    fn vectors(self, left: Instant, right: Instant, matching: VectorMatching) -> Result<Typed, TypeError> {
        let span = self.span;
        Ok(Typed::Instant(match self.vector_op() {
            Ok(op) => Instant::Join(Box::new(Join { op, left, right, matching, span })),
            Err(op) => {
                let VectorMatching { on, labels, .. } = matching;
                Instant::Set(Box::new(Set { op, left, right, on, labels, span }))
            }
        }))
    }

    /// The operation sample by sample, or the set operation that it is instead.
    fn vector_op(&self) -> Result<VectorOp, SetOp> {
        match self.kind {
            OpKind::Arithmetic(op) => Ok(VectorOp::Arithmetic(op)),
            OpKind::Compare(op) if self.return_bool => Ok(VectorOp::CompareBool(op)),
            OpKind::Compare(op) => Ok(VectorOp::Filter(op)),
            OpKind::Trim(op) => Ok(VectorOp::Trim(op)),
            OpKind::Set(op) => Err(op),
        }
    }
}

/// The operators by what they do.
#[derive(Clone, Copy)]
enum OpKind {
    Arithmetic(ArithmeticOp),
    Compare(CompareOp),
    Trim(TrimOp),
    Set(SetOp),
}

impl OpKind {
    fn of(op: BinaryOp) -> Self {
        match op {
            BinaryOp::Add => Self::Arithmetic(ArithmeticOp::Add),
            BinaryOp::Sub => Self::Arithmetic(ArithmeticOp::Sub),
            BinaryOp::Mul => Self::Arithmetic(ArithmeticOp::Mul),
            BinaryOp::Div => Self::Arithmetic(ArithmeticOp::Div),
            BinaryOp::Mod => Self::Arithmetic(ArithmeticOp::Mod),
            BinaryOp::Pow => Self::Arithmetic(ArithmeticOp::Pow),
            BinaryOp::Atan2 => Self::Arithmetic(ArithmeticOp::Atan2),
            BinaryOp::Equal => Self::Compare(CompareOp::Equal),
            BinaryOp::NotEqual => Self::Compare(CompareOp::NotEqual),
            BinaryOp::Greater => Self::Compare(CompareOp::Greater),
            BinaryOp::Less => Self::Compare(CompareOp::Less),
            BinaryOp::GreaterOrEqual => Self::Compare(CompareOp::GreaterOrEqual),
            BinaryOp::LessOrEqual => Self::Compare(CompareOp::LessOrEqual),
            BinaryOp::TrimLower => Self::Trim(TrimOp::Lower),
            BinaryOp::TrimUpper => Self::Trim(TrimOp::Upper),
            BinaryOp::And => Self::Set(SetOp::And),
            BinaryOp::Or => Self::Set(SetOp::Or),
            BinaryOp::Unless => Self::Set(SetOp::Unless),
        }
    }
}
