//! The OpenTelemetry bridge: a reader of a meter provider.
//!
//! ```text
//!  instruments --aggregation--> ResourceMetrics --points--> families, named by `translate`
//! ```
//!
//! Types and labels follow Prometheus' translation of OTLP: a sum that only rises is a counter, another one a gauge, an
//! exponential histogram a native one. Metrics carry their scope as `otel_scope_name` and so on; the resource becomes
//! `target_info`. Families that two instruments share but disagree on are sorted out where they are gathered
//! ([`GatherError`](crate::registry::GatherError)).

mod labels;
mod points;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ferula_model::{Labels, MetricType};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, ResourceMetrics, ScopeMetrics};
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{InstrumentKind, ManualReader, Pipeline, Temporality};

use crate::family::{MetricFamily, MetricValue};
use crate::registry::Collect;
use crate::translate::unit_name;
use points::Points;

/// Reads the metrics of an OpenTelemetry meter provider when it is gathered. Clones are the same reader: one goes to the
/// provider, another into the registry.
///
/// ```
/// use std::sync::Arc;
/// use ferula_exposition::Registry;
/// use ferula_exposition::bridge::OtelReader;
/// use opentelemetry::metrics::MeterProvider;
/// use opentelemetry_sdk::metrics::SdkMeterProvider;
///
/// let reader = OtelReader::default();
/// let provider = SdkMeterProvider::builder().with_reader(reader.clone()).build();
/// let registry = Registry::new();
/// registry.collector(Arc::new(reader));
///
/// let sent = provider.meter("my_service").u64_counter("sent").with_unit("By").build();
/// sent.add(7, &[]);
/// let families = registry.gather();
/// let names: Vec<&str> = families.iter().map(|family| &*family.name).collect();
/// assert_eq!(names, ["sent_bytes_total", "target_info"]);
/// ```
#[derive(Clone, Debug)]
pub struct OtelReader(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    reader: ManualReader,
    scope_labels: bool,
    failures: AtomicU64,
    dropped: AtomicU64,
}

impl Default for OtelReader {
    /// A reader whose metrics have scope labels.
    fn default() -> Self {
        Self::with_scope_labels(true)
    }
}

impl OtelReader {
    /// A reader; `scope_labels` says whether its metrics have `otel_scope_name`, `otel_scope_version`,
    /// `otel_scope_schema_url` and the attributes of their scope.
    pub fn with_scope_labels(scope_labels: bool) -> Self {
        let reader = ManualReader::builder().with_temporality(Temporality::Cumulative).build();
        let (failures, dropped) = Default::default();
        Self(Arc::new(Inner { reader, scope_labels, failures, dropped }))
    }

    /// How many gatherings gave nothing, because the reader has no provider, or it is shut down.
    pub fn failures(&self) -> u64 {
        self.0.failures.load(Relaxed)
    }

    /// How many points were left out: nothing legal remained of a name, or the resolution is below that of any native
    /// histogram.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Relaxed)
    }
}

impl MetricReader for OtelReader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.reader.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.reader.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.reader.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.reader.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.reader.temporality(kind)
    }
}

impl Collect for OtelReader {
    fn collect(&self, out: &mut Vec<MetricFamily>) {
        let mut metrics = ResourceMetrics::default();
        if self.0.reader.collect(&mut metrics).is_err() {
            self.0.failures.fetch_add(1, Relaxed);
            return;
        }
        for scope in metrics.scope_metrics() {
            self.scope(scope, out);
        }
        let pairs = metrics.resource().iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let mut target = MetricFamily::new("target_info", "Target metadata", MetricType::Info);
        target.push(labels::of(pairs), MetricValue::Info);
        if !metrics.resource().is_empty() {
            out.push(target);
        }
    }
}

impl OtelReader {
    fn scope(&self, scope: &ScopeMetrics, out: &mut Vec<MetricFamily>) {
        let of_scope = if self.0.scope_labels { labels::of_scope(scope.scope()) } else { Labels::empty() };
        for metric in scope.metrics() {
            let mut points = Points::new(metric.name(), metric.unit(), &of_scope);
            match metric.data() {
                AggregatedMetrics::F64(data) => points.add(data),
                AggregatedMetrics::U64(data) => points.add(data),
                AggregatedMetrics::I64(data) => points.add(data),
            }
            self.0.dropped.fetch_add(points.dropped, Relaxed);
            if let Some(family) = points.family {
                let unit = unit_name(metric.unit());
                out.push(MetricFamily { help: metric.description().into(), unit: unit.into(), ..family });
            }
        }
    }
}
