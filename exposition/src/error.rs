//! What is wrong with a body, and where?

use std::fmt;

use ferula_model::number::NumberError;
use thiserror::Error;

use crate::parser::Format;

/// Longest excerpt of a line that an error carries, in characters.
const EXCERPT_CHARS_MAX: usize = 160;

/// A body was refused: what is wrong, and at which line and column.
///
/// [`Display`](fmt::Display) is one clause, fit for a log or for a target's last error. [`drawn`](Self::drawn) adds the
/// line and a caret under the place.
///
/// ```
/// use ferula_exposition::{Format, ParseOptions, Parser};
///
/// let parser = Parser::new(b"up 1\nup{job=node} 1\n", Format::Text, &ParseOptions::default());
/// let error = parser.check().unwrap_err();
/// assert_eq!((error.line(), error.column()), (2, 8));
/// assert_eq!(error.to_string(), "line 2, column 8: expected a quoted label value, found \"n\"");
/// assert_eq!(error.drawn().to_string(), "\
/// line 2, column 8: expected a quoted label value, found \"n\"
///   | up{job=node} 1
///   |        ^");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ParseError {
    kind: ParseErrorKind,
    offset: usize,
    /// Line and column from 1, and the line with the caret's position in it; none in binary formats.
    place: Option<Place>,
}

#[derive(Clone, Debug, PartialEq)]
struct Place {
    line: usize,
    column: usize,
    excerpt: String,
    caret: usize,
}

/// What can be wrong with a body.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// Something else was due here.
    #[error("expected {what}, found {found}")]
    Expected {
        /// What was due.
        what: &'static str,
        /// What stands there: a quoted character, or `end of line`, or `end of body`.
        found: String,
    },
    /// Names, label values and help texts are UTF-8.
    #[error("{what} is not valid UTF-8")]
    Utf8 {
        /// Which text.
        what: &'static str,
    },
    /// A value, timestamp or label that must be a number is none.
    #[error("{what} {text:?}: {source}")]
    Number {
        /// Which number.
        what: &'static str,
        /// The text.
        text: String,
        /// What is wrong with it.
        #[source]
        source: NumberError,
    },
    /// The format does not know this type.
    #[error("invalid metric type {0:?}")]
    MetricType(String),
    /// A second metric name in the braces of a series.
    #[error("metric name already set")]
    SecondMetricName,
    /// A series without a metric name.
    #[error("metric name not set")]
    NoMetricName,
    /// The unit must be the end of the family's name.
    #[error("unit {unit:?} not a suffix of metric {family:?}")]
    Unit {
        /// The unit.
        unit: String,
        /// The family.
        family: String,
    },
    /// OpenMetrics ends with a line `# EOF`.
    #[error("data does not end with # EOF")]
    NoEof,
    /// Something follows the last line of OpenMetrics.
    #[error("unexpected data after # EOF")]
    AfterEof,
    /// The body is longer than the limit.
    #[error("body of {bytes} bytes exceeds the limit of {limit}")]
    BodyLimit {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A line, or a message of a binary format, is longer than the limit.
    #[error("line exceeds the limit of {limit} bytes")]
    LineLimit {
        /// The limit.
        limit: usize,
    },
    /// A series has more labels than the limit.
    #[error("series exceeds the limit of {limit} labels")]
    LabelLimit {
        /// The limit.
        limit: usize,
    },
    /// Prometheus accepts it, the specification of the format does not. Only in strict mode.
    #[error("{0}")]
    Strict(String),
    /// The bytes are no protobuf, or not this message.
    #[error("invalid protobuf: {0}")]
    Wire(&'static str),
    /// A native histogram contradicts itself.
    #[error("invalid histogram: {0}")]
    Histogram(&'static str),
}

/// An error before its line is known: cheap to pass around inside a parser.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) kind: ParseErrorKind,
}

impl Fault {
    pub(crate) fn new(at: usize, kind: ParseErrorKind) -> Self {
        Self { at, kind }
    }

    /// `what` was due at `at`, where something else stands.
    #[cold]
    pub(crate) fn expected(body: &[u8], at: usize, what: &'static str) -> Self {
        let found = match body.get(at) {
            None => "end of body".to_owned(),
            Some(b'\n') => "end of line".to_owned(),
            Some(_) => {
                let rest = body.get(at..).unwrap_or_default();
                let text = String::from_utf8_lossy(rest.get(..4).unwrap_or(rest));
                format!("{:?}", text.chars().next().unwrap_or_default().to_string())
            }
        };
        Self { at, kind: ParseErrorKind::Expected { what, found } }
    }

    pub(crate) fn strict(at: usize, message: impl Into<String>) -> Self {
        Self { at, kind: ParseErrorKind::Strict(message.into()) }
    }
}

impl ParseError {
    #[cold]
    pub(crate) fn of_body(body: &[u8], format: Format, fault: Fault) -> Self {
        if format == Format::Protobuf {
            return Self { kind: fault.kind, offset: fault.at, place: None };
        }
        let at = fault.at.min(body.len());
        let (before, after) = body.split_at(at);
        let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |newline| newline + 1);
        let line_rest = after.iter().position(|b| *b == b'\n').unwrap_or(after.len());
        let left = String::from_utf8_lossy(before.get(line_start..).unwrap_or_default()).into_owned();
        let right = String::from_utf8_lossy(after.get(..line_rest).unwrap_or_default()).into_owned();
        let column = left.chars().count() + 1;
        let skipped = (column - 1).saturating_sub(EXCERPT_CHARS_MAX / 2);
        let excerpt: String = left.chars().skip(skipped).chain(right.chars()).take(EXCERPT_CHARS_MAX).collect();
        let place = Place {
            line: before.iter().filter(|b| **b == b'\n').count() + 1,
            column,
            excerpt: excerpt.replace(|c: char| c.is_control(), " "),
            caret: column - 1 - skipped,
        };
        Self { kind: fault.kind, offset: fault.at, place: Some(place) }
    }

    /// What is wrong.
    pub fn kind(&self) -> &ParseErrorKind {
        &self.kind
    }

    /// The line, from 1; 0 in binary formats.
    pub fn line(&self) -> usize {
        self.place.as_ref().map_or(0, |place| place.line)
    }

    /// The column in characters, from 1; 0 in binary formats.
    pub fn column(&self) -> usize {
        self.place.as_ref().map_or(0, |place| place.column)
    }

    /// The byte of the body, from 0.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The error with its line and a caret under the place. In binary formats, the error alone.
    pub fn drawn(&self) -> impl fmt::Display + '_ {
        Drawn(self)
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "line {}, column {}: {}", place.line, place.column, self.kind),
            None => write!(f, "byte {}: {}", self.offset, self.kind),
        }
    }
}

impl std::error::Error for ParseError {}

struct Drawn<'a>(&'a ParseError);

impl fmt::Display for Drawn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        match &self.0.place {
            Some(place) => write!(f, "\n  | {}\n  | {:caret$}^", place.excerpt, "", caret = place.caret),
            None => Ok(()),
        }
    }
}
