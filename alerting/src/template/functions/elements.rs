//! What is in a value: its length, its elements, a part of it.

use std::sync::Arc;

use super::super::value::Value;

pub(super) fn length(value: &Value) -> Result<Value, String> {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::Labels(labels) => labels.len(),
        Value::Map(map) => map.len(),
        Value::Samples(samples) => samples.len(),
        Value::Nil => return Err("len of nil pointer".to_owned()),
        other => return Err(format!("len of type {}", other.type_name())),
    };
    Ok(Value::Int(length as i64))
}

pub(super) fn index(args: &[Value]) -> Result<Value, String> {
    let Some((collection, indexes)) = args.split_first() else { return Ok(Value::Nil) };
    let mut value = collection.clone();
    if matches!(value, Value::Nil) {
        return Err("index of untyped nil".to_owned());
    }
    for index in indexes {
        value = match (&value, index) {
            (Value::Labels(labels), Value::Text(name)) => Value::text(labels.get(name).unwrap_or_default()),
            (Value::Map(map), Value::Text(name)) => map.get(&**name).cloned().unwrap_or(Value::Nil),
            (Value::Labels(_) | Value::Map(_), Value::Nil) => return Err("value is nil; should be string".to_owned()),
            (Value::Labels(_) | Value::Map(_), other) => {
                return Err(format!("value has type {}; should be string", other.type_name()));
            }
            (Value::Samples(samples), index) => {
                Value::Sample(Arc::clone(samples.get(position(index, samples.len())?).ok_or("index out of range")?))
            }
            (Value::Text(text), index) => {
                let byte = text.as_bytes().get(position(index, text.len())?).copied();
                Value::Int(i64::from(byte.ok_or("index out of range")?))
            }
            (Value::Nil, _) => return Err("index of nil pointer".to_owned()),
            (other, _) => return Err(format!("can't index item of type {}", other.type_name())),
        };
    }
    Ok(value)
}

/// An index below `length`.
fn position(index: &Value, length: usize) -> Result<usize, String> {
    let Value::Int(number) = index else {
        return Err(match index {
            Value::Nil => "cannot index slice/array with nil".to_owned(),
            other => format!("cannot index slice/array with type {}", other.type_name()),
        });
    };
    usize::try_from(*number).ok().filter(|at| *at < length).ok_or_else(|| format!("index out of range: {number}"))
}

pub(super) fn slice(args: &[Value]) -> Result<Value, String> {
    let Some((item, indexes)) = args.split_first() else { return Ok(Value::Nil) };
    let length = match item {
        Value::Text(text) => text.len(),
        Value::Samples(samples) => samples.len(),
        Value::Nil => return Err("slice of untyped nil".to_owned()),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    if indexes.len() > 3 {
        return Err(format!("too many slice indexes: {}", indexes.len()));
    }
    if indexes.len() == 3 && matches!(item, Value::Text(_)) {
        return Err("cannot 3-index slice a string".to_owned());
    }
    let mut bounds = [0, length, length];
    for (bound, index) in bounds.iter_mut().zip(indexes) {
        *bound = position(index, length + 1)?;
    }
    let [from, to, _] = bounds;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    match item {
        Value::Text(text) => {
            let bytes = text.as_bytes().get(from..to).unwrap_or_default();
            Ok(Value::text(String::from_utf8_lossy(bytes)))
        }
        Value::Samples(samples) => Ok(Value::Samples(samples.get(from..to).unwrap_or_default().into())),
        _ => Ok(Value::Nil),
    }
}
