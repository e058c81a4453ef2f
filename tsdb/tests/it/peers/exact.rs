//! Samples in a form that tells every difference: what is written, as remote write carries it; what is read, as text.

use std::collections::BTreeMap;
use std::sync::Arc;

use ferula_model::{
    Columns, CounterResetHint, Exemplar, FloatHistogram, Histogram, IntegerHistogram, Labels, Span, Value, is_stale,
};

use crate::model::Series;

/// Series, then time, then the value as [`describe`] has it.
pub(super) type Exact = BTreeMap<String, BTreeMap<i64, String>>;

/// What one request brings to a series.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    pub(super) labels: Labels,
    pub(super) samples: Vec<(i64, Value)>,
    /// With their times.
    pub(super) exemplars: Vec<(i64, Exemplar)>,
}

pub(super) fn as_written(series: &Series) -> Vec<Written> {
    let write = |(labels, samples): (&Labels, &_)| {
        let columns = crate::model::columns(samples);
        Written { labels: labels.clone(), samples: values(columns), exemplars: Vec::new() }
    };
    series.iter().map(write).collect()
}

/// All samples by rising time.
pub(super) fn values(columns: Columns) -> Vec<(i64, Value)> {
    let floats = columns.times.into_iter().zip(columns.values.into_iter().map(Value::Float));
    let histograms = columns.histogram_times.into_iter().zip(columns.histograms.into_iter().map(Value::Histogram));
    let mut all: Vec<_> = floats.chain(histograms).collect();
    all.sort_by_key(|(time, _)| *time);
    all
}

/// A value so that equal text means equal meaning: bits of floats; buckets by index, without empty ones, for their layout
/// depends on what else is in a chunk. Of the reset hints, only that of a gauge is a property of the sample. Remote read
/// (3.5) leaves the bounds of custom buckets out, so they are looked at elsewhere; and the sign of zero.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Float(0.0) => "0".into(),
        Value::Float(value) => format!("{value} ({:016x})", value.to_bits()),
        Value::Histogram(histogram) if is_stale(histogram.sum()) => "stale histogram".into(),
        Value::Histogram(Histogram::Integer(h)) => {
            let absolute = |deltas: &[i64]| {
                let running = deltas.iter().scan(0, |count, delta| {
                    *count += delta;
                    Some(*count)
                });
                running.map(|count| count as f64).collect::<Vec<_>>()
            };
            format!(
                "integer {} {:?} {} {} {} {:x} +{:?} -{:?}",
                h.schema,
                h.counter_reset == CounterResetHint::Gauge,
                h.zero_threshold,
                h.zero_count,
                h.count,
                h.sum.to_bits(),
                buckets(&h.positive_spans, &absolute(&h.positive_buckets)),
                buckets(&h.negative_spans, &absolute(&h.negative_buckets)),
            )
        }
        Value::Histogram(Histogram::Float(h)) => format!(
            "float {} {:?} {} {} {} {:x} +{:?} -{:?}",
            h.schema,
            h.counter_reset == CounterResetHint::Gauge,
            h.zero_threshold,
            h.zero_count,
            h.count,
            h.sum.to_bits(),
            buckets(&h.positive_spans, &h.positive_buckets),
            buckets(&h.negative_spans, &h.negative_buckets),
        ),
    }
}

fn buckets(spans: &[Span], counts: &[f64]) -> BTreeMap<i32, u64> {
    let (mut filled, mut index, mut counts) = (BTreeMap::new(), 0, counts.iter());
    for span in spans {
        index += span.offset;
        for _ in 0..span.length {
            let count = *counts.next().unwrap();
            if count != 0.0 {
                filled.insert(index, count.to_bits());
            }
            index += 1;
        }
    }
    assert!(counts.next().is_none(), "more counts than buckets");
    filled
}

/// Panics with the first difference.
pub(super) fn assert_same(what: &str, theirs: &Exact, ours: &Exact) {
    assert_eq!(theirs.keys().collect::<Vec<_>>(), ours.keys().collect::<Vec<_>>(), "{what}: series (theirs, ours)");
    for (labels, samples) in theirs {
        let times = samples.keys().chain(ours[labels].keys());
        for time in times {
            let (theirs, ours) = (samples.get(time), ours[labels].get(time));
            assert_eq!(theirs, ours, "{what}: {labels} at {time} (theirs, ours)");
        }
    }
}

