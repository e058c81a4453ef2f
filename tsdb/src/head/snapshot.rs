//! The head, written down at a clean close, so that the next start need not read the log.
//!
//! The folder `chunk_snapshot.NNNNNN.OOOOOOOOOO` is a log of its own whose records are Prometheus' memory snapshot (3.14,
//! `tsdb/head_wal.go`): series with their open chunks, deletions, exemplars. Its name says at which segment and offset of the
//! log it was taken. Full chunks are in the head chunk files, late samples in their own log, as always. The folder `metadata`
//! in it is ours: upstream's snapshot has no metadata.
//!
//! A snapshot is only a shortcut. It is believed if the log ends exactly where it says and all its records are sound;
//! otherwise the log is read, which has everything.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ferula_model::{Columns, Histogram, TimeRange};

use super::Head;
use super::exemplars::record_of;
use super::replay::Pass;
use super::series::{Kind, Series};
use super::tally::Tally;
use crate::block::{Interval, Tombstones};
use crate::chunk::histogram::{HistogramAppender, reset_header};
use crate::chunk::xor::XorAppender;
use crate::chunk::{self, ChunkEncoding, ChunkError, FloatEncoding, Starts, xor2};
use crate::fs::{Context, Fs, FsError};
use crate::wal::format::{
    self, Bytes, ExemplarRecord, RecordError, RecordType, put_exemplars, put_histogram, put_labels, put_metadata,
    put_uvarint, read_histogram,
};
use crate::wal::reader::{ReadError, WalReader};
use crate::wal::writer::{WalError, WalWriter};
use crate::wal::{segment_name, segments};

const PREFIX: &str = "chunk_snapshot.";
const TEMPORARY: &str = ".tmp";
const METADATA: &str = "metadata";
/// Exemplars in a record.
const EXEMPLARS_PER_RECORD: usize = 10_000;
/// Bytes of records that are written at once.
const BUFFER_BYTES: u64 = 1 << 20;

const SERIES: u8 = 1;
const TOMBSTONES: u8 = 2;
const EXEMPLARS: u8 = 3;
/// The version byte in front of deletions.
const TOMBSTONES_VERSION: u8 = 1;

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
        let unlogged: hashbrown::HashSet<u32> = self.unlogged.lock().iter().copied().collect();
        let mut record = Vec::new();
        let mut aliases: hashbrown::HashMap<u64, Vec<u64>> = hashbrown::HashMap::new();
        for (alias, number) in self.aliases.read().iter() {
            aliases.entry(*number).or_default().push(*alias);
        }
        let mut metadata = vec![RecordType::Metadata as u8];
        for (first, page) in self.pages.iter() {
            let index = self.index.read();
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

impl Pass<'_> {
    /// Loads a snapshot. False: it is damaged, and the log must be read as well; what was loaded is what the log says.
    pub(super) fn load_snapshot(&mut self, dir: &Path) -> Result<bool, FsError> {
        for (folder, is_metadata) in [(dir.to_owned(), false), (dir.join(METADATA), true)] {
            let fs = Arc::clone(&self.head.fs);
            let mut reader = WalReader::open(&*fs, &folder, 0)?;
            loop {
                let loaded = match reader.next(&*fs) {
                    Ok(Some(record)) if is_metadata => self.metadata(record),
                    Ok(Some(record)) => self.snapshot_record(record),
                    Ok(None) => break,
                    Err(ReadError::Fs(error)) => return Err(error),
                    Err(ReadError::Corrupt(_)) => Err(RecordError::Truncated),
                };
                if let Err(error) = loaded {
                    tracing::warn!(%error, snapshot = %dir.display(), "the head snapshot is damaged; the log is read");
                    self.head.counters.snapshot_failures.fetch_add(1, Ordering::Relaxed);
                    return Ok(false);
                }
                self.report.records += 1;
            }
        }
        Ok(true)
    }

    /// One record of a snapshot.
    pub(super) fn snapshot_record(&mut self, record: &[u8]) -> Result<(), RecordError> {
        let (kind, content) = record.split_first().ok_or(RecordError::Truncated)?;
        match *kind {
            SERIES => {
                let loaded = SeriesRecord::read(content)?;
                let series = self.introduce(loaded.series, &loaded.labels);
                let series = series.ok_or(RecordError::Malformed("series number or labels"))?;
                if let Some(chunk) = loaded.chunk {
                    self.head.open_chunk(series, chunk)?;
                }
                Ok(())
            }
            TOMBSTONES => {
                let mut bytes = Bytes(content);
                let length = usize::try_from(bytes.uvarint()?).map_err(|_| RecordError::Truncated)?;
                let mut items = Bytes(bytes.take(length)?);
                if items.byte()? != TOMBSTONES_VERSION {
                    return Err(RecordError::Malformed("version of the deletions"));
                }
                let mut tombstones = self.head.tombstones.write();
                while !items.is_empty() {
                    let series = self.number(items.uvarint()?);
                    let interval = Interval::new(items.varint()?, items.varint()?);
                    tombstones.entry(series).or_default().add(interval);
                }
                Ok(())
            }
            EXEMPLARS => {
                let mut record = record.to_vec();
                if let Some(kind) = record.first_mut() {
                    *kind = RecordType::Exemplars as u8;
                }
                self.exemplars(&record)
            }
            other => Err(RecordError::UnknownType(other)),
        }
    }
}

