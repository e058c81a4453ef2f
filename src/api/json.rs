//! JSON as the API prints it, byte for byte: the text goes straight into the buffer of the answer.
//!
//! Strings are escaped as upstream's encoder does it: those of the envelope for HTML (`<` as `\u003c`), names and values of
//! labels not. Moments are seconds with exactly three decimals or none; sample values are strings in the shortest form that reads back as the same float.

use ferula_model::number::{FloatForm, push_float};
use ferula_model::{FloatHistogram, Labels, Timestamp};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes a string in quotes, escaped for HTML.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    escaped(out, text, true);
}

/// Writes a string in quotes, not escaped for HTML: names and values of labels and annotations.
pub(crate) fn label(out: &mut Vec<u8>, text: &str) {
    escaped(out, text, false);
}

fn escaped(out: &mut Vec<u8>, text: &str, html: bool) {
    if is_plain(text.as_bytes(), html) {
        out.reserve(text.len() + 2);
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    out.push(b'"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..0x20 => &unicode_escape(byte),
            b'<' | b'>' | b'&' if html => &unicode_escape(byte),
            // U+2028 and U+2029 end a line in JavaScript: E2 80 A8 and E2 80 A9.
            0xE2 if html && matches!(text.as_bytes().get(at..at + 3), Some([0xE2, 0x80, 0xA8 | 0xA9])) => {
                out.extend_from_slice(&text.as_bytes()[plain..at]);
                out.extend_from_slice(if text.as_bytes()[at + 2] == 0xA8 { b"\\u2028" } else { b"\\u2029" });
                plain = at + 3;
                continue;
            }
            _ => continue,
        };
        out.extend_from_slice(&text.as_bytes()[plain..at]);
        out.extend_from_slice(escape);
        plain = at + 1;
    }
    out.extend_from_slice(&text.as_bytes()[plain..]);
    out.push(b'"');
}

/// Whether a text certainly has nothing to escape: eight bytes are looked at together, and a neighbour that is suspected
/// wrongly costs only time.
fn is_plain(text: &[u8], html: bool) -> bool {
    let suspect = |word: &[u8; 8]| suspects(u64::from_ne_bytes(*word), html);
    let (words, rest) = text.as_chunks::<8>();
    if words.iter().any(|word| suspect(word) != 0) {
        return false;
    }
    match (rest.is_empty(), text.last_chunk()) {
        (true, _) => true,
        (false, Some(last)) => suspect(last) == 0,
        (false, None) => {
            let mut padded = [b'a'; 8];
            padded.iter_mut().zip(rest).for_each(|(slot, byte)| *slot = *byte);
            suspect(&padded) == 0
        }
    }
}

/// Sets the top bit of each byte that may need an escape.
#[inline]
fn suspects(word: u64, html: bool) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let is = |byte: u8| {
        let same = word ^ (ONES * u64::from(byte));
        same.wrapping_sub(ONES) & !same
    };
    let below_space = word.wrapping_sub(ONES * 0x20) & !word;
    let mut suspects = below_space | is(b'"') | is(b'\\');
    if html {
        suspects |= is(b'<') | is(b'>') | is(b'&') | is(0xE2);
    }
    suspects & (ONES << 7)
}

fn unicode_escape(byte: u8) -> [u8; 6] {
    [b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]
}

/// Writes a list, with a comma between the items.
pub(crate) fn list<T>(out: &mut Vec<u8>, items: impl IntoIterator<Item = T>, mut item: impl FnMut(&mut Vec<u8>, T)) {
    out.push(b'[');
    for (i, one) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        item(out, one);
    }
    out.push(b']');
}

/// Writes an object member by member.
///
/// The order of the calls is the order in the answer.
pub(crate) struct Object<'o> {
    out: &'o mut Vec<u8>,
    any: bool,
}

