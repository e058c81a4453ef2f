//! The client: a request in, a whole answer out.
//!
//! ```text
//!  request --auth--> hyper pool --connect--> [proxy] [tls] --> server
//!     ^             [or line]
//!     |                  |
//!     +--- redirect -----+----> body: gzip, limit, deadline --> bytes
//! ```
//!
//! Connections and pooling are hyper's; the policy around them is here: who the client says it is ([`auth`],
//! [`oauth2`]), how it gets there ([`connect`], [`proxy`], `tls`), what is kept for a caller who comes again ([`mod@line`]),
//! where it follows ([`redirect`]) and how much it reads ([`body`]).

mod auth;
mod bell;
pub(crate) mod body;
mod connect;
mod line;
mod oauth2;
mod proxy;
mod redirect;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "libdeflate")]
mod whole;

pub use body::BodyBuffer;
pub use line::Line;
pub use proxy::ProxyEnvironment;

use std::future::Future;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body_util::Full;
use hyper::body::Body as _;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::config::HttpClientConfig;
use crate::error::{BuildError, Cause, Error};
use auth::Credentials;
use connect::{Connector, History};
use line::AnswerBody;
use proxy::ProxyRules;

/// As upstream: idle connections close after five minutes.
const IDLE_TIMEOUT: Duration = Duration::from_mins(5);
/// As upstream: so many idle connections are kept to each host.
const IDLE_PER_HOST_MAX: usize = 1000;
const REDIRECTS_MAX: usize = 10;

/// How long an answer may take and how big it may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the start of the request to the last byte of the answer, redirects included.
    pub timeout: Duration,
    /// Bytes of the body, after decompression. It is enforced while reading: no more than this is ever held.
    pub body_bytes_max: u64,
}

impl Limits {
    /// A deadline, and 64 MiB of body.
    pub const fn timeout(timeout: Duration) -> Self {
        Self { timeout, body_bytes_max: 64 << 20 }
    }

    /// The same with another limit of the body.
    #[must_use]
    pub const fn body_bytes_max(mut self, bytes: u64) -> Self {
        self.body_bytes_max = bytes;
        self
    }
}

/// An HTTP client as an `<http_config>` describes it. A clone shares connections and tokens.
///
/// ```
/// use std::time::Duration;
/// use bytes::Bytes;
/// use ferula_http::{Client, HttpClientConfig, Limits};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let client = Client::new(&HttpClientConfig::default())?;
/// let request = http::Request::get("http://127.0.0.1:1/metrics").body(Bytes::new())?;
/// let error = client.send(request, &Limits::timeout(Duration::from_secs(5))).await.unwrap_err();
/// assert!(error.to_string().ends_with("connect: connection refused"));
/// # Ok(()) })
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    pool: legacy::Client<Connector, Full<Bytes>>,
    connector: Connector,
    credentials: Credentials,
    proxy: ProxyRules,
    user_agent: Option<HeaderValue>,
    follow_redirects: bool,
}

/// What a [`Client`] can be told beyond its configuration.
#[derive(Clone, Debug)]
pub struct ClientBuilder<'a> {
    config: &'a HttpClientConfig,
    user_agent: Option<String>,
    environment: ProxyEnvironment,
    unix_socket: Option<PathBuf>,
}

impl ClientBuilder<'_> {
    /// The `User-Agent` of requests that bring none.
    #[must_use]
    pub fn user_agent(mut self, text: impl Into<String>) -> Self {
        self.user_agent = Some(text.into());
        self
    }

    /// The proxies that `proxy_from_environment` means. Default: none, since libraries read no environment.
    #[must_use]
    pub fn proxy_environment(mut self, environment: ProxyEnvironment) -> Self {
        self.environment = environment;
        self
    }

    /// Connects to this UNIX socket, whatever host the URL names.
    #[must_use]
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.unix_socket = Some(path.into());
        self
    }

    /// Builds the client. No connection is made yet, but files of certificates are read once.
    ///
    /// # Errors
    ///
    /// The configuration is not valid, or names certificates that cannot be used.
    pub fn build(self) -> Result<Client, BuildError> {
        let config = self.config.clone().validated()?;
        let proxy = ProxyRules::new(&config.proxy, &self.environment)?;
        let connector = Connector::new(&config.tls_config, proxy.clone(), self.unix_socket)?;
        let user_agent = self.user_agent.map(|text| HeaderValue::from_str(&text)).transpose();
        let user_agent = user_agent.map_err(|error| BuildError::Unsupported(format!("user agent: {error}")))?;
        let pool = legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .build(connector.clone());
        let credentials = Credentials::new(&config, &self.environment)?;
        let follow_redirects = config.follow_redirects;
        let shared = Shared { pool, connector, credentials, proxy, user_agent, follow_redirects };
        Ok(Client { shared: Arc::new(shared) })
    }
}

impl Client {
    /// A client of a configuration.
    ///
    /// # Errors
    ///
    /// See [`ClientBuilder::build`].
    pub fn new(config: &HttpClientConfig) -> Result<Self, BuildError> {
        Self::builder(config).build()
    }

