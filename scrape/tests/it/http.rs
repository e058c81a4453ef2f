//! Over a real socket: headers, packing, statuses, limits; and discovery over HTTP.

use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::{Request, Response};
use bytes::Bytes;
use ferula_model::SystemClock;
use ferula_scrape::discovery::{DiscoveryConfig, HttpDiscovery};
use ferula_scrape::{Health, ManagerOptions, ScrapeConfig, ScrapeDefaults, ScrapeManager, TargetStatus};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::storage::Recorder;

async fn serve(answer: impl Fn(Request<Incoming>) -> Response<Full<Bytes>> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            let service = service_fn(move |request| {
                let answer = answer(request);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service);
            tokio::spawn(async move { _ = connection.await });
        }
    });
    address
}

fn answer(content_type: &str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::builder().header("content-type", content_type).body(Full::new(body.into())).unwrap()
}

/// Scrapes every 100 ms until each target of the job has been scraped.
async fn scraped(change: impl FnOnce(&mut ScrapeConfig), targets: usize) -> (Vec<TargetStatus>, Arc<Recorder>) {
    let storage = Arc::new(Recorder::default());
    let manager = ScrapeManager::new(ManagerOptions::new(storage.clone(), Arc::new(SystemClock))).unwrap();
    let mut job = ScrapeConfig::new("j");
    (job.scrape_interval, job.scrape_timeout) = (Duration::from_millis(100), Duration::from_millis(100));
    change(&mut job);
    job.validate(&ScrapeDefaults::default()).unwrap();
    manager.apply(vec![job]).unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let statuses = manager.targets();
        if statuses.len() == targets && statuses.iter().all(|status| status.last.health != Health::Unknown) {
            manager.stop().await;
            return (statuses, storage);
        }
        assert!(tokio::time::Instant::now() < deadline, "{statuses:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn requests_are_prometheus_requests() {
    let server = serve(|request| {
        let headers = request.headers();
        assert_eq!(headers["accept-encoding"], "gzip");
        assert_eq!(headers["x-prometheus-scrape-timeout-seconds"], "0.1");
        assert!(
            headers["accept"].to_str().unwrap().starts_with("application/openmetrics-text;version=1.0.0;escaping=")
        );
        assert!(headers["user-agent"].to_str().unwrap().starts_with("Ferula/"));
        assert_eq!(request.uri(), "/metrics?module=x");
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"a{x=\"1\"} 7\n").unwrap();
        let mut answer = answer("text/plain; version=0.0.4; charset=utf-8", encoder.finish().unwrap());
        answer.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
        answer
    })
    .await;
    let (statuses, storage) = scraped(
        |job| {
            *job = job.clone().static_targets([server.to_string()]);
            job.params.insert("module".into(), vec!["x".into()]);
        },
        1,
    )
    .await;
    assert_eq!((statuses[0].last.health, statuses[0].last.error.as_str()), (Health::Up, ""));
    assert_eq!(storage.values("a")[0], 7.0);
}

#[tokio::test]
async fn failures_are_told_as_upstream_tells_them() {
    let server = serve(|request| match request.uri().path() {
        "/status" => Response::builder().status(500).body(Full::default()).unwrap(),
        "/blank" => Response::new(Full::from("a 1\n")),
        "/html" => answer("text/html", "<p>"),
        "/wrong" => answer("text/plain", "a{ 1\n"),
        "/big" => answer("text/plain", vec![b'\n'; 100]),
        _ => answer("text/plain", "a 1\n"),
    })
    .await;
    for (path, expected) in [
        ("/status", "server returned HTTP status 500 Internal Server Error"),
        (
            "/blank",
            "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol specified for target",
        ),
        (
            "/html",
            "received unsupported Content-Type \"text/html\" and no fallback_scrape_protocol specified for target",
        ),
        ("/wrong", "line 1, column 4: "),
        ("/big", "body size limit exceeded"),
        ("/fine", ""),
    ] {
        let (statuses, storage) = scraped(
            |job| {
                *job = job.clone().static_targets([server.to_string()]);
                job.metrics_path = path.into();
                job.limits.body_size_limit = 100;
            },
            1,
        )
        .await;
        let error = &statuses[0].last.error;
        assert!(error.starts_with(expected) && error.is_empty() == expected.is_empty(), "{path}: {error}");
        assert_eq!(storage.values("up")[0], if expected.is_empty() { 1.0 } else { 0.0 });
    }
}

#[tokio::test]
async fn targets_are_found_over_http() {
    let target = serve(|_| answer("text/plain", "a 1\n")).await;
    let endpoint = serve(move |request| {
        assert_eq!(request.headers()["x-prometheus-refresh-interval-seconds"], "60");
        let body = format!("[{{\"targets\": [\"{target}\"], \"labels\": {{\"x\": \"y\"}}}}]");
        answer("application/json; charset=utf-8", body)
    })
    .await;
    let url = format!("http://{endpoint}/sd");
    let discovery = DiscoveryConfig::Http(Box::new(HttpDiscovery::new(url.clone())));
    let (statuses, _) = scraped(|job| job.discovery.push(discovery), 1).await;
    assert_eq!(statuses[0].labels.get("x"), Some("y"));
    assert_eq!(statuses[0].discovered_labels.get("__meta_url"), Some(url.as_str()));
    assert_eq!(statuses[0].last.health, Health::Up);
}
