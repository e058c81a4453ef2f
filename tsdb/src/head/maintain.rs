//! What the head forgets: ranges that a block has, series without samples, segments without need.
//!
//! ```text
//!  seal --> blocks are written and published --> no reader is older --> boundary --> truncate --> trim
//! ```
//!
//! # What a crash leaves
//!
//! Until the boundary is written, opening finds everything in the log again, and samples that a block has as well are in both,
//! which reading does not show. From then on the log's samples before the boundary are passed over. The log of late samples
//! is cut before memory forgets them: as long as the log has a late sample, memory has it too, so that a deletion finds it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ferula_model::{Columns, TimeRange, Timestamp};
use hashbrown::HashSet;

use super::Head;
use super::append::sync_logs;
use super::boundary::{self, Boundary};
use super::late::Late;
use super::select::{decode_stored, late_of};
use super::series::{Series, range_end};
use super::tally::Tally;
use crate::db::Durability;
use crate::fs::{Context, FsError};
use crate::wal::checkpoint::{self, CheckpointOptions};
use crate::wal::reader::ReadError;
use crate::wal::segments;
use crate::wal::writer::WalError;

/// Segments of the log of late samples after which they become blocks, even if nothing else does.
const LATE_SEGMENTS_MAX: u64 = 3;
/// Dead series that are taken out of the index at once.
const DEAD_AT_ONCE: usize = 4096;

/// Late samples on their way into blocks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sealed {
    /// The series that have some.
    pub(crate) series: Vec<u32>,
    /// Segments of their log before this one go when the blocks are there.
    segment: Option<u64>,
}

/// Series of which nothing is left.
#[derive(Debug, Default)]
pub(super) struct Idle {
    series: Vec<u32>,
    /// How many collections there had been before they were found.
    collection: u64,
    /// Readers before this one may have them in hand.
    reader: u64,
}

impl Head {
    /// The end of the range that should become a block now: the head holds one and a half ranges. With `early`, any range that
    /// lies behind the newest sample as a whole.
    pub(crate) fn due(&self, early: bool) -> Option<i64> {
        let (min, max) = self.bounds()?;
        let range = self.options.read().block_range;
        let end = range_end(min, range);
        let is_due = if early { end <= max } else { max.saturating_sub(min) > range.saturating_add(range / 2) };
        is_due.then_some(end)
    }

    /// Length of a block in milliseconds.
    pub(crate) fn block_range(&self) -> i64 {
        self.options.read().block_range
    }

    /// Whether late samples should become blocks for the length of their log.
    pub(crate) fn is_late_due(&self) -> bool {
        let commit = self.commit.lock();
        let Some(wbl) = &commit.wbl else { return false };
        let newest = wbl.segment();
        drop(commit);
        let first = segments(&*self.fs, &self.log_dir(true)).ok().and_then(|found| Some(found.first()?.0));
        first.is_some_and(|first| newest - first >= LATE_SEGMENTS_MAX)
    }

    /// Whether the host wants the log made durable from time to time, and something is not.
    pub(crate) fn wants_sync(&self) -> bool {
        self.sync_interval().is_some() && self.commit.lock().unsynced
    }

    /// How often the host wants the log made durable, if not at every commit.
    pub(crate) fn sync_interval(&self) -> Option<Duration> {
        match self.options.read().durability {
            Durability::Interval(interval) => Some(interval),
            Durability::Os | Durability::Always => None,
        }
    }

    /// The newest time of all samples, those of the series with late ones included.
    pub(crate) fn newest(&self, with_late: &[u32]) -> Option<i64> {
        let late = with_late
            .iter()
            .filter_map(|&number| self.pages.with(number, |series| late_of(series).and_then(Late::bounds)).flatten());
        late.map(|bounds| bounds.1).chain(self.bounds().map(|bounds| bounds.1)).max()
    }

    /// Whether late samples wait for a block.
    pub(crate) fn has_late(&self) -> bool {
        !self.late_waiting.lock().is_empty()
    }

    /// The series with late samples, by rising number. Those that have some on their way into blocks are among them: more may have
    /// come since.
    pub(crate) fn series_with_late_samples(&self) -> Vec<u32> {
        let mut numbers = Vec::new();
        for (first, page) in self.pages.iter() {
            let page = page.read();
            let late = page.iter().enumerate().filter(|(_, series)| !series.is_dead() && late_of(series).is_some());
            numbers.extend(late.map(|(at, _)| first + at as u32));
        }
        numbers
    }

