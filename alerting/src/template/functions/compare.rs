//! Comparisons: `eq`, `ne`, `lt` and their kin.

use std::cmp::Ordering;

use super::super::value::Value;

/// Whether the first is equal to one of the others.
pub(super) fn equal(args: &[Value]) -> Result<Value, String> {
    let Some((first, others)) = args.split_first() else { return Ok(Value::Bool(false)) };
    if others.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in others {
        let same = match (first, other) {
            (Value::Nil, other) => matches!(other, Value::Nil),
            (_, Value::Nil) => false,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int(a), Value::Int(b)) => a == b,
            (Value::Float(a), Value::Float(b)) => a == b,
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::Labels(_) | Value::Map(_) | Value::Samples(_), _) => {
                return Err(format!("non-comparable type {}: {}", first.to_text(), first.type_name()));
            }
            _ => return Err(incompatible(first, other)),
        };
        if same {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn incompatible(a: &Value, b: &Value) -> String {
    format!("incompatible types for comparison: {} and {}", a.type_name(), b.type_name())
}

pub(super) fn ordered(args: &[Value], is: fn(Ordering) -> bool) -> Result<Value, String> {
    let order = match args {
        [Value::Int(a), Value::Int(b)] => Some(a.cmp(b)),
        [Value::Float(a), Value::Float(b)] => a.partial_cmp(b),
        [Value::Text(a), Value::Text(b)] => Some(a.cmp(b)),
        [
            a @ (Value::Int(_) | Value::Float(_) | Value::Text(_)),
            b @ (Value::Int(_) | Value::Float(_) | Value::Text(_)),
        ] => return Err(incompatible(a, b)),
        _ => return Err("invalid type for comparison".to_owned()),
    };
    // A NaN is in no order with anything.
    Ok(Value::Bool(order.is_some_and(is)))
}
