//! The batch: judged when it is staged, logged as a whole, then visible as a whole.
//!
//! Read in this order: this file (an appender stages a [`batch`]), [`log`] (the batch is written), [`apply`] (it becomes
//! visible).

mod apply;
mod batch;
mod log;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ferula_model::{
    AppendError, Appender, CommitError, CommitSummary, Exemplar, FloatHistogram, Histogram, IntegerHistogram, Metadata,
    STALE_MARKER, Sample, SeriesRef, Timestamp, Value, is_stale,
};

pub(super) use self::apply::Applied;
use self::batch::Batch;
pub(super) use self::batch::{FloatItem, FloatItems, HistogramItem};
pub(super) use self::log::{Commit, sync_logs};
use super::numbers::Run;
use super::series::Kind;
use super::verdict::{Verdict, Window, judge};
use super::{Head, StartStorage};
use crate::distribution::{Distribution, LATE_SECONDS};

/// One batch on its way into the head.
pub(crate) struct HeadAppender<'a> {
    head: &'a Head,
    batch: Batch,
    window: Window,
    starts: StartStorage,
    /// How many collections of series there had been when it began.
    collection: u64,
    /// The series that was asked for last, 0 before the first.
    last: u32,
    /// Numbers for series that it creates.
    run: Run,
}

/// All batches that are open, and buffers of those that are not.
#[derive(Debug, Default)]
pub(super) struct Appenders {
    spare: Vec<Batch>,
    /// How many began after so many collections.
    open: BTreeMap<u64, usize>,
    /// How many began at all.
    pub(super) created: u64,
}

impl Appenders {
    fn begin(&mut self, collection: u64) -> Batch {
        *self.open.entry(collection).or_default() += 1;
        self.created += 1;
        self.spare.pop().unwrap_or_default()
    }

    fn end(&mut self, collection: u64, batch: Batch) {
        if let Some(count) = self.open.get_mut(&collection) {
            *count -= 1;
            if *count == 0 {
                self.open.remove(&collection);
            }
        }
        if self.spare.len() < 8 {
            self.spare.push(batch);
        }
    }

    /// After how many collections the oldest open batch began.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.open.keys().next().copied()
    }

    /// How many batches are open.
    pub(super) fn open(&self) -> usize {
        self.open.values().sum()
    }
}

impl Head {
    /// Begins a batch.
    pub(crate) fn appender(&self) -> HeadAppender<'_> {
        let collection = self.counters.collections.load(Ordering::Acquire);
        let batch = self.appenders.lock().begin(collection);
        let starts = self.options.read().starts;
        HeadAppender { head: self, batch, window: self.window(), starts, collection, last: 0, run: Run::default() }
    }

    fn commit(&self, batch: &mut Batch) -> Result<CommitSummary, CommitError> {
        let mut commit = self.commit.lock();
        if let Some(reason) = &commit.broken {
            return Err(CommitError::NotWritable(reason.clone()));
        }
        let commit = &mut *commit;
        let outrun = batch.drop_before(self.valid_from.load(Ordering::Acquire));
        self.counters.lost.fetch_add(outrun as u64, Ordering::Relaxed);
        self.log(commit, batch)?;
        let number = self.readers.next_commit();
        let mut summary = self.apply(commit, number, batch);
        self.readers.publish(number);
        summary.dropped += outrun;
        Ok(summary)
    }

    /// Observes how much older than the newest sample a late one is.
    #[cold]
    fn note_lateness(&self, time: i64) {
        let newest = self.max_time.load(Ordering::Acquire);
        if newest > i64::MIN {
            let millis = newest.saturating_sub(time).max(0);
            self.counters
                .lateness
                .lock()
                .get_or_insert_with(|| Distribution::new(LATE_SECONDS))
                .observe(millis as f64 / 1000.0);
        }
    }
}