// ---- protobuf

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(super) fn put_message(out: &mut Vec<u8>, field: u64, content: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

pub(super) fn put_number(out: &mut Vec<u8>, field: u64, number: u64) {
    put_varint(out, field << 3);
    put_varint(out, number);
}

fn put_float(out: &mut Vec<u8>, field: u64, value: f64) {
    put_varint(out, field << 3 | 1);
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

fn put_labels(out: &mut Vec<u8>, labels: &Labels) {
    for (name, value) in labels {
        let mut label = Vec::new();
        put_message(&mut label, 1, name.as_bytes());
        put_message(&mut label, 2, value.as_bytes());
        put_message(out, 1, &label);
    }
}

fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

/// `prometheus.TimeSeries` of remote write 1.0.
pub(super) fn put_time_series(out: &mut Vec<u8>, written: &Written) {
    let mut series = Vec::new();
    put_labels(&mut series, &written.labels);
    for (time, value) in &written.samples {
        let mut sample = Vec::new();
        match value {
            Value::Float(value) => {
                put_float(&mut sample, 1, *value);
                put_number(&mut sample, 2, *time as u64);
                put_message(&mut series, 2, &sample);
            }
            Value::Histogram(histogram) => {
                put_histogram(&mut sample, histogram);
                put_number(&mut sample, 15, *time as u64);
                put_message(&mut series, 4, &sample);
            }
        }
    }
    for (time, exemplar) in &written.exemplars {
        let mut message = Vec::new();
        put_labels(&mut message, &exemplar.labels);
        put_float(&mut message, 2, exemplar.value);
        put_number(&mut message, 3, *time as u64);
        put_message(&mut series, 3, &message);
    }
    put_message(out, 1, &series);
}

fn put_histogram(out: &mut Vec<u8>, histogram: &Histogram) {
    let floats = |counts: &[f64]| counts.iter().flat_map(|count| count.to_bits().to_le_bytes()).collect::<Vec<u8>>();
    let mut common = |schema: i32, threshold: f64, sum: f64, hint: CounterResetHint, spans: [&[Span]; 2], custom| {
        put_float(out, 3, sum);
        put_number(out, 4, zigzag(schema.into()));
        put_float(out, 5, threshold);
        for (field, spans) in [8, 11].into_iter().zip(spans) {
            for span in spans {
                let mut message = Vec::new();
                put_number(&mut message, 1, zigzag(span.offset.into()));
                put_number(&mut message, 2, span.length.into());
                put_message(out, field, &message);
            }
        }
        put_number(out, 14, hint as u64);
        put_message(out, 16, &floats(custom));
    };
    match histogram {
        Histogram::Integer(h) => {
            let spans = [&*h.negative_spans, &*h.positive_spans];
            common(h.schema, h.zero_threshold, h.sum, h.counter_reset, spans, &h.custom_values);
            put_number(out, 1, h.count);
            put_number(out, 6, h.zero_count);
            for (field, deltas) in [(9, &h.negative_buckets), (12, &h.positive_buckets)] {
                let mut packed = Vec::new();
                deltas.iter().for_each(|delta| put_varint(&mut packed, zigzag(*delta)));
                put_message(out, field, &packed);
            }
        }
        Histogram::Float(h) => {
            let spans = [&*h.negative_spans, &*h.positive_spans];
            common(h.schema, h.zero_threshold, h.sum, h.counter_reset, spans, &h.custom_values);
            put_float(out, 2, h.count);
            put_float(out, 7, h.zero_count);
            put_message(out, 10, &floats(&h.negative_buckets));
            put_message(out, 13, &floats(&h.positive_buckets));
        }
    }
}

/// A field: a number (or the bits of a float), or bytes.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn number(&self) -> u64 {
        match self {
            Field::Number(number) => *number,
            Field::Bytes(_) => panic!("bytes where a number was expected"),
        }
    }

    fn bytes(&self) -> &'a [u8] {
        match self {
            Field::Bytes(bytes) => bytes,
            Field::Number(_) => panic!("a number where bytes were expected"),
        }
    }

    fn float(&self) -> f64 {
        f64::from_bits(self.number())
    }

    fn floats(&self) -> Vec<f64> {
        self.bytes().chunks(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap())).collect()
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes().to_vec()).unwrap()
    }
}

