//! The monitor's own metrics, under Prometheus' names wherever it has one, so that dashboards and alerts made for it work.
//!
//! What scraping, discovery and rules count is registered by their crates; here is the rest: the build, the process, the
//! configuration, HTTP, the query engine ([`watch`]) and the storage ([`storage`]).

mod storage;

use std::sync::{Arc, Weak};
use std::time::Duration;

use ferula_exposition::collect::ProcessCollector;
use ferula_exposition::registry::{
    Collect, Counter, Family, Gauge, Histogram, RegisterError, Summary, SummaryOptions, exponential_buckets,
};
use ferula_exposition::{MetricFamily, Registry};
use ferula_model::{MetricType, Timestamp};
use ferula_promql::{Engine, Statistics};
use http::StatusCode;

use crate::api::BuildInfo;
use crate::parts::Core;
use crate::remote::write::WriteSummary;
use crate::server::RequestObserver;

/// Registers what does not change: the build and the process. Gives `prometheus_ready`, which is 0.
pub(crate) fn describe(registry: &Registry, build: &BuildInfo) -> Result<Gauge, RegisterError> {
    let info = registry.gauge_family(
        "prometheus_build_info",
        "A metric with a constant '1' value labeled by version, revision, branch, goversion from which prometheus was \
         built, and the goos and goarch for the build.",
        ["branch", "goarch", "goos", "goversion", "revision", "tags", "version"],
    )?;
    let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
    info.with([&build.branch, arch, os, &build.compiler, &build.revision, "", &build.version]).set(1.0);
    registry.collector(Arc::new(ProcessCollector::default()));
    registry.gauge(
        "prometheus_ready",
        "Whether Prometheus startup was fully completed and the server is ready for normal operation.",
    )
}

/// Registers what the parts of a monitor count by themselves.
pub(crate) fn watch(core: &Arc<Core>) -> Result<(), RegisterError> {
    let registry = &core.registry;
    registry.collector(Arc::new(storage::StorageMetrics(Arc::downgrade(&core.db))));
    registry.collector(Arc::new(EngineMetrics(Arc::downgrade(&core.engine))));
    Ok(())
}

/// Whether the configuration in force is the one in the file.
pub(crate) struct ReloadMetrics {
    successful: Gauge,
    success_at: Gauge,
}

impl ReloadMetrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, RegisterError> {
        Ok(Self {
            successful: registry.gauge(
                "prometheus_config_last_reload_successful",
                "Whether the last configuration reload attempt was successful.",
            )?,
            success_at: registry.gauge(
                "prometheus_config_last_reload_success_timestamp_seconds",
                "Timestamp of the last successful configuration reload.",
            )?,
        })
    }

    pub(crate) fn succeeded(&self, now: Timestamp) {
        self.successful.set(1.0);
        self.success_at.set_timestamp(now);
    }

    pub(crate) fn failed(&self) {
        self.successful.set(0.0);
    }
}

/// Bounds of `prometheus_http_request_duration_seconds` upstream.
const DURATION_BOUNDS: [f64; 9] = [0.1, 0.2, 0.4, 1.0, 3.0, 8.0, 20.0, 60.0, 120.0];

/// What is asked over HTTP.
pub(crate) struct HttpMetrics {
    requests: Family<Counter, 2>,
    duration: Family<Histogram, 1>,
    size: Family<Histogram, 1>,
}

impl HttpMetrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, RegisterError> {
        Ok(Self {
            requests: registry.counter_family(
                "prometheus_http_requests_total",
                "Counter of HTTP requests.",
                ["handler", "code"],
            )?,
            duration: registry.histogram_family(
                "prometheus_http_request_duration_seconds",
                "Histogram of latencies for HTTP requests.",
                ["handler"],
                &DURATION_BOUNDS,
            )?,
            size: registry.histogram_family(
                "prometheus_http_response_size_bytes",
                "Histogram of response size for HTTP requests.",
                ["handler"],
                &exponential_buckets(100.0, 10.0, 8),
            )?,
        })
    }
}

