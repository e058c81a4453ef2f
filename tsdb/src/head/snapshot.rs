//! The head, written down at a clean close, so that the next start need not read the log.
//!
//! The folder `chunk_snapshot.NNNNNN.OOOOOOOOOO` is a log of its own whose records are Prometheus' memory snapshot (3.14,
//! `tsdb/head_wal.go`): series with their open chunks, deletions, exemplars. Its name says at which segment and offset of the
//! log it was taken. Full chunks are in the head chunk files, late samples in their own log, as always. The folder `metadata`
//! in it is ours: upstream's snapshot has no metadata.
//!
//! A snapshot is only a shortcut. It is believed if the log ends exactly where it says and all its records are sound;
//! otherwise the log is read, which has everything. [`replay`](super::replay) loads it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Head;
use super::exemplars::record_of;
use super::series::Series;
use crate::block::Tombstones;
use crate::fs::{Context, Fs, FsError};
use crate::wal::format::{
    ExemplarRecord, RecordType, put_exemplars, put_histogram, put_labels, put_metadata, put_uvarint,
};
use crate::wal::writer::{WalError, WalWriter};
use crate::wal::{segment_name, segments};

const PREFIX: &str = "chunk_snapshot.";
const TEMPORARY: &str = ".tmp";
pub(super) const METADATA: &str = "metadata";
/// Exemplars in a record.
const EXEMPLARS_PER_RECORD: usize = 10_000;
/// Bytes of records that are written at once.
const BUFFER_BYTES: u64 = 1 << 20;

pub(super) const SERIES: u8 = 1;
pub(super) const TOMBSTONES: u8 = 2;
pub(super) const EXEMPLARS: u8 = 3;
/// The version byte in front of deletions.
pub(super) const TOMBSTONES_VERSION: u8 = 1;

impl Head {
    /// Writes the snapshot; nothing may be appended any more. Older ones are removed.
    pub(super) fn save(&self) -> Result<(), FsError> {
        let (segment, offset) = {
            let commit = self.commit.lock();
            let Some(wal) = &commit.wal else { return Ok(()) };
            (wal.segment(), wal.offset())
        };
        remove_all(&*self.fs, &self.dir)?;
        // Without the full chunks the snapshot would be half of the truth.
        if !self.chunks.sync()? {
            return Ok(());
        }
        let place = self.dir.join(format!("{PREFIX}{segment:06}.{offset:010}"));
        let temporary = self.dir.join(format!("{PREFIX}{segment:06}.{offset:010}{TEMPORARY}"));
        let written = self.write_snapshot(&temporary).and_then(|()| {
            self.fs.rename(&temporary, &place).context("rename", &temporary)?;
            self.fs.sync_dir(&self.dir).context("sync folder", &self.dir)
        });
        written.inspect_err(|_| {
            let _ = self.fs.remove_dir(&temporary);
        })
    }

    fn write_snapshot(&self, dir: &Path) -> Result<(), FsError> {
        let (segment_bytes, compression) = {
            let options = self.options.read();
            (options.segment_bytes, options.compression)
        };
        let begin = |dir: &Path| WalWriter::begin(Arc::clone(&self.fs), dir, 0, segment_bytes, compression);
        let mut out = begin(dir)?;
        let mut add = |record: &[u8]| add_record(&mut out, record);
        // While the series are written nobody creates one: the next start takes all of the snapshot to be in the log.
        let index = self.index.read();
        let unlogged: hashbrown::HashSet<u32> = self.unlogged.lock().iter().copied().collect();
        let mut record = Vec::new();
        let mut aliases: hashbrown::HashMap<u64, Vec<u64>> = hashbrown::HashMap::new();
        for (alias, number) in self.aliases.read().iter() {
            aliases.entry(*number).or_default().push(*alias);
        }
        let mut metadata = vec![RecordType::Metadata as u8];
        for (first, page) in self.pages.iter() {
            let page = page.read();
            for (at, series) in page.iter().enumerate().filter(|(_, series)| !series.is_dead()) {
                let number = first + at as u32;
                if unlogged.contains(&number) {
                    continue;
                }
                let begin = |number: u64, record: &mut Vec<u8>| {
                    record.clear();
                    record.push(SERIES);
                    record.extend_from_slice(&number.to_be_bytes());
                    put_labels(record, index.texts(&series.labels));
                };
                // Its other numbers come first: their full chunks are older than the open one.
                for alias in aliases.get(&u64::from(number)).into_iter().flatten() {
                    begin(*alias, &mut record);
                    record.extend_from_slice(&[0; 9]);
                    add(&record)?;
                }
                begin(u64::from(number), &mut record);
                put_series(&mut record, series);
                add(&record)?;
                if let Some(known) = series.rest.as_ref().and_then(|rest| rest.metadata.as_ref()) {
                    put_metadata(&mut metadata, u64::from(number), known);
                }
            }
        }
        drop(index);
        add(&self.tombstones_record())?;
        let ring = self.exemplars.read();
        let exemplars: Vec<ExemplarRecord> = ring.between(i64::MIN, i64::MAX).map(record_of).collect();
        for part in exemplars.chunks(EXEMPLARS_PER_RECORD) {
            record.clear();
            put_exemplars(&mut record, part);
            if let Some(kind) = record.first_mut() {
                *kind = EXEMPLARS;
            }
            add(&record)?;
        }
        finish(out)?;
        let mut out = begin(&dir.join(METADATA))?;
        add_record(&mut out, &metadata)?;
        finish(out)?;
        self.fs.sync_dir(dir).context("sync folder", dir)
    }

