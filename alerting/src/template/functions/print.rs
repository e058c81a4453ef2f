//! Texts of values: as they are, and as they may stand in HTML, JavaScript and URLs.

use super::super::value::Value;

/// Go's `fmt.Sprint`: a space between two operands of which neither is a text.
pub(super) fn print(args: &[Value]) -> String {
    let mut out = String::new();
    let mut after_text = true;
    for value in args {
        let is_text = matches!(value, Value::Text(_));
        if !after_text && !is_text {
            out.push(' ');
        }
        print_operand(value, &mut out);
        after_text = is_text;
    }
    out
}

pub(super) fn println(args: &[Value]) -> String {
    let mut out = String::new();
    for (index, value) in args.iter().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        print_operand(value, &mut out);
    }
    out.push('\n');
    out
}

fn print_operand(value: &Value, out: &mut String) {
    match value {
        Value::Nil => out.push_str("<nil>"),
        value => value.print(out),
    }
}

/// What `html`, `js` and `urlquery` work on: one text as it is, everything else as `print` prints it.
pub(super) fn joined(args: &[Value]) -> String {
    match args {
        [Value::Text(text)] => text.to_string(),
        args => print(args),
    }
}

pub(super) fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\0' => out.push('\u{fffd}'),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}

pub(super) fn js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' => out.push_str("\\u003C"),
            '>' => out.push_str("\\u003E"),
            '&' => out.push_str("\\u0026"),
            '=' => out.push_str("\\u003D"),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}
