//! `/series`, `/labels` and `/label/<name>/values`: what is stored?

use std::collections::BTreeSet;

use ferula_model::{Matcher, Querier, Question, SelectError, SelectHints, SeriesSet, TimeRange, Timestamp, go_quote};

use super::error::{ApiError, ErrorKind};
use super::response::Response;
use super::{Api, Endpoint, LABEL_VALUES, Request, json, label_name};

/// The warning of an answer that `limit` cut short.
pub(super) const TRUNCATED: &str = "results truncated due to limit";

/// So many label sets, and so many texts, can be found and written in a moment.
const BRIEF_SERIES: usize = 1_000;
const BRIEF_TEXTS: usize = 2_000;

/// The answer with no more label sets than these is written in one piece.
const WRITTEN_AT_ONCE: usize = 1_000;

/// Whether the answer is known to be a short one, made from memory.
pub(super) fn is_brief(api: &Api, endpoint: Endpoint, request: &Request) -> bool {
    let judge = || {
        let range = time_range(request).ok()?;
        let selectors = any_selectors(request).ok()?;
        let querier = api.storage.querier(range).ok()?;
        let mut series = 0;
        for matchers in &selectors {
            series += querier.at_most(Question::Series(matchers), range)?;
        }
        let texts = match endpoint.handler {
            "/api/v1/labels" => querier.at_most(Question::LabelNames, range)?,
            LABEL_VALUES => querier.at_most(Question::LabelValues(label_name(&request.path)?), range)?,
            _ => 0,
        };
        Some(series <= BRIEF_SERIES && texts <= BRIEF_TEXTS)
    };
    judge().unwrap_or(false)
}

/// The label sets of series: `match[]` (one or more), `start`, `end`, `limit`.
pub(super) fn series(api: &Api, request: &Request) -> Result<Response, ApiError> {
    if request.params.all("match[]").next().is_none() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let limit = request.params.limit("limit")?;
    let range = time_range(request)?;
    let selectors = selectors(request).map_err(|error| ApiError::parameter("match[]", error))?;
    let querier = api.storage.querier(range).map_err(trouble)?;
    let mut found = Vec::new();
    for matchers in &selectors {
        // One more than is shown says whether there are more.
        let one_more = if limit == 0 { 0 } else { limit + 1 };
        let hints =
            SelectHints { range: Some(range), labels_only: true, sorted: true, limit: one_more, ..Default::default() };
        let set = querier.select(&hints, matchers).map_err(trouble)?;
        if selectors.len() == 1 && limit == 0 && set.len() <= WRITTEN_AT_ONCE {
            return Ok(label_sets(&*set));
        }
        let wanted = if limit == 0 { set.len() } else { set.len().min(limit + 1) };
        found.extend((0..wanted).map(|index| set.labels(index)));
    }
    if selectors.len() > 1 {
        found.sort_unstable();
        found.dedup();
    }
    let warnings = cut(&mut found, limit);
    Ok(Response::list(found, json::labels, &warnings))
}

/// The label sets of few series, written without being made first.
fn label_sets(set: &dyn SeriesSet) -> Response {
    let write = |out: &mut Vec<u8>, index| {
        out.push(b'{');
        let mut any = false;
        set.each_label(index, &mut |name, value| {
            if std::mem::replace(&mut any, true) {
                out.push(b',');
            }
            json::label(out, name);
            out.push(b':');
            json::label(out, value);
        });
        out.push(b'}');
    };
    Response::written(set.len() * 256, |out| json::list(out, 0..set.len(), write))
}

/// The names of labels: `match[]`, `start`, `end`, `limit`.
pub(super) fn label_names(api: &Api, request: &Request) -> Result<Response, ApiError> {
    texts(api, request, |querier, matchers, limit| querier.label_names(matchers, limit))
}

/// The values of a label: `match[]`, `start`, `end`, `limit`. A name that starts with `U__` is unescaped first.
pub(super) fn label_values(api: &Api, request: &Request) -> Result<Response, ApiError> {
    let name = ferula_exposition::Escaping::Values.unescape(label_name(&request.path).unwrap_or_default());
    if name.is_empty() {
        return Err(ApiError::bad_data(format!("invalid label name: {}", go_quote(&name))));
    }
    texts(api, request, |querier, matchers, limit| querier.label_values(&name, matchers, limit))
}

/// Asks once for each selector (or once for everything), merges, cuts and writes.
fn texts(
    api: &Api,
    request: &Request,
    ask: impl Fn(&dyn Querier, &[Matcher], usize) -> Result<Vec<String>, SelectError>,
) -> Result<Response, ApiError> {
    let limit = request.params.limit("limit")?;
    let range = time_range(request)?;
    let selectors = selectors(request)?;
    let querier = api.storage.querier(range).map_err(trouble)?;
    let one_more = if limit == 0 { 0 } else { limit + 1 };
    let mut found = match selectors.as_slice() {
        [] => ask(&*querier, &[], one_more).map_err(trouble)?,
        [matchers] => ask(&*querier, matchers, one_more).map_err(trouble)?,
        many => {
            let mut all = BTreeSet::new();
            for matchers in many {
                all.extend(ask(&*querier, matchers, one_more).map_err(trouble)?);
            }
            all.into_iter().collect()
        }
    };
    let warnings = cut(&mut found, limit);
    Ok(Response::list(found, |out, text| json::string(out, text), &warnings))
}

/// The selectors of all `match[]`, each of which must have a matcher that does not match the empty value.
pub(super) fn selectors(request: &Request) -> Result<Vec<Vec<Matcher>>, ApiError> {
    let selectors = any_selectors(request)?;
    match selectors.iter().any(|matchers| matchers.iter().all(|matcher| matcher.matches(""))) {
        true => Err(ApiError::bad_data("match[] must contain at least one non-empty matcher")),
        false => Ok(selectors),
    }
}

/// The selectors of all `match[]`, whatever they match.
pub(super) fn any_selectors(request: &Request) -> Result<Vec<Vec<Matcher>>, ApiError> {
    let parse =
        |text| ferula_promql::syntax::parse_selector(text).map_err(|error| ApiError::bad_data(error.to_string()));
    request.params.all("match[]").map(parse).collect()
}

pub(super) fn time_range(request: &Request) -> Result<TimeRange, ApiError> {
    let start = request.params.time("start")?.unwrap_or(Timestamp::MIN);
    let end = request.params.time("end")?.unwrap_or(Timestamp::MAX);
    // An end before the start is no error: there is nothing between.
    Ok(TimeRange::new(start, end))
}

fn cut<T>(found: &mut Vec<T>, limit: usize) -> Vec<String> {
    if limit == 0 || found.len() <= limit {
        return Vec::new();
    }
    found.truncate(limit);
    vec![TRUNCATED.to_owned()]
}

fn trouble(error: SelectError) -> ApiError {
    ApiError::new(ErrorKind::Execution, error.to_string())
}
