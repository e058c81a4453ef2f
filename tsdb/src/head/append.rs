//! The batch: judged when it is staged, logged as a whole, then visible as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ferula_model::{
    AppendError, Appender, Columns, CommitError, CommitSummary, Exemplar, Histogram, IntegerHistogram, Metadata,
    Sample, SeriesRef, Timestamp, Value, is_stale, millis,
};
use ferula_model::{FloatHistogram, STALE_MARKER};

use super::Head;
use super::exemplars::record_of;
use super::replay::ReplayReport;
use super::series::{FullChunk, Kind, MappedChunk, PAGE_SERIES, Series};
use super::verdict::{Verdict, Window, judge};
use crate::chunk::{self, EncodedChunk, FloatEncoding};
use crate::db::Durability;
use crate::distribution::{Distribution, LATE_SECONDS};
use crate::fs::{Context, FsError};
use crate::wal::format::{
    self, HistogramRecord, MarkerRecord, RecordType, put_exemplars, put_histograms, put_markers, put_metadata,
    put_series,
};
use crate::wal::segments;
use crate::wal::writer::{WalError, WalWriter};

/// Samples in an open late chunk, at the end of a batch, from which on it is encoded (upstream's default).
const LATE_SAMPLES: usize = 32;
/// The same in replay, where the marker that follows says which samples are in a chunk: a bound for logs without markers.
const LATE_SAMPLES_IN_REPLAY: usize = 1 << 12;
/// Items after which a record is closed, so that replay reads records of a bounded size.
const RECORD_ITEMS: usize = 1 << 16;

/// What an appender has staged. Kept for the next one when it is done.
#[derive(Debug)]
pub(super) struct Batch {
    /// The oldest time that was staged in order.
    oldest: i64,
    floats: Vec<FloatItem>,
    histograms: Vec<HistogramItem>,
    exemplars: Vec<(u32, i64, Exemplar)>,
    metadata: Vec<(u32, Metadata)>,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            oldest: i64::MAX,
            floats: Vec::new(),
            histograms: Vec::new(),
            exemplars: Vec::new(),
            metadata: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct FloatItem {
    pub(super) series: u32,
    pub(super) late: bool,
    pub(super) time: i64,
    pub(super) value: f64,
}

#[derive(Clone, Debug)]
pub(super) struct HistogramItem {
    pub(super) series: u32,
    pub(super) late: bool,
    /// How many floats were staged before it.
    pub(super) after: usize,
    pub(super) time: i64,
    pub(super) value: Histogram,
}

impl Batch {
    fn clear(&mut self) {
        self.oldest = i64::MAX;
        self.floats.clear();
        self.histograms.clear();
        self.exemplars.clear();
        self.metadata.clear();
        // One large batch should not pin its memory for ever.
        self.floats.shrink_to(1 << 17);
        self.histograms.shrink_to(1 << 12);
    }

    #[inline]
    fn note(&mut self, time: i64, late: bool) {
        if !late && time < self.oldest {
            self.oldest = time;
        }
    }

    /// Takes out the samples in order that are older than `time`: their range has become a block since they were staged.
    /// Says how many.
    fn drop_before(&mut self, time: i64) -> usize {
        let before = self.floats.len() + self.histograms.len();
        if self.oldest >= time {
            return 0;
        }
        if !self.histograms.is_empty() {
            let outrun = |item: &FloatItem| !item.late && item.time < time;
            let mut outrun_before = 0;
            let mut floats = self.floats.iter().enumerate().peekable();
            for histogram in &mut self.histograms {
                while let Some((_, float)) = floats.next_if(|(at, _)| *at < histogram.after) {
                    outrun_before += usize::from(outrun(float));
                }
                histogram.after -= outrun_before;
            }
        }
        self.floats.retain(|item| item.late || item.time >= time);
        self.histograms.retain(|item| item.late || item.time >= time);
        before - self.floats.len() - self.histograms.len()
    }

