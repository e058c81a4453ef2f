//! The HTTP server: which door does a request go through?
//!
//! ```text
//!  connection --listen--> http::Request --handle--> /api/v1/...   Api (on a blocking thread)
//!                                               --> /api/v1/write WriteReceiver
//!                                               --> /metrics      the host's registry
//!                                               --> /-/...        health, readiness, lifecycle
//! ```
//!
//! `incoming` reads requests and `outgoing` writes answers; `route` knows the paths and their methods, `path` those that are almost right, `write` what is asked of a remote write.
//! Statuses, headers and texts of refusals are those of Prometheus.
//!
//! A host that has a server of its own calls [`Server::handle`] with its requests; `listen` does the same for
//! connections of its own socket. Queries run on tokio's blocking threads, not on the workers that serve sockets, but for those
//! that are known to take about a millisecond at most and need no disk ([`Api::answer_if_brief`]): to hand them over would
//! take longer. A client that goes away cancels its query.

mod body;
mod cors;
mod incoming;
pub(crate) mod listen;
mod outgoing;
mod page;
mod path;
mod route;
mod write;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ferula_exposition::negotiate::Negotiated;
use ferula_exposition::{MetricFamily, encode_with};
use ferula_promql::CancelToken;
use http::{HeaderValue, Method, StatusCode, Uri, header};

pub use body::ResponseBody;
pub use cors::Cors;

use crate::api::{self, Api, BuildInfo, Params, Response, WalReplay};
use crate::remote::write::WriteReceiver;
use body::Coding;
use incoming::{FORM_BYTES_MAX, Request, WRITE_BYTES_MAX, accept, accepted_coding, drain, is_form, read};
use outgoing::finish;
use route::Route;
use write::RefusalLog;

/// What the server does when it is told to reload or to quit.
pub trait Lifecycle: Send + Sync {
    /// Reads the configuration again. The error is shown to the client.
    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>>;

    /// Begins to shut down.
    fn quit(&self);
}

/// Sees every request once it is answered.
pub trait RequestObserver: Send + Sync {
    /// `handler` is the route (`/api/v1/query`), `body_bytes` the size of the body if it was known.
    fn observe(&self, handler: &'static str, status: StatusCode, seconds: f64, body_bytes: Option<u64>);
}

/// Gives the host's own metrics.
pub type MetricsSource = Arc<dyn Fn() -> Vec<MetricFamily> + Send + Sync>;

/// Whether the server is ready for queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Readiness {
    /// Still opening the storage.
    Starting = 0,
    /// Ready.
    Ready = 1,
    /// Shutting down.
    Stopping = 2,
}

/// What stands behind the routes that need a storage.
pub struct Doors {
    /// `/api/v1/...` and `/federate`.
    pub api: Api,
    /// `/api/v1/write`; without this the path answers 404.
    pub write: Option<WriteReceiver>,
    /// `/-/reload` and `/-/quit`; without this they answer 403.
    pub lifecycle: Option<Arc<dyn Lifecycle>>,
}

/// The routes and what stands behind them.
///
/// A host mounts it in its own server: each request goes in, each answer comes out.
///
/// ```
/// use ferula::Monitor;
/// # fn main() -> Result<(), ferula::Error> {
/// # let folder = tempfile::tempdir().expect("a folder");
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime").block_on(async {
/// let monitor = Monitor::builder(folder.path()).route_prefix("/monitoring").start().await?;
/// let server = monitor.server();
/// let request = http::Request::get("/monitoring/-/healthy").body(http_body_util::Empty::new()).expect("a request");
/// assert_eq!(server.handle(request).await.status(), 200);
/// monitor.closed().await
/// # })
/// # }
/// ```
pub struct Server {
    doors: OnceLock<Arc<Doors>>,
    metrics: Option<MetricsSource>,
    observer: Option<Arc<dyn RequestObserver>>,
    replay: Option<Arc<dyn Fn() -> WalReplay + Send + Sync>>,
    cors: Cors,
    read_timeout: Duration,
    route_prefix: String,
    /// The path of the URL under which others reach the server.
    external_path: String,
    /// The answer of `/version`.
    version: Option<Bytes>,
    refusals: Arc<RefusalLog>,
    readiness: AtomicU8,
}

