//! Loading a snapshot of the head: as its writer, [`head::snapshot`](crate::head::snapshot), says.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ferula_model::{Columns, Histogram, TimeRange};

use super::ahead::{Ahead, Log, Record};
use super::labels::Set;
use super::{Pass, ReplayError};
use crate::block::Interval;
use crate::chunk::histogram::{HistogramAppender, reset_header};
use crate::chunk::xor::XorAppender;
use crate::chunk::{self, ChunkEncoding, ChunkError, FloatEncoding, Starts, xor2};
use crate::fs::Fs;
use crate::head::Head;
use crate::head::series::{Kind, Series};
use crate::head::snapshot::{EXEMPLARS, METADATA, SERIES, TOMBSTONES, TOMBSTONES_VERSION};
use crate::head::tally::Tally;
use crate::wal::format::{Bytes, RecordError, RecordType, read_histogram};
use crate::wal::reader::WalReader;

impl Pass<'_> {
    /// Loads a snapshot. False: it is damaged, and the log must be read as well; what was loaded is what the log says.
    pub(super) fn load_snapshot(&mut self, dir: &Path) -> Result<bool, ReplayError> {
        for (folder, log) in [(dir.to_owned(), Log::Snapshot), (dir.join(METADATA), Log::Wal)] {
            if let Err(error) = self.load_records(&folder, log)? {
                tracing::warn!(%error, snapshot = %dir.display(), "the head snapshot is damaged; the log is read");
                self.head.counters.snapshot_failures.fetch_add(1, Ordering::Relaxed);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Loads what one folder of a snapshot has, up to the first damage.
    fn load_records(&mut self, dir: &Path, log: Log) -> Result<Result<(), RecordError>, ReplayError> {
        let fs: Arc<dyn Fs> = Arc::clone(&self.head.fs);
        let reader = WalReader::open(&*fs, dir, 0)?;
        let table = &self.head.table;
        std::thread::scope(|scope| {
            let mut ahead = Ahead::start(scope, &fs, table, reader, log);
            while let Some(batch) = ahead.next() {
                for record in batch.records() {
                    let loaded = match (log, record) {
                        (_, Record::Open(series)) => series.and_then(|(set, rest)| self.open_series(&set, rest)),
                        (Log::Snapshot, Record::Other(record)) => self.snapshot_record(record),
                        (Log::Wal, Record::Other(record)) => self.metadata(record),
                        // Only a log has those.
                        (_, Record::Series { .. }) => Err(RecordError::UnknownType(SERIES)),
                    };
                    if loaded.is_err() {
                        return Ok(loaded);
                    }
                    self.report.records += 1;
                }
                ahead.give_back(batch);
            }
            Ok(ahead.finish()?.map_or(Ok(()), |_| Err(RecordError::Truncated)))
        })
    }

    /// Creates a series of a snapshot and gives it its open chunk, which follows the labels in its record.
    fn open_series(&mut self, set: &Set<'_>, rest: &[u8]) -> Result<(), RecordError> {
        let head = self.head;
        let chunk = OpenChunk::read(rest)?;
        let series = self.introduce(set, &mut head.index.write());
        let series = series.ok_or(RecordError::Malformed("series number or labels"))?;
        chunk.map_or(Ok(()), |chunk| head.open_chunk(series, chunk))
    }

    /// Another record of a snapshot.
    fn snapshot_record(&mut self, record: &[u8]) -> Result<(), RecordError> {
        let (kind, content) = record.split_first().ok_or(RecordError::Truncated)?;
        match *kind {
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

impl<'a> OpenChunk<'a> {
    /// Reads what follows the labels of a series.
    fn read(rest: &'a [u8]) -> Result<Option<Self>, RecordError> {
        let mut bytes = Bytes(rest);
        let _chunk_range = bytes.u64()?;
        if bytes.uvarint()? == 0 {
            return Ok(None);
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
        Ok(Some(Self { min_time, max_time, encoding, bytes: chunk, last }))
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
