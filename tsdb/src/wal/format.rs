//! What the bytes of a log mean: the only file that knows the layout of records.
//!
//! Source: `tsdb/docs/format/wal.md` and the record codecs of Prometheus 3.14, as section 3.4 of the census has them.

use std::sync::Arc;

use ferula_model::{
    CounterResetHint, FloatHistogram, Histogram, IntegerHistogram, Metadata, MetricType, Span,
    histogram::CUSTOM_BUCKETS_SCHEMA,
};
use thiserror::Error;

/// The first byte of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RecordType {
    /// New series and their labels.
    Series = 1,
    /// Float samples.
    Samples = 2,
    /// Deleted ranges.
    Tombstones = 3,
    /// Exemplars.
    Exemplars = 4,
    /// In the log of late samples: a chunk went to the head chunk files.
    MmapMarkers = 5,
    /// Type, unit and help of series.
    Metadata = 6,
    /// Integer histograms.
    Histograms = 7,
    /// Float histograms.
    FloatHistograms = 8,
    /// Integer histograms with custom buckets.
    CustomHistograms = 9,
    /// Float histograms with custom buckets.
    CustomFloatHistograms = 10,
    /// Float samples with start timestamps.
    SamplesV2 = 11,
    /// Integer histograms with start timestamps.
    HistogramsV2 = 12,
    /// Float histograms with start timestamps.
    FloatHistogramsV2 = 13,
}

impl RecordType {
    /// The type of a record, by its first byte.
    pub fn of(record: &[u8]) -> Option<Self> {
        use RecordType::*;
        const ALL: [RecordType; 13] = [
            Series,
            Samples,
            Tombstones,
            Exemplars,
            MmapMarkers,
            Metadata,
            Histograms,
            FloatHistograms,
            CustomHistograms,
            CustomFloatHistograms,
            SamplesV2,
            HistogramsV2,
            FloatHistogramsV2,
        ];
        ALL.get(usize::from(*record.first()?).checked_sub(1)?).copied()
    }
}

/// Why a record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The record ends inside an item.
    #[error("record ends inside an item")]
    Truncated,
    /// An item contradicts itself.
    #[error("malformed record: {0}")]
    Malformed(&'static str),
    /// A record type that this version does not know.
    #[error("unknown record type {0}")]
    UnknownType(u8),
}

/// A float sample of a log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FloatRecord {
    /// Which series.
    pub series: u64,
    /// When, in milliseconds.
    pub time: i64,
    /// Start timestamp in milliseconds, 0 for none.
    pub start: i64,
    /// What.
    pub value: f64,
}

/// A histogram sample of a log.
#[derive(Clone, Debug)]
pub struct HistogramRecord {
    /// Which series.
    pub series: u64,
    /// When, in milliseconds.
    pub time: i64,
    /// Start timestamp in milliseconds, 0 for none.
    pub start: i64,
    /// What.
    pub value: Histogram,
}

/// An exemplar of a log.
#[derive(Clone, Debug, PartialEq)]
pub struct ExemplarRecord {
    /// Which series.
    pub series: u64,
    /// When, in milliseconds.
    pub time: i64,
    /// The observed value.
    pub value: f64,
    /// What identifies it.
    pub labels: Vec<(String, String)>,
}

/// A deleted range of a series, both ends included, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TombstoneRecord {
    /// Which series.
    pub series: u64,
    /// First deleted time.
    pub min_time: i64,
    /// Last deleted time.
    pub max_time: i64,
}

/// A late chunk of a series was written to the head chunk files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkerRecord {
    /// Which series.
    pub series: u64,
    /// Where the chunk is: file number and offset; 0 only says that a new late chunk begins.
    pub chunk: u64,
}

// ---------------------------------------------------------------------------------------------------- writing

/// Appends an unsigned LEB128 integer.
#[inline]
pub(crate) fn put_uvarint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a zigzag LEB128 integer.
#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, value: i64) {
    put_uvarint(out, ((value << 1) ^ (value >> 63)) as u64);
}

pub(crate) fn put_string(out: &mut Vec<u8>, text: &str) {
    put_uvarint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Appends a label set: count, then each name and value with its length.
pub(crate) fn put_labels<'a>(out: &mut Vec<u8>, labels: impl ExactSizeIterator<Item = (&'a str, &'a str)>) {
    put_uvarint(out, labels.len() as u64);
    for (name, value) in labels {
        put_string(out, name);
        put_string(out, value);
    }
}

