//! Replay: the log becomes the head again.
//!
//! One thread reads and decodes the log and creates series; others apply samples, each to its own pages, so that no two
//! touch one series. Batches travel through channels of a few places: memory stays bounded however long the log is.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use ferula_model::{Columns, Exemplar, Labels, TimeRange};
use hashbrown::HashMap;
use thiserror::Error;

use super::Head;
use super::append::{Applied, FloatItem, FloatItems, HistogramItem};
use super::chunks::StoredChunk;
use super::series::{Kind, MappedChunk, PAGE_SERIES};
use super::snapshot;
use super::table::Fingerprint;
use crate::block::tombstones::Interval;
use crate::fs::{Fs, FsError};
use crate::wal::checkpoint;
use crate::wal::format::{self, FloatRecord, HistogramRecord, RecordType};
use crate::wal::reader::{Corruption, Lost, ReadError, WalReader, repair};
use crate::wal::segments;

/// Samples in a batch for a worker, and batches that may wait for one.
const BATCH: usize = 4096;
const WAITING: usize = 16;
/// More threads than this do not help: one thread reads the log.
const WORKERS_MAX: usize = 8;

/// Why the log could not be replayed.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// A file could not be read or written.
    #[error(transparent)]
    Fs(FsError),
    /// A checkpoint is damaged. It holds what is nowhere else, so the host must decide: restore it from a backup, or remove
    /// it together with the log and lose what it had.
    #[error("checkpoint: {0}")]
    Checkpoint(Corruption),
    /// A series number that this version cannot hold.
    #[error("series number {0} in the log is beyond 2^32")]
    SeriesNumber(u64),
}

/// What replay found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ReplayReport {
    /// Series that were created.
    pub series: u64,
    /// Samples that were applied.
    pub samples: u64,
    /// Records that were read.
    pub records: u64,
    /// Items of series that no record had introduced: they are lost.
    pub unknown_series: u64,
    /// Records that could not be understood: they are lost.
    pub bad_records: u64,
    /// Where the log was damaged, and what was cut off.
    pub damage: Vec<(Corruption, Lost)>,
    /// Whether the head came from the snapshot of a clean close, so that the log was not read.
    pub from_snapshot: bool,
    /// Head chunk files that were damaged; what they held was taken from the log.
    pub damaged_chunk_files: u64,
    pub(crate) next_segment: u64,
    pub(crate) next_late_segment: u64,
}

enum Work {
    Floats(FloatItems),
    Histograms(Vec<HistogramItem>),
    LateChunk(u32, MappedChunk),
    DeleteLate(u32, Interval),
}

impl Head {
    /// Replays head chunks, checkpoint, log and log of late samples.
    pub(super) fn replay(&self) -> Result<ReplayReport, ReplayError> {
        let mut report = ReplayReport::default();
        let (mut stored, mut stored_late) = (HashMap::new(), HashMap::new());
        let mut highest = 0;
        report.damaged_chunk_files = self.chunks.load(|chunk| {
            highest = highest.max(chunk.series);
            if chunk.late {
                stored_late.insert((chunk.series, chunk.place), chunk);
            } else {
                stored.entry(chunk.series).or_insert_with(Vec::new).push(chunk);
            }
        })?;
        let wal = self.log_dir(false);
        checkpoint::remove_covered(&*self.fs, &wal)?;
        let checkpoint = checkpoint::latest(&*self.fs, &wal)?;
        let first = checkpoint.as_ref().map_or(0, |(number, _)| number + 1);
        let numbers: Vec<u64> = segments(&*self.fs, &wal)?.into_iter().map(|(number, _)| number).collect();
        self.replay.begin(numbers.first().copied().unwrap_or(0).max(first), numbers.last().copied().unwrap_or(0));
        report.next_segment = numbers.last().map_or(first, |last| last + 1).max(first);
        let mut pass = Pass {
            head: self,
            report,
            stored,
            stored_late,
            aliases: HashMap::new(),
            highest: Cell::new(highest),
            late: false,
        };
        let snapshot = match snapshot::current(&*self.fs, &self.dir)? {
            // Without the full chunks it would be half of the truth.
            Some(dir) if pass.report.damaged_chunk_files == 0 => pass.load_snapshot(&dir)?,
            _ => false,
        };
        pass.report.from_snapshot = snapshot;
        if !snapshot {
            if let Some((_, dir)) = &checkpoint {
                pass.run(dir, 0, true)?;
            }
            pass.run(&wal, first, false)?;
        }
        pass.late = true;
        let wbl = self.log_dir(true);
        pass.report.next_late_segment = segments(&*self.fs, &wbl)?.last().map_or(0, |(number, _)| number + 1);
        pass.run(&wbl, 0, false)?;
        let Pass { report, highest, aliases, .. } = pass;
        *self.aliases.write() = aliases;
        // A number that some record or chunk speaks of must not become the number of another series.
        self.next_series.fetch_max(highest.get().saturating_add(1), Ordering::AcqRel);
        self.replay.end();
        Ok(report)
    }
}

