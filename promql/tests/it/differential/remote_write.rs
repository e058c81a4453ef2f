//! Remote write 1.0: samples as a protobuf message, compressed by snappy.
//!
//! Written only for the tests, field by field: `WriteRequest { repeated TimeSeries timeseries = 1 }`, `TimeSeries { repeated
//! Label labels = 1; repeated Sample samples = 2; repeated Histogram histograms = 4 }`.

use ferula_model::{CounterResetHint, FloatHistogram, Histogram, IntegerHistogram, Labels, Sample, Span, Value};

/// A message under construction. Fields that have their default value are left out.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn number(&mut self, field: u32, number: u64) {
        self.varint(u64::from(field << 3));
        self.varint(number);
    }

    fn zigzag(&mut self, field: u32, number: i64) {
        self.number(field, ((number << 1) ^ (number >> 63)) as u64);
    }

    fn double(&mut self, field: u32, value: f64) {
        self.varint(u64::from(field << 3 | 1));
        self.0.extend(value.to_bits().to_le_bytes());
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.varint(u64::from(field << 3 | 2));
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn doubles(&mut self, field: u32, values: &[f64]) {
        values.iter().for_each(|value| self.double(field, *value));
    }

    fn spans(&mut self, field: u32, spans: &[Span]) {
        for span in spans {
            let mut message = Message::default();
            message.zigzag(1, i64::from(span.offset));
            message.number(2, u64::from(span.length));
            self.bytes(field, &message.0);
        }
    }
}

/// A request with one sample of each series.
pub(super) fn request<'a>(samples: impl IntoIterator<Item = (&'a Labels, &'a Sample)>) -> Vec<u8> {
    let mut request = Message::default();
    for (labels, sample) in samples {
        let mut series = Message::default();
        for (name, value) in labels.iter() {
            let mut label = Message::default();
            label.bytes(1, name.as_bytes());
            label.bytes(2, value.as_bytes());
            series.bytes(1, &label.0);
        }
        let at = sample.timestamp.as_millis();
        match &sample.value {
            Value::Float(value) => {
                let mut float = Message::default();
                float.double(1, *value);
                float.number(2, at as u64);
                series.bytes(2, &float.0);
            }
            Value::Histogram(Histogram::Integer(histogram)) => series.bytes(4, &integer(histogram, at).0),
            Value::Histogram(Histogram::Float(histogram)) => series.bytes(4, &float(histogram, at).0),
        }
        request.bytes(1, &series.0);
    }
    snap::raw::Encoder::new().compress_vec(&request.0).expect("requests are small")
}

fn hint(hint: CounterResetHint) -> u64 {
    hint as u64
}

fn integer(histogram: &IntegerHistogram, at: i64) -> Message {
    let mut message = Message::default();
    message.number(1, histogram.count);
    message.double(3, histogram.sum);
    message.zigzag(4, i64::from(histogram.schema));
    message.double(5, histogram.zero_threshold);
    message.number(6, histogram.zero_count);
    message.spans(8, &histogram.negative_spans);
    histogram.negative_buckets.iter().for_each(|delta| message.zigzag(9, *delta));
    message.spans(11, &histogram.positive_spans);
    histogram.positive_buckets.iter().for_each(|delta| message.zigzag(12, *delta));
    message.number(14, hint(histogram.counter_reset));
    message.number(15, at as u64);
    message.doubles(16, &histogram.custom_values);
    message
}

fn float(histogram: &FloatHistogram, at: i64) -> Message {
    let mut message = Message::default();
    message.double(2, histogram.count);
    message.double(3, histogram.sum);
    message.zigzag(4, i64::from(histogram.schema));
    message.double(5, histogram.zero_threshold);
    message.double(7, histogram.zero_count);
    message.spans(8, &histogram.negative_spans);
    message.doubles(10, &histogram.negative_buckets);
    message.spans(11, &histogram.positive_spans);
    message.doubles(13, &histogram.positive_buckets);
    message.number(14, hint(histogram.counter_reset));
    message.number(15, at as u64);
    message.doubles(16, &histogram.custom_values);
    message
}
