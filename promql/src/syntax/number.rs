//! Is this a number or a duration, how long is it, and what is its value?

use ferula_model::number::parse_promql_number;
use ferula_model::{DurationError, parse_duration};

/// What stands at the beginning of a text, and how many bytes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scan {
    Number(usize),
    Duration(usize),
    /// Neither; the length is how far the scanner read, which the message quotes.
    Bad(usize),
}

/// Reads as far as Prometheus' scanner does. `text` begins with a digit or a dot.
pub(super) fn scan_number(text: &str) -> Scan {
    let mut cursor = Cursor { bytes: text.as_bytes(), at: 0 };
    if scan_plain_number(&mut cursor) {
        return Scan::Number(cursor.at);
    }
    if scan_duration_units(&mut cursor) {
        return Scan::Duration(cursor.at);
    }
    Scan::Bad(char_boundary(text, cursor.at))
}

fn char_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at.min(text.len())
}

struct Cursor<'t> {
    bytes: &'t [u8],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn accept(&mut self, wanted: impl FnOnce(u8) -> bool) -> Option<u8> {
        let found = self.peek().filter(|&byte| wanted(byte))?;
        self.at += 1;
        Some(found)
    }

    fn at_word(&self) -> bool {
        self.peek().is_some_and(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
    }
}

/// One dot, one exponent, single underscores between digits; hexadecimal without either of the former.
fn scan_plain_number(cursor: &mut Cursor<'_>) -> bool {
    let start = cursor.at;
    let mut hexadecimal = false;
    if cursor.accept(|byte| byte == b'0').is_some() && cursor.accept(|byte| matches!(byte, b'x' | b'X')).is_some() {
        hexadecimal = true;
        cursor.accept(|byte| byte == b'_');
    }
    let digit = |byte: u8| if hexadecimal { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
    cursor.accept(|byte| byte == b'.');
    cursor.accept(digit);
    let (mut dot, mut exponent) = (false, false);
    while let Some(found) = cursor.accept(|byte| digit(byte) || matches!(byte, b'.' | b'_' | b'e' | b'E')) {
        if digit(found) {
            continue;
        }
        let allowed = match found {
            b'.' => !dot && !hexadecimal && cursor.accept(|byte| matches!(byte, b'_' | b'.')).is_none(),
            b'_' => {
                cursor.accept(|byte| matches!(byte, b'.' | b'_' | b'e' | b'E') && !digit(byte)).is_none()
                    && cursor.peek().is_some()
            }
            _ => {
                let first = !exponent && !hexadecimal;
                first && cursor.accept(|byte| matches!(byte, b'.' | b'_' | b'e' | b'E')).is_none() && {
                    cursor.accept(|byte| matches!(byte, b'+' | b'-'));
                    cursor.peek().is_some()
                }
            }
        };
        dot |= found == b'.';
        exponent |= matches!(found, b'e' | b'E');
        if !allowed {
            return false;
        }
    }
    cursor.at > start && !cursor.at_word()
}

/// The units of a duration and the digits between them, from behind the first digits on.
fn scan_duration_units(cursor: &mut Cursor<'_>) -> bool {
    if cursor.accept(|byte| b"smhdwy".contains(&byte)).is_none() {
        return false;
    }
    cursor.accept(|byte| byte == b's');
    while cursor.accept(|byte| byte.is_ascii_digit()).is_some() {
        while cursor.accept(|byte| byte.is_ascii_digit()).is_some() {}
        if cursor.accept(|byte| b"smhdw".contains(&byte)).is_none() {
            return false;
        }
        cursor.accept(|byte| byte == b's');
    }
    let ends = !cursor.at_word();
    if !ends {
        cursor.at += 1;
    }
    ends
}

/// The value of a number token, as Go reads it: integers in any base (a leading zero means octal), else decimal floats.
pub(super) fn number_value(text: &str) -> Result<f64, String> {
    parse_promql_number(text)
        .map_err(|error| format!("error parsing number: strconv.ParseFloat: parsing {}: {error}", quote(text)))
}

fn quote(text: &str) -> String {
    ferula_model::go_quote(text)
}

/// The value of a duration token in seconds.
pub(super) fn duration_value(text: &str) -> Result<f64, String> {
    match parse_duration(text) {
        Ok(duration) => Ok(duration.as_nanos() as f64 / 1e9),
        // Go cannot even read digits beyond 64 bits.
        Err(DurationError::OutOfRange) if digit_runs(text).all(|digits| digits.parse::<u64>().is_ok()) => {
            Err("duration out of range".to_owned())
        }
        Err(_) => Err(match unknown_unit(text) {
            Some(unit) => format!("unknown unit {} in duration {}", quote(unit), quote(text)),
            None => format!("not a valid duration string: {}", quote(text)),
        }),
    }
}

fn digit_runs(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty())
}

/// The first run of non-digits in a duration that is no unit, unless an earlier unit is out of order.
fn unknown_unit(text: &str) -> Option<&str> {
    const UNITS: [&str; 7] = ["y", "w", "d", "h", "m", "s", "ms"];
    let mut last = None;
    for unit in text.split(|c: char| c.is_ascii_digit()).filter(|unit| !unit.is_empty()) {
        let position = UNITS.iter().position(|known| *known == unit);
        if position.is_none() {
            return Some(unit);
        }
        if position <= last {
            return None;
        }
        last = position;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scans_as_far_as_upstream() {
        for (text, expected) in [
            ("1e", Scan::Bad(2)),
            ("1e+", Scan::Bad(3)),
            ("0xg", Scan::Bad(2)),
            ("1__0", Scan::Bad(3)),
            ("0b11", Scan::Bad(1)),
            ("1.5.5", Scan::Bad(4)),
            ("5m3", Scan::Bad(3)),
            ("0x1p4", Scan::Bad(3)),
            ("0x1.8", Scan::Bad(4)),
            ("1s5y", Scan::Bad(3)),
            ("5mx", Scan::Bad(3)),
            ("1_", Scan::Bad(2)),
            ("0x", Scan::Number(2)),
            ("5m3s1h", Scan::Duration(6)),
            ("1e5m", Scan::Duration(4)),
            ("1_0.5", Scan::Number(5)),
            (".5]", Scan::Number(2)),
        ] {
            assert_eq!(scan_number(text), expected, "{text}");
        }
    }

    #[test]
    fn reads_numbers_as_go() {
        for (text, expected) in
            [("010", 8.0), ("08", 8.0), ("0x1_f", 31.0), ("1_0.5", 10.5), ("1_0e1_0", 1e11), ("0_1", 1.0), ("1.", 1.0)]
        {
            assert_eq!(number_value(text), Ok(expected), "{text}");
        }
        assert!(number_value("1e400").is_err_and(|error| error.ends_with("value out of range")));
        assert!(number_value("0x").is_err_and(|error| error.ends_with("invalid syntax")));
    }
}