impl Server {
    /// A server whose doors are closed: it says that it is healthy and not ready, and shows its metrics, until
    /// [`open`](Self::open). So a server can be reached while its storage is still being replayed.
    pub fn closed() -> Self {
        Self {
            doors: OnceLock::new(),
            metrics: None,
            observer: None,
            replay: None,
            cors: Cors::any(),
            read_timeout: Duration::from_secs(300),
            route_prefix: String::new(),
            external_path: String::new(),
            version: None,
            refusals: Arc::default(),
            readiness: AtomicU8::new(Readiness::Starting as u8),
        }
    }

    /// A server for an API alone. It is ready at once.
    pub fn new(api: Api) -> Self {
        let server = Self::closed();
        server.open(Doors { api, write: None, lifecycle: None });
        server
    }

    /// Opens the doors and says that the server is ready. Doors that are open stay as they are.
    pub fn open(&self, doors: Doors) {
        // Who comes second changes nothing, as documented.
        let _ = self.doors.set(Arc::new(doors));
        self.set_readiness(Readiness::Ready);
    }

    /// Serves the host's metrics at `/metrics`.
    #[must_use]
    pub fn with_metrics(mut self, metrics: MetricsSource) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Counts requests.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn RequestObserver>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Says how far the replay is while the doors are still closed.
    #[must_use]
    pub fn with_wal_replay(mut self, replay: impl Fn() -> WalReplay + Send + Sync + 'static) -> Self {
        self.replay = Some(Arc::new(replay));
        self
    }

    /// How long a client may take to send the body of a request; five minutes by default, zero is no limit.
    #[must_use]
    pub fn with_read_timeout(mut self, timeout: Duration) -> Self {
        self.read_timeout = timeout;
        self
    }

    /// Which origins a browser may ask from; any by default.
    #[must_use]
    pub fn with_cors(mut self, cors: Cors) -> Self {
        self.cors = cors;
        self
    }

    /// Serves below a path, `/prometheus` for instance.
    #[must_use]
    pub fn with_route_prefix(mut self, prefix: &str) -> Self {
        self.route_prefix = prefix.trim_end_matches('/').to_owned();
        self
    }

    /// The path of the URL under which others reach the server, for redirects to its pages; the empty one by default. It is
    /// not the [route prefix](Self::with_route_prefix) where a proxy cuts that off or puts something before it.
    #[must_use]
    pub fn with_external_path(mut self, path: &str) -> Self {
        self.external_path = path.trim_end_matches('/').to_owned();
        self
    }

    /// Says at `/version` which build this is; without it the path answers 404.
    #[must_use]
    pub fn with_version(mut self, build: &BuildInfo) -> Self {
        self.version = Some(api::version(build).into());
        self
    }

    /// Says whether queries are answered (503 otherwise).
    pub fn set_readiness(&self, readiness: Readiness) {
        self.readiness.store(readiness as u8, Ordering::Release);
    }

    fn readiness(&self) -> Readiness {
        match self.readiness.load(Ordering::Acquire) {
            0 => Readiness::Starting,
            1 => Readiness::Ready,
            _ => Readiness::Stopping,
        }
    }

