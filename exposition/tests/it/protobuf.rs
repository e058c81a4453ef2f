//! Delimited protobuf, with `prost` as the second opinion.

use ferula_exposition::{
    Event, Format, LabelBuffer, MetricFamily, MetricValue, ParseOptions, Parser, encode, read_families,
};
use ferula_model::{Exemplar, Histogram, IntegerHistogram, Labels, MetricType, Span, Timestamp};
use prost::Message;

use crate::told;

/// `io.prometheus.client`, as `prost` wants to have it.
mod oracle {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct MetricFamily {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(string, tag = "2")]
        pub(super) help: String,
        #[prost(int32, tag = "3")]
        pub(super) kind: i32,
        #[prost(message, repeated, tag = "4")]
        pub(super) metric: Vec<Metric>,
        #[prost(string, tag = "5")]
        pub(super) unit: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Metric {
        #[prost(message, repeated, tag = "1")]
        pub(super) label: Vec<LabelPair>,
        #[prost(message, optional, tag = "3")]
        pub(super) counter: Option<Counter>,
        #[prost(int64, tag = "6")]
        pub(super) timestamp_ms: i64,
        #[prost(message, optional, tag = "7")]
        pub(super) histogram: Option<Histogram>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct LabelPair {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(string, tag = "2")]
        pub(super) value: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Counter {
        #[prost(double, tag = "1")]
        pub(super) value: f64,
        #[prost(message, optional, tag = "2")]
        pub(super) exemplar: Option<Exemplar>,
        #[prost(message, optional, tag = "3")]
        pub(super) start: Option<Timestamp>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Exemplar {
        #[prost(message, repeated, tag = "1")]
        pub(super) label: Vec<LabelPair>,
        #[prost(double, tag = "2")]
        pub(super) value: f64,
        #[prost(message, optional, tag = "3")]
        pub(super) timestamp: Option<Timestamp>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Timestamp {
        #[prost(int64, tag = "1")]
        pub(super) seconds: i64,
        #[prost(int32, tag = "2")]
        pub(super) nanos: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Histogram {
        #[prost(uint64, tag = "1")]
        pub(super) count: u64,
        #[prost(double, tag = "2")]
        pub(super) sum: f64,
        #[prost(message, repeated, tag = "3")]
        pub(super) bucket: Vec<Bucket>,
        #[prost(sint32, tag = "5")]
        pub(super) schema: i32,
        #[prost(double, tag = "6")]
        pub(super) zero_threshold: f64,
        #[prost(uint64, tag = "7")]
        pub(super) zero_count: u64,
        #[prost(message, repeated, tag = "12")]
        pub(super) positive_span: Vec<Span>,
        #[prost(sint64, repeated, tag = "13")]
        pub(super) positive_delta: Vec<i64>,
        #[prost(message, repeated, tag = "16")]
        pub(super) exemplars: Vec<Exemplar>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Bucket {
        #[prost(uint64, tag = "1")]
        pub(super) cumulative_count: u64,
        #[prost(double, tag = "2")]
        pub(super) upper_bound: f64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Span {
        #[prost(sint32, tag = "1")]
        pub(super) offset: i32,
        #[prost(uint32, tag = "2")]
        pub(super) length: u32,
    }
}

fn pair(name: &str, value: &str) -> oracle::LabelPair {
    oracle::LabelPair { name: name.into(), value: value.into() }
}

fn counters() -> oracle::MetricFamily {
    let exemplar = oracle::Exemplar {
        label: vec![pair("trace_id", "abc")],
        value: 0.5,
        timestamp: Some(oracle::Timestamp { seconds: 100, nanos: 250_000_000 }),
    };
    let counter = oracle::Counter {
        value: 7.5,
        exemplar: Some(exemplar),
        start: Some(oracle::Timestamp { seconds: 90, nanos: 1_000_000 }),
    };
    let metric = oracle::Metric {
        label: vec![pair("zone", "b"), pair("code", "200")],
        counter: Some(counter),
        timestamp_ms: 123_456,
        histogram: None,
    };
    oracle::MetricFamily {
        name: "http.requests".into(),
        help: "Help.".into(),
        kind: 0,
        metric: vec![metric],
        unit: "s".into(),
    }
}

fn histograms() -> oracle::MetricFamily {
    let histogram = oracle::Histogram {
        count: 10,
        sum: 12.5,
        bucket: vec![oracle::Bucket { cumulative_count: 4, upper_bound: 1.0 }],
        schema: 3,
        zero_threshold: 0.001,
        zero_count: 2,
        positive_span: vec![oracle::Span { offset: -2, length: 2 }, oracle::Span { offset: 3, length: 1 }],
        positive_delta: vec![3, 1, -3],
        exemplars: vec![
            oracle::Exemplar { label: vec![], value: 1.5, timestamp: Some(oracle::Timestamp { seconds: 5, nanos: 0 }) },
            oracle::Exemplar { label: vec![], value: 2.5, timestamp: None },
        ],
    };
    let metric = oracle::Metric { histogram: Some(histogram), ..oracle::Metric::default() };
    oracle::MetricFamily { name: "latency".into(), kind: 4, metric: vec![metric], ..oracle::MetricFamily::default() }
}

fn delimited(families: &[oracle::MetricFamily]) -> Vec<u8> {
    families.iter().flat_map(|family| family.encode_length_delimited_to_vec()).collect()
}

#[test]
fn what_prost_writes_is_read() {
    let body =
        delimited(&[counters(), oracle::MetricFamily { name: "empty".into(), ..Default::default() }, histograms()]);
    let options = ParseOptions { start_timestamps: true, ..ParseOptions::default() };
    let expected = [
        "help http.requests \"Help.\"",
        "unit http.requests \"s\"",
        "type http.requests counter",
        "__name__=\"http.requests\",code=\"200\",zone=\"b\" 7.5 at 123456 since 90001 exemplar {trace_id=\"abc\"} 0.5 at 100250",
        "help latency \"\"",
        "type latency histogram",
        "__name__=\"latency_count\" 10.0",
        "__name__=\"latency_sum\" 12.5",
        "__name__=\"latency_bucket\",le=\"1.0\" 4.0",
        "__name__=\"latency_bucket\",le=\"+Inf\" 10.0",
    ];
    assert_eq!(told(&body, Format::Protobuf, &options).unwrap(), expected);
}

#[test]
fn native_histograms_come_alone_or_with_the_classic_series() {
    let body = delimited(&[histograms()]);
    for keep_classic_histograms in [false, true] {
        let options = ParseOptions { native_histograms: true, keep_classic_histograms, ..ParseOptions::default() };
        let mut parser = Parser::new(&body, Format::Protobuf, &options);
        let (mut natives, mut classics) = (0, 0);
        let mut labels = LabelBuffer::default();
        while let Some(event) = parser.next() {
            match event.unwrap() {
                Event::Histogram(event) => {
                    natives += 1;
                    event.labels(&mut labels);
                    assert_eq!(labels.to_labels().to_string(), "{__name__=\"latency\"}");
                    assert_eq!(event.exemplars.len(), 1, "one without a time is dropped");
                    let Histogram::Integer(histogram) = event.histogram else { panic!("integer") };
                    assert_eq!((histogram.count, histogram.schema, histogram.zero_count), (10, 3, 2));
                    assert_eq!(histogram.positive_buckets, [3, 1, -3]);
                    assert_eq!(histogram.positive_spans[0], Span { offset: -2, length: 2 });
                }
                Event::Sample(_) => classics += 1,
                _ => {}
            }
        }
        assert_eq!((natives, classics), (1, if keep_classic_histograms { 4 } else { 0 }));
    }
}

#[test]
fn what_we_write_is_what_prost_reads() {
    let options = ParseOptions {
        start_timestamps: true,
        native_histograms: true,
        keep_classic_histograms: true,
        ..ParseOptions::default()
    };
    let mut families = vec![counters(), histograms()];
    let read = read_families(&delimited(&families), Format::Protobuf, &options).unwrap();
    let mut written = Vec::new();
    encode(&read, Format::Protobuf, &mut written);
    let mut rest = &written[..];
    // Labels come back sorted, the missing +Inf bucket is there, and the exemplar without a time is not.
    families[0].metric[0].label.reverse();
    let histogram = families[1].metric[0].histogram.as_mut().unwrap();
    histogram.bucket.push(oracle::Bucket { cumulative_count: 10, upper_bound: f64::INFINITY });
    histogram.exemplars.pop();
    for family in families {
        assert_eq!(oracle::MetricFamily::decode_length_delimited(&mut rest).unwrap(), family);
    }
    assert!(rest.is_empty());
}

#[test]
fn an_empty_native_histogram_stays_native() {
    let mut family = MetricFamily::new("h", "", MetricType::Histogram);
    let native = Histogram::from(IntegerHistogram { schema: 2, ..IntegerHistogram::default() });
    let exemplar = Exemplar { labels: Labels::empty(), value: 1.0, timestamp: Some(Timestamp(-1)) };
    let value = ferula_exposition::HistogramValue {
        native: Some(native),
        exemplars: vec![exemplar],
        ..ferula_exposition::HistogramValue::default()
    };
    family.push(Labels::empty(), MetricValue::Histogram(Box::new(value)));
    let mut body = Vec::new();
    encode(&[family], Format::Protobuf, &mut body);
    let options = ParseOptions { native_histograms: true, ..ParseOptions::default() };
    let families = read_families(&body, Format::Protobuf, &options).unwrap();
    let MetricValue::Histogram(value) = &families[0].metrics[0].value else { panic!("histogram") };
    assert!(matches!(&value.native, Some(Histogram::Integer(native)) if native.schema == 2));
    assert_eq!(value.exemplars[0].timestamp, Some(Timestamp(-1)));
}

#[test]
fn broken_bodies_are_refused() {
    let body = delimited(&[counters(), histograms()]);
    let whole = counters().encode_length_delimited_to_vec().len();
    for cut in 1..body.len() {
        let outcome = told(&body[..cut], Format::Protobuf, &ParseOptions::default());
        assert_eq!(outcome.is_ok(), cut == whole, "cut at {cut}");
    }
    let mut family = histograms();
    family.metric[0].histogram.as_mut().unwrap().positive_delta.pop();
    let options = ParseOptions { native_histograms: true, ..ParseOptions::default() };
    let error = told(&delimited(&[family]), Format::Protobuf, &options).unwrap_err();
    assert!(error.to_string().ends_with("invalid histogram: the spans do not cover the buckets"), "{error}");
    let unknown = oracle::MetricFamily { kind: 9, ..counters() };
    let error = told(&delimited(&[unknown]), Format::Protobuf, &ParseOptions::default()).unwrap_err();
    assert!(error.to_string().ends_with("invalid metric type \"9\""), "{error}");
}

#[test]
fn classic_histograms_are_converted_in_every_format() {
    let text = "# TYPE h histogram\nh_bucket{a=\"1\",le=\"1\"} 2\nh_bucket{a=\"1\",le=\"+Inf\"} 3\nh_sum{a=\"1\"} 4\n\
         h_count{a=\"1\"} 3\nh_bucket{a=\"2\",le=\"+Inf\"} 1\nh_count{a=\"2\"} 7\nh_count{a=\"3\"} 1\nother_count 1\n";
    let openmetrics = format!("{text}# EOF\n").replace("+Inf\"} 3", "+Inf\"} 3 # {t=\"x\"} 0.5");
    let mut protobuf = Vec::new();
    encode(
        &read_families(text.as_bytes(), Format::Text, &ParseOptions::default()).unwrap(),
        Format::Protobuf,
        &mut protobuf,
    );
    for keep_classic_histograms in [false, true] {
        let options =
            ParseOptions { convert_classic_histograms: true, keep_classic_histograms, ..ParseOptions::default() };
        for (body, format) in [
            (text.as_bytes(), Format::Text),
            (openmetrics.as_bytes(), Format::OpenMetrics),
            (&protobuf, Format::Protobuf),
        ] {
            let mut parser = Parser::new(body, format, &options);
            let (mut natives, mut classics, mut exemplars) = (Vec::new(), 0, 0);
            let mut labels = LabelBuffer::default();
            while let Some(event) = parser.next() {
                match event.unwrap() {
                    Event::Histogram(event) => {
                        event.labels(&mut labels);
                        exemplars += event.exemplars.len();
                        let Histogram::Integer(histogram) = &event.histogram else { panic!("integer") };
                        let bounds = histogram.custom_values.to_vec();
                        natives.push((labels.to_labels().to_string(), histogram.count, histogram.sum, bounds));
                    }
                    Event::Sample(_) => classics += 1,
                    _ => {}
                }
            }
            let expected = [
                ("{__name__=\"h\", a=\"1\"}".to_owned(), 3, 4.0, vec![1.0]),
                ("{__name__=\"h\", a=\"3\"}".to_owned(), 1, 0.0, vec![]),
            ];
            assert_eq!(natives, expected, "{format:?}, classic kept: {keep_classic_histograms}");
            assert_eq!(parser.dropped_histograms(), 1, "{format:?}: the count of the second is not its +Inf bucket");
            assert_eq!(exemplars, usize::from(format == Format::OpenMetrics));
            // Protobuf has sums and +Inf buckets of its own making.
            let kept = if format == Format::Protobuf { 11 } else { 8 };
            assert_eq!(classics, if keep_classic_histograms { kept } else { 1 }, "{format:?}");
        }
    }
}
