//! Regular expressions: RE2 as Go reads it, on Rust's engine.
//!
//! ```text
//!  text --parse--> Ast --Shape::of--> Words | Globs          answered here
//!                   |                  `----> Engine --to_hir--> regex-automata
//!                   `-- groups, for replacements --to_hir--> regex-automata with captures
//! ```
//!
//! Every expression is anchored at both ends and its dot matches newlines: `^(?s:...)$`. Read in this order: [`parse`],
//! [`class`] and [`repeat`] (the syntax, where Go and the `regex` crate differ), [`shape`] and [`glob`] (what needs no
//! engine), [`template`] (replacements). Source: what
//! Prometheus accepts and answers, whose fork of Go's `regexp` stands at Go 1.22.
//!
//! # Limits
//!
//! Counted repetitions multiply to at most 1000, trees are at most 200 nodes high, and a compiled program takes at most
//! 32 MiB; what exceeds them is an error, and matching takes time proportional to the value.

mod ast;
mod class;
mod engine;
mod error;
mod escape;
mod glob;
mod parse;
mod repeat;
mod search;
mod shape;
mod template;

use std::fmt;
use std::sync::Arc;

use self::ast::Ast;
use self::engine::{Engine, Slots};
pub use self::error::{RegexError, RegexErrorKind};
pub use self::search::SearchRegex;
use self::shape::{Shape, common_prefix, engine_prefix};
use self::template::Part;
pub use self::template::Template;

/// An anchored expression that answers yes or no.
#[derive(Debug)]
pub(super) struct Predicate {
    shape: Shape,
    engine: Option<Engine>,
    prefix: String,
    matches_empty: bool,
}

impl Predicate {
    pub(super) fn new(text: &str) -> Result<Self, RegexError> {
        Self::from_ast(&parse::parse(text)?.ast, text)
    }

    fn from_ast(ast: &Ast, text: &str) -> Result<Self, RegexError> {
        let shape = Shape::of(ast);
        let engine = match shape {
            Shape::Engine => Some(Engine::new(ast, false, text)?),
            _ => None,
        };
        let prefix = match &shape {
            Shape::Words { fold: true, .. } => String::new(),
            Shape::Words { words, .. } => {
                // Of sorted words, the first and the last differ earliest.
                common_prefix(words.first().map_or("", |w| w), words.last().map_or("", |w| w)).to_owned()
            }
            Shape::Globs(globs) => {
                let prefixes = globs.iter().map(|glob| glob.prefix().to_owned());
                prefixes.reduce(|a, b| common_prefix(&a, &b).to_owned()).unwrap_or_default()
            }
            Shape::Engine => engine_prefix(ast),
        };
        let mut predicate = Self { shape, engine, prefix, matches_empty: false };
        predicate.matches_empty = predicate.matches("");
        Ok(predicate)
    }

    pub(super) fn matches(&self, value: &str) -> bool {
        match &self.shape {
            Shape::Words { words, fold: false } => words.binary_search_by(|word| word.as_str().cmp(value)).is_ok(),
            Shape::Words { words, fold: true } => contains_folded(words, value),
            Shape::Globs(globs) => globs.iter().any(|glob| glob.matches(value)),
            Shape::Engine => {
                value.starts_with(self.prefix.as_str())
                    && self.engine.as_ref().is_some_and(|engine| engine.is_match(value))
            }
        }
    }

    pub(super) fn matches_empty(&self) -> bool {
        self.matches_empty
    }

    pub(super) fn literals(&self) -> Option<&[String]> {
        match &self.shape {
            Shape::Words { words, fold: false } => Some(words),
            _ => None,
        }
    }

    pub(super) fn prefix(&self) -> Option<&str> {
        Some(self.prefix.as_str()).filter(|prefix| !prefix.is_empty())
    }

    pub(super) fn is_any(&self) -> bool {
        matches!(&self.shape, Shape::Globs(globs) if globs.iter().any(|glob| glob.is_any()))
    }

    pub(super) fn is_non_empty(&self) -> bool {
        matches!(&self.shape, Shape::Globs(globs) if !self.matches_empty && globs.iter().any(|glob| glob.is_non_empty()))
    }
}

