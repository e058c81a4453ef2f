//! Replay: the log becomes the head again.
//!
//! ```text
//!  segments --ahead--> records --Pass--> series, exemplars, ... (and their postings, all at once at the end)
//!                                 |
//!                                 +--> batches of samples --workers--> pages
//! ```
//!
//! One thread reads [`ahead`], checks, unpacks and takes apart label sets; one creates series and decodes the rest; others
//! apply samples ([`workers`]), each to its own pages, so that no two touch one series. Batches travel through channels
//! of a few places: memory stays bounded however long the log is. A [`snapshot`] is read ahead in the same way.

mod ahead;
mod labels;
mod missing;
mod report;
mod snapshot;
mod workers;

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use ferula_model::{Exemplar, Labels};
use hashbrown::HashMap;

use super::Head;
use super::append::{FloatItem, HistogramItem};
use super::chunks::StoredChunk;
use super::index::Index;
use super::series::{Kind, MappedChunk, Page};
use super::tally::Tally;
use crate::block::tombstones::Interval;
use crate::fs::Fs;
use crate::wal::checkpoint;
use crate::wal::format::{self, FloatRecord, HistogramRecord, RecordType};
use crate::wal::reader::{WalReader, repair};
use crate::wal::segments;
use ahead::{Ahead, Log, Record};
use labels::{Packer, Set};
pub use missing::Missing;
pub use report::{ReplayError, ReplayReport, UnknownItems};
use workers::{Work, Workers};

/// More threads than this do not help: one thread decodes the log.
const THREADS_MAX: usize = 8;

/// No thread is started to fill the postings of fewer pages than this.
const PART_PAGES_MIN: usize = 32;

/// How many threads share what can be shared.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get()).min(THREADS_MAX)
}

impl Head {
    /// Replays head chunks, checkpoint, log and log of late samples.
    pub(super) fn replay(&self) -> Result<ReplayReport, ReplayError> {
        let mut report = ReplayReport::default();
        let (mut stored, mut stored_late) = (HashMap::new(), HashMap::new());
        let mut highest = 0;
        let files = self.chunks.load(|chunk| {
            highest = highest.max(u32::try_from(chunk.series).unwrap_or(0));
            if chunk.late {
                stored_late.insert((chunk.series, chunk.place), chunk);
            } else {
                stored.entry(chunk.series).or_insert_with(Vec::new).push(chunk);
            }
        })?;
        report.damaged_chunk_files = files.damaged;
        let wal = self.log_dir(false);
        checkpoint::remove_covered(&*self.fs, &wal)?;
        let checkpoint = checkpoint::latest(&*self.fs, &wal)?;
        let first = checkpoint.as_ref().map_or(0, |(number, _)| number + 1);
        let numbers: Vec<u64> = segments(&*self.fs, &wal)?.into_iter().map(|(number, _)| number).collect();
        self.replay.begin(numbers.first().copied().unwrap_or(0).max(first), numbers.last().copied().unwrap_or(0));
        if let Some((_, dir)) = &checkpoint
            && segments(&*self.fs, dir)?.is_empty()
        {
            report.missing.push(Missing::Checkpoint(dir.clone()));
        }
        report.missing.extend(missing::missing(&wal, checkpoint.as_ref().map(|(number, _)| *number), &numbers));
        for missing in &report.missing {
            tracing::error!(error = %missing, "a part of the log is missing");
        }
        report.next_segment = numbers.last().map_or(first, |last| last + 1).max(first);
        let mut pass = Pass {
            head: self,
            report,
            stored,
            stored_late,
            aliases: HashMap::new(),
            highest: Cell::new(highest),
            packer: Packer::default(),
            late: false,
        };
        let snapshot = match super::snapshot::current(&*self.fs, &self.dir)? {
            // Without the full chunks it would be half of the truth.
            Some(dir) if files.are_whole => pass.load_snapshot(&dir)?,
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
        self.fill_postings();
        *self.aliases.write() = aliases;
        // A number that some record or chunk speaks of must not become the number of another series.
        self.numbers.skip_to(u64::from(highest.get()) + 1);
        self.replay.end();
        Ok(report)
    }

    /// Adds all series to the empty posting lists.
    fn fill_postings(&self) {
        let pages: Vec<(u32, &Page)> = self.pages.iter().collect();
        let parts: Vec<_> = pages
            .chunks(pages.len().div_ceil(threads()).max(PART_PAGES_MIN))
            .map(|pages| {
                move |each: &mut dyn FnMut(u32, &[u32])| {
                    for (first, page) in pages {
                        let page = page.read();
                        let living = (*first..=u32::MAX).zip(page.iter()).filter(|(_, series)| !series.is_dead());
                        living.for_each(|(number, series)| each(number, &series.labels));
                    }
                }
            })
            .collect();
        self.index.write().add_all(&parts);
    }
}

fn mapped(chunk: &StoredChunk) -> MappedChunk {
    MappedChunk { place: chunk.place, min_time: chunk.min_time, max_time: chunk.max_time }
}

/// One way through the log.
struct Pass<'a> {
    head: &'a Head,
    report: ReplayReport,
    /// Chunks in the head chunk files that wait for their series.
    stored: HashMap<u64, Vec<StoredChunk>>,
    /// Late chunks in the head chunk files that wait for their marker in the log: without one, a block has them.
    stored_late: HashMap<(u64, u64), StoredChunk>,
    /// Series that the log introduces twice: the first number counts.
    aliases: HashMap<u64, u64>,
    /// The highest number that was met and that a series can have.
    highest: Cell<u32>,
    packer: Packer,
    /// Whether this is the log of late samples.
    late: bool,
}