/// Writes an object.
pub(crate) fn object(out: &mut Vec<u8>, members: impl FnOnce(&mut Object<'_>)) {
    out.push(b'{');
    let mut object = Object { out, any: false };
    members(&mut object);
    out.push(b'}');
}

impl Object<'_> {
    /// A member whose value is written by `value`.
    pub(crate) fn with(&mut self, name: &str, value: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        if std::mem::replace(&mut self.any, true) {
            self.out.push(b',');
        }
        string(self.out, name);
        self.out.push(b':');
        value(self.out);
        self
    }

    /// A member that is a string.
    pub(crate) fn string(&mut self, name: &str, text: &str) -> &mut Self {
        self.with(name, |out| string(out, text))
    }

    /// A member that is a whole number.
    pub(crate) fn integer(&mut self, name: &str, number: i64) -> &mut Self {
        self.with(name, |out| out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()))
    }

    /// A member that is a number with decimals, as Go's `encoding/json` prints it; what is no number is 0.
    pub(crate) fn number(&mut self, name: &str, value: f64) -> &mut Self {
        self.with(name, |out| number(out, value))
    }

    /// A member that is true or false.
    pub(crate) fn boolean(&mut self, name: &str, value: bool) -> &mut Self {
        self.with(name, |out| out.extend_from_slice(if value { b"true" } else { b"false" }))
    }

    /// As [`boolean`](Self::boolean), with a name that is not escaped for HTML.
    pub(crate) fn plain_boolean(&mut self, name: &str, value: bool) -> &mut Self {
        if std::mem::replace(&mut self.any, true) {
            self.out.push(b',');
        }
        label(self.out, name);
        self.out.extend_from_slice(if value { b":true" } else { b":false" });
        self
    }

    /// A member that is a label set.
    pub(crate) fn labels(&mut self, name: &str, set: &Labels) -> &mut Self {
        self.with(name, |out| labels(out, set))
    }
}

/// Writes a number with decimals as Go's `encoding/json` does: an exponent has no leading zero, `1e-7`.
fn number(out: &mut Vec<u8>, value: f64) {
    let start = out.len();
    push_float(out, if value.is_finite() { value } else { 0.0 }, FloatForm::Json);
    if let Some([b'e', b'-', b'0', digit]) = out.get(start..).and_then(|text| text.last_chunk::<4>()).copied() {
        out.truncate(out.len() - 2);
        out.push(digit);
    }
}

/// Writes a label set as an object.
pub(crate) fn labels(out: &mut Vec<u8>, set: &Labels) {
    pairs(out, set.iter());
}

/// Writes names and values of labels or annotations as an object.
pub(crate) fn pairs<'a>(out: &mut Vec<u8>, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) {
    out.push(b'{');
    for (i, (name, value)) in pairs.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        label(out, name);
        out.push(b':');
        label(out, value);
    }
    out.push(b'}');
}

/// Writes a moment in seconds: `1.500`, `-0.001`, `12`.
pub(crate) fn timestamp(out: &mut Vec<u8>, at: Timestamp) {
    let millis = at.as_millis();
    if millis < 0 {
        out.push(b'-');
    }
    let magnitude = millis.unsigned_abs();
    integer(out, magnitude / 1000);
    let fraction = (magnitude % 1000) as u16;
    if fraction > 0 {
        let digit = |n: u16| b'0' + (n % 10) as u8;
        out.extend_from_slice(&[b'.', digit(fraction / 100), digit(fraction / 10), digit(fraction)]);
    }
}

