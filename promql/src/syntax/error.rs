//! What is wrong with a query, and where?

use std::fmt::{self, Write as _};

use thiserror::Error;

use super::span::{LineColumn, Span};

/// A query that is not PromQL: the first thing that is wrong with it.
///
/// [`Display`](fmt::Display) gives `line:column: parse error: message`, the text that Prometheus 3.14 answers and that
/// clients match on; [`drawn`](Self::drawn) shows the line with a caret under the place.
///
/// ```
/// use ferula_promql::syntax::{parse, Features};
///
/// let error = parse("sum(rate(up))", &Features::default()).unwrap_err();
/// let message = r#"expected type range vector in call to function "rate", got instant vector"#;
/// assert_eq!(error.to_string(), format!("1:10: parse error: {message}"));
/// assert_eq!(error.drawn(), format!("1:10: parse error: {message}\n  sum(rate(up))\n           ^^"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", self.headline())]
pub struct ParseError {
    kind: ParseErrorKind,
    message: String,
    span: Option<Span>,
    query: String,
}

/// What sort of mistake a [`ParseError`] reports.
///
/// ```
/// use ferula_promql::syntax::{Features, ParseErrorKind, parse};
///
/// let kind = |query| parse(query, &Features::default()).unwrap_err().kind();
/// assert_eq!(kind("rate(up)"), ParseErrorKind::Type);
/// assert_eq!(kind("nonsense(up)"), ParseErrorKind::Name);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// Characters that form no token: a bad number, an unterminated string, an unbalanced bracket.
    Token,
    /// Tokens in an order that the grammar does not know.
    Grammar,
    /// An expression of one type where another is needed.
    Type,
    /// A name that is not known or not allowed here: function, label, metric, matcher, regular expression.
    Name,
    /// A number or duration outside what is allowed.
    Value,
    /// Correct, but behind a feature that is off.
    Feature,
    /// Nested deeper, or longer, than the parser follows.
    Limit,
}

impl ParseError {
    /// An error of `query` at `span`; without a span the position is said to be unknown.
    pub(crate) fn new(
        kind: ParseErrorKind,
        span: impl Into<Option<Span>>,
        message: impl Into<String>,
        query: &str,
    ) -> Self {
        Self { kind, message: message.into(), span: span.into(), query: query.to_owned() }
    }

    /// The sort of mistake.
    pub fn kind(&self) -> ParseErrorKind {
        self.kind
    }

    /// What is wrong, without the position.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The offending piece of the query, if it can be pointed at.
    pub fn span(&self) -> Option<Span> {
        self.span
    }

    /// The query as it was given.
    pub fn query(&self) -> &str {
        &self.query
    }

    /// Line and column of the offending piece.
    pub fn line_column(&self) -> Option<LineColumn> {
        self.span.map(|span| span.line_column(&self.query))
    }

    /// The message, the line of the query it is about, and a caret under each offending character of that line.
    pub fn drawn(&self) -> String {
        let mut out = self.headline();
        if let Some(span) = self.span.filter(|_| !self.query.is_empty()) {
            draw(&mut out, &self.query, span);
        }
        out
    }

    fn headline(&self) -> String {
        match self.line_column().filter(|_| !self.query.is_empty()) {
            Some(position) => format!("{position}: parse error: {}", self.message),
            None => format!("unknown position: parse error: {}", self.message),
        }
    }
}

/// Appends the line of `query` where `span` begins, and carets below it. Tabs keep their width by being repeated.
fn draw(out: &mut String, query: &str, span: Span) {
    let start = (span.start as usize).min(query.len());
    let bytes = query.as_bytes();
    let line_start = bytes.iter().take(start).rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let line_end = bytes.iter().skip(start).position(|&byte| byte == b'\n').map_or(query.len(), |at| start + at);
    let line = query.get(line_start..line_end).unwrap_or_default();
    let before = query.get(line_start..start).unwrap_or_default();
    let marked = query.get(start..(span.end as usize).clamp(start, line_end)).unwrap_or_default();
    let indent: String = before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    // A `String` takes everything that is written to it.
    let _ = write!(out, "\n  {line}\n  {indent}{}", "^".repeat(marked.chars().count().max(1)));
}

impl fmt::Display for ParseErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token => "token",
            Self::Grammar => "grammar",
            Self::Type => "type",
            Self::Name => "name",
            Self::Value => "value",
            Self::Feature => "feature",
            Self::Limit => "limit",
        })
    }
}