impl Appender for HeadAppender<'_> {
    fn series(&mut self, labels: &[(&str, &str)]) -> Result<SeriesRef, AppendError> {
        self.last = self.head.series(self.last, &mut self.run, labels)?;
        Ok(SeriesRef(u64::from(self.last)))
    }

    #[inline]
    fn known_series(&mut self, encoded: &[u8]) -> Option<SeriesRef> {
        self.last = self.head.known_series(self.last, encoded)?;
        Some(SeriesRef(u64::from(self.last)))
    }

    fn refuse_late(&mut self) {
        self.window = Window { late_from: None, backfill: false, ..self.window };
    }

    fn append(&mut self, series: SeriesRef, sample: Sample) -> Result<(), AppendError> {
        let start = sample.start.map_or(0, Timestamp::as_millis);
        match sample.value {
            Value::Float(value) => {
                let staged = self.batch.floats.len();
                self.append_float(series, sample.timestamp, value)?;
                if start != 0 && self.starts != StartStorage::None && self.batch.floats.len() > staged {
                    self.batch.floats.start_last(start);
                }
                Ok(())
            }
            Value::Histogram(histogram) => self.stage_histogram(series, sample.timestamp.as_millis(), start, histogram),
        }
    }

    #[inline]
    fn append_float(&mut self, series: SeriesRef, timestamp: Timestamp, value: f64) -> Result<(), AppendError> {
        let time = timestamp.as_millis();
        let number = u32::try_from(series.0).map_err(|_| AppendError::UnknownSeries(series.0))?;
        let judged = self.head.pages.with(number, |state| {
            state.touch();
            if state.kind == Kind::Histogram && is_stale(value) {
                return Err(state.rest.as_ref().and_then(|rest| rest.last_histogram.clone()));
            }
            let repeated = || state.kind == Kind::Float && state.floats.value().to_bits() == value.to_bits();
            Ok(judge(&self.window, state.newest(), time, repeated))
        });
        match judged.ok_or(AppendError::UnknownSeries(series.0))? {
            Ok(verdict) => {
                let admitted = self.admit(verdict, time);
                if let Some(late) = admitted.map_err(|error| self.with_values(error, number, time, value))? {
                    self.batch.note(time, late);
                    self.batch.floats.push(FloatItem { series: number, late, time, value });
                }
                Ok(())
            }
            // The stale marker of a series of histograms is a histogram.
            Err(last) => self.stage_histogram(series, time, 0, stale_histogram(last.as_ref())),
        }
    }

    fn append_exemplar(&mut self, series: SeriesRef, exemplar: Exemplar) -> Result<(), AppendError> {
        let number = u32::try_from(series.0).map_err(|_| AppendError::UnknownSeries(series.0))?;
        if self.head.options.read().exemplars == 0 {
            return Ok(());
        }
        let newest = self.head.pages.with(number, |state| state.newest());
        let newest = newest.ok_or(AppendError::UnknownSeries(series.0))?;
        let staged = self.batch.floats.last().filter(|item| item.series == number).map(|item| item.time);
        let time = exemplar.timestamp.map(Timestamp::as_millis).or(staged).or(newest).unwrap_or(0);
        self.head.exemplars.read().judge(number, time, &exemplar, self.head.options.read().late_window).inspect_err(
            |error| {
                if matches!(error, AppendError::OutOfOrderExemplar) {
                    self.head.counters.exemplars_out_of_order.fetch_add(1, Ordering::Relaxed);
                }
            },
        )?;
        self.batch.exemplars.push((number, time, exemplar));
        Ok(())
    }

    fn set_metadata(&mut self, series: SeriesRef, metadata: &Metadata) -> Result<(), AppendError> {
        let number = u32::try_from(series.0).map_err(|_| AppendError::UnknownSeries(series.0))?;
        let same = self.head.pages.with(number, |state| {
            state.rest.as_ref().and_then(|rest| rest.metadata.as_ref()).is_some_and(|known| known == metadata)
        });
        if !same.ok_or(AppendError::UnknownSeries(series.0))? {
            self.batch.metadata.push((number, metadata.clone()));
        }
        Ok(())
    }

    fn commit(mut self: Box<Self>) -> Result<CommitSummary, CommitError> {
        let head = self.head;
        head.commit(&mut self.batch)
    }

    fn rollback(self: Box<Self>) {}
}