/// Appends one item of a series record. The record begins with the byte of [`RecordType::Series`].
pub fn put_series<'a>(out: &mut Vec<u8>, series: u64, labels: impl ExactSizeIterator<Item = (&'a str, &'a str)>) {
    out.extend_from_slice(&series.to_be_bytes());
    put_labels(out, labels);
}

/// Appends a record of float samples, which must not be empty; with the start timestamps if one has one.
pub fn put_floats(out: &mut Vec<u8>, samples: &[FloatRecord]) {
    out.reserve(17 + samples.len() * 14);
    if samples.iter().any(|sample| sample.start != 0) {
        out.push(RecordType::SamplesV2 as u8);
        let mut bases = Bases::default();
        for sample in samples {
            bases.put(out, sample.series, sample.time, sample.start);
            out.extend_from_slice(&sample.value.to_bits().to_be_bytes());
        }
        return;
    }
    put_plain_floats(out, samples.iter().map(|sample| (sample.series, sample.time, sample.value)));
}

/// Appends a record of float samples without start timestamps, given as series, time and value; nothing if there is
/// none. Says how many there were.
pub(crate) fn put_plain_floats(out: &mut Vec<u8>, samples: impl Iterator<Item = (u64, i64, f64)>) -> usize {
    let mut samples = samples.peekable();
    let Some(&(first, base, _)) = samples.peek() else { return 0 };
    out.push(RecordType::Samples as u8);
    put_base(out, first, base);
    let mut count = 0;
    for (series, time, value) in samples {
        put_varint(out, series.wrapping_sub(first) as i64);
        put_varint(out, time.wrapping_sub(base));
        out.extend_from_slice(&value.to_bits().to_be_bytes());
        count += 1;
    }
    count
}

fn put_base(out: &mut Vec<u8>, series: u64, time: i64) {
    out.extend_from_slice(&series.to_be_bytes());
    out.extend_from_slice(&time.to_be_bytes());
}

/// What the deltas of a record of the second version refer to.
#[derive(Default)]
struct Bases {
    previous: Option<(u64, i64)>,
    first: (i64, i64),
}

impl Bases {
    fn put(&mut self, out: &mut Vec<u8>, series: u64, time: i64, start: i64) {
        match self.previous {
            None => {
                put_varint(out, series as i64);
                put_varint(out, time);
                put_varint(out, start);
                self.first = (time, start);
            }
            Some((previous, previous_start)) => {
                put_varint(out, series.wrapping_sub(previous) as i64);
                put_varint(out, time.wrapping_sub(self.first.0));
                if start == 0 {
                    out.push(0);
                } else if start == previous_start {
                    out.push(1);
                } else {
                    out.push(2);
                    put_varint(out, start.wrapping_sub(self.first.1));
                }
            }
        }
        self.previous = Some((series, start));
    }

    fn take(&mut self, reader: &mut Bytes<'_>) -> Result<(u64, i64, i64), RecordError> {
        let item = match self.previous {
            None => {
                let item = (reader.varint()? as u64, reader.varint()?, reader.varint()?);
                self.first = (item.1, item.2);
                item
            }
            Some((previous, previous_start)) => {
                let series = previous.wrapping_add(reader.varint()? as u64);
                let time = self.first.0.wrapping_add(reader.varint()?);
                let start = match reader.byte()? {
                    0 => 0,
                    1 => previous_start,
                    2 => self.first.1.wrapping_add(reader.varint()?),
                    _ => return Err(RecordError::Malformed("start marker")),
                };
                (series, time, start)
            }
        };
        self.previous = Some((item.0, item.2));
        Ok(item)
    }
}