    fn tombstones_record(&self) -> Vec<u8> {
        let mut tombstones = Tombstones::default();
        for (series, deleted) in self.tombstones.read().iter() {
            deleted.as_slice().iter().for_each(|interval| tombstones.add(u64::from(*series), *interval));
        }
        let mut content = vec![TOMBSTONES_VERSION];
        tombstones.encode_entries(&mut content);
        let mut record = vec![TOMBSTONES];
        put_uvarint(&mut record, content.len() as u64);
        record.extend_from_slice(&content);
        record
    }
}

fn add_record(out: &mut WalWriter, record: &[u8]) -> Result<(), FsError> {
    let added = out.add(record).and_then(|()| if out.pending_bytes() >= BUFFER_BYTES { out.flush() } else { Ok(()) });
    added.map_err(WalError::into_inner)
}

fn finish(mut out: WalWriter) -> Result<(), FsError> {
    out.flush().map_err(WalError::into_inner)?;
    out.sync()
}

/// Appends what a record says about a series after its labels: upstream's chunk range (0: not used), and the open chunk.
fn put_series(out: &mut Vec<u8>, series: &Series) {
    out.extend_from_slice(&0u64.to_be_bytes());
    let open = series.rest.as_ref().and_then(|rest| rest.histograms.as_ref());
    let (encoding, bytes) = match open {
        Some(chunk) => (chunk.encoding(), chunk.bytes()),
        None => (series.encoding.into(), series.chunk.as_slice()),
    };
    put_uvarint(out, u64::from(!bytes.is_empty()));
    if bytes.is_empty() {
        return;
    }
    out.extend_from_slice(&series.chunk_start.to_be_bytes());
    out.extend_from_slice(&series.floats.time().to_be_bytes());
    out.push(encoding.byte());
    put_uvarint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
    match series.rest.as_ref().and_then(|rest| rest.last_histogram.as_ref()).filter(|_| open.is_some()) {
        Some(last) => put_histogram(out, last),
        None => {
            // Once the last four samples, of which the value of the last is still read.
            out.extend_from_slice(&[0; 7 * 8]);
            out.extend_from_slice(&series.floats.value().to_bits().to_be_bytes());
        }
    }
}

/// Removes all snapshots, finished or not.
pub(super) fn remove_all(fs: &dyn Fs, dir: &Path) -> Result<(), FsError> {
    for entry in fs.list(dir).context("list", dir)? {
        if entry.is_dir && entry.name.starts_with(PREFIX) {
            let path = dir.join(&entry.name);
            fs.remove_dir(&path).context("remove", &path)?;
        }
    }
    Ok(())
}

/// The snapshot that was taken where the log ends, if there is one.
pub(super) fn current(fs: &dyn Fs, dir: &Path) -> Result<Option<PathBuf>, FsError> {
    let wal = dir.join("wal");
    let Some((last, path)) = segments(fs, &wal)?.pop() else { return Ok(None) };
    for entry in fs.list(dir).context("list", dir)? {
        let Some((segment, offset)) = entry.name.strip_prefix(PREFIX).and_then(|name| name.split_once('.')) else {
            continue;
        };
        let (Ok(segment), Ok(offset)) = (segment.parse::<u64>(), offset.parse::<u64>()) else { continue };
        if segment != last || path != wal.join(segment_name(last)) {
            continue;
        }
        let bytes = fs.map(&path).context("map", &path)?;
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..));
        // Upstream fills the last page with zeros.
        if rest.is_some_and(|rest| rest.iter().all(|byte| *byte == 0)) {
            return Ok(Some(dir.join(&entry.name)));
        }
    }
    Ok(None)
}
