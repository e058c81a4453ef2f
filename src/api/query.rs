//! `/query`, `/query_range`, `/query_exemplars`, `/format_query` and `/parse_query`.

use std::fmt::Write as _;

use ferula_model::{StepGrid, TimeRange, Timestamp};
use ferula_promql::{Answer, QueryError, QueryOptions, Statistics, Value};

use super::answer::AnswerPieces;
use super::error::{ApiError, ErrorKind};
use super::response::Response;
use super::series::TRUNCATED;
use super::{Api, Request, json};

/// A range query may have this many steps; more cannot be drawn anyway.
const POINTS_MAX: i64 = 11_000;

/// What the engine is asked.
pub(super) struct EngineQuery<'r> {
    query: &'r str,
    times: Times,
    options: QueryOptions,
    limit: usize,
}

enum Times {
    At(Timestamp),
    Grid(StepGrid),
}

/// The value of an expression at one moment: `query`, `time`, `timeout`, `lookback_delta`, `limit`, `stats`.
pub(super) fn instant<'r>(api: &Api, request: &'r Request) -> Result<EngineQuery<'r>, ApiError> {
    let params = &request.params;
    let limit = params.limit("limit")?;
    let at = params.time("time")?.unwrap_or_else(|| api.clock.now());
    Ok(EngineQuery { query: params.first("query"), times: Times::At(at), options: options(request)?, limit })
}

/// The value of an expression over time: `query`, `start`, `end`, `step`, and what [`instant`] takes.
pub(super) fn range(request: &Request) -> Result<EngineQuery<'_>, ApiError> {
    let params = &request.params;
    let limit = params.limit("limit")?;
    let start = params.required_time("start")?;
    let end = params.required_time("end")?;
    if end < start {
        return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
    }
    let Some(step) = params.required_duration("step")?.positive() else {
        let cause = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(ApiError::parameter("step", cause));
    };
    let grid = StepGrid::new(start, end, step).map_err(|error| ApiError::parameter("step", error))?;
    if (i128::from(end.as_millis()) - i128::from(start.as_millis())) / i128::from(grid.step_millis())
        > POINTS_MAX.into()
    {
        return Err(ApiError::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    Ok(EngineQuery { query: params.first("query"), times: Times::Grid(grid), options: options(request)?, limit })
}

impl EngineQuery<'_> {
    /// The answer.
    pub(super) fn answer(&self, api: &Api, request: &Request) -> Result<Response, ApiError> {
        self.ask(api, request).map_err(refusal)
    }

    /// The answer, if it is known to take no more than a moment.
    pub(super) fn answer_if_brief(mut self, api: &Api, request: &Request) -> Option<Result<Response, ApiError>> {
        self.options.only_if_brief = true;
        match self.ask(api, request) {
            Err(QueryError::NotBrief) => None,
            outcome => Some(outcome.map_err(refusal)),
        }
    }

    fn ask(&self, api: &Api, request: &Request) -> Result<Response, QueryError> {
        let answer = match self.times {
            Times::At(at) => api.engine.instant(&*api.storage, self.query, at, &self.options)?,
            Times::Grid(grid) => api.engine.range(&*api.storage, self.query, grid, &self.options)?,
        };
        (api.query_observer)(&answer.statistics);
        Ok(respond(request, answer, self.limit))
    }
}

/// The exemplars of all selectors in an expression: `query`, `start`, `end`.
pub(super) fn exemplars(api: &Api, request: &Request) -> Result<Response, ApiError> {
    let params = &request.params;
    let start = params.time("start")?.unwrap_or(Timestamp::MIN);
    let end = params.time("end")?.unwrap_or(Timestamp::MAX);
    if end < start {
        return Err(ApiError::bad_data("end timestamp must not be before start timestamp"));
    }
    let expr = ferula_promql::syntax::parse_with(params.first("query"), &api.engine.options().dialect)
        .map_err(|error| ApiError::bad_data(error.to_string()))?;
    let selectors: Vec<_> = expr.selectors().into_iter().map(|selector| selector.matchers.clone()).collect();
    if selectors.is_empty() {
        return Ok(Response::no_content());
    }
    let Some(storage) = &api.exemplars else { return Ok(Response::data(b"[]")) };
    let found = storage
        .exemplars(TimeRange::new(start, end), &selectors)
        .map_err(|error| ApiError::new(ErrorKind::Execution, error.to_string()))?;
    let mut out = Vec::new();
    json::list(&mut out, &found, |out, series| {
        out.extend_from_slice(b"{\"seriesLabels\":");
        json::labels(out, &series.labels);
        out.extend_from_slice(b",\"exemplars\":");
        json::list(out, &series.exemplars, |out, exemplar| {
            out.extend_from_slice(b"{\"labels\":");
            json::labels(out, &exemplar.labels);
            out.extend_from_slice(b",\"value\":");
            json::float(out, exemplar.value);
            out.extend_from_slice(b",\"timestamp\":");
            json::timestamp(out, exemplar.timestamp.unwrap_or_default());
            out.push(b'}');
        });
        out.push(b'}');
    });
    Ok(Response::data(&out))
}

