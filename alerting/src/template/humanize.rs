//! Numbers for people.

use ferula_model::go_quote;
use ferula_model::number::{FloatForm, PrecisionForm, format_float, parse_float, write_float_precise};

use super::value::Value;

/// What counts as a number: numbers, texts that are one, and durations, in seconds.
fn number(value: &Value) -> Result<f64, String> {
    match value {
        Value::Float(value) => Ok(*value),
        Value::Int(value) => Ok(*value as f64),
        Value::Text(text) => {
            parse_float(text).map_err(|error| format!("strconv.ParseFloat: parsing {}: {error}", go_quote(text)))
        }
        Value::Nil => Err("can't convert <nil> to float".to_owned()),
        other => Err(format!("can't convert {} to float", other.type_name())),
    }
}

/// `%.4g`.
fn four_digits(value: f64) -> String {
    let mut out = String::new();
    // A `String` takes everything that is written to it.
    let _ = write_float_precise(&mut out, value, PrecisionForm::General, 4);
    out
}

/// A number scaled until it is below `base`, and the prefix of the scale.
fn scaled_down(mut value: f64, base: f64, prefixes: &[&'static str]) -> (f64, &'static str) {
    let mut prefix = "";
    for next in prefixes {
        if value.abs() < base {
            break;
        }
        prefix = next;
        value /= base;
    }
    (value, prefix)
}

/// A number below 1 scaled until it is not, and the prefix of the scale.
fn scaled_up(mut value: f64) -> (f64, &'static str) {
    let mut prefix = "";
    for next in ["m", "u", "n", "p", "f", "a", "z", "y"] {
        if value.abs() >= 1.0 {
            break;
        }
        prefix = next;
        value *= 1000.0;
    }
    (value, prefix)
}

pub(super) fn si(value: &Value) -> Result<String, String> {
    let value = number(value)?;
    if value == 0.0 || !value.is_finite() {
        return Ok(four_digits(value));
    }
    let (value, prefix) = if value.abs() >= 1.0 {
        scaled_down(value, 1000.0, &["k", "M", "G", "T", "P", "E", "Z", "Y"])
    } else {
        scaled_up(value)
    };
    Ok(format!("{}{prefix}", four_digits(value)))
}

pub(super) fn binary(value: &Value) -> Result<String, String> {
    let value = number(value)?;
    if value.abs() <= 1.0 || !value.is_finite() {
        return Ok(four_digits(value));
    }
    let (value, prefix) = scaled_down(value, 1024.0, &["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"]);
    Ok(format!("{}{prefix}", four_digits(value)))
}

pub(super) fn duration(value: &Value) -> Result<String, String> {
    let value = number(value)?;
    if !value.is_finite() {
        return Ok(four_digits(value));
    }
    if value == 0.0 {
        return Ok(format!("{}s", four_digits(value)));
    }
    if value.abs() < 1.0 {
        let (value, prefix) = scaled_up(value);
        return Ok(format!("{}{prefix}s", four_digits(value)));
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let value = value.abs();
    let whole = value as i64;
    let (days, hours, minutes, seconds) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60, whole % 60);
    Ok(match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", four_digits(value)),
        (0, 0, _) => format!("{sign}{minutes}m {seconds}s"),
        (0, _, _) => format!("{sign}{hours}h {minutes}m {seconds}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {seconds}s"),
    })
}

pub(super) fn percentage(value: &Value) -> Result<String, String> {
    Ok(format!("{}%", four_digits(number(value)? * 100.0)))
}

pub(super) fn timestamp(value: &Value) -> Result<String, String> {
    let value = number(value)?;
    if value.is_finite() { Ok(moment(value)?.to_text()) } else { Ok(four_digits(value)) }
}

pub(super) fn to_time(value: &Value) -> Result<Value, String> {
    let value = number(value)?;
    if value.is_finite() { moment(value) } else { Err("value is NaN or Inf".to_owned()) }
}

fn moment(seconds: f64) -> Result<Value, String> {
    let nanos = seconds * 1e9;
    if nanos > i64::MAX as f64 || nanos < i64::MIN as f64 {
        let shown = format_float(seconds, FloatForm::Shortest);
        return Err(format!("{shown} cannot be represented as a nanoseconds timestamp since it overflows int64"));
    }
    // Upstream's moments have milliseconds.
    Ok(Value::Time((nanos as i64) / 1_000_000))
}

pub(super) fn to_duration(value: &Value) -> Result<Value, String> {
    let value = number(value)?;
    if !value.is_finite() {
        return Err("value is NaN or Inf".to_owned());
    }
    let nanos = value * 1e9;
    if nanos > i64::MAX as f64 || nanos < i64::MIN as f64 {
        let shown = format_float(value, FloatForm::Shortest);
        return Err(format!("{shown} cannot be represented as a nanoseconds duration since it overflows int64"));
    }
    Ok(Value::Duration(nanos as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        type Humanize = fn(&Value) -> Result<String, String>;
        let cases: [(Humanize, f64, &str); 24] = [
            (si, 0.0, "0"),
            (si, f64::NAN, "NaN"),
            (si, f64::INFINITY, "+Inf"),
            (si, 1234567.0, "1.235M"),
            (si, -1000.0, "-1k"),
            (si, 999.9999, "1000"),
            (si, 0.12, "120m"),
            (si, 1e-30, "1e-06y"),
            (binary, 1.0, "1"),
            (binary, 0.5, "0.5"),
            (binary, 1048576.0, "1Mi"),
            (binary, -2048.0, "-2ki"),
            (duration, 0.0, "0s"),
            (duration, 1.0, "1s"),
            (duration, 59.99999, "60s"),
            (duration, 60.0, "1m 0s"),
            (duration, 3600.0, "1h 0m 0s"),
            (duration, -86_400.0, "-1d 0h 0m 0s"),
            (duration, 0.1, "100ms"),
            (duration, 1e-4, "100us"),
            (percentage, 0.123456, "12.35%"),
            (timestamp, 1435065584.128, "2015-06-23 13:19:44.128 +0000 UTC"),
            (timestamp, f64::NEG_INFINITY, "-Inf"),
            (timestamp, 0.0, "1970-01-01 00:00:00 +0000 UTC"),
        ];
        for (humanize, value, expected) in cases {
            assert_eq!(humanize(&Value::Float(value)).unwrap(), expected, "{value}");
        }
        assert_eq!(si(&Value::text("1e4")).unwrap(), "10k");
        assert_eq!(si(&Value::text("one")).unwrap_err(), "strconv.ParseFloat: parsing \"one\": invalid syntax");
        assert!(timestamp(&Value::Float(1e20)).unwrap_err().ends_with("since it overflows int64"));
    }
}
