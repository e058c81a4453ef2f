//! Floats to text.

use std::fmt;

use super::decimal::Decimal;

/// A layout of the shortest digits that read back as the same float.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloatForm {
    /// Go's `%v` and `FormatFloat(x, 'g', -1)`: an exponent below 1e-4 and from 1e6. The text exposition format, `le`
    /// labels, histogram strings.
    Shortest,
    /// `FormatFloat(x, 'f', -1)`: never an exponent. PromQL's printer and `count_values`.
    Plain,
    /// `FormatFloat(x, 'e', -1)`: always an exponent. The value of an alert in the API.
    Exponent,
    /// Plain, but with an exponent below 1e-6 and from 1e21. Sample values in the JSON API.
    Json,
    /// Shortest, with `.0` after what looks like an integer. The OpenMetrics format.
    OpenMetrics,
}

/// A layout with a given number of digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrecisionForm {
    /// `%.Nf`: N digits behind the point.
    Plain,
    /// `%.Ne`: N digits behind the point, and an exponent.
    Exponent,
    /// `%.Ng`: N digits in all without trailing zeros; an exponent below -4 and from N.
    General,
}

/// Writes a float in a form.
///
/// ```
/// use ferula_model::number::{FloatForm, push_float};
///
/// let mut out = Vec::new();
/// push_float(&mut out, 1e21, FloatForm::Json);
/// out.push(b' ');
/// push_float(&mut out, f64::INFINITY, FloatForm::Shortest);
/// assert_eq!(out, b"1e+21 +Inf");
/// ```
pub fn push_float(out: &mut Vec<u8>, value: f64, form: FloatForm) {
    lay_out(out, value, form);
}

/// Writes a float in a form.
///
/// # Errors
///
/// What the writer answers.
pub fn write_float(out: &mut impl fmt::Write, value: f64, form: FloatForm) -> fmt::Result {
    let mut sink = FmtSink { out, result: Ok(()) };
    lay_out(&mut sink, value, form);
    sink.result
}

/// A float in a form, as a new string.
///
/// ```
/// use ferula_model::number::{FloatForm, format_float};
///
/// assert_eq!(format_float(-0.0, FloatForm::Json), "-0");
/// assert_eq!(format_float(1e-7, FloatForm::Json), "1e-07");
/// assert_eq!(format_float(1e-7, FloatForm::Plain), "0.0000001");
/// assert_eq!(format_float(1.0, FloatForm::Exponent), "1e+00");
/// assert_eq!(format_float(1.0, FloatForm::OpenMetrics), "1.0");
/// ```
pub fn format_float(value: f64, form: FloatForm) -> String {
    let mut out = String::new();
    lay_out(&mut FmtSink { out: &mut out, result: Ok(()) }, value, form);
    out
}

/// Writes a float with a given number of digits, rounded half to even on its exact value, as Go does.
///
/// ```
/// use ferula_model::number::{PrecisionForm, write_float_precise};
///
/// let mut out = String::new();
/// write_float_precise(&mut out, 1234567.0, PrecisionForm::General, 4).unwrap();
/// assert_eq!(out, "1.235e+06");
/// ```
///
/// # Errors
///
/// What the writer answers.
pub fn write_float_precise(
    out: &mut impl fmt::Write,
    value: f64,
    form: PrecisionForm,
    precision: usize,
) -> fmt::Result {
    let mut sink = FmtSink { out, result: Ok(()) };
    if special(&mut sink, value) {
        return sink.result;
    }
    match form {
        PrecisionForm::Plain => write!(sink.out, "{value:.precision$}"),
        PrecisionForm::Exponent => {
            let text = format!("{value:.precision$e}");
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            sink.out.write_str(mantissa)?;
            exponent_suffix(&mut sink, exponent.parse().unwrap_or(0));
            sink.result
        }
        PrecisionForm::General => {
            let precision = precision.max(1);
            let digits = precision - 1;
            let decimal = Decimal::from_text(&format!("{:.digits$e}", value.abs()));
            sign(&mut sink, value);
            let limit = i32::try_from(precision).unwrap_or(i32::MAX);
            match (-4..limit).contains(&decimal.exponent()) {
                true => plain(&mut sink, &decimal),
                false => with_exponent(&mut sink, &decimal),
            }
            sink.result
        }
    }
}

/// Where text goes, a few bytes at a time. All that is put is ASCII.
trait Sink {
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    /// Most numbers have 8 to 32 characters: two pieces of a fixed length that overlap are copied without a call.
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        match bytes.len() {
            16..=32 => put_ends::<16>(self, bytes),
            8..16 => put_ends::<8>(self, bytes),
            _ => self.extend_from_slice(bytes),
        }
    }
}

