//! What did the query say, and is it PromQL at all?
//!
//! ```text
//!  text --lexer--> tokens --parser--> Expr --check::verify--> Expr, or the first mistake with its place
//!                                      |--print: Display, pretty
//!                                      '--json: the tree as the HTTP API shows it
//! ```
//!
//! Read [`ast`] first: it says what there is. [`span`] and [`error`] say where things stand and what is wrong with them.
//! [`Dialect`] says which experimental parts and which functions of the host there are, [`duration`] computes lengths that are written as expressions.

pub mod ast;
mod dialect;
pub mod duration;
pub mod error;
mod json;
mod lexer;
mod number;
mod parser;
mod pretty;
mod print;
pub mod span;
mod string;
mod token;

pub use ast::{Expr, ValueType};
pub use dialect::{Dialect, Features};
pub use error::{ParseError, ParseErrorKind};
pub use span::{LineColumn, Span};

use ferula_model::{Labels, MatchOp, Matcher};

/// Reads a query and checks its types.
///
/// # Errors
///
/// The first mistake, with its place, in the words of Prometheus 3.14.
///
/// ```
/// use ferula_promql::syntax::{parse, Features, ValueType};
///
/// let expr = parse("sum by (job) (rate(requests_total[5m]))", &Features::default())?;
/// assert_eq!(expr.value_type(), ValueType::Vector);
/// assert_eq!(expr.to_string(), "sum by (job) (rate(requests_total[5m]))");
/// # Ok::<(), ferula_promql::syntax::ParseError>(())
/// ```
pub fn parse(query: &str, features: &Features) -> Result<Expr, ParseError> {
    parse_with(query, &Dialect { features: *features, functions: Vec::new() })
}

/// [`parse`] with functions of the host.
///
/// # Errors
///
/// As [`parse`].
pub fn parse_with(query: &str, dialect: &Dialect) -> Result<Expr, ParseError> {
    let expr = parser::parse_query(query, dialect)?;
    check(&expr, query)?;
    Ok(expr)
}

/// Reads a selector without modifiers, such as `match[]` takes: its matchers, the one for the name last.
///
/// # Errors
///
/// As [`parse`]. A selector that matches every series is one too: whoever must not answer it has to look.
///
/// ```
/// let matchers = ferula_promql::syntax::parse_selector(r#"up{job=~"a|b"}"#).unwrap();
/// assert_eq!(matchers[1].to_string(), r#"__name__="up""#);
/// ```
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    let expr = parser::parse_selector(text, &Dialect::default())?;
    match expr {
        Expr::Selector(selector) => Ok(selector.matchers),
        _ => Ok(Vec::new()),
    }
}

/// Reads the name of one series, `name{label="value"}`, where even `{}` is one.
pub(crate) fn parse_series_name(text: &str) -> Result<Labels, ParseError> {
    let wrong = |message: &str| Err(ParseError::new(ParseErrorKind::Name, None, message, text));
    let Expr::Selector(selector) = parser::parse_selector(text, &Dialect::default())? else {
        return wrong("expected a series");
    };
    if selector.matchers.iter().any(|matcher| matcher.op != MatchOp::Equal) {
        return wrong("the labels of a series are written with =");
    }
    Ok(Labels::from_pairs(selector.matchers.iter().map(|matcher| (&matcher.name, &matcher.value))))
}

/// What a string literal says; `None` if the text is not one.
pub(crate) fn unquote_literal(text: &str) -> Option<String> {
    let length = string::check_string(text).ok()?;
    if length == text.len() { String::from_utf8(string::unquote(text)).ok() } else { None }
}

fn check(expr: &Expr, query: &str) -> Result<(), ParseError> {
    match crate::check::verify(expr) {
        Ok(_) => Ok(()),
        Err(error) => Err(ParseError::new(error.kind, error.span, error.message, query)),
    }
}
