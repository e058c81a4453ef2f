//! The socket: connections in, one task each, until the host says stop.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::Server;

/// How long requests in flight may take once the host has said stop: most supervisors end a program by force after 30 s, and
/// the storage has to be closed before that.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait after the system refused a connection, for instance because there are too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What several sockets of one server share.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    places: Arc<Semaphore>,
    read_timeout: Option<Duration>,
}

impl Options {
    /// At most so many connections at one time, which may take so long for the head of a request; zero is no limit.
    pub(crate) fn new(connections_max: usize, read_timeout: Duration) -> Self {
        let places = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
        Self { places, read_timeout: Some(read_timeout).filter(|timeout| !timeout.is_zero()) }
    }
}

/// Serves connections until `stop` turns true or its sender is gone, then waits for the requests in flight.
pub(crate) async fn serve(
    listener: TcpListener,
    server: Arc<Server>,
    options: Options,
    mut stop: watch::Receiver<bool>,
) {
    let graceful = GracefulShutdown::new();
    let Options { places, read_timeout } = options;
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let (stream, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let server = Arc::clone(&server);
        let service = service_fn(move |request| {
            let server = Arc::clone(&server);
            async move { Ok::<_, std::convert::Infallible>(server.handle(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(read_timeout)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still in flight when the server stopped");
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, Option<tokio::sync::OwnedSemaphorePermit>)> {
    // The semaphore is never closed.
    let place = Arc::clone(places).acquire_owned().await.ok();
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, place))
}

/// Binds a listening socket. `:9090` is port 9090 on all addresses, as Go has it.
///
/// # Errors
///
/// The address is taken or not ours; the error says which.
pub(crate) async fn bind(address: &str) -> io::Result<(TcpListener, SocketAddr)> {
    let refused = |error: io::Error| io::Error::new(error.kind(), format!("listen on {address}: {error}"));
    let listener = match port_alone(address) {
        // The first that the machine has; the first is both on most.
        Some(everywhere) => TcpListener::bind(&everywhere[..]).await,
        None => TcpListener::bind(address).await,
    };
    let listener = listener.map_err(refused)?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

/// All addresses of this machine, if the text is a port behind a colon.
fn port_alone(address: &str) -> Option<[SocketAddr; 2]> {
    let port: u16 = address.strip_prefix(':')?.parse().ok()?;
    Some([(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_alone_is_meant_on_all_addresses() {
        let everywhere = port_alone(":9090").map(|all| all.map(|address| address.to_string()));
        assert_eq!(everywhere, Some(["[::]:9090".to_owned(), "0.0.0.0:9090".to_owned()]));
        assert_eq!(port_alone(":x"), None);
        assert_eq!(port_alone("127.0.0.1:9090"), None);
        let error = bind("127.0.0.1").await.unwrap_err().to_string();
        assert!(error.starts_with("listen on 127.0.0.1: "), "{error}");
    }
}
