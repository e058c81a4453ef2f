//! A server that answers by a closure.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

pub(crate) type Answer = Response<Full<Bytes>>;

/// Serves on a free port until the runtime ends.
pub(crate) async fn serve(answer: impl Fn(Request<Incoming>) -> Answer + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(connection(socket, Arc::clone(&answer)));
        }
    });
    address
}

/// Serves the first connection to a unix socket at `path`.
pub(crate) fn serve_unix_once(path: &Path, answer: impl Fn(Request<Incoming>) -> Answer + Send + Sync + 'static) {
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        connection(socket, Arc::new(answer)).await;
    });
}

/// A free port, and the URL under which it is reached.
pub(crate) async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    (listener, url)
}

pub(crate) async fn connection<S, F>(socket: S, answer: Arc<F>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> Answer + Send + Sync + 'static,
{
    let service = service_fn(move |request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
}

pub(crate) fn text(body: impl Into<Bytes>) -> Answer {
    Response::new(Full::new(body.into()))
}

pub(crate) fn header<'a>(request: &'a Request<Incoming>, name: &str) -> &'a str {
    request.headers().get(name).map_or("-", |value| value.to_str().unwrap())
}
