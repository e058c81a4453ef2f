//! Templates in labels and annotations: Go's `text/template` with Prometheus' functions.
//!
//! ```text
//!  text --lexer--> tokens --parser--> Set --exec, functions--> text
//! ```
//!
//! An alert's template sees `.Labels`, `.ExternalLabels`, `.ExternalURL` and `.Value`, or `$labels`, `$externalLabels`,
//! `$externalURL` and `$value`. Wording follows Go 1.24 and Prometheus 3.14.
//!
//! Reading order: `ast` (what a template says), `parser`, `value`, `exec`, `functions` with `printf` and `humanize`.
//!
//! # Limits
//!
//! Upstream bounds only recursion. Here a template also ends with an error after a million steps or a mebibyte of text, and
//! its parentheses and controls nest at most 100 deep: a rule file must not be able to stop the evaluation of rules.

mod ast;
mod exec;
mod functions;
mod humanize;
mod lexer;
mod method;
mod parser;
mod printf;
#[cfg(test)]
mod tests;
mod token;
mod value;

use std::fmt::Write as _;
use std::sync::Arc;

use ferula_model::{Labels, Timestamp};
use thiserror::Error;

use crate::source::QuerySource;
use ast::Set;
use value::Value;

/// How deep lists, pipelines, calls and templates nest in evaluation, counted together.
const DEPTH_MAX: usize = 400;
const STEPS_MAX: usize = 1_000_000;
const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// What every template of an alert begins with, as upstream: columns in messages count it.
const DEFINITIONS: &str =
    "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}";

/// Why a template gives no text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// It does not parse: `template: name:line: problem`.
    #[error("{message}")]
    Parse {
        /// What the template belongs to.
        name: String,
        /// What is wrong, with its place.
        message: String,
    },
    /// It cannot be evaluated over this data: `template: name:line:column: executing "name" at <piece>: problem`.
    #[error("{message}")]
    Execute {
        /// What the template belongs to.
        name: String,
        /// What is wrong, with its place.
        message: String,
    },
}

impl TemplateError {
    /// The text that stands in the place of the expansion.
    pub(crate) fn in_place(&self) -> String {
        match self {
            TemplateError::Parse { name, message } => {
                format!("<error expanding template: error parsing template {name}: {message}>")
            }
            TemplateError::Execute { name, message } => {
                format!("<error expanding template: error executing template {name}: {message}>")
            }
        }
    }
}

/// What an alert's template is about.
pub(crate) struct AlertData<'a> {
    /// Of the sample, its name among them.
    pub(crate) labels: &'a Labels,
    pub(crate) external_labels: &'a Labels,
    pub(crate) value: &'a ferula_model::Value,
}

/// What functions may look at.
pub(crate) struct Environment<'a> {
    pub(crate) queries: &'a dyn QuerySource,
    pub(crate) at: Timestamp,
    pub(crate) external_url: &'a str,
}

/// A template of an alert, read once.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    name: String,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    /// No action in it.
    Plain(String),
    Actions {
        source: String,
        set: Arc<Set>,
    },
}

impl Template {
    /// Reads a template of the rule of this name.
    ///
    /// # Errors
    ///
    /// [`TemplateError::Parse`].
    pub(crate) fn of_alert(rule: &str, text: &str) -> Result<Self, TemplateError> {
        let name = format!("__alert_{rule}");
        if !text.contains("{{") {
            return Ok(Self { name, body: Body::Plain(text.to_owned()) });
        }
        let source = format!("{DEFINITIONS}{text}");
        match parser::parse(&name, &source) {
            Ok(set) => Ok(Self { name, body: Body::Actions { source, set: Arc::new(set) } }),
            Err(message) => Err(TemplateError::Parse { name, message }),
        }
    }

    /// The text for one alert.
    ///
    /// # Errors
    ///
    /// [`TemplateError::Execute`].
    pub(crate) fn expand(&self, data: &AlertData<'_>, environment: &Environment<'_>) -> Result<String, TemplateError> {
        let (source, set) = match &self.body {
            Body::Plain(text) => return Ok(text.clone()),
            Body::Actions { source, set } => (source, set),
        };
        let dot = Value::Alert(Arc::new(value::Alert {
            labels: data.labels.clone(),
            external_labels: data.external_labels.clone(),
            external_url: environment.external_url.into(),
            value: functions::stored(data.value),
        }));
        exec::execute(set, &self.name, source, dot, environment)
            .map_err(|message| TemplateError::Execute { name: self.name.clone(), message })
    }
}

/// Where the graph of an expression is, below the external URL.
fn graph_link(expr: &str) -> String {
    format!("/graph?g0.expr={}&g0.tab=0", query_escape(expr))
}

/// Where the table of an expression is, below the external URL.
pub(crate) fn table_link(expr: &str) -> String {
    format!("/graph?g0.expr={}&g0.tab=1", query_escape(expr))
}

/// Go's `url.QueryEscape`.
fn query_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            // A `String` takes everything that is written to it.
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}

/// Whether a text is a template of an alert, and what becomes of it without data: for fuzzing.
#[doc(hidden)]
pub fn fuzz_template(text: &str) {
    struct NoQueries;
    impl QuerySource for NoQueries {
        fn instant(&self, _: &str, _: Timestamp) -> Result<ferula_promql::Answer, ferula_promql::QueryError> {
            Err(ferula_promql::QueryError::Execution("no storage here".to_owned()))
        }
    }
    let Ok(template) = Template::of_alert("Fuzzed", text) else { return };
    let labels = Labels::from_pairs([("__name__", "up"), ("job", "node"), ("instance", "127.0.0.1:9100")]);
    let data = AlertData { labels: &labels, external_labels: &labels, value: &ferula_model::Value::Float(0.5) };
    let environment = Environment { queries: &NoQueries, at: Timestamp(0), external_url: "http://localhost:9090" };
    // Any text or error is fine; a panic or no end is not.
    let _ = template.expand(&data, &environment);
}