/// Whether a sorted list of lower-case ASCII words has the value in any case. Of all other characters, only the long s
/// and the Kelvin sign fold to ASCII.
fn contains_folded(words: &[String], value: &str) -> bool {
    let folded: String = value
        .chars()
        .map(|c| match c {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            c => c.to_ascii_lowercase(),
        })
        .collect();
    words.binary_search(&folded).is_ok()
}

/// An anchored regular expression with capture groups, for `label_replace` and for relabelling.
///
/// Matches only the whole of a text. Cheap to clone. Two of them are equal if they are written the same.
///
/// ```
/// use ferula_model::matcher::{Regex, Template};
///
/// let regex = Regex::new("(.*):.*").unwrap();
/// assert!(regex.is_match("db:5432") && !regex.is_match("db"));
///
/// let mut host = String::new();
/// regex.expand("db:5432", &Template::new("$1"), &mut host);
/// assert_eq!(host, "db");
/// assert_eq!(Regex::new("(a").unwrap_err().to_string(), "error parsing regexp: missing closing ): `(a`");
/// ```
#[derive(Clone)]
pub struct Regex {
    inner: Arc<Inner>,
}

struct Inner {
    text: String,
    predicate: Predicate,
    group_names: Vec<Option<String>>,
    /// Finds the groups; absent if there are none or if the only one is the whole text.
    groups: Option<Engine>,
}

impl Regex {
    /// Reads and compiles an expression.
    ///
    /// # Errors
    ///
    /// Go would refuse it, or it is too large; see [`RegexErrorKind`].
    pub fn new(text: &str) -> Result<Self, RegexError> {
        let parsed = parse::parse(text)?;
        let predicate = Predicate::from_ast(&parsed.ast, text)?;
        let trivial = parsed.group_names.is_empty() || matches!(&parsed.ast, Ast::Group { sub, .. } if !has_group(sub));
        let groups = if trivial { None } else { Some(Engine::new(&parsed.ast, true, text)?) };
        let inner = Inner { text: text.to_owned(), predicate, group_names: parsed.group_names, groups };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The expression as written.
    pub fn as_str(&self) -> &str {
        &self.inner.text
    }

    /// The bytes that the compiled expression occupies, for accounting memory; what searches keep for the next one aside.
    pub fn heap_bytes(&self) -> usize {
        let engines = self.inner.predicate.engine.iter().chain(&self.inner.groups);
        self.inner.text.len() + size_of::<Inner>() + engines.map(Engine::heap_bytes).sum::<usize>()
    }

    /// Whether the whole text matches.
    pub fn is_match(&self, text: &str) -> bool {
        self.inner.predicate.matches(text)
    }

    /// How many capture groups there are, not counting the whole match.
    pub fn group_count(&self) -> usize {
        self.inner.group_names.len()
    }

    /// If the whole text matches, adds the template to `out` with the groups filled in, and says so.
    pub fn expand(&self, text: &str, template: &Template, out: &mut String) -> bool {
        let Some(slots) = self.slots(text, template) else { return false };
        for part in template.parts() {
            match part {
                Part::Text(plain) => out.push_str(plain),
                Part::Index(index) => out.push_str(slots.group(text, *index)),
                Part::Name(name) => {
                    // Of several groups of a name, the first that took part.
                    let named = self.inner.group_names.iter().enumerate().filter(|(_, n)| n.as_deref() == Some(name));
                    let mut groups = named.filter_map(|(index, _)| slots.taken(text, index + 1));
                    out.push_str(groups.next().unwrap_or_default());
                }
            }
        }
        true
    }

    fn slots(&self, text: &str, template: &Template) -> Option<Slots> {
        match &self.inner.groups {
            Some(engine) if !template.is_constant() => {
                // The analysis refuses faster than the engine with groups does.
                if self.inner.predicate.engine.is_none() && !self.is_match(text) {
                    return None;
                }
                engine.slots(text)
            }
            _ => self.is_match(text).then(|| Slots::whole(text, self.group_count())),
        }
    }
}

fn has_group(ast: &Ast) -> bool {
    match ast {
        Ast::Group { .. } => true,
        Ast::Repeat { sub, .. } => has_group(sub),
        Ast::Concat(items) | Ast::Alternate(items) => items.iter().any(has_group),
        _ => false,
    }
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Regex").field(&self.inner.text).finish()
    }
}

impl fmt::Display for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.text)
    }
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.inner.text == other.inner.text
    }
}

