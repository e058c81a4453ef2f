//! Histogram samples: which record each goes to, and the payload that logs and head snapshots share.

use std::sync::Arc;

use ferula_model::{
    CounterResetHint, FloatHistogram, Histogram, IntegerHistogram, Span, histogram::CUSTOM_BUCKETS_SCHEMA,
};

use super::bases::Bases;
use super::bytes::{Bytes, put_base, put_uvarint, put_varint};
use super::{RecordError, RecordType, open};

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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

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
}