/// Appends records of histogram samples: `each` is called with every finished record. Kinds and custom buckets go into
/// records of their own, in the order upstream writes them.
pub fn put_histograms(samples: &[HistogramRecord], out: &mut Vec<u8>, mut each: impl FnMut(&mut Vec<u8>)) {
    let starts = samples.iter().any(|sample| sample.start != 0);
    let types: &[RecordType] = if starts {
        &[RecordType::HistogramsV2, RecordType::FloatHistogramsV2]
    } else {
        &[
            RecordType::Histograms,
            RecordType::CustomHistograms,
            RecordType::FloatHistograms,
            RecordType::CustomFloatHistograms,
        ]
    };
    for &kind in types {
        let mut members = samples.iter().filter(|sample| histogram_type(&sample.value, starts) == kind).peekable();
        let Some(first) = members.peek().copied() else { continue };
        out.clear();
        out.push(kind as u8);
        let mut bases = Bases::default();
        if !starts {
            put_base(out, first.series, first.time);
        }
        for sample in members {
            if starts {
                bases.put(out, sample.series, sample.time, sample.start);
            } else {
                put_varint(out, sample.series.wrapping_sub(first.series) as i64);
                put_varint(out, sample.time.wrapping_sub(first.time));
            }
            put_histogram(out, &sample.value);
        }
        each(out);
    }
}

fn histogram_type(histogram: &Histogram, starts: bool) -> RecordType {
    match histogram {
        Histogram::Integer(_) if starts => RecordType::HistogramsV2,
        Histogram::Float(_) if starts => RecordType::FloatHistogramsV2,
        Histogram::Integer(h) if h.schema == CUSTOM_BUCKETS_SCHEMA => RecordType::CustomHistograms,
        Histogram::Integer(_) => RecordType::Histograms,
        Histogram::Float(h) if h.schema == CUSTOM_BUCKETS_SCHEMA => RecordType::CustomFloatHistograms,
        Histogram::Float(_) => RecordType::FloatHistograms,
    }
}

/// Appends the payload of a histogram as logs and snapshots have it.
pub(crate) fn put_histogram(out: &mut Vec<u8>, histogram: &Histogram) {
    let float = |out: &mut Vec<u8>, value: f64| out.extend_from_slice(&value.to_bits().to_be_bytes());
    let spans = |out: &mut Vec<u8>, spans: &[Span]| {
        put_uvarint(out, spans.len() as u64);
        for span in spans {
            put_varint(out, i64::from(span.offset));
            put_uvarint(out, u64::from(span.length));
        }
    };
    match histogram {
        Histogram::Integer(h) => {
            out.push(h.counter_reset as u8);
            put_varint(out, i64::from(h.schema));
            float(out, h.zero_threshold);
            put_uvarint(out, h.zero_count);
            put_uvarint(out, h.count);
            float(out, h.sum);
            spans(out, &h.positive_spans);
            spans(out, &h.negative_spans);
            for buckets in [&h.positive_buckets, &h.negative_buckets] {
                put_uvarint(out, buckets.len() as u64);
                buckets.iter().for_each(|&delta| put_varint(out, delta));
            }
            put_custom(out, h.schema, &h.custom_values);
        }
        Histogram::Float(h) => {
            out.push(h.counter_reset as u8);
            put_varint(out, i64::from(h.schema));
            for number in [h.zero_threshold, h.zero_count, h.count, h.sum] {
                float(out, number);
            }
            spans(out, &h.positive_spans);
            spans(out, &h.negative_spans);
            for buckets in [&h.positive_buckets, &h.negative_buckets] {
                put_uvarint(out, buckets.len() as u64);
                buckets.iter().for_each(|&count| float(out, count));
            }
            put_custom(out, h.schema, &h.custom_values);
        }
    }
}

fn put_custom(out: &mut Vec<u8>, schema: i32, bounds: &[f64]) {
    if schema == CUSTOM_BUCKETS_SCHEMA {
        put_uvarint(out, bounds.len() as u64);
        bounds.iter().for_each(|bound| out.extend_from_slice(&bound.to_bits().to_be_bytes()));
    }
}

/// Appends a record of tombstones.
pub fn put_tombstones(out: &mut Vec<u8>, tombstones: &[TombstoneRecord]) {
    out.push(RecordType::Tombstones as u8);
    for tombstone in tombstones {
        out.extend_from_slice(&tombstone.series.to_be_bytes());
        put_varint(out, tombstone.min_time);
        put_varint(out, tombstone.max_time);
    }
}