    /// Answers one request. Needs a tokio runtime around it.
    pub async fn handle<B>(&self, request: http::Request<B>) -> http::Response<ResponseBody>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let began = Instant::now();
        let (route, path) = match self.locate(request.uri(), request.method()) {
            Ok(located) => located,
            Err(elsewhere) => {
                drain(request.into_body()).await;
                return finish(elsewhere, Coding::Plain);
            }
        };
        let mut request = request.map(Some);
        let method = request.method().clone();
        let origin = request.headers().get(header::ORIGIN).cloned();
        let coding = if route.is_compressed() { accepted_coding(&request) } else { Coding::Plain };
        let is_shared = route.is_shared(&method);
        let (mut response, is_shared) = match route.refuse(&method) {
            Some(refusal) => (finish(refusal, Coding::Plain), is_shared && method == Method::OPTIONS),
            None => {
                let mut response = finish(self.dispatch(route, path, &mut request).await, coding);
                if route.is_compressed() {
                    response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
                }
                (response, is_shared)
            }
        };
        if let Some(rest) = request.body_mut().take() {
            drain(rest).await;
        }
        if is_shared {
            self.cors.apply(origin.as_ref(), response.headers_mut());
        }
        if let Some(observer) = &self.observer {
            let size = http_body::Body::size_hint(response.body()).exact();
            observer.observe(route.handler(), response.status(), began.elapsed().as_secs_f64(), size);
        }
        response
    }

    /// The route of a request and its path below the prefix, percent-decoded; or where to go instead.
    fn locate(&self, uri: &Uri, method: &Method) -> Result<(Route, String), Response> {
        let query = uri.query();
        if let Some(cleaned) = path::clean(uri.path()) {
            return Err(path::redirect(StatusCode::MOVED_PERMANENTLY, &cleaned, query, method));
        }
        let prefix = self.route_prefix.as_str();
        let below = match uri.path().strip_prefix(prefix) {
            Some(below) if below.starts_with('/') => below,
            Some("") if method == Method::GET => {
                return Err(path::redirect(StatusCode::MOVED_PERMANENTLY, &format!("{prefix}/"), query, method));
            }
            None if uri.path() == "/" && method == Method::GET => {
                return Err(path::redirect(StatusCode::FOUND, prefix, None, method));
            }
            _ => return Err(Response::not_found()),
        };
        if let Some(shorter) = path::without_slash(below) {
            let status =
                if method == Method::GET { StatusCode::MOVED_PERMANENTLY } else { StatusCode::TEMPORARY_REDIRECT };
            return Err(path::redirect(status, &format!("{prefix}{shorter}"), query, method));
        }
        let path = percent_encoding::percent_decode_str(below).decode_utf8().map_err(|_| Response::not_found())?;
        Ok((Route::of(&path), path.into_owned()))
    }

    /// Answers a request whose method the route has.
    async fn dispatch<B>(&self, route: Route, path: String, request: &mut Request<B>) -> Response
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match route {
            Route::Api(endpoint) if endpoint.handler == "/api/v1/status/walreplay" && self.doors.get().is_none() => {
                self.replay.as_ref().map_or_else(|| self.unavailable(), |replay| api::replay(replay()))
            }
            Route::Api(_) => self.ask(path, request, Api::answer_if_brief, Api::answer).await,
            Route::Federate => self.ask(path, request, |_, _| None, Api::federate).await,
            Route::Write => self.receive(request).await,
            Route::Metrics => self.own_metrics(accept(request.headers())),
            Route::Reload | Route::Quit => self.control(route, request.method()).await,
            Route::Healthy | Route::Ready if request.method() == Method::HEAD => {
                let ready = route == Route::Healthy || self.readiness() == Readiness::Ready;
                if ready { Response::empty(StatusCode::OK) } else { self.unavailable() }
            }
            Route::Healthy => Response::text(StatusCode::OK, "Prometheus Server is Healthy.\n"),
            Route::Ready if self.readiness() == Readiness::Ready => {
                Response::text(StatusCode::OK, "Prometheus Server is Ready.\n")
            }
            Route::Ready => self.unavailable(),
            Route::Version => match &self.version {
                Some(version) => Response::text(StatusCode::OK, version.clone()),
                None => Response::not_found(),
            },
            Route::Root => self.go_home(None, request.method()),
            Route::Graph => self.go_home(Some(request.uri().query().unwrap_or_default()), request.method()),
            Route::Page(page) => Response::page(page::write(page, request.uri().query().unwrap_or_default())),
            Route::NoEndpoint | Route::Unknown => Response::not_found(),
        }
    }

    fn go_home(&self, query: Option<&str>, method: &Method) -> Response {
        path::redirect(StatusCode::FOUND, &format!("{}{}", self.external_path, page::HOME), query, method)
    }

    /// What stands behind the doors, if they are open and the server is not shutting down.
    fn doors(&self) -> Result<&Arc<Doors>, Response> {
        let open = self.doors.get().filter(|_| self.readiness() == Readiness::Ready);
        open.ok_or_else(|| self.unavailable())
    }

    fn unavailable(&self) -> Response {
        let stopping = if self.readiness() == Readiness::Stopping { "true" } else { "false" };
        Response::text(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")
            .with_header("x-prometheus-stopping", stopping)
    }

    fn own_metrics(&self, accept: Option<&str>) -> Response {
        let Some(metrics) = &self.metrics else { return Response::not_found() };
        let negotiated = Negotiated::from_accept(accept);
        let mut body = Vec::new();
        encode_with(&metrics(), negotiated.format(), &negotiated.options(), &mut body);
        Response::exposition(negotiated.content_type(), body)
    }

    async fn control(&self, route: Route, method: &Method) -> Response {
        if *method != Method::POST && *method != Method::PUT {
            return Response::text(StatusCode::METHOD_NOT_ALLOWED, "Only POST or PUT requests allowed");
        }
        let lifecycle = match self.doors() {
            Ok(doors) => &doors.lifecycle,
            Err(refusal) => return refusal,
        };
        let Some(lifecycle) = lifecycle else {
            return Response::text(StatusCode::FORBIDDEN, "Lifecycle API is not enabled.");
        };
        if matches!(route, Route::Quit) {
            lifecycle.quit();
            return Response::text(StatusCode::OK, "Requesting termination... Goodbye!");
        }
        match lifecycle.reload().await {
            Ok(()) => Response::empty(StatusCode::OK),
            Err(error) => {
                Response::refusal(StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload config: {error}\n"))
            }
        }
    }

    async fn receive<B>(&self, request: &mut Request<B>) -> Response
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let receiver = match self.doors().map(|doors| doors.write.clone()) {
            Ok(Some(receiver)) => receiver,
            Ok(None) => {
                let hint = "remote write receiver needs to be enabled with --web.enable-remote-write-receiver\n";
                return Response::refusal(StatusCode::NOT_FOUND, hint);
            }
            Err(refusal) => return refusal,
        };
        let body = match write::check_headers(request.headers()) {
            Ok(()) => read(request, WRITE_BYTES_MAX, self.read_timeout).await,
            Err(refusal) => Err(refusal),
        };
        let body = match body {
            Ok(body) => body,
            Err(refusal) => {
                self.refusals.refused(&refusal);
                return refusal;
            }
        };
        let refusals = Arc::clone(&self.refusals);
        let stored = blocking(move || write::store(&receiver, &body, &refusals)).await;
        stored.unwrap_or_else(|| Response::refusal(StatusCode::INTERNAL_SERVER_ERROR, "write was interrupted\n"))
    }

    async fn ask<B>(
        &self,
        mut path: String,
        request: &mut Request<B>,
        answer_if_brief: fn(&Api, &api::Request) -> Option<Response>,
        answer: fn(&Api, &api::Request) -> Response,
    ) -> Response
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let doors = match self.doors() {
            Ok(doors) => Arc::clone(doors),
            Err(refusal) => return refusal,
        };
        let form = match is_form(request) {
            false => Bytes::new(),
            true => match read(request, FORM_BYTES_MAX, self.read_timeout).await {
                Ok(body) => body,
                Err(refusal) => return refusal,
            },
        };
        if path.starts_with("/api/v1") {
            path.drain(.."/api/v1".len());
        }
        let cancel = CancelToken::new();
        let asked = api::Request {
            method: request.method().clone(),
            path,
            params: Params::new(request.uri().query().unwrap_or_default(), &form),
            accept: accept(request.headers()).map(str::to_owned),
            cancel: cancel.clone(),
        };
        if let Some(brief) = answer_if_brief(&doors.api, &asked) {
            return brief;
        }
        // If the client goes away, hyper drops this future and with it the guard.
        let _guard = CancelOnDrop(cancel);
        let answered = blocking(move || answer(&doors.api, &asked)).await;
        answered.unwrap_or_else(|| Response::refusal(StatusCode::INTERNAL_SERVER_ERROR, "request was interrupted\n"))
    }
}

struct CancelOnDrop(CancelToken);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Runs `work` where blocking is allowed; `None` if it was interrupted because the runtime shuts down.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}
