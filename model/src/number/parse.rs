//! Text to floats.

use thiserror::Error;

/// Why a text is not a number. The words are Go's, which follow `strconv.ParseFloat: parsing "...": `.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NumberError {
    /// It is not written as a number.
    #[error("invalid syntax")]
    Syntax,
    /// It is a number, and too large for its type.
    #[error("value out of range")]
    Range,
    /// A hexadecimal float or an underscore, which the exposition formats do not know.
    #[error("unsupported character in float")]
    Unsupported,
}

/// Reads a float as Go's `strconv.ParseFloat` does: decimal or hexadecimal (`0x1.8p3`), underscores between digits,
/// `inf`, `infinity` and `nan` in any case (`nan` without a sign), nothing around it.
///
/// ```
/// use ferula_model::number::{NumberError, parse_float};
///
/// assert_eq!(parse_float("+Inf"), Ok(f64::INFINITY));
/// assert_eq!(parse_float("1_000.5e-1"), Ok(100.05));
/// assert_eq!(parse_float("1e400"), Err(NumberError::Range));
/// ```
///
/// # Errors
///
/// [`NumberError::Syntax`], or [`NumberError::Range`] for a finite number beyond the largest float.
pub fn parse_float(text: &str) -> Result<f64, NumberError> {
    match short_decimal(text.as_bytes()) {
        Some(value) => Ok(value),
        None => slow_float(text),
    }
}

/// Reads a float of an exposition: as [`parse_float`], but without hexadecimal floats and underscores, which Prometheus
/// refuses there.
///
/// ```
/// use ferula_model::number::parse_exposition_float;
///
/// assert_eq!(parse_exposition_float(b"1.5e3"), Ok(1500.0));
/// assert!(parse_exposition_float(b"1_000").is_err());
/// ```
///
/// # Errors
///
/// As [`parse_float`], and [`NumberError::Unsupported`].
pub fn parse_exposition_float(text: &[u8]) -> Result<f64, NumberError> {
    if let Some(value) = short_decimal(text) {
        return Ok(value);
    }
    if text.iter().any(|b| matches!(b, b'p' | b'P' | b'_')) {
        return Err(NumberError::Unsupported);
    }
    slow_float(std::str::from_utf8(text).map_err(|_| NumberError::Syntax)?)
}

/// Reads a number literal of PromQL: first as an integer in Go's notation (so `0x1F` is 31 and `017` is 15), then as a
/// float.
///
/// ```
/// use ferula_model::number::parse_promql_number;
///
/// assert_eq!(parse_promql_number("0x1F"), Ok(31.0));
/// assert_eq!(parse_promql_number("017"), Ok(15.0));
/// assert_eq!(parse_promql_number("09"), Ok(9.0));
/// ```
///
/// # Errors
///
/// As [`parse_float`].
pub fn parse_promql_number(text: &str) -> Result<f64, NumberError> {
    match parse_int(text) {
        Ok(whole) => Ok(whole as f64),
        Err(_) => parse_float(text),
    }
}

/// Reads an integer as Go's `strconv.ParseInt(text, 0, 64)`: `0x`, `0b`, `0o` or `0` (octal) in front, underscores between
/// digits.
///
/// # Errors
///
/// [`NumberError::Syntax`], or [`NumberError::Range`] beyond 64 bits.
pub fn parse_int(text: &str) -> Result<i64, NumberError> {
    let (negative, body) = split_sign(text);
    let lower = body.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        _ if lower.len() > 1 && lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if digits.contains('_') && !underscores_separate(&lower) {
        return Err(NumberError::Syntax);
    }
    let digits: String = digits.chars().filter(|c| *c != '_').collect();
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(NumberError::Syntax);
    }
    let magnitude = i128::from_str_radix(&digits, radix).map_err(|_| NumberError::Range)?;
    i64::try_from(if negative { -magnitude } else { magnitude }).map_err(|_| NumberError::Range)
}

/// The exact answer for `[+-]digits[.digits]` with so few digits that both the digits and the power of ten are exact
/// floats (Clinger's fast path); `None` for everything else, right or wrong.
fn short_decimal(text: &[u8]) -> Option<f64> {
    const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    // 15 digits stay below 2^53.
    if digits.len() > 16 {
        return None;
    }
    let (mut mantissa, mut seen, mut behind, mut point) = (0u64, 0usize, 0usize, false);
    for byte in digits {
        match byte {
            b'0'..=b'9' => {
                mantissa = mantissa * 10 + u64::from(byte - b'0');
                seen += 1;
                behind += usize::from(point);
            }
            b'.' if !point => point = true,
            _ => return None,
        }
    }
    if seen == 0 || seen > 15 {
        return None;
    }
    let value = mantissa as f64 / POWERS.get(behind)?;
    Some(if negative { -value } else { value })
}

