//! Summaries: quantiles of the newest observations, for the metrics that upstream has as summaries.

use std::collections::BTreeMap;
use std::sync::Arc;

use ferula_exposition::registry::{Collect, ObservationWindow};
use ferula_exposition::{MetricFamily, MetricValue, Registry};
use ferula_model::{Labels, MetricType};
use parking_lot::Mutex;

/// As upstream.
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

/// Summaries of one name, one for each value of a label. Clones share one content.
#[derive(Clone, Debug)]
pub(crate) struct Quantiles(Arc<Content>);

#[derive(Debug)]
struct Content {
    name: String,
    help: &'static str,
    /// Empty: one summary without a label.
    label: &'static str,
    windows: Mutex<BTreeMap<String, ObservationWindow>>,
}

impl Quantiles {
    pub(crate) fn register(registry: &Registry, name: &str, help: &'static str, label: &'static str) -> Self {
        let content = Arc::new(Content { name: name.to_owned(), help, label, windows: Mutex::default() });
        registry.collector(Arc::<Content>::clone(&content));
        Self(content)
    }

    pub(crate) fn observe(&self, label_value: &str, value: f64) {
        let mut windows = self.0.windows.lock();
        if !windows.contains_key(label_value) {
            windows.insert(label_value.to_owned(), ObservationWindow::default());
        }
        if let Some(window) = windows.get_mut(label_value) {
            window.observe(value);
        }
    }

    pub(crate) fn retain(&self, is_known: impl Fn(&str) -> bool) {
        self.0.windows.lock().retain(|value, _| is_known(value));
    }
}

impl Collect for Content {
    fn collect(&self, out: &mut Vec<MetricFamily>) {
        let mut family = MetricFamily::new(&self.name, self.help, MetricType::Summary);
        for (label_value, window) in &*self.windows.lock() {
            let labels = if self.label.is_empty() {
                Labels::empty()
            } else {
                Labels::from_pairs([(self.label, label_value.as_str())])
            };
            family.push(labels, MetricValue::Summary(window.summary(&QUANTILES)));
        }
        out.push(family);
    }
}
