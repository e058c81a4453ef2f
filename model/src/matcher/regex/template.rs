//! Replacements: `$1`, `${name}` and `$$` as Go's `Regexp.Expand` reads them.

/// A replacement text, read once.
///
/// A reference is `$` and the longest run of letters, digits and underscores, or the same in braces: `$1x` is group
/// `1x`, not group 1. A number without leading zeros is an index, anything else a name. References to groups that do not
/// exist or did not take part give nothing; a `$` that starts no reference is itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part {
    Text(String),
    Index(usize),
    Name(String),
}

impl Template {
    /// Reads a replacement; every text is one.
    ///
    /// ```
    /// use ferula_model::matcher::{Regex, Template};
    ///
    /// let regex = Regex::new("(?P<host>.+):(\\d+)").unwrap();
    /// let mut out = String::new();
    /// assert!(regex.expand("db:5432", &Template::new("${2}@$host $$1"), &mut out));
    /// assert_eq!(out, "5432@db $1");
    /// ```
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let parts = parse(&text);
        Self { text, parts }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it refers to no group.
    pub fn is_constant(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Text(_)))
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }
}

fn parse(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        plain.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            plain.push('$');
            rest = after;
        } else if let Some((part, after)) = reference(after) {
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(part);
            rest = after;
        } else {
            plain.push('$');
            rest = after;
        }
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    parts
}

/// What follows a `$`, and the text behind it.
fn reference(text: &str) -> Option<(Part, &str)> {
    let (inside, braces) = text.strip_prefix('{').map_or((text, false), |inside| (inside, true));
    let length = inside.find(|c: char| !(c.is_alphabetic() || c.is_numeric() || c == '_')).unwrap_or(inside.len());
    let (name, rest) = inside.split_at(length);
    let rest = if braces { rest.strip_prefix('}')? } else { rest };
    if name.is_empty() {
        return None;
    }
    let index = name.bytes().all(|b| b.is_ascii_digit()) && (name.len() == 1 || !name.starts_with('0'));
    let part = match index {
        // No expression has as many groups as do not fit.
        true => Part::Index(name.parse().unwrap_or(usize::MAX)),
        false => Part::Name(name.to_owned()),
    };
    Some((part, rest))
}

#[cfg(test)]
mod tests {
    use super::{Part, Template};

    #[test]
    fn references_are_read_as_go_reads_them() {
        let text = |text: &str| Part::Text(text.to_owned());
        let name = |name: &str| Part::Name(name.to_owned());
        for (template, parts) in [
            ("$1", vec![Part::Index(1)]),
            ("a$1x", vec![text("a"), name("1x")]),
            ("${1}x", vec![Part::Index(1), text("x")]),
            ("$10", vec![Part::Index(10)]),
            ("$01", vec![name("01")]),
            ("$$1", vec![text("$1")]),
            ("$$$1", vec![text("$"), Part::Index(1)]),
            ("${1", vec![text("${1")]),
            ("${}", vec![text("${}")]),
            ("$-$", vec![text("$-$")]),
            ("$é_", vec![name("é_")]),
        ] {
            assert_eq!(Template::new(template).parts, parts, "{template}");
        }
    }
}