fn slow_float(text: &str) -> Result<f64, NumberError> {
    let (negative, body) = split_sign(text);
    let signed = |value: f64| if negative { -value } else { value };
    if body.eq_ignore_ascii_case("inf") || body.eq_ignore_ascii_case("infinity") {
        return Ok(signed(f64::INFINITY));
    }
    if body.len() == text.len() && body.eq_ignore_ascii_case("nan") {
        return Ok(f64::NAN);
    }
    if !body.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Err(NumberError::Syntax);
    }
    let clean;
    let digits = if body.contains('_') {
        if !underscores_separate(&body.to_ascii_lowercase()) {
            return Err(NumberError::Syntax);
        }
        clean = body.replace('_', "");
        clean.as_str()
    } else {
        body
    };
    let value = match digits.get(..2) {
        Some("0x" | "0X") => hexadecimal(&digits[2..])?,
        // What begins with a digit or a point cannot be one of Rust's words for infinity.
        _ => digits.parse::<f64>().map_err(|_| NumberError::Syntax)?,
    };
    if value.is_infinite() {
        return Err(NumberError::Range);
    }
    Ok(signed(value))
}

fn split_sign(text: &str) -> (bool, &str) {
    match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    }
}

/// Go's rule: an underscore stands between two digits, or between a base prefix and a digit. `text` is lower-case and
/// without its sign.
fn underscores_separate(text: &str) -> bool {
    let bytes = text.as_bytes();
    let prefixed = bytes.len() >= 2 && bytes[0] == b'0' && matches!(bytes[1], b'x' | b'b' | b'o');
    let hexadecimal = prefixed && bytes[1] == b'x';
    let digit = |b: u8| b.is_ascii_digit() || (hexadecimal && matches!(b, b'a'..=b'f'));
    // The class of the byte before: a digit (or the prefix), an underscore, or something else.
    let mut before = if prefixed { '0' } else { '^' };
    for &byte in bytes.iter().skip(if prefixed { 2 } else { 0 }) {
        let class = match byte {
            b if digit(b) => '0',
            b'_' if before == '0' => '_',
            b'_' => return false,
            _ if before == '_' => return false,
            _ => '!',
        };
        before = class;
    }
    before != '_'
}

/// `h.hhhp[+-]d`, without sign and `0x`. The exponent is required. Rounds half to even, subnormals included.
fn hexadecimal(text: &str) -> Result<f64, NumberError> {
    let (mantissa, exponent) = text.split_once(['p', 'P']).ok_or(NumberError::Syntax)?;
    let (exponent_negative, exponent_digits) = split_sign(exponent);
    if exponent_digits.is_empty() || !exponent_digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NumberError::Syntax);
    }
    // Beyond this the answer is zero or infinite whatever the digits are; saturate.
    let magnitude = exponent_digits.bytes().fold(0i64, |e, b| (e * 10 + i64::from(b - b'0')).min(1_000_000_000));
    let mut power = if exponent_negative { -magnitude } else { magnitude };

    let (mut bits, mut sticky, mut seen, mut point) = (0u64, false, false, false);
    for c in mantissa.chars() {
        if c == '.' && !point {
            point = true;
            continue;
        }
        let digit = u64::from(c.to_digit(16).ok_or(NumberError::Syntax)?);
        seen = true;
        if bits >> 59 == 0 {
            bits = bits << 4 | digit;
            power -= if point { 4 } else { 0 };
        } else {
            // No room: only whether anything follows matters for rounding.
            sticky |= digit != 0;
            power += if point { 0 } else { 4 };
        }
    }
    if !seen {
        return Err(NumberError::Syntax);
    }
    Ok(scale(bits, sticky, power))
}

/// `bits * 2^power`, rounded once, half to even; `sticky` stands for a non-zero rest below the last bit.
fn scale(bits: u64, sticky: bool, power: i64) -> f64 {
    if bits == 0 {
        return 0.0;
    }
    let width = i64::from(64 - bits.leading_zeros());
    // The exponent of the leading bit, and how many bits the result may keep: fewer than 53 for subnormals.
    let leading = width - 1 + power;
    if leading > 1023 {
        return f64::INFINITY;
    }
    let keep = if leading >= -1022 { 53 } else { 53 - (-1022 - leading) };
    if keep < 0 {
        return 0.0;
    }
    let drop = width - keep;
    let (rounded, power) = if drop <= 0 {
        (bits, power)
    } else {
        let kept = if drop >= 64 { 0 } else { bits >> drop };
        let rest = if drop >= 64 { bits } else { bits & ((1u64 << drop) - 1) };
        let half = 1u64 << (drop - 1).min(63);
        let up = rest > half || (rest == half && (sticky || kept & 1 == 1));
        (kept + u64::from(up), power + drop)
    };
    // `rounded` has at most 54 bits and is exact; scaling in two steps is exact too, since the bits are already few
    // enough for a subnormal.
    let first = power.clamp(-1000, 900);
    rounded as f64 * pow2(first) * pow2(power - first)
}