    /// Lets nothing in order enter before `until` any more, and tells the late samples of now from those to come.
    ///
    /// # Errors
    ///
    /// The log of late samples could not begin a new segment. Nothing has changed then.
    pub(crate) fn seal(&self, until: Option<i64>) -> Result<Sealed, FsError> {
        let mut commit = self.commit.lock();
        let mut sealed = Sealed::default();
        if self.has_late() {
            let mut segment = None;
            self.write(&mut commit, |commit| {
                if let Some(wbl) = &mut commit.wbl {
                    segment = Some(wbl.next_segment()?);
                }
                Ok(())
            })?;
            sealed.segment = segment;
            sealed.series = self.late_waiting.lock().drain().collect();
            sealed.series.sort_unstable();
        }
        if let Some(until) = until {
            self.valid_from.fetch_max(until, Ordering::AcqRel);
        }
        for &number in &sealed.series {
            self.pages.with_mut(number, |series| {
                let Some(late) = series.rest.as_mut().and_then(|rest| rest.late.as_mut()) else { return };
                let open = late.take_open();
                late.mapped.extend(self.store_late(number, &open));
                late.sealed = late.mapped.len();
            });
        }
        Ok(sealed)
    }

    /// The blocks did not come about: the late samples are as all others again.
    pub(crate) fn unseal(&self, sealed: &Sealed) {
        self.late_waiting.lock().extend(sealed.series.iter().copied());
    }

    /// The aligned ranges in which there are sealed late samples, by their start.
    pub(crate) fn late_ranges(&self, sealed: &Sealed) -> Vec<i64> {
        let range = self.block_range();
        let mut starts = std::collections::BTreeSet::new();
        let mut columns = Columns::default();
        for &number in &sealed.series {
            let chunks = self.pages.with(number, |series| late_of(series).map(|late| late.mapped.clone()));
            for chunk in chunks.flatten().unwrap_or_default() {
                columns.clear();
                // A damaged chunk is reported when its block is written.
                let _ = decode_stored(number, &mut self.chunks.reader(), &chunk, TimeRange::ALL, &mut columns);
                starts.extend(
                    columns.times.iter().chain(&columns.histogram_times).map(|time| range_end(*time, range) - range),
                );
            }
        }
        starts.into_iter().collect()
    }

    /// The number that the next reader will have.
    pub(crate) fn next_reader(&self) -> u64 {
        self.readers.next_reader()
    }

    /// Whether readers from before that number are still at work.
    pub(crate) fn is_waiting_for(&self, reader: u64) -> bool {
        self.readers.is_waiting_for(reader)
    }

