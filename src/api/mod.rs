//! The HTTP API: a request value in, a response value out. No socket is known here.
//!
//! ```text
//!  Request { method, path, params } --> Api::answer --> one function an endpoint --> Response { status, body }
//! ```
//!
//! Every endpoint answers `Result<Data, ApiError>`; the envelope around it is written in one place,
//! `response`. Reading order: `params` (what clients send), `response` and `json` (what they get), `query`, `series`,
//! `targets`, `rules`, `status`.
//!
//! The bytes are those of Prometheus 3.14: field order, float text, error types, status codes and messages.

mod admin;
mod answer;
mod error;
mod features;
mod federate;
mod json;
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
pub use params::{Params, SignedDuration, rfc3339};
pub use response::{Body, Response};
pub(crate) use status::replay;
pub use status::{BuildInfo, Cardinality, RuntimeInfo, Status, WalReplay};
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
            .unwrap_or_else(|error| Response::text(error.kind.status(), format!("{error}\n")))
    }

    /// Answers a request. This may take as long as a query may take: call it where blocking is allowed.
    pub fn answer(&self, request: &Request) -> Response {
        let path: Vec<&str> = request.path.split('/').skip(1).collect();
        let Some(allow) = allowed_methods(&path) else { return Response::not_found() };
        if !allow.split(", ").any(|method| method == request.method.as_str()) {
            return Response::method_not_allowed(allow);
        }
        if request.method == Method::OPTIONS {
            return Response::no_content();
        }
        let answer = match path.as_slice() {
            ["query"] => query::instant(self, request),
            ["query_range"] => query::range(self, request),
            ["query_exemplars"] => query::exemplars(self, request),
            ["format_query"] => query::format(self, request),
            ["parse_query"] => query::parse(self, request),
            ["series"] => series::series(self, request),
            ["labels"] => series::label_names(self, request),
            ["label", name, "values"] => series::label_values(self, request, name),
            ["admin", "tsdb", call] => admin::answer(self, request, call),
            ["targets"] => targets::targets(self, request),
            ["targets", "metadata"] => targets::target_metadata(self, request),
            ["metadata"] => targets::metadata(self, request),
            ["scrape_pools"] => targets::pools(self),
            ["scrape_pools", "config"] => targets::pool_config(self, request),
            ["rules"] => rules::rules(self, request),
            ["alerts"] => rules::alerts(self),
            ["features"] => features::answer(self),
            ["alertmanagers"] => rules::alertmanagers(self),
            ["notifications"] => Ok(Response::data(b"[]")),
            ["status", page @ ..] => status::answer(self, request, page),
            _ => return Response::not_found(),
        };
        answer.unwrap_or_else(|error| Response::error(&error))
    }
}

/// The methods of a path, as the header `Allow` lists them; `None` if there is no such path.
fn allowed_methods(path: &[&str]) -> Option<&'static str> {
    Some(match path {
        ["query" | "query_range" | "query_exemplars" | "format_query" | "parse_query" | "series" | "labels"] => {
            "GET, OPTIONS, POST"
        }
        ["admin", "tsdb", "snapshot" | "delete_series" | "clean_tombstones"] => "OPTIONS, POST, PUT",
        ["label", _, "values"]
        | [
            "metadata" | "targets" | "scrape_pools" | "rules" | "alerts" | "alertmanagers" | "notifications"
            | "features",
        ]
        | ["targets", "metadata"]
        | ["scrape_pools", "config"]
        | ["status", "config" | "flags" | "runtimeinfo" | "buildinfo" | "tsdb" | "walreplay"]
        | ["status", "tsdb", "blocks"] => "GET, OPTIONS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
