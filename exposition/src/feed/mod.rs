//! The feed: metric families go straight into a storage.
//!
//! ```text
//!  Registry --gather--> families --parts--> (series, value) --known ref--> Appender --commit--> storage
//!                                               |      new --labels--> ref    ^
//!                                               '--- gone since the last time: stale marker
//! ```
//!
//! Nothing is encoded or parsed between a registry and an [`Appendable`]: native histograms, exemplars, start timestamps and
//! metadata arrive as they are, and all samples of a gathering have one time. The series that come of it are those that a
//! scrape of the same registry in protobuf would make.
//!
//! # Staleness
//!
//! What was stored by the last committed gathering and is not in this one is marked stale in the same batch, at the same
//! time. If the commit fails, nothing counts as stored or marked, and the next gathering does both. Metrics with a timestamp of
//! their own are not marked, as in Prometheus. [`Feed::close`] marks everything.

mod labels;
mod parts;
mod report;
mod series;

use std::sync::Arc;

use ferula_model::{AppendError, Appendable, Appender, Clock, CommitError, Labels, Metadata, Timestamp};
use thiserror::Error;

use crate::family::{Metric, MetricFamily};
use crate::registry::Registry;
use labels::SeriesNames;
use parts::HistogramForms;
use report::{Report, Reporter};
use series::{SeriesTable, Writer};

/// Feeds what a registry gathers to a storage, time after time, and remembers the series in between.
///
/// ```
/// use std::sync::Arc;
/// use ferula_exposition::{Feed, Registry};
/// use ferula_model::{Labels, ManualClock, Timestamp};
/// # use ferula_model::*;
/// # struct Storage;
/// # struct Batch(usize);
/// # impl Appendable for Storage {
/// #     fn appender(&self) -> Box<dyn Appender + '_> { Box::new(Batch(0)) }
/// # }
/// # impl Appender for Batch {
/// #     fn series(&mut self, _: &[(&str, &str)]) -> Result<SeriesRef, AppendError> { Ok(SeriesRef(1)) }
/// #     fn append(&mut self, _: SeriesRef, _: Sample) -> Result<(), AppendError> { self.0 += 1; Ok(()) }
/// #     fn append_exemplar(&mut self, _: SeriesRef, _: Exemplar) -> Result<(), AppendError> { Ok(()) }
/// #     fn set_metadata(&mut self, _: SeriesRef, _: &Metadata) -> Result<(), AppendError> { Ok(()) }
/// #     fn commit(self: Box<Self>) -> Result<CommitSummary, CommitError> {
/// #         Ok(CommitSummary { samples: self.0, dropped: 0 })
/// #     }
/// #     fn rollback(self: Box<Self>) {}
/// # }
/// # let storage = Storage; // any `Appendable`, such as a database
///
/// let registry = Registry::new();
/// let jobs = registry.counter("jobs_total", "Jobs done.")?;
/// let mut feed = Feed::new(Labels::from_pairs([("job", "worker"), ("instance", "one")]));
///
/// jobs.inc();
/// let summary = feed.gather(&registry, Timestamp(1_000), &storage)?;
/// assert_eq!((summary.samples, summary.series_added), (1, 1));
/// let summary = feed.close(Timestamp(2_000), &storage)?;
/// assert_eq!(summary.stale, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Feed {
    names: SeriesNames,
    forms: HistogramForms,
    table: SeriesTable,
    reporter: Option<(Arc<dyn Clock>, Reporter)>,
}

/// What a gathering brought.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct FeedSummary {
    /// Samples that were appended, stale markers and reports aside.
    pub samples: usize,
    /// Stale markers.
    pub stale: usize,
    /// Series that were not there the last time.
    pub series_added: usize,
    /// Exemplars.
    pub exemplars: usize,
    /// Samples that the storage refused, or dropped as it committed.
    pub refused: usize,
    /// Exemplars that the storage refused, and those of native histograms that have no time.
    pub exemplars_refused: usize,
    /// Why the first of the refused ones was refused.
    pub refusal: Option<AppendError>,
    /// Metrics that were there twice. The second is left out.
    pub duplicates: usize,
    /// Families that contradict others; see [`GatherError`](crate::registry::GatherError).
    pub conflicts: usize,
}

