//! What is the first mistake in the types of a tree?

use ferula_model::METRIC_NAME;

use super::TypeError;
use crate::functions::{Function, FunctionId, Variadic};
use crate::syntax::ast::{Aggregate, Binary, Call, Cardinality, Expr, ValueType, VectorSelector};
use crate::syntax::{ParseErrorKind, Span};

/// Checks a whole tree and answers its type. The mistake reported is the one upstream reports first.
pub(crate) fn verify(expr: &Expr) -> Result<ValueType, TypeError> {
    match expr {
        Expr::Number(_) | Expr::String(_) => {}
        Expr::Selector(selector) => verify_selector(selector, false)?,
        Expr::Matrix(matrix) => verify_selector(&matrix.selector, false)?,
        Expr::Paren(paren) => return verify(&paren.expr),
        Expr::Aggregate(aggregate) => verify_aggregate(aggregate)?,
        Expr::Binary(binary) => verify_binary(binary)?,
        Expr::Call(call) => verify_call(call)?,
        Expr::Unary(unary) => {
            let found = verify(&unary.expr)?;
            if !matches!(found, ValueType::Scalar | ValueType::Vector) {
                let found = found.documented();
                return mistake(
                    unary.span,
                    format!(
                        "unary expression only allowed on expressions of type scalar or instant vector, got \"{found}\""
                    ),
                );
            }
        }
        Expr::Subquery(subquery) => {
            let found = verify(&subquery.expr)?;
            if found != ValueType::Vector {
                let found = found.as_str();
                return mistake(
                    subquery.span,
                    format!("subquery is only allowed on instant vector, got {found} instead"),
                );
            }
        }
    }
    Ok(expr.value_type())
}

fn mistake<T>(span: Span, message: impl Into<String>) -> Result<T, TypeError> {
    Err(TypeError { kind: ParseErrorKind::Type, message: message.into(), span })
}

fn expect(expr: &Expr, wanted: ValueType, context: impl FnOnce() -> String) -> Result<(), TypeError> {
    let found = verify(expr)?;
    if found == wanted {
        return Ok(());
    }
    let (wanted, found) = (wanted.documented(), found.documented());
    mistake(expr.span(), format!("expected type {wanted} in {}, got {found}", context()))
}

fn verify_selector(selector: &VectorSelector, may_match_all: bool) -> Result<(), TypeError> {
    if let Some(name) = &selector.name {
        let inside = selector.matchers.iter().rev().skip(1).rev();
        return match inside.into_iter().find(|matcher| matcher.name == METRIC_NAME) {
            Some(second) => mistake(
                selector.span,
                format!("metric name must not be set twice: {} or {}", quote(name), quote(&second.value)),
            ),
            None => Ok(()),
        };
    }
    if may_match_all || selector.matchers.iter().any(|matcher| !matcher.matches("")) {
        return Ok(());
    }
    mistake(selector.span, "vector selector must contain at least one non-empty matcher")
}

fn quote(text: &str) -> String {
    ferula_model::go_quote(text)
}

fn verify_aggregate(aggregate: &Aggregate) -> Result<(), TypeError> {
    expect(&aggregate.expr, ValueType::Vector, || "aggregation expression".to_owned())?;
    match (&aggregate.param, aggregate.op.signature().param) {
        (Some(param), Some(wanted)) => expect(param, wanted, || "aggregation parameter".to_owned()),
        (None, None) => Ok(()),
        (given, wanted) => {
            let count = |is_some: bool| 1 + usize::from(is_some);
            mistake(
                aggregate.span,
                format!(
                    "wrong number of arguments for aggregate expression provided, expected {}, got {}",
                    count(wanted.is_some()),
                    count(given.is_some())
                ),
            )
        }
    }
}

fn verify_binary(binary: &Binary) -> Result<(), TypeError> {
    let span = binary.left.span().to(binary.right.span());
    let (left, right) = (verify(&binary.left)?, verify(&binary.right)?);
    let op = binary.op;
    if binary.return_bool && !op.is_comparison() {
        return mistake(binary.op_span, "bool modifier can only be used on comparison operators");
    }
    if op.is_comparison() && !binary.return_bool && (left, right) == (ValueType::Scalar, ValueType::Scalar) {
        return mistake(binary.op_span, "comparisons between scalars must use BOOL modifier");
    }
    if let Some(matching) = binary.matching.as_ref().filter(|matching| matching.on)
        && let Some(both) = matching.labels.iter().find(|label| matching.include.contains(label))
    {
        return mistake(binary.op_span, format!("label {} must not occur in ON and GROUP clause at once", quote(both)));
    }
    for (operand, found) in [(&binary.left, left), (&binary.right, right)] {
        if !matches!(found, ValueType::Scalar | ValueType::Vector) {
            return mistake(operand.span(), "binary expression must contain only scalar and instant vector types");
        }
    }
    if let Some(matching) = &binary.matching {
        let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
        if (left, right) != (ValueType::Vector, ValueType::Vector) {
            if !matching.labels.is_empty() {
                return mistake(span, "vector matching only allowed between instant vectors");
            }
            if fills {
                return mistake(span, "filling in missing series only allowed between instant vectors");
            }
        } else if op.is_set() {
            if matching.cardinality != Cardinality::ManyToMany {
                return mistake(span, format!("no grouping allowed for \"{}\" operation", op.as_str()));
            }
            if fills {
                return mistake(span, "filling in missing series not allowed for set operators");
            }
        }
    }
    if op.is_set() && (left == ValueType::Scalar || right == ValueType::Scalar) {
        return mistake(span, format!("set operator \"{}\" not allowed in binary scalar expression", op.as_str()));
    }
    Ok(())
}

fn verify_call(call: &Call) -> Result<(), TypeError> {
    let name = call.function.name();
    verify_argument_count(call)?;
    let is_info = call.function == Function::Builtin(FunctionId::Info);
    if let Some(second) = call.args.get(1).filter(|_| is_info) {
        verify_info_selector(call, second)?;
    }
    for (index, arg) in call.args.iter().enumerate() {
        if is_info && index == 1 {
            continue;
        }
        let Some(wanted) = call.function.arg(index) else { break };
        expect(arg, wanted, || format!("call to function \"{name}\""))?;
    }
    Ok(())
}

fn verify_argument_count(call: &Call) -> Result<(), TypeError> {
    let (given, min, max) = (call.args.len(), call.function.args_min(), call.function.args_max());
    let name = call.function.name();
    let problem = match call.function.variadic() {
        Variadic::No if given != min => format!("expected {min} argument(s)"),
        Variadic::No => return Ok(()),
        _ if given < min => format!("expected at least {min} argument(s)"),
        _ => match max {
            Some(max) if given > max => format!("expected at most {max} argument(s)"),
            _ => return Ok(()),
        },
    };
    mistake(call.span, format!("{problem} in call to \"{name}\", got {given}"))
}

/// The second argument of `info` is a bare set of matchers, which may match everything.
fn verify_info_selector(call: &Call, second: &Expr) -> Result<(), TypeError> {
    let found = second.value_type();
    if found != ValueType::Vector {
        let (wanted, found) = (ValueType::Vector.documented(), found.documented());
        return mistake(call.span, format!("expected type {wanted} in call to function \"info\", got {found}"));
    }
    match second {
        Expr::Selector(selector) if selector.name.is_none() => verify_selector(selector, true),
        _ => mistake(second.span(), "expected label selectors only, got vector selector instead"),
    }
}
