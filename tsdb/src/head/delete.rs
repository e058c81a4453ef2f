//! Deleting a range of some series.
//!
//! What came in order is not touched: a tombstone in the log hides it until its range becomes a block without it. A tombstone
//! ends with the newest sample of its series, so it never hides what comes later. Late samples are taken out where they lie,
//! and their log is told, for a late sample may come back to a range that was deleted.

use std::sync::atomic::Ordering;

use ferula_model::{Columns, Matcher, TimeRange};

use super::Head;
use super::append::sync_logs;
use super::late::Late;
use super::select::{decode_stored, late_of};
use super::series::MappedChunk;
use crate::block::Interval;
use crate::columns::{Mark, retain_from};
use crate::db::DbError;
use crate::wal::format::{TombstoneRecord, put_tombstones};
use crate::wal::writer::{WalError, WalWriter};

/// Deletions in one record.
const RECORD_ITEMS: usize = 1 << 14;

impl Head {
    /// Deletes the samples in `range` of the series that satisfy all matchers, durably. Gives the number of series concerned.
    ///
    /// # Errors
    ///
    /// The log cannot be written; then nothing is deleted.
    pub(crate) fn delete(&self, range: TimeRange, matchers: &[Matcher]) -> Result<usize, DbError> {
        let (min, max) = (range.min.as_millis(), range.max.as_millis());
        let mut commit = self.commit.lock();
        if let Some(reason) = &commit.broken {
            return Err(DbError::NotWritable(reason.clone()));
        }
        let series = {
            let index = self.index.read();
            self.matching(&index, matchers)
        };
        let (mut in_order, mut late) = (Vec::new(), Vec::new());
        for number in series {
            let bounds = self
                .pages
                .with(number, |series| (series.oldest().zip(series.newest()), late_of(series).and_then(Late::bounds)));
            let clamp = |(first, last): (i64, i64)| {
                let (min_time, max_time) = (min.max(first), max.min(last));
                let series = u64::from(number);
                (min_time <= max_time).then_some(TombstoneRecord { series, min_time, max_time })
            };
            let (ordered, lates) = bounds.unwrap_or_default();
            in_order.extend(ordered.and_then(clamp));
            late.extend(lates.and_then(clamp));
        }
        if in_order.is_empty() && late.is_empty() {
            return Ok(0);
        }
        self.write(&mut commit, |commit| {
            let record = &mut commit.record;
            log_tombstones(commit.wal.as_mut(), record, &in_order)?;
            log_tombstones(commit.wbl.as_mut(), record, &late)?;
            commit.unsynced = true;
            sync_logs(commit).map_err(WalError::Broken)
        })?;
        let mut tombstones = self.tombstones.write();
        let mut concerned = hashbrown::HashSet::new();
        for item in in_order {
            let number = item.series as u32;
            concerned.insert(number);
            tombstones.entry(number).or_default().add(Interval::new(item.min_time, item.max_time));
        }
        drop(tombstones);
        for item in late {
            concerned.insert(item.series as u32);
            self.delete_late(item.series as u32, item.min_time, item.max_time);
        }
        Ok(concerned.len())
    }

    /// Takes late samples out. Chunks that lose some are written anew.
    pub(super) fn delete_late(&self, number: u32, min: i64, max: i64) {
        self.pages.with_mut(number, |series| {
            let Some(late) = series.rest.as_mut().and_then(|rest| rest.late.as_mut()) else { return };
            late.delete_open(min, max);
            let was_sealed = std::mem::take(&mut late.sealed);
            let mut kept: Vec<MappedChunk> = Vec::with_capacity(late.mapped.len());
            for (at, chunk) in std::mem::take(&mut late.mapped).into_iter().enumerate() {
                let before = kept.len();
                if chunk.min_time > max || chunk.max_time < min {
                    kept.push(chunk);
                } else {
                    kept.extend(self.without(number, &chunk, min, max));
                }
                if at < was_sealed {
                    late.sealed += kept.len() - before;
                }
            }
            late.mapped = kept;
        });
    }

    /// What is left of a late chunk without the samples between two times.
    fn without(&self, number: u32, chunk: &MappedChunk, min: i64, max: i64) -> Vec<MappedChunk> {
        let mut columns = Columns::default();
        if let Err(error) = decode_stored(number, &mut self.chunks.reader(), chunk, TimeRange::ALL, &mut columns) {
            // Nobody else could read it either.
            tracing::error!(%error, series = number, "a damaged chunk of late samples is given up");
            self.counters.chunks_damaged.fetch_add(1, Ordering::Relaxed);
            return Vec::new();
        }
        retain_from(&mut columns, Mark::default(), false, |time| !(min..=max).contains(&time));
        self.store_late(number, &columns)
    }

    /// Whether something between two times was deleted of what came in order.
    pub(super) fn has_deletions(&self, number: u32, min: i64, max: i64) -> bool {
        let tombstones = self.tombstones.read();
        tombstones.get(&number).is_some_and(|deleted| deleted.overlaps(min, max))
    }
}

fn log_tombstones(
    log: Option<&mut WalWriter>,
    record: &mut Vec<u8>,
    items: &[TombstoneRecord],
) -> Result<(), WalError> {
    let Some(log) = log.filter(|_| !items.is_empty()) else { return Ok(()) };
    for part in items.chunks(RECORD_ITEMS) {
        record.clear();
        put_tombstones(record, part);
        log.add(record)?;
    }
    log.flush()
}
