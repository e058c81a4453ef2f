//! Maintenance: what has to be done now, and doing it.
//!
//! ```text
//!  tick --> head range due?  --write--> block --publish--> wait for readers --> the head forgets --> the log is trimmed
//!       --> blocks to merge? --merge--> block --publish--> the old ones go
//!       --> beyond the retention? --> they go
//! ```
//!
//! What is due is decided by the head ([`due`](crate::head)), [`plan`](crate::compact::plan()) and
//! [`retention`](crate::compact::retention); this file carries it out. Appends and queries go on all the while. A full disk
//! is survived: what was begun is removed, nothing is forgotten, and the next tick tries again.

use std::time::Duration;

use ferula_model::{Matcher, TimeRange, Timestamp, millis};

use crate::block::meta::HINT_OUT_OF_ORDER;
use crate::block::{BlockError, BlockMeta, Compacted};
use crate::chunk::FloatEncoding;
use crate::compact::{Deletions, Retention, Usage};
use crate::db::{Db, DbError};
use crate::distribution::{COMPACTION_SECONDS, Distribution, SECONDS};
use crate::fs::Context;
use crate::head::{Parts, Sealed};

/// How often there is something to do, at the most.
const TICK: Duration = Duration::from_secs(60);
/// How soon to look again whether a query that the head waits for has ended. Until the head forgets, whoever reads what a new
/// block has reads it twice, which takes two and a half times as long.
const READERS: Duration = Duration::from_secs(1);

/// What one [`Db::tick`] did. What went wrong is in `problems`; everything else was done all the same.
#[derive(Clone, Debug, Default)]
#[must_use]
#[non_exhaustive]
pub struct Tick {
    /// Blocks written from the head.
    pub blocks: Vec<BlockMeta>,
    /// Blocks that were merged.
    pub compactions: Vec<Compacted>,
    /// Blocks that went.
    pub deletions: Deletions,
    /// The head waits with forgetting for queries that began before its newest block.
    pub is_waiting: bool,
    /// What went wrong. It is tried again.
    pub problems: Vec<DbError>,
    /// When to call again: sooner after a failure, and while the head waits.
    pub next: Timestamp,
}

/// What can be changed while a database is open: see [`Db::set_options`]. What is not set stays as it is.
///
/// ```
/// use std::time::Duration;
/// use ferula_tsdb::{Db, Reload};
/// use ferula_tsdb::compact::Retention;
///
/// # let folder = tempfile::tempdir()?;
/// let db = Db::builder(folder.path()).open()?;
/// db.set_options(
///     &Reload::default()
///         .retention(Retention { bytes_max: Some(1 << 30), ..Retention::default() })
///         .out_of_order_window(Duration::from_secs(1800))
///         .exemplars(1_000),
/// )?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Reload {
    retention: Option<Retention>,
    out_of_order_window: Option<Duration>,
    exemplars: Option<usize>,
    float_encoding: Option<FloatEncoding>,
}

impl Reload {
    /// How long and how much is kept.
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = Some(retention);
        self
    }

    /// How late a sample may be; zero: not at all.
    pub fn out_of_order_window(mut self, window: Duration) -> Self {
        self.out_of_order_window = Some(window);
        self
    }

    /// How floats without start timestamps are encoded in chunks that begin from now on.
    pub fn float_encoding(mut self, encoding: FloatEncoding) -> Self {
        self.float_encoding = Some(encoding);
        self
    }

    /// How many exemplars are kept; 0: none.
    pub fn exemplars(mut self, limit: usize) -> Self {
        self.exemplars = Some(limit);
        self
    }
}

/// What maintenance remembers from tick to tick.
#[derive(Debug, Default)]
pub(crate) struct Maintenance {
    /// Blocks have this; the head has it still.
    pending: Option<Pending>,
    /// Ticks in a row that had a problem.
    failures: u32,
}

#[derive(Debug)]
struct Pending {
    until: Option<i64>,
    sealed: Sealed,
    /// Readers before this one may not know the blocks.
    reader: u64,
}

/// What maintenance counted.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MaintenanceStats {
    /// Ticks.
    pub ticks: u64,
    /// Ticks with a problem.
    pub ticks_failed: u64,
    /// Blocks written from the head.
    pub head_blocks: u64,
    /// Blocks of the head that could not be written.
    pub head_blocks_failed: u64,
    /// Times that the head could not forget, for files could not be written.
    pub truncations_failed: u64,
    /// Ticks on which the head waited for readers.
    pub waits: u64,
    /// Seconds that writing a block took, from the head or from others.
    pub compaction_seconds: Distribution,
    /// Seconds that cleaning tombstones took.
    pub cleaning_seconds: Distribution,
}

