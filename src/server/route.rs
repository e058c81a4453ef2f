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

    /// The methods of the route, as the header `Allow` lists them; `None` if there is no such path. Those of the API are
    /// the API's matter.
    pub(super) fn allow(self) -> Option<&'static str> {
        match self {
            Route::Root | Route::Healthy | Route::Ready => Some("GET, HEAD, OPTIONS"),
            Route::Metrics | Route::Federate => Some("GET, OPTIONS"),
            Route::Write => Some("OPTIONS, POST"),
            Route::Reload | Route::Quit | Route::Api(_) | Route::Preflight | Route::Unknown => None,
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
    if !matches!(parts.next().unwrap_or_default(), "" | "application/x-protobuf") {
        return unsupported(format!(
            "expected application/x-protobuf as the first (media) part, got {content_type} content-type\n"
        ));
    }
    let mut proto = "prometheus.WriteRequest";
    for part in parts {
        match part.split_once('=') {
            Some((name, value)) if !value.contains('=') => {
                if name == "proto" {
                    proto = value;
                    break;
                }
            }
            _ => {
                return unsupported(format!(
                    "as per https://www.rfc-editor.org/rfc/rfc9110#parameter expected parameters to be key-values, \
                     got {part} in {content_type} content-type\n"
                ));
            }
        }
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_content_type_must_be_that_of_remote_write_one() {
        let judge = |content_type: &'static str| {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))]);
            write_headers(&headers).map_err(|refusal| String::from_utf8(refusal.body.collect().to_vec()))
        };
        for fine in [
            "",
            "application/x-protobuf",
            "application/x-protobuf;=",
            "application/x-protobuf;a=b; proto=prometheus.WriteRequest",
            "application/x-protobuf;proto=prometheus.WriteRequest;rest",
        ] {
            assert_eq!(judge(fine), Ok(()), "{fine}");
        }
        for (wrong, part) in [
            ("application/x-protobuf;;", ""),
            ("application/x-protobuf;foo", "foo"),
            ("application/x-protobuf;a=b=c", "a=b=c"),
        ] {
            let text = format!(
                "as per https://www.rfc-editor.org/rfc/rfc9110#parameter expected parameters to be key-values, \
                 got {part} in {wrong} content-type\n"
            );
            assert_eq!(judge(wrong), Err(Ok(text)));
        }
        let text = "expected application/x-protobuf as the first (media) part, got ct;;=; content-type\n";
        assert_eq!(judge("ct;;=;"), Err(Ok(text.to_owned())));
        assert!(judge("application/x-protobuf;proto=io.prometheus.write.v2.Request").is_err());
    }
}
