//! The `metrics` bridge: a recorder for the macros of the `metrics` crate.
//!
//! `counter!("jobs", "queue" => "mail").increment(1)` asks the recorder for the counter each time. Asking is one lookup under
//! a shared lock, by the hash that the macro has computed already; counting is an atomic operation of the registry's own
//! [`Counter`], [`Gauge`] and [`Histogram`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ferula_model::{Clock, Labels, LabelsBuilder, METRIC_NAME};
use hashbrown::HashMap;
use metrics::{Key, KeyName, Label, Metadata, SharedString, Unit};
use parking_lot::RwLock;

use crate::family::{Metric, MetricFamily};
use crate::registry::members::{Bounds, Members};
use crate::registry::{
    Collect, Counter, DEFAULT_BUCKETS, Gauge, Histogram, HistogramOptions, Instrument, NativeOptions, RegisterError,
};

/// A recorder for the macros of the `metrics` crate, and a collector of what they record. Clones record together.
///
/// Nothing is global here: install a clone as the global recorder of `metrics`, or as the local one of a thread.
///
/// ```
/// use std::sync::Arc;
/// use ferula_exposition::bridge::{MetricsOptions, MetricsRecorder};
/// use ferula_exposition::{Format, Registry, encode};
/// use ferula_model::SystemClock;
///
/// let recorder = MetricsRecorder::new(MetricsOptions::default(), Arc::new(SystemClock))?;
/// let registry = Registry::new();
/// registry.collector(Arc::new(recorder.clone()));
///
/// // In a program: `metrics::set_global_recorder(recorder)`.
/// metrics::with_local_recorder(&recorder, || {
///     metrics::describe_counter!("jobs_total", "Jobs done.");
///     metrics::counter!("jobs_total", "queue" => "mail").increment(3);
/// });
///
/// let mut body = Vec::new();
/// encode(&registry.gather(), Format::Text, &mut body);
/// let expected = "# HELP jobs_total Jobs done.\n# TYPE jobs_total counter\njobs_total{queue=\"mail\"} 3\n";
/// assert_eq!(String::from_utf8_lossy(&body), expected);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct MetricsRecorder(Arc<Inner>);

/// How metrics are kept and named.
///
/// ```
/// use std::time::Duration;
/// use ferula_exposition::bridge::MetricsOptions;
/// use ferula_exposition::registry::HistogramOptions;
///
/// let options = MetricsOptions::default()
///     .histograms_named("rpc_", HistogramOptions::default().buckets(&[0.01, 0.1, 1.0]))
///     .expiring(Duration::from_secs(3600));
/// # let _ = options;
/// ```
#[derive(Clone, Debug)]
pub struct MetricsOptions {
    histograms: HistogramOptions,
    by_prefix: Vec<(String, HistogramOptions)>,
    bounds: Bounds,
    conventional_names: bool,
}

impl Default for MetricsOptions {
    /// Histograms have the default buckets of Prometheus' clients and native ones; nothing expires; names stay as they are.
    fn default() -> Self {
        let histograms = HistogramOptions::default().buckets(&DEFAULT_BUCKETS).native(NativeOptions::default());
        Self { histograms, by_prefix: Vec::new(), bounds: Bounds::default(), conventional_names: false }
    }
}

impl MetricsOptions {
    /// The buckets of histograms.
    pub fn histograms(mut self, options: HistogramOptions) -> Self {
        self.histograms = options;
        self
    }

    /// The buckets of histograms whose names begin so; the longest prefix wins.
    pub fn histograms_named(mut self, prefix: &str, options: HistogramOptions) -> Self {
        self.by_prefix.push((prefix.to_owned(), options));
        self
    }

    /// Metrics that did not change for so long leave, as with [`Registry::expiring`](crate::Registry::expiring).
    pub fn expiring(mut self, idle: Duration) -> Self {
        self.bounds.idle = Some(idle);
        self
    }

    /// Of each kind there are at most so many metrics with labels of their own; what would be too many is recorded, for each
    /// name, by one with the only label `overflow="true"`.
    pub fn limited(mut self, metrics_max: usize) -> Self {
        self.bounds.metrics_max = Some(metrics_max);
        self
    }

    /// Whether names get the unit that was described and, of counters, `_total`, where they do not end so yet.
    pub fn conventional_names(mut self, conventional: bool) -> Self {
        self.conventional_names = conventional;
        self
    }
}

#[derive(Debug)]
struct Inner {
    counters: Members<Key, Counter>,
    gauges: Members<Key, Gauge>,
    /// By falling length of the prefix; the last one has none.
    histograms: Vec<(String, Members<Key, Histogram>)>,
    described: RwLock<HashMap<(Kind, String), Description>>,
    conventional_names: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Clone, Debug, Default)]
struct Description {
    unit: Option<Unit>,
    help: String,
}

impl MetricsRecorder {
    /// A recorder with these options. The clock tells when metrics begin and how long they were idle.
    ///
    /// # Errors
    ///
    /// [`RegisterError::Buckets`]: the bounds of a histogram do not rise.
    pub fn new(options: MetricsOptions, clock: Arc<dyn Clock>) -> Result<Self, RegisterError> {
        let mut by_prefix = options.by_prefix;
        by_prefix.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        by_prefix.push((String::new(), options.histograms));
        if let Some((prefix, _)) = by_prefix.iter().find(|(_, options)| !options.are_valid()) {
            return Err(RegisterError::Buckets { metric: prefix.clone() });
        }
        let (clock, bounds) = (Some(clock), options.bounds);
        let histograms = by_prefix.into_iter();
        Ok(Self(Arc::new(Inner {
            counters: Members::new((), clock.clone(), bounds),
            gauges: Members::new((), clock.clone(), bounds),
            histograms: histograms.map(|(prefix, of)| (prefix, Members::new(of, clock.clone(), bounds))).collect(),
            described: RwLock::default(),
            conventional_names: options.conventional_names,
        })))
    }

