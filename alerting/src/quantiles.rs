//! Summaries: quantiles of the newest observations, for the metrics that upstream has as summaries.

use std::collections::BTreeMap;
use std::sync::Arc;

use ferula_exposition::registry::Collect;
use ferula_exposition::{MetricFamily, MetricValue, Registry, SummaryValue};
use ferula_model::{Labels, MetricType};
use parking_lot::Mutex;

/// How many of the newest observations the quantiles are taken over.
const WINDOW: usize = 1000;
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
    windows: Mutex<BTreeMap<String, Window>>,
}

#[derive(Debug, Default)]
struct Window {
    /// Once full, the oldest is at `count % WINDOW`.
    newest: Vec<f64>,
    count: u64,
    sum: f64,
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
            windows.insert(label_value.to_owned(), Window::default());
        }
        let Some(window) = windows.get_mut(label_value) else { return };
        let place = (window.count % WINDOW as u64) as usize;
        match window.newest.get_mut(place) {
            Some(oldest) => *oldest = value,
            None => window.newest.push(value),
        }
        window.count += 1;
        window.sum += value;
    }

    pub(crate) fn retain(&self, is_known: impl Fn(&str) -> bool) {
        self.0.windows.lock().retain(|value, _| is_known(value));
    }
}

impl Collect for Content {
    fn collect(&self, out: &mut Vec<MetricFamily>) {
        let mut family = MetricFamily::new(&self.name, self.help, MetricType::Summary);
        for (label_value, window) in &*self.windows.lock() {
            let mut sorted = window.newest.clone();
            sorted.sort_by(f64::total_cmp);
            let rank = |quantile: f64| ((quantile * sorted.len() as f64).ceil() as usize).max(1) - 1;
            let at = |quantile| sorted.get(rank(quantile)).copied().unwrap_or(f64::NAN);
            let quantiles = QUANTILES.iter().map(|quantile| (*quantile, at(*quantile))).collect();
            let value = SummaryValue { count: Some(window.count as f64), sum: Some(window.sum), quantiles };
            let labels = if self.label.is_empty() {
                Labels::empty()
            } else {
                Labels::from_pairs([(self.label, label_value.as_str())])
            };
            family.push(labels, MetricValue::Summary(value));
        }
        out.push(family);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_newest_observations() {
        let registry = Registry::new();
        let quantiles = Quantiles::register(&registry, "x_seconds", "X.", "");
        for value in 0..WINDOW + 100 {
            quantiles.observe("", if value < 100 { 1e9 } else { (value - 99) as f64 });
        }
        let families = registry.gather();
        let MetricValue::Summary(summary) = &families[0].metrics[0].value else { panic!("{families:?}") };
        assert_eq!(summary.quantiles, [(0.5, 500.0), (0.9, 900.0), (0.99, 990.0)]);
        assert_eq!(summary.count, Some(1100.0));
    }
}
