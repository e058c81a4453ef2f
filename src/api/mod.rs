//! The HTTP API: a request value in, a response value out. No socket is known here.
//!
//! ```text
//!  Request { method, path, params } --> Api::answer --> one function an endpoint --> Response { status, body }
//! ```
//!
//! Every endpoint answers `Result<Data, ApiError>`; the envelope around it is written in one place,
//! `response`. Reading order: `params` and `moment` (what clients send), `response` and `json` (what they get), `query`, `series`,
//! `targets`, `rules`, `status`.
//!
//! The bytes are those of Prometheus 3.14: field order, float text, error types, status codes and messages.

mod admin;
mod answer;
mod error;
mod features;
mod federate;
mod json;
mod moment;
mod params;
mod query;
mod response;
mod rules;
mod series;
mod status;
mod targets;

use std::sync::Arc;

use ferula_alerting::{Notifier, RuleManager};
use ferula_model::{Clock, ExemplarQueryable, Labels, Queryable};
use ferula_promql::{CancelToken, Engine, Statistics};
use ferula_scrape::ScrapeManager;
use http::Method;

pub use admin::Admin;
pub use error::{ApiError, ErrorKind};
pub use moment::{SignedDuration, rfc3339};
pub use params::Params;
pub use response::{Body, Response};
pub use status::{BuildInfo, Cardinality, RuntimeInfo, Status, WalReplay};
pub(crate) use status::{replay, version};
pub use targets::ExternalUrl;

/// A request below `/api/v1`.
#[derive(Clone, Debug)]
pub struct Request {
    /// GET, POST, ...
    pub method: Method,
    /// The path below `/api/v1`, percent-decoded, with its leading slash: `/query`, `/label/job/values`.
    pub path: String,
    /// Query string and form.
    pub params: Params,
    /// The header `Accept`.
    pub accept: Option<String>,
    /// Is set when the client goes away.
    pub cancel: CancelToken,
}

/// The API over whatever it is given: a storage and an engine; the rest is optional.
///
/// ```
/// use std::sync::Arc;
/// use ferula::api::{Api, Params, Request};
/// use ferula::model::{ManualClock, Timestamp};
/// use ferula::promql::testing::MemoryStorage; // or any other storage of the host
/// use ferula::promql::{CancelToken, Engine, EngineOptions};
///
/// let engine = Arc::new(Engine::new(EngineOptions::default()));
/// let clock = Arc::new(ManualClock::at(Timestamp::from_millis(60_000)));
/// let api = Api::new(Arc::new(MemoryStorage::new()), engine, clock);
/// let response = api.answer(&Request {
///     method: http::Method::GET,
///     path: "/query".to_owned(),
///     params: Params::new("query=1%2B1", b""),
///     accept: None,
///     cancel: CancelToken::new(),
/// });
/// let expected = r#"{"status":"success","data":{"resultType":"scalar","result":[60,"2"]}}"#;
/// assert_eq!(response.body.collect(), expected);
/// ```
#[derive(Clone)]
pub struct Api {
    pub(crate) storage: Arc<dyn Queryable>,
    pub(crate) exemplars: Option<Arc<dyn ExemplarQueryable>>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) status: Option<Arc<dyn Status>>,
    pub(crate) external_labels: Arc<dyn Fn() -> Labels + Send + Sync>,
    pub(crate) admin: Option<Arc<dyn Admin>>,
    pub(crate) scrape: Option<Arc<ScrapeManager>>,
    pub(crate) rules: Option<Arc<RuleManager>>,
    pub(crate) notifier: Option<Arc<Notifier>>,
    pub(crate) external_url: ExternalUrl,
    pub(crate) query_observer: Arc<dyn Fn(&Statistics) + Send + Sync>,
}

impl Api {
    /// An API that answers queries over `storage`.
    pub fn new(storage: Arc<dyn Queryable>, engine: Arc<Engine>, clock: Arc<dyn Clock>) -> Self {
        Self {
            storage,
            exemplars: None,
            engine,
            clock,
            status: None,
            external_labels: Arc::new(Labels::empty),
            admin: None,
            scrape: None,
            rules: None,
            notifier: None,
            external_url: ExternalUrl::default(),
            query_observer: Arc::new(|_| {}),
        }
    }