fn take_varint(bytes: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (&byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            return number;
        }
    }
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = take_varint(&mut bytes);
        let field = match key & 7 {
            0 => Field::Number(take_varint(&mut bytes)),
            kind => {
                let length = if kind == 1 { 8 } else { take_varint(&mut bytes) as usize };
                let (content, rest) = bytes.split_at(length);
                bytes = rest;
                match kind {
                    1 => Field::Number(u64::from_le_bytes(content.try_into().unwrap())),
                    _ => Field::Bytes(content),
                }
            }
        };
        fields.push((key >> 3, field));
    }
    fields
}

/// `prometheus.ReadResponse` with samples.
pub(super) fn read_response(bytes: &[u8]) -> Exact {
    let mut all = Exact::new();
    let results = fields(bytes);
    for (_, series) in results.iter().flat_map(|(_, result)| fields(result.bytes())) {
        let (mut pairs, mut samples) = (Vec::new(), BTreeMap::new());
        for (number, field) in fields(series.bytes()) {
            let content = fields(field.bytes());
            match number {
                1 => pairs.push((content[0].1.text(), content.get(1).map(|value| value.1.text()).unwrap_or_default())),
                2 => {
                    let of =
                        |number| content.iter().find(|field| field.0 == number).map_or(0, |field| field.1.number());
                    samples.insert(of(2) as i64, describe(&Value::Float(f64::from_bits(of(1)))));
                }
                4 => {
                    let (time, histogram) = read_histogram(&content);
                    samples.insert(time, describe(&Value::Histogram(histogram)));
                }
                other => panic!("field {other} of a series"),
            }
        }
        all.insert(Labels::from_pairs(pairs).to_string(), samples);
    }
    all
}

fn read_histogram(content: &[(u64, Field<'_>)]) -> (i64, Histogram) {
    let mut integer = IntegerHistogram::default();
    let (mut float, mut is_float, mut time) = (FloatHistogram::default(), false, 0);
    let mut custom = Vec::new();
    let span = |field: &Field<'_>| {
        let mut span = Span::default();
        for (number, field) in fields(field.bytes()) {
            match number {
                1 => span.offset = unzigzag(field.number()) as i32,
                _ => span.length = field.number() as u32,
            }
        }
        span
    };
    let deltas = |field: &Field<'_>| {
        let (mut bytes, mut deltas) = (field.bytes(), Vec::new());
        while !bytes.is_empty() {
            deltas.push(unzigzag(take_varint(&mut bytes)));
        }
        deltas
    };
    for (number, field) in content {
        match number {
            1 => integer.count = field.number(),
            2 => (float.count, is_float) = (field.float(), true),
            3 => (integer.sum, float.sum) = (field.float(), field.float()),
            4 => integer.schema = unzigzag(field.number()) as i32,
            5 => integer.zero_threshold = field.float(),
            6 => integer.zero_count = field.number(),
            7 => float.zero_count = field.float(),
            8 => integer.negative_spans.push(span(field)),
            9 => integer.negative_buckets = deltas(field),
            10 => float.negative_buckets = field.floats(),
            11 => integer.positive_spans.push(span(field)),
            12 => integer.positive_buckets = deltas(field),
            13 => float.positive_buckets = field.floats(),
            14 if field.number() == 3 => integer.counter_reset = CounterResetHint::Gauge,
            14 => {}
            15 => time = field.number() as i64,
            16 => custom.extend(field.floats()),
            other => panic!("field {other} of a histogram"),
        }
    }
    integer.custom_values = custom.into();
    if is_float {
        float.schema = integer.schema;
        float.zero_threshold = integer.zero_threshold;
        float.counter_reset = integer.counter_reset;
        float.positive_spans = integer.positive_spans;
        float.negative_spans = integer.negative_spans;
        float.custom_values = integer.custom_values;
        (time, Histogram::Float(Arc::new(float)))
    } else {
        (time, Histogram::Integer(Arc::new(integer)))
    }
}
