//! The registry: the metrics of this program.
//!
//! ```text
//!  Counter, Gauge, Histogram   --.
//!  Family (one per label set)  ---+--> Registry --gather--> Vec<MetricFamily> --encode--> bytes
//!  Collect (asked when gathered) -'                               `--append--> Appender
//! ```
//!
//! A handle is cheap to clone, and using it is one or two atomic operations: nothing is locked, looked up or allocated. A
//! family's [`with`](Family::with) does look up; keep what it returns where it matters.
//!
//! There is no global registry: whoever measures is handed one.

mod collector;
mod counter;
mod family;
mod gauge;
mod histogram;

use std::collections::BTreeMap;
use std::sync::Arc;

use ferula_model::{Clock, Labels, MetricType};
use parking_lot::Mutex;
use thiserror::Error;

pub use collector::Collect;
pub use counter::Counter;
pub use family::{Family, Instrument};
pub use gauge::Gauge;
pub use histogram::{DEFAULT_BUCKETS, Histogram, exponential_buckets, linear_buckets};

use crate::family::MetricFamily;
use family::Members;

/// The metrics of a program, or of a part of it. Clones share one content.
///
/// Asking for a metric that exists already, with the same type and the same label names, returns the one that exists; so two
/// parts of a program can share a metric without knowing each other.
///
/// ```
/// use ferula_exposition::Registry;
///
/// let registry = Registry::new();
/// let requests = registry.counter_family("http_requests_total", "Requests served.", ["method", "code"])?;
/// let ok = requests.with(["GET", "200"]);
/// ok.inc();
/// ok.inc_by(2);
/// registry.gauge("queue_length", "Requests that wait.")?.set(7.0);
///
/// let families = registry.gather();
/// assert_eq!(families.len(), 2);
/// assert_eq!(families[0].metrics[0].labels.to_string(), r#"{code="200", method="GET"}"#);
/// # Ok::<(), ferula_exposition::registry::RegisterError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Registry {
    shared: Arc<Shared>,
    /// Labels that every metric registered through this handle gets.
    labels: Labels,
}

#[derive(Debug, Default)]
struct Shared {
    families: Mutex<BTreeMap<FamilyKey, Arc<dyn Members>>>,
    collectors: Mutex<Vec<Arc<dyn Collect>>>,
    clock: Option<Arc<dyn Clock>>,
}

/// Name and constant labels.
type FamilyKey = (Arc<str>, Labels);

/// A metric cannot be registered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// Metric names are not empty.
    #[error("empty metric name")]
    EmptyName,
    /// Label names are not empty, do not begin with `__`, and are not what the type keeps for itself (`le` of histograms,
    /// `quantile` of summaries).
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
    /// Bucket bounds must rise strictly.
    #[error("metric {metric:?}: bucket bounds do not rise")]
    Buckets {
        /// The metric.
        metric: String,
    },
}

impl Registry {
    /// A registry without a clock: metrics have no start timestamps and never expire.
    pub fn new() -> Self {
        Self::default()
    }