/// Appends `N` to `2 * N` bytes.
#[inline]
fn put_ends<const N: usize>(out: &mut Vec<u8>, bytes: &[u8]) {
    let (Some(first), Some(last)) = (bytes.first_chunk::<N>(), bytes.last_chunk::<N>()) else { return };
    let (from, end) = (out.len(), out.len() + bytes.len());
    out.extend_from_slice(first);
    out.extend_from_slice(last);
    if let Some(slot) = out.get_mut(end - N..end) {
        slot.copy_from_slice(last);
    }
    if let Some(slot) = out.get_mut(from..from + N) {
        slot.copy_from_slice(first);
    }
    out.truncate(end);
}

struct FmtSink<'a, W: fmt::Write> {
    out: &'a mut W,
    result: fmt::Result,
}

impl<W: fmt::Write> Sink for FmtSink<'_, W> {
    fn put(&mut self, bytes: &[u8]) {
        if self.result.is_ok() {
            self.result = std::str::from_utf8(bytes).map_err(|_| fmt::Error).and_then(|text| self.out.write_str(text));
        }
    }
}

fn lay_out(out: &mut impl Sink, value: f64, form: FloatForm) {
    if special(out, value) {
        return;
    }
    let magnitude = value.abs();
    let wants_exponent = match form {
        FloatForm::Plain => Some(false),
        FloatForm::Exponent => Some(true),
        FloatForm::Json => Some(magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude)),
        FloatForm::Shortest | FloatForm::OpenMetrics => None,
    };
    sign(out, value);
    // Most samples are small whole numbers.
    let whole_below = if wants_exponent.is_none() { 1e6 } else { 1e15 };
    let whole = magnitude as i64;
    if wants_exponent != Some(true) && magnitude < whole_below && whole as f64 == magnitude {
        out.put(itoa::Buffer::new().format(whole).as_bytes());
        if form == FloatForm::OpenMetrics {
            out.put(b".0");
        }
        return;
    }
    let mut buffer = zmij::Buffer::new();
    let shortest = buffer.format_finite(magnitude);
    // Where both lay the digits out plainly, they do it alike. Most numbers are neither so small nor so large that the
    // shortest digits have an exponent.
    let is_plain = wants_exponent.map_or((1e-4..1e6).contains(&magnitude), |wanted| !wanted);
    let is_usual = (1e-4..1e15).contains(&magnitude);
    if is_plain && (is_usual || !shortest.bytes().any(|byte| byte == b'e')) {
        out.put(shortest.strip_suffix(".0").unwrap_or(shortest).as_bytes());
        return;
    }
    let decimal = Decimal::from_text(shortest);
    // Go's `%g` decides as if the precision were 6 when the digits are the shortest ones.
    let exponent = wants_exponent.unwrap_or(!(-4..6).contains(&decimal.exponent()));
    match exponent {
        true => with_exponent(out, &decimal),
        false => plain(out, &decimal),
    }
}

fn special(out: &mut impl Sink, value: f64) -> bool {
    let text: &[u8] = match value {
        v if v.is_nan() => b"NaN",
        f64::INFINITY => b"+Inf",
        f64::NEG_INFINITY => b"-Inf",
        _ => return false,
    };
    out.put(text);
    true
}

fn sign(out: &mut impl Sink, value: f64) {
    if value.is_sign_negative() {
        out.put(b"-");
    }
}

fn plain(out: &mut impl Sink, decimal: &Decimal) {
    let digits = decimal.digits();
    match usize::try_from(decimal.point) {
        Ok(point) if point > 0 => {
            let (before, behind) = digits.split_at(point.min(digits.len()));
            out.put(before);
            zeros(out, point - before.len());
            if !behind.is_empty() {
                out.put(b".");
                out.put(behind);
            }
        }
        _ => {
            out.put(b"0.");
            zeros(out, decimal.point.unsigned_abs() as usize);
            out.put(digits);
        }
    }
}

fn with_exponent(out: &mut impl Sink, decimal: &Decimal) {
    let (first, rest) = decimal.digits().split_at(1);
    out.put(first);
    if !rest.is_empty() {
        out.put(b".");
        out.put(rest);
    }
    exponent_suffix(out, decimal.exponent());
}

/// `e+07`: a sign and at least two digits.
fn exponent_suffix(out: &mut impl Sink, exponent: i32) {
    out.put(if exponent < 0 { b"e-" } else { b"e+" });
    let exponent = exponent.unsigned_abs();
    if exponent < 10 {
        out.put(b"0");
    }
    out.put(itoa::Buffer::new().format(exponent).as_bytes());
}

