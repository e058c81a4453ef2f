//! Escapes that stand for one character: `\n`, `\x41`, `\x{1F980}`, `\101`, `\.`.

use super::error::{RegexError, RegexErrorKind};

/// The first character and what follows it.
pub(super) fn take_char(text: &str) -> Option<(char, &str)> {
    let c = text.chars().next()?;
    Some((c, &text[c.len_utf8()..]))
}

/// Reads an escape at the start of `whole`, which starts with `\`. The code point may be a surrogate.
pub(super) fn parse_escape(whole: &str) -> Result<(u32, &str), RegexError> {
    let Some((c, rest)) = take_char(whole.get(1..).unwrap_or_default()) else {
        return Err(RegexError::new(RegexErrorKind::TrailingBackslash, ""));
    };
    let octal_follows = rest.starts_with(|next: char| next.is_digit(8));
    match c {
        // A single digit other than 0 would be a back reference, which RE2 does not have.
        '1'..='7' if !octal_follows => Err(wrong(whole, rest)),
        '0'..='7' => Ok(octal(c, rest)),
        'x' => hexadecimal(whole, rest),
        'a' => Ok((0x07, rest)),
        'f' => Ok((0x0c, rest)),
        'n' => Ok(('\n' as u32, rest)),
        'r' => Ok(('\r' as u32, rest)),
        't' => Ok(('\t' as u32, rest)),
        'v' => Ok((0x0b, rest)),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => Ok((c as u32, rest)),
        _ => Err(wrong(whole, rest)),
    }
}

fn wrong(whole: &str, rest: &str) -> RegexError {
    RegexError::new(RegexErrorKind::InvalidEscape, &whole[..whole.len() - rest.len()])
}

/// Up to three octal digits, of which `first` is read already.
fn octal(first: char, mut rest: &str) -> (u32, &str) {
    let mut code = first.to_digit(8).unwrap_or(0);
    for _ in 0..2 {
        let Some((digit, after)) = take_char(rest).and_then(|(c, after)| Some((c.to_digit(8)?, after))) else { break };
        code = code * 8 + digit;
        rest = after;
    }
    (code, rest)
}

/// `rest` follows `\x`: two hexadecimal digits, or any number of them in braces.
fn hexadecimal<'a>(whole: &'a str, rest: &'a str) -> Result<(u32, &'a str), RegexError> {
    let Some((first, mut rest)) = take_char(rest) else { return Err(wrong(whole, rest)) };
    if first != '{' {
        let (second, after) = take_char(rest).map_or((None, rest), |(c, after)| (c.to_digit(16), after));
        return match (first.to_digit(16), second) {
            (Some(high), Some(low)) => Ok((high * 16 + low, after)),
            _ => Err(wrong(whole, after)),
        };
    }
    let mut code = None;
    while let Some((c, after)) = take_char(rest) {
        rest = after;
        if c == '}' {
            return code.map(|code| (code, rest)).ok_or_else(|| wrong(whole, rest));
        }
        let next = c.to_digit(16).map(|digit| code.unwrap_or(0) * 16 + digit);
        code = Some(next.filter(|code| *code <= char::MAX as u32).ok_or_else(|| wrong(whole, rest))?);
    }
    Err(wrong(whole, rest))
}
