//! Collectors: families that are made when they are asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ferula_model::{Labels, MetricType};

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

/// A single number computed by a closure.
pub(super) struct Computed<F> {
    family: MetricFamily,
    labels: Labels,
    value: F,
}

impl<F> Computed<F> {
    pub(super) fn new(name: &str, help: &str, metric_type: MetricType, labels: Labels, value: F) -> Self {
        Self { family: MetricFamily::new(name, help, metric_type), labels, value }
    }
}

impl<F: Fn() -> f64 + Send + Sync> Collect for Computed<F> {
    fn collect(&self, out: &mut Vec<MetricFamily>) {
        let mut family = self.family.clone();
        family.push_number(self.labels.clone(), (self.value)());
        out.push(family);
    }
}

impl<F> fmt::Debug for Computed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Computed").field("name", &self.family.name).finish_non_exhaustive()
    }
}

/// Families of one name become one, sorted by name; metrics are sorted by labels.
pub(super) fn merge(families: Vec<MetricFamily>) -> Vec<MetricFamily> {
    let mut merged: BTreeMap<Arc<str>, MetricFamily> = BTreeMap::new();
    for family in families {
        match merged.get_mut(&family.name) {
            Some(first) => first.metrics.extend(family.metrics),
            None => {
                merged.insert(Arc::clone(&family.name), family);
            }
        }
    }
    let mut families: Vec<_> = merged.into_values().collect();
    for family in &mut families {
        family.metrics.sort_by(|a, b| a.labels.cmp(&b.labels));
    }
    families
}
