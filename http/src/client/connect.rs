//! Connecting: how does the client come to speak with a host?
//!
//! `tcp or unix socket -> [CONNECT through a proxy] -> [tls]`. Errors keep their words through hyper's layers:
//! [`cause_of`] digs them out again.

use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::proxy::{Proxy, ProxyRules, connect_request};
#[cfg(feature = "tls")]
use super::tls::TlsSource;
use crate::config::TlsConfig;
use crate::error::{BuildError, Cause};

/// An answer to `CONNECT` is no longer than this.
const CONNECT_ANSWER_BYTES_MAX: usize = 16 << 10;

/// Opens connections for hyper's pool.
#[derive(Clone)]
pub(super) struct Connector {
    shared: Arc<Route>,
}

struct Route {
    proxy: ProxyRules,
    unix_socket: Option<PathBuf>,
    #[cfg(feature = "tls")]
    tls: TlsSource,
}

impl Connector {
    pub(super) fn new(tls: &TlsConfig, proxy: ProxyRules, unix_socket: Option<PathBuf>) -> Result<Self, BuildError> {
        #[cfg(not(feature = "tls"))]
        let _ = tls;
        let route = Route {
            proxy,
            unix_socket,
            #[cfg(feature = "tls")]
            tls: TlsSource::new(tls)?,
        };
        Ok(Self { shared: Arc::new(route) })
    }

    /// Opens a connection for requests to a URL.
    pub(super) async fn connect(&self, url: &Uri) -> Result<Stream, Cause> {
        self.shared.connect(url).await
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = Cause;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Stream>, Cause>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect(&url).await.map(TokioIo::new) })
    }
}

impl Route {
    async fn connect(&self, url: &Uri) -> Result<Stream, Cause> {
        let https = match url.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            other => return Err(Cause::Url(format!("unsupported protocol scheme {:?}", other.unwrap_or_default()))),
        };
        if let Some(path) = &self.unix_socket {
            let socket = dial_unix(path).await?;
            return if https { self.secure(url, Box::new(socket)).await } else { Ok(Stream::other(Box::new(socket))) };
        }
        let Some(proxy) = self.proxy.proxy_for(url) else {
            let socket = dial_tcp(url, if https { 443 } else { 80 }).await?;
            return if https { self.secure(url, Box::new(socket)).await } else { Ok(Stream::plain(socket)) };
        };
        let socket = self.reach(proxy).await?;
        if !https {
            return Ok(Stream { proxied: true, ..socket });
        }
        let mut socket: Box<dyn Duplex> = socket.into_inner();
        tunnel(&mut socket, connect_request(url, proxy, &self.proxy.connect_headers)?).await?;
        self.secure(url, socket).await
    }

    async fn reach(&self, proxy: &Proxy) -> Result<Stream, Cause> {
        let https = proxy.url.scheme_str() == Some("https");
        let socket = dial_tcp(&proxy.url, if https { 443 } else { 80 }).await?;
        if https { self.secure(&proxy.url, Box::new(socket)).await } else { Ok(Stream::plain(socket)) }
    }

    #[cfg(feature = "tls")]
    async fn secure(&self, url: &Uri, socket: Box<dyn Duplex>) -> Result<Stream, Cause> {
        let host = url.host().unwrap_or_default();
        Ok(Stream::other(self.tls.handshake(host, socket).await?))
    }

    #[cfg(not(feature = "tls"))]
    async fn secure(&self, _: &Uri, _: Box<dyn Duplex>) -> Result<Stream, Cause> {
        Err(Cause::Tls("this build has no TLS (feature `tls` of ferula-http)".to_owned()))
    }
}

async fn dial_tcp(url: &Uri, default_port: u16) -> Result<TcpStream, Cause> {
    let host =
        url.host().filter(|host| !host.is_empty()).ok_or_else(|| Cause::Url("no Host in request URL".to_owned()))?;
    let port = url.port_u16().unwrap_or(default_port);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = tokio::net::lookup_host((bare, port)).await;
    let found = found.map_err(|source| Cause::Lookup { host: bare.to_owned(), source: Arc::new(source) })?;
    let mut last = None;
    for address in found {
        match TcpStream::connect(address).await {
            Ok(socket) => {
                // A request is written at once; waiting to fill a packet would only delay it.
                let _ = socket.set_nodelay(true);
                return Ok(socket);
            }
            Err(source) => {
                last = Some(Cause::Dial { network: "tcp", address: address.to_string(), source: Arc::new(source) });
            }
        }
    }
    let nothing = || io::Error::new(io::ErrorKind::NotFound, "no such host");
    Err(last.unwrap_or_else(|| Cause::Lookup { host: bare.to_owned(), source: Arc::new(nothing()) }))
}

async fn dial_unix(path: &Path) -> Result<UnixStream, Cause> {
    UnixStream::connect(path).await.map_err(|source| Cause::Dial {
        network: "unix",
        address: path.display().to_string(),
        source: Arc::new(source),
    })
}

async fn tunnel(socket: &mut Box<dyn Duplex>, request: Vec<u8>) -> Result<(), Cause> {
    let broken = |error: io::Error| Cause::Io(Arc::new(error));
    socket.write_all(&request).await.map_err(broken)?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() > CONNECT_ANSWER_BYTES_MAX {
            return Err(Cause::Proxy("proxy answers CONNECT with too long a head".to_owned()));
        }
        // Byte by byte: what follows the head already belongs to the target.
        answer.push(socket.read_u8().await.map_err(broken)?);
    }
    let head = String::from_utf8_lossy(&answer);
    let status = head.lines().next().unwrap_or_default().split_once(' ').map_or("", |(_, status)| status);
    if status.starts_with('2') { Ok(()) } else { Err(Cause::Proxy(status.to_owned())) }
}