impl Eq for Regex {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn unescape(value: &str) -> String {
        value.replace("\\n", "\n").replace("\\a", "\x07")
    }

    #[test]
    fn expressions_mean_what_prometheus_takes_them_for() {
        let mut values = Vec::new();
        let mut expressions = 0;
        for line in include_str!("../../../testdata/regex.txt").lines().filter(|line| !line.starts_with('#')) {
            let fields: Vec<&str> = line.split('\t').collect();
            match fields.as_slice() {
                ["values", all @ ..] => values = all.iter().map(|value| unescape(value)).collect(),
                [text, "error", message] => {
                    assert_eq!(&Predicate::new(text).unwrap_err().to_string(), message, "{text}");
                    expressions += 1;
                }
                [text, "matches", expected @ ..] => {
                    let predicate = Predicate::new(text).unwrap_or_else(|error| panic!("{text}: {error}"));
                    let regex = Regex::new(text).unwrap();
                    let expected: BTreeSet<String> = expected.iter().map(|value| unescape(value)).collect();
                    for value in &values {
                        assert_eq!(predicate.matches(value), expected.contains(value), "{text} on {value:?}");
                        assert_eq!(regex.is_match(value), expected.contains(value), "{text} on {value:?}");
                        if predicate.matches(value) {
                            assert!(predicate.prefix().is_none_or(|prefix| value.starts_with(prefix)), "{text}");
                            assert!(predicate.literals().is_none_or(|words| words.contains(value)), "{text}");
                        }
                    }
                    expressions += 1;
                }
                other => panic!("not a line of the table: {other:?}"),
            }
        }
        assert!(expressions > 100);
    }

    #[test]
    fn common_expressions_need_no_engine() {
        for text in [
            "",
            "a",
            "a|b",
            "^a$",
            "^(?:a|b)$",
            "(?i)Abc",
            "(?i)1x|y2",
            "a(b|c)?d",
            "[ab]c",
            ".*",
            ".+",
            "(.*)",
            "x.*",
            ".*x",
            ".+x.*",
            "a.*|b.+",
            "(a|b)-.*",
            "(?i)",
            r"\Qa.b\E",
            r"a\.b",
            "(^a$)",
            "a{2}",
        ] {
            assert!(Predicate::new(text).unwrap().engine.is_none(), "{text}");
        }
        for text in ["a[0-9]+", "(?i)é", "(?i)a.*", "(?-s).*", r"\ba", "a^b", "..", "(a$|b)c"] {
            assert!(Predicate::new(text).unwrap().engine.is_some(), "{text}");
        }
    }