/// A series of a snapshot.
struct SeriesRecord<'a> {
    series: u64,
    labels: Vec<(&'a str, &'a str)>,
    chunk: Option<OpenChunk<'a>>,
}

/// An open chunk of a snapshot.
struct OpenChunk<'a> {
    min_time: i64,
    max_time: i64,
    encoding: ChunkEncoding,
    bytes: &'a [u8],
    last: Last,
}

enum Last {
    Float(f64),
    Histogram(Histogram),
}

impl<'a> SeriesRecord<'a> {
    fn read(record: &'a [u8]) -> Result<Self, RecordError> {
        let mut bytes = Bytes(record);
        let series = bytes.u64()?;
        let mut labels = Vec::new();
        bytes.labels(&mut labels)?;
        let _chunk_range = bytes.u64()?;
        if bytes.uvarint()? == 0 {
            return Ok(Self { series, labels, chunk: None });
        }
        let (min_time, max_time) = (bytes.u64()? as i64, bytes.u64()? as i64);
        let encoding = ChunkEncoding::from_byte(bytes.byte()?).map_err(|_| RecordError::Malformed("chunk encoding"))?;
        let length = usize::try_from(bytes.uvarint()?).map_err(|_| RecordError::Truncated)?;
        let chunk = bytes.take(length)?;
        let last = match encoding {
            ChunkEncoding::Xor | ChunkEncoding::Xor2 => {
                bytes.take(7 * 8)?;
                Last::Float(bytes.f64()?)
            }
            ChunkEncoding::Histogram | ChunkEncoding::HistogramWithStarts => {
                Last::Histogram(read_histogram(&mut bytes, false)?)
            }
            ChunkEncoding::FloatHistogram | ChunkEncoding::FloatHistogramWithStarts => {
                Last::Histogram(read_histogram(&mut bytes, true)?)
            }
        };
        Ok(Self { series, labels, chunk: Some(OpenChunk { min_time, max_time, encoding, bytes: chunk, last }) })
    }
}

