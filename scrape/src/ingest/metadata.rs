//! Metadata: what does a target say about its families?

use std::sync::Arc;

use ferula_model::{Metadata, MetricType};
use foldhash::fast::RandomState;
use hashbrown::HashMap;

/// As upstream: what a family said is remembered this many scrapes after it was last heard.
const SCRAPES_KEPT: u32 = 10;

/// Type, unit and help of the families of one target.
#[derive(Debug, Default)]
pub(crate) struct MetadataCache {
    families: HashMap<Arc<str>, Entry, RandomState>,
    scrape: u32,
    /// The family that was spoken of last.
    last: Arc<str>,
}

#[derive(Debug, Default)]
struct Entry {
    metadata: Metadata,
    seen: u32,
}

impl MetadataCache {
    pub(super) fn begin(&mut self) {
        self.scrape = self.scrape.wrapping_add(1);
    }

    /// Ends a good scrape: what has not been heard for long is forgotten.
    pub(super) fn finish(&mut self) {
        let scrape = self.scrape;
        self.families.retain(|_, entry| scrape.wrapping_sub(entry.seen) <= SCRAPES_KEPT);
    }

    pub(super) fn set_type(&mut self, family: &str, metric_type: MetricType) {
        self.entry(family).metric_type = metric_type;
    }

    pub(super) fn set_help(&mut self, family: &str, text: &str) {
        let metadata = self.entry(family);
        if metadata.help != text {
            text.clone_into(&mut metadata.help);
        }
    }

    pub(super) fn set_unit(&mut self, family: &str, unit: &str) {
        let metadata = self.entry(family);
        if metadata.unit != unit {
            unit.clone_into(&mut metadata.unit);
        }
    }

    fn entry(&mut self, family: &str) -> &mut Metadata {
        if &*self.last != family {
            self.last = match self.families.get_key_value(family) {
                Some((known, _)) => Arc::clone(known),
                None => family.into(),
            };
        }
        let entry = self.families.entry(Arc::clone(&self.last)).or_default();
        entry.seen = self.scrape;
        &mut entry.metadata
    }

    /// The metadata of the series of a metric, if the family spoken of last is its family.
    pub(super) fn of_series(&self, metric: &str) -> Option<Metadata> {
        let suffix = metric.strip_prefix(&*self.last)?;
        let metadata = &self.families.get(&self.last)?.metadata;
        let belongs = match metadata.metric_type {
            _ if suffix.is_empty() => true,
            MetricType::Counter => suffix == "_total",
            MetricType::Histogram => matches!(suffix, "_bucket" | "_sum" | "_count"),
            MetricType::Summary => matches!(suffix, "_sum" | "_count"),
            MetricType::GaugeHistogram => matches!(suffix, "_bucket" | "_gsum" | "_gcount"),
            MetricType::Info => suffix == "_info",
            _ => false,
        };
        belongs.then(|| metadata.clone())
    }

    /// All families, by name.
    pub(crate) fn all(&self) -> Vec<(Arc<str>, Metadata)> {
        let mut all: Vec<_> =
            self.families.iter().map(|(name, entry)| (Arc::clone(name), entry.metadata.clone())).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// How many families, and how many bytes their names and texts have.
    pub(crate) fn size(&self) -> (usize, usize) {
        let bytes =
            |(name, entry): (&Arc<str>, &Entry)| name.len() + entry.metadata.unit.len() + entry.metadata.help.len();
        (self.families.len(), self.families.iter().map(bytes).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_forgotten_ten_scrapes_after_they_fell_silent() {
        let mut cache = MetadataCache::default();
        cache.begin();
        cache.set_help("a", "text");
        cache.finish();
        for _ in 0..10 {
            cache.begin();
            cache.finish();
        }
        assert_eq!(cache.all().len(), 1);
        cache.begin();
        cache.finish();
        assert!(cache.all().is_empty());
    }

    #[test]
    fn a_series_belongs_to_the_family_by_its_suffix() {
        let mut cache = MetadataCache::default();
        cache.set_type("h", MetricType::Histogram);
        assert!(cache.of_series("h_bucket").is_some() && cache.of_series("h_total").is_none());
        cache.set_type("c", MetricType::Counter);
        assert!(cache.of_series("c_total").is_some() && cache.of_series("h_sum").is_none());
    }
}