    #[test]
    fn what_indexes_may_know() {
        let facts = |text| {
            let predicate = Predicate::new(text).unwrap();
            let literals = predicate.literals().map(|words| words.join(","));
            (literals, predicate.prefix().map(str::to_owned), predicate.is_any(), predicate.is_non_empty())
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(facts("web|api|web"), (some("api,web"), None, false, false));
        assert_eq!(facts("ab|ac"), (some("ab,ac"), some("a"), false, false));
        assert_eq!(facts("(?i)ab"), (None, None, false, false));
        assert_eq!(facts("ab.*|ac.+"), (None, some("a"), false, false));
        assert_eq!(facts("ab[0-9]+x"), (None, some("ab"), false, false));
        assert_eq!(facts("(?:abc|abd)\\d+"), (None, some("ab"), false, false));
        assert_eq!(facts("(a.*)"), (None, some("a"), false, false));
        assert_eq!(facts("^(.*)$"), (None, None, true, false));
        assert_eq!(facts("x|.*"), (None, None, true, false));
        assert_eq!(facts(".*.+"), (None, None, false, true));
        assert_eq!(facts(".+|"), (None, None, false, false));
        assert_eq!(facts("[^\\x00-\\x{10FFFF}]"), (some(""), None, false, false));
    }

    #[test]
    fn quotes_and_names() {
        // Prometheus appends its anchor before it parses, so that an open quotation swallows it; here it does not.
        assert!(Predicate::new(r"\Q(a").unwrap().matches("(a"));
        for name in ["Greek", "Old_Italic", "SignWriting", "L", "Lu", "C", "Cs", "Any", "^Nd"] {
            assert!(Predicate::new(&format!(r"\p{{{name}}}")).is_ok(), "{name}");
        }
        for name in ["greek", "Letter", "LC", "ASCII", "Alphabetic", "gc=L", "Script=Greek", "", "^", "x"] {
            assert!(Predicate::new(&format!(r"\p{{{name}}}")).is_err(), "{name}");
        }
    }

    #[test]
    fn long_alternations_are_sets() {
        let words: Vec<String> = (0..20_000).map(|i| format!("instance-{i:05}")).collect();
        let predicate = Predicate::new(&words.join("|")).unwrap();
        assert_eq!(predicate.literals().unwrap(), words);
        assert!(predicate.matches("instance-00777") && !predicate.matches("instance-0077"));
    }

    #[test]
    fn bombs_are_errors() {
        let nested = |depth: usize| format!("{}a{}", "(x".repeat(depth), "y)".repeat(depth));
        assert_eq!(Predicate::new(&nested(2000)).unwrap_err().kind, RegexErrorKind::NestingDepth);
        assert_eq!(Predicate::new(&"(".repeat(1_000_000)).unwrap_err().kind, RegexErrorKind::MissingParen);
        assert_eq!(Predicate::new("((a{30}){30}){2}").unwrap_err().kind, RegexErrorKind::InvalidRepeatSize);
        assert_eq!(Predicate::new(&r"\pL".repeat(27_000)).unwrap_err().kind, RegexErrorKind::Large);
        assert_eq!(Predicate::new(&r"\pL{900}".repeat(20)).unwrap_err().kind, RegexErrorKind::Large);
        // As deep as is allowed, it compiles on the small stack of a test.
        assert!(Regex::new(&nested(99)).is_ok());
        assert!(Regex::new(&format!("{}a{}", "(".repeat(99), "+)".repeat(99))).is_ok());
        // Slow for engines that go back: not for this one.
        assert!(!Predicate::new("(a*)*b|(a|aa)+c").unwrap().matches(&"a".repeat(50_000)));
    }

    #[test]
    fn groups_fill_templates() {
        for (regex, template, text, expected) in [
            ("(.*)", "$1", "abc", "abc"),
            ("(.*)", "$0-$2-$x", "abc", "abc--"),
            ("a(b)?(c)?", "<$1|$2>", "ac", "<|c>"),
            ("(?P<n>a)|(?P<m>b)", "$n:$m", "b", ":b"),
            ("(a+?)(a*)", "$1,$2", "aaa", "a,aa"),
            ("(?U)(a+)(a*)", "$1,$2", "aaa", "a,aa"),
            ("abc", "x$0", "abc", "xabc"),
            ("(a|ab)(c|bcd)(d*)", "$1,$2,$3", "abcd", "a,bcd,"),
            ("((a)|b)*", "$1$2", "ab", "ba"),
        ] {
            let mut out = String::new();
            assert!(Regex::new(regex).unwrap().expand(text, &Template::new(template), &mut out), "{regex}");
            assert_eq!(out, expected, "{regex} {template} {text}");
        }
        let mut out = String::from("kept");
        assert!(!Regex::new("(a)").unwrap().expand("b", &Template::new("$1"), &mut out));
        assert_eq!(out, "kept");
    }

    proptest! {
        /// The shapes agree with the engine.
        #[test]
        fn shapes_agree_with_the_engine(
            text in r"((\(\?i\))?([ab]|\.\*|\.\+|\||x\?|\[ak\]|\((a|b)(\|[ak])?\)|\^|\$|a\{2\}|1){0,7})",
            values in prop::collection::vec("[abkAK1x\u{212a}]{0,5}", 8),
        ) {
            let Ok(parsed) = parse::parse(&text) else { return Ok(()) };
            let predicate = Predicate::from_ast(&parsed.ast, &text).unwrap();
            let engine = Engine::new(&parsed.ast, false, &text).unwrap();
            for value in &values {
                prop_assert_eq!(predicate.matches(value), engine.is_match(value), "{} on {:?}", text, value);
                if engine.is_match(value) {
                    prop_assert!(predicate.prefix().is_none_or(|prefix| value.starts_with(prefix)));
                    prop_assert!(!predicate.is_non_empty() || !value.is_empty());
                } else {
                    prop_assert!(!predicate.is_any());
                }
            }
        }

        /// Whatever the text, there is an answer.
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}", value in "\\PC{0,10}") {
            if let Ok(regex) = Regex::new(&text) {
                regex.is_match(&value);
            }
        }
    }
}