impl Head {
    /// Gives a series its open chunk back.
    fn open_chunk(&self, number: u32, chunk: OpenChunk<'_>) -> Result<(), RecordError> {
        let malformed = |_| RecordError::Malformed("open chunk");
        let OpenChunk { min_time, max_time, encoding, bytes, last } = chunk;
        if max_time < self.in_blocks_until() {
            return Ok(());
        }
        let block_range = self.block_range();
        let mut tally = Tally::default();
        let restored = self.pages.with_mut(number, |series| {
            if series.newest().is_some_and(|newest| newest >= min_time) {
                return Err(RecordError::Malformed("an open chunk begins before the one before it ends"));
            }
            let before = Tally::of(series);
            series.chunk_start = min_time;
            match (encoding, last) {
                (ChunkEncoding::Xor | ChunkEncoding::Xor2, Last::Float(value)) => {
                    let mut bytes = bytes.to_vec();
                    let (appender, starts, quarter) = resume_floats(encoding, &mut bytes).map_err(malformed)?;
                    let same = appender.time() == max_time && appender.value().to_bits() == value.to_bits();
                    if !same {
                        return Err(RecordError::Malformed("an open chunk does not end as its record says"));
                    }
                    series.chunk = bytes;
                    series.floats = appender;
                    series.encoding =
                        if encoding == ChunkEncoding::Xor { FloatEncoding::Xor } else { FloatEncoding::Xor2 };
                    if starts.is_used() {
                        series.rest_mut().starts = starts;
                    }
                    series.begin_range(block_range, quarter);
                    series.kind = Kind::Float;
                }
                (_, Last::Histogram(last)) => {
                    let mut columns = Columns::default();
                    chunk::decode(encoding, bytes, TimeRange::ALL, &mut columns).map_err(malformed)?;
                    let appender = resume_histograms(encoding, bytes, &columns)?;
                    series.begin_range(block_range, None);
                    series.floats.note_time(max_time);
                    series.kind = Kind::Histogram;
                    let rest = series.rest_mut();
                    rest.histograms = Some(Box::new(appender));
                    rest.last_histogram = Some(last);
                }
                _ => return Err(RecordError::Malformed("the encoding of an open chunk")),
            }
            tally.changed(before, series);
            Ok(())
        });
        restored.unwrap_or(Err(RecordError::Malformed("series")))?;
        self.counters.gauges.add(tally);
        self.widen_bounds(min_time, max_time);
        Ok(())
    }
}

/// How a chunk of floats goes on, and when it was a quarter full.
fn resume_floats(
    encoding: ChunkEncoding,
    bytes: &mut Vec<u8>,
) -> Result<(XorAppender, Starts, Option<i64>), ChunkError> {
    if encoding == ChunkEncoding::Xor2 {
        return xor2::resume_at(bytes, Series::QUARTER);
    }
    let (appender, quarter) = XorAppender::resume_at(bytes, Series::QUARTER)?;
    Ok((appender, Starts::default(), quarter))
}

fn resume_histograms(
    encoding: ChunkEncoding,
    bytes: &[u8],
    columns: &Columns,
) -> Result<HistogramAppender, RecordError> {
    let malformed = RecordError::Malformed("open histogram chunk");
    let flags = reset_header(encoding, bytes).map_err(|_| malformed)?;
    let mut starts = columns.histogram_starts.iter().copied().chain(std::iter::repeat(0));
    let mut samples = columns.histogram_times.iter().zip(&columns.histograms);
    let (time, first) = samples.next().ok_or(malformed)?;
    let start = starts.next().unwrap_or(0);
    let mut appender = match encoding.has_starts() {
        true => HistogramAppender::begin_with_start(flags, *time, start, first),
        false => HistogramAppender::begin(flags, *time, first),
    };
    for ((time, histogram), start) in samples.zip(starts) {
        appender.append_with_start(*time, start, histogram).map_err(|_| malformed)?;
    }
    Ok(appender)
}

/// What must hold for any bytes: a record is read or refused.
pub fn check_snapshot_record(bytes: &[u8]) {
    if let Ok(SeriesRecord { chunk: Some(chunk), .. }) = SeriesRecord::read(bytes) {
        let mut columns = Columns::default();
        let decoded = chunk::decode(chunk.encoding, chunk.bytes, TimeRange::ALL, &mut columns);
        let mut copy = chunk.bytes.to_vec();
        if chunk.encoding.is_float() && decoded.is_ok() && !columns.is_empty() {
            let resumed = resume_floats(chunk.encoding, &mut copy);
            assert_eq!(resumed.ok().map(|(appender, ..)| appender.time()), columns.times.last().copied());
        } else if !chunk.encoding.is_float() && decoded.is_ok() {
            let _ = resume_histograms(chunk.encoding, chunk.bytes, &columns);
        }
    }
    let _ = format::read_metadata(bytes, |_, _| ());
}