impl Pass<'_> {
    /// Replays one folder of segments from `first` on.
    fn run(&mut self, dir: &Path, first: u64, is_checkpoint: bool) -> Result<(), ReplayError> {
        let fs: Arc<dyn Fs> = Arc::clone(&self.head.fs);
        let reader = WalReader::open(&*fs, dir, first)?;
        if reader.is_empty() {
            return Ok(());
        }
        let (head, late) = (self.head, self.late);
        let damage = std::thread::scope(|scope| {
            let mut workers = Workers::start(scope, head, late);
            let mut ahead = Ahead::start(scope, &fs, &head.table, reader, Log::Wal);
            while let Some(batch) = ahead.next() {
                for record in batch.records() {
                    self.report.records += 1;
                    let is_good = match record {
                        Record::Series { sets, is_sound } => self.series(sets) && is_sound,
                        Record::Other(record) => self.record(record, &mut workers).is_ok(),
                        // Only a snapshot has those.
                        Record::Open(_) => false,
                    };
                    self.report.bad_records += u64::from(!is_good);
                }
                if !late {
                    head.replay.at(batch.segment());
                }
                ahead.give_back(batch);
            }
            let unknown = workers.finish();
            self.unknown().samples += unknown.samples;
            self.unknown().histograms += unknown.histograms;
            ahead.finish()
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

    /// Takes in a record that is not one of series.
    fn record(&mut self, record: &[u8], workers: &mut Workers<'_>) -> Result<(), format::RecordError> {
        use RecordType::*;
        match RecordType::of(record) {
            Some(Samples | SamplesV2) => {
                let mut count = 0;
                let result = format::each_float(record, |FloatRecord { series, time, start, value }| {
                    count += 1;
                    workers.push(FloatItem { series: self.number(series), late: self.late, time, value }, start);
                });
                self.report.samples += count;
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
                workers.push_histograms(samples.into_iter().map(|item| {
                    let series = self.number(item.series);
                    let HistogramRecord { time, start, value, .. } = item;
                    HistogramItem { series, late: self.late, after: 0, time, start, value }
                }));
                result
            }
            Some(Tombstones) => self.tombstones(record, workers),
            Some(Exemplars) => self.exemplars(record),
            Some(Metadata) => self.metadata(record),
            Some(MmapMarkers) => self.markers(record, workers),
            Some(Series) | None => Err(format::RecordError::UnknownType(record.first().copied().unwrap_or(0))),
        }
    }

    /// What is counted of the log that is being read.
    fn unknown(&mut self) -> &mut UnknownItems {
        if self.late { &mut self.report.unknown_late } else { &mut self.report.unknown }
    }

    fn is_known(&self, series: u32) -> bool {
        self.head.pages.with(series, |_| ()).is_some()
    }

    /// The number under which a series of the log is known; one that no series has if it cannot be known.
    fn number(&self, series: u64) -> u32 {
        self.meet(series);
        let series =
            if self.aliases.is_empty() { series } else { self.aliases.get(&series).copied().unwrap_or(series) };
        u32::try_from(series).unwrap_or(0)
    }

    /// Remembers that a number is not free.
    fn meet(&self, number: u64) {
        self.highest.set(self.highest.get().max(u32::try_from(number).unwrap_or(0)));
    }

    /// Creates the series of a record. False if one of them cannot be kept.
    fn series<'s>(&mut self, sets: impl Iterator<Item = Set<'s>>) -> bool {
        let head = self.head;
        let mut index = head.index.write();
        let mut all_kept = true;
        for set in sets {
            all_kept &= self.introduce(&set, &mut index).is_some();
        }
        all_kept
    }

    /// Creates a series unless it is known, perhaps under another number. Gives its number; `None` if it cannot be kept.
    fn introduce(&mut self, set: &Set<'_>, index: &mut Index) -> Option<u32> {
        let (head, number) = (self.head, set.number);
        self.meet(number);
        let small = u32::try_from(number).ok().filter(|small| *small > 0 && !set.is_empty());
        let known = match small {
            Some(small) => head.table.find_or_insert(set.fingerprint, small, || {
                head.place(small, self.packer.pack(set, index).into());
            }),
            None => head.table.find(set.fingerprint),
        };
        if small.is_none() || known.is_some() {
            // The next set is told by its difference to this one.
            self.packer.pack(set, index);
        }
        if let Some(known) = known {
            if u64::from(known) != number {
                self.aliases.insert(number, u64::from(known));
                self.attach(known, number);
            }
            return Some(known);
        }
        let small = small?;
        self.report.series += 1;
        self.attach(small, number);
        Some(small)
    }

    fn metadata(&mut self, record: &[u8]) -> Result<(), format::RecordError> {
        let head = self.head;
        format::read_metadata(record, |series, metadata| {
            let number = self.number(series);
            let set = head.pages.with_mut(number, |state| state.rest_mut().metadata = Some(metadata));
            self.unknown().metadata += u64::from(set.is_none());
        })
    }

    /// Gives a series its chunks from the head chunk files.
    fn attach(&mut self, series: u32, number: u64) {
        let Some(chunks) = self.stored.remove(&number) else { return };
        let head = self.head;
        let in_blocks_until = head.in_blocks_until();
        let mut tally = Tally::default();
        head.pages.with_mut(series, |state| {
            // Samples from the log are there already, so the log has the others too.
            if state.has_open_chunk() {
                return;
            }
            let before = Tally::of(state);
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
                tally.mapped += 1;
                if is_newest {
                    state.floats.note_time(chunk.max_time);
                    state.kind = if chunk.is_float { Kind::Float } else { Kind::Histogram };
                }
                head.widen_bounds(chunk.min_time.max(in_blocks_until), chunk.max_time);
            }
            tally.changed(before, state);
        });
        head.counters.gauges.add(tally);
    }

    /// Late samples before a marker are in the chunk that it names, if that chunk is there.
    fn markers(&mut self, record: &[u8], workers: &mut Workers<'_>) -> Result<(), format::RecordError> {
        let mut items = Vec::new();
        let result = format::read_markers(record, &mut items);
        for item in items {
            self.head.chunks.number_after((item.chunk >> 32) as u32);
            let Some(chunk) = self.stored_late.remove(&(item.series, item.chunk)) else { continue };
            let series = self.number(item.series);
            workers.dispatch(series, Work::LateChunk(series, mapped(&chunk)));
        }
        result
    }

    fn tombstones(&mut self, record: &[u8], workers: &mut Workers<'_>) -> Result<(), format::RecordError> {
        let mut items = Vec::new();
        let result = format::read_tombstones(record, &mut items);
        self.report.deletes = true;
        if self.late {
            for item in items {
                let series = self.number(item.series);
                workers.dispatch(series, Work::DeleteLate(series, Interval::new(item.min_time, item.max_time)));
            }
            return result;
        }
        let mut tombstones = self.head.tombstones.write();
        for item in items {
            let (series, interval) = (self.number(item.series), Interval::new(item.min_time, item.max_time));
            if self.is_known(series) {
                tombstones.entry(series).or_default().add(interval);
            } else {
                self.report.unknown.tombstones += 1;
            }
        }
        result
    }

    fn exemplars(&mut self, record: &[u8]) -> Result<(), format::RecordError> {
        let mut items = Vec::new();
        let result = format::read_exemplars(record, &mut items);
        let mut ring = self.head.exemplars.write();
        for item in items {
            let series = self.number(item.series);
            if !self.is_known(series) {
                self.report.unknown.exemplars += 1;
                continue;
            }
            let labels = Labels::from_pairs(item.labels);
            ring.add(series, item.time, &Exemplar { labels, value: item.value, timestamp: None });
        }
        result
    }
}