/// Appends a record of exemplars.
pub fn put_exemplars(out: &mut Vec<u8>, exemplars: &[ExemplarRecord]) {
    let Some(first) = exemplars.first() else { return };
    out.push(RecordType::Exemplars as u8);
    put_base(out, first.series, first.time);
    for exemplar in exemplars {
        put_varint(out, exemplar.series.wrapping_sub(first.series) as i64);
        put_varint(out, exemplar.time.wrapping_sub(first.time));
        out.extend_from_slice(&exemplar.value.to_bits().to_be_bytes());
        put_labels(out, exemplar.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    }
}

/// Appends a record of markers.
pub fn put_markers(out: &mut Vec<u8>, markers: &[MarkerRecord]) {
    out.push(RecordType::MmapMarkers as u8);
    for marker in markers {
        out.extend_from_slice(&marker.series.to_be_bytes());
        out.extend_from_slice(&marker.chunk.to_be_bytes());
    }
}

/// Appends one item of a metadata record. The record begins with the byte of [`RecordType::Metadata`].
pub fn put_metadata(out: &mut Vec<u8>, series: u64, metadata: &Metadata) {
    put_uvarint(out, series);
    out.push(match metadata.metric_type {
        MetricType::Unknown => 0,
        MetricType::Counter => 1,
        MetricType::Gauge => 2,
        MetricType::Histogram => 3,
        MetricType::GaugeHistogram => 4,
        MetricType::Summary => 5,
        MetricType::Info => 6,
        MetricType::StateSet => 7,
    });
    put_uvarint(out, 2);
    for text in ["UNIT", &metadata.unit, "HELP", &metadata.help] {
        put_string(out, text);
    }
}

// ---------------------------------------------------------------------------------------------------- reading

/// Reads the items of a record.
#[derive(Clone, Debug)]
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], RecordError> {
        let (head, tail) = self.0.split_at_checked(count).ok_or(RecordError::Truncated)?;
        self.0 = tail;
        Ok(head)
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, RecordError> {
        let (&byte, tail) = self.0.split_first().ok_or(RecordError::Truncated)?;
        self.0 = tail;
        Ok(byte)
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Result<u64, RecordError> {
        let (head, tail) = self.0.split_first_chunk::<8>().ok_or(RecordError::Truncated)?;
        self.0 = tail;
        Ok(u64::from_be_bytes(*head))
    }

    #[inline]
    pub(crate) fn f64(&mut self) -> Result<f64, RecordError> {
        self.u64().map(f64::from_bits)
    }

    #[inline]
    pub(crate) fn uvarint(&mut self) -> Result<u64, RecordError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RecordError::Malformed("varint beyond 64 bits"))
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<i64, RecordError> {
        let value = self.uvarint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub(crate) fn str(&mut self) -> Result<&'a str, RecordError> {
        let length = usize::try_from(self.uvarint()?).map_err(|_| RecordError::Truncated)?;
        std::str::from_utf8(self.take(length)?).map_err(|_| RecordError::Malformed("text is not UTF-8"))
    }

    /// A count of items of at least `bytes` bytes each.
    fn count(&mut self, bytes: usize) -> Result<usize, RecordError> {
        let count = usize::try_from(self.uvarint()?).map_err(|_| RecordError::Truncated)?;
        if count > self.0.len() / bytes { Err(RecordError::Truncated) } else { Ok(count) }
    }

    /// Replaces `labels` by a label set.
    pub(crate) fn labels(&mut self, labels: &mut Vec<(&'a str, &'a str)>) -> Result<(), RecordError> {
        labels.clear();
        for _ in 0..self.count(2)? {
            labels.push((self.str()?, self.str()?));
        }
        Ok(())
    }
}

/// The items of a record of one of `types`.
fn open<'a>(record: &'a [u8], types: &[RecordType]) -> Result<Bytes<'a>, RecordError> {
    match (RecordType::of(record), record.split_first()) {
        (Some(kind), Some((_, items))) if types.contains(&kind) => Ok(Bytes(items)),
        (_, Some((&kind, _))) => Err(RecordError::UnknownType(kind)),
        (_, None) => Err(RecordError::Truncated),
    }
}

/// Hands out number and labels of each series of a series record.
///
/// # Errors
///
/// See [`RecordError`]; the items before the damage have been handed out.
pub fn read_series<'a>(record: &'a [u8], mut each: impl FnMut(u64, &[(&'a str, &'a str)])) -> Result<(), RecordError> {
    let mut bytes = open(record, &[RecordType::Series])?;
    let mut labels = Vec::new();
    while !bytes.is_empty() {
        let series = bytes.u64()?;
        bytes.labels(&mut labels)?;
        each(series, &labels);
    }
    Ok(())
}

