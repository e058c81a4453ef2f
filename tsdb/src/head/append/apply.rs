//! Makes a batch that is logged visible: samples in order go to the open chunk of their series, late ones to its late chunk.

use std::sync::atomic::Ordering;

use ferula_model::{Columns, CommitSummary, Value};

use super::batch::{Batch, FloatItem, Floats, HistogramItem};
use super::log::Commit;
use crate::chunk::{self, EncodedChunk};
use crate::head::Head;
use crate::head::series::{ChunkRules, FullChunk, Kind, MappedChunk, PAGE_SERIES, Series};
use crate::head::tally::Tally;
use crate::wal::format::{MarkerRecord, put_markers};

/// Samples in an open late chunk, at the end of a batch, from which on it is encoded (upstream's default).
const LATE_SAMPLES: usize = 32;
/// The same in replay, where the marker that follows says which samples are in a chunk: a bound for logs without markers.
const LATE_SAMPLES_IN_REPLAY: usize = 1 << 12;

impl Head {
    /// Makes a logged batch visible.
    pub(super) fn apply(&self, commit: &mut Commit, number: u64, batch: &Batch) -> CommitSummary {
        let mut applied = Applied { min: i64::MAX, max: i64::MIN, ..Applied::default() };
        let oldest_reader = self.readers.oldest_view();
        let rules = self.chunk_rules();
        for (floats, histograms) in batch.runs() {
            self.apply_floats(number, oldest_reader, rules, floats, &mut applied);
            for item in histograms {
                self.apply_histogram(number, oldest_reader, rules, item, &mut applied);
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

    pub(in crate::head) fn apply_floats(
        &self,
        number: u64,
        oldest_reader: Option<u64>,
        rules: ChunkRules,
        floats: Floats<'_>,
        applied: &mut Applied,
    ) {
        let Floats { items, starts } = floats;
        // One test for each sample is what those without start timestamps pay for those that have one.
        let has_starts = !starts.is_empty();
        let mut first = 0;
        for run in items.chunk_by(|a, b| a.series as usize / PAGE_SERIES == b.series as usize / PAGE_SERIES) {
            let run_starts = starts.get(first..first + run.len()).unwrap_or_default();
            first += run.len();
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
                let start = if has_starts { start_at(run_starts, at) } else { 0 };
                if item.late {
                    self.apply_late(item.series, series, (item.time, start), item.value.into(), applied);
                    continue;
                }
                if series.newest().is_some_and(|newest| item.time <= newest) {
                    if applied.replaying && series.newest() == Some(item.time) && series.chunk.is_empty() {
                        let before = Tally::of(series);
                        series.floats.note_value(item.value);
                        applied.tally.changed(before, series);
                    }
                    applied.lost(series, item);
                    continue;
                }
                let before = Tally::of(series);
                series.begin_commit(number, oldest_reader);
                series.push_float(item.time, start, item.value, rules, &mut |full| self.store(item.series, &full));
                applied.tally.changed(before, series);
                applied.floats += 1;
                applied.min = applied.min.min(item.time);
                applied.max = applied.max.max(item.time);
            }
        }
    }

    pub(in crate::head) fn apply_histogram(
        &self,
        number: u64,
        oldest_reader: Option<u64>,
        rules: ChunkRules,
        item: &HistogramItem,
        applied: &mut Applied,
    ) {
        let done = self.pages.with_mut(item.series, |series| {
            if item.late {
                self.apply_late(item.series, series, (item.time, item.start), item.value.clone().into(), applied);
            } else if series.newest().is_some_and(|newest| item.time <= newest) {
                applied.dropped += 1;
            } else {
                let before = Tally::of(series);
                series.begin_commit(number, oldest_reader);
                let mut store = |full: FullChunk<'_>| self.store(item.series, &full);
                series.push_histogram(item.time, item.start, &item.value, rules, &mut store);
                applied.tally.changed(before, series);
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

    /// Adds a late sample of a time, with a start that is 0 for none.
    fn apply_late(
        &self,
        number: u32,
        series: &mut Series,
        (time, start): (i64, i64),
        value: Value,
        applied: &mut Applied,
    ) {
        let late = series.rest_mut().late.get_or_insert_default();
        if late.is_empty() {
            self.late_waiting.lock().insert(number);
        }
        if !late.insert(time, start, value) {
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
    pub(in crate::head) fn store_late(&self, number: u32, columns: &Columns) -> Vec<MappedChunk> {
        let mut chunks: Vec<EncodedChunk> = Vec::new();
        chunk::encode(columns, self.options.read().floats, &mut chunks);
        let store = |chunk: EncodedChunk| {
            let times = (chunk.min_time, chunk.max_time);
            let place = self.chunks.store(number, chunk.encoding, times, true, &chunk.bytes);
            MappedChunk { place, min_time: times.0, max_time: times.1 }
        };
        chunks.into_iter().map(store).collect()
    }

    pub(in crate::head) fn store(&self, series: u32, full: &FullChunk<'_>) -> u64 {
        self.counters.chunks_created.fetch_add(1, Ordering::Relaxed);
        self.counters.gauges.add(Tally { mapped: 1, ..Tally::default() });
        self.chunks.store(series, full.encoding, (full.min_time, full.max_time), false, full.bytes)
    }
}

/// Out of the way of samples without start timestamps.
#[inline(never)]
fn start_at(starts: &[i64], at: usize) -> i64 {
    starts.get(at).copied().unwrap_or(0)
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
pub(in crate::head) struct Applied {
    pub(in crate::head) floats: u64,
    pub(in crate::head) histograms: u64,
    pub(in crate::head) late: u64,
    pub(in crate::head) dropped: usize,
    /// Of those, samples of series that are not there.
    pub(in crate::head) unknown: u64,
    /// Bounds of what came in order.
    pub(in crate::head) min: i64,
    pub(in crate::head) max: i64,
    pub(in crate::head) late_min: Option<i64>,
    /// Series whose open late chunk is full.
    pub(in crate::head) late_full: Vec<u32>,
    /// By how much it changed what the series count for.
    pub(in crate::head) tally: Tally,
    /// Whether the batch comes from the log.
    pub(in crate::head) replaying: bool,
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
