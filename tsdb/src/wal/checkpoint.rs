//! Checkpoints: what of the sealed segments is still needed?
//!
//! ```text
//!  checkpoint.2 + segments 3, 4 --filter--> checkpoint.4.tmp --sync, rename--> checkpoint.4; then 3, 4 and checkpoint.2 go
//! ```
//!
//! A checkpoint is a log of its own, in the folder `checkpoint.N` of the log, which stands for all segments up to `N`. It
//! keeps the series that somebody still needs, what is not older than the head, and the latest metadata of each series
//! (Prometheus 3.14, `tsdb/wlog/checkpoint.go`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ferula_model::Metadata;

use super::format::{self, RecordError, RecordType};
use super::reader::{ReadError, WalReader};
use super::segments;
use super::writer::{WalCompression, WalError, WalWriter};
use crate::fs::{Context, Fs, FsError};

const TEMPORARY: &str = ".tmp";

/// Whether a series, by number and labels, is still needed.
pub type Keep<'a> = dyn FnMut(u64, &[(&str, &str)]) -> bool + 'a;

/// What a checkpoint keeps, and how it is written.
pub struct CheckpointOptions<'a> {
    /// It stands for the segments up to this one.
    pub last: u64,
    /// Samples, exemplars and deletions before this time (milliseconds) are left out.
    pub min_time: i64,
    /// Whether a series, by number and labels, is still needed.
    pub keep: &'a mut Keep<'a>,
    /// How records are compressed.
    pub compression: WalCompression,
    /// Bytes of a segment.
    pub segment_bytes: u64,
}

/// The newest finished checkpoint and its number.
///
/// # Errors
///
/// See [`FsError`].
pub fn latest(fs: &dyn Fs, wal: &Path) -> Result<Option<(u64, PathBuf)>, FsError> {
    Ok(all(fs, wal)?.pop())
}

/// All finished checkpoints by rising number.
fn all(fs: &dyn Fs, wal: &Path) -> Result<Vec<(u64, PathBuf)>, FsError> {
    if !fs.exists(wal) {
        return Ok(Vec::new());
    }
    let entries = fs.list(wal).context("list", wal)?;
    let numbered = entries.iter().filter(|entry| entry.is_dir).filter_map(|entry| {
        let number = entry.name.strip_prefix("checkpoint.")?.parse::<u64>().ok()?;
        Some((number, wal.join(&entry.name)))
    });
    let mut found: Vec<_> = numbered.collect();
    found.sort_unstable();
    Ok(found)
}

/// Writes a checkpoint and gives it its name. The segments that it stands for may go then: see [`remove_covered`].
///
/// # Errors
///
/// A segment is damaged or files cannot be written; nothing has changed then.
pub fn write(fs: &Arc<dyn Fs>, wal: &Path, options: CheckpointOptions<'_>) -> Result<(), ReadError> {
    let name = format!("checkpoint.{:08}", options.last);
    let (place, temporary) = (wal.join(&name), wal.join(format!("{name}{TEMPORARY}")));
    if fs.exists(&temporary) {
        fs.remove_dir(&temporary).context("remove", &temporary)?;
    }
    let written = write_into(fs, wal, &temporary, options).and_then(|()| {
        fs.rename(&temporary, &place).context("rename", &temporary)?;
        Ok(fs.sync_dir(wal).context("sync folder", wal)?)
    });
    if written.is_err() {
        // What cannot be removed now is removed at the next start.
        let _ = fs.remove_dir(&temporary);
    }
    written
}

