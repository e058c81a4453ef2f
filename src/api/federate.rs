//! `/federate`: the newest sample of each series, for another server to scrape.
//!
//! The answer is in the text format, every family untyped. The window is `(now - lookback, now]`; series that went stale
//! are left out, and so are native histograms, which the text format cannot carry. External labels are added where a
//! series has none of that name; a series without `instance` gets an empty one, so that a scraper that honours labels does
//! not add its own.

use std::collections::BTreeMap;

use ferula_exposition::Escaping;
use ferula_exposition::negotiate::Negotiated;
use ferula_model::number::{FloatForm, push_float};
use ferula_model::{
    Columns, Labels, METRIC_NAME, Matcher, SelectHints, TimeRange, Timestamp, is_legacy_label_name,
    is_legacy_metric_name, is_stale,
};

use super::error::{ApiError, ErrorKind};
use super::response::Response;
use super::{Api, Request};

/// Answers with everything that satisfies at least one `match[]`; with nothing if there is none.
pub(super) fn answer(api: &Api, request: &Request) -> Result<Response, ApiError> {
    let escaping = Negotiated::from_accept(request.accept.as_deref()).options().escaping;
    let mut found = BTreeMap::new();
    for text in request.params.all("match[]") {
        let matchers =
            ferula_promql::syntax::parse_selector(text).map_err(|error| ApiError::bad_data(error.to_string()))?;
        collect(api, &matchers, &mut found)?;
    }
    Ok(Response::exposition(content_type(escaping), write(&found, &(api.external_labels)(), escaping)))
}

fn content_type(escaping: Escaping) -> String {
    let version = if escaping == Escaping::AllowUtf8 { "1.0.0" } else { "0.0.4" };
    format!("text/plain; version={version}; charset=utf-8; escaping={}", escaping.as_str())
}

/// Series by labels, each with its newest sample.
type Newest = BTreeMap<Labels, (Timestamp, f64)>;

fn collect(api: &Api, matchers: &[Matcher], found: &mut Newest) -> Result<(), ApiError> {
    let trouble = |error: ferula_model::SelectError| ApiError::new(ErrorKind::Internal, error.to_string());
    let now = api.clock.now();
    let oldest = now.saturating_sub(api.engine.options().lookback);
    let range = TimeRange::new(Timestamp(oldest.as_millis().saturating_add(1)), now);
    let querier = api.storage.querier(range).map_err(trouble)?;
    let hints = SelectHints { range: Some(range), ..SelectHints::default() };
    let set = querier.select(&hints, matchers).map_err(trouble)?;
    let mut columns = Columns::default();
    for index in 0..set.len() {
        set.read(index, range, &mut columns).map_err(trouble)?;
        let (Some(at), Some(value)) = (columns.times.last(), columns.values.last()) else { continue };
        let newer_histogram = columns.histogram_times.last().is_some_and(|histogram| histogram > at);
        if !is_stale(*value) && !newer_histogram {
            found.insert(set.labels(index), (Timestamp(*at), *value));
        }
    }
    Ok(())
}

fn write(found: &Newest, external: &Labels, escaping: Escaping) -> Vec<u8> {
    let mut by_name: Vec<_> = found.iter().filter(|(labels, _)| !labels.metric_name().is_empty()).collect();
    by_name.sort_by_key(|(labels, _)| labels.metric_name());
    let mut out = Vec::new();
    let mut family = None;
    for (labels, (at, value)) in by_name {
        let name = escaping.escape(labels.metric_name());
        if family.as_deref() != Some(&*name) {
            out.extend_from_slice(b"# TYPE ");
            metric_name(&mut out, &name);
            out.extend_from_slice(b" untyped\n");
            family = Some(name.clone().into_owned());
        }
        series(&mut out, &name, &all_labels(labels, external), escaping);
        out.push(b' ');
        push_float(&mut out, *value, FloatForm::Shortest);
        out.extend_from_slice(format!(" {}\n", at.as_millis()).as_bytes());
    }
    out
}

/// The labels to show, by rising name: the series' own, external ones that it does not have, and an empty `instance` if
/// nobody has one.
fn all_labels<'a>(labels: &'a Labels, external: &'a Labels) -> BTreeMap<&'a str, &'a str> {
    let mut all = BTreeMap::from([("instance", "")]);
    all.extend(external);
    all.extend(labels);
    all.remove(METRIC_NAME);
    all
}

/// Writes `name{label="value"}`; a name that is not legacy-valid goes into the braces, in quotes.
fn series(out: &mut Vec<u8>, name: &str, labels: &BTreeMap<&str, &str>, escaping: Escaping) {
    let plain = is_legacy_metric_name(name);
    if plain {
        out.extend_from_slice(name.as_bytes());
    }
    out.push(b'{');
    if !plain {
        quoted(out, name);
        out.push(b',');
    }
    for (i, (label, value)) in labels.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        let label = escaping.escape(label);
        if is_legacy_label_name(&label) {
            out.extend_from_slice(label.as_bytes());
        } else {
            quoted(out, &label);
        }
        out.push(b'=');
        quoted(out, value);
    }
    out.push(b'}');
}

fn metric_name(out: &mut Vec<u8>, name: &str) {
    if is_legacy_metric_name(name) {
        out.extend_from_slice(name.as_bytes());
    } else {
        quoted(out, name);
    }
}

/// A string of the text format: only backslash, quote and line feed are escaped.
fn quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\n' => out.extend_from_slice(b"\\n"),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}
