//! Routes: which paths exist, for which methods, and what are they called in the metrics?

use http::{Method, StatusCode};

use super::page;
use crate::api::{Endpoint, Response};

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Root,
    /// Where links of alerts lead; the page is called otherwise now.
    Graph,
    /// A page of the user interface; holds its path.
    Page(&'static str),
    Version,
    Healthy,
    Ready,
    Metrics,
    Reload,
    Quit,
    Write,
    Federate,
    /// An answer of the API.
    Api(Endpoint),
    /// Below `/api/v1`, where browsers may ask what they are allowed to even if there is nothing.
    NoEndpoint,
    Unknown,
}

impl Route {
    /// The route of a path without the prefix of the server.
    pub(super) fn of(path: &str) -> Self {
        match path {
            "/" => Route::Root,
            "/graph" => Route::Graph,
            "/version" => Route::Version,
            "/-/healthy" => Route::Healthy,
            "/-/ready" => Route::Ready,
            "/metrics" => Route::Metrics,
            "/-/reload" => Route::Reload,
            "/-/quit" => Route::Quit,
            "/api/v1/write" => Route::Write,
            "/federate" => Route::Federate,
            _ => match path.strip_prefix("/api/v1") {
                Some(below) if below.starts_with('/') => Endpoint::of(below).map_or(Route::NoEndpoint, Route::Api),
                _ => page::name(path).map_or(Route::Unknown, Route::Page),
            },
        }
    }

    /// Whether there is something.
    pub(super) fn exists(self) -> bool {
        !matches!(self, Route::NoEndpoint | Route::Unknown)
    }

    /// The value of the label `handler` in the metrics.
    pub(super) fn handler(self) -> &'static str {
        match self {
            Route::Root => "/",
            Route::Graph => "/graph",
            Route::Page(path) => path,
            Route::Version => "/version",
            Route::Healthy => "/-/healthy",
            Route::Ready => "/-/ready",
            Route::Metrics => "/metrics",
            Route::Reload => "/-/reload",
            Route::Quit => "/-/quit",
            Route::Write => "/api/v1/write",
            Route::Federate => "/federate",
            Route::Api(endpoint) => endpoint.handler,
            Route::NoEndpoint => "/api/v1/*",
            Route::Unknown => "/*",
        }
    }

    /// Refuses a method that the path does not have, and answers those who only ask for the methods.
    pub(super) fn refuse(self, method: &Method) -> Option<Response> {
        let is_api = matches!(self, Route::Api(_) | Route::Write | Route::NoEndpoint);
        let Some(allow) = self.allow() else {
            return Some(if is_api && method == Method::OPTIONS {
                Response::no_content()
            } else {
                Response::not_found()
            });
        };
        if method != Method::OPTIONS {
            let is_allowed = allow.split(", ").any(|allowed| allowed == method.as_str());
            return (!is_allowed).then(|| Response::method_not_allowed(allow));
        }
        Some(if is_api { Response::no_content() } else { Response::empty(StatusCode::OK).with_header("allow", allow) })
    }

    /// The methods of the route, as the header `Allow` lists them; `None` if there is no such path.
    fn allow(self) -> Option<&'static str> {
        match self {
            Route::Healthy | Route::Ready => Some("GET, HEAD, OPTIONS"),
            Route::Root | Route::Graph | Route::Page(_) | Route::Version | Route::Metrics | Route::Federate => {
                Some("GET, OPTIONS")
            }
            Route::Write => Some("OPTIONS, POST"),
            // Who reads gets an explanation.
            Route::Reload | Route::Quit => Some("GET, OPTIONS, POST, PUT"),
            Route::Api(endpoint) => Some(endpoint.allow),
            Route::NoEndpoint | Route::Unknown => None,
        }
    }

    /// Whether answers may be compressed.
    pub(super) fn is_compressed(self) -> bool {
        matches!(self, Route::Api(_) | Route::Metrics | Route::Federate)
    }

    /// Whether pages of other origins may read what is answered.
    pub(super) fn is_shared(self, method: &Method) -> bool {
        match self {
            Route::Api(_) => true,
            Route::Write | Route::NoEndpoint => method == Method::OPTIONS,
            _ => false,
        }
    }
}
