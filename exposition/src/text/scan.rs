//! The tokens that both text formats share: names, quoted texts, label lists and values.
//!
//! `LAX` is the Prometheus text format, where blanks may stand between tokens, commas between labels may be missing and a
//! quoted text may run over lines; without it, it is OpenMetrics.

use ferula_model::number::parse_exposition_float;

use crate::error::{Fault, ParseErrorKind};
use crate::series::{Body, LabelSpan, Piece};

const NAME_START: u8 = 1;
const NAME: u8 = 2;
const LABEL_START: u8 = 4;
const LABEL: u8 = 8;
/// Ends a run of plain bytes inside quotes.
const QUOTED_END: u8 = 16;
/// Ends a value.
const VALUE_END: u8 = 32;

/// What each byte may be.
static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        let letter = b.is_ascii_alphabetic() || b == b'_';
        if letter {
            table[byte] |= NAME_START | NAME | LABEL_START | LABEL;
        }
        if b == b':' {
            table[byte] |= NAME_START | NAME;
        }
        if b.is_ascii_digit() {
            table[byte] |= NAME | LABEL;
        }
        if matches!(b, b'"' | b'\\' | b'\n') {
            table[byte] |= QUOTED_END;
        }
        if matches!(b, b' ' | b'\t' | b'\n' | b'{') {
            table[byte] |= VALUE_END;
        }
        byte += 1;
    }
    table
}

#[inline(always)]
fn is(byte: u8, class: u8) -> bool {
    CLASSES[byte as usize] & class != 0
}

/// How many bytes from `at` on belong to a class.
#[inline(always)]
fn run(bytes: &[u8], at: usize, class: u8) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    rest.iter().position(|b| !is(*b, class)).unwrap_or(rest.len())
}

/// How many bytes of `rest` come before the end of the line, and whether one of them is a backslash.
#[inline(always)]
pub(crate) fn line_length(rest: &[u8]) -> (usize, bool) {
    match memchr::memchr2(b'\n', b'\\', rest) {
        Some(at) if rest.get(at) == Some(&b'\n') => (at, false),
        Some(at) => {
            let rest = rest.get(at..).unwrap_or_default();
            (at + memchr::memchr(b'\n', rest).unwrap_or(rest.len()), true)
        }
        None => (rest.len(), false),
    }
}

/// As many bytes as the first word of `rest` has if it is all that the line has: type names are shorter than a search is
/// worth.
#[inline(always)]
pub(crate) fn only_word(rest: &[u8]) -> Option<usize> {
    let length = rest.iter().position(|byte| !byte.is_ascii_lowercase())?;
    (rest.get(length) == Some(&b'\n')).then_some(length)
}

/// The first position from `at` on that is neither blank nor tab.
#[inline(always)]
pub(crate) fn skip_blanks(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// The end of a metric name that begins at `at`, if one does.
#[inline(always)]
pub(crate) fn metric_name(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at) {
        Some(b) if is(*b, NAME_START) => Some(at + 1 + run(bytes, at + 1, NAME)),
        _ => None,
    }
}

/// As [`metric_name`]; `hint` is a name that was read before. Lines in a row mostly have the same one, and comparing is
/// faster than looking at each byte.
#[inline(always)]
pub(crate) fn metric_name_like(bytes: &[u8], at: usize, hint: Piece) -> Option<usize> {
    let known = bytes.get(hint.range()).unwrap_or_default();
    let end = at + known.len();
    if !known.is_empty() && bytes.get(at..end) == Some(known) {
        return Some(end + run(bytes, end, NAME));
    }
    metric_name(bytes, at)
}

#[inline(always)]
fn label_name(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at) {
        Some(b) if is(*b, LABEL_START) => Some(at + 1 + run(bytes, at + 1, LABEL)),
        _ => None,
    }
}

/// The content of a quoted text whose opening quote stands before `at`. A backslash takes the next byte with it, unless
/// that is a newline. Without `LAX`, the text ends on its line.
#[inline(always)]
pub(crate) fn quoted<const LAX: bool>(bytes: &[u8], start: usize) -> Result<Piece, Fault> {
    let mut at = start;
    let mut escaped = false;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        at += rest.iter().position(|b| is(*b, QUOTED_END)).unwrap_or(rest.len());
        match bytes.get(at) {
            Some(b'"') => return Ok(Piece::new(start, at, escaped)),
            Some(b'\\') if !matches!(bytes.get(at + 1), None | Some(b'\n')) => {
                escaped = true;
                at += 2;
            }
            Some(b'\n') if LAX => at += 1,
            _ => return Err(Fault::expected(bytes, at, "a closing quote")),
        }
    }
}

