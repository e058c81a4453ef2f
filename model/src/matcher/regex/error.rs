//! What Go's `regexp/syntax` says about an expression that it refuses.

use std::fmt;

use thiserror::Error;

/// A regular expression that Go's `regexp` would refuse. Prints as Go prints it, for clients match on these words:
/// ``error parsing regexp: missing closing ): `(a` ``.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("error parsing regexp: {kind}: `{fragment}`")]
pub struct RegexError {
    /// What is wrong.
    pub kind: RegexErrorKind,
    /// The part of the expression that is wrong, as written; the whole of it where the trouble has no place.
    pub fragment: String,
}

impl RegexError {
    pub(super) fn new(kind: RegexErrorKind, fragment: impl Into<String>) -> Self {
        Self { kind, fragment: fragment.into() }
    }
}

/// The kinds of trouble, as Go's `regexp/syntax.ErrorCode` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RegexErrorKind {
    /// A range of a class ends before it begins, or names an unknown class.
    InvalidCharRange,
    /// `\q`, `\8`, `\xZZ` and such; `\C`, too.
    InvalidEscape,
    /// `(?P<` without a good name and `>`.
    InvalidNamedCapture,
    /// `(?` followed by what is neither flags nor a name.
    InvalidPerlOp,
    /// `a**`, `a+{2}` and such.
    InvalidRepeatOp,
    /// `{1001}`, `{2,1}`, or nested counts whose product is above 1000.
    InvalidRepeatSize,
    /// A class that never ends.
    MissingBracket,
    /// A group that never ends.
    MissingParen,
    /// A repetition of nothing.
    MissingRepeatArgument,
    /// The last character is an unpaired `\`.
    TrailingBackslash,
    /// A `)` that closes nothing.
    UnexpectedParen,
    /// More than 200 nodes on the way to a leaf.
    NestingDepth,
    /// The compiled form would be too large.
    Large,
}

impl fmt::Display for RegexErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidCharRange => "invalid character class range",
            Self::InvalidEscape => "invalid escape sequence",
            Self::InvalidNamedCapture => "invalid named capture",
            Self::InvalidPerlOp => "invalid or unsupported Perl syntax",
            Self::InvalidRepeatOp => "invalid nested repetition operator",
            Self::InvalidRepeatSize => "invalid repeat count",
            Self::MissingBracket => "missing closing ]",
            Self::MissingParen => "missing closing )",
            Self::MissingRepeatArgument => "missing argument to repetition operator",
            Self::TrailingBackslash => "trailing backslash at end of expression",
            Self::UnexpectedParen => "unexpected )",
            Self::NestingDepth => "expression nests too deeply",
            Self::Large => "expression too large",
        })
    }
}