/// Appends the samples of a record of floats of either version.
///
/// # Errors
///
/// See [`RecordError`].
pub fn read_floats(record: &[u8], samples: &mut Vec<FloatRecord>) -> Result<(), RecordError> {
    let mut bytes = open(record, &[RecordType::Samples, RecordType::SamplesV2])?;
    if RecordType::of(record) == Some(RecordType::SamplesV2) {
        let mut bases = Bases::default();
        while !bytes.is_empty() {
            let (series, time, start) = bases.take(&mut bytes)?;
            samples.push(FloatRecord { series, time, start, value: bytes.f64()? });
        }
        return Ok(());
    }
    if bytes.is_empty() {
        return Ok(());
    }
    let (series, time) = (bytes.u64()?, bytes.u64()? as i64);
    samples.reserve(bytes.0.len() / 10);
    while !bytes.is_empty() {
        let series = series.wrapping_add(bytes.varint()? as u64);
        let time = time.wrapping_add(bytes.varint()?);
        samples.push(FloatRecord { series, time, start: 0, value: bytes.f64()? });
    }
    Ok(())
}

/// Appends the samples of a record of histograms of any kind and version.
///
/// # Errors
///
/// See [`RecordError`].
pub fn read_histograms(record: &[u8], samples: &mut Vec<HistogramRecord>) -> Result<(), RecordError> {
    use RecordType::*;
    let types = [Histograms, FloatHistograms, CustomHistograms, CustomFloatHistograms, HistogramsV2, FloatHistogramsV2];
    let mut bytes = open(record, &types)?;
    let kind = RecordType::of(record).unwrap_or(Histograms);
    let float = matches!(kind, FloatHistograms | CustomFloatHistograms | FloatHistogramsV2);
    if matches!(kind, HistogramsV2 | FloatHistogramsV2) {
        let mut bases = Bases::default();
        while !bytes.is_empty() {
            let (series, time, start) = bases.take(&mut bytes)?;
            samples.push(HistogramRecord { series, time, start, value: read_histogram(&mut bytes, float)? });
        }
        return Ok(());
    }
    if bytes.is_empty() {
        return Ok(());
    }
    let (series, time) = (bytes.u64()?, bytes.u64()? as i64);
    while !bytes.is_empty() {
        let series = series.wrapping_add(bytes.varint()? as u64);
        let time = time.wrapping_add(bytes.varint()?);
        samples.push(HistogramRecord { series, time, start: 0, value: read_histogram(&mut bytes, float)? });
    }
    Ok(())
}

/// Reads what [`put_histogram`] wrote.
pub(crate) fn read_histogram(bytes: &mut Bytes<'_>, float: bool) -> Result<Histogram, RecordError> {
    let counter_reset = match bytes.byte()? {
        1 => CounterResetHint::Reset,
        2 => CounterResetHint::NotReset,
        3 => CounterResetHint::Gauge,
        _ => CounterResetHint::Unknown,
    };
    let schema = i32::try_from(bytes.varint()?).map_err(|_| RecordError::Malformed("schema"))?;
    let zero_threshold = bytes.f64()?;
    if float {
        let (zero_count, count, sum) = (bytes.f64()?, bytes.f64()?, bytes.f64()?);
        let (positive_spans, negative_spans) = (read_spans(bytes)?, read_spans(bytes)?);
        let (positive_buckets, negative_buckets) = (read_floats_list(bytes)?, read_floats_list(bytes)?);
        let custom_values = read_custom(bytes, schema)?;
        return Ok(FloatHistogram {
            counter_reset,
            schema,
            zero_threshold,
            zero_count,
            count,
            sum,
            positive_spans,
            negative_spans,
            positive_buckets,
            negative_buckets,
            custom_values,
        }
        .into());
    }
    let (zero_count, count, sum) = (bytes.uvarint()?, bytes.uvarint()?, bytes.f64()?);
    let (positive_spans, negative_spans) = (read_spans(bytes)?, read_spans(bytes)?);
    let (positive_buckets, negative_buckets) = (read_deltas(bytes)?, read_deltas(bytes)?);
    let custom_values = read_custom(bytes, schema)?;
    Ok(IntegerHistogram {
        counter_reset,
        schema,
        zero_threshold,
        zero_count,
        count,
        sum,
        positive_spans,
        negative_spans,
        positive_buckets,
        negative_buckets,
        custom_values,
    }
    .into())
}