impl Default for MaintenanceStats {
    fn default() -> Self {
        Self {
            ticks: 0,
            ticks_failed: 0,
            head_blocks: 0,
            head_blocks_failed: 0,
            truncations_failed: 0,
            waits: 0,
            compaction_seconds: Distribution::new(COMPACTION_SECONDS),
            cleaning_seconds: Distribution::new(SECONDS),
        }
    }
}

impl Db {
    /// Does what is due at `now`: ranges of the head become blocks, blocks are merged, old ones go, logs are trimmed. Call it
    /// about once a minute, best from a thread of its own; appends and queries go on meanwhile.
    ///
    /// ```
    /// use ferula_model::Timestamp;
    /// use ferula_tsdb::Db;
    ///
    /// # let folder = tempfile::tempdir()?;
    /// let db = Db::builder(folder.path()).open()?;
    /// let tick = db.tick(Timestamp::from_millis(1_700_000_000_000));
    /// assert!(tick.problems.is_empty() && tick.blocks.is_empty());
    /// assert_eq!(tick.next, Timestamp::from_millis(1_700_000_060_000));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tick(&self, now: Timestamp) -> Tick {
        let mut maintenance = self.maintaining.lock();
        let mut tick = Tick::default();
        if self.is_closed() {
            tick.problems.push(DbError::NotWritable("the database is closed".into()));
            tick.next = now;
            return tick;
        }
        if self.head.wants_sync() {
            self.head.sync().unwrap_or_else(|error| tick.problems.push(error.into()));
        }
        self.head.remove_idle();
        self.head.cut_chunk_file();
        self.cut(&mut maintenance, now, false, &mut tick);
        self.merge(&mut maintenance, now, &mut tick);
        tick.deletions = self.retain();
        self.note(&mut maintenance, now, &mut tick);
        tick
    }

    /// Writes every block range that lies behind the newest sample as a whole, and all late samples, as blocks; without waiting
    /// until they are due. Does nothing about blocks.
    pub fn compact_head(&self, now: Timestamp) -> Tick {
        let mut maintenance = self.maintaining.lock();
        let mut tick = Tick::default();
        self.cut(&mut maintenance, now, true, &mut tick);
        self.note(&mut maintenance, now, &mut tick);
        tick
    }

    fn note(&self, maintenance: &mut Maintenance, now: Timestamp, tick: &mut Tick) {
        let mut stats = self.maintenance_stats.lock();
        stats.ticks += 1;
        stats.head_blocks += tick.blocks.len() as u64;
        stats.waits += u64::from(tick.is_waiting);
        let wait = if tick.problems.is_empty() {
            maintenance.failures = 0;
            let most = if tick.is_waiting { READERS } else { TICK };
            self.head.sync_interval().map_or(most, |interval| interval.clamp(Duration::from_millis(1), most))
        } else {
            stats.ticks_failed += 1;
            let wait = Duration::from_secs(1 << maintenance.failures.min(6));
            maintenance.failures += 1;
            wait.min(TICK)
        };
        // A merge that ends because the database closes is begun again after the next start.
        let is_stopped = |problem: &DbError| matches!(problem, DbError::Block(BlockError::Stopped));
        for problem in tick.problems.iter().filter(|problem| !is_stopped(problem)) {
            tracing::error!(error = %problem, cause = ?std::error::Error::source(problem), "maintenance is tried again");
        }
        tick.next = Timestamp(now.as_millis().saturating_add(millis(wait)));
    }

    /// Ranges of the head become blocks, until nothing is due.
    fn cut(&self, maintenance: &mut Maintenance, now: Timestamp, early: bool, tick: &mut Tick) {
        let mut late_done = false;
        loop {
            if !self.forget(maintenance, tick) {
                return;
            }
            let until = self.head.due(early);
            let late = self.head.is_late_due() || (early && self.head.has_late());
            if until.is_none() && (!late || late_done) {
                return;
            }
            late_done = true;
            if let Err(error) = self.write_blocks(maintenance, now, until, tick) {
                self.maintenance_stats.lock().head_blocks_failed += 1;
                tick.problems.push(error);
                return;
            }
        }
    }

    /// Writes one range of the head, and the late samples of all other ranges, and lets the blocks serve.
    fn write_blocks(
        &self,
        maintenance: &mut Maintenance,
        now: Timestamp,
        until: Option<i64>,
        tick: &mut Tick,
    ) -> Result<(), DbError> {
        let sealed = self.head.seal(until)?;
        match self.write_sealed(now, until, &sealed, tick) {
            Ok(()) => {
                maintenance.pending = Some(Pending { until, sealed, reader: self.head.next_reader() });
                Ok(())
            }
            Err(error) => {
                self.head.unseal(&sealed);
                Err(error)
            }
        }
    }

    fn write_sealed(
        &self,
        now: Timestamp,
        until: Option<i64>,
        sealed: &Sealed,
        tick: &mut Tick,
    ) -> Result<(), DbError> {
        let length = self.head.block_range();
        let range_from = |start: i64| TimeRange::new(Timestamp(start), Timestamp(start.saturating_add(length - 1)));
        let mut write = |range: TimeRange, parts: Parts<'_>, is_late: bool| -> Result<(), DbError> {
            let describe = |oldest: Timestamp| {
                let meta = BlockMeta::new(self.blocks.begin(now), oldest.as_millis(), range.max.as_millis() + 1);
                if is_late { meta.with_hint(HINT_OUT_OF_ORDER) } else { meta }
            };
            let stop = self.blocks.stopped();
            let began = self.head.now();
            let written = self.blocks.writing(|| self.head.write_block(self.path(), range, parts, describe, stop));
            if let Some(meta) = written? {
                self.note_compaction(began);
                self.blocks.add(&meta)?;
                tick.blocks.push(meta);
            }
            Ok(())
        };
        let start = until.map(|until| until.saturating_sub(length));
        if let Some(start) = start {
            let parts = if self.has_late_blocks(range_from(start)) { Parts::InOrder } else { Parts::Everything };
            write(range_from(start), parts, false)?;
        }
        for late in self.head.late_ranges(sealed) {
            if start != Some(late) || self.has_late_blocks(range_from(late)) {
                write(range_from(late), Parts::Late(&sealed.series), true)?;
            }
        }
        Ok(())
    }

    /// Whether late samples of a range are in blocks of their own. Those that came after them must not stand before them, as they
    /// would in one block with the samples in order.
    fn has_late_blocks(&self, range: TimeRange) -> bool {
        let list = self.blocks.list();
        list.iter().any(|block| block.meta().has_hint(HINT_OUT_OF_ORDER) && block.range().overlaps(range))
    }

    fn note_compaction(&self, began: Timestamp) {
        self.maintenance_stats.lock().compaction_seconds.observe_duration(self.since(began));
    }

    fn since(&self, began: Timestamp) -> Duration {
        Duration::from_millis(self.head.now().as_millis().saturating_sub(began.as_millis()).max(0) as u64)
    }

    /// Lets the head forget what blocks have, if there is something and nobody reads it. False: it still has it.
    fn forget(&self, maintenance: &mut Maintenance, tick: &mut Tick) -> bool {
        let Some(pending) = &maintenance.pending else { return true };
        if self.head.is_waiting_for(pending.reader) {
            tick.is_waiting = true;
            return false;
        }
        if let Err(error) = self.head.truncate(pending.until, &pending.sealed) {
            self.maintenance_stats.lock().truncations_failed += 1;
            tick.problems.push(error.into());
            return false;
        }
        maintenance.pending = None;
        if let Err(error) = self.head.trim_log() {
            tick.problems.push(error.into());
        }
        true
    }

    /// Merges blocks until nothing is to be merged, or the head has something to do.
    fn merge(&self, maintenance: &mut Maintenance, now: Timestamp, tick: &mut Tick) {
        loop {
            let began = self.head.now();
            match self.blocks.compact_before(now, self.head.in_blocks_until()) {
                Ok(None) => return,
                Ok(Some(compacted)) => {
                    self.note_compaction(began);
                    tick.compactions.push(compacted);
                }
                Err(error) => {
                    tick.problems.push(error.into());
                    return;
                }
            }
            self.cut(maintenance, now, false, tick);
        }
    }

    fn retain(&self) -> Deletions {
        let retention = self.blocks.options().retention;
        let disk_bytes = retention.disk_percent_max.and_then(|_| self.fs.space(self.path()).ok()).map(|s| s.total);
        self.blocks.retain(Usage { head_bytes: self.head.disk_bytes(), disk_bytes })
    }

    /// Deletes the samples in `range` of all series that satisfy all matchers, durably. Gives the number of series concerned,
    /// counted once for the head and once for each block. Their space comes back when their blocks are merged or
    /// [cleaned](Self::clean_tombstones).
    ///
    /// ```
    /// use ferula_model::{Appendable, Matcher, Timestamp, TimeRange};
    /// use ferula_tsdb::Db;
    ///
    /// # let folder = tempfile::tempdir()?;
    /// let db = Db::builder(folder.path()).open()?;
    /// let mut appender = db.appender();
    /// let up = appender.series(&[("__name__", "up")])?;
    /// appender.append_float(up, Timestamp::from_millis(1_000), 1.0)?;
    /// appender.commit()?;
    /// assert_eq!(db.delete(TimeRange::ALL, &[Matcher::equal("__name__", "up")])?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`DbError`]. A part may be deleted; deleting again does no harm.
    pub fn delete(&self, range: TimeRange, matchers: &[Matcher]) -> Result<usize, DbError> {
        let _maintenance = self.maintaining.lock();
        if self.is_closed() {
            return Err(DbError::NotWritable("the database is closed".into()));
        }
        let in_head = self.head.delete(range, matchers)?;
        Ok(in_head + self.blocks.delete(range, matchers)?)
    }

    /// Rewrites every block with deletions, so that their space comes back at once. Gives the number of blocks rewritten.
    ///
    /// # Errors
    ///
    /// See [`DbError`]; blocks that could not be rewritten serve as before.
    pub fn clean_tombstones(&self, now: Timestamp) -> Result<usize, DbError> {
        let _maintenance = self.maintaining.lock();
        let began = self.head.now();
        let cleaned = self.blocks.clean_tombstones(now)?;
        self.maintenance_stats.lock().cleaning_seconds.observe_duration(self.since(began));
        Ok(cleaned)
    }

    /// Makes a copy of the database in the folder `snapshots` and gives its name. Blocks are linked and take no space; unless
    /// it is to be skipped, what is in the head becomes a block of the copy.
    ///
    /// # Errors
    ///
    /// See [`DbError`]; what was made of the copy is removed.
    pub fn snapshot(&self, skip_head: bool) -> Result<String, DbError> {
        let _maintenance = self.maintaining.lock();
        let now = self.head.now();
        let name = format!("{}-{:016x}", compact_time(now), self.blocks.new_ulid(now).random() as u64);
        let folder = self.path().join("snapshots");
        let (place, temporary) = (folder.join(&name), folder.join(format!("{name}.tmp")));
        self.fs.create_dir(&folder).context("create folder", &folder)?;
        let made = self.blocks.snapshot(&temporary).map_err(DbError::from).and_then(|()| {
            if !skip_head {
                self.copy_head(&temporary, now)?;
            }
            self.fs.rename(&temporary, &place).context("rename", &temporary)?;
            Ok(self.fs.sync_dir(&folder).context("sync folder", &folder)?)
        });
        if made.is_err() {
            let _ = self.fs.remove_dir(&temporary);
        }
        made.map(|()| name)
    }

    fn copy_head(&self, folder: &std::path::Path, now: Timestamp) -> Result<(), DbError> {
        let late = self.head.series_with_late_samples();
        let Some(newest) = self.head.newest(&late) else { return Ok(()) };
        // Before the boundary there are late samples only; without the hint they would hide those of the blocks.
        let boundary = self.head.in_blocks_until();
        let range = TimeRange::new(Timestamp(boundary), Timestamp(newest));
        let parts = if self.has_late_blocks(range) { Parts::InOrder } else { Parts::Everything };
        let mut blocks = vec![
            (i64::MIN, newest.min(boundary.saturating_sub(1)), Parts::Everything, true),
            (boundary, newest, parts, false),
        ];
        if matches!(parts, Parts::InOrder) {
            blocks.push((boundary, newest, Parts::Late(&late), true));
        }
        for (min, max, parts, is_late) in blocks.into_iter().filter(|(min, max, ..)| min <= max) {
            let describe = |oldest: Timestamp| {
                let meta = BlockMeta::new(self.blocks.new_ulid(now), oldest.as_millis(), max.saturating_add(1));
                if is_late { meta.with_hint(HINT_OUT_OF_ORDER) } else { meta }
            };
            let range = TimeRange::new(Timestamp(min), Timestamp(max));
            self.head.write_block(folder, range, parts, describe, self.blocks.stopped())?;
        }
        Ok(())
    }

    /// Changes options while the database is open: what a reload of the configuration needs.
    ///
    /// # Errors
    ///
    /// The log of late samples could not be begun; everything else is changed all the same.
    pub fn set_options(&self, reload: &Reload) -> Result<(), DbError> {
        if let Some(retention) = reload.retention {
            let mut options = self.blocks.options();
            options.retention = retention;
            self.blocks.set_options(options);
        }
        if let Some(encoding) = reload.float_encoding {
            self.head.set_float_encoding(encoding);
        }
        self.head.set_options(None, reload.exemplars)?;
        Ok(self.head.set_options(reload.out_of_order_window.map(millis), None)?)
    }
}

/// `YYYYMMDDTHHMMSSZ`.
fn compact_time(at: Timestamp) -> String {
    let seconds = at.as_millis().div_euclid(1000);
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days to civil date: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    let shifted = day + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_are_named_by_their_time() {
        let name = |seconds: i64| compact_time(Timestamp(seconds * 1000 + 999));
        assert_eq!(name(0), "19700101T000000Z");
        assert_eq!(name(1_709_251_199), "20240229T235959Z");
        assert_eq!(name(1_709_251_200), "20240301T000000Z");
        assert_eq!(name(-1), "19691231T235959Z");
    }
}
