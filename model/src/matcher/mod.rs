//! Matchers: does this label value belong?
//!
//! Regular expressions are RE2 as Go reads it, anchored at both ends, with a dot that matches newlines.

mod regex;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use self::regex::Predicate;
pub use self::regex::{Regex, RegexError, RegexErrorKind, SearchRegex, Template};

/// The four kinds of label matchers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// The operator as written.
    pub fn as_str(self) -> &'static str {
        match self {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        }
    }

    /// Whether it is `!=` or `!~`.
    pub fn is_negative(self) -> bool {
        matches!(self, MatchOp::NotEqual | MatchOp::NotRegex)
    }
}

/// A condition on one label. An absent label has the empty value.
///
/// Two matchers are equal if name, operator and value are. Cheap to clone but for the two texts.
///
/// ```
/// use ferula_model::{MatchOp, Matcher};
///
/// let matcher = Matcher::new(MatchOp::Regex, "job", "api|web").unwrap();
/// assert!(matcher.matches("web") && !matcher.matches("webs"));
/// assert_eq!(matcher.literals().unwrap(), ["api", "web"]);
/// assert_eq!(matcher.to_string(), r#"job=~"api|web""#);
/// ```
#[derive(Clone)]
pub struct Matcher {
    /// The label's name.
    pub name: String,
    /// How the value is compared. Only [`Matcher::new`] compiles an expression: build a new matcher to change this.
    pub op: MatchOp,
    /// The value, or the expression as written.
    pub value: String,
    predicate: Option<Arc<Predicate>>,
}

impl Matcher {
    /// Builds a matcher; expressions are compiled here.
    ///
    /// # Errors
    ///
    /// The expression is not RE2, or is too large.
    pub fn new(op: MatchOp, name: impl Into<String>, value: impl Into<String>) -> Result<Self, RegexError> {
        let value = value.into();
        let predicate = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(Arc::new(Predicate::new(&value)?)),
        };
        Ok(Self { name: name.into(), op, value, predicate })
    }

    /// `name="value"`, which cannot fail.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), op: MatchOp::Equal, value: value.into(), predicate: None }
    }

    /// Whether a value belongs; pass the empty string for an absent label.
    pub fn matches(&self, value: &str) -> bool {
        let positive = match &self.predicate {
            Some(predicate) => predicate.matches(value),
            None => value == self.value,
        };
        positive != self.op.is_negative()
    }

    /// Whether series without the label belong.
    pub fn matches_empty(&self) -> bool {
        let positive = match &self.predicate {
            Some(predicate) => predicate.matches_empty(),
            None => self.value.is_empty(),
        };
        positive != self.op.is_negative()
    }

    /// If what stands behind the operator equals exactly one of some texts: these, sorted, each once. For the negative
    /// operators these are the values that do *not* belong. None at all is possible: `[^\x00-\x{10FFFF}]`.
    pub fn literals(&self) -> Option<&[String]> {
        match &self.predicate {
            Some(predicate) => predicate.literals(),
            None => Some(std::slice::from_ref(&self.value)),
        }
    }

    /// What all values begin with that the text behind the operator matches; `None` if nothing is known. For the negative
    /// operators, values with another beginning all belong.
    pub fn prefix(&self) -> Option<&str> {
        match &self.predicate {
            Some(predicate) => predicate.prefix(),
            None => Some(self.value.as_str()).filter(|value| !value.is_empty()),
        }
    }

    /// Whether the expression is `.*` or means the same: with `=~` every series belongs, with `!~` none.
    pub fn is_any(&self) -> bool {
        self.predicate.as_ref().is_some_and(|predicate| predicate.is_any())
    }

    /// Whether the expression is `.+` or means the same: with `=~` every series with the label belongs, with `!~` every
    /// series without.
    pub fn is_non_empty(&self) -> bool {
        self.predicate.as_ref().is_some_and(|predicate| predicate.is_non_empty())
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.op == other.op && self.name == other.name && self.value == other.value
    }
}

impl Eq for Matcher {}

impl Hash for Matcher {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.name, self.op, &self.value).hash(state);
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Matcher({self})")
    }
}

/// `name="value"` as PromQL writes it.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if crate::is_legacy_label_name(&self.name) {
            f.write_str(&self.name)?;
        } else {
            crate::quote::write_go_quoted(f, &self.name)?;
        }
        f.write_str(self.op.as_str())?;
        crate::quote::write_go_quoted(f, &self.value)
    }
}