fn mapped(chunk: &StoredChunk) -> MappedChunk {
    MappedChunk { place: chunk.place, min_time: chunk.min_time, max_time: chunk.max_time }
}

/// One way through the log.
pub(super) struct Pass<'a> {
    pub(super) head: &'a Head,
    pub(super) report: ReplayReport,
    /// Chunks in the head chunk files that wait for their series.
    stored: HashMap<u64, Vec<StoredChunk>>,
    /// Late chunks in the head chunk files that wait for their marker in the log: without one, a block has them.
    stored_late: HashMap<(u64, u64), StoredChunk>,
    /// Series that the log introduces twice: the first number counts.
    aliases: HashMap<u64, u64>,
    /// The highest number of a series that was met.
    highest: Cell<u64>,
    /// Whether this is the log of late samples.
    late: bool,
}

impl Pass<'_> {
    /// Replays one folder of segments from `first` on.
    fn run(&mut self, dir: &Path, first: u64, is_checkpoint: bool) -> Result<(), ReplayError> {
        let fs: Arc<dyn Fs> = Arc::clone(&self.head.fs);
        let mut reader = WalReader::open(&*fs, dir, first)?;
        let workers = std::thread::available_parallelism().map_or(1, |n| n.get()).min(WORKERS_MAX);
        let head = self.head;
        let late = self.late;
        let damage = std::thread::scope(|scope| {
            let mut queues = Vec::new();
            let mut workers_at_work = Vec::new();
            for _ in 0..workers {
                let (send, receive) = sync_channel(WAITING);
                let (give_back, spare) = sync_channel(WAITING);
                workers_at_work.push(scope.spawn(move || work(head, late, &receive, &give_back)));
                queues.push(Queue { send, spare, floats: FloatItems::with_capacity(BATCH) });
            }
            let damage = self.read_all(&*fs, &mut reader, queues);
            for worker in workers_at_work {
                self.report.unknown_series += worker.join().unwrap_or_default();
            }
            damage
        });
        if let Some(damage) = damage? {
            if is_checkpoint {
                return Err(ReplayError::Checkpoint(damage));
            }
            let lost = repair(&*fs, dir, &damage)?;
            tracing::warn!(%damage, bytes = lost.bytes, segments = lost.segments, "the log was cut");
            self.report.damage.push((damage, lost));
        }
        Ok(())
    }

    /// Reads to the end or to the first damage.
    fn read_all(
        &mut self,
        fs: &dyn Fs,
        reader: &mut WalReader,
        mut queues: Vec<Queue>,
    ) -> Result<Option<Corruption>, ReplayError> {
        let mut floats = Vec::new();
        let damage = loop {
            match reader.next(fs) {
                Ok(Some(record)) => {
                    self.report.records += 1;
                    if self.record(record, &mut floats, &mut queues).is_err() {
                        self.report.bad_records += 1;
                    }
                }
                Ok(None) => break None,
                Err(ReadError::Corrupt(damage)) => break Some(damage),
                Err(ReadError::Fs(error)) => return Err(error.into()),
            }
            if let Some(segment) = reader.segment().filter(|_| !self.late) {
                self.head.replay.at(segment);
            }
        };
        queues.iter_mut().for_each(Queue::flush);
        Ok(damage)
    }

    fn record(
        &mut self,
        record: &[u8],
        floats: &mut Vec<FloatRecord>,
        queues: &mut [Queue],
    ) -> Result<(), format::RecordError> {
        use RecordType::*;
        match RecordType::of(record) {
            Some(Series) => self.series(record),
            Some(Samples | SamplesV2) => {
                floats.clear();
                let result = format::read_floats(record, floats);
                self.report.samples += floats.len() as u64;
                for item in floats.iter() {
                    let series = self.number(item.series);
                    let at = series as usize / PAGE_SERIES % queues.len();
                    if let Some(queue) = queues.get_mut(at) {
                        let float = FloatItem { series, late: self.late, time: item.time, value: item.value };
                        queue.push(float, item.start);
                    }
                }
                result
            }
            Some(
                Histograms
                | FloatHistograms
                | CustomHistograms
                | CustomFloatHistograms
                | HistogramsV2
                | FloatHistogramsV2,
            ) => {
                let mut samples = Vec::new();
                let result = format::read_histograms(record, &mut samples);
                self.report.samples += samples.len() as u64;
                self.histograms(samples, queues);
                result
            }
            Some(Tombstones) => self.tombstones(record, queues),
            Some(Exemplars) => self.exemplars(record),
            Some(Metadata) => self.metadata(record),
            Some(MmapMarkers) => self.markers(record, queues),
            None => Err(format::RecordError::UnknownType(record.first().copied().unwrap_or(0))),
        }
    }

    /// The number under which a series of the log is known; one that no series has if it cannot be known.
    pub(super) fn number(&self, series: u64) -> u32 {
        self.highest.set(self.highest.get().max(series));
        let series =
            if self.aliases.is_empty() { series } else { self.aliases.get(&series).copied().unwrap_or(series) };
        u32::try_from(series).unwrap_or(0)
    }

    fn series(&mut self, record: &[u8]) -> Result<(), format::RecordError> {
        let mut too_large = false;
        let result = format::read_series(record, |number, labels| {
            too_large |= self.introduce(number, labels).is_none();
        });
        if too_large { Err(format::RecordError::Malformed("series number or labels")) } else { result }
    }

    /// Creates a series unless it is known, perhaps under another number. Gives its number; `None` if it cannot be kept.
    pub(super) fn introduce(&mut self, number: u64, labels: &[(&str, &str)]) -> Option<u32> {
        let head = self.head;
        self.highest.set(self.highest.get().max(number));
        let fingerprint: Fingerprint = head.table.fingerprint(labels.iter().copied());
        if let Some(known) = head.table.find(fingerprint) {
            if u64::from(known) != number {
                self.aliases.insert(number, u64::from(known));
                self.attach(known, number);
            }
            return Some(known);
        }
        let small = u32::try_from(number).ok().filter(|small| *small > 0 && !labels.is_empty())?;
        head.place(&mut head.index.write(), small, labels, fingerprint);
        self.report.series += 1;
        self.attach(small, number);
        Some(small)
    }

    pub(super) fn metadata(&mut self, record: &[u8]) -> Result<(), format::RecordError> {
        let head = self.head;
        format::read_metadata(record, |series, metadata| {
            let number = self.number(series);
            head.pages.with_mut(number, |state| state.rest_mut().metadata = Some(metadata));
        })
    }

    /// Gives a series its chunks from the head chunk files.
    fn attach(&mut self, series: u32, number: u64) {
        let Some(chunks) = self.stored.remove(&number) else { return };
        let head = self.head;
        let in_blocks_until = head.in_blocks_until();
        head.pages.with_mut(series, |state| {
            // Samples from the log are there already, so the log has the others too.
            if state.has_open_chunk() {
                return;
            }
            for chunk in chunks {
                // Chunks that a block has were left behind by a crash before the files were deleted. A series that went and came
                // back has chunks under several numbers, in any order.
                let mapped = &mut state.rest_mut().mapped;
                let at = mapped.partition_point(|known| known.max_time < chunk.min_time);
                let overlaps = mapped.get(at).is_some_and(|next| next.min_time <= chunk.max_time);
                if chunk.max_time < in_blocks_until || overlaps {
                    continue;
                }
                let is_newest = at == mapped.len();
                mapped
                    .insert(at, MappedChunk { place: chunk.place, min_time: chunk.min_time, max_time: chunk.max_time });
                if is_newest {
                    state.floats.note_time(chunk.max_time);
                    state.kind = if chunk.is_float { Kind::Float } else { Kind::Histogram };
                }
                head.widen_bounds(chunk.min_time.max(in_blocks_until), chunk.max_time);
            }
        });
    }

    /// Late samples before a marker are in the chunk that it names, if that chunk is there.
    fn markers(&mut self, record: &[u8], queues: &mut [Queue]) -> Result<(), format::RecordError> {
        let mut items = Vec::new();
        let result = format::read_markers(record, &mut items);
        for item in items {
            self.head.chunks.number_after((item.chunk >> 32) as u32);
            let Some(chunk) = self.stored_late.remove(&(item.series, item.chunk)) else { continue };
            let series = self.number(item.series);
            let at = series as usize / PAGE_SERIES % queues.len();
            if let Some(queue) = queues.get_mut(at) {
                queue.flush();
                queue.dispatch(Work::LateChunk(series, mapped(&chunk)));
            }
        }
        result
    }

    fn histograms(&mut self, samples: Vec<HistogramRecord>, queues: &mut [Queue]) {
        let mut parts: Vec<Vec<HistogramItem>> = vec![Vec::new(); queues.len()];
        for item in samples {
            let series = self.number(item.series);
            let HistogramRecord { time, start, value, .. } = item;
            let item = HistogramItem { series, late: self.late, after: 0, time, start, value };
            if let Some(part) = parts.get_mut(series as usize / PAGE_SERIES % queues.len()) {
                part.push(item);
            }
        }
        for (queue, part) in queues.iter_mut().zip(parts) {
            if !part.is_empty() {
                // Floats first: a series may have had some before.
                queue.flush();
                queue.dispatch(Work::Histograms(part));
            }
        }
    }

    fn tombstones(&mut self, record: &[u8], queues: &mut [Queue]) -> Result<(), format::RecordError> {
        let mut items = Vec::new();
        let result = format::read_tombstones(record, &mut items);
        if self.late {
            for item in items {
                let series = self.number(item.series);
                let at = series as usize / PAGE_SERIES % queues.len();
                if let Some(queue) = queues.get_mut(at) {
                    queue.flush();
                    queue.dispatch(Work::DeleteLate(series, Interval::new(item.min_time, item.max_time)));
                }
            }
            return result;
        }
        let mut tombstones = self.head.tombstones.write();
        for item in items {
            let interval = Interval::new(item.min_time, item.max_time);
            tombstones.entry(self.number(item.series)).or_default().add(interval);
        }
        result
    }

    pub(super) fn exemplars(&mut self, record: &[u8]) -> Result<(), format::RecordError> {
        let mut items = Vec::new();
        let result = format::read_exemplars(record, &mut items);
        let mut ring = self.head.exemplars.write();
        for item in items {
            let labels = Labels::from_pairs(item.labels);
            ring.add(self.number(item.series), item.time, &Exemplar { labels, value: item.value, timestamp: None });
        }
        result
    }
}