    /// A registry whose metrics know when they began, by this clock.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self { shared: Arc::new(Shared { clock: Some(clock), ..Shared::default() }), labels: Labels::empty() }
    }

    /// The same registry, but metrics registered through the new handle get these labels as well.
    pub fn labelled<N: AsRef<str>, V: AsRef<str>>(&self, labels: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut builder = self.labels.to_builder();
        for (name, value) in labels {
            builder.set(name.as_ref(), value.as_ref());
        }
        Self { shared: Arc::clone(&self.shared), labels: builder.build() }
    }

    /// A counter. By custom its name ends with `_total`.
    ///
    /// # Errors
    ///
    /// See [`RegisterError`].
    pub fn counter(&self, name: &str, help: &str) -> Result<Counter, RegisterError> {
        Ok(self.family::<Counter, 0>(name, help, [], ())?.with([]))
    }

    /// A counter per label set.
    ///
    /// # Errors
    ///
    /// See [`RegisterError`].
    pub fn counter_family<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
    ) -> Result<Family<Counter, N>, RegisterError> {
        self.family(name, help, labels, ())
    }

    /// A gauge.
    ///
    /// # Errors
    ///
    /// See [`RegisterError`].
    pub fn gauge(&self, name: &str, help: &str) -> Result<Gauge, RegisterError> {
        Ok(self.family::<Gauge, 0>(name, help, [], ())?.with([]))
    }

    /// A gauge per label set.
    ///
    /// # Errors
    ///
    /// See [`RegisterError`].
    pub fn gauge_family<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
    ) -> Result<Family<Gauge, N>, RegisterError> {
        self.family(name, help, labels, ())
    }

    /// A histogram with the given upper bounds, which rise strictly; the last bucket, up to `+Inf`, is added. See
    /// [`DEFAULT_BUCKETS`].
    ///
    /// # Errors
    ///
    /// See [`RegisterError`].
    pub fn histogram(&self, name: &str, help: &str, bounds: &[f64]) -> Result<Histogram, RegisterError> {
        Ok(self.histogram_family(name, help, [], bounds)?.with([]))
    }

    /// A histogram per label set.
    ///
    /// # Errors
    ///
    /// See [`RegisterError`].
    pub fn histogram_family<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
        bounds: &[f64],
    ) -> Result<Family<Histogram, N>, RegisterError> {
        let bounds =
            histogram::checked_bounds(bounds).ok_or_else(|| RegisterError::Buckets { metric: name.to_owned() })?;
        self.family(name, help, labels, bounds)
    }

    /// Adds a source of families that is asked at each [`gather`](Self::gather).
    pub fn collector(&self, collector: Arc<dyn Collect>) {
        self.shared.collectors.lock().push(collector);
    }

    /// A metric whose value is computed when it is asked for; `metric_type` is counter, gauge or unknown.
    ///
    /// # Errors
    ///
    /// See [`RegisterError`].
    pub fn computed(
        &self,
        name: &str,
        help: &str,
        metric_type: MetricType,
        value: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> Result<(), RegisterError> {
        check_names(name, metric_type, &[])?;
        self.collector(Arc::new(collector::Computed::new(name, help, metric_type, self.labels.clone(), value)));
        Ok(())
    }

    /// All families with all their metrics, sorted by name and labels. Families of one name are one family here.
    pub fn gather(&self) -> Vec<MetricFamily> {
        let mut gathered = Vec::new();
        let families: Vec<_> = self.shared.families.lock().values().cloned().collect();
        for family in families {
            gathered.push(family.read());
        }
        let collectors = self.shared.collectors.lock().clone();
        for collector in collectors {
            collector.collect(&mut gathered);
        }
        collector::merge(gathered)
    }

    fn family<I: Instrument, const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
        options: I::Options,
    ) -> Result<Family<I, N>, RegisterError> {
        check_names(name, I::TYPE, &labels)?;
        let mut families = self.shared.families.lock();
        let key = (Arc::from(name), self.labels.clone());
        if let Some(existing) = families.get(&key) {
            let family = Arc::clone(existing).as_any().downcast::<family::Shared<I, N>>().ok();
            let same = family.filter(|family| family.same_as(&labels, &options));
            return same
                .map(Family::from)
                .ok_or_else(|| RegisterError::Taken { metric: name.to_owned(), existing: existing.describe() });
        }
        let clock = self.shared.clock.clone();
        let family = Arc::new(family::Shared::<I, N>::new(&key, help, labels, options, clock));
        families.insert(key, Arc::clone(&family) as Arc<dyn Members>);
        Ok(Family::from(family))
    }
}

fn check_names(metric: &str, metric_type: MetricType, labels: &[&str]) -> Result<(), RegisterError> {
    if metric.is_empty() {
        return Err(RegisterError::EmptyName);
    }
    let reserved = crate::series::float_label(metric_type);
    for (i, label) in labels.iter().enumerate() {
        let repeated = labels.iter().take(i).any(|before| before == label);
        if label.is_empty() || label.starts_with("__") || Some(*label) == reserved || repeated {
            return Err(RegisterError::LabelName { metric: metric.to_owned(), label: (*label).to_owned() });
        }
    }
    Ok(())
}