/// A byte stream in both directions.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection as hyper wants it: plain TCP, which nearly all targets are, without a virtual call.
pub(super) struct Stream {
    io: StreamIo,
    proxied: bool,
    history: History,
}

/// What a connection has seen so far; hyper hands it out with each answer and each error.
#[derive(Clone, Default)]
pub(super) struct History(Arc<Seen>);

#[derive(Default)]
struct Seen {
    /// It has answered a request.
    answered: AtomicBool,
    /// A byte came since the last request was written.
    heard: AtomicBool,
}

impl History {
    /// Notes that the head of an answer came.
    pub(super) fn note_answer(&self) {
        self.0.answered.store(true, Ordering::Relaxed);
    }

    /// Whether it answered before but not a byte to the request written last: the server closed it while it was idle,
    /// and most likely never saw that request.
    pub(super) fn went_stale(&self) -> bool {
        self.0.answered.load(Ordering::Relaxed) && !self.0.heard.load(Ordering::Relaxed)
    }
}

enum StreamIo {
    Plain(TcpStream),
    Other(Box<dyn Duplex>),
}

impl Stream {
    fn plain(socket: TcpStream) -> Self {
        Self { io: StreamIo::Plain(socket), proxied: false, history: History::default() }
    }

    fn other(socket: Box<dyn Duplex>) -> Self {
        Self { io: StreamIo::Other(socket), proxied: false, history: History::default() }
    }

    /// Whether a proxy reads the requests.
    pub(super) fn is_proxied(&self) -> bool {
        self.proxied
    }

    pub(super) fn history(&self) -> History {
        self.history.clone()
    }

    fn into_inner(self) -> Box<dyn Duplex> {
        match self.io {
            StreamIo::Plain(io) => Box::new(io),
            StreamIo::Other(io) => io,
        }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.proxied).extra(self.history.clone())
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let held = buf.filled().len();
        let polled = match &mut self.io {
            StreamIo::Plain(io) => Pin::new(io).poll_read(cx, buf),
            StreamIo::Other(io) => Pin::new(io).poll_read(cx, buf),
        };
        if buf.filled().len() > held {
            self.history.0.heard.store(true, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.history.0.heard.store(false, Ordering::Relaxed);
        match &mut self.io {
            StreamIo::Plain(io) => Pin::new(io).poll_write(cx, buf),
            StreamIo::Other(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            StreamIo::Plain(io) => Pin::new(io).poll_flush(cx),
            StreamIo::Other(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            StreamIo::Plain(io) => Pin::new(io).poll_shutdown(cx),
            StreamIo::Other(io) => Pin::new(io).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            StreamIo::Plain(io) => io.is_write_vectored(),
            StreamIo::Other(io) => io.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.history.0.heard.store(false, Ordering::Relaxed);
        match &mut self.io {
            StreamIo::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            StreamIo::Other(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }
}

/// Whether the request failed only because the pool gave it a connection that the server had closed meanwhile.
pub(super) fn is_stale(error: &legacy::Error) -> bool {
    let mut extras = http::Extensions::new();
    if let Some(connected) = error.connect_info() {
        connected.get_extras(&mut extras);
    }
    extras.get::<History>().is_some_and(|history| went_stale(history, error))
}

/// Whether an error means that the server had closed a connection of that history while it was idle.
pub(super) fn went_stale(history: &History, error: &(dyn StdError + 'static)) -> bool {
    history.went_stale() && matches!(dig(error), Cause::Closed(_) | Cause::Io(_))
}

/// What happened, out of hyper's layers.
pub(super) fn cause_of(error: &(dyn StdError + 'static)) -> Cause {
    dig(error)
}

/// What happened while reading a body, out of hyper's layers.
pub(super) fn body_cause_of(error: &hyper::Error) -> Cause {
    match dig(error) {
        Cause::Closed(_) => Cause::Closed("unexpected EOF"),
        other => other,
    }
}

fn dig(error: &(dyn StdError + 'static)) -> Cause {
    let mut layer = Some(error);
    let mut protocol = None;
    while let Some(it) = layer {
        if let Some(cause) = it.downcast_ref::<Cause>() {
            return cause.clone();
        }
        if let Some(io) = it.downcast_ref::<io::Error>() {
            return match io.kind() {
                io::ErrorKind::UnexpectedEof => Cause::Closed("EOF"),
                _ => Cause::Io(Arc::new(io::Error::from_raw_os_error_or(io))),
            };
        }
        if let Some(hyper) = it.downcast_ref::<hyper::Error>() {
            if hyper.is_incomplete_message() || hyper.is_closed() || hyper.is_canceled() {
                return Cause::Closed("EOF");
            }
            protocol = Some(hyper.to_string());
        }
        layer = it.source();
    }
    Cause::Protocol(protocol.unwrap_or_else(|| error.to_string()))
}

/// A copy of an error that cannot be cloned.
trait CopyError {
    fn from_raw_os_error_or(other: &io::Error) -> io::Error;
}

impl CopyError for io::Error {
    fn from_raw_os_error_or(other: &io::Error) -> io::Error {
        match other.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(other.kind(), other.to_string()),
        }
    }
}