/// Writes a whole number.
pub(crate) fn integer(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Writes a sample value: a float in quotes.
pub(crate) fn float(out: &mut Vec<u8>, value: f64) {
    out.push(b'"');
    push_float(out, value, FloatForm::Json);
    out.push(b'"');
}

/// Writes `[moment,"value"]`.
pub(crate) fn point(out: &mut Vec<u8>, at: Timestamp, value: f64) {
    out.push(b'[');
    timestamp(out, at);
    out.push(b',');
    float(out, value);
    out.push(b']');
}

/// Writes `[moment,{"count":...,"sum":...,"buckets":[...]}]`. Of the buckets only those with a count, from the lowest
/// to the highest; the number at the front says which bounds belong to the bucket (0: the upper, 1: the lower, 2: none,
/// 3: both).
pub(crate) fn histogram_point(out: &mut Vec<u8>, at: Timestamp, histogram: &FloatHistogram) {
    out.push(b'[');
    timestamp(out, at);
    out.extend_from_slice(b",");
    self::histogram(out, histogram);
    out.push(b']');
}

fn histogram(out: &mut Vec<u8>, histogram: &FloatHistogram) {
    out.extend_from_slice(b"{\"count\":");
    float(out, histogram.count);
    out.extend_from_slice(b",\"sum\":");
    float(out, histogram.sum);
    let mut first = true;
    for bucket in histogram.buckets() {
        if bucket.count == 0.0 {
            continue;
        }
        out.extend_from_slice(if first { b",\"buckets\":[" } else { b"," });
        first = false;
        let rule = match (bucket.lower_inclusive, bucket.upper_inclusive) {
            (false, true) => b'0',
            (true, false) => b'1',
            (false, false) => b'2',
            (true, true) => b'3',
        };
        out.extend_from_slice(&[b'[', rule, b',']);
        float(out, bucket.lower);
        out.push(b',');
        float(out, bucket.upper);
        out.push(b',');
        float(out, bucket.count);
        out.push(b']');
    }
    if !first {
        out.push(b']');
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_are_escaped_as_upstream_does() {
        assert_eq!(
            written(|out| string(out, "a\"b\\c\n\t<é>&\u{1}\u{2028}x\u{2029}")),
            r#""a\"b\\c\n\t\u003cé\u003e\u0026\u0001\u2028x\u2029""#
        );
        assert_eq!(written(|out| label(out, "<&\n\u{1}\u{2028}>")), "\"<&\\n\\u0001\u{2028}>\"");
        assert_eq!(written(|out| number(out, 0.000_000_15)), "1.5e-7");
    }

    #[test]
    fn what_needs_an_escape_is_found_wherever_it_stands() {
        for length in 1..40 {
            for at in 0..length {
                let with = |piece: &str| format!("{}{piece}{}", "x".repeat(at), "é".repeat(length - at - 1));
                for (piece, escape) in [
                    ("\"", "\\\""),
                    ("\\", "\\\\"),
                    ("\n", "\\n"),
                    ("\u{1f}", "\\u001f"),
                    (" ", " "),
                    ("\u{7f}", "\u{7f}"),
                ] {
                    assert_eq!(written(|out| label(out, &with(piece))), format!("\"{}\"", with(escape)));
                }
                for (piece, escape) in [("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"), ("\u{2028}", "\\u2028")] {
                    assert_eq!(written(|out| string(out, &with(piece))), format!("\"{}\"", with(escape)));
                    assert_eq!(written(|out| label(out, &with(piece))), format!("\"{}\"", with(piece)));
                }
            }
        }
    }

    #[test]
    fn moments_have_three_decimals_or_none() {
        for (millis, text) in
            [(0, "0"), (1, "0.001"), (-1, "-0.001"), (1500, "1.500"), (-2000, "-2"), (1435781430781, "1435781430.781")]
        {
            assert_eq!(written(|out| timestamp(out, Timestamp(millis))), text);
        }
    }

    #[test]
    fn values_are_strings_in_the_shortest_form() {
        assert_eq!(written(|out| point(out, Timestamp(1000), f64::NEG_INFINITY)), r#"[1,"-Inf"]"#);
        assert_eq!(written(|out| point(out, Timestamp(1000), 1e21)), r#"[1,"1e+21"]"#);
        assert_eq!(written(|out| point(out, Timestamp(1000), 0.1 + 0.2)), r#"[1,"0.30000000000000004"]"#);
    }
}
