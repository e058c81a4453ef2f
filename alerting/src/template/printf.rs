//! Go's `fmt.Sprintf`, as far as values of templates go.

use std::fmt::Write as _;

use ferula_model::go_quote;
use ferula_model::number::{FloatForm, PrecisionForm, format_float, write_float_precise};

use super::value::Value;

/// As Go: wider is a mistake of whoever wrote it.
const WIDTH_MAX: usize = 1_000_000;

#[derive(Clone, Copy, Default)]
struct Spec {
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// Fills in a format. What does not fit shows in the result as Go shows it: `%!d(string=x)`, `%!s(MISSING)`.
pub(super) fn printf(format: &str, args: &[Value]) -> String {
    let mut out = String::new();
    let mut rest = format;
    let mut next = Next { args, at: 0, reordered: false };
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        rest = directive(after, &mut next, &mut out);
    }
    out.push_str(rest);
    if !next.reordered && next.at < args.len() {
        out.push_str("%!(EXTRA ");
        for (index, value) in args.iter().skip(next.at).enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            match value {
                Value::Nil => out.push_str("<nil>"),
                value => push(&mut out, format_args!("{}={}", value.type_name(), value.to_text())),
            }
        }
        out.push(')');
    }
    out
}

fn push(out: &mut String, text: impl std::fmt::Display) {
    // A `String` takes everything that is written to it.
    let _ = write!(out, "{text}");
}

/// The arguments, and which comes next.
struct Next<'a> {
    args: &'a [Value],
    at: usize,
    reordered: bool,
}

impl<'a> Next<'a> {
    fn take(&mut self) -> Option<&'a Value> {
        let value = self.args.get(self.at);
        self.at += usize::from(value.is_some());
        value
    }

    /// `[n]`; false if it is no index of an argument.
    fn index<'f>(&mut self, rest: &'f str) -> (&'f str, bool) {
        let Some(inside) = rest.strip_prefix('[') else { return (rest, true) };
        self.reordered = true;
        let Some((number, after)) = inside.split_once(']') else { return (inside, false) };
        match number.parse::<usize>() {
            Ok(number) if (1..=self.args.len()).contains(&number) => {
                self.at = number - 1;
                (after, true)
            }
            _ => (after, false),
        }
    }
}

