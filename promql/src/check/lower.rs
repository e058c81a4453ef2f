//! How does a syntax tree become a typed one?

use super::typed::{
    Aggregate, AggregateParam, Arg, ArithmeticOp, Call, CompareOp, Instant, Join, Range, Scalar, ScalarBinary,
    ScalarOp, Set, SetOp, Subquery, TrimOp, Typed, VectorOp, WithScalar,
};
use super::{TypeError, verify};
use crate::syntax::ast::{self, BinaryOp, Expr, ValueType};
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

/// `expr` is verified; what cannot be lowered nevertheless is an error all the same.
fn typed(expr: Expr) -> Result<Typed, TypeError> {
    Ok(match expr {
        Expr::Number(number) => Typed::Scalar(Scalar::Number(number.value)),
        Expr::String(string) => Typed::String(string),
        Expr::Selector(selector) => Typed::Instant(Instant::Selector(Box::new(selector))),
        Expr::Matrix(matrix) => Typed::Range(Range::Selector(Box::new(matrix))),
        Expr::Subquery(node) => Typed::Range(Range::Subquery(Box::new(Subquery {
            operand: instant(*node.expr)?,
            range: node.range,
            step: node.step,
            modifiers: node.modifiers,
            span: node.span,
        }))),
        Expr::Paren(node) => typed(*node.expr)?,
        Expr::Unary(node) => signed(node)?,
        Expr::Aggregate(node) => Typed::Instant(Instant::Aggregate(Box::new(aggregate(node)?))),
        Expr::Binary(node) => binary(node)?,
        Expr::Call(node) => call(node)?,
    })
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

fn scalar(expr: Expr) -> Result<Scalar, TypeError> {
    let span = expr.span();
    match typed(expr)? {
        Typed::Scalar(scalar) => Ok(scalar),
        _ => unexpected(span, ValueType::Scalar),
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

fn aggregate(node: ast::Aggregate) -> Result<Aggregate, TypeError> {
    let operand_span = node.expr.span();
    let param = match node.param {
        None => AggregateParam::None,
        Some(param) => {
            let span = param.span();
            match typed(*param)? {
                Typed::Scalar(value) => AggregateParam::Scalar { value, span },
                Typed::String(label) => AggregateParam::Label(label),
                _ => return unexpected(span, ValueType::Scalar),
            }
        }
    };
    let operand = instant(*node.expr)?;
    Ok(Aggregate { op: node.op, param, grouping: node.grouping, operand, operand_span, span: node.span })
}

fn call(node: ast::Call) -> Result<Typed, TypeError> {
    let returns = node.function.returns();
    let args = node.args.into_iter().map(|arg| {
        let span = arg.span();
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
    let kind = OpKind::of(node.op);
    let types = (node.left.value_type(), node.right.value_type());
    if types == (ValueType::Scalar, ValueType::Scalar) {
        let op = match kind {
            OpKind::Arithmetic(op) => ScalarOp::Arithmetic(op),
            OpKind::Compare(op) => ScalarOp::Compare(op),
            OpKind::Trim(op) => ScalarOp::Trim(op),
            OpKind::Set(_) => return unexpected(span, ValueType::Vector),
        };
        let (left, right) = (scalar(*node.left)?, scalar(*node.right)?);
        return Ok(Typed::Scalar(Scalar::Binary(Box::new(ScalarBinary { op, left, right, span }))));
    }
    let op = match kind {
        OpKind::Set(op) => {
            let matching = node.matching.unwrap_or_default();
            let (left, right) = (instant(*node.left)?, instant(*node.right)?);
            let set = Set { op, left, right, on: matching.on, labels: matching.labels, span };
            return Ok(Typed::Instant(Instant::Set(Box::new(set))));
        }
        OpKind::Arithmetic(op) => VectorOp::Arithmetic(op),
        OpKind::Compare(op) if node.return_bool => VectorOp::CompareBool(op),
        OpKind::Compare(op) => VectorOp::Filter(op),
        OpKind::Trim(op) => VectorOp::Trim(op),
    };
    Ok(Typed::Instant(match types {
        (ValueType::Scalar, _) => {
            let (scalar, vector) = (scalar(*node.left)?, instant(*node.right)?);
            Instant::WithScalar(Box::new(WithScalar { op, vector, scalar, scalar_left: true, span }))
        }
        (_, ValueType::Scalar) => {
            let (vector, scalar) = (instant(*node.left)?, scalar(*node.right)?);
            Instant::WithScalar(Box::new(WithScalar { op, vector, scalar, scalar_left: false, span }))
        }
        _ => {
            let (left, right) = (instant(*node.left)?, instant(*node.right)?);
            let matching = node.matching.unwrap_or_default();
            Instant::Join(Box::new(Join { op, left, right, matching, span }))
        }
    }))
}

/// The operators by what they do.
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
