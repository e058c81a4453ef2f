//! Collectors: families that are made when they are asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ferula_model::{Labels, MetricType};

use super::{GatherError, Registry};
use crate::family::MetricFamily;

/// A source of metric families that is asked at each gathering.
///
/// ```
/// use std::sync::Arc;
/// use ferula_exposition::{MetricFamily, Registry};
/// use ferula_exposition::registry::Collect;
/// use ferula_model::{Labels, MetricType};
///
/// #[derive(Debug)]
/// struct Build;
///
/// impl Collect for Build {
///     fn collect(&self, out: &mut Vec<MetricFamily>) {
///         let mut family = MetricFamily::new("build_info", "What was built.", MetricType::Gauge);
///         family.push_number(Labels::from_pairs([("version", "1.2.3")]), 1.0);
///         out.push(family);
///     }
/// }
///
/// let registry = Registry::new();
/// registry.collector(Arc::new(Build));
/// assert_eq!(&*registry.gather()[0].name, "build_info");
/// ```
pub trait Collect: Send + Sync + fmt::Debug {
    /// Adds the families of this moment.
    fn collect(&self, out: &mut Vec<MetricFamily>);
}

/// What never changes.
impl Collect for MetricFamily {
    fn collect(&self, out: &mut Vec<MetricFamily>) {
        out.push(self.clone());
    }
}

/// Registries can be nested.
impl Collect for Registry {
    fn collect(&self, out: &mut Vec<MetricFamily>) {
        out.extend(self.gather());
    }
}

/// A single number computed by a closure.
pub(super) struct Computed<F> {
    family: MetricFamily,
    value: F,
}

impl<F> Computed<F> {
    pub(super) fn new(name: &str, help: &str, metric_type: MetricType, value: F) -> Self {
        Self { family: MetricFamily::new(name, help, metric_type), value }
    }
}

impl<F: Fn() -> f64 + Send + Sync> Collect for Computed<F> {
    fn collect(&self, out: &mut Vec<MetricFamily>) {
        let mut family = self.family.clone();
        family.push_number(Labels::empty(), (self.value)());
        out.push(family);
    }
}

impl<F> fmt::Debug for Computed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Computed").field("name", &self.family.name).finish_non_exhaustive()
    }
}

/// A collector whose metrics get labels more. A label that a metric has already stays.
#[derive(Debug)]
pub(super) struct Labelled {
    labels: Labels,
    collector: Arc<dyn Collect>,
}

impl Labelled {
    pub(super) fn new(labels: Labels, collector: Arc<dyn Collect>) -> Self {
        Self { labels, collector }
    }
}

impl Collect for Labelled {
    fn collect(&self, out: &mut Vec<MetricFamily>) {
        let first = out.len();
        self.collector.collect(out);
        for metric in out.iter_mut().skip(first).flat_map(|family| &mut family.metrics) {
            let mut labels = self.labels.to_builder();
            for (name, value) in &metric.labels {
                labels.set(name, value);
            }
            metric.labels = labels.build();
        }
    }
}

/// Families of one name become one, sorted by name; metrics in no order, and some perhaps twice.
pub(super) fn merge(families: Vec<MetricFamily>) -> (Vec<MetricFamily>, Vec<GatherError>) {
    let mut merged: BTreeMap<Arc<str>, MetricFamily> = BTreeMap::new();
    let mut errors = Vec::new();
    for family in families {
        match merged.get_mut(&family.name) {
            Some(first) if first.metric_type != family.metric_type => errors.push(GatherError::Type {
                metric: family.name.to_string(),
                first: first.metric_type.as_str(),
                second: family.metric_type.as_str(),
            }),
            Some(first) => first.metrics.extend(family.metrics),
            None => {
                merged.insert(Arc::clone(&family.name), family);
            }
        }
    }
    (merged.into_values().collect(), errors)
}

/// Sorts metrics by labels and time, and drops what is there twice.
pub(super) fn sort(families: &mut [MetricFamily], errors: &mut Vec<GatherError>) {
    for family in families {
        family.metrics.sort_by(|a, b| a.labels.cmp(&b.labels).then(a.timestamp.cmp(&b.timestamp)));
        let name = &family.name;
        family.metrics.dedup_by(|second, first| {
            let same = second.labels == first.labels && second.timestamp == first.timestamp;
            if same {
                errors.push(GatherError::Duplicate { metric: name.to_string(), labels: first.labels.clone() });
            }
            same
        });
    }
}