fn pow2(exponent: i64) -> f64 {
    2f64.powi(i32::try_from(exponent).unwrap_or(if exponent < 0 { -2000 } else { 2000 }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_as_go_does() {
        let good: &[(&str, f64)] = &[
            ("0", 0.0),
            ("1.", 1.0),
            (".5", 0.5),
            ("+1e3", 1000.0),
            ("1E-3", 0.001),
            ("1_23.50_0_0e+1_2", 1.235e14),
            ("0x1p-2", 0.25),
            ("0X1.8P1", 3.0),
            ("0x_1_0p4", 256.0),
            ("-0x.8p0", -0.5),
            ("0x1p-1074", 5e-324),
            ("0x0.8p-1074", 0.0),
            ("0x0.9p-1074", 5e-324),
            ("0x1p-1075", 0.0),
            ("0x1.fffffffffffff8p0", 2.0),
            ("0x1.fffffffffffff7p0", 1.9999999999999998),
            ("0x1.fffffffffffffp1023", f64::MAX),
            ("iNf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("1e-400", 0.0),
        ];
        for (text, expected) in good {
            let value = parse_float(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(value.to_bits(), expected.to_bits(), "{text}: {value:e}");
        }
        assert!(parse_float("NaN").unwrap().is_nan());
        for bad in [
            "",
            ".",
            "+",
            "e5",
            "1e",
            "1e+",
            "+nan",
            "-NaN",
            "infi",
            "1 ",
            " 1",
            "1__0",
            "_1",
            "1_",
            "1_.5",
            "0x1",
            "0x",
            "0xp1",
            "0x1p",
            "0x_p1",
            "1e_3",
            "--1",
            "1.2.3",
            "é",
            "0x1.2.3p1",
            "1f",
        ] {
            assert_eq!(parse_float(bad), Err(NumberError::Syntax), "{bad:?}");
        }
        for large in ["1e400", "-1e309", "0x1p1024", "0x1.fffffffffffff8p1023"] {
            assert_eq!(parse_float(large), Err(NumberError::Range), "{large}");
        }
    }

    #[test]
    fn integers_have_prefixes() {
        assert_eq!(parse_int("-0x_ff"), Ok(-255));
        assert_eq!(parse_int("0b101"), Ok(5));
        assert_eq!(parse_int("1_000"), Ok(1000));
        assert_eq!(parse_int("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(parse_int("9223372036854775808"), Err(NumberError::Range));
        assert_eq!(parse_int("08"), Err(NumberError::Syntax));
        assert_eq!(parse_int("0_7"), Ok(7));
        assert_eq!(parse_int("1__0"), Err(NumberError::Syntax));
        assert_eq!(parse_int("é"), Err(NumberError::Syntax));
    }

    #[test]
    fn expositions_have_no_hexadecimal() {
        assert_eq!(parse_exposition_float(b"0x1p3"), Err(NumberError::Unsupported));
        assert_eq!(parse_exposition_float(b"\xff"), Err(NumberError::Syntax));
        assert_eq!(parse_exposition_float(b"-1.25"), Ok(-1.25));
        assert_eq!(parse_exposition_float(b"123456789012345678"), Ok(123456789012345678.0));
    }

    proptest! {
        #[test]
        fn the_fast_path_agrees_with_the_slow_one(text in "[+-]?[0-9]{0,17}(\\.[0-9]{0,10})?") {
            if let Some(fast) = short_decimal(text.as_bytes()) {
                prop_assert_eq!(fast.to_bits(), slow_float(&text).unwrap().to_bits());
            }
        }

        #[test]
        fn hexadecimal_floats_are_exact(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite() && value != 0.0);
            let exponent = i64::from((bits >> 52 & 0x7ff) as u32);
            let fraction = bits & ((1 << 52) - 1);
            let (mantissa, power) = if exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, exponent - 1075) };
            let sign = if value < 0.0 { "-" } else { "" };
            prop_assert_eq!(parse_float(&format!("{sign}0x{mantissa:x}p{power}")).unwrap().to_bits(), bits);
        }

        #[test]
        fn nothing_panics(text in "\\PC*") {
            let _ = (parse_float(&text), parse_int(&text), parse_promql_number(&text));
        }
    }
}
