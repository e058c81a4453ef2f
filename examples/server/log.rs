//! The log: lines on standard error, as Prometheus writes them.
//!
//! `time=2026-01-02T03:04:05.678Z level=INFO source=file.rs:12 msg="..." key=value`, or the same as JSON.

use std::fmt::{self, Write};

use ferula::model::{Clock, SystemClock, go_quote};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Begins to write what is at least as severe as `level`.
pub(crate) fn start(level: &str, format: &str) {
    let level = match level.to_lowercase().as_str() {
        "debug" => Level::DEBUG,
        "warn" => Level::WARN,
        "error" => Level::ERROR,
        _ => Level::INFO,
    };
    let lines = Lines { json: format.eq_ignore_ascii_case("json") };
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).event_format(lines).init();
}

/// Writes an event as one line.
struct Lines {
    json: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let source = metadata.file().and_then(|file| file.rsplit('/').next()).unwrap_or_default();
        let source = format!("{source}:{}", metadata.line().unwrap_or_default());
        let head =
            [("time", time()), ("level", metadata.level().to_string()), ("source", source), ("msg", fields.message)];
        let head = head.iter().map(|(name, value)| (*name, value.as_str()));
        let all = head.chain(fields.others.iter().map(|(name, value)| (*name, value.as_str())));
        let line = if self.json { as_json(all) } else { as_logfmt(all) };
        writeln!(out, "{line}")
    }
}

fn time() -> String {
    ferula::api::rfc3339(SystemClock.now())
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.others.push((field.name(), text));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.others.push((field.name(), value.to_owned()));
    }
}

fn as_logfmt<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut line = String::new();
    for (name, value) in fields {
        let space = if line.is_empty() { "" } else { " " };
        // A `String` takes everything that is written to it.
        let _ = match needs_quotes(value) {
            true => write!(line, "{space}{name}={}", go_quote(value)),
            false => write!(line, "{space}{name}={value}"),
        };
    }
    line
}

fn needs_quotes(value: &str) -> bool {
    value.is_empty() || value.chars().any(|c| c <= ' ' || matches!(c, '=' | '"' | '\\') || c.is_control())
}

fn as_json<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let object: serde_json::Map<String, serde_json::Value> =
        fields.map(|(name, value)| (name.to_owned(), value.into())).collect();
    serde_json::Value::Object(object).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_where_they_must_be() {
        let fields = [("a", "b"), ("msg", "two words"), ("empty", ""), ("eq", "x=\"y\"")];
        assert_eq!(as_logfmt(fields.into_iter()), r#"a=b msg="two words" empty="" eq="x=\"y\"""#);
    }
}