    /// The batch as runs of floats and histograms in the order they were staged, so that the log has the order in which
    /// they are applied. Unless a series has both kinds, that is one run of each.
    fn runs(&self) -> Vec<(&[FloatItem], &[HistogramItem])> {
        let mixed = !self.histograms.is_empty() && {
            let mut series: Vec<u32> = self.histograms.iter().map(|item| item.series).collect();
            series.sort_unstable();
            self.floats.iter().any(|item| series.binary_search(&item.series).is_ok())
        };
        if !mixed {
            return vec![(&self.floats, &self.histograms)];
        }
        let (mut runs, mut done) = (Vec::new(), 0);
        for run in self.histograms.chunk_by(|a, b| a.after == b.after) {
            let until = run.first().map_or(done, |item| item.after);
            runs.push((self.floats.get(done..until).unwrap_or_default(), run));
            done = until;
        }
        runs.push((self.floats.get(done..).unwrap_or_default(), &[]));
        runs
    }
}

/// What only one commit at a time may touch.
#[derive(Debug, Default)]
pub(super) struct Commit {
    pub(super) wal: Option<WalWriter>,
    pub(super) wbl: Option<WalWriter>,
    pub(super) record: Vec<u8>,
    /// Why nothing may be written any more.
    pub(super) broken: Option<String>,
    /// When the log was last made durable, in milliseconds.
    pub(super) synced_at: i64,
    /// Whether something was written since.
    pub(super) unsynced: bool,
}

/// One batch on its way into the head.
pub(crate) struct HeadAppender<'a> {
    head: &'a Head,
    batch: Batch,
    window: Window,
    /// How many collections of series there had been when it began.
    collection: u64,
    /// The series that was asked for last, 0 before the first.
    last: u32,
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
        HeadAppender { head: self, batch, window: self.window(), collection, last: 0 }
    }

    /// Begins the log of late samples, if there is none yet.
    pub(super) fn begin_late_log(&self, commit: &mut Commit) -> Result<(), FsError> {
        if commit.wbl.is_some() {
            return Ok(());
        }
        let (bytes, compression) = {
            let options = self.options.read();
            (options.segment_bytes, options.compression)
        };
        let dir = self.log_dir(true);
        commit.wbl = Some(WalWriter::begin(Arc::clone(&self.fs), &dir, 0, bytes, compression)?);
        Ok(())
    }

    /// Begins new segments behind those that were replayed.
    pub(super) fn begin_logs(&self, report: &ReplayReport) -> Result<(), FsError> {
        let (bytes, compression, late) = {
            let options = self.options.read();
            (options.segment_bytes, options.compression, options.late_window > 0 || options.backfill)
        };
        let begin =
            |late: bool, next| WalWriter::begin(Arc::clone(&self.fs), &self.log_dir(late), next, bytes, compression);
        // What a process that died wrote last may not be durable yet: the last segment, and the one before it if the next one
        // had been created but not begun. The others were synced when they were sealed.
        for dir in [self.log_dir(false), self.log_dir(true)] {
            for (_, path) in segments(&*self.fs, &dir)?.into_iter().rev().take(2) {
                self.fs.open(&path).and_then(|file| file.sync()).context("sync", &path)?;
            }
        }
        let mut commit = self.commit.lock();
        commit.wal = Some(begin(false, report.next_segment)?);
        if late || report.next_late_segment > 0 {
            commit.wbl = Some(begin(true, report.next_late_segment)?);
        }
        commit.synced_at = self.clock.now().as_millis();
        Ok(())
    }
}

