//! From a request to the storage: which samples get in, and what the sender is told.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ferula_model::{
    AppendError, Appendable, Appender, Clock, CommitError, Labels, METRIC_NAME, Sample, SeriesRef, Timestamp,
};
use thiserror::Error;

use super::request::{self, Item, TimeSeries};
use crate::remote::wire::WireError;

/// The longest body that is taken, compressed or not: 32 MiB, as upstream.
const BODY_BYTES_MAX: usize = 32 << 20;

/// How far ahead of the clock a sample may be.
const FUTURE_MAX: Duration = Duration::from_secs(10 * 60);

/// Takes remote-write requests for a storage.
///
/// ```
/// use std::sync::Arc;
/// use ferula::model::{ManualClock, Timestamp};
/// use ferula::remote::write::WriteReceiver;
/// use ferula::tsdb::Db;
///
/// let folder = tempfile::tempdir()?;
/// let storage = Arc::new(Db::builder(folder.path()).open()?);
/// let receiver = WriteReceiver::new(storage, Arc::new(ManualClock::at(Timestamp::from_millis(0))));
/// // One series, `up`, with one sample, 1 at 0 ms.
/// let message = b"\x0a\x1d\x0a\x0e\x0a\x08__name__\x12\x02up\x12\x0b\x09\0\0\0\0\0\0\xf0\x3f\x10\0";
/// let summary = receiver.write(&snap::raw::Encoder::new().compress_vec(message)?)?;
/// assert_eq!(summary.samples, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct WriteReceiver {
    storage: Arc<dyn Appendable>,
    clock: Arc<dyn Clock>,
    buffers: Arc<Buffers>,
    observer: Option<WriteObserver>,
}

/// Is told what became of each request that was accepted.
type WriteObserver = Arc<dyn Fn(&WriteSummary) + Send + Sync>;

/// Buffers for unpacked messages, kept from request to request: fresh memory for each costs as much as unpacking.
#[derive(Default)]
struct Buffers(Mutex<Vec<Vec<u8>>>);

/// How many buffers are kept, and of what size at most.
const BUFFERS_MAX: usize = 4;
const BUFFER_BYTES_MAX: usize = 4 << 20;

impl Buffers {
    /// Hands `body`, unpacked, to `read`.
    fn unpacked<T>(&self, body: &[u8], read: impl FnOnce(&[u8]) -> Result<T, WriteError>) -> Result<T, WriteError> {
        let length = snap::raw::decompress_len(body)?;
        if length > BODY_BYTES_MAX {
            return Err(WriteError::TooLarge { length });
        }
        let pool = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffer = pool().pop().unwrap_or_default();
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        let unpacked = snap::raw::Decoder::new().decompress(body, &mut buffer)?;
        let result = read(buffer.get(..unpacked).unwrap_or_default());
        let mut pool = pool();
        if pool.len() < BUFFERS_MAX && buffer.len() <= BUFFER_BYTES_MAX {
            pool.push(buffer);
        }
        result
    }
}

/// What became of a request that was accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteSummary {
    /// Float samples that are stored.
    pub samples: usize,
    /// Histogram samples that are stored.
    pub histograms: usize,
    /// Exemplars that are stored.
    pub exemplars: usize,
    /// Series that were skipped because their labels cannot name one.
    pub series_invalid: usize,
    /// Samples of the series that were skipped.
    pub samples_invalid: usize,
    /// Exemplars that were refused.
    pub exemplars_refused: usize,
}

