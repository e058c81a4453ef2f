//! Routes: which paths exist, and what their metrics are called.

use http::{HeaderMap, Method, StatusCode, header};

use crate::api::Response;

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Root,
    Healthy,
    Ready,
    Metrics,
    Reload,
    Quit,
    Write,
    Federate,
    /// `/api/v1/...`; holds the name for metrics.
    Api(&'static str),
    Preflight,
    Unknown,
}

/// Paths below `/api/v1`, for the metrics; a parameter stands as `:name`.
const API_PATHS: &[&str] = &[
    "/api/v1/query",
    "/api/v1/query_range",
    "/api/v1/query_exemplars",
    "/api/v1/format_query",
    "/api/v1/parse_query",
    "/api/v1/series",
    "/api/v1/labels",
    "/api/v1/metadata",
    "/api/v1/targets",
    "/api/v1/targets/metadata",
    "/api/v1/scrape_pools",
    "/api/v1/scrape_pools/config",
    "/api/v1/notifications",
    "/api/v1/features",
    "/api/v1/rules",
    "/api/v1/alerts",
    "/api/v1/alertmanagers",
    "/api/v1/status/config",
    "/api/v1/status/flags",
    "/api/v1/status/runtimeinfo",
    "/api/v1/status/buildinfo",
    "/api/v1/status/tsdb",
    "/api/v1/status/tsdb/blocks",
    "/api/v1/status/walreplay",
    "/api/v1/admin/tsdb/snapshot",
    "/api/v1/admin/tsdb/delete_series",
    "/api/v1/admin/tsdb/clean_tombstones",
];

impl Route {
    /// The route of a path without the prefix of the server.
    pub(super) fn of(path: &str) -> Self {
        match path {
            "" | "/" => Route::Root,
            "/-/healthy" => Route::Healthy,
            "/-/ready" => Route::Ready,
            "/metrics" => Route::Metrics,
            "/-/reload" => Route::Reload,
            "/-/quit" => Route::Quit,
            "/api/v1/write" => Route::Write,
            "/federate" => Route::Federate,
            _ => Self::below_api(path),
        }
    }

    fn below_api(path: &str) -> Self {
        if let Some(known) = API_PATHS.iter().find(|known| **known == path) {
            return Route::Api(known);
        }
        match path.strip_prefix("/api/v1/") {
            Some(rest) if rest.starts_with("label/") && rest.ends_with("/values") => {
                Route::Api("/api/v1/label/:name/values")
            }
            Some(_) => Route::Preflight,
            None => Route::Unknown,
        }
    }

    /// The value of the label `handler` in the metrics.
    pub(super) fn handler(self) -> &'static str {
        match self {
            Route::Root => "/",
            Route::Healthy => "/-/healthy",
            Route::Ready => "/-/ready",
            Route::Metrics => "/metrics",
            Route::Reload => "/-/reload",
            Route::Quit => "/-/quit",
            Route::Write => "/api/v1/write",
            Route::Federate => "/federate",
            Route::Api(path) => path,
            Route::Preflight => "/api/v1/*",
            Route::Unknown => "/*",
        }
    }

    /// Whether answers may be compressed.
    pub(super) fn is_compressed(self) -> bool {
        matches!(self, Route::Api(_) | Route::Metrics | Route::Federate)
    }
}

/// Whether the body holds parameters.
pub(super) fn is_form<B>(request: &http::Request<B>) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    matches!(*request.method(), Method::POST | Method::PUT)
        && content_type.is_some_and(|text| text.starts_with("application/x-www-form-urlencoded"))
}

/// Refuses a remote-write request whose headers announce something else than protobuf 1.0 in snappy.
pub(super) fn write_headers(headers: &HeaderMap) -> Result<(), Response> {
    let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok()).unwrap_or_default();
    let unsupported = |what: String| Err(Response::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, what));
    let content_type = text(header::CONTENT_TYPE);
    let mut parts = content_type.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    let proto = parts.find_map(|part| part.strip_prefix("proto=")).unwrap_or("prometheus.WriteRequest");
    if !matches!(media, "" | "application/x-protobuf") {
        return unsupported(format!(
            "expected application/x-protobuf as the first (media) part, got {content_type} content-type\n"
        ));
    }
    if proto != "prometheus.WriteRequest" {
        return unsupported(format!(
            "{proto} protobuf message is not accepted by this server; only accepts prometheus.WriteRequest\n"
        ));
    }
    match text(header::CONTENT_ENCODING) {
        "" | "snappy" => Ok(()),
        other => unsupported(format!(
            "{other} encoding (compression) is not accepted by this server; only snappy is acceptable\n"
        )),
    }
}