    /// Forgets what blocks have: samples in order before `until`, and sealed late samples; then series without samples.
    ///
    /// # Errors
    ///
    /// Files cannot be written. Memory has forgotten nothing then: try again.
    pub(crate) fn truncate(&self, until: Option<i64>, sealed: &Sealed) -> Result<(), FsError> {
        let valid_from = self.in_blocks_until().max(until.unwrap_or(i64::MIN));
        let boundary = Boundary { valid_from, next_series: self.numbers.free_from() };
        boundary::store(&*self.fs, &self.dir, boundary)?;
        if let Some(keep) = sealed.segment {
            let dir = self.log_dir(true);
            for (_, path) in segments(&*self.fs, &dir)?.into_iter().filter(|(number, _)| *number < keep) {
                self.fs.remove(&path).context("remove", &path)?;
            }
            self.fs.sync_dir(&dir).context("sync folder", &dir)?;
        }
        self.in_blocks_until.store(valid_from, Ordering::Release);
        for &number in &sealed.series {
            self.forget_late(number);
        }
        self.chunks.cut();
        self.collect(until.unwrap_or(i64::MIN));
        if until.is_some() {
            self.counters.truncations.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn forget_late(&self, number: u32) {
        let is_left = self.pages.with_mut(number, |series| {
            let Some(rest) = series.rest.as_mut() else { return false };
            let Some(late) = rest.late.as_mut() else { return false };
            late.forget_sealed();
            if late.is_empty() {
                rest.late = None;
            }
            rest.late.is_some()
        });
        if is_left == Some(true) {
            self.late_waiting.lock().insert(number);
        }
    }

    /// Forgets samples in order before `until`, deletions of only such samples, and series of which nothing is left and that
    /// nobody has asked for since the last time.
    fn collect(&self, until: i64) {
        let started = self.clock.now();
        // Commits widen the bounds again while the pages are walked.
        self.min_time.store(i64::MAX, Ordering::Release);
        let (mut oldest, mut first_file, mut removed) = (i64::MAX, u32::MAX, 0);
        let mut idle = Vec::new();
        let mut tally = Tally::default();
        for (first, page) in self.pages.iter() {
            let mut page = page.write();
            for (at, series) in page.iter_mut().enumerate().filter(|(_, series)| !series.is_dead()) {
                let before = Tally::of(series);
                removed += series.forget_before(until);
                tally.changed(before, series);
                oldest = oldest.min(series.oldest().unwrap_or(i64::MAX));
                first_file = first_file.min(first_file_of(series));
                if !std::mem::take(series.touched.get_mut()) && series.is_empty() {
                    idle.push(first + at as u32);
                }
            }
        }
        self.min_time.fetch_min(oldest, Ordering::AcqRel);
        self.counters.chunks_removed.fetch_add(removed, Ordering::Relaxed);
        // Of those that were removed, `open` says already which were open.
        tally.mapped = -(removed as i64) - tally.open;
        self.counters.gauges.add(tally);
        self.tombstones.write().retain(|_, deleted| deleted.as_slice().last().is_some_and(|last| last.max >= until));
        let collection = self.counters.collections.fetch_add(1, Ordering::AcqRel);
        *self.idle.lock() = Idle { series: idle, collection, reader: self.readers.next_reader() };
        self.remove_idle();
        if let Err(error) = self.chunks.truncate(first_file) {
            tracing::warn!(%error, "a head chunk file could not be removed; the next time tries again");
        }
        self.counters.collection_millis.fetch_add(self.millis_since(started), Ordering::Relaxed);
    }

    /// Ends the file of head chunks that is being written, if it is long.
    pub(crate) fn cut_chunk_file(&self) {
        self.chunks.cut_if_full();
    }

    /// Removes the series that were found idle, as soon as nobody can have them in hand: no batch that began before the
    /// collection before that (it may hold samples of a series that has looked idle since), and no reader from before.
    pub(crate) fn remove_idle(&self) {
        let mut idle = self.idle.lock();
        let is_free = self.appenders.lock().oldest().is_none_or(|oldest| oldest >= idle.collection);
        if !idle.series.is_empty() && is_free && !self.readers.is_waiting_for(idle.reader) {
            self.remove_series(&std::mem::take(&mut idle.series));
        }
    }

    /// Removes series of which nothing is left, unless somebody has asked for them meanwhile.
    fn remove_series(&self, idle: &[u32]) {
        let segment = self.commit.lock().wal.as_ref().map_or(0, |wal| wal.segment());
        for part in idle.chunks(DEAD_AT_ONCE) {
            let (mut dead, mut pairs, mut tally) = (Vec::new(), Vec::new(), Tally::default());
            let mut index = self.index.write();
            for &number in part {
                let removed = self.pages.with_mut(number, |series| {
                    let is_idle = !*series.touched.get_mut() && series.is_empty();
                    is_idle.then(|| std::mem::take(series))
                });
                let Some(series) = removed.flatten() else { continue };
                tally.gone(&series);
                pairs.extend(index.pairs(&series.labels));
                self.table.remove(self.table.fingerprint(index.texts(&series.labels)), number);
                dead.push(number);
            }
            pairs.sort_unstable();
            pairs.dedup();
            index.remove(&dead, &pairs);
            self.gone.lock().extend(dead.iter().map(|number| (*number, segment)));
            let mut tombstones = self.tombstones.write();
            dead.iter().for_each(|number| {
                tombstones.remove(number);
            });
            self.counters.gauges.add(tally);
            self.counters.series.fetch_sub(dead.len() as u64, Ordering::Relaxed);
            self.counters.series_removed.fetch_add(dead.len() as u64, Ordering::Relaxed);
        }
        self.pages.free_empty();
        let dead: HashSet<u32> = idle.iter().copied().collect();
        self.unlogged.lock().retain(|number| !dead.contains(number) || self.pages.with(*number, |_| ()).is_some());
        if self.counters.is_memory_full() {
            let limit = self.options.read().memory_limit.unwrap_or(u64::MAX);
            self.counters.note_memory(self.memory_bytes(), limit);
        }
    }

    /// Begins a new segment of the log and lets a checkpoint stand for the first two thirds of the others. Gives the last
    /// segment that it stands for.
    ///
    /// # Errors
    ///
    /// Files cannot be written or read. The log is longer than it need be, and whole.
    pub(crate) fn trim_log(&self) -> Result<Option<u64>, ReadError> {
        let began = self.clock.now();
        let trimmed = self.checkpoint();
        self.counters.trims.fetch_add(1, Ordering::Relaxed);
        self.counters.trims_failed.fetch_add(u64::from(trimmed.is_err()), Ordering::Relaxed);
        self.counters.trim_millis.fetch_add(self.millis_since(began), Ordering::Relaxed);
        trimmed
    }

    /// Milliseconds by the host's clock.
    pub(super) fn millis_since(&self, began: Timestamp) -> u64 {
        self.clock.now().as_millis().saturating_sub(began.as_millis()).max(0) as u64
    }

    fn checkpoint(&self) -> Result<Option<u64>, ReadError> {
        let wal = self.log_dir(false);
        let current = {
            let mut commit = self.commit.lock();
            if commit.broken.is_some() {
                return Ok(None);
            }
            let mut current = 0;
            self.write(&mut commit, |commit| {
                current = commit.wal.as_mut().map_or(Ok(0), |wal| wal.next_segment())?;
                Ok::<(), WalError>(())
            })?;
            current
        };
        checkpoint::remove_covered(&*self.fs, &wal)?;
        let Some((first, _)) = segments(&*self.fs, &wal)?.into_iter().next() else { return Ok(None) };
        let closed = current.saturating_sub(first);
        if closed < 2 {
            return Ok(None);
        }
        let last = first + closed * 2 / 3 - 1;
        let (compression, segment_bytes) = {
            let options = self.options.read();
            (options.compression, options.segment_bytes)
        };
        let gone = self.gone.lock().clone();
        let mut keep = |number: u64, labels: &[(&str, &str)]| {
            let small = u32::try_from(number).unwrap_or(0);
            // A series that the log introduced twice lives under the other number.
            self.pages.with(small, |_| ()).is_some()
                || gone.get(&small).is_some_and(|segment| *segment > last)
                || self.table.find(self.table.fingerprint(labels.iter().copied())).is_some()
        };
        let options =
            CheckpointOptions { last, min_time: self.in_blocks_until(), keep: &mut keep, compression, segment_bytes };
        let written = checkpoint::write(&self.fs, &wal, options);
        written.inspect_err(|_| {
            self.counters.checkpoints_failed.fetch_add(1, Ordering::Relaxed);
        })?;
        self.counters.checkpoints.fetch_add(1, Ordering::Relaxed);
        self.gone.lock().retain(|_, segment| *segment > last);
        match checkpoint::remove_covered(&*self.fs, &wal) {
            Ok(removed) => self.counters.checkpoints_removed.fetch_add(removed, Ordering::Relaxed),
            Err(error) => {
                tracing::warn!(%error, "old segments could not be removed; the next checkpoint tries again");
                self.counters.checkpoint_removals_failed.fetch_add(1, Ordering::Relaxed)
            }
        };
        Ok(Some(last))
    }

    /// Ends writing, makes everything durable and writes the head down for the next start.
    pub(crate) fn close(&self) -> Result<(), FsError> {
        self.chunks.flush();
        {
            let mut commit = self.commit.lock();
            let was_broken = commit.broken.replace("the database is closed".into()).is_some();
            if was_broken {
                return Ok(());
            }
            sync_logs(&mut commit)?;
        }
        let saved = if self.options.read().snapshot_on_close { self.save() } else { Ok(()) };
        if let Err(error) = saved {
            tracing::warn!(%error, "the head was not written down; the next start reads the log");
        }
        Ok(())
    }
}

/// The first head chunk file that a series needs.
fn first_file_of(series: &Series) -> u32 {
    let Some(rest) = series.rest.as_deref() else { return u32::MAX };
    let late = rest.late.iter().flat_map(|late| &late.mapped);
    rest.mapped.iter().chain(late).map(|chunk| (chunk.place >> 32) as u32).min().unwrap_or(u32::MAX)
}
