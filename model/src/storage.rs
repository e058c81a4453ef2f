//! The seams of storage: how samples go in and how they come out.
//!
//! ```text
//!  scrape, rules, remote write, OTLP --> Appender --> any storage --> Querier --> PromQL, API, remote read
//! ```
//!
//! `tsdb` implements both sides; a host can implement either over anything it has. The reading side is made for bulk: a
//! [`Querier`] selects series once, then any thread reads any of them, a whole time range at a time, into columns that
//! the caller owns and reuses. There is no call per sample.

use std::sync::Arc;

use thiserror::Error;

use crate::histogram::Histogram;
use crate::labels::Labels;
use crate::matcher::Matcher;
use crate::metadata::{Exemplar, Metadata};
use crate::number::{FloatForm, format_float};
use crate::sample::Sample;
use crate::time::{TimeRange, Timestamp};

/// A storage's own number for a series. Only the storage that gave it can read it, and it may forget it: an append to a
/// forgotten ref answers [`AppendError::UnknownSeries`], and the caller asks for the series again by its labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesRef(pub u64);

/// A storage that takes samples.
pub trait Appendable: Send + Sync {
    /// Begins a batch.
    fn appender(&self) -> Box<dyn Appender + '_>;
}

/// One batch of samples: nothing of it is visible before [`commit`](Self::commit), and all of it afterwards.
/// Dropping the appender rolls back.
pub trait Appender: Send {
    /// The ref of a series, which is created if it is new. `labels` are sorted by name, names are unique, no value is
    /// empty.
    ///
    /// # Errors
    ///
    /// [`AppendError::InvalidLabels`], or [`AppendError::SeriesLimit`] if the storage takes no more series.
    fn series(&mut self, labels: &[(&str, &str)]) -> Result<SeriesRef, AppendError>;

    /// The ref of a series that is already there, by its labels as a remote-write message has them: for each label, by
    /// rising name, the bytes of field 1, a message of the fields 1 (name) and 2 (value). `None` says nothing: the series
    /// may be new, the labels may be encoded differently, or the storage does not know how to look; the caller takes the
    /// labels apart and asks [`series`](Self::series). It spares a receiver that work for nearly all known series.
    fn known_series(&mut self, encoded: &[u8]) -> Option<SeriesRef> {
        let _ = encoded;
        None
    }

    /// From now on this batch takes only samples that are newer than their series, even if the storage would take late
    /// ones. Rules ask for it: what they compute twice must not become a second version of the past.
    fn refuse_late(&mut self) {}

    /// Adds a sample to the batch.
    ///
    /// # Errors
    ///
    /// The sample is refused and the batch goes on without it; see [`AppendError`].
    fn append(&mut self, series: SeriesRef, sample: Sample) -> Result<(), AppendError>;

    /// Adds a float sample without a start timestamp: [`append`](Self::append) for the hot path.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    fn append_float(&mut self, series: SeriesRef, timestamp: Timestamp, value: f64) -> Result<(), AppendError> {
        self.append(series, Sample::float(timestamp, value))
    }

    /// Adds an exemplar to a series. An exact repetition of the newest one is ignored.
    ///
    /// # Errors
    ///
    /// See [`AppendError`]. A storage without exemplars accepts and forgets them.
    fn append_exemplar(&mut self, series: SeriesRef, exemplar: Exemplar) -> Result<(), AppendError>;

    /// Sets the metadata of a series.
    ///
    /// # Errors
    ///
    /// See [`AppendError`]. A storage without metadata accepts and forgets it.
    fn set_metadata(&mut self, series: SeriesRef, metadata: &Metadata) -> Result<(), AppendError>;

    /// Makes the batch durable as far as the storage promises, then visible.
    ///
    /// # Errors
    ///
    /// Nothing of the batch is visible; see [`CommitError`].
    fn commit(self: Box<Self>) -> Result<CommitSummary, CommitError>;

    /// Forgets the batch.
    fn rollback(self: Box<Self>);
}

/// What a commit did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitSummary {
    /// Samples that are now visible.
    pub samples: usize,
    /// Samples that were fine when they were added but lost a race against another batch; they are counted and dropped.
    pub dropped: usize,
}

