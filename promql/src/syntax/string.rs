//! Where does a string end, and what does it say?

use super::lexer::quote_char;

/// The length of the string literal at the beginning of `rest`, quotes included; or what is wrong with it.
pub(super) fn check_string(rest: &str) -> Result<usize, String> {
    let mut chars = rest.char_indices();
    let Some((_, quote)) = chars.next() else { return Err("unterminated quoted string".to_owned()) };
    let unterminated = if quote == '`' { "unterminated raw string" } else { "unterminated quoted string" };
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return Ok(at + c.len_utf8()),
            char::REPLACEMENT_CHARACTER => return Err("invalid UTF-8 rune".to_owned()),
            _ if quote == '`' => {}
            '\n' => return Err(unterminated.to_owned()),
            '\\' => {
                read_escape(&mut chars.by_ref().map(|(_, c)| c), quote)?;
            }
            _ => {}
        }
    }
    Err(unterminated.to_owned())
}

/// What a literal that passed [`check_string`] says: bytes, which need not be UTF-8.
pub(super) fn unquote(literal: &str) -> Vec<u8> {
    let mut chars = literal.chars();
    let quote = chars.next().unwrap_or('"');
    let inner = literal.get(1..literal.len().saturating_sub(1)).unwrap_or_default();
    if quote == '`' || !inner.contains('\\') {
        return inner.as_bytes().to_vec();
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    let push = |out: &mut Vec<u8>, c: char| out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    while let Some(c) = chars.next() {
        match c {
            '\\' => match read_escape(&mut chars, quote) {
                Ok(Escaped::Byte(byte)) => out.push(byte),
                Ok(Escaped::Char(c)) => push(&mut out, c),
                Err(_) => {}
            },
            c => push(&mut out, c),
        }
    }
    out
}

enum Escaped {
    Byte(u8),
    Char(char),
}

/// Reads what follows a backslash.
fn read_escape(chars: &mut impl Iterator<Item = char>, quote: char) -> Result<Escaped, String> {
    let unterminated = || "escape sequence not terminated".to_owned();
    let kind = chars.next().ok_or_else(unterminated)?;
    let mut digits = |first: Option<char>, count: usize, base: u32| -> Result<u32, String> {
        let mut value = 0_u32;
        let mut first = first;
        for _ in 0..count {
            let c = first.take().or_else(|| chars.next()).ok_or_else(unterminated)?;
            let digit =
                c.to_digit(base).ok_or_else(|| format!("illegal character {} in escape sequence", code_point(c)))?;
            value = value.wrapping_mul(base).wrapping_add(digit);
        }
        Ok(value)
    };
    let invalid = || "escape sequence is an invalid Unicode code point".to_owned();
    let byte = |value: u32| u8::try_from(value).map(Escaped::Byte).map_err(|_| invalid());
    let char = |value: u32| char::from_u32(value).map(Escaped::Char).ok_or_else(invalid);
    match kind {
        'a' => Ok(Escaped::Byte(0x07)),
        'b' => Ok(Escaped::Byte(0x08)),
        'f' => Ok(Escaped::Byte(0x0c)),
        'n' => Ok(Escaped::Byte(b'\n')),
        'r' => Ok(Escaped::Byte(b'\r')),
        't' => Ok(Escaped::Byte(b'\t')),
        'v' => Ok(Escaped::Byte(0x0b)),
        '\\' => Ok(Escaped::Byte(b'\\')),
        c if c == quote => Ok(Escaped::Char(c)),
        '0'..='7' => byte(digits(Some(kind), 3, 8)?),
        'x' => byte(digits(None, 2, 16)?),
        'u' => char(digits(None, 4, 16)?),
        'U' => char(digits(None, 8, 16)?),
        other => Err(format!("unknown escape sequence {}", code_point(other))),
    }
}

/// Go's `%#U`: the code point, and the character if it can be shown.
fn code_point(c: char) -> String {
    let number = format!("U+{:04X}", c as u32);
    let shown = quote_char(c);
    if shown.starts_with("'\\") && !matches!(c, '\'' | '\\') { number } else { format!("{number} '{c}'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_gos() {
        assert_eq!(unquote(r#""\x41\101\u00e9\t\"""#), "AAé\t\"".as_bytes());
        assert_eq!(unquote(r"'\377'"), b"\xff");
        assert_eq!(unquote("`a\\n`"), b"a\\n");
        assert_eq!(check_string(r#""\q""#), Err("unknown escape sequence U+0071 'q'".to_owned()));
        assert_eq!(check_string(r#""\x4""#), Err("illegal character U+0022 '\"' in escape sequence".to_owned()));
        assert_eq!(check_string(r#""\ud800""#), Err("escape sequence is an invalid Unicode code point".to_owned()));
        assert_eq!(check_string("\"a\nb\""), Err("unterminated quoted string".to_owned()));
        assert_eq!(check_string("'ab' c"), Ok(4));
    }
}
