//! Go's `strconv.Quote`, in which Prometheus prints label values and strings.

use std::fmt;

/// Writes `text` in double quotes with Go's escapes (`strconv.Quote`): `\a \b \f \n \r \t \v \\ \"`, and `\x..`,
/// `\u....` or `\U........` for what is not printable.
pub fn write_go_quoted(f: &mut impl fmt::Write, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\x07' => f.write_str("\\a")?,
            '\x08' => f.write_str("\\b")?,
            '\x0c' => f.write_str("\\f")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\x0b' => f.write_str("\\v")?,
            c if is_printable(c) => f.write_char(c)?,
            c if (c as u32) < 0x80 => write!(f, "\\x{:02x}", c as u32)?,
            c if (c as u32) < 0x1_0000 => write!(f, "\\u{:04x}", c as u32)?,
            c => write!(f, "\\U{:08x}", c as u32)?,
        }
    }
    f.write_char('"')
}

/// [`write_go_quoted`] as a new string.
///
/// ```
/// assert_eq!(ferula_model::go_quote("a\"b\n"), r#""a\"b\n""#);
/// ```
pub fn go_quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    // A `String` takes everything that is written to it.
    let _ = write_go_quoted(&mut out, text);
    out
}

/// Go's `strconv.IsPrint`, taken from what Rust escapes in `char::escape_debug`: both follow the Unicode categories
/// of letters, marks, numbers, punctuation and symbols, and the ASCII space.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    !c.is_whitespace() && c.escape_debug().count() == 1
}

#[cfg(test)]
mod tests {
    use super::go_quote;

    #[test]
    fn quotes_as_go_does() {
        assert_eq!(go_quote("é🦀"), "\"é🦀\"");
        assert_eq!(go_quote("\u{0}\u{7f}\u{a0}"), r#""\x00\x7f\u00a0""#);
    }
}
