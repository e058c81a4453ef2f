//! The HTTP server: which door does a request go through?
//!
//! ```text
//!  connection --listen--> http::Request --handle--> /api/v1/...   Api (on a blocking thread)
//!                                               --> /api/v1/write WriteReceiver
//!                                               --> /metrics      the host's registry
//!                                               --> /-/...        health, readiness, lifecycle
//! ```
//!
//! A host that has a server of its own calls [`Server::handle`] with its requests; `listen` does the same for
//! connections of its own socket. Queries run on tokio's blocking threads, never on the workers that serve sockets; a
//! client that goes away cancels its query.

mod body;
mod cors;
pub(crate) mod listen;
mod route;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ferula_exposition::negotiate::Negotiated;
use ferula_exposition::{MetricFamily, encode_with};
use ferula_promql::CancelToken;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Limited};

pub use body::ResponseBody;
pub use cors::Cors;

use crate::api::{self, Api, Params, Response, WalReplay};
use crate::remote::write::WriteReceiver;
use body::Coding;
use route::Route;

/// A form may be this large, as in Go's `ParseForm`.
const FORM_BYTES_MAX: usize = 10 << 20;

/// A remote-write request may be this large.
const WRITE_BYTES_MAX: usize = 32 << 20;

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
    doors: OnceLock<Doors>,
    metrics: Option<MetricsSource>,
    observer: Option<Arc<dyn RequestObserver>>,
    replay: Option<Arc<dyn Fn() -> WalReplay + Send + Sync>>,
    cors: Cors,
    read_timeout: Duration,
    route_prefix: String,
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
        let _ = self.doors.set(doors);
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

    /// How long a client may take to send the body of a request; five minutes by default.
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
        let origin = request.headers().get(header::ORIGIN).cloned();
        let coding = accepted_coding(&request);
        let Some(path) = self.path_below_prefix(request.uri().path()) else {
            return finish(Response::not_found(), Coding::Plain);
        };
        let route = Route::of(&path);
        let coding = if route.is_compressed() { coding } else { Coding::Plain };
        let response = self.dispatch(route, path, request).await;
        let mut response = finish(response, coding);
        self.cors.apply(origin.as_ref(), response.headers_mut());
        if let Some(observer) = &self.observer {
            let size = http_body::Body::size_hint(response.body()).exact();
            observer.observe(route.handler(), response.status(), began.elapsed().as_secs_f64(), size);
        }
        response
    }

    fn path_below_prefix(&self, path: &str) -> Option<String> {
        let below = path.strip_prefix(self.route_prefix.as_str())?;
        let decoded = percent_encoding::percent_decode_str(below).decode_utf8().ok()?;
        Some(decoded.into_owned())
    }

    async fn dispatch<B>(&self, route: Route, path: String, request: http::Request<B>) -> Response
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let method = request.method().clone();
        let reads = method == Method::GET || method == Method::HEAD;
        match route {
            Route::Api(_) | Route::Write | Route::Preflight if method == Method::OPTIONS => Response::no_content(),
            Route::Healthy if reads => Response::text(StatusCode::OK, "Prometheus Server is Healthy.\n"),
            Route::Ready if reads => self.ready(),
            Route::Metrics if method == Method::GET => self.own_metrics(accept(request.headers())),
            Route::Reload | Route::Quit => self.control(route, &method).await,
            Route::Write if method == Method::POST => self.receive(request).await,
            Route::Api("/api/v1/status/walreplay") if self.doors.get().is_none() => match &self.replay {
                Some(replay) => api::replay(replay()),
                None => self.unavailable(),
            },
            Route::Api(_) => self.ask(path, request, Api::answer).await,
            Route::Federate if method == Method::GET => self.ask(path, request, Api::federate).await,
            Route::Root if reads => Response::page(ROOT_PAGE),
            _ => match route.allow() {
                Some(allow) if method == Method::OPTIONS => {
                    Response::text(StatusCode::OK, "").with_header("allow", allow)
                }
                Some(allow) => Response::method_not_allowed(allow),
                None => Response::not_found(),
            },
        }
    }

    /// What stands behind the doors, if they are open and the server is not shutting down.
    fn doors(&self) -> Result<&Doors, Response> {
        let open = self.doors.get().filter(|_| self.readiness() == Readiness::Ready);
        open.ok_or_else(|| self.unavailable())
    }

    fn unavailable(&self) -> Response {
        let stopping = if self.readiness() == Readiness::Stopping { "true" } else { "false" };
        Response::text(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")
            .with_header("x-prometheus-stopping", stopping)
    }

    fn ready(&self) -> Response {
        match self.readiness() {
            Readiness::Ready => Response::text(StatusCode::OK, "Prometheus Server is Ready.\n"),
            _ => self.unavailable(),
        }
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
            Ok(()) => Response::text(StatusCode::OK, ""),
            Err(error) => {
                Response::text(StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload config: {error}\n"))
            }
        }
    }

    async fn receive<B>(&self, request: http::Request<B>) -> Response
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let receiver = match self.doors().map(|doors| doors.write.clone()) {
            Ok(Some(receiver)) => receiver,
            Ok(None) => return Response::not_found(),
            Err(refusal) => return refusal,
        };
        if let Err(refusal) = route::write_headers(request.headers()) {
            return refusal;
        }
        let body = match self.read(request, WRITE_BYTES_MAX).await {
            Ok(body) => body,
            Err(refusal) => return refusal,
        };
        match blocking(move || receiver.write(&body)).await {
            Some(Ok(_)) => Response::no_content(),
            Some(Err(error)) => Response::text(error.status(), format!("{error}\n")),
            None => Response::text(StatusCode::INTERNAL_SERVER_ERROR, "write was interrupted\n"),
        }
    }

    async fn ask<B>(
        &self,
        path: String,
        request: http::Request<B>,
        answer: fn(&Api, &api::Request) -> Response,
    ) -> Response
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let api = match self.doors() {
            Ok(doors) => doors.api.clone(),
            Err(refusal) => return refusal,
        };
        let method = request.method().clone();
        let accept = accept(request.headers()).map(str::to_owned);
        let query = request.uri().query().unwrap_or_default().to_owned();
        let form = match route::is_form(&request) {
            false => Bytes::new(),
            true => match self.read(request, FORM_BYTES_MAX).await {
                Ok(body) => body,
                Err(refusal) => return refusal,
            },
        };
        let cancel = CancelToken::new();
        let path = path.strip_prefix("/api/v1").unwrap_or(&path).to_owned();
        let request = api::Request { method, path, params: Params::new(&query, &form), accept, cancel: cancel.clone() };
        // If the client goes away, hyper drops this future and with it the guard.
        let _guard = CancelOnDrop(cancel);
        let answered = blocking(move || answer(&api, &request)).await;
        answered.unwrap_or_else(|| Response::text(StatusCode::INTERNAL_SERVER_ERROR, "request was interrupted\n"))
    }

    async fn read<B>(&self, request: http::Request<B>, bytes_max: usize) -> Result<Bytes, Response>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let body = Limited::new(request.into_body(), bytes_max).collect();
        match tokio::time::timeout(self.read_timeout, body).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                Err(Response::text(StatusCode::PAYLOAD_TOO_LARGE, "http: request body too large\n"))
            }
            Ok(Err(error)) => Err(Response::text(StatusCode::BAD_REQUEST, format!("{error}\n"))),
            Err(_) => {
                Err(Response::text(StatusCode::REQUEST_TIMEOUT, "the body of the request did not come in time\n"))
            }
        }
    }
}

const ROOT_PAGE: &str = "<!doctype html><title>Ferula</title><h1>Ferula</h1><p>Try <a href=\"metrics\">/metrics</a>, \
<a href=\"api/v1/targets\">/api/v1/targets</a>, <a href=\"api/v1/query?query=up\">/api/v1/query?query=up</a>.</p>\n";

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

fn accept(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::ACCEPT).and_then(|value| value.to_str().ok())
}

fn accepted_coding<B>(request: &http::Request<B>) -> Coding {
    let header = request.headers().get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    header.map_or(Coding::Plain, Coding::accepted)
}

fn finish(response: Response, coding: Coding) -> http::Response<ResponseBody> {
    let mut out = http::Response::new(ResponseBody::new(response.body, coding));
    *out.status_mut() = response.status;
    let headers = out.headers_mut();
    if let Some(content_type) = &response.content_type {
        // Media types are made here, of ASCII.
        if let Ok(value) = HeaderValue::from_str(content_type) {
            headers.insert(header::CONTENT_TYPE, value);
        }
    }
    for (name, value) in response.headers {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Some(name) = coding.name().filter(|_| response.content_type.is_some()) {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
    }
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    out
}
