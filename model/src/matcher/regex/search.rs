//! Unanchored expressions: does a text contain it, and what if it is replaced everywhere?

use std::fmt;

use super::ast::Ast;
use super::engine::Engine;
use super::error::RegexError;
use super::parse;
use super::template::{Part, Template};

/// A regular expression that may match anywhere in a text and whose dot does not match newlines: Go's
/// `regexp.MatchString` and `ReplaceAllString`, which templates offer.
///
/// ```
/// use ferula_model::matcher::{SearchRegex, Template};
///
/// let regex = SearchRegex::new("([a-z]+)[0-9]").unwrap();
/// assert!(regex.is_match("--db1--"));
/// assert_eq!(regex.replace_all("db1, web2", &Template::new("<$1>")), "<db>, <web>");
/// ```
pub struct SearchRegex {
    text: String,
    engine: Engine,
    group_names: Vec<Option<String>>,
}

impl SearchRegex {
    /// Reads and compiles an expression.
    ///
    /// # Errors
    ///
    /// As [`Regex::new`](super::Regex::new).
    pub fn new(text: &str) -> Result<Self, RegexError> {
        // For its error, which quotes what was written.
        parse::parse(text)?;
        let parsed = parse::parse(&format!("(?-s:{text})"))?;
        let ast: &Ast = &parsed.ast;
        let engine = Engine::searching(ast, text)?;
        Ok(Self { text: text.to_owned(), engine, group_names: parsed.group_names })
    }

    /// The expression as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches somewhere.
    pub fn is_match(&self, text: &str) -> bool {
        self.engine.is_found(text)
    }

    /// The text with each match, from the left and without overlaps, replaced.
    pub fn replace_all(&self, text: &str, template: &Template) -> String {
        let mut out = String::new();
        let mut copied = 0;
        for slots in self.engine.all(text) {
            let (start, end) = slots.whole_match();
            out.push_str(text.get(copied..start).unwrap_or_default());
            for part in template.parts() {
                match part {
                    Part::Text(plain) => out.push_str(plain),
                    Part::Index(index) => out.push_str(slots.group(text, *index)),
                    Part::Name(name) => {
                        let names = self.group_names.iter().enumerate();
                        let named = names.filter(|(_, group)| group.as_deref() == Some(name));
                        let mut groups = named.filter_map(|(index, _)| slots.taken(text, index + 1));
                        out.push_str(groups.next().unwrap_or_default());
                    }
                }
            }
            copied = end;
        }
        out.push_str(text.get(copied..).unwrap_or_default());
        out
    }
}

impl fmt::Debug for SearchRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SearchRegex").field(&self.text).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacements_are_gos() {
        for (pattern, text, replacement, expected) in [
            ("a*", "baac", "x", "xbxcx"),
            ("a", "banana", "", "bnn"),
            ("(?P<n>\\d+)", "a1b22", "[${n}]", "a[1]b[22]"),
            ("^x", "xx", "y", "yx"),
            ("x$", "xx", "y", "xy"),
            ("x.y", "x\ny", "z", "x\ny"),
            ("(?s)x.y", "x\ny", "z", "z"),
            ("b|(c)", "abc", "<$1>", "a<><c>"),
        ] {
            let regex = SearchRegex::new(pattern).unwrap();
            assert_eq!(regex.replace_all(text, &Template::new(replacement)), expected, "{pattern}");
        }
    }

    #[test]
    fn matches_are_found_anywhere_and_errors_quote_what_was_written() {
        assert!(SearchRegex::new("b.d").unwrap().is_match("abcde"));
        assert!(!SearchRegex::new("b.d").unwrap().is_match("ab\nde"));
        let error = SearchRegex::new("(a").unwrap_err();
        assert_eq!(error.to_string(), "error parsing regexp: missing closing ): `(a`");
        assert!(SearchRegex::new("a)(b").is_err());
    }
}
