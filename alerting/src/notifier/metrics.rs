//! Metrics of the notifier, under Prometheus' own names.

use ferula_exposition::Registry;
use ferula_exposition::registry::{Counter, DEFAULT_BUCKETS, Family, Gauge, Histogram, RegisterError};

use crate::quantiles::Quantiles;

/// What a notifier counts.
#[derive(Clone, Debug)]
pub(crate) struct NotifierMetrics {
    pub(crate) discovered: Gauge,
    latency: Quantiles,
    latency_histogram: Family<Histogram, 1>,
    sent: Family<Counter, 1>,
    errors: Family<Counter, 1>,
    dropped: Family<Counter, 1>,
    queue_length: Family<Gauge, 1>,
}

/// What one endpoint counts.
#[derive(Clone, Debug)]
pub(crate) struct EndpointMetrics {
    url: String,
    latency: Quantiles,
    latency_histogram: Histogram,
    pub(crate) sent: Counter,
    pub(crate) errors: Counter,
    pub(crate) dropped: Counter,
    pub(crate) queue_length: Gauge,
}

impl NotifierMetrics {
    pub(crate) fn register(registry: &Registry, capacity: usize) -> Result<Self, RegisterError> {
        let label = ["alertmanager"];
        let name = |suffix: &str| format!("prometheus_notifications_{suffix}");
        let queue_capacity = registry.gauge(&name("queue_capacity"), "Alerts that may wait for each Alertmanager.")?;
        queue_capacity.set(capacity as f64);
        Ok(Self {
            discovered: registry
                .gauge(&name("alertmanagers_discovered"), "Alertmanagers that are discovered and in use.")?,
            latency: Quantiles::register(
                registry,
                &name("latency_seconds"),
                "How long it took to send alerts.",
                "alertmanager",
            ),
            latency_histogram: registry.histogram_family(
                &name("latency_histogram_seconds"),
                "How long it took to send alerts.",
                label,
                &DEFAULT_BUCKETS,
            )?,
            sent: registry.counter_family(&name("sent_total"), "Alerts that were sent, well or not.", label)?,
            errors: registry.counter_family(&name("errors_total"), "Alerts that could not be sent.", label)?,
            dropped: registry.counter_family(
                &name("dropped_total"),
                "Alerts that were dropped: the queue was full, they could not be sent, or the Alertmanager went away.",
                label,
            )?,
            queue_length: registry.gauge_family(&name("queue_length"), "Alerts that wait.", label)?,
        })
    }

    pub(crate) fn endpoint(&self, url: &str) -> EndpointMetrics {
        EndpointMetrics {
            url: url.to_owned(),
            latency: self.latency.clone(),
            latency_histogram: self.latency_histogram.with([url]),
            sent: self.sent.with([url]),
            errors: self.errors.with([url]),
            dropped: self.dropped.with([url]),
            queue_length: self.queue_length.with([url]),
        }
    }

    /// Forgets the endpoints that are gone.
    pub(crate) fn keep(&self, is_known: impl Fn(&str) -> bool) {
        self.latency.retain(&is_known);
        self.latency_histogram.retain(|[url]| is_known(url));
        self.sent.retain(|[url]| is_known(url));
        self.errors.retain(|[url]| is_known(url));
        self.dropped.retain(|[url]| is_known(url));
        self.queue_length.retain(|[url]| is_known(url));
    }
}

impl EndpointMetrics {
    pub(crate) fn took(&self, seconds: f64) {
        self.latency.observe(&self.url, seconds);
        self.latency_histogram.observe(seconds);
    }
}
