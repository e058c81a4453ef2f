//! Where in the query text does this stand?

use std::ops::Range;

/// A half-open range of byte offsets into the query text.
///
/// ```
/// use ferula_promql::syntax::Span;
///
/// let query = "up\n  == bool 1";
/// assert_eq!(Span::new(5, 7).text(query), "==");
/// assert_eq!(Span::new(5, 7).line_column(query).to_string(), "2:3");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset behind the last byte.
    pub end: u32,
}

impl Span {
    /// A span from `start` up to, not including, `end`; offsets beyond 4 GiB stop there.
    pub fn new(start: usize, end: usize) -> Self {
        let clip = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        Self { start: clip(start), end: clip(end) }
    }

    /// The smallest span that covers both.
    pub fn to(self, other: Span) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// As a range to slice with.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// The piece of `query` that the span covers; empty if it lies outside.
    pub fn text(self, query: &str) -> &str {
        query.get(self.range()).unwrap_or_default()
    }

    /// Line and column of the first byte.
    pub fn line_column(self, query: &str) -> LineColumn {
        let start = (self.start as usize).min(query.len());
        let before = query.as_bytes().get(..start).unwrap_or_default();
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        LineColumn { line, column: start - line_start + 1 }
    }
}

/// A position as people count: both from 1, columns in bytes, as Prometheus prints them.
///
/// ```
/// use ferula_promql::syntax::{Features, parse};
///
/// let error = parse("1 +\n  rate(up)", &Features::default()).unwrap_err();
/// assert!(error.to_string().starts_with("2:8: "));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineColumn {
    /// Line, from 1.
    pub line: usize,
    /// Byte within the line, from 1.
    pub column: usize,
}

/// `line:column`.
impl std::fmt::Display for LineColumn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}