/// Why a sample was refused. The batch it belongs to goes on.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Older than the newest sample of its series, and no out-of-order window is open.
    #[error("out of order sample")]
    OutOfOrder,
    /// Another value for the same time is already stored.
    #[error("duplicate sample for timestamp")]
    DuplicateForTimestamp,
    /// Another value for the time of a float is already stored.
    #[error("duplicate sample for timestamp {timestamp_millis}; overrides not allowed: {}", override_text(*existing, *new))]
    DuplicateFloat {
        /// The time, in milliseconds since the epoch.
        timestamp_millis: i64,
        /// What is stored, if that is a float too.
        existing: Option<f64>,
        /// What was to be stored.
        new: f64,
    },
    /// Older than what the storage still takes.
    #[error("out of bounds")]
    OutOfBounds,
    /// Older than the out-of-order window.
    #[error("too old sample")]
    TooOld,
    /// The labels cannot name a series.
    #[error("invalid sample: {0}")]
    InvalidLabels(String),
    /// The histogram contradicts itself.
    #[error("invalid histogram: {0}")]
    InvalidHistogram(String),
    /// The ref is not, or no longer, known: ask for the series by its labels.
    #[error("unknown series ref {0}")]
    UnknownSeries(u64),
    /// The host's limit of series or memory is reached: new series are refused, known ones go on.
    #[error("series limit of {limit} reached")]
    SeriesLimit {
        /// The limit.
        limit: u64,
    },
    /// The exemplar is older than the newest one of its series.
    #[error("out of order exemplar")]
    OutOfOrderExemplar,
    /// The labels of the exemplar are longer than 128 characters in all.
    #[error("label length for exemplar exceeds maximum")]
    ExemplarTooLong,
    /// The storage takes no samples any more; the text says why.
    #[error("storage is not writable: {0}")]
    NotWritable(String),
}

impl AppendError {
    /// Whether time is the trouble: out of order, out of bounds, too old, or a duplicate. Such samples are dropped and
    /// counted; sending them again does not help.
    pub fn is_ordering(&self) -> bool {
        self.is_duplicate() || matches!(self, Self::OutOfOrder | Self::OutOfBounds | Self::TooOld)
    }

    /// Whether another value for the same time is already stored.
    pub fn is_duplicate(&self) -> bool {
        matches!(self, Self::DuplicateForTimestamp | Self::DuplicateFloat { .. })
    }
}

fn override_text(existing: Option<f64>, new: f64) -> String {
    let text = |value| format_float(value, FloatForm::Shortest);
    match existing {
        Some(existing) => format!("existing {}, new value {}", text(existing), text(new)),
        None => format!("existing is a histogram, new value {}", text(new)),
    }
}

/// Why a batch could not be committed. Nothing of it is visible.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The log could not be written: for instance, the disk is full. Reading goes on; try again when there is space.
    #[error("{context}")]
    Io {
        /// Operation and path.
        context: String,
        /// What the system said.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// The storage is closed or refuses writes until it is reopened.
    #[error("storage is not writable: {0}")]
    NotWritable(String),
}

/// A storage that can be asked.
pub trait Queryable: Send + Sync {
    /// A view of the samples in `range`, which stays as it is while it is held.
    ///
    /// # Errors
    ///
    /// See [`SelectError`].
    fn querier(&self, range: TimeRange) -> Result<Box<dyn Querier + '_>, SelectError>;
}

/// A consistent view of a time range.
pub trait Querier: Send + Sync {
    /// The series that satisfy all matchers. Of no matchers, every series.
    ///
    /// # Errors
    ///
    /// See [`SelectError`].
    fn select(&self, hints: &SelectHints, matchers: &[Matcher]) -> Result<Box<dyn SeriesSet + '_>, SelectError>;

