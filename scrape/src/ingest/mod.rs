//! Ingesting: what does a scraped body become in the storage?
//!
//! ```text
//!  body --parser--> event --series cache--> known ref ------------------------------> append
//!                                 |                                                      ^
//!                                new --> labels of the target, rules, limits --> ref ----+
//! ```
//!
//! A scrape is one batch: either all of it becomes visible or nothing. What is wrong with the body as a whole (it cannot
//! be parsed, it breaks a limit, a series has no name) fails the scrape; what is wrong with a single sample (it is out of
//! order, it is repeated) costs that sample, and is counted.
//!
//! Here is what a target keeps from one body to the next. Read [`body`] for the way of one body, [`outcome`] for what comes
//! of it, [`rules`] for what happens to a series that is seen for the first time, [`histogram`] for the limits of native
//! histograms, [`metadata`] for what is kept of `# HELP` and `# TYPE`.

mod body;
pub(crate) mod histogram;
pub(crate) mod metadata;
mod outcome;
pub(crate) mod rules;

use std::sync::Arc;

use ferula_exposition::{Format, LabelBuffer, ParseOptions};
use ferula_model::{AppendError, Appender, STALE_MARKER, SeriesRef, Timestamp};
use parking_lot::Mutex;

use crate::series_cache::SeriesCache;
use body::Scrape;
use histogram::BucketLimits;
pub(crate) use metadata::Heard;
use metadata::MetadataCache;
pub(crate) use outcome::Counts;
pub use outcome::IngestError;
use rules::SeriesRules;

/// What applies to the bodies of a target.
#[derive(Debug, Default)]
pub(crate) struct IngestRules {
    pub(crate) series: SeriesRules,
    pub(crate) parse: ParseOptions,
    pub(crate) honor_timestamps: bool,
    pub(crate) track_timestamps: bool,
    /// 0: no limit.
    pub(crate) sample_limit: u64,
    pub(crate) buckets: BucketLimits,
    pub(crate) starts: StartTimestamps,
    /// Metadata goes to the storage too.
    pub(crate) append_metadata: bool,
}

/// What becomes of the start timestamps that targets give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartTimestamps {
    /// Nothing, as upstream does by default.
    #[default]
    Ignore,
    /// They are stored with each sample (upstream's feature `st-storage`).
    Store,
    /// A sample of zero is stored at that time (upstream's feature `created-timestamp-zero-ingestion`).
    ZeroSample,
    /// Both (both features).
    StoreAndZeroSample,
}

impl StartTimestamps {
    /// What upstream's features make of them: `st-storage` and `created-timestamp-zero-ingestion`.
    pub fn of_features(store: bool, zero_samples: bool) -> Self {
        match (store, zero_samples) {
            (false, false) => Self::Ignore,
            (true, false) => Self::Store,
            (false, true) => Self::ZeroSample,
            (true, true) => Self::StoreAndZeroSample,
        }
    }

    fn stores(self) -> bool {
        matches!(self, Self::Store | Self::StoreAndZeroSample)
    }

    fn adds_zeros(self) -> bool {
        matches!(self, Self::ZeroSample | Self::StoreAndZeroSample)
    }
}

/// Turns the bodies of one target into samples, remembering its series from scrape to scrape.
#[derive(Debug)]
pub(crate) struct Ingestor {
    rules: Arc<IngestRules>,
    cache: SeriesCache,
    metadata: Arc<Mutex<MetadataCache>>,
    labels: LabelBuffer,
    vanished: Vec<SeriesRef>,
}

impl Ingestor {
    pub(crate) fn new(rules: Arc<IngestRules>) -> Self {
        Self {
            rules,
            cache: SeriesCache::default(),
            metadata: Arc::default(),
            labels: LabelBuffer::default(),
            vanished: Vec::new(),
        }
    }

    /// What the target says about its families, as of the last scrape.
    pub(crate) fn metadata(&self) -> Arc<Mutex<MetadataCache>> {
        Arc::clone(&self.metadata)
    }

    /// Other rules from now on. What they leave out is marked stale by the next scrape. `same_series`: they make the same
    /// series of the same bytes, so that everything known stays.
    pub(crate) fn change_rules(&mut self, rules: Arc<IngestRules>, same_series: bool) {
        self.rules = rules;
        if !same_series {
            self.cache.forget_keys();
        }
    }

    /// Adds a body to a batch: its samples, and stale markers for the series that it has no more.
    ///
    /// After an error the batch must be rolled back and [`mark_all_stale`](Self::mark_all_stale) be called with the next.
    /// The counts are those up to the error.
    pub(crate) fn ingest(
        &mut self,
        appender: &mut dyn Appender,
        body: &[u8],
        format: Format,
        at: Timestamp,
    ) -> (Counts, Result<(), IngestError>) {
        let metadata = Arc::clone(&self.metadata);
        let mut metadata = metadata.lock();
        self.cache.begin();
        metadata.begin();
        let rules = Arc::clone(&self.rules);
        let scrape = Scrape::new(&rules, &mut self.cache, &mut metadata, &mut self.labels, appender, at);
        let (counts, outcome) = scrape.ingest(body, format);
        let outcome = outcome.and_then(|()| self.mark_vanished(appender, at));
        if outcome.is_ok() {
            self.cache.finish();
            metadata.finish();
        }
        (counts, outcome)
    }

    /// Adds stale markers for all series that were alive before the scrape. True if the cache had to be flushed.
    pub(crate) fn mark_all_stale(&mut self, appender: &mut dyn Appender, at: Timestamp) -> bool {
        self.vanished.clear();
        self.vanished.extend(self.cache.alive());
        self.vanished.sort_unstable();
        self.vanished.dedup();
        // The scrape has failed already; there is nobody left to tell about a marker that is refused.
        let _ = self.append_markers(appender, at);
        self.cache.abandon()
    }

    fn mark_vanished(&mut self, appender: &mut dyn Appender, at: Timestamp) -> Result<(), IngestError> {
        self.cache.vanished(&mut self.vanished);
        self.append_markers(appender, at)
    }

    fn append_markers(&mut self, appender: &mut dyn Appender, at: Timestamp) -> Result<(), IngestError> {
        for series in self.vanished.drain(..) {
            match appender.append_float(series, at, STALE_MARKER) {
                // Time trouble: the series has a newer sample of its own. Unknown: the storage ended it already.
                Err(error) if !error.is_ordering() && !matches!(error, AppendError::UnknownSeries(_)) => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