/// The way to one worker.
struct Queue {
    send: SyncSender<Work>,
    spare: Receiver<FloatItems>,
    floats: FloatItems,
}

impl Queue {
    #[inline]
    fn push(&mut self, item: FloatItem, start: i64) {
        self.floats.push(item, start);
        if self.floats.len() >= BATCH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.floats.is_empty() {
            let next = self.spare.try_recv().unwrap_or_else(|_| FloatItems::with_capacity(BATCH));
            let full = std::mem::replace(&mut self.floats, next);
            self.dispatch(Work::Floats(full));
        }
    }

    fn dispatch(&mut self, work: Work) {
        // A worker only ends after its queue does.
        let _ = self.send.send(work);
    }
}

/// Applies batches until the queue ends. Gives the number of samples whose series nobody introduced.
fn work(head: &Head, late: bool, queue: &Receiver<Work>, give_back: &SyncSender<FloatItems>) -> u64 {
    let mut applied = Applied { min: i64::MAX, max: i64::MIN, replaying: true, ..Applied::default() };
    let rules = head.chunk_rules();
    let valid_from = head.valid_from.load(Ordering::Acquire);
    while let Ok(work) = queue.recv() {
        match work {
            Work::Floats(mut floats) => {
                if !late {
                    floats.retain(|item| item.time >= valid_from);
                }
                head.apply_floats(0, None, rules, floats.all(), &mut applied);
                floats.clear();
                let _ = give_back.try_send(floats);
            }
            Work::Histograms(items) => {
                for item in items.iter().filter(|item| late || item.time >= valid_from) {
                    head.apply_histogram(0, None, rules, item, &mut applied);
                }
            }
            Work::LateChunk(series, chunk) => head.attach_late(series, chunk),
            Work::DeleteLate(series, range) => head.delete_late(series, range.min, range.max),
        }
    }
    if applied.min <= applied.max {
        head.widen_bounds(applied.min, applied.max);
    }
    applied.unknown
}

impl Head {
    /// Late samples of the open chunk are in this one, if it can be read.
    fn attach_late(&self, series: u32, chunk: MappedChunk) {
        let mut columns = Columns::default();
        if self.decode(series, &chunk, TimeRange::ALL, &mut columns).is_err() {
            return;
        }
        let mut times = columns.times;
        times.append(&mut columns.histogram_times);
        times.sort_unstable();
        self.late_series.lock().insert(series);
        self.pages.with_mut(series, |state| {
            state.rest_mut().late.get_or_insert_default().replace_open(chunk, &times);
        });
    }
}
