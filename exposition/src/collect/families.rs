//! Families in the making, for collectors.

use ferula_model::{Labels, MetricType};

use crate::family::MetricFamily;

/// Families in the making. Samples of one name become one family.
#[derive(Debug, Default)]
pub(crate) struct Families(Vec<MetricFamily>);

impl Families {
    pub(crate) fn counter(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.add(MetricType::Counter, name, help, labels, value);
    }

    pub(crate) fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.add(MetricType::Gauge, name, help, labels, value);
    }

    pub(crate) fn add(&mut self, metric_type: MetricType, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        // Samples of a family mostly come together, so it is looked for from the end.
        let place = self.0.iter().rposition(|family| &*family.name == name).unwrap_or(self.0.len());
        if place == self.0.len() {
            self.0.push(MetricFamily::new(name, help, metric_type));
        }
        if let Some(family) = self.0.get_mut(place) {
            family.push_number(Labels::from_pairs(labels.iter().copied()), value);
        }
    }

    #[cfg(feature = "host")]
    pub(crate) fn push(&mut self, family: MetricFamily) {
        self.0.push(family);
    }

    pub(crate) fn into_families(self) -> Vec<MetricFamily> {
        self.0
    }
}