/// What follows a `%`; the text behind it.
fn directive<'f>(text: &'f str, next: &mut Next<'_>, out: &mut String) -> &'f str {
    let mut spec = Spec::default();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        match c {
            '+' => spec.plus = true,
            '-' => spec.minus = true,
            '#' => spec.sharp = true,
            ' ' => spec.space = true,
            '0' => spec.zero = true,
            _ => break,
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    let mut good_index;
    (rest, good_index) = next.index(rest);
    let mut problem = "";
    (rest, spec.width) = match number(rest, next) {
        Measure::None => (rest, None),
        Measure::Number(after, number) => (after, Some(number)),
        Measure::Negative(after, number) => {
            spec.minus = true;
            (after, Some(number))
        }
        Measure::Bad(after) => {
            problem = "%!(BADWIDTH)";
            (after, None)
        }
    };
    if let Some(after) = rest.strip_prefix('.') {
        let fine;
        (rest, fine) = next.index(after);
        good_index &= fine;
        (rest, spec.precision) = match number(rest, next) {
            Measure::None => (rest, Some(0)),
            Measure::Number(after, number) => (after, Some(number)),
            Measure::Negative(after, _) | Measure::Bad(after) => {
                problem = "%!(BADPREC)";
                (after, None)
            }
        };
    }
    let fine;
    (rest, fine) = next.index(rest);
    good_index &= fine;
    out.push_str(problem);
    let Some(verb) = rest.chars().next() else {
        out.push_str("%!(NOVERB)");
        return "";
    };
    rest = rest.get(verb.len_utf8()..).unwrap_or_default();
    if verb == '%' {
        out.push('%');
    } else if !good_index {
        push(out, format_args!("%!{verb}(BADINDEX)"));
    } else {
        match next.take() {
            None => push(out, format_args!("%!{verb}(MISSING)")),
            Some(value) => out.push_str(&formatted(value, verb, spec)),
        }
    }
    rest
}

enum Measure<'f> {
    None,
    Number(&'f str, usize),
    Negative(&'f str, usize),
    Bad(&'f str),
}

/// A width or precision, which may be an argument.
fn number<'f>(rest: &'f str, next: &mut Next<'_>) -> Measure<'f> {
    if let Some(after) = rest.strip_prefix('*') {
        return match next.take() {
            Some(Value::Int(number)) if number.unsigned_abs() <= WIDTH_MAX as u64 => {
                let size = number.unsigned_abs() as usize;
                if *number < 0 { Measure::Negative(after, size) } else { Measure::Number(after, size) }
            }
            _ => Measure::Bad(after),
        };
    }
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (number, after) = rest.split_at(digits);
    match number.parse::<usize>() {
        _ if digits == 0 => Measure::None,
        Ok(number) if number <= WIDTH_MAX => Measure::Number(after, number),
        _ => Measure::Bad(after),
    }
}

fn formatted(value: &Value, verb: char, spec: Spec) -> String {
    if verb == 'T' {
        let name = if matches!(value, Value::Nil) { "<nil>" } else { value.type_name() };
        return padded(name.to_owned(), Spec { zero: false, ..spec });
    }
    let bad = || match value {
        Value::Nil => format!("%!{verb}(<nil>)"),
        value => format!("%!{verb}({}={})", value.type_name(), value.to_text()),
    };
    match value {
        Value::Nil if verb == 'v' => padded("<nil>".to_owned(), spec),
        Value::Bool(_) if matches!(verb, 't' | 'v') => padded(value.to_text(), Spec { zero: false, ..spec }),
        Value::Int(number) => integer(*number, verb, spec).unwrap_or_else(bad),
        Value::Float(number) => float(*number, verb, spec).unwrap_or_else(bad),
        Value::Text(text) => string(text, verb, spec).unwrap_or_else(bad),
        Value::Duration(_) | Value::Time(_) | Value::Histogram(_) if matches!(verb, 's' | 'v' | 'q') => {
            string(&value.to_text(), verb, spec).unwrap_or_else(bad)
        }
        Value::Labels(_) | Value::Map(_) | Value::Sample(_) | Value::Samples(_) | Value::Alert(_)
            if matches!(verb, 's' | 'v') =>
        {
            padded(value.to_text(), Spec { zero: false, ..spec })
        }
        _ => bad(),
    }
}

fn padded(text: String, spec: Spec) -> String {
    let length = text.chars().count();
    let missing = spec.width.unwrap_or(0).saturating_sub(length);
    if missing == 0 {
        return text;
    }
    if spec.minus {
        return text + &" ".repeat(missing);
    }
    if !spec.zero {
        return " ".repeat(missing) + &text;
    }
    // Zeros go behind the sign.
    match text.strip_prefix(['+', '-', ' ']) {
        Some(digits) => format!("{}{}{digits}", text.get(..1).unwrap_or_default(), "0".repeat(missing)),
        None => "0".repeat(missing) + &text,
    }
}

fn sign(is_negative: bool, spec: Spec) -> &'static str {
    match (is_negative, spec.plus, spec.space) {
        (true, ..) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        _ => "",
    }
}

fn integer(number: i64, verb: char, spec: Spec) -> Option<String> {
    let magnitude = number.unsigned_abs();
    let (prefix, mut digits) = match verb {
        'd' | 'v' => ("", magnitude.to_string()),
        'b' => ("0b", format!("{magnitude:b}")),
        'o' => ("0", format!("{magnitude:o}")),
        'O' => ("0o", format!("{magnitude:o}")),
        'x' => ("0x", format!("{magnitude:x}")),
        'X' => ("0X", format!("{magnitude:X}")),
        'c' | 'q' | 'U' => {
            let c = u32::try_from(number).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
            let text = match verb {
                'c' => c.to_string(),
                'q' => format!("'{}'", go_quote(&c.to_string()).trim_matches('"')),
                _ if spec.sharp => format!("U+{magnitude:04X} '{c}'"),
                _ => format!("U+{magnitude:04X}"),
            };
            return Some(padded(text, Spec { zero: false, ..spec }));
        }
        _ => return None,
    };
    let prefix = if spec.sharp || verb == 'O' { prefix } else { "" };
    let mut spec = spec;
    if let Some(precision) = spec.precision {
        spec.zero = false;
        if precision == 0 && number == 0 {
            return Some(padded(String::new(), spec));
        }
        digits = "0".repeat(precision.saturating_sub(digits.len())) + &digits;
    }
    Some(padded(format!("{}{prefix}{digits}", sign(number < 0, spec)), spec))
}

fn float(number: f64, verb: char, spec: Spec) -> Option<String> {
    let precise = |form, digits| {
        let mut text = String::new();
        let _ = write_float_precise(&mut text, number, form, digits);
        text
    };
    let text = match (verb, spec.precision) {
        ('v', None) | ('g' | 'G', None) => format_float(number, FloatForm::Shortest),
        ('v' | 'g' | 'G', Some(digits)) => precise(PrecisionForm::General, digits),
        ('f' | 'F', digits) => precise(PrecisionForm::Plain, digits.unwrap_or(6)),
        ('e' | 'E', digits) => precise(PrecisionForm::Exponent, digits.unwrap_or(6)),
        _ => return None,
    };
    let text = if matches!(verb, 'G' | 'E') { text.replace('e', "E") } else { text };
    let spec = if number.is_finite() { spec } else { Spec { zero: false, ..spec } };
    // Infinity brings its sign even where it is positive; Go shows that only with the flag.
    let unsigned = text.trim_start_matches(['+', '-']);
    let shown = sign(number.is_sign_negative() && !number.is_nan(), spec);
    let shown = if shown.is_empty() && number == f64::INFINITY { "+" } else { shown };
    Some(padded(format!("{shown}{unsigned}"), spec))
}

fn string(text: &str, verb: char, spec: Spec) -> Option<String> {
    let cut: String = match spec.precision {
        Some(precision) => text.chars().take(precision).collect(),
        None => text.to_owned(),
    };
    Some(match verb {
        's' | 'v' if verb == 'v' && spec.sharp => padded(go_quote(&cut), spec),
        's' | 'v' => padded(cut, spec),
        'q' if spec.sharp && !cut.contains('`') => padded(format!("`{cut}`"), spec),
        'q' => padded(go_quote(&cut), spec),
        'x' => padded(cut.bytes().map(|byte| format!("{byte:02x}")).collect(), spec),
        'X' => padded(cut.bytes().map(|byte| format!("{byte:02X}")).collect(), spec),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_gos() {
        let (half, answer, x) = (Value::Float(0.5), Value::Int(42), Value::text("x"));
        for (format, args, expected) in [
            (
                "%.2f|%8.3f|%-8.1f|%+f",
                vec![half.clone(), half.clone(), half.clone(), half.clone()],
                "0.50|   0.500|0.5     |+0.500000",
            ),
            (
                "%v %g %e %E",
                vec![half.clone(), Value::Float(1e21), Value::Float(1.5), Value::Float(1.5)],
                "0.5 1e+21 1.500000e+00 1.500000E+00",
            ),
            ("%v %v", vec![Value::Float(1e6), Value::Float(123456789.0)], "1e+06 1.23456789e+08"),
            ("%.3g %.0f", vec![Value::Float(1234.5), Value::Float(2.5)], "1.23e+03 2"),
            (
                "%d %5d|%-5d|%05d|%x|%#x|%b|%o|%+d",
                vec![answer.clone(); 9],
                "42    42|42   |00042|2a|0x2a|101010|52|+42",
            ),
            ("%c %q %U", vec![Value::Int(65), Value::Int(65), Value::Int(65)], "A 'A' U+0041"),
            (
                "%s|%5s|%-5s|%q|%.1s|%x",
                vec![x.clone(), x.clone(), x.clone(), Value::text("a\"b"), Value::text("éa"), x.clone()],
                "x|    x|x    |\"a\\\"b\"|é|78",
            ),
            ("%t %v %T %T", vec![Value::Bool(true), Value::Nil, half.clone(), x.clone()], "true <nil> float64 string"),
            ("%d", vec![x.clone()], "%!d(string=x)"),
            ("%s", vec![half.clone()], "%!s(float64=0.5)"),
            ("%d %s", vec![answer.clone()], "42 %!s(MISSING)"),
            ("a", vec![answer.clone(), x.clone()], "a%!(EXTRA int=42, string=x)"),
            ("%", vec![], "%!(NOVERB)"),
            ("100%%", vec![], "100%"),
            ("%[2]s %[1]d", vec![answer.clone(), x.clone()], "x 42"),
            ("%[3]d", vec![answer.clone()], "%!d(BADINDEX)"),
            ("%*d|%.*f", vec![Value::Int(5), answer.clone(), Value::Int(1), half.clone()], "   42|0.5"),
            ("%9999999d", vec![answer.clone()], "%!(BADWIDTH)42"),
            (
                "%f %+f %5.1f",
                vec![Value::Float(f64::INFINITY), Value::Float(f64::NAN), Value::Float(f64::NEG_INFINITY)],
                "+Inf +NaN  -Inf",
            ),
            ("%06.2f", vec![Value::Float(-1.5)], "-01.50"),
            ("%v", vec![Value::Labels(ferula_model::Labels::from_pairs([("b", "2"), ("a", "1")]))], "map[a:1 b:2]"),
        ] {
            assert_eq!(printf(format, &args), expected, "{format}");
        }
    }
}