fn zeros(out: &mut impl Sink, mut count: usize) {
    const ZEROS: [u8; 32] = [b'0'; 32];
    while count > 0 {
        let some = count.min(ZEROS.len());
        out.put(ZEROS.get(..some).unwrap_or_default());
        count -= some;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forms_agree_with_go() {
        // value, %v, 'f' -1, 'e' -1, JSON, OpenMetrics; written down from Go 1.25.
        let cases: &[(f64, [&str; 5])] = &[
            (0.0, ["0", "0", "0e+00", "0", "0.0"]),
            (-0.0, ["-0", "-0", "-0e+00", "-0", "-0.0"]),
            (1.0, ["1", "1", "1e+00", "1", "1.0"]),
            (0.1, ["0.1", "0.1", "1e-01", "0.1", "0.1"]),
            (123456.0, ["123456", "123456", "1.23456e+05", "123456", "123456.0"]),
            (1e6, ["1e+06", "1000000", "1e+06", "1000000", "1e+06"]),
            (1234567.5, ["1.2345675e+06", "1234567.5", "1.2345675e+06", "1234567.5", "1.2345675e+06"]),
            (0.0001, ["0.0001", "0.0001", "1e-04", "0.0001", "0.0001"]),
            (0.00001, ["1e-05", "0.00001", "1e-05", "0.00001", "1e-05"]),
            (1e-7, ["1e-07", "0.0000001", "1e-07", "1e-07", "1e-07"]),
            (1e20, ["1e+20", "100000000000000000000", "1e+20", "100000000000000000000", "1e+20"]),
            // Halfway between two shortest forms: the even digit.
            (
                1_080_661_076_397_045.0 + 0.25,
                ["1.0806610763970452e+15", "1080661076397045.2", "", "1080661076397045.2", ""],
            ),
            (1e21, ["1e+21", "1000000000000000000000", "1e+21", "1e+21", "1e+21"]),
            (-2.5e-300, ["-2.5e-300", "", "-2.5e-300", "-2.5e-300", "-2.5e-300"]),
            (f64::NAN, ["NaN"; 5]),
            (f64::INFINITY, ["+Inf"; 5]),
            (f64::NEG_INFINITY, ["-Inf"; 5]),
        ];
        use FloatForm::*;
        for (value, expected) in cases {
            for (form, expected) in [Shortest, Plain, Exponent, Json, OpenMetrics].into_iter().zip(expected) {
                if !expected.is_empty() {
                    assert_eq!(format_float(*value, form), *expected, "{value:e} as {form:?}");
                }
            }
        }
    }

    #[test]
    fn precisions_agree_with_go() {
        use PrecisionForm::*;
        let cases: &[(f64, PrecisionForm, usize, &str)] = &[
            (1.005, Plain, 2, "1.00"),
            (2.5, Plain, 0, "2"),
            (1234.0, Exponent, 2, "1.23e+03"),
            (0.0, Exponent, 1, "0.0e+00"),
            (1.0, General, 4, "1"),
            (1.23456, General, 4, "1.235"),
            (99999.0, General, 4, "1e+05"),
            (0.00001234, General, 4, "1.234e-05"),
            (-0.0, General, 4, "-0"),
            (f64::NAN, Plain, 3, "NaN"),
            (f64::NEG_INFINITY, General, 3, "-Inf"),
        ];
        for (value, form, precision, expected) in cases {
            let mut out = String::new();
            write_float_precise(&mut out, *value, *form, *precision).unwrap();
            assert_eq!(out, *expected, "{value:e} {form:?} {precision}");
        }
    }

    proptest! {
        #[test]
        fn digits_copied_are_digits_laid_out(mantissa in any::<u32>(), exponent in -12i32..25, bits in any::<u64>()) {
            for value in [f64::from(mantissa) * 10f64.powi(exponent), f64::from_bits(bits)] {
                prop_assume!(value.is_finite() && value != 0.0);
                let decimal = Decimal::from_text(zmij::Buffer::new().format_finite(value.abs()));
                let mut laid_out = Vec::new();
                sign(&mut laid_out, value);
                plain(&mut laid_out, &decimal);
                let mut copied = Vec::new();
                push_float(&mut copied, value, FloatForm::Plain);
                prop_assert_eq!(copied, laid_out);
                let is_plain = (-4..6).contains(&decimal.exponent());
                prop_assert_eq!(format_float(value, FloatForm::Shortest).contains('e'), !is_plain);
            }
        }

        #[test]
        fn every_form_reads_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(!value.is_nan());
            for form in [FloatForm::Shortest, FloatForm::Plain, FloatForm::Exponent, FloatForm::Json, FloatForm::OpenMetrics] {
                let text = format_float(value, form);
                let mut bytes = Vec::new();
                push_float(&mut bytes, value, form);
                prop_assert_eq!(bytes, text.as_bytes());
                prop_assert_eq!(super::super::parse_float(&text).unwrap().to_bits(), value.to_bits(), "{}", text);
            }
        }
    }
}
