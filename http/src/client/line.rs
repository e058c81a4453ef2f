//! A line: the connection to one server, kept by whoever asks that server again and again.
//!
//! ```text
//!  send --kept and still open?--> ask --> answer --> body read to its end --> kept
//!              | no                ^
//!              '----- connect -----'
//! ```
//!
//! The pool looks a connection up by its host and has a task of its own for each; a request and the parts of its answer
//! then go back and forth between tasks. Here the task that waits for the answer drives the connection itself: nothing
//! has to be found, and nobody else has to be woken. Between two requests nobody looks at the connection, so that a
//! server which has closed it meanwhile is noticed when the next request is due.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::bell::Bell;
use super::connect::{self, Connector, History, Stream};
use super::{BodyBuffer, Client, IDLE_TIMEOUT, Limits};
use crate::error::{Cause, Error};

/// A client's way to one server: as [`Client`], but the connection is kept here and not in the client's pool. Made for
/// asking one server at a time, again and again; what is asked meanwhile, or of another server, is answered over a
/// connection of its own. Redirects are followed through the pool.
///
/// ```
/// use std::time::Duration;
/// use bytes::Bytes;
/// use ferula_http::{BodyBuffer, Client, HttpClientConfig, Limits};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let line = Client::new(&HttpClientConfig::default())?.line();
/// let (limits, mut buffer) = (Limits::timeout(Duration::from_secs(5)), BodyBuffer::default());
/// for _ in 0..2 {
///     let request = http::Request::get("http://127.0.0.1:1/metrics").body(Bytes::new())?;
///     let error = line.send_into(request, &limits, &mut buffer).await.unwrap_err();
///     assert!(error.is_connect());
/// }
/// # Ok(()) })
/// # }
/// ```
pub struct Line {
    client: Client,
    kept: Mutex<Option<Box<Open>>>,
}

impl Line {
    pub(super) fn new(client: Client) -> Self {
        Self { client, kept: Mutex::new(None) }
    }

    /// As [`Client::send_into`].
    ///
    /// # Errors
    ///
    /// As [`Client::send_into`].
    pub fn send_into(
        &self,
        request: Request<Bytes>,
        limits: &Limits,
        buffer: &mut BodyBuffer,
    ) -> impl Future<Output = Result<Response<()>, Error>> + Send {
        self.client.send_over(Some(self), request, limits, buffer)
    }

    /// One request, one answer. As with the pool, a request that changes nothing is repeated if the connection turns out
    /// to have been closed while it was idle; so is any of which nothing was written. A new connection is not given a
    /// second try.
    pub(super) async fn transfer(
        &self,
        connector: &Connector,
        request: &Request<Full<Bytes>>,
    ) -> Result<Response<AnswerBody>, Cause> {
        let is_repeatable = request.method().is_safe() && request.body().is_end_stream();
        let origin = Origin::of(request.uri());
        if let Some(mut open) = self.take(&origin).await {
            match open.ask(request).await {
                Ok(answer) => return Ok(open.carry(answer)),
                Err(mut error) => {
                    let is_stale = is_repeatable && connect::went_stale(&open.history, error.error());
                    if !is_stale && error.take_message().is_none() {
                        return Err(connect::cause_of(error.error()));
                    }
                }
            }
        }
        // In a box of its own, which is there only while a connection is opened: what a request takes is allocated for each.
        let mut open = Box::pin(Open::connect(connector, request.uri(), origin)).await?;
        let answer = open.ask(request).await.map_err(|error| connect::cause_of(error.error()))?;
        Ok(open.carry(answer))
    }

    /// The connection that is kept, if it leads there and is still open.
    async fn take(&self, origin: &Origin) -> Option<Box<Open>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut open = kept.filter(|open| open.origin == *origin && open.since.elapsed() < IDLE_TIMEOUT)?;
        open.is_idle().await.then_some(open)
    }

    /// Keeps the connection that a body came over, if it is open and was read to its end.
    pub(super) fn keep(&self, body: AnswerBody) {
        let Some(mut open) = body.open else { return };
        if !open.wire.is_closed {
            open.since = Instant::now();
            *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(open);
        }
    }
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

/// Where a connection leads: the same for all requests that it may carry.
#[derive(PartialEq)]
struct Origin {
    scheme: Option<Scheme>,
    authority: Option<Authority>,
}

impl Origin {
    fn of(url: &Uri) -> Self {
        Self { scheme: url.scheme().cloned(), authority: url.authority().cloned() }
    }
}

/// An open connection, and when it was used last.
struct Open {
    requests: SendRequest<Full<Bytes>>,
    wire: Wire,
    bell: Bell,
    is_proxied: bool,
    origin: Origin,
    host: HeaderValue,
    history: History,
    since: Instant,
}

/// The half of a connection that reads and writes.
struct Wire {
    connection: Connection<TokioIo<Stream>, Full<Bytes>>,
    is_closed: bool,
}

