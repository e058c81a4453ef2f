//! A family: one metric per label set.

use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use ferula_model::{Clock, Labels, MetricType, Timestamp};
use hashbrown::{Equivalent, HashMap};
use parking_lot::RwLock;

use crate::family::{Metric, MetricFamily, MetricValue};

/// A kind of metric that a family can hold.
pub trait Instrument: Clone + Send + Sync + fmt::Debug + 'static {
    /// What all metrics of a family share, such as bucket bounds.
    type Options: PartialEq + Send + Sync + fmt::Debug + 'static;
    /// The type of the family.
    const TYPE: MetricType;

    /// A new metric.
    fn create(options: &Self::Options) -> Self;

    /// What it measures now.
    fn read(&self) -> MetricValue;

    /// How many clones there are, this one included.
    fn handles(&self) -> usize;
}

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
    /// The metric with these label values, in the order of the label names; it is created if it is new. Keep the answer
    /// where this would be called often.
    pub fn with(&self, values: [&str; N]) -> I {
        if let Some(member) = self.0.members.read().get(&Values(values)) {
            return member.instrument.clone();
        }
        let mut members = self.0.members.write();
        let key = Values(values.map(Box::<str>::from));
        members.entry(key).or_insert_with(|| self.0.create(values)).instrument.clone()
    }

    /// Forgets the metric with these label values; handles to it count on unseen. Whether there was one.
    pub fn remove(&self, values: [&str; N]) -> bool {
        self.0.members.write().remove(&Values(values)).is_some()
    }

    /// Forgets the metrics for which `keep` does not hold, given their label values.
    pub fn retain(&self, mut keep: impl FnMut([&str; N]) -> bool) {
        self.0.members.write().retain(|key, _| keep(std::array::from_fn(|i| key.0[i].as_ref())));
    }

    /// Forgets all metrics.
    pub fn clear(&self) {
        self.0.members.write().clear();
    }

    /// How many metrics there are.
    pub fn len(&self) -> usize {
        self.0.members.read().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A family as the registry sees it.
pub(super) trait Members: Send + Sync + fmt::Debug {
    fn read(&self) -> MetricFamily;
    fn describe(&self) -> String;
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// What the handles of a family share.
#[derive(Debug)]
pub(super) struct Shared<I: Instrument, const N: usize> {
    name: Arc<str>,
    help: Arc<str>,
    constant: Labels,
    names: [Box<str>; N],
    options: I::Options,
    clock: Option<Arc<dyn Clock>>,
    members: RwLock<HashMap<Values<Box<str>, N>, Member<I>>>,
}

#[derive(Debug)]
struct Member<I> {
    instrument: I,
    labels: Labels,
    start: Option<Timestamp>,
}

impl<I: Instrument, const N: usize> Shared<I, N> {
    pub(super) fn new(
        (name, constant): &(Arc<str>, Labels),
        help: &str,
        names: [&str; N],
        options: I::Options,
        clock: Option<Arc<dyn Clock>>,
    ) -> Self {
        Self {
            name: Arc::clone(name),
            help: help.into(),
            constant: constant.clone(),
            names: names.map(Box::from),
            options,
            clock,
            members: RwLock::default(),
        }
    }

    pub(super) fn same_as(&self, names: &[&str; N], options: &I::Options) -> bool {
        self.names.iter().zip(names).all(|(a, b)| a.as_ref() == *b) && self.options == *options
    }

    fn create(&self, values: [&str; N]) -> Member<I> {
        let mut labels = self.constant.to_builder();
        for (name, value) in self.names.iter().zip(values) {
            labels.set(name, value);
        }
        Member {
            instrument: I::create(&self.options),
            labels: labels.build(),
            start: self.clock.as_ref().map(|clock| clock.now()),
        }
    }
}

impl<I: Instrument, const N: usize> Members for Shared<I, N> {
    fn read(&self) -> MetricFamily {
        let members = self.members.read();
        let metrics = members.values().map(|member| Metric {
            labels: member.labels.clone(),
            value: member.instrument.read(),
            timestamp: None,
            start: member.start,
        });
        MetricFamily {
            name: Arc::clone(&self.name),
            help: Arc::clone(&self.help),
            unit: "".into(),
            metric_type: I::TYPE,
            metrics: metrics.collect(),
        }
    }

    fn describe(&self) -> String {
        format!("{} with labels {:?} and options {:?}", I::TYPE.as_str(), self.names, self.options)
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// Label values as a key; borrowed and owned ones hash alike.
#[derive(Debug, PartialEq, Eq)]
struct Values<T, const N: usize>([T; N]);

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
