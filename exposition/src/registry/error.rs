//! What can go wrong with metrics: when they are registered, and when they are gathered.

use ferula_model::Labels;
use thiserror::Error;

/// A metric cannot be registered.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// Metric names are not empty.
    #[error("empty metric name")]
    EmptyName,
    /// Label names are not empty, do not begin with `__`, and are not what the type keeps for itself (`le` of histograms,
    /// `quantile` of summaries, the metric's own name of state sets).
    #[error("metric {metric:?}: invalid label name {label:?}")]
    LabelName {
        /// The metric.
        metric: String,
        /// The label.
        label: String,
    },
    /// The name is taken by a metric of another kind.
    #[error("metric {metric:?} is already registered as {existing}")]
    Taken {
        /// The metric.
        metric: String,
        /// What it is: type, label names, options.
        existing: String,
    },
    /// Bucket bounds must be finite and rise strictly.
    #[error("metric {metric:?}: bucket bounds do not rise")]
    Buckets {
        /// The metric.
        metric: String,
    },
    /// Quantiles lie between 0 and 1.
    #[error("metric {metric:?}: {quantile} is no quantile between 0 and 1")]
    Quantile {
        /// The metric.
        metric: String,
        /// What was given.
        quantile: f64,
    },
    /// A state set has 1 to 64 states, each once.
    #[error("metric {metric:?}: a state set has 1 to 64 different states")]
    States {
        /// The metric.
        metric: String,
    },
    /// It needs the time, and the registry has no clock; see [`Registry::with_clock`](super::Registry::with_clock).
    #[error("metric {metric:?}: {what} needs a registry with a clock")]
    NoClock {
        /// The metric.
        metric: String,
        /// What needs it.
        what: &'static str,
    },
}

/// Metrics contradict each other. Only collectors can do that; what is registered is checked before.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GatherError {
    /// Two families of one name have different types. The metrics of the second are left out.
    #[error("metric {metric:?} is gathered as {first} and as {second}")]
    Type {
        /// The name.
        metric: String,
        /// The type that is kept.
        first: &'static str,
        /// The type that is left out.
        second: &'static str,
    },
    /// Two metrics have the same name, labels and time. The second is left out.
    #[error("metric {metric}{labels} is gathered twice")]
    Duplicate {
        /// The name.
        metric: String,
        /// The labels.
        labels: Labels,
    },
}