fn write_into(fs: &Arc<dyn Fs>, wal: &Path, temporary: &Path, options: CheckpointOptions<'_>) -> Result<(), ReadError> {
    let previous = latest(&**fs, wal)?;
    let first = previous.as_ref().map_or(0, |(number, _)| number + 1);
    let mut out = WalWriter::begin(Arc::clone(fs), temporary, 0, options.segment_bytes, options.compression)?;
    let mut sources = match &previous {
        Some((_, dir)) => segments(&**fs, dir)?,
        None => Vec::new(),
    };
    sources.extend(segments(&**fs, wal)?.into_iter().filter(|(number, _)| (first..=options.last).contains(number)));
    let mut filter = Filter { min_time: options.min_time, keep: options.keep, metadata: BTreeMap::new() };
    let mut record = Vec::new();
    let mut reader = WalReader::over(sources);
    while let Some(source) = reader.next(&**fs)? {
        // A record that nobody understands is not needed by anybody: replay counts and passes over it.
        let mut problem = None;
        let _ = filter.record(source, &mut record, &mut |record| {
            if problem.is_none() {
                problem = out.add(record).and_then(|()| out.flush()).err();
            }
        });
        problem.map_or(Ok(()), |error| Err(error.into_inner()))?;
    }
    record.clear();
    record.push(RecordType::Metadata as u8);
    filter.metadata.iter().for_each(|(series, metadata)| format::put_metadata(&mut record, *series, metadata));
    if !filter.metadata.is_empty() {
        out.add(&record).map_err(WalError::into_inner)?;
    }
    out.flush().map_err(WalError::into_inner)?;
    out.sync()?;
    Ok(())
}

struct Filter<'a> {
    min_time: i64,
    keep: &'a mut Keep<'a>,
    /// The latest of each series that is kept.
    metadata: BTreeMap<u64, Metadata>,
}

impl Filter<'_> {
    /// Hands what is left of a record to `each`, built in `out`.
    fn record(&mut self, record: &[u8], out: &mut Vec<u8>, each: &mut dyn FnMut(&[u8])) -> Result<(), RecordError> {
        use RecordType::*;
        let min_time = self.min_time;
        out.clear();
        match RecordType::of(record) {
            Some(Series) => {
                out.push(Series as u8);
                let result = format::read_series(record, |number, labels| {
                    if (self.keep)(number, labels) {
                        // Metadata may come back to a series: it is introduced with none.
                        format::put_series(out, number, labels.iter().copied());
                    }
                });
                if out.len() > 1 {
                    each(out);
                }
                return result;
            }
            Some(Samples | SamplesV2) => {
                let mut samples = Vec::new();
                let result = format::read_floats(record, &mut samples);
                samples.retain(|sample| sample.time >= min_time);
                if !samples.is_empty() {
                    format::put_floats(out, &samples);
                    each(out);
                }
                return result;
            }
            Some(Tombstones) => {
                let mut items = Vec::new();
                let result = format::read_tombstones(record, &mut items);
                items.retain(|item| item.max_time >= min_time);
                if !items.is_empty() {
                    format::put_tombstones(out, &items);
                    each(out);
                }
                return result;
            }
            Some(Exemplars) => {
                let mut items = Vec::new();
                let result = format::read_exemplars(record, &mut items);
                items.retain(|item| item.time >= min_time);
                if !items.is_empty() {
                    format::put_exemplars(out, &items);
                    each(out);
                }
                return result;
            }
            Some(Metadata) => {
                return format::read_metadata(record, |series, metadata| {
                    self.metadata.insert(series, metadata);
                });
            }
            Some(MmapMarkers) | None => return Ok(()),
            Some(_) => {}
        }
        let mut samples = Vec::new();
        let result = format::read_histograms(record, &mut samples);
        samples.retain(|sample| sample.time >= min_time);
        format::put_histograms(&samples, out, |record| each(record));
        result
    }
}

/// Removes what the newest checkpoint stands for: its segments and older checkpoints; and checkpoints that were never
/// finished. Gives the number of checkpoints that went.
///
/// # Errors
///
/// See [`FsError`]; calling it again goes on where it stopped.
pub fn remove_covered(fs: &dyn Fs, wal: &Path) -> Result<u64, FsError> {
    if !fs.exists(wal) {
        return Ok(0);
    }
    let mut removed = 0;
    for entry in fs.list(wal).context("list", wal)? {
        if entry.is_dir && entry.name.starts_with("checkpoint.") && entry.name.ends_with(TEMPORARY) {
            let path = wal.join(&entry.name);
            fs.remove_dir(&path).context("remove", &path)?;
        }
    }
    let mut checkpoints = all(fs, wal)?;
    let Some((last, _)) = checkpoints.pop() else { return Ok(0) };
    for (number, path) in segments(fs, wal)? {
        if number <= last {
            fs.remove(&path).context("remove", &path)?;
        }
    }
    for (_, path) in checkpoints {
        fs.remove_dir(&path).context("remove", &path)?;
        removed += 1;
    }
    fs.sync_dir(wal).context("sync folder", wal)?;
    Ok(removed)
}