impl RequestObserver for HttpMetrics {
    fn observe(&self, handler: &'static str, status: StatusCode, seconds: f64, body_bytes: Option<u64>) {
        self.requests.with([handler, status.as_str()]).inc();
        self.duration.with([handler]).observe(seconds);
        if let Some(bytes) = body_bytes {
            self.size.with([handler]).observe(bytes as f64);
        }
    }
}

/// Where the time of queries goes.
pub(crate) struct QueryMetrics {
    prepare: Slice,
    inner: Slice,
    queue: Slice,
    sort: Slice,
}

/// The time that one part of each query takes.
struct Slice {
    histogram: Histogram,
    /// None in a registry of the host that has no clock, which a window of time needs.
    summary: Option<Summary>,
}

impl Slice {
    fn observe(&self, took: Duration) {
        self.histogram.observe_duration(took);
        if let Some(summary) = &self.summary {
            summary.observe_duration(took);
        }
    }
}

impl QueryMetrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, RegisterError> {
        let options = SummaryOptions::new(&[0.5, 0.9, 0.99]);
        let name = "prometheus_engine_query_duration_seconds";
        let summaries = match registry.summary_family(name, "Query timings", ["slice"], options) {
            Err(RegisterError::NoClock { .. }) => None,
            registered => Some(registered?),
        };
        let histograms = registry.histogram_family(
            "prometheus_engine_query_duration_histogram_seconds",
            "Query timings",
            ["slice"],
            &[0.01, 0.1, 1.0, 10.0],
        )?;
        let slice = |name| Slice {
            histogram: histograms.with([name]),
            summary: summaries.as_ref().map(|summaries| summaries.with([name])),
        };
        Ok(Self {
            prepare: slice("prepare_time"),
            inner: slice("inner_eval"),
            queue: slice("queue_time"),
            sort: slice("result_sort"),
        })
    }

    pub(crate) fn observe(&self, statistics: &Statistics) {
        let timings = &statistics.timings;
        self.prepare.observe(timings.query_preparation);
        self.inner.observe(timings.inner_eval);
        self.queue.observe(timings.exec_queue);
        self.sort.observe(timings.result_sort);
    }
}

/// What remote write leaves out of requests that it accepts.
pub(crate) struct WriteMetrics {
    invalid_labels: Counter,
    exemplars_refused: Counter,
}

impl WriteMetrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, RegisterError> {
        Ok(Self {
            invalid_labels: registry.counter(
                "prometheus_api_remote_write_invalid_labels_samples_total",
                "The total number of received remote write samples and histogram samples which contain invalid labels.",
            )?,
            exemplars_refused: registry.counter(
                "ferula_remote_write_exemplars_refused_total",
                "Exemplars of accepted remote write requests that the storage refused.",
            )?,
        })
    }

    pub(crate) fn observe(&self, summary: &WriteSummary) {
        self.invalid_labels.inc_by(summary.samples_invalid as u64);
        self.exemplars_refused.inc_by(summary.exemplars_refused as u64);
    }
}

/// What the engine counts.
#[derive(Debug)]
struct EngineMetrics(Weak<Engine>);

impl Collect for EngineMetrics {
    fn collect(&self, out: &mut Vec<MetricFamily>) {
        let Some(engine) = self.0.upgrade() else { return };
        let statistics = engine.statistics();
        let mut number = |name: &str, help: &str, metric_type, value: f64| {
            let mut family = MetricFamily::new(&format!("prometheus_engine_{name}"), help, metric_type);
            family.push_number(ferula_model::Labels::empty(), value);
            out.push(family);
        };
        let running = (statistics.active + statistics.waiting) as f64;
        number("queries", "The current number of queries being executed or waiting.", MetricType::Gauge, running);
        let most = statistics.max_concurrency as f64;
        number("queries_concurrent_max", "The max number of concurrent queries.", MetricType::Gauge, most);
        number("query_log_enabled", "State of the query log.", MetricType::Gauge, 0.0);
        let help = "The total number of query log failures.";
        number("query_log_failures_total", help, MetricType::Counter, 0.0);
        let help = "The total number of samples loaded by all queries.";
        number("query_samples_total", help, MetricType::Counter, statistics.samples as f64);
    }
}