impl Open {
    async fn connect(connector: &Connector, url: &Uri, origin: Origin) -> Result<Box<Self>, Cause> {
        let stream = connector.connect(url).await?;
        let (is_proxied, history) = (stream.is_proxied(), stream.history());
        let host = host_header(url)?;
        let (requests, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| connect::cause_of(&error))?;
        let wire = Wire { connection, is_closed: false };
        let since = Instant::now();
        Ok(Box::new(Self { requests, wire, bell: Bell::new(), is_proxied, origin, host, history, since }))
    }

    /// Sends a request and waits for the head of its answer. After an error the connection is of no more use.
    async fn ask(
        &mut self,
        request: &Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>> {
        let mut request = request.clone();
        request.headers_mut().entry(header::HOST).or_insert_with(|| self.host.clone());
        if !self.is_proxied {
            *request.uri_mut() = origin_form(request.uri());
        }
        let mut answer = pin!(self.bell.silently(|| self.requests.try_send_request(request)));
        let wire = &mut self.wire;
        let answer = poll_fn(|context| {
            self.bell.work(context, |context| {
                wire.drive(context);
                answer.as_mut().poll(context)
            })
        });
        let answer = answer.await?;
        self.history.note_answer();
        Ok(answer)
    }

    fn carry(self: Box<Self>, answer: Response<Incoming>) -> Response<AnswerBody> {
        answer.map(|incoming| AnswerBody { incoming, open: Some(self) })
    }

    /// Whether the connection waits for a request.
    async fn is_idle(&mut self) -> bool {
        let wire = &mut self.wire;
        poll_fn(|context| {
            self.bell.work(context, |context| {
                wire.drive(context);
                Poll::Ready(())
            })
        })
        .await;
        !self.wire.is_closed && self.requests.is_ready()
    }
}

impl Wire {
    /// Reads and writes what can be read and written now.
    fn drive(&mut self, context: &mut Context<'_>) {
        // What goes wrong is told to whoever waits for an answer or a body.
        self.is_closed = self.is_closed || Pin::new(&mut self.connection).poll(context).is_ready();
    }
}

/// What a request says of its URL to a server that is no proxy.
fn origin_form(url: &Uri) -> Uri {
    url.path_and_query().cloned().map_or_else(Uri::default, Uri::from)
}

/// The `Host` header: the port is left out if it is the scheme's.
fn host_header(url: &Uri) -> Result<HeaderValue, Cause> {
    let host = url.host().unwrap_or_default();
    let usual = if url.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    let text = match url.port_u16() {
        Some(port) if port != usual => format!("{host}:{port}"),
        _ => host.to_owned(),
    };
    HeaderValue::try_from(text).map_err(|error| Cause::Url(format!("host {host:?}: {error}")))
}

/// The body of an answer, with the connection that it comes over if no other task drives that.
pub(super) struct AnswerBody {
    incoming: Incoming,
    open: Option<Box<Open>>,
}

impl AnswerBody {
    /// Of an answer that came over a connection of the pool.
    pub(super) fn pooled(incoming: Incoming) -> Self {
        Self { incoming, open: None }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self { incoming, open } = &mut *self;
        let Some(open) = open else { return Pin::new(incoming).poll_frame(context) };
        let Open { bell, wire, .. } = &mut **open;
        bell.work(context, |context| {
            wire.drive(context);
            Pin::new(&mut *incoming).poll_frame(context)
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Hop;
    use super::*;
    use crate::HttpClientConfig;

    #[test]
    fn what_a_request_allocates_is_small() {
        let line = Client::new(&HttpClientConfig::default()).unwrap().line();
        let (limits, mut buffer) = (Limits::timeout(std::time::Duration::ZERO), BodyBuffer::default());
        let hop = Hop::first(Request::default());
        let request = Request::new(Full::new(Bytes::new()));
        for bytes in [
            size_of_val(&line.send_into(Request::default(), &limits, &mut buffer)),
            size_of_val(&line.client.exchange(Some(&line), &hop, Instant::now())),
            size_of_val(&line.transfer(&line.client.shared.connector, &request)),
        ] {
            assert!(bytes < 1000, "{bytes} bytes: from 1 KiB on, glibc tidies up before it allocates");
        }
    }

    #[test]
    fn hosts_leave_out_the_port_of_their_scheme() {
        for (url, expected) in [
            ("http://a:80/x", "a"),
            ("http://a:443/x", "a:443"),
            ("https://a:443/", "a"),
            ("http://[::1]:9090/", "[::1]:9090"),
            ("http://a", "a"),
        ] {
            assert_eq!(host_header(&url.parse().unwrap()).unwrap(), expected, "{url}");
        }
        assert_eq!(origin_form(&"http://a:1/b?c=d".parse().unwrap()), "/b?c=d");
        assert_eq!(origin_form(&"http://a:1".parse().unwrap()), "/");
    }
}