impl Drop for HeadAppender<'_> {
    fn drop(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        batch.clear();
        self.head.numbers.give_back(std::mem::take(&mut self.run));
        self.head.appenders.lock().end(self.collection, batch);
    }
}

impl HeadAppender<'_> {
    /// Whether a sample is staged, and as what.
    #[inline]
    fn admit(&self, verdict: Verdict, time: i64) -> Result<Option<bool>, AppendError> {
        match verdict {
            Verdict::InOrder => Ok(Some(false)),
            Verdict::Late => {
                self.head.note_lateness(time);
                Ok(Some(true))
            }
            Verdict::Repeated => Ok(None),
            Verdict::Refuse(error) => {
                self.head.counters.refused(&error);
                if matches!(error, AppendError::OutOfOrder | AppendError::TooOld) {
                    self.head.note_lateness(time);
                }
                Err(error)
            }
        }
    }

    /// The error, which names both values if the float comes where another value is.
    #[cold]
    fn with_values(&self, error: AppendError, series: u32, time: i64, new: f64) -> AppendError {
        if !error.is_duplicate() {
            return error;
        }
        let existing = self.head.pages.with(series, |state| (state.kind == Kind::Float).then(|| state.floats.value()));
        AppendError::DuplicateFloat { timestamp_millis: time, existing: existing.flatten(), new }
    }

    fn stage_histogram(
        &mut self,
        series: SeriesRef,
        time: i64,
        start: i64,
        value: Histogram,
    ) -> Result<(), AppendError> {
        let start = if self.starts == StartStorage::FloatsAndHistograms { start } else { 0 };
        let number = u32::try_from(series.0).map_err(|_| AppendError::UnknownSeries(series.0))?;
        let value = checked(value)?;
        let judged = self.head.pages.with(number, |state| {
            state.touch();
            let last = || state.rest.as_ref().and_then(|rest| rest.last_histogram.as_ref());
            let repeated = || state.kind == Kind::Histogram && last().is_some_and(|last| last.same_bits(&value));
            judge(&self.window, state.newest(), time, repeated)
        });
        if let Some(late) = self.admit(judged.ok_or(AppendError::UnknownSeries(series.0))?, time)? {
            let after = self.batch.floats.len();
            self.batch.note(time, late);
            self.batch.histograms.push(HistogramItem { series: number, late, after, time, start, value });
        }
        Ok(())
    }
}

/// The histogram if it may be stored: in a schema that chunks know, and without contradiction.
fn checked(value: Histogram) -> Result<Histogram, AppendError> {
    let invalid = |error: &dyn std::fmt::Display| AppendError::InvalidHistogram(error.to_string());
    if is_stale(value.sum()) {
        return Ok(value);
    }
    let reserved = |schema: i32| (9..=52).contains(&schema) || (-9..=-5).contains(&schema);
    match value {
        Histogram::Integer(mut h) => {
            if reserved(h.schema) {
                Arc::make_mut(&mut h).reduce_reserved().map_err(|error| invalid(&error))?;
            }
            h.validate().map_err(|error| invalid(&error))?;
            Ok(Histogram::Integer(h))
        }
        Histogram::Float(mut h) => {
            if reserved(h.schema) {
                Arc::make_mut(&mut h).reduce_reserved().map_err(|error| invalid(&error))?;
            }
            h.validate().map_err(|error| invalid(&error))?;
            Ok(Histogram::Float(h))
        }
    }
}

/// A stale marker of the same form as the last histogram.
fn stale_histogram(last: Option<&Histogram>) -> Histogram {
    match last {
        Some(Histogram::Float(_)) => FloatHistogram { sum: STALE_MARKER, ..FloatHistogram::default() }.into(),
        _ => IntegerHistogram { sum: STALE_MARKER, ..IntegerHistogram::default() }.into(),
    }
}
