//! Literals: numbers, characters and strings, as Go writes them.

use ferula_model::go_quote;
use ferula_model::number::{parse_float, parse_int};

use super::super::ast::Number;
use super::super::token::{Kind, Token};

/// A number or a character constant.
pub(super) fn number(token: &Token) -> Result<Number, String> {
    let text = token.text.clone();
    if token.kind == Kind::CharConstant {
        let inner = text.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')).unwrap_or_default();
        let read = unquote(&format!("\"{}\"", inner.replace('"', "\\\"").replace("\\'", "'")));
        let mut chars = read.as_deref().unwrap_or_default().chars();
        let (Some(c), None) = (chars.next(), chars.next()) else {
            return Err(format!("malformed character constant: {text}"));
        };
        let code = i64::from(u32::from(c));
        return Ok(Number { text, int: Some(code), float: code as f64, is_float: false });
    }
    match (parse_int(&text), parse_float(&text)) {
        (Ok(int), _) => Ok(Number { text, int: Some(int), float: int as f64, is_float: false }),
        (Err(_), Ok(float)) => {
            if !text.contains(['.', 'e', 'E', 'p', 'P']) {
                return Err(format!("integer overflow: {}", go_quote(&text)));
            }
            let int = (float.fract() == 0.0 && float.abs() < 9.2e18).then_some(float as i64);
            Ok(Number { text, int, float, is_float: true })
        }
        (Err(_), Err(_)) => Err(format!("illegal number syntax: {}", go_quote(&text))),
    }
}

/// Go's `strconv.Unquote` of a quoted or raw string. What escapes to bytes that are no UTF-8 becomes U+FFFD.
pub(super) fn unquote(quoted: &str) -> Option<String> {
    if let Some(raw) = quoted.strip_prefix('`') {
        return Some(raw.strip_suffix('`')?.replace('\r', ""));
    }
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        rest = escape(after, &mut bytes)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// What follows a backslash; the text behind it.
fn escape<'a>(text: &'a str, out: &mut Vec<u8>) -> Option<&'a str> {
    let c = text.chars().next()?;
    let rest = text.get(c.len_utf8()..)?;
    let plain = match c {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        '"' => b'"',
        'x' => {
            out.push(u8::from_str_radix(digits(rest, 2, 16)?, 16).ok()?);
            return rest.get(2..);
        }
        'u' | 'U' => {
            let length = if c == 'u' { 4 } else { 8 };
            let code = u32::from_str_radix(digits(rest, length, 16)?, 16).ok()?;
            out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
            return rest.get(length..);
        }
        '0'..='7' => {
            out.push(u8::from_str_radix(digits(text, 3, 8)?, 8).ok()?);
            return text.get(3..);
        }
        _ => return None,
    };
    out.push(plain);
    Some(rest)
}

fn digits(text: &str, length: usize, radix: u32) -> Option<&str> {
    text.get(..length).filter(|digits| digits.chars().all(|c| c.is_digit(radix)))
}
