//! Remote write 1.0, as far as it carries the generated data. Field numbers: `prompb/types.proto` of Prometheus.

use ferula_model::{CounterResetHint, FloatHistogram, Labels, Sample, Value};
use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    series: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<FloatSample>,
    #[prost(message, repeated, tag = "4")]
    histograms: Vec<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct FloatSample {
    /// Optional so that it is always written: left out, -0 would become 0.
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

/// With float counts.
#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(double, optional, tag = "2")]
    count: Option<f64>,
    #[prost(double, tag = "3")]
    sum: f64,
    #[prost(sint32, tag = "4")]
    schema: i32,
    #[prost(double, tag = "5")]
    zero_threshold: f64,
    #[prost(double, optional, tag = "7")]
    zero_count: Option<f64>,
    #[prost(message, repeated, tag = "8")]
    negative_spans: Vec<Span>,
    #[prost(double, repeated, tag = "10")]
    negative_counts: Vec<f64>,
    #[prost(message, repeated, tag = "11")]
    positive_spans: Vec<Span>,
    #[prost(double, repeated, tag = "13")]
    positive_counts: Vec<f64>,
    #[prost(int32, tag = "14")]
    reset_hint: i32,
    #[prost(int64, tag = "15")]
    timestamp: i64,
    #[prost(double, repeated, tag = "16")]
    custom_values: Vec<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

impl WriteRequest {
    pub(crate) fn of(series: &[(&Labels, &[Sample])]) -> Self {
        Self { series: series.iter().map(|(labels, samples)| TimeSeries::of(labels, samples)).collect() }
    }

    pub(crate) fn compressed(&self) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(&self.encode_to_vec()).expect("a request is small")
    }
}

impl TimeSeries {
    fn of(labels: &Labels, samples: &[Sample]) -> Self {
        let label = |(name, value): (&str, &str)| Label { name: name.to_owned(), value: value.to_owned() };
        let mut out = Self { labels: labels.iter().map(label).collect(), ..Self::default() };
        for sample in samples {
            let timestamp = sample.timestamp.as_millis();
            match &sample.value {
                Value::Float(value) => out.samples.push(FloatSample { value: Some(*value), timestamp }),
                Value::Histogram(histogram) => out.histograms.push(encode(&histogram.to_float(), timestamp)),
            }
        }
        out
    }
}

fn encode(histogram: &FloatHistogram, timestamp: i64) -> Histogram {
    let spans = |spans: &[ferula_model::Span]| {
        spans.iter().map(|span| Span { offset: span.offset, length: span.length }).collect()
    };
    Histogram {
        count: Some(histogram.count),
        sum: histogram.sum,
        schema: histogram.schema,
        zero_threshold: histogram.zero_threshold,
        zero_count: Some(histogram.zero_count),
        negative_spans: spans(&histogram.negative_spans),
        negative_counts: histogram.negative_buckets.clone(),
        positive_spans: spans(&histogram.positive_spans),
        positive_counts: histogram.positive_buckets.clone(),
        reset_hint: if histogram.counter_reset == CounterResetHint::Gauge { 3 } else { 0 },
        timestamp,
        custom_values: histogram.custom_values.to_vec(),
    }
}
