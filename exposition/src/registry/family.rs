//! A family: one metric per label set.

use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use ferula_model::{Clock, Labels, MetricType, Timestamp};
use hashbrown::Equivalent;

use super::members::{Bounds, Members};
use crate::family::{MetricFamily, MetricValue};

/// A kind of metric that a family can hold. Clones of a value are handles to one metric.
///
/// The registry's own kinds are enough for most; this is how to add one, for [`Registry::family`](super::Registry::family):
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
/// use ferula_exposition::registry::Instrument;
/// use ferula_exposition::{MetricValue, Registry};
/// use ferula_model::{Clock, MetricType};
///
/// /// The greatest value ever shown.
/// #[derive(Clone, Debug)]
/// struct Peak(Arc<AtomicU64>);
///
/// impl Instrument for Peak {
///     type Options = ();
///     const TYPE: MetricType = MetricType::Gauge;
///
///     fn create((): &(), _: Option<&Arc<dyn Clock>>) -> Self {
///         Self(Arc::default())
///     }
///     fn read(&self) -> MetricValue {
///         MetricValue::Gauge(self.0.load(Relaxed) as f64)
///     }
///     fn handles(&self) -> usize {
///         Arc::strong_count(&self.0)
///     }
///     fn activity(&self, _: u64) -> u64 {
///         self.0.load(Relaxed)
///     }
/// }
///
/// let registry = Registry::new();
/// let peaks = registry.family::<Peak, 1>("queue_length_peak", "Longest queue.", ["queue"], ())?;
/// peaks.with(["mail"]).0.fetch_max(12, Relaxed);
/// # Ok::<(), ferula_exposition::registry::RegisterError>(())
/// ```
pub trait Instrument: Clone + Send + Sync + fmt::Debug + 'static {
    /// What all metrics of a family share, such as bucket bounds.
    type Options: PartialEq + Send + Sync + fmt::Debug + 'static;
    /// The type of the family.
    const TYPE: MetricType;

    /// A new metric. The clock is that of the registry, if it has one.
    fn create(options: &Self::Options, clock: Option<&Arc<dyn Clock>>) -> Self;

    /// What it measures now.
    fn read(&self) -> MetricValue;

    /// How many clones there are, this one included.
    fn handles(&self) -> usize;

    /// A number that differs from `before`, which is what the last call returned, if something was measured since.
    fn activity(&self, before: u64) -> u64;

    /// When it forgot everything and began anew; `None` if it never did.
    fn restarted(&self) -> Option<Timestamp> {
        None
    }
}

/// The label value of the metric that stands for all that are too many.
pub const OVERFLOW: &str = "__overflow__";

/// One metric per label set; `N` label names. Clones share one content.
///
/// ```
/// use ferula_exposition::Registry;
///
/// let registry = Registry::new();
/// let errors = registry.counter_family("errors_total", "Errors by kind.", ["kind"])?;
/// errors.with(["timeout"]).inc();
/// assert!(errors.remove(["timeout"]));
/// assert!(registry.gather()[0].metrics.is_empty());
/// # Ok::<(), ferula_exposition::registry::RegisterError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Family<I: Instrument, const N: usize>(Arc<Shared<I, N>>);

impl<I: Instrument, const N: usize> From<Arc<Shared<I, N>>> for Family<I, N> {
    fn from(shared: Arc<Shared<I, N>>) -> Self {
        Self(shared)
    }
}

impl<I: Instrument, const N: usize> Family<I, N> {
    /// The metric with these label values, in the order of the label names; it is created if it is new, unless there are as
    /// many as [`Registry::limited`](super::Registry::limited) allows: then it is the one with [`OVERFLOW`] for each value.
    /// Keep the answer where this would be called often.
    pub fn with(&self, values: [&str; N]) -> I {
        let named = |values: [&str; N]| (Values(values.map(Box::<str>::from)), self.0.labels(values));
        self.0.members.with(&Values(values), || named(values), || named([OVERFLOW; N]))
    }