    /// Names of labels on series that satisfy all matchers; sorted, each once, at most `limit` (0: no limit).
    ///
    /// # Errors
    ///
    /// See [`SelectError`].
    fn label_names(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<String>, SelectError>;

    /// Values of a label on series that satisfy all matchers; sorted, each once, at most `limit` (0: no limit).
    ///
    /// # Errors
    ///
    /// See [`SelectError`].
    fn label_values(&self, name: &str, matchers: &[Matcher], limit: usize) -> Result<Vec<String>, SelectError>;

    /// How many things the answer to a question has at most, if the storage knows that at once, need not look at many more
    /// things than these to answer, and has them and the samples of `range` in memory. `None`, the default, says nothing:
    /// the question may be a large one, or wait for a disk. It decides whether a question may be answered on a thread that
    /// must not be held up.
    fn at_most(&self, question: Question<'_>, range: TimeRange) -> Option<usize> {
        let _ = (question, range);
        None
    }
}

/// What [`Querier::at_most`] is about.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Question<'a> {
    /// The series that satisfy all matchers, as [`Querier::select`] finds them.
    Series(&'a [Matcher]),
    /// The names of all labels.
    LabelNames,
    /// All values of a label.
    LabelValues(&'a str),
}

/// Selected series, addressed by position. Any thread may read any of them.
pub trait SeriesSet: Send + Sync {
    /// How many series.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The labels of series `index` (below [`len`](Self::len)). Rising with the index if the hints asked for order.
    fn labels(&self, index: usize) -> Labels;

    /// Calls `see` with name and value of each label of series `index`, by rising name. The asker wants to look at them and
    /// perhaps keep one or two: a storage that has no [`Labels`] at hand spares itself the making of them.
    fn each_label(&self, index: usize, see: &mut dyn FnMut(&str, &str)) {
        self.labels(index).iter().for_each(|(name, value)| see(name, value));
    }

    /// Replaces the content of `columns` by the samples of series `index` in `range`, by rising time, each moment once.
    /// Stale markers are among them.
    ///
    /// # Errors
    ///
    /// See [`SelectError`].
    fn read(&self, index: usize, range: TimeRange, columns: &mut Columns) -> Result<(), SelectError>;

    /// What went wrong without making the answer useless, such as one of several storages that did not answer.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Samples of one series as columns: floats and histograms each with their own times, which rise strictly.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    /// Times of the floats, in milliseconds.
    pub times: Vec<i64>,
    /// The floats.
    pub values: Vec<f64>,
    /// Start timestamps of the floats, in milliseconds, 0 for none; empty if no sample has one.
    pub starts: Vec<i64>,
    /// Times of the histograms, in milliseconds.
    pub histogram_times: Vec<i64>,
    /// The histograms.
    pub histograms: Vec<Histogram>,
    /// Start timestamps of the histograms, in milliseconds, 0 for none; empty if no sample has one.
    pub histogram_starts: Vec<i64>,
}

impl Columns {
    /// Empties the columns and keeps their memory.
    pub fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
        self.starts.clear();
        self.histogram_times.clear();
        self.histograms.clear();
        self.histogram_starts.clear();
    }

    /// How many samples of both kinds.
    pub fn len(&self) -> usize {
        self.times.len() + self.histogram_times.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What the asker knows about its question; a storage may use or ignore each of these.
#[derive(Clone, Debug, Default)]
pub struct SelectHints {
    /// The samples that will be read, if less than the querier's range.
    pub range: Option<TimeRange>,
    /// The series must come sorted by labels.
    pub sorted: bool,
    /// At most this many series (0: no limit).
    pub limit: usize,
    /// The step of the query in milliseconds (0: an instant query).
    pub step_millis: i64,
    /// The function around the selector, `rate` for instance; empty for none.
    pub function: &'static str,
    /// The length of the range selector in milliseconds (0: an instant selector).
    pub range_millis: i64,
    /// Only the labels will be looked at.
    pub labels_only: bool,
    /// Of histograms, only count and sum will be looked at.
    pub statistics_only: bool,
}

/// Why a question could not be answered.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum SelectError {
    /// Stored bytes contradict themselves.
    #[error("corrupt data in {place}: {problem}")]
    Corrupt {
        /// Block, file, series or offset.
        place: String,
        /// What is wrong there.
        problem: String,
    },
    /// A file could not be read.
    #[error("{context}")]
    Io {
        /// Operation and path.
        context: String,
        /// What the system said.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// The storage is closed or not ready.
    #[error("storage is not readable: {0}")]
    NotReadable(String),
    /// A host's own storage has its own trouble.
    #[error("{0}")]
    Other(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

/// A storage that keeps exemplars.
pub trait ExemplarQueryable: Send + Sync {
    /// Exemplars in `range` of series that satisfy all matchers of at least one of the sets; sorted by labels.
    ///
    /// # Errors
    ///
    /// See [`SelectError`].
    fn exemplars(&self, range: TimeRange, matcher_sets: &[Vec<Matcher>]) -> Result<Vec<SeriesExemplars>, SelectError>;
}

/// The exemplars of one series, by rising time.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesExemplars {
    /// The series.
    pub labels: Labels,
    /// Its exemplars.
    pub exemplars: Vec<Exemplar>,
}