    fn describe(&self, kind: Kind, name: &KeyName, unit: Option<Unit>, help: &SharedString) {
        let description = Description { unit, help: help.as_ref().to_owned() };
        self.0.described.write().insert((kind, name.as_str().to_owned()), description);
    }
}

impl metrics::Recorder for MetricsRecorder {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.describe(Kind::Counter, &name, unit, &description);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.describe(Kind::Gauge, &name, unit, &description);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.describe(Kind::Histogram, &name, unit, &description);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> metrics::Counter {
        let counter = self.0.counters.with(key, || named(key, ""), || overflow(key));
        metrics::Counter::from_arc(Arc::new(Handle(counter)))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> metrics::Gauge {
        let gauge = self.0.gauges.with(key, || named(key, ""), || overflow(key));
        metrics::Gauge::from_arc(Arc::new(Handle(gauge)))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> metrics::Histogram {
        let of_name = self.0.histograms.iter().find(|(prefix, _)| key.name().starts_with(prefix.as_str()));
        match of_name {
            Some((_, members)) => {
                let histogram = members.with(key, || named(key, "le"), || overflow(key));
                metrics::Histogram::from_arc(Arc::new(Handle(histogram)))
            }
            None => metrics::Histogram::noop(),
        }
    }
}

/// One of our metrics as `metrics` wants it.
struct Handle<I>(I);

impl metrics::CounterFn for Handle<Counter> {
    fn increment(&self, value: u64) {
        self.0.inc_by(value);
    }

    fn absolute(&self, value: u64) {
        self.0.raise_to(value);
    }
}

impl metrics::GaugeFn for Handle<Gauge> {
    fn increment(&self, value: f64) {
        self.0.add(value);
    }

    fn decrement(&self, value: f64) {
        self.0.sub(value);
    }

    fn set(&self, value: f64) {
        self.0.set(value);
    }
}

impl metrics::HistogramFn for Handle<Histogram> {
    fn record(&self, value: f64) {
        self.0.observe(value);
    }

    fn record_many(&self, value: f64, count: usize) {
        self.0.observe_times(value, count as u64);
    }
}

/// A key of our own, and its labels, its name among them. A label that the type keeps for itself is kept as `exported_...`.
fn named(key: &Key, reserved: &str) -> (Key, Labels) {
    let mut labels = LabelsBuilder::new();
    for label in key.labels().filter(|label| label.key() != METRIC_NAME) {
        match label.key() {
            taken if taken == reserved => labels.set(&format!("exported_{taken}"), label.value()),
            free => labels.set(free, label.value()),
        };
    }
    (key.clone(), labels.set(METRIC_NAME, key.name()).build())
}

/// The metric that stands for all of this name that are too many.
fn overflow(key: &Key) -> (Key, Labels) {
    named(&Key::from_parts(key.name().to_owned(), vec![Label::new("overflow", "true")]), "")
}

impl Collect for MetricsRecorder {
    fn collect(&self, out: &mut Vec<MetricFamily>) {
        let inner = &*self.0;
        inner.tell::<Counter>(Kind::Counter, inner.counters.read(), out);
        inner.tell::<Gauge>(Kind::Gauge, inner.gauges.read(), out);
        let histograms = inner.histograms.iter().flat_map(|(_, members)| members.read());
        inner.tell::<Histogram>(Kind::Histogram, histograms.collect(), out);
    }
}

impl Inner {
    /// Metrics of one kind, whose labels hold the name, as families.
    fn tell<I: Instrument>(&self, kind: Kind, metrics: Vec<Metric>, out: &mut Vec<MetricFamily>) {
        let mut by_name: BTreeMap<String, Vec<Metric>> = BTreeMap::new();
        for mut metric in metrics {
            let name = metric.labels.metric_name().to_owned();
            metric.labels = metric.labels.without_metric_name();
            by_name.entry(name).or_default().push(metric);
        }
        let described = self.described.read();
        for (name, metrics) in by_name {
            let key = (kind, name);
            let description = described.get(&key).cloned().unwrap_or_default();
            let unit = description.unit.map(unit_word).unwrap_or_default();
            let name = if self.conventional_names { conventional_name(kind, &key.1, unit) } else { key.1 };
            let family = MetricFamily::new(&name, &description.help, I::TYPE);
            out.push(MetricFamily { unit: unit.into(), metrics, ..family });
        }
    }
}

/// The unit as it stands in names.
fn unit_word(unit: Unit) -> &'static str {
    match unit {
        // A number of things has no unit in Prometheus.
        Unit::Count => "",
        unit => unit.as_str(),
    }
}

fn conventional_name(kind: Kind, name: &str, unit: &str) -> String {
    let total = if kind == Kind::Counter { "_total" } else { "" };
    let base = name.strip_suffix(total).unwrap_or(name);
    let has_unit = unit.is_empty() || base.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_'));
    if has_unit { format!("{base}{total}") } else { format!("{base}_{unit}{total}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conventional_names_end_with_unit_and_total_once() {
        for (kind, name, unit, expected) in [
            (Kind::Counter, "sent", "bytes", "sent_bytes_total"),
            (Kind::Counter, "sent_bytes_total", "bytes", "sent_bytes_total"),
            (Kind::Counter, "jobs", "", "jobs_total"),
            (Kind::Histogram, "wait", "seconds", "wait_seconds"),
            (Kind::Gauge, "wait_seconds", "seconds", "wait_seconds"),
            (Kind::Gauge, "total", "", "total"),
        ] {
            assert_eq!(conventional_name(kind, name, unit), expected);
        }
    }
}
