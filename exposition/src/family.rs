//! Metric families as values: what a registry gathers, what an encoder writes, what can be read back.

use std::sync::Arc;

use ferula_model::{Exemplar, Histogram, Labels, MetricType, Timestamp};

/// A metric family: what its metrics have in common, and the metrics.
#[derive(Clone, Debug, Default)]
pub struct MetricFamily {
    /// The name as it stands on a sample of the text format: a counter's with its `_total`, a histogram's without
    /// `_bucket`.
    pub name: Arc<str>,
    /// What it measures; may be empty.
    pub help: Arc<str>,
    /// The unit; may be empty. In OpenMetrics the name must end with it.
    pub unit: Arc<str>,
    /// The type, which the values of the metrics agree with.
    pub metric_type: MetricType,
    /// The metrics, whose label sets differ.
    pub metrics: Vec<Metric>,
}

/// One metric of a family.
#[derive(Clone, Debug)]
pub struct Metric {
    /// Its labels, without the name.
    pub labels: Labels,
    /// What it measures.
    pub value: MetricValue,
    /// When it was measured, for metrics that speak about another time than now.
    pub timestamp: Option<Timestamp>,
    /// When it began to count.
    pub start: Option<Timestamp>,
}

/// What a metric measures.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum MetricValue {
    /// Something that only rises.
    Counter {
        /// How much.
        value: f64,
        /// An event behind it.
        exemplar: Option<Exemplar>,
    },
    /// Something that goes anywhere.
    Gauge(f64),
    /// Nobody said what.
    Unknown(f64),
    /// Observations in buckets. Of a family of type [`GaugeHistogram`](MetricType::GaugeHistogram), present things in
    /// buckets.
    Histogram(Box<HistogramValue>),
    /// Observations as quantiles.
    Summary(SummaryValue),
    /// The labels are the content.
    Info,
    /// Which states hold. The label that names the state is the family's name.
    StateSet(Vec<(Arc<str>, bool)>),
}

/// Observations in buckets: classic, native, or both.
#[derive(Clone, Debug, Default)]
pub struct HistogramValue {
    /// How many observations.
    pub count: Option<f64>,
    /// Their sum.
    pub sum: Option<f64>,
    /// Classic buckets by rising bound, `+Inf` among them; none for a native histogram only.
    pub buckets: Vec<Bucket>,
    /// The native histogram.
    pub native: Option<Histogram>,
    /// Exemplars of the native histogram; those of classic buckets are with the buckets.
    pub exemplars: Vec<Exemplar>,
}

/// A classic bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct Bucket {
    /// The bound, which belongs to the bucket.
    pub upper_bound: f64,
    /// How many observations were at most the bound.
    pub cumulative_count: f64,
    /// One of the observations.
    pub exemplar: Option<Exemplar>,
}

/// Observations as quantiles.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SummaryValue {
    /// How many observations.
    pub count: Option<f64>,
    /// Their sum.
    pub sum: Option<f64>,
    /// Quantile (0 to 1) and value; the value is NaN if there was no observation lately.
    pub quantiles: Vec<(f64, f64)>,
}

impl MetricFamily {
    /// A family without metrics.
    pub fn new(name: &str, help: &str, metric_type: MetricType) -> Self {
        Self { name: name.into(), help: help.into(), unit: "".into(), metric_type, metrics: Vec::new() }
    }

    /// Adds a metric that speaks about now.
    pub fn push(&mut self, labels: Labels, value: MetricValue) {
        self.metrics.push(Metric { labels, value, timestamp: None, start: None });
    }

    /// Adds a number under the family's type: counter, gauge, or unknown for all others.
    pub fn push_number(&mut self, labels: Labels, value: f64) {
        let value = match self.metric_type {
            MetricType::Counter => MetricValue::Counter { value, exemplar: None },
            MetricType::Gauge => MetricValue::Gauge(value),
            _ => MetricValue::Unknown(value),
        };
        self.push(labels, value);
    }
}