/// What a label list may be.
#[derive(Clone, Copy)]
pub(crate) struct LabelRules {
    /// Most labels.
    pub(crate) limit: usize,
    /// It belongs to an exemplar, so it holds no metric name.
    pub(crate) exemplar: bool,
    /// Exactly what the specification allows.
    pub(crate) strict: bool,
}

/// Reads labels up to and including the closing brace, from the byte after the opening one. A quoted text without a value
/// is the metric name.
#[inline(always)]
pub(crate) fn labels<const LAX: bool>(
    body: Body<'_>,
    mut at: usize,
    rules: LabelRules,
    metric: &mut Option<Piece>,
    spans: &mut Vec<LabelSpan>,
) -> Result<usize, Fault> {
    let bytes = body.bytes;
    // What stood before: nothing, a pair, or a comma after a pair.
    let mut after_comma = false;
    loop {
        let name = match plain_label(bytes, at) {
            Some(name) => {
                at = name.end as usize + 1;
                name
            }
            None => {
                let head = label_head::<LAX>(body, at, rules, after_comma, metric)?;
                at = head.next;
                match head.name {
                    Some(name) => name,
                    None if head.is_last => return Ok(at),
                    None => {
                        after_comma = true;
                        continue;
                    }
                }
            }
        };
        let value = quoted::<LAX>(bytes, at + 1)?;
        check_utf8(body, value, "label value")?;
        if spans.len() >= rules.limit {
            return Err(Fault::new(at, ParseErrorKind::LabelLimit { limit: rules.limit }));
        }
        spans.push(LabelSpan { name, value });
        at = value.end as usize + 1;
        if LAX && !matches!(bytes.get(at), Some(b',' | b'}')) {
            at = skip_blanks(bytes, at);
        }
        after_comma = bytes.get(at) == Some(&b',');
        if after_comma {
            at += 1;
        } else if bytes.get(at) == Some(&b'}') {
            return Ok(at + 1);
        } else if rules.strict || !LAX {
            return Err(Fault::expected(bytes, at, "a comma or a closing brace"));
        }
    }
}

/// The name of a label that stands as nearly all do: bare, and with nothing between it, the equals sign and the quote.
#[inline(always)]
fn plain_label(bytes: &[u8], at: usize) -> Option<Piece> {
    let end = label_name(bytes, at)?;
    (bytes.get(end..end + 2) == Some(b"=\"")).then(|| Piece::new(at, end, false))
}

/// What stands before the value of a label.
struct LabelHead {
    /// `None`: there is no value, because this was the metric name or the end.
    name: Option<Piece>,
    /// Where the opening quote of the value stands; without a value, what comes next.
    next: usize,
    /// The closing brace was read.
    is_last: bool,
}

/// Reads up to the value of a label in any form.
fn label_head<const LAX: bool>(
    body: Body<'_>,
    mut at: usize,
    rules: LabelRules,
    after_comma: bool,
    metric: &mut Option<Piece>,
) -> Result<LabelHead, Fault> {
    let bytes = body.bytes;
    if LAX {
        at = skip_blanks(bytes, at);
    }
    let (name, was_quoted) = match bytes.get(at) {
        Some(b'}') if after_comma && rules.strict && !LAX => {
            return Err(Fault::expected(bytes, at, "a label name after the comma"));
        }
        Some(b'}') => return Ok(LabelHead { name: None, next: at + 1, is_last: true }),
        Some(b'"') => {
            // In a quoted name, Prometheus takes a newline as it is, in OpenMetrics too.
            let lines = LAX || !(rules.strict || rules.exemplar);
            let piece = if lines { quoted::<true>(bytes, at + 1) } else { quoted::<false>(bytes, at + 1) }?;
            check_utf8(body, piece, "label name")?;
            at = piece.end as usize + 1;
            (piece, true)
        }
        _ => match label_name(bytes, at) {
            Some(end) => {
                let piece = Piece::new(at, end, false);
                at = end;
                (piece, false)
            }
            None => return Err(Fault::expected(bytes, at, "a label name or a closing brace")),
        },
    };
    if LAX {
        at = skip_blanks(bytes, at);
    }
    match bytes.get(at) {
        Some(b'=') => at += 1,
        Some(end @ (b',' | b'}')) if was_quoted && !rules.exemplar => {
            if metric.is_some() {
                return Err(Fault::new(name.start as usize, ParseErrorKind::SecondMetricName));
            }
            *metric = Some(name);
            return Ok(LabelHead { name: None, next: at + 1, is_last: *end == b'}' });
        }
        _ => return Err(Fault::expected(bytes, at, "an equals sign")),
    }
    if LAX {
        at = skip_blanks(bytes, at);
    }
    if bytes.get(at) != Some(&b'"') {
        return Err(Fault::expected(bytes, at, "a quoted label value"));
    }
    Ok(LabelHead { name: Some(name), next: at, is_last: false })
}