fn read_spans(bytes: &mut Bytes<'_>) -> Result<Vec<Span>, RecordError> {
    let span = |bytes: &mut Bytes<'_>| {
        let offset = i32::try_from(bytes.varint()?).map_err(|_| RecordError::Malformed("span offset"))?;
        let length = u32::try_from(bytes.uvarint()?).map_err(|_| RecordError::Malformed("span length"))?;
        Ok(Span { offset, length })
    };
    (0..bytes.count(2)?).map(|_| span(bytes)).collect()
}

fn read_deltas(bytes: &mut Bytes<'_>) -> Result<Vec<i64>, RecordError> {
    (0..bytes.count(1)?).map(|_| bytes.varint()).collect()
}

fn read_floats_list(bytes: &mut Bytes<'_>) -> Result<Vec<f64>, RecordError> {
    (0..bytes.count(8)?).map(|_| bytes.f64()).collect()
}

fn read_custom(bytes: &mut Bytes<'_>, schema: i32) -> Result<Arc<[f64]>, RecordError> {
    if schema == CUSTOM_BUCKETS_SCHEMA { read_floats_list(bytes).map(Arc::from) } else { Ok(Arc::from([])) }
}

/// Appends the items of a tombstone record.
///
/// # Errors
///
/// See [`RecordError`].
pub fn read_tombstones(record: &[u8], tombstones: &mut Vec<TombstoneRecord>) -> Result<(), RecordError> {
    let mut bytes = open(record, &[RecordType::Tombstones])?;
    while !bytes.is_empty() {
        tombstones.push(TombstoneRecord { series: bytes.u64()?, min_time: bytes.varint()?, max_time: bytes.varint()? });
    }
    Ok(())
}

/// Appends the items of an exemplar record.
///
/// # Errors
///
/// See [`RecordError`].
pub fn read_exemplars(record: &[u8], exemplars: &mut Vec<ExemplarRecord>) -> Result<(), RecordError> {
    let mut bytes = open(record, &[RecordType::Exemplars])?;
    if bytes.is_empty() {
        return Ok(());
    }
    let (series, time) = (bytes.u64()?, bytes.u64()? as i64);
    let mut labels = Vec::new();
    while !bytes.is_empty() {
        let series = series.wrapping_add(bytes.varint()? as u64);
        let time = time.wrapping_add(bytes.varint()?);
        let value = bytes.f64()?;
        bytes.labels(&mut labels)?;
        let labels = labels.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        exemplars.push(ExemplarRecord { series, time, value, labels });
    }
    Ok(())
}

/// Appends the items of a marker record.
///
/// # Errors
///
/// See [`RecordError`].
pub fn read_markers(record: &[u8], markers: &mut Vec<MarkerRecord>) -> Result<(), RecordError> {
    let mut bytes = open(record, &[RecordType::MmapMarkers])?;
    while !bytes.is_empty() {
        markers.push(MarkerRecord { series: bytes.u64()?, chunk: bytes.u64()? });
    }
    Ok(())
}

