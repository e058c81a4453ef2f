//! A node exporter: `exporter [ADDRESS]` serves this machine's metrics at `/metrics`, by default on 127.0.0.1:9100.
//!
//! The fifteen most used collectors of node_exporter with its names, types and labels, and this process beside them, in the
//! format that the scraper asks for, packed if it likes. `curl -H 'Accept: application/openmetrics-text'` shows another one.

#![allow(clippy::print_stdout, reason = "an example speaks to whoever runs it")]

use std::sync::Arc;

use bytes::Bytes;
use ferula_exposition::collect::{HostCollector, HostOptions, ProcessCollector};
use ferula_exposition::negotiate::{Coding, Negotiated};
use ferula_exposition::{Registry, encode_with};
use ferula_model::SystemClock;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let registry = Registry::new();
    registry.collector(Arc::new(HostCollector::new(HostOptions::default(), Arc::new(SystemClock))));
    registry.collector(Arc::new(ProcessCollector::default()));

    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9100".to_owned());
    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("metrics of this machine at http://{}/metrics", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        let registry = registry.clone();
        let service = service_fn(move |request| answer(registry.clone(), request));
        let connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(socket), service);
        // A scraper that hangs up in the middle is its own affair.
        tokio::spawn(async { connection.await.ok() });
    }
}

async fn answer(registry: Registry, request: Request<Incoming>) -> http::Result<Response<Full<Bytes>>> {
    if request.uri().path() != "/metrics" {
        return Response::builder().status(StatusCode::NOT_FOUND).body(Full::from("metrics are at /metrics\n"));
    }
    let wish = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let (negotiated, coding) =
        (Negotiated::from_accept(wish(header::ACCEPT)), Coding::from_accept(wish(header::ACCEPT_ENCODING)));
    // Reading proc and asking file systems may block.
    let gathered = tokio::task::spawn_blocking(move || registry.gather()).await.unwrap_or_default();
    let mut body = Vec::new();
    encode_with(&gathered, negotiated.format(), &negotiated.options(), &mut body);
    let mut response = Response::builder().header(header::CONTENT_TYPE, negotiated.content_type());
    if let Some(word) = coding.content_encoding() {
        response = response.header(header::CONTENT_ENCODING, word);
    }
    response.body(Full::from(coding.pack(body)))
}