impl Appender for HeadAppender<'_> {
    fn series(&mut self, labels: &[(&str, &str)]) -> Result<SeriesRef, AppendError> {
        self.last = self.head.series(self.last, labels)?;
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
        match sample.value {
            Value::Float(value) => self.append_float(series, sample.timestamp, value),
            Value::Histogram(histogram) => self.append_histogram(series, sample.timestamp.as_millis(), histogram),
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
            Err(last) => self.append_histogram(series, time, stale_histogram(last.as_ref())),
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

    fn append_histogram(&mut self, series: SeriesRef, time: i64, value: Histogram) -> Result<(), AppendError> {
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
            self.batch.histograms.push(HistogramItem { series: number, late, after, time, value });
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

impl Head {
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

    /// Writes series, samples and the rest of a batch to the logs.
    fn log(&self, commit: &mut Commit, batch: &Batch) -> Result<(), CommitError> {
        let new_series = std::mem::take(&mut *self.unlogged.lock());
        let written = self.write(commit, |commit| {
            self.write_log(commit, &new_series, batch)?;
            self.sync_if_due(commit)
        });
        written.map_err(|error| {
            // The series are logged with the next batch.
            self.unlogged.lock().extend_from_slice(&new_series);
            CommitError::Io { context: error.to_string(), source: error.source }
        })
    }

    /// Writes to the logs, all or nothing.
    pub(super) fn write(
        &self,
        commit: &mut Commit,
        write: impl FnOnce(&mut Commit) -> Result<(), WalError>,
    ) -> Result<(), FsError> {
        let marks = [&commit.wal, &commit.wbl].map(|log| log.as_ref().map(WalWriter::mark));
        let Err(error) = write(commit) else { return Ok(()) };
        self.counters.wal_failures.fetch_add(1, Ordering::Relaxed);
        let (error, mut broken) = match error {
            WalError::Refused(error) => (error, false),
            WalError::Broken(error) => (error, true),
        };
        for (log, mark) in [&mut commit.wal, &mut commit.wbl].into_iter().zip(marks) {
            if let (Some(log), Some(mark), false) = (log, mark, broken) {
                broken = log.roll_back(mark).is_err();
            }
        }
        if broken {
            commit.broken = Some(format!("{error}: {}; reopen the database", error.source));
        }
        Err(error)
    }

    fn write_log(&self, commit: &mut Commit, new_series: &[u32], batch: &Batch) -> Result<(), WalError> {
        let Commit { wal: Some(wal), wbl, record, .. } = commit else { return Ok(()) };
        if !new_series.is_empty() {
            self.log_series(wal, record, new_series)?;
        }
        if !batch.metadata.is_empty() {
            record.clear();
            record.push(RecordType::Metadata as u8);
            batch.metadata.iter().for_each(|(series, metadata)| put_metadata(record, u64::from(*series), metadata));
            wal.add(record)?;
        }
        let mut is_late = false;
        for (floats, histograms) in batch.runs() {
            is_late |= log_floats(wal, record, floats, false)?;
            is_late |= log_histograms(wal, record, histograms, false)?;
        }
        if !batch.exemplars.is_empty() {
            record.clear();
            put_exemplars(
                record,
                &batch.exemplars.iter().map(|(series, time, e)| record_of((*series, *time, e))).collect::<Vec<_>>(),
            );
            wal.add(record)?;
        }
        wal.flush()?;
        if is_late && let Some(wbl) = wbl {
            log_floats(wbl, record, &batch.floats, true)?;
            log_histograms(wbl, record, &batch.histograms, true)?;
            wbl.flush()?;
        }
        Ok(())
    }

    fn log_series(&self, wal: &mut WalWriter, record: &mut Vec<u8>, new_series: &[u32]) -> Result<(), WalError> {
        let index = self.index.read();
        for part in new_series.chunks(RECORD_ITEMS) {
            record.clear();
            record.push(RecordType::Series as u8);
            for &series in part {
                self.pages.with(series, |state| put_series(record, u64::from(series), index.texts(&state.labels)));
            }
            wal.add(record)?;
        }
        Ok(())
    }

    /// Makes the logs durable if the host's choice says that it is time.
    fn sync_if_due(&self, commit: &mut Commit) -> Result<(), WalError> {
        commit.unsynced = true;
        let due = match self.options.read().durability {
            Durability::Os => return Ok(()),
            Durability::Always => true,
            Durability::Interval(interval) => {
                let now = self.clock.now().as_millis();
                let due = now.saturating_sub(commit.synced_at) >= millis(interval);
                if due {
                    commit.synced_at = now;
                }
                due
            }
        };
        if !due {
            return Ok(());
        }
        let began = self.clock.now();
        let synced = sync_logs(commit).map_err(WalError::Broken);
        self.note_sync(began);
        synced
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

    fn note_sync(&self, began: Timestamp) {
        self.counters.syncs.fetch_add(1, Ordering::Relaxed);
        self.counters.sync_millis.fetch_add(self.millis_since(began), Ordering::Relaxed);
    }

    /// Makes a logged batch visible.
    fn apply(&self, commit: &mut Commit, number: u64, batch: &Batch) -> CommitSummary {
        let mut applied = Applied { min: i64::MAX, max: i64::MIN, ..Applied::default() };
        let oldest_reader = self.readers.oldest_view();
        let block_range = self.options.read().block_range;
        for (floats, histograms) in batch.runs() {
            self.apply_floats(number, oldest_reader, block_range, floats, &mut applied);
            for item in histograms {
                self.apply_histogram(number, oldest_reader, block_range, item, &mut applied);
            }
        }
        let markers = self.cut_late(&applied.late_full);
        if !markers.is_empty()
            && let Some(wbl) = &mut commit.wbl
        {
            commit.record.clear();
            put_markers(&mut commit.record, &markers);
            // Without the markers, replay adds the samples once more; they are the same samples.
            let mark = wbl.mark();
            if wbl.add(&commit.record).and_then(|()| wbl.flush()).is_err() {
                self.counters.wal_failures.fetch_add(1, Ordering::Relaxed);
                if let Err(error) = wbl.roll_back(mark) {
                    commit.broken = Some(format!("{error}: {}; reopen the database", error.source));
                }
            }
        }
        for (series, metadata) in &batch.metadata {
            self.pages.with_mut(*series, |state| state.rest_mut().metadata = Some(metadata.clone()));
        }
        if !batch.exemplars.is_empty() {
            let mut ring = self.exemplars.write();
            for (series, time, exemplar) in &batch.exemplars {
                ring.add(*series, *time, exemplar);
            }
            self.counters.exemplars.fetch_add(batch.exemplars.len() as u64, Ordering::Relaxed);
        }
        if applied.min <= applied.max {
            self.widen_bounds(applied.min, applied.max);
        }
        self.counters.applied(&applied);
        CommitSummary {
            samples: (applied.floats + applied.histograms + applied.late) as usize,
            dropped: applied.dropped,
        }
    }

    pub(super) fn apply_floats(
        &self,
        number: u64,
        oldest_reader: Option<u64>,
        block_range: i64,
        floats: &[FloatItem],
        applied: &mut Applied,
    ) {
        for run in floats.chunk_by(|a, b| a.series as usize / PAGE_SERIES == b.series as usize / PAGE_SERIES) {
            let Some(page) = run.first().and_then(|item| self.pages.page(item.series)) else {
                applied.dropped += run.len();
                applied.unknown += run.len() as u64;
                continue;
            };
            let mut page = page.write();
            for (at, item) in run.iter().enumerate() {
                if at % WARMED == 0 {
                    warm(&page, run.get(at..).unwrap_or_default());
                }
                let Some(series) = page.get_mut(item.series as usize % PAGE_SERIES).filter(|series| !series.is_dead())
                else {
                    applied.dropped += 1;
                    applied.unknown += 1;
                    continue;
                };
                if item.late {
                    self.apply_late(item.series, series, item.time, item.value.into(), applied);
                    continue;
                }
                if series.newest().is_some_and(|newest| item.time <= newest) {
                    if applied.replaying && series.newest() == Some(item.time) && series.chunk.is_empty() {
                        series.floats.note_value(item.value);
                    }
                    applied.lost(series, item);
                    continue;
                }
                series.begin_commit(number, oldest_reader);
                series.push_float(item.time, item.value, block_range, &mut |full| self.store(item.series, &full));
                applied.floats += 1;
                applied.min = applied.min.min(item.time);
                applied.max = applied.max.max(item.time);
            }
        }
    }

    pub(super) fn apply_histogram(
        &self,
        number: u64,
        oldest_reader: Option<u64>,
        block_range: i64,
        item: &HistogramItem,
        applied: &mut Applied,
    ) {
        let done = self.pages.with_mut(item.series, |series| {
            if item.late {
                self.apply_late(item.series, series, item.time, item.value.clone().into(), applied);
            } else if series.newest().is_some_and(|newest| item.time <= newest) {
                applied.dropped += 1;
            } else {
                series.begin_commit(number, oldest_reader);
                let mut store = |full: FullChunk<'_>| self.store(item.series, &full);
                series.push_histogram(item.time, &item.value, block_range, &mut store);
                applied.histograms += 1;
                applied.min = applied.min.min(item.time);
                applied.max = applied.max.max(item.time);
            }
        });
        if done.is_none() {
            applied.dropped += 1;
            applied.unknown += 1;
        }
    }

    pub(super) fn apply_late(&self, number: u32, series: &mut Series, time: i64, value: Value, applied: &mut Applied) {
        let late = series.rest_mut().late.get_or_insert_default();
        if late.is_empty() {
            self.late_series.lock().insert(number);
        }
        if !late.insert(time, value) {
            applied.dropped += 1;
            return;
        }
        applied.late += 1;
        applied.late_min = Some(applied.late_min.map_or(time, |min| min.min(time)));
        if applied.replaying {
            if late.open_len() >= LATE_SAMPLES_IN_REPLAY {
                let columns = late.take_open();
                late.mapped.extend(self.store_late(number, &columns));
            }
        } else if late.open_len() >= LATE_SAMPLES && applied.late_full.last() != Some(&number) {
            applied.late_full.push(number);
        }
    }

    /// Encodes the open late chunks of these series, and gives the markers for their log. It is done at the end of a batch,
    /// because upstream takes a marker as the word that all samples of the series before it are in chunks.
    fn cut_late(&self, full: &[u32]) -> Vec<MarkerRecord> {
        let mut markers = Vec::new();
        for &number in full {
            self.pages.with_mut(number, |series| {
                // A series may be named twice.
                let late = series.rest.as_mut().and_then(|rest| rest.late.as_mut());
                let Some(late) = late.filter(|late| late.open_len() >= LATE_SAMPLES) else { return };
                let columns = late.take_open();
                for chunk in self.store_late(number, &columns) {
                    late.mapped.push(chunk);
                    markers.push(MarkerRecord { series: u64::from(number), chunk: chunk.place });
                }
            });
        }
        markers
    }

    /// Encodes late samples into the head chunk files.
    pub(super) fn store_late(&self, number: u32, columns: &Columns) -> Vec<MappedChunk> {
        let mut chunks: Vec<EncodedChunk> = Vec::new();
        chunk::encode(columns, FloatEncoding::Xor, &mut chunks);
        let store = |chunk: EncodedChunk| {
            let times = (chunk.min_time, chunk.max_time);
            let place = self.chunks.store(number, chunk.encoding, times, true, &chunk.bytes);
            MappedChunk { place, min_time: times.0, max_time: times.1 }
        };
        chunks.into_iter().map(store).collect()
    }

    pub(super) fn store(&self, series: u32, full: &FullChunk<'_>) -> u64 {
        self.counters.chunks_created.fetch_add(1, Ordering::Relaxed);
        self.chunks.store(series, full.encoding, (full.min_time, full.max_time), false, full.bytes)
    }

    /// Makes the logs durable, while commits go on.
    pub(crate) fn sync(&self) -> Result<(), FsError> {
        let files = {
            let mut commit = self.commit.lock();
            commit.synced_at = self.clock.now().as_millis();
            if !std::mem::take(&mut commit.unsynced) {
                return Ok(());
            }
            // Segments before these were synced when they were sealed.
            [&commit.wal, &commit.wbl].map(|log| log.as_ref().map(WalWriter::file))
        };
        let began = self.clock.now();
        for (file, path) in files.into_iter().flatten() {
            let synced = file.sync().context("sync", &path);
            synced.inspect_err(|error| self.commit.lock().broken = Some(format!("{error}; reopen the database")))?;
        }
        self.note_sync(began);
        Ok(())
    }
}

/// How many samples are looked at before the first of them is appended.
const WARMED: usize = 32;

/// Loads both ends of the open chunks that the next samples go to. Each is a miss of the cache; asked for together, they
/// are waited for together. Several samples of one series in a row have no use for it.
#[inline]
fn warm(page: &[Series], items: &[FloatItem]) {
    if matches!(items, [first, second, ..] if first.series == second.series) {
        return;
    }
    let (mut seen, mut last) = (0, u32::MAX);
    for item in items.iter().take(WARMED) {
        if item.series != last {
            last = item.series;
            if let Some([first, .., end]) = page.get(last as usize % PAGE_SERIES).map(|series| series.chunk.as_slice())
            {
                seen ^= first ^ end;
            }
        }
    }
    std::hint::black_box(seen);
}

/// What a batch did.
#[derive(Debug, Default)]
pub(super) struct Applied {
    pub(super) floats: u64,
    pub(super) histograms: u64,
    pub(super) late: u64,
    pub(super) dropped: usize,
    /// Of those, samples of series that are not there.
    pub(super) unknown: u64,
    /// Bounds of what came in order.
    pub(super) min: i64,
    pub(super) max: i64,
    pub(super) late_min: Option<i64>,
    /// Series whose open late chunk is full.
    pub(super) late_full: Vec<u32>,
    /// Whether the batch comes from the log.
    pub(super) replaying: bool,
}

impl Applied {
    /// A sample lost a race: unless it is the one that is there already, it is dropped.
    fn lost(&mut self, series: &Series, item: &FloatItem) {
        let repeated = series.newest() == Some(item.time)
            && series.kind == Kind::Float
            && series.floats.value().to_bits() == item.value.to_bits();
        self.dropped += usize::from(!repeated);
    }
}

pub(super) fn sync_logs(commit: &mut Commit) -> Result<(), FsError> {
    if !commit.unsynced {
        return Ok(());
    }
    for wal in [&commit.wal, &commit.wbl].into_iter().flatten() {
        wal.sync()?;
    }
    commit.unsynced = false;
    Ok(())
}

/// Logs the floats that are, or are not, late; says whether there are others.
fn log_floats(wal: &mut WalWriter, record: &mut Vec<u8>, items: &[FloatItem], late: bool) -> Result<bool, WalError> {
    let mut others = false;
    for part in items.chunks(RECORD_ITEMS) {
        record.clear();
        others |= format::put_plain_floats(
            record,
            part.iter().filter(|item| item.late == late).map(|item| (u64::from(item.series), item.time, item.value)),
        ) < part.len();
        if !record.is_empty() {
            wal.add(record)?;
        }
    }
    Ok(others)
}

fn log_histograms(
    wal: &mut WalWriter,
    record: &mut Vec<u8>,
    items: &[HistogramItem],
    late: bool,
) -> Result<bool, WalError> {
    let mut others = false;
    for part in items.chunks(RECORD_ITEMS / 64) {
        let chosen = part.iter().filter(|item| item.late == late);
        let records: Vec<_> = chosen
            .map(|item| HistogramRecord {
                series: u64::from(item.series),
                time: item.time,
                start: 0,
                value: item.value.clone(),
            })
            .collect();
        others |= records.len() < part.len();
        let mut result = Ok(());
        put_histograms(&records, record, |record| {
            if result.is_ok() {
                result = wal.add(record);
            }
        });
        result?;
    }
    Ok(others)
}