/// Hands out the items of a metadata record. Fields that this version does not know are skipped.
///
/// # Errors
///
/// See [`RecordError`].
pub fn read_metadata(record: &[u8], mut each: impl FnMut(u64, Metadata)) -> Result<(), RecordError> {
    let mut bytes = open(record, &[RecordType::Metadata])?;
    while !bytes.is_empty() {
        let series = bytes.uvarint()?;
        let metric_type = match bytes.byte()? {
            1 => MetricType::Counter,
            2 => MetricType::Gauge,
            3 => MetricType::Histogram,
            4 => MetricType::GaugeHistogram,
            5 => MetricType::Summary,
            6 => MetricType::Info,
            7 => MetricType::StateSet,
            _ => MetricType::Unknown,
        };
        let mut metadata = Metadata { metric_type, ..Metadata::default() };
        for _ in 0..bytes.count(2)? {
            match (bytes.str()?, bytes.str()?) {
                ("UNIT", unit) => metadata.unit = unit.to_owned(),
                ("HELP", help) => metadata.help = help.to_owned(),
                _ => {}
            }
        }
        each(series, metadata);
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_layout_is_prometheus_own() {
        let mut out = vec![RecordType::Series as u8];
        put_series(&mut out, 7, [("a", "b")].into_iter());
        assert_eq!(out, [1, 0, 0, 0, 0, 0, 0, 0, 7, 1, 1, b'a', 1, b'b']);
        let mut out = Vec::new();
        let sample = FloatRecord { series: 7, time: 1000, start: 0, value: 1.0 };
        put_floats(&mut out, &[sample, FloatRecord { series: 6, time: 1001, ..sample }]);
        let base = [2, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0x03, 0xE8];
        let items = [0, 0, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0, 1, 2, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0];
        assert_eq!(out, [base.as_slice(), &items].concat());
    }

    #[test]
    fn histograms_are_sorted_into_their_records() {
        let integer = IntegerHistogram {
            count: 3,
            zero_count: 1,
            sum: 2.5,
            positive_spans: vec![Span { offset: -2, length: 1 }],
            positive_buckets: vec![2],
            ..Default::default()
        };
        let custom = IntegerHistogram { schema: -53, custom_values: Arc::from([1.0]), ..Default::default() };
        let float = FloatHistogram { count: 1.5, ..Default::default() };
        for start in [0, 5] {
            let values: [Histogram; 3] = [integer.clone().into(), custom.clone().into(), float.clone().into()];
            let samples: Vec<_> = values
                .into_iter()
                .enumerate()
                .map(|(i, value)| HistogramRecord { series: 9 - i as u64, time: i as i64, start, value })
                .collect();
            let mut back = Vec::new();
            let mut types = Vec::new();
            put_histograms(&samples, &mut Vec::new(), |record| {
                types.push(record[0]);
                read_histograms(record, &mut back).unwrap();
            });
            assert_eq!(types, if start == 0 { vec![7, 9, 8] } else { vec![12, 13] });
            for (got, want) in back.iter().zip(&samples) {
                assert!(got.value.same_bits(&want.value) && got.series == want.series && got.start == start);
            }
        }
    }

    proptest! {
        #[test]
        fn floats_come_back(items in prop::collection::vec((any::<u64>(), any::<i64>(), prop_oneof![3 => Just(0i64), 1 => any::<i64>()], any::<u64>()), 1..50)) {
            let samples: Vec<_> = items
                .into_iter()
                .map(|(series, time, start, bits)| FloatRecord { series, time, start, value: f64::from_bits(bits) })
                .collect();
            let (mut out, mut back) = (Vec::new(), Vec::new());
            put_floats(&mut out, &samples);
            read_floats(&out, &mut back).unwrap();
            prop_assert_eq!(format!("{back:?}"), format!("{samples:?}"));
        }

        #[test]
        fn hostile_records_are_errors(mut bytes in prop::collection::vec(any::<u8>(), 0..100), kind in 0u8..15) {
            bytes.insert(0, kind);
            let _ = read_series(&bytes, |_, _| ());
            let _ = read_floats(&bytes, &mut Vec::new());
            let _ = read_histograms(&bytes, &mut Vec::new());
            let _ = read_tombstones(&bytes, &mut Vec::new());
            let _ = read_exemplars(&bytes, &mut Vec::new());
            let _ = read_markers(&bytes, &mut Vec::new());
            let _ = read_metadata(&bytes, |_, _| ());
        }
    }

    #[test]
    fn metadata_skips_fields_of_later_versions() {
        let metadata = Metadata { metric_type: MetricType::Summary, unit: "s".into(), help: "h".into() };
        let mut record = vec![RecordType::Metadata as u8, 3, 5, 3];
        for text in ["NEW", "x", "UNIT", "s", "HELP", "h"] {
            put_string(&mut record, text);
        }
        put_metadata(&mut record, 300, &metadata);
        let mut got = Vec::new();
        read_metadata(&record, |series, metadata| got.push((series, metadata))).unwrap();
        assert_eq!(got, [(3, metadata.clone()), (300, metadata)]);
    }
}