    /// Forgets the metric with these label values; handles to it count on unseen. Whether there was one.
    pub fn remove(&self, values: [&str; N]) -> bool {
        self.0.members.remove(&Values(values))
    }

    /// Forgets the metrics for which `keep` does not hold, given their label values.
    ///
    /// ```
    /// use ferula_exposition::Registry;
    ///
    /// let registry = Registry::new();
    /// let open = registry.gauge_family("open_files", "Open files.", ["user", "kind"])?;
    /// for (user, kind) in [("ann", "log"), ("ann", "pipe"), ("bob", "log")] {
    ///     open.with([user, kind]).inc();
    /// }
    /// open.retain(|[user, _]| user != "ann");
    /// assert_eq!(open.len(), 1);
    /// # Ok::<(), ferula_exposition::registry::RegisterError>(())
    /// ```
    pub fn retain(&self, mut keep: impl FnMut([&str; N]) -> bool) {
        self.0.members.retain(|key| keep(std::array::from_fn(|i| key.0[i].as_ref())));
    }

    /// Forgets all metrics.
    pub fn clear(&self) {
        self.0.members.retain(|_| false);
    }

    /// How many metrics there are.
    pub fn len(&self) -> usize {
        self.0.members.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A family as the registry sees it.
pub(super) trait Gathered: Send + Sync + fmt::Debug {
    fn metric_type(&self) -> MetricType;
    fn read(&self) -> MetricFamily;
    fn describe(&self) -> String;
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// What the handles of a family share.
#[derive(Debug)]
pub(super) struct Shared<I: Instrument, const N: usize> {
    name: Arc<str>,
    help: Arc<str>,
    unit: Arc<str>,
    constant: Labels,
    names: [Box<str>; N],
    members: Members<Values<Box<str>, N>, I>,
}

impl<I: Instrument, const N: usize> Shared<I, N> {
    pub(super) fn new(
        (name, constant): &(Arc<str>, Labels),
        help: &str,
        unit: Arc<str>,
        names: [&str; N],
        members: Members<Values<Box<str>, N>, I>,
    ) -> Self {
        let names = names.map(Box::from);
        Self { name: Arc::clone(name), help: help.into(), unit, constant: constant.clone(), names, members }
    }

    pub(super) fn same_as(&self, names: &[&str; N], options: &I::Options, bounds: Bounds) -> bool {
        let same_names = self.names.iter().zip(names).all(|(a, b)| a.as_ref() == *b);
        same_names && self.members.options == *options && self.members.bounds == bounds
    }

    fn labels(&self, values: [&str; N]) -> Labels {
        let mut labels = self.constant.to_builder();
        for (name, value) in self.names.iter().zip(values) {
            labels.set(name, value);
        }
        labels.build()
    }
}

impl<I: Instrument, const N: usize> Gathered for Shared<I, N> {
    fn metric_type(&self) -> MetricType {
        I::TYPE
    }

    fn read(&self) -> MetricFamily {
        MetricFamily {
            name: Arc::clone(&self.name),
            help: Arc::clone(&self.help),
            unit: Arc::clone(&self.unit),
            metric_type: I::TYPE,
            metrics: self.members.read(),
        }
    }

    fn describe(&self) -> String {
        let Bounds { idle, metrics_max } = self.members.bounds;
        let idle = idle.map(|idle| format!(", idle after {idle:?}")).unwrap_or_default();
        let max = metrics_max.map(|max| format!(", at most {max}")).unwrap_or_default();
        let (names, options) = (&self.names, &self.members.options);
        format!("{} with labels {names:?} and options {options:?}{idle}{max}", I::TYPE.as_str())
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// Label values as a key; borrowed and owned ones hash alike.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Values<T, const N: usize>([T; N]);

impl<T: AsRef<str>, const N: usize> Hash for Values<T, N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.iter().for_each(|value| value.as_ref().hash(state));
    }
}

impl<const N: usize> Equivalent<Values<Box<str>, N>> for Values<&str, N> {
    fn equivalent(&self, key: &Values<Box<str>, N>) -> bool {
        self.0.iter().zip(&key.0).all(|(a, b)| *a == b.as_ref())
    }
}
