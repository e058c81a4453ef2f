//! What scraping costs: many targets in this process, scraped by this process into a storage that only counts.
//!
//! ```text
//! cargo run --release -p ferula-scrape --example scrape_cost -- [TARGETS [SERIES [SECONDS]]]
//! cargo run --release -p ferula-scrape --example scrape_cost -- http://127.0.0.1:9100/metrics ...
//! ```
//!
//! Without URLs, the CPU of the targets, which only repeat one packed body, is measured too and reported apart: they run
//! on threads of their own.

#![allow(clippy::print_stdout, reason = "an example speaks to whoever runs it")]

use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ferula_model::{
    AppendError, Appendable, Appender, CommitError, CommitSummary, Exemplar, Metadata, Sample, SeriesRef, SystemClock,
    Timestamp,
};
use ferula_scrape::{ManagerOptions, ScrapeConfig, ScrapeDefaults, ScrapeManager};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

#[derive(Debug, Default)]
struct Counting {
    series: AtomicU64,
    samples: AtomicU64,
    commits: AtomicU64,
}

struct Batch<'a>(&'a Counting, u64);

impl Appendable for Counting {
    fn appender(&self) -> Box<dyn Appender + '_> {
        Box::new(Batch(self, 0))
    }
}

impl Appender for Batch<'_> {
    fn series(&mut self, _: &[(&str, &str)]) -> Result<SeriesRef, AppendError> {
        Ok(SeriesRef(self.0.series.fetch_add(1, Ordering::Relaxed)))
    }

    fn append(&mut self, _: SeriesRef, _: Sample) -> Result<(), AppendError> {
        self.1 += 1;
        Ok(())
    }

    fn append_float(&mut self, _: SeriesRef, _: Timestamp, _: f64) -> Result<(), AppendError> {
        self.1 += 1;
        Ok(())
    }

    fn append_exemplar(&mut self, _: SeriesRef, _: Exemplar) -> Result<(), AppendError> {
        Ok(())
    }

    fn set_metadata(&mut self, _: SeriesRef, _: &Metadata) -> Result<(), AppendError> {
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<CommitSummary, CommitError> {
        self.0.samples.fetch_add(self.1, Ordering::Relaxed);
        self.0.commits.fetch_add(1, Ordering::Relaxed);
        Ok(CommitSummary { samples: self.1 as usize, dropped: 0 })
    }

    fn rollback(self: Box<Self>) {}
}

fn body(series: usize) -> Vec<u8> {
    let mut text = String::new();
    for at in 0..series {
        if at % 10 == 0 {
            text.push_str(&format!(
                "# HELP metric_{at}_total Something that is counted.\n# TYPE metric_{at}_total counter\n"
            ));
        }
        let (family, value) = (at / 10 * 10, at as f64 * 1.37);
        text.push_str(&format!(
            "metric_{family}_total{{code=\"{}\",handler=\"/api/v1/resource/{at}\",method=\"get\",region=\"eu-west-1\"}} {value}\n",
            200 + at % 7
        ));
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    // Writing into memory never errs.
    let _ = encoder.write_all(text.as_bytes());
    encoder.finish().unwrap_or_default()
}

/// Serves the body on as many addresses, on a thread of its own; gives them and the thread's id.
fn targets(count: usize, series: usize) -> (Vec<SocketAddr>, u64) {
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async move {
            let body = Bytes::from(body(series));
            let mut addresses = Vec::new();
            for _ in 0..count {
                let Ok(listener) = tokio::net::TcpListener::bind("127.0.0.1:0").await else { return };
                addresses.extend(listener.local_addr());
                let body = body.clone();
                tokio::spawn(async move {
                    while let Ok((socket, _)) = listener.accept().await {
                        let body = body.clone();
                        let service = service_fn(move |_| {
                            let answer = http::Response::builder()
                                .header("content-type", "text/plain; version=0.0.4")
                                .header("content-encoding", "gzip")
                                .body(Full::new(body.clone()));
                            async move { Ok::<_, Infallible>(answer.unwrap_or_default()) }
                        });
                        let server = hyper::server::conn::http1::Builder::new();
                        tokio::spawn(server.serve_connection(TokioIo::new(socket), service));
                    }
                });
            }
            let _ = send.send((addresses, thread_id()));
            std::future::pending::<()>().await;
        });
    });
    receive.recv().unwrap_or_default()
}

fn thread_id() -> u64 {
    let link = std::fs::read_link("/proc/thread-self").unwrap_or_default();
    link.file_name().and_then(|name| name.to_str()?.parse().ok()).unwrap_or_default()
}

/// User and system time of this process, or of one of its threads.
fn cpu(thread: Option<u64>) -> Duration {
    let path = match thread {
        Some(id) => format!("/proc/self/task/{id}/schedstat"),
        None => "/proc/self/task".to_owned(),
    };
    let read = |path: &str| -> u64 {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default()
    };
    let nanos = match thread {
        Some(_) => read(&path),
        None => {
            let threads = std::fs::read_dir(path).into_iter().flatten().flatten();
            threads.map(|thread| read(&thread.path().join("schedstat").display().to_string())).sum()
        }
    };
    Duration::from_nanos(nanos)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(default);
    let urls: Vec<&String> = arguments.iter().filter(|argument| argument.contains("://")).collect();
    let (count, series, seconds) = (number(0, 50), number(1, 1000), number(2, 10) as u64);
    let (addresses, thread) = if urls.is_empty() { targets(count, series) } else { Default::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async move {
        let storage = Arc::new(Counting::default());
        let manager = ScrapeManager::new(ManagerOptions::new(storage.clone(), Arc::new(SystemClock)))?;
        let mut jobs = Vec::new();
        let mut job = ScrapeConfig::new("fake").static_targets(addresses.iter().map(SocketAddr::to_string));
        job.scrape_interval = Duration::from_secs(1);
        jobs.push(job);
        for (at, url) in urls.iter().enumerate() {
            let (address, path) = url.rsplit_once("://").unwrap_or_default().1.split_once('/').unwrap_or((url, ""));
            let mut job = ScrapeConfig::new(format!("url{at}")).static_targets([address]);
            (job.metrics_path, job.scrape_interval) = (format!("/{path}"), Duration::from_secs(1));
            jobs.push(job);
        }
        for job in &mut jobs {
            job.validate(&ScrapeDefaults::default())?;
        }
        manager.apply(jobs)?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let read = || {
            (
                cpu(None),
                cpu(Some(thread)),
                storage.samples.load(Ordering::Relaxed),
                storage.commits.load(Ordering::Relaxed),
            )
        };
        let before = read();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let after = read();
        let (samples, scrapes) = (after.2 - before.2, after.3 - before.3);
        let (all, of_targets) = (after.0 - before.0, after.1 - before.1);
        let ours = all.saturating_sub(of_targets);
        println!(
            "{scrapes} scrapes, {samples} samples in {seconds} s, {} series",
            storage.series.load(Ordering::Relaxed)
        );
        println!(
            "scraper {:.3} CPU s per million samples; targets {:.3}",
            per_million(ours, samples),
            per_million(of_targets, samples)
        );
        for target in manager.targets().iter().take(5) {
            println!(
                "{} {} {} {:?}",
                target.scrape_url,
                target.last.health.as_str(),
                target.last.error,
                target.last.duration
            );
        }
        manager.stop().await;
        Ok(())
    })
}

fn per_million(cpu: Duration, samples: u64) -> f64 {
    cpu.as_secs_f64() / samples.max(1) as f64 * 1e6
}
