//! Writes a batch to the logs: all of it or nothing, and durable when the host's choice says so.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ferula_model::{CommitError, Timestamp, millis};

use super::batch::{Batch, Floats, HistogramItem};
use crate::db::Durability;
use crate::fs::FsError;
use crate::head::Head;
use crate::head::exemplars::record_of;
use crate::head::replay::ReplayReport;
use crate::wal::format::{
    self, FloatRecord, HistogramRecord, RecordType, put_exemplars, put_histograms, put_metadata, put_series,
};
use crate::wal::segments;
use crate::wal::writer::{WalError, WalWriter};

/// Items after which a record is closed, so that replay reads records of a bounded size.
const RECORD_ITEMS: usize = 1 << 16;
/// The same for series: some hundred kilobytes of labels, which replay unpacks and reads within the processor's cache.
const RECORD_SERIES: usize = 1 << 10;

/// What only one commit at a time may touch.
#[derive(Debug, Default)]
pub(in crate::head) struct Commit {
    pub(in crate::head) wal: Option<WalWriter>,
    pub(in crate::head) wbl: Option<WalWriter>,
    pub(in crate::head) record: Vec<u8>,
    /// Why nothing may be written any more.
    pub(in crate::head) broken: Option<String>,
    /// When the log was last made durable, in milliseconds.
    pub(in crate::head) synced_at: i64,
    /// Whether something was written since.
    pub(in crate::head) unsynced: bool,
}

impl Head {
    /// Begins the log of late samples, if there is none yet.
    pub(in crate::head) fn begin_late_log(&self, commit: &mut Commit) -> Result<(), FsError> {
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
    pub(in crate::head) fn begin_logs(&self, report: &ReplayReport) -> Result<(), FsError> {
        let (bytes, compression, late) = {
            let options = self.options.read();
            (options.segment_bytes, options.compression, options.late_window > 0 || options.backfill)
        };
        let begin = |late: bool, next| {
            let dir = self.log_dir(late);
            // Any of them: more than one process may have died over this log.
            let earlier: Vec<PathBuf> = segments(&*self.fs, &dir)?.into_iter().map(|(_, path)| path).collect();
            let log = WalWriter::begin(Arc::clone(&self.fs), &dir, next, bytes, compression)?;
            Ok(log.after(earlier))
        };
        let mut commit = self.commit.lock();
        commit.wal = Some(begin(false, report.next_segment)?);
        if late || report.next_late_segment > 0 {
            commit.wbl = Some(begin(true, report.next_late_segment)?);
        }
        // It may be durable: to find out costs as much as to make it so.
        commit.unsynced = true;
        // What readers see as deleted must not return, even if the process that deleted it died before the log was durable.
        if report.deletes {
            sync_logs(&mut commit)?;
        }
        commit.synced_at = self.clock.now().as_millis();
        Ok(())
    }

    /// Writes series, samples and the rest of a batch to the logs.
    pub(super) fn log(&self, commit: &mut Commit, batch: &Batch) -> Result<(), CommitError> {
        let mut new_series = std::mem::take(&mut *self.unlogged.lock());
        // Those of one appender side by side: neighbours have most labels in common.
        new_series.sort_unstable();
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
    pub(in crate::head) fn write(
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
            log_floats(wbl, record, batch.floats.all(), true)?;
            log_histograms(wbl, record, &batch.histograms, true)?;
            wbl.flush()?;
        }
        Ok(())
    }

    fn log_series(&self, wal: &mut WalWriter, record: &mut Vec<u8>, new_series: &[u32]) -> Result<(), WalError> {
        let index = self.index.read();
        for part in new_series.chunks(RECORD_SERIES) {
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

    /// Makes the logs durable, while commits go on.
    pub(crate) fn sync(&self) -> Result<(), FsError> {
        let files = {
            let mut commit = self.commit.lock();
            commit.synced_at = self.clock.now().as_millis();
            if !std::mem::take(&mut commit.unsynced) {
                return Ok(());
            }
            [&commit.wal, &commit.wbl].map(|log| log.as_ref().map(WalWriter::unsynced))
        };
        let began = self.clock.now();
        for files in files.iter().flatten() {
            let synced = files.sync(&*self.fs);
            synced.inspect_err(|error| self.commit.lock().broken = Some(format!("{error}; reopen the database")))?;
        }
        let Commit { wal, wbl, .. } = &mut *self.commit.lock();
        for (log, files) in [wal, wbl].into_iter().zip(&files) {
            if let (Some(log), Some(files)) = (log, files) {
                log.note_synced(files);
            }
        }
        self.note_sync(began);
        Ok(())
    }

    fn note_sync(&self, began: Timestamp) {
        self.counters.syncs.fetch_add(1, Ordering::Relaxed);
        self.counters.sync_millis.fetch_add(self.millis_since(began), Ordering::Relaxed);
    }
}

pub(in crate::head) fn sync_logs(commit: &mut Commit) -> Result<(), FsError> {
    if !commit.unsynced {
        return Ok(());
    }
    for wal in [&mut commit.wal, &mut commit.wbl].into_iter().flatten() {
        wal.sync()?;
    }
    commit.unsynced = false;
    Ok(())
}

/// Logs the floats that are, or are not, late; says whether there are others.
fn log_floats(wal: &mut WalWriter, record: &mut Vec<u8>, floats: Floats<'_>, late: bool) -> Result<bool, WalError> {
    let mut others = false;
    for part in floats.chunks(RECORD_ITEMS) {
        record.clear();
        let written = if part.starts.is_empty() {
            let chosen = part.items.iter().filter(|item| item.late == late);
            format::put_plain_floats(record, chosen.map(|item| (u64::from(item.series), item.time, item.value)))
        } else {
            let chosen = part.items.iter().zip(part.starts).filter(|(item, _)| item.late == late);
            let records = chosen.map(|(item, &start)| FloatRecord {
                series: item.series.into(),
                time: item.time,
                start,
                value: item.value,
            });
            format::put_started_floats(record, records)
        };
        others |= written < part.items.len();
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
                start: item.start,
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