    /// Answers `/query_exemplars` too.
    #[must_use]
    pub fn with_exemplars(mut self, exemplars: Arc<dyn ExemplarQueryable>) -> Self {
        self.exemplars = Some(exemplars);
        self
    }

    /// Answers `/status/...` too.
    #[must_use]
    pub fn with_status(mut self, status: Arc<dyn Status>) -> Self {
        self.status = Some(status);
        self
    }

    /// Labels that name this server to others, asked for when they are needed: `/federate` adds them.
    #[must_use]
    pub fn with_external_labels(mut self, labels: impl Fn() -> Labels + Send + Sync + 'static) -> Self {
        self.external_labels = Arc::new(labels);
        self
    }

    /// Answers `/targets`, `/scrape_pools` and `/metadata` from a scrape manager; without one they are empty.
    #[must_use]
    pub fn with_scrape(mut self, scrape: Arc<ScrapeManager>) -> Self {
        self.scrape = Some(scrape);
        self
    }

    /// Answers `/rules` and `/alerts` from a rule manager and `/alertmanagers` from a notifier; without them they are
    /// empty.
    #[must_use]
    pub fn with_alerting(mut self, rules: Arc<RuleManager>, notifier: Arc<Notifier>) -> Self {
        self.rules = Some(rules);
        self.notifier = Some(notifier);
        self
    }

    /// Is told what each query cost that was answered. Default: nobody.
    #[must_use]
    pub fn with_query_observer(mut self, observer: impl Fn(&Statistics) + Send + Sync + 'static) -> Self {
        self.query_observer = Arc::new(observer);
        self
    }

    /// Under which URL others reach this server. Default: `http://localhost`.
    #[must_use]
    pub fn with_external_url(mut self, url: ExternalUrl) -> Self {
        self.external_url = url;
        self
    }

    /// Allows `/admin/tsdb/...`; without this they answer that they are disabled.
    #[must_use]
    pub fn with_admin(mut self, admin: Arc<dyn Admin>) -> Self {
        self.admin = Some(admin);
        self
    }

    /// Answers `/federate`: the newest samples in the text format.
    pub fn federate(&self, request: &Request) -> Response {
        federate::answer(self, request)
            .unwrap_or_else(|error| Response::refusal(error.kind.status(), format!("{error}\n")))
    }

    /// Answers a request. This may take as long as a query may take: call it where blocking is allowed.
    pub fn answer(&self, request: &Request) -> Response {
        let Some(endpoint) = Endpoint::of(&request.path) else { return Response::not_found() };
        if !endpoint.allows(&request.method) {
            return Response::method_not_allowed(endpoint.allow);
        }
        if request.method == Method::OPTIONS {
            return Response::no_content();
        }
        self.answer_of(endpoint, request).unwrap_or_else(|error| Response::error(&error))
    }

    /// Answers a request that takes about a millisecond at most and waits for nothing, neither a lock nor a disk. `None` if
    /// it may take longer, or nobody knows: then call [`answer`](Self::answer), where blocking is allowed.
    pub fn answer_if_brief(&self, request: &Request) -> Option<Response> {
        let endpoint = Endpoint::of(&request.path).filter(|endpoint| endpoint.allows(&request.method))?;
        request.params.well_formed().ok()?;
        let question = match endpoint.handler {
            "/api/v1/query" => query::instant(self, request),
            "/api/v1/query_range" => query::range(request),
            "/api/v1/series" | "/api/v1/labels" | LABEL_VALUES if series::is_brief(self, endpoint, request) => {
                return Some(self.answer(request));
            }
            _ => return None,
        };
        // What is wrong is said by `answer`.
        let answered = question.ok()?.answer_if_brief(self, request)?;
        Some(answered.unwrap_or_else(|error| Response::error(&error)))
    }

