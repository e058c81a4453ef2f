//! Matchers: does this label value belong?
//!
//! Regular expressions are RE2 as Go reads it, anchored at both ends, with a dot that matches newlines.

use std::fmt;
use thiserror::Error;

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
}

/// A regular expression that Go's `regexp` would refuse; the message is Go's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("error parsing regexp: {message}")]
pub struct RegexError {
    /// What is wrong and where, in Go's words.
    pub message: String,
}

/// A condition on one label. An absent label has the empty value.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// The label's name.
    pub name: String,
    /// How the value is compared.
    pub op: MatchOp,
    /// The value, or the expression as written.
    pub value: String,
}

impl Matcher {
    /// Builds a matcher; expressions are compiled here.
    ///
    /// # Errors
    ///
    /// The expression is not RE2.
    pub fn new(op: MatchOp, name: impl Into<String>, value: impl Into<String>) -> Result<Self, RegexError> {
        Ok(Self { name: name.into(), op, value: value.into() })
    }

    /// `name="value"`, which cannot fail.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), op: MatchOp::Equal, value: value.into() }
    }

    /// Whether a value belongs; pass the empty string for an absent label.
    pub fn matches(&self, value: &str) -> bool {
        match self.op {
            MatchOp::Equal => value == self.value,
            MatchOp::NotEqual => value != self.value,
            MatchOp::Regex | MatchOp::NotRegex => false,
        }
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