/// Why a request was refused. Nothing of it is stored.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The body would be longer than 32 MiB, unpacked.
    #[error("snappy: decoded length {length} exceeds limit {BODY_BYTES_MAX}")]
    TooLarge {
        /// How long it says it is.
        length: usize,
    },
    /// The body is not a snappy block.
    #[error("{0}")]
    Snappy(#[from] snap::Error),
    /// The block is not a `WriteRequest`.
    #[error("{0}")]
    Message(#[from] WireError),
    /// A sample was refused for its time or value; sending it again does not help.
    #[error("{error}")]
    Sample {
        /// Why.
        error: AppendError,
        /// Its series.
        series: Labels,
        /// Its time.
        at: Timestamp,
    },
    /// A sample lies more than ten minutes ahead of the clock.
    #[error("out of bounds: timestamp is too far in the future")]
    Future {
        /// Its series.
        series: Labels,
        /// Its time.
        at: Timestamp,
    },
    /// The storage takes no samples now; sending it again later may help.
    #[error("{0}")]
    Storage(AppendError),
    /// The batch could not be committed; sending it again later may help.
    #[error("{0}")]
    Commit(#[from] CommitError),
}

impl WriteError {
    /// The HTTP status that tells the sender whether to try again (5xx) or to give up (4xx).
    pub fn status(&self) -> http::StatusCode {
        match self {
            WriteError::TooLarge { .. }
            | WriteError::Snappy(_)
            | WriteError::Message(_)
            | WriteError::Sample { .. }
            | WriteError::Future { .. } => http::StatusCode::BAD_REQUEST,
            WriteError::Storage(_) | WriteError::Commit(_) => http::StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<AppendError> for WriteError {
    fn from(error: AppendError) -> Self {
        WriteError::Storage(error)
    }
}

impl WriteError {
    /// A sample that the storage did not take. Its series is named by [`of_series`](Self::of_series).
    fn of_sample(error: AppendError, at: Timestamp) -> Self {
        if error.is_ordering() || matches!(error, AppendError::InvalidHistogram(_)) {
            WriteError::Sample { error, series: Labels::empty(), at }
        } else {
            WriteError::Storage(error)
        }
    }

    /// The same, with the name of the series that it is about.
    fn of_series(mut self, sent: TimeSeries<'_>) -> Self {
        if let WriteError::Sample { series, .. } | WriteError::Future { series, .. } = &mut self {
            let mut pairs = Vec::new();
            // Labels that cannot be read had been refused before the samples.
            if sent.labels(&mut pairs).is_ok() {
                *series = Labels::from_pairs(pairs);
            }
        }
        self
    }
}

impl WriteReceiver {
    /// A receiver that appends to `storage`; `clock` judges which samples lie too far in the future.
    pub fn new(storage: Arc<dyn Appendable>, clock: Arc<dyn Clock>) -> Self {
        Self { storage, clock, buffers: Arc::default(), observer: None }
    }

    /// Tells `observer` what became of each request that was accepted, so that what was left out is counted.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Fn(&WriteSummary) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Stores the samples of one request (remote write 1.0: a snappy block with a `prometheus.WriteRequest`).
    ///
    /// # Errors
    ///
    /// See [`WriteError`]; nothing is stored then.
    pub fn write(&self, body: &[u8]) -> Result<WriteSummary, WriteError> {
        let summary = self.buffers.unpacked(body, |message| self.store(message))?;
        if let Some(observer) = &self.observer {
            observer(&summary);
        }
        Ok(summary)
    }

    fn store(&self, message: &[u8]) -> Result<WriteSummary, WriteError> {
        let mut batch = Batch {
            appender: self.storage.appender(),
            newest: self.clock.now().saturating_add(FUTURE_MAX),
            summary: WriteSummary::default(),
        };
        let mut pairs = Vec::new();
        for series in request::series(message) {
            batch.series(series?, &mut pairs)?;
        }
        let Batch { appender, summary, .. } = batch;
        appender.commit()?;
        Ok(summary)
    }
}

struct Batch<'s> {
    appender: Box<dyn Appender + 's>,
    newest: Timestamp,
    summary: WriteSummary,
}

impl Batch<'_> {
    fn series<'a>(&mut self, series: TimeSeries<'a>, pairs: &mut Vec<(&'a str, &'a str)>) -> Result<(), WriteError> {
        // A series that is known under just these bytes is not taken apart.
        if let Some((labels, rest)) = series.split_labels()
            && let Some(id) = self.appender.known_series(labels)
        {
            return self.items(id, rest).map_err(|error| error.of_series(series));
        }
        match series.labels(pairs) {
            // Such labels name no series; the rest of the message can be read all the same.
            Err(WireError::Utf8(_)) => return self.skip(series),
            answer => answer?,
        }
        if !pairs.is_sorted_by(|a, b| a.0 < b.0) {
            pairs.sort_unstable();
        }
        if !names_a_series(pairs) {
            return self.skip(series);
        }
        let id = match self.appender.series(pairs) {
            Err(AppendError::InvalidLabels(_)) => return self.skip(series),
            answer => answer?,
        };
        self.items(id, series).map_err(|error| error.of_series(series))
    }

    fn items(&mut self, id: SeriesRef, mut rest: TimeSeries<'_>) -> Result<(), WriteError> {
        rest.take_floats(|at, value| self.float(id, at, value))?;
        rest.items().try_for_each(|item| self.item(id, item?))
    }

    /// Counts a series that is left out.
    fn skip(&mut self, series: TimeSeries<'_>) -> Result<(), WriteError> {
        self.summary.series_invalid += 1;
        for item in series.items() {
            self.summary.samples_invalid += usize::from(!matches!(item?, Item::Exemplar(_)));
        }
        Ok(())
    }

    #[inline]
    fn float(&mut self, series: SeriesRef, at: Timestamp, value: f64) -> Result<(), WriteError> {
        self.in_time(at)?;
        self.appender.append_float(series, at, value).map_err(|error| WriteError::of_sample(error, at))?;
        self.summary.samples += 1;
        Ok(())
    }

    fn item(&mut self, series: SeriesRef, item: Item<'_>) -> Result<(), WriteError> {
        match item {
            Item::Float(at, value) => self.float(series, at, value)?,
            Item::Histogram(message) => {
                let (at, histogram) = message.decode()?;
                self.in_time(at)?;
                let sample = Sample::histogram(at, histogram);
                self.appender.append(series, sample).map_err(|error| WriteError::of_sample(error, at))?;
                self.summary.histograms += 1;
            }
            // A wrong exemplar must not cost the samples; upstream only logs it.
            Item::Exemplar(message) => {
                let stored = match message.decode() {
                    Err(WireError::Utf8(_)) => false,
                    exemplar => self.appender.append_exemplar(series, exemplar?).is_ok(),
                };
                self.summary.exemplars += usize::from(stored);
                self.summary.exemplars_refused += usize::from(!stored);
            }
        }
        Ok(())
    }

    fn in_time(&self, at: Timestamp) -> Result<(), WriteError> {
        if at > self.newest { Err(WriteError::Future { series: Labels::empty(), at }) } else { Ok(()) }
    }
}

/// Whether sorted pairs can name a series: a metric name, no empty label name, no name twice.
fn names_a_series(pairs: &[(&str, &str)]) -> bool {
    pairs.iter().any(|(name, _)| *name == METRIC_NAME)
        && pairs.iter().all(|(name, _)| !name.is_empty())
        && pairs.is_sorted_by(|a, b| a.0 < b.0)
}
