//! A web service measured with the `metrics` crate, whose history is stored and queried in its own process.
//!
//! `instrument [DATA [ADDRESS]]` serves on 127.0.0.1:8080: `/` answers at once, `/report` takes its time, `/history` says what
//! PromQL makes of it, and `/metrics` is there for other scrapers. Nothing is scraped in between: once a second the recorder is read
//! straight into the storage.

#![allow(clippy::print_stdout, reason = "an example speaks to whoever runs it")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ferula::Monitor;
use ferula::exposition::bridge::{MetricsOptions, MetricsRecorder};
use ferula::exposition::negotiate::Negotiated;
use ferula::exposition::{Registry, encode_with};
use ferula::model::SystemClock;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::{counter, describe_counter, describe_histogram, histogram};

const P90: &str = "histogram_quantile(0.9, sum by (path) (rate(http_request_duration_seconds[1m])))";
const RATE: &str = "sum by (path, code) (rate(http_requests_total[1m]))";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let data = arguments.next().unwrap_or_else(|| "data".to_owned());
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());

    let monitor = Monitor::builder(data).store_own_metrics(Duration::from_secs(1)).start().await?;
    let recorder = MetricsRecorder::new(MetricsOptions::default(), Arc::new(SystemClock))?;
    monitor.registry().collector(Arc::new(recorder.clone()));
    metrics::set_global_recorder(recorder)?;
    describe_counter!("http_requests_total", "Requests answered.");
    describe_histogram!("http_request_duration_seconds", metrics::Unit::Seconds, "How long answers took.");

    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("http://{0}/  http://{0}/report  http://{0}/history  http://{0}/metrics", listener.local_addr()?);
    let monitor = Arc::new(monitor);
    loop {
        let (socket, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            _ = tokio::signal::ctrl_c() => break,
        };
        let monitor = Arc::clone(&monitor);
        let service = service_fn(move |request| measured(Arc::clone(&monitor), request));
        let connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(socket), service);
        // A client that hangs up in the middle is its own affair.
        tokio::spawn(async { connection.await.ok() });
    }
    match Arc::try_unwrap(monitor) {
        Ok(monitor) => Ok(monitor.closed().await?),
        // A request still holds it; its log is on disk already.
        Err(_) => Ok(()),
    }
}

/// Answers a request and counts it.
async fn measured(monitor: Arc<Monitor>, request: Request<Incoming>) -> http::Result<Response<Full<Bytes>>> {
    let started = Instant::now();
    let path = match request.uri().path() {
        path @ ("/" | "/report" | "/history" | "/metrics") => path.to_owned(),
        // What clients make up must not become labels.
        _ => "other".to_owned(),
    };
    let response = answer(&monitor, &path, &request).await?;
    let code = response.status().as_str().to_owned();
    counter!("http_requests_total", "path" => path.clone(), "code" => code).increment(1);
    histogram!("http_request_duration_seconds", "path" => path).record(started.elapsed());
    Ok(response)
}

async fn answer(monitor: &Monitor, path: &str, request: &Request<Incoming>) -> http::Result<Response<Full<Bytes>>> {
    match path {
        "/" => Response::builder().body(Full::from("hello\n")),
        "/report" => {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Response::builder().body(Full::from("all is well\n"))
        }
        "/history" => match history(monitor).await {
            Ok(text) => Response::builder().body(Full::from(text)),
            Err(error) => {
                let response = Response::builder().status(StatusCode::INTERNAL_SERVER_ERROR);
                response.body(Full::from(format!("{error}\n")))
            }
        },
        "/metrics" => exposed(monitor.registry(), request),
        _ => Response::builder().status(StatusCode::NOT_FOUND).body(Full::from("nothing here\n")),
    }
}

/// What the service did in the last minute, from its own storage.
async fn history(monitor: &Monitor) -> Result<String, ferula::Error> {
    let mut text = String::new();
    for (what, query) in [("requests per second", RATE), ("90th percentile in seconds", P90)] {
        text += &format!("{what}: {query}\n");
        for sample in monitor.instant(query).await?.vector()? {
            text += &format!("  {} {}\n", sample.labels, sample.value);
        }
    }
    Ok(text)
}

fn exposed(registry: &Registry, request: &Request<Incoming>) -> http::Result<Response<Full<Bytes>>> {
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let negotiated = Negotiated::from_accept(accept);
    let mut body = Vec::new();
    encode_with(&registry.gather(), negotiated.format(), &negotiated.options(), &mut body);
    Response::builder().header(header::CONTENT_TYPE, negotiated.content_type()).body(Full::from(body))
}