    fn answer_of(&self, endpoint: Endpoint, request: &Request) -> Result<Response, ApiError> {
        request.params.well_formed()?;
        match endpoint.handler {
            "/api/v1/query" => query::instant(self, request)?.answer(self, request),
            "/api/v1/query_range" => query::range(request)?.answer(self, request),
            "/api/v1/query_exemplars" => query::exemplars(self, request),
            "/api/v1/format_query" => query::format(self, request),
            "/api/v1/parse_query" => query::parse(self, request),
            "/api/v1/series" => series::series(self, request),
            "/api/v1/labels" => series::label_names(self, request),
            LABEL_VALUES => series::label_values(self, request),
            "/api/v1/targets" => targets::targets(self, request),
            "/api/v1/targets/metadata" => targets::target_metadata(self, request),
            "/api/v1/metadata" => targets::metadata(self, request),
            "/api/v1/scrape_pools" => targets::pools(self),
            "/api/v1/scrape_pools/config" => targets::pool_config(self, request),
            "/api/v1/rules" => rules::rules(self, request),
            "/api/v1/alerts" => rules::alerts(self),
            "/api/v1/features" => features::answer(self),
            "/api/v1/alertmanagers" => rules::alertmanagers(self),
            "/api/v1/notifications" => Ok(Response::data(b"[]")),
            other => match (other.strip_prefix("/api/v1/status/"), other.strip_prefix("/api/v1/admin/tsdb/")) {
                (Some(page), _) => status::answer(self, request, page),
                (_, Some(call)) => admin::answer(self, request, call),
                (None, None) => Ok(Response::not_found()),
            },
        }
    }
}

/// A path below `/api/v1` that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Its name in metrics: the whole path, with `:name` where a parameter stands.
    pub(crate) handler: &'static str,
    /// The methods, as the header `Allow` lists them.
    pub(crate) allow: &'static str,
}

const GET: &str = "GET, OPTIONS";
const GET_OR_FORM: &str = "GET, OPTIONS, POST";
const CALL: &str = "OPTIONS, POST, PUT";
const LABEL_VALUES: &str = "/api/v1/label/:name/values";

/// Every endpoint and its methods.
const ENDPOINTS: &[(&str, &str)] = &[
    ("/api/v1/query", GET_OR_FORM),
    ("/api/v1/query_range", GET_OR_FORM),
    ("/api/v1/query_exemplars", GET_OR_FORM),
    ("/api/v1/format_query", GET_OR_FORM),
    ("/api/v1/parse_query", GET_OR_FORM),
    ("/api/v1/series", GET_OR_FORM),
    ("/api/v1/labels", GET_OR_FORM),
    (LABEL_VALUES, GET),
    ("/api/v1/metadata", GET),
    ("/api/v1/targets", GET),
    ("/api/v1/targets/metadata", GET),
    ("/api/v1/scrape_pools", GET),
    ("/api/v1/scrape_pools/config", GET),
    ("/api/v1/notifications", GET),
    ("/api/v1/features", GET),
    ("/api/v1/rules", GET),
    ("/api/v1/alerts", GET),
    ("/api/v1/alertmanagers", GET),
    ("/api/v1/status/config", GET),
    ("/api/v1/status/flags", GET),
    ("/api/v1/status/runtimeinfo", GET),
    ("/api/v1/status/buildinfo", GET),
    ("/api/v1/status/tsdb", GET),
    ("/api/v1/status/tsdb/blocks", GET),
    ("/api/v1/status/walreplay", GET),
    ("/api/v1/admin/tsdb/snapshot", CALL),
    ("/api/v1/admin/tsdb/delete_series", CALL),
    ("/api/v1/admin/tsdb/clean_tombstones", CALL),
];

impl Endpoint {
    /// The endpoint of a path below `/api/v1`, if there is one.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let below = |handler: &str| handler.strip_prefix("/api/v1") == Some(path);
        let found = ENDPOINTS.iter().find(|(handler, _)| below(handler));
        let (handler, allow) = match label_name(path) {
            Some(name) if !name.contains('/') => (LABEL_VALUES, GET),
            _ => *found?,
        };
        Some(Self { handler, allow })
    }

    fn allows(self, method: &Method) -> bool {
        self.allow.split(", ").any(|allowed| allowed == method.as_str())
    }
}

/// The name in `/label/<name>/values`.
fn label_name(path: &str) -> Option<&str> {
    path.strip_prefix("/label/")?.strip_suffix("/values")
}

#[cfg(test)]
mod tests;
