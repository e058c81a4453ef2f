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
    families: Vec<Entry>,
    index: HashMap<Arc<str>, FamilyId, RandomState>,
    free: Vec<FamilyId>,
    scrape: u32,
    /// The family that was spoken of last.
    last: Option<FamilyId>,
}

/// Position of a family; valid as long as the family is heard of.
pub(super) type FamilyId = u32;

/// A family, and how often it had changed what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    family: FamilyId,
    changes: u32,
}

impl Heard {
    /// Whether both are of the same family.
    pub(super) fn is_of(self, other: Self) -> bool {
        self.family == other.family
    }
}

#[derive(Debug, Default)]
struct Entry {
    name: Arc<str>,
    metadata: Metadata,
    seen: u32,
    changes: u32,
}

impl MetadataCache {
    pub(super) fn begin(&mut self) {
        self.scrape = self.scrape.wrapping_add(1);
        self.last = None;
    }

    /// Ends a good scrape: what has not been heard for long is forgotten.
    pub(super) fn finish(&mut self) {
        let (scrape, families, free) = (self.scrape, &mut self.families, &mut self.free);
        self.index.retain(|_, id| {
            let Some(entry) = families.get_mut(*id as usize) else { return false };
            let keep = scrape.wrapping_sub(entry.seen) <= SCRAPES_KEPT;
            if !keep {
                *entry = Entry::default();
                free.push(*id);
            }
            keep
        });
        self.last = None;
    }

    /// The family that was spoken of last in this scrape, as it is now.
    pub(super) fn last(&self) -> Option<Heard> {
        let family = self.last?;
        self.families.get(family as usize).map(|entry| Heard { family, changes: entry.changes })
    }

    /// Whether a family still says what it said then.
    #[inline]
    pub(super) fn is_unchanged(&self, heard: Heard) -> bool {
        self.families.get(heard.family as usize).is_some_and(|entry| entry.changes == heard.changes)
    }

    /// Notes that the target said of a family what it had said before.
    #[inline]
    pub(super) fn heard_again(&mut self, heard: Heard) {
        if let Some(entry) = self.families.get_mut(heard.family as usize) {
            entry.seen = self.scrape;
            self.last = Some(heard.family);
        }
    }

    pub(super) fn set_type(&mut self, family: &str, metric_type: MetricType) {
        let entry = self.entry(family);
        if entry.metadata.metric_type != metric_type {
            entry.metadata.metric_type = metric_type;
            entry.changes = entry.changes.wrapping_add(1);
        }
    }

    pub(super) fn set_help(&mut self, family: &str, text: &str) {
        let entry = self.entry(family);
        if entry.metadata.help != text {
            text.clone_into(&mut entry.metadata.help);
            entry.changes = entry.changes.wrapping_add(1);
        }
    }

    pub(super) fn set_unit(&mut self, family: &str, unit: &str) {
        let entry = self.entry(family);
        if entry.metadata.unit != unit {
            unit.clone_into(&mut entry.metadata.unit);
            entry.changes = entry.changes.wrapping_add(1);
        }
    }

    fn entry(&mut self, family: &str) -> &mut Entry {
        let id = match self.last.filter(|last| self.families.get(*last as usize).is_some_and(|e| *e.name == *family)) {
            Some(last) => last,
            None => self.index.get(family).copied().unwrap_or_else(|| self.add(family.into())),
        };
        self.last = Some(id);
        let entry = &mut self.families[id as usize];
        entry.seen = self.scrape;
        entry
    }

    fn add(&mut self, name: Arc<str>) -> FamilyId {
        let entry = Entry { name: Arc::clone(&name), ..Entry::default() };
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                self.families.push(Entry::default());
                (self.families.len() - 1) as FamilyId
            }
        };
        if let Some(slot) = self.families.get_mut(id as usize) {
            *slot = entry;
        }
        self.index.insert(name, id);
        id
    }

    /// The metadata of the series of a metric, if the family spoken of last is its family.
    pub(super) fn of_series(&self, metric: &str) -> Option<Metadata> {
        let Entry { name, metadata, .. } = self.families.get(self.last? as usize)?;
        let suffix = metric.strip_prefix(&**name)?;
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
        let heard = self.index.values().filter_map(|id| self.families.get(*id as usize));
        let mut all: Vec<_> = heard.map(|entry| (Arc::clone(&entry.name), entry.metadata.clone())).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// How many families, and how many bytes their names and texts have.
    pub(crate) fn size(&self) -> (usize, usize) {
        let bytes = |entry: &Entry| entry.name.len() + entry.metadata.unit.len() + entry.metadata.help.len();
        (self.index.len(), self.families.iter().map(bytes).sum())
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