    /// A client that is told more than its configuration.
    pub fn builder(config: &HttpClientConfig) -> ClientBuilder<'_> {
        ClientBuilder { config, user_agent: None, environment: ProxyEnvironment::default(), unix_socket: None }
    }

    /// Sends a request and reads the whole answer, whatever its status. A gzipped body is decompressed if the request
    /// asked for `gzip`.
    ///
    /// # Errors
    ///
    /// There is no whole answer within the limits; see [`Error`].
    pub async fn send(&self, request: Request<Bytes>, limits: &Limits) -> Result<Response<Bytes>, Error> {
        let mut buffer = BodyBuffer::default();
        let head = self.send_into(request, limits, &mut buffer).await?;
        Ok(head.map(|()| buffer.into_bytes()))
    }

    /// As [`send`](Self::send), into memory that the caller keeps for the next answer.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn send_into(
        &self,
        request: Request<Bytes>,
        limits: &Limits,
        buffer: &mut BodyBuffer,
    ) -> Result<Response<()>, Error> {
        self.send_over(None, request, limits, buffer).await
    }

    /// A way to one server, for a caller who asks it again and again.
    pub fn line(&self) -> Line {
        Line::new(self.clone())
    }

    /// Sends a request over a line, or else over the pool. It is taken apart at once, so that what is awaited is small.
    fn send_over(
        &self,
        line: Option<&Line>,
        request: Request<Bytes>,
        limits: &Limits,
        buffer: &mut BodyBuffer,
    ) -> impl Future<Output = Result<Response<()>, Error>> + Send {
        let mut hop = Hop::first(request);
        async move {
            let mut end = pin!(sleep_until(Instant::now() + limits.timeout));
            buffer.clear();
            let (parts, mut body) = self.follow(line, &mut hop, end.as_mut()).await?.into_parts();
            let read = before(end, buffer.read(&parts.headers, &mut body, limits.body_bytes_max)).await;
            read.unwrap_or(Err(Error::Body(Cause::Deadline)))?;
            if let Some(line) = line {
                line.keep(body);
            }
            Ok(Response::from_parts(parts, ()))
        }
    }

    async fn follow(
        &self,
        mut line: Option<&Line>,
        hop: &mut Hop,
        mut end: Pin<&mut Sleep>,
    ) -> Result<Response<AnswerBody>, Error> {
        for _ in 0..=REDIRECTS_MAX {
            let deadline = end.deadline();
            let answer = before(end.as_mut(), Box::pin(self.exchange(line, hop, deadline))).await;
            let answer = answer.unwrap_or(Err(Cause::Deadline));
            let answer = answer.map_err(|cause| Error::exchange(&hop.method, &hop.url, cause))?;
            if !self.shared.follow_redirects || !redirect::is_redirect(answer.status()) {
                return Ok(answer);
            }
            let Some(location) = answer.headers().get(header::LOCATION) else { return Ok(answer) };
            let next = redirect::next(hop, answer.status(), location);
            *hop = next.map_err(|cause| Error::exchange(&hop.method, &hop.url, cause))?;
            // Other servers are none of the line's business.
            if let Some(line) = line.take() {
                line.keep(answer.into_body());
            }
        }
        Err(Error::exchange(&hop.method, &hop.url, Cause::Redirects))
    }

    /// One request, one answer.
    async fn exchange(&self, line: Option<&Line>, hop: &Hop, deadline: Instant) -> Result<Response<AnswerBody>, Cause> {
        let shared = &*self.shared;
        let mut request = Request::new(Full::new(hop.body.clone()));
        *request.method_mut() = hop.method.clone();
        *request.version_mut() = Version::HTTP_11;
        let mut url = hop.url.clone();
        let embedded = auth::take_url_credentials(&mut url);
        *request.uri_mut() = url;
        let headers = request.headers_mut();
        *headers = hop.headers.clone();
        if let Some(agent) = &shared.user_agent
            && !headers.contains_key(header::USER_AGENT)
        {
            headers.insert(header::USER_AGENT, agent.clone());
        }
        if hop.trusted {
            if let Some(value) = embedded {
                headers.insert(header::AUTHORIZATION, value);
            }
            if !shared.credentials.are_none() {
                Box::pin(shared.credentials.sign(headers, deadline)).await?;
            }
        }
        if let Some(value) = shared.proxy.authorization_of_plain_request(&hop.url) {
            headers.insert(header::PROXY_AUTHORIZATION, value);
        }
        let answer = match line {
            Some(line) => Box::pin(line.transfer(&shared.connector, &request)).await?,
            None => Box::pin(self.transfer(request)).await?.map(AnswerBody::pooled),
        };
        if answer.status() == StatusCode::UNAUTHORIZED && hop.trusted {
            shared.credentials.refused();
        }
        Ok(answer)
    }

    /// Sends a request over a pooled connection. A server may close an idle connection just as it is taken from the
    /// pool; a request that changes nothing is then repeated, as Go's transport does. This ends: a broken connection
    /// leaves the pool, and one that is new is not given a second try.
    async fn transfer(&self, request: Request<Full<Bytes>>) -> Result<Response<hyper::body::Incoming>, Cause> {
        let pool = &self.shared.pool;
        let is_repeatable = request.method().is_safe() && request.body().is_end_stream();
        loop {
            let answer = match pool.request(request.clone()).await {
                Err(error) if is_repeatable && connect::is_stale(&error) => continue,
                answer => answer.map_err(|error| connect::cause_of(&error))?,
            };
            if let Some(history) = answer.extensions().get::<History>() {
                history.note_answer();
            }
            return Ok(answer);
        }
    }
}

/// What work gives, if it ends before the end comes.
async fn before<T>(end: Pin<&mut Sleep>, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = end => None,
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// One request of a chain of redirects.
struct Hop {
    method: Method,
    url: Uri,
    headers: HeaderMap,
    body: Bytes,
    /// Still the host that the caller named: credentials may be shown.
    trusted: bool,
}

impl Hop {
    fn first(request: Request<Bytes>) -> Self {
        let (parts, body) = request.into_parts();
        Self { method: parts.method, url: parts.uri, headers: parts.headers, body, trusted: true }
    }
}