/// Nothing of a gathering was stored.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum FeedError {
    /// The storage takes no samples any more.
    #[error("{0}")]
    Append(#[source] AppendError),
    /// The batch could not be committed. The next gathering tries again.
    #[error("{0}")]
    Commit(#[from] CommitError),
}

impl Feed {
    /// A feed whose series get these labels, by custom `job` and `instance`. A label of that name that a metric has itself
    /// is kept with `exported_` before it, as in a scrape.
    pub fn new(labels: Labels) -> Self {
        Self {
            names: SeriesNames { labels, honor_labels: false },
            forms: HistogramForms::default(),
            table: SeriesTable::default(),
            reporter: None,
        }
    }

    /// Whether a label of a metric wins over one of the feed; no by default.
    pub fn honor_labels(mut self, honor: bool) -> Self {
        self.names.honor_labels = honor;
        self
    }

    /// Whether a native histogram is stored as one; yes by default. If not, its classic buckets are.
    pub fn native_histograms(mut self, native: bool) -> Self {
        self.forms.native = native;
        self
    }

    /// Whether the classic buckets of a histogram are stored beside its native form; no by default.
    pub fn keep_classic_histograms(mut self, keep: bool) -> Self {
        self.forms.keep_classic = keep;
        self
    }

    /// Whether histograms that have only classic buckets become native ones with custom buckets; no by default.
    pub fn convert_classic_histograms(mut self, convert: bool) -> Self {
        self.forms.convert_classic = convert;
        self
    }

    /// Adds `up`, `scrape_duration_seconds`, `scrape_samples_scraped`, `scrape_samples_post_metric_relabeling` and
    /// `scrape_series_added` for each gathering, so that dashboards and alerts made for scraped targets work. The clock
    /// measures the duration.
    pub fn reporting(mut self, clock: Arc<dyn Clock>) -> Self {
        self.reporter = Some((clock, Reporter::default()));
        self
    }

    /// Gathers a registry and stores everything as of `at`.
    ///
    /// # Errors
    ///
    /// Nothing is stored; see [`FeedError`]. A refused sample is no error; it is counted in the summary.
    pub fn gather(
        &mut self,
        registry: &Registry,
        at: Timestamp,
        storage: &dyn Appendable,
    ) -> Result<FeedSummary, FeedError> {
        let start = self.now();
        let (families, conflicts) = registry.gather_unordered();
        let mut summary = self.write(&families, at, storage, start)?;
        summary.conflicts = conflicts.len();
        Ok(summary)
    }

    /// Stores families, each name once, as of `at`. What was there the last time and is not among them is marked stale.
    ///
    /// # Errors
    ///
    /// As [`gather`](Self::gather).
    pub fn append(
        &mut self,
        families: &[MetricFamily],
        at: Timestamp,
        storage: &dyn Appendable,
    ) -> Result<FeedSummary, FeedError> {
        let start = self.now();
        self.write(families, at, storage, start)
    }

    /// Marks all series stale as of `at`, reports included. The feed may be used again.
    ///
    /// # Errors
    ///
    /// Nothing is stored; closing can be tried again.
    pub fn close(&mut self, at: Timestamp, storage: &dyn Appendable) -> Result<FeedSummary, FeedError> {
        let mut appender = storage.appender();
        let mut summary = FeedSummary::default();
        self.table.begin();
        let outcome = self.end(&mut *appender, at, &mut summary);
        let summary = self.commit(appender, outcome, summary)?;
        if let Some((_, reporter)) = &mut self.reporter {
            *reporter = Reporter::default();
        }
        Ok(summary)
    }

    fn end(&mut self, appender: &mut dyn Appender, at: Timestamp, summary: &mut FeedSummary) -> Result<(), FeedError> {
        self.table.mark_vanished(appender, at, summary)?;
        match &self.reporter {
            Some((_, reporter)) => reporter.append_stale(appender, at, summary),
            None => Ok(()),
        }
    }

    fn now(&self) -> Option<Timestamp> {
        self.reporter.as_ref().map(|(clock, _)| clock.now())
    }

    fn write(
        &mut self,
        families: &[MetricFamily],
        at: Timestamp,
        storage: &dyn Appendable,
        start: Option<Timestamp>,
    ) -> Result<FeedSummary, FeedError> {
        let mut appender = storage.appender();
        let mut summary = FeedSummary::default();
        self.table.begin();
        let outcome = self.write_all(families, at, &mut *appender, start, &mut summary);
        self.commit(appender, outcome, summary)
    }

    fn write_all(
        &mut self,
        families: &[MetricFamily],
        at: Timestamp,
        appender: &mut dyn Appender,
        start: Option<Timestamp>,
        summary: &mut FeedSummary,
    ) -> Result<(), FeedError> {
        for family in families {
            self.table.family(family);
            for metric in &family.metrics {
                self.metric(family, metric, at, appender, summary)?;
            }
        }
        self.table.mark_vanished(appender, at, summary)?;
        if let (Some((clock, reporter)), Some(start)) = (&mut self.reporter, start) {
            let report = Report::new(clock.now().since(start), summary);
            reporter.append(&self.names, appender, at, &report, summary)?;
        }
        Ok(())
    }

    fn metric(
        &mut self,
        family: &MetricFamily,
        metric: &Metric,
        at: Timestamp,
        appender: &mut dyn Appender,
        summary: &mut FeedSummary,
    ) -> Result<(), FeedError> {
        let Some(series) = self.table.metric(&family.name, &metric.labels) else { return Ok(()) };
        let mut writer = Writer { names: &self.names, family, metric, at, series, appender, summary, next: 0 };
        self.forms.for_each_part(metric, &mut |part, value, exemplars| writer.write(part, value, exemplars))
    }

    fn commit(
        &mut self,
        appender: Box<dyn Appender + '_>,
        outcome: Result<(), FeedError>,
        mut summary: FeedSummary,
    ) -> Result<FeedSummary, FeedError> {
        match outcome {
            Ok(()) => {
                summary.refused += appender.commit()?.dropped;
                self.table.committed();
                Ok(summary)
            }
            Err(error) => {
                appender.rollback();
                Err(error)
            }
        }
    }
}

/// Metadata of a family in the storage's words.
fn metadata(family: &MetricFamily) -> Metadata {
    Metadata { metric_type: family.metric_type, unit: family.unit.to_string(), help: family.help.to_string() }
}