/// The expression in its usual form: `query`.
pub(super) fn format(api: &Api, request: &Request) -> Result<Response, ApiError> {
    let expr = parsed(api, request)?;
    let mut out = Vec::new();
    json::string(&mut out, &expr.pretty());
    Ok(Response::data(&out))
}

/// The tree of an expression: `query`.
pub(super) fn parse(api: &Api, request: &Request) -> Result<Response, ApiError> {
    Ok(Response::data(parsed(api, request)?.to_json().as_bytes()))
}

fn parsed(api: &Api, request: &Request) -> Result<ferula_promql::syntax::Expr, ApiError> {
    ferula_promql::syntax::parse_with(request.params.first("query"), &api.engine.options().dialect)
        .map_err(|error| ApiError::parameter("query", error))
}

fn options(request: &Request) -> Result<QueryOptions, ApiError> {
    let params = &request.params;
    let mut options = QueryOptions::default();
    options.cancel = request.cancel.clone();
    // No time at all is not "no limit": such a query is over before it begins.
    options.timeout = params.duration("timeout")?.map(|timeout| timeout.positive().unwrap_or_default());
    let lookback = params.duration("lookback_delta").map_err(|_| {
        let text = ferula_model::go_quote(params.first("lookback_delta"));
        ApiError::bad_data(format!("error parsing lookback delta duration: cannot parse {text} to a valid duration"))
    })?;
    options.lookback = lookback.and_then(|lookback| lookback.positive());
    options.per_step_statistics = params.first("stats") == "all";
    Ok(options)
}

/// Which error of the engine is which error of the API.
pub(super) fn refusal(error: QueryError) -> ApiError {
    let kind = match &error {
        QueryError::Parse(_) => return ApiError::parameter("query", error),
        QueryError::Timeout { .. } => ErrorKind::Timeout,
        QueryError::Canceled { .. } => ErrorKind::Canceled,
        QueryError::Storage(_) => ErrorKind::Internal,
        _ => ErrorKind::Execution,
    };
    ApiError::new(kind, error.to_string())
}

fn respond(request: &Request, mut answer: Answer, limit: usize) -> Response {
    let truncated = truncate(&mut answer.value, limit);
    let statistics = match request.params.first("stats") {
        "" => None,
        _ => Some(statistics(&answer.statistics)),
    };
    let warnings = if truncated { vec![TRUNCATED.to_owned()] } else { Vec::new() };
    Response::pieces(AnswerPieces::new(answer, statistics, &warnings))
}

fn truncate(value: &mut Value, limit: usize) -> bool {
    let length = match value {
        Value::Vector(samples) => samples.len(),
        Value::Matrix(series) => series.len(),
        Value::Scalar { .. } | Value::String { .. } => 0,
    };
    if limit == 0 || length <= limit {
        return false;
    }
    match value {
        Value::Vector(samples) => samples.truncate(limit),
        Value::Matrix(series) => series.truncate(limit),
        Value::Scalar { .. } | Value::String { .. } => {}
    }
    true
}

fn statistics(cost: &Statistics) -> Vec<u8> {
    let (timings, samples) = (&cost.timings, &cost.samples);
    let mut text = String::new();
    // A `String` takes everything that is written to it.
    let _ = write!(
        text,
        "{{\"timings\":{{\"evalTotalTime\":{},\"resultSortTime\":{},\"queryPreparationTime\":{},\"innerEvalTime\":{},\
         \"execQueueTime\":{},\"execTotalTime\":{}}},\"samples\":{{",
        timings.eval_total.as_secs_f64(),
        timings.result_sort.as_secs_f64(),
        timings.query_preparation.as_secs_f64(),
        timings.inner_eval.as_secs_f64(),
        timings.exec_queue.as_secs_f64(),
        timings.exec_total.as_secs_f64(),
    );
    let mut out = text.into_bytes();
    per_step(&mut out, "totalQueryableSamplesPerStep", &samples.total_queryable_per_step);
    out.extend_from_slice(format!("\"totalQueryableSamples\":{},", samples.total_queryable).as_bytes());
    per_step(&mut out, "samplesReadPerStep", &samples.read_per_step);
    out.extend_from_slice(format!("\"samplesRead\":{},\"peakSamples\":{}}}}}", samples.read, samples.peak).as_bytes());
    out
}

fn per_step(out: &mut Vec<u8>, name: &str, steps: &[(Timestamp, u64)]) {
    if steps.is_empty() {
        return;
    }
    out.extend_from_slice(format!("\"{name}\":").as_bytes());
    json::list(out, steps, |out, (at, count)| {
        out.push(b'[');
        json::timestamp(out, *at);
        out.push(b',');
        json::integer(out, *count);
        out.push(b']');
    });
    out.push(b',');
}
