//! From values to text, in the layout that go-yaml 2 prints: two spaces, lists at the level of their key.

use std::collections::BTreeMap;
use std::time::Duration;

use super::node::{Kind, Node};
use super::scalar::{Resolved, resolve};
use crate::labels::Labels;
use crate::matcher::Regex;
use crate::number::{FloatForm, format_float};
use crate::secret::Secret;
use crate::time::format_duration;

/// What can be written as YAML.
pub trait Encode {
    /// The value as a tree.
    fn encode(&self) -> Node;
}

/// Building mappings.
impl Node {
    /// Adds a key.
    #[must_use]
    pub fn put(mut self, key: &str, value: &impl Encode) -> Self {
        if let Kind::Mapping(entries) = &mut self.kind {
            entries.push((Node::text(key), value.encode()));
        }
        self
    }

    /// Adds a key if its value is not empty, zero or false: go-yaml's `omitempty`.
    #[must_use]
    pub fn put_some(self, key: &str, value: &impl Encode) -> Self {
        let node = value.encode();
        let zero = matches!(&node.kind, Kind::Plain(text) if matches!(text.as_str(), "0" | "false"))
            || matches!(&node.kind, Kind::Text(text) if matches!(text.as_str(), "0s" | "0B"));
        if zero || node.is_empty() { self } else { self.put(key, &node) }
    }

    /// Adds the keys of another mapping, as inlined structs do.
    #[must_use]
    pub fn put_all(mut self, other: &impl Encode) -> Self {
        if let (Kind::Mapping(entries), Kind::Mapping(more)) = (&mut self.kind, other.encode().kind) {
            entries.extend(more);
        }
        self
    }
}

/// The value as a document.
pub fn to_string(value: &impl Encode) -> String {
    let mut out = String::new();
    write(&value.encode(), &mut out);
    out
}

/// Adds a tree as a document.
pub fn write(node: &Node, out: &mut String) {
    match &node.kind {
        Kind::Mapping(entries) if !entries.is_empty() => write_mapping(entries, 0, false, out),
        Kind::Sequence(items) if !items.is_empty() => write_sequence(items, 0, out),
        _ => {
            write_inline(node, 0, out);
            out.push('\n');
        }
    }
}

/// Each entry on its own line; the first one goes on the line that `out` ends with if `started`.
fn write_mapping(entries: &[(Node, Node)], indent: usize, started: bool, out: &mut String) {
    for (index, (key, value)) in entries.iter().enumerate() {
        if index > 0 || !started {
            push_spaces(indent, out);
        }
        write_inline(key, indent, out);
        out.push(':');
        match &value.kind {
            Kind::Mapping(inner) if !inner.is_empty() => {
                out.push('\n');
                write_mapping(inner, indent + 2, false, out);
            }
            Kind::Sequence(items) if !items.is_empty() => {
                out.push('\n');
                write_sequence(items, indent, out);
            }
            _ => {
                out.push(' ');
                write_inline(value, indent + 2, out);
                out.push('\n');
            }
        }
    }
}

fn write_sequence(items: &[Node], indent: usize, out: &mut String) {
    for item in items {
        push_spaces(indent, out);
        out.push_str("- ");
        match &item.kind {
            Kind::Mapping(entries) if !entries.is_empty() => write_mapping(entries, indent + 2, true, out),
            Kind::Sequence(inner) if !inner.is_empty() => {
                let start = out.len();
                write_sequence(inner, indent + 2, out);
                // The inner list begins on the line of the outer dash.
                out.replace_range(start..start + indent + 2, "");
            }
            _ => {
                write_inline(item, indent + 2, out);
                out.push('\n');
            }
        }
    }
}

fn push_spaces(count: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', count));
}

/// A scalar or an empty collection. `indent` is for the lines of a block.
fn write_inline(node: &Node, indent: usize, out: &mut String) {
    match &node.kind {
        Kind::Plain(text) if text.is_empty() => out.push_str("null"),
        Kind::Plain(text) => out.push_str(text),
        Kind::Text(text) => write_text(text, indent, out),
        Kind::Sequence(_) => out.push_str("[]"),
        Kind::Mapping(_) => out.push_str("{}"),
    }
}

fn write_text(text: &str, indent: usize, out: &mut String) {
    if text.chars().any(|c| c != '\n' && !is_printable(c)) || (text.contains('\n') && !fits_block(text)) {
        write_double_quoted(text, out);
    } else if text.contains('\n') {
        write_block(text, indent, out);
    } else if resolve(text) != Resolved::Text || is_base_60(text) {
        write_double_quoted(text, out);
    } else if is_plain(text) {
        out.push_str(text);
    } else {
        out.push('\'');
        out.push_str(&text.replace('\'', "''"));
        out.push('\'');
    }
}

fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}' | '\u{85}')
}

/// Whether the text can be a literal block without an indentation mark.
fn fits_block(text: &str) -> bool {
    !text.starts_with([' ', '\n']) && !text.contains(" \n")
}

/// Whether it needs no quotes where it stands alone on the rest of a line.
fn is_plain(text: &str) -> bool {
    const INDICATORS: &str = ",[]{}#&*!|>'\"%@`";
    let mut chars = text.chars();
    let first = chars.next().unwrap_or(' ');
    let second = chars.next().unwrap_or(' ');
    !(INDICATORS.contains(first)
        || matches!(first, '-' | '?' | ':') && second == ' '
        || text.starts_with(' ')
        || text.ends_with([' ', ':'])
        || text.contains(": ")
        || text.contains(" #")
        || text.starts_with("---")
        || text.starts_with("..."))
}

/// `1:30` is a number in base 60 to YAML 1.1.
fn is_base_60(text: &str) -> bool {
    text.contains(':')
        && text.trim_start_matches(['-', '+']).starts_with(|c: char| c.is_ascii_digit())
        && text.trim_start_matches(['-', '+']).bytes().all(|b| b.is_ascii_digit() || matches!(b, b':' | b'_' | b'.'))
        && text.find('.').is_none_or(|dot| dot > text.rfind(':').unwrap_or(0))
}

fn write_block(text: &str, indent: usize, out: &mut String) {
    out.push('|');
    match (text.ends_with("\n\n"), text.ends_with('\n')) {
        (true, _) => out.push('+'),
        (_, false) => out.push('-'),
        _ => {}
    }
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            push_spaces(indent.max(2), out);
            out.push_str(line);
        }
    }
}

fn write_double_quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0' => out.push_str("\\0"),
            c if is_printable(c) => out.push(c),
            c if (c as u32) < 0x100 => out.push_str(&format!("\\x{:02X}", c as u32)),
            c => out.push_str(&format!("\\u{:04X}", c as u32)),
        }
    }
    out.push('"');
}

impl Encode for Node {
    fn encode(&self) -> Node {
        self.clone()
    }
}

impl Encode for str {
    fn encode(&self) -> Node {
        Node::text(self)
    }
}

impl Encode for String {
    fn encode(&self) -> Node {
        Node::text(self.as_str())
    }
}

impl<T: Encode + ?Sized> Encode for &T {
    fn encode(&self) -> Node {
        (**self).encode()
    }
}

macro_rules! plain {
    ($($rust:ty),*) => {$(
        impl Encode for $rust {
            fn encode(&self) -> Node {
                Node::plain(self.to_string())
            }
        }
    )*};
}
plain!(bool, u8, u16, u32, u64, usize, i32, i64);

impl Encode for f64 {
    fn encode(&self) -> Node {
        match *self {
            f64::INFINITY => Node::plain(".inf"),
            f64::NEG_INFINITY => Node::plain("-.inf"),
            value if value.is_nan() => Node::plain(".nan"),
            value => Node::plain(format_float(value, FloatForm::Shortest)),
        }
    }
}

impl Encode for Duration {
    fn encode(&self) -> Node {
        Node::text(format_duration(*self))
    }
}

impl Encode for Secret {
    fn encode(&self) -> Node {
        if self.is_empty() { Node::text("") } else { Node::text(self.to_string()) }
    }
}

impl Encode for Regex {
    fn encode(&self) -> Node {
        Node::text(self.as_str())
    }
}

/// `None` is null.
impl<T: Encode> Encode for Option<T> {
    fn encode(&self) -> Node {
        self.as_ref().map_or_else(Node::default, Encode::encode)
    }
}

impl<T: Encode> Encode for Vec<T> {
    fn encode(&self) -> Node {
        Node::sequence(self.iter().map(Encode::encode))
    }
}

impl<T: Encode> Encode for BTreeMap<String, T> {
    fn encode(&self) -> Node {
        Kind::Mapping(self.iter().map(|(key, value)| (Node::text(key.as_str()), value.encode())).collect()).into()
    }
}

impl Encode for Labels {
    fn encode(&self) -> Node {
        Kind::Mapping(self.iter().map(|(name, value)| (Node::text(name), Node::text(value))).collect()).into()
    }
}
