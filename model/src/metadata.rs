//! What a metric family says about itself, and exemplars.

use crate::labels::Labels;
use crate::time::Timestamp;

/// The type of a metric family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MetricType {
    /// Nothing is known, or the exposition said `untyped` or `unknown`.
    #[default]
    Unknown,
    /// Only rises, but for resets.
    Counter,
    /// May go anywhere.
    Gauge,
    /// Counts observations in buckets.
    Histogram,
    /// A histogram whose counts may fall.
    GaugeHistogram,
    /// Quantiles computed by the target.
    Summary,
    /// Constant `1` whose labels are the content.
    Info,
    /// A set of booleans.
    StateSet,
}

impl MetricType {
    /// The word for it in OpenMetrics and in the API: `unknown`, `counter`, ..., `stateset`.
    pub fn as_str(self) -> &'static str {
        match self {
            MetricType::Unknown => "unknown",
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Histogram => "histogram",
            MetricType::GaugeHistogram => "gaugehistogram",
            MetricType::Summary => "summary",
            MetricType::Info => "info",
            MetricType::StateSet => "stateset",
        }
    }
}

/// Type, unit and help text of a metric family.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Metadata {
    /// The type.
    pub metric_type: MetricType,
    /// The unit, or the empty string.
    pub unit: String,
    /// The help text, or the empty string.
    pub help: String,
}

/// One exemplary observation behind a sample, such as the trace that caused it.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// What identifies it, `trace_id` for instance. At most 128 characters over all names and values.
    pub labels: Labels,
    /// The observed value.
    pub value: f64,
    /// When it was observed; `None` where the target gave no time.
    pub timestamp: Option<Timestamp>,
}