#[inline(always)]
pub(crate) fn check_utf8(body: Body<'_>, piece: Piece, what: &'static str) -> Result<(), Fault> {
    if body.is_text() || body.str(piece.range()).is_some() {
        return Ok(());
    }
    Err(Fault::new(piece.start as usize, ParseErrorKind::Utf8 { what }))
}

/// Reads a plain decimal number that begins at `at` and ends before one of `ends`, in one pass; `None` for everything else,
/// right or wrong. At most 15 digits and a power of ten up to 22 are exact floats, and so is what one operation makes of
/// them (Clinger's fast path); the rest is the standard library's.
#[inline(always)]
pub(crate) fn plain_number(bytes: &[u8], at: usize, ends: impl Fn(u8) -> bool) -> Option<(f64, usize)> {
    const POWERS: [f64; 23] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
        1e20, 1e21, 1e22,
    ];
    let negative = bytes.get(at) == Some(&b'-');
    let start = at + usize::from(negative);
    let (mut at, mut mantissa, mut point) = (start, 0u64, usize::MAX);
    let last = loop {
        match *bytes.get(at)? {
            digit @ b'0'..=b'9' => mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')),
            b'.' if point == usize::MAX => point = at,
            other => break other,
        }
        at += 1;
    };
    let has_point = point != usize::MAX;
    let digits = at - start - usize::from(has_point);
    if digits == 0 {
        return None;
    }
    let mut exponent = if has_point { -((at - point - 1) as i32) } else { 0 };
    if last | 0x20 == b'e' {
        let sign = *bytes.get(at + 1)?;
        at += 1 + usize::from(matches!(sign, b'+' | b'-'));
        let (mut power, first) = (0i32, at);
        while let Some(digit @ b'0'..=b'9') = bytes.get(at) {
            power = power * 10 + i32::from(digit - b'0');
            at += 1;
            if at - first > 3 {
                return None;
            }
        }
        if at == first {
            return None;
        }
        exponent += if sign == b'-' { -power } else { power };
    }
    if !ends(*bytes.get(at)?) {
        return None;
    }
    let value = match POWERS.get(exponent.unsigned_abs() as usize) {
        Some(power) if digits <= 15 && exponent < 0 => mantissa as f64 / power,
        Some(power) if digits <= 15 => mantissa as f64 * power,
        _ => long_number(bytes, start, at)?,
    };
    Some((if negative { -value } else { value }, at))
}

/// A number without sign that is known to be one; `None` if it is too large for a float.
fn long_number(bytes: &[u8], start: usize, end: usize) -> Option<f64> {
    let text = std::str::from_utf8(bytes.get(start..end)?).ok()?;
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// Whether a byte ends a value of the text format.
#[inline(always)]
pub(crate) fn ends_value(byte: u8) -> bool {
    is(byte, VALUE_END)
}

/// The end of a value token of the text format that begins at `at`.
#[inline(always)]
pub(crate) fn value_end(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|b| is(*b, VALUE_END)).unwrap_or(rest.len())
}

/// Reads a float; every NaN becomes the normal one.
#[inline(always)]
pub(crate) fn float(bytes: &[u8], start: usize, end: usize, what: &'static str) -> Result<f64, Fault> {
    let token = bytes.get(start..end).unwrap_or_default();
    match parse_exposition_float(token) {
        Ok(value) if value.is_nan() => Ok(ferula_model::NORMAL_NAN),
        Ok(value) => Ok(value),
        Err(source) => {
            let text = String::from_utf8_lossy(token).into_owned();
            Err(Fault::new(start, ParseErrorKind::Number { what, text, source }))
        }
    }
}
