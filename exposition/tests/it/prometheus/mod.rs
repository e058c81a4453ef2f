//! Beside a real Prometheus: it accepts what our lenient reading accepts and nothing else, and it reads everything that our
//! encoder writes.
//!
//! One Prometheus scrapes a small server of ours. Each body is a target; whether it is up says whether it was accepted.

mod bodies;
mod peer;

use std::sync::Arc;

use ferula_exposition::negotiate::{Coding, Negotiated, ScrapeProtocol, accept_header};
use ferula_exposition::{
    Bucket, Escaping, Event, Format, HistogramValue, LabelBuffer, MetricFamily, MetricValue, ParseOptions, Parser,
    SummaryValue, encode_with,
};
use ferula_model::{Clock, Exemplar, Histogram, IntegerHistogram, Labels, MetricType, Span, SystemClock};
use serde_json::Value;

use crate::told;
use bodies::bodies;
use peer::{Prometheus, serve};

#[test]
fn what_we_accept_is_what_prometheus_accepts() {
    let bodies = Arc::new(bodies());
    let served = Arc::clone(&bodies);
    let address = serve(Arc::new(move |path, _| {
        let index: usize = path.trim_start_matches('/').parse().unwrap_or(usize::MAX);
        match served.get(index) {
            Some((Format::Text, body)) => ("text/plain; version=0.0.4".to_owned(), body.clone()),
            Some((_, body)) => ("application/openmetrics-text; version=1.0.0".to_owned(), body.clone()),
            None => ("text/html".to_owned(), Vec::new()),
        }
    }));
    let groups = (0..bodies.len()).map(|index| {
        format!("  - targets: ['{address}']\n    labels: {{__metrics_path__: /{index}, body: '{index}'}}\n")
    });
    let configuration = format!(
        "global: {{scrape_interval: 5s, scrape_timeout: 5s}}\nscrape_configs:\n- job_name: bodies\n  static_configs:\n{}",
        groups.collect::<String>()
    );
    let Some(prometheus) = Prometheus::start(&configuration) else { return };
    let targets = prometheus.wait_for("/api/v1/targets?state=active", |answer| {
        let targets = answer["data"]["activeTargets"].as_array()?.clone();
        let done = targets.iter().filter(|target| target["health"] != "unknown").count();
        (done == bodies.len()).then_some(targets)
    });
    let mut wrong = Vec::new();
    for target in &targets {
        let index: usize = target["labels"]["body"].as_str().and_then(|text| text.parse().ok()).unwrap();
        let (format, body) = &bodies[index];
        let theirs = target["lastError"].as_str().unwrap_or_default();
        let ours = told(body, *format, &ParseOptions::default()).err().map(|error| error.to_string());
        // Prometheus appends as well; what it refuses then was accepted by its parser.
        let parsed = theirs.is_empty() || ["out of bounds", "out of order"].iter().any(|why| theirs.contains(why));
        if parsed != ours.is_none() {
            wrong.push(format!("{format:?} {:?}\n  ours {ours:?}\n  theirs {theirs:?}", String::from_utf8_lossy(body)));
        }
    }
    assert!(wrong.is_empty(), "{} of {} bodies:\n{}", wrong.len(), bodies.len(), wrong.join("\n"));
}

/// One family of each type, with everything that its type can say.
pub(crate) fn families() -> Vec<MetricFamily> {
    let labels = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied());
    let exemplar = |id: &str, value| Exemplar { labels: labels(&[("trace_id", id)]), value, timestamp: None };
    let family = |name: &str, metric_type, metrics: Vec<(Labels, MetricValue)>| {
        let mut family = MetricFamily::new(name, "A \"help\" with \\ and\nnewline.", metric_type);
        metrics.into_iter().for_each(|(labels, value)| family.push(labels, value));
        family
    };
    let bucket = |upper_bound, cumulative_count, exemplar| Bucket { upper_bound, cumulative_count, exemplar };
    let classic = HistogramValue {
        count: Some(3.0),
        sum: Some(2.5),
        buckets: vec![
            bucket(0.1, 1.0, Some(exemplar("b", 0.05))),
            bucket(1.0, 2.0, None),
            bucket(f64::INFINITY, 3.0, None),
        ],
        ..HistogramValue::default()
    };
    let native = IntegerHistogram {
        schema: 3,
        count: 6,
        sum: 4.5,
        zero_threshold: 0.001,
        zero_count: 1,
        positive_spans: vec![Span { offset: -2, length: 2 }, Span { offset: 3, length: 1 }],
        positive_buckets: vec![2, -1, 1],
        ..IntegerHistogram::default()
    };
    let native = HistogramValue {
        count: Some(6.0),
        sum: Some(4.5),
        native: Some(native.into()),
        exemplars: vec![Exemplar { timestamp: Some(SystemClock.now()), ..exemplar("n", 1.5) }],
        ..HistogramValue::default()
    };
    let summary = SummaryValue { count: Some(4.0), sum: Some(8.0), quantiles: vec![(0.5, 2.0), (0.99, f64::NAN)] };
    let state = |name: &str, holds| (std::sync::Arc::from(name), holds);
    vec![
        family(
            "requests_total",
            MetricType::Counter,
            vec![(
                labels(&[("path", "/\"x\"\\\n")]),
                MetricValue::Counter { value: 5.0, exemplar: Some(exemplar("c", 1.0)) },
            )],
        ),
        family("temperature_celsius", MetricType::Gauge, vec![(Labels::empty(), MetricValue::Gauge(-1.5e-7))]),
        family("dotted.name", MetricType::Gauge, vec![(labels(&[("label.with.dots", "ü")]), MetricValue::Gauge(1e21))]),
        family(
            "latency_seconds",
            MetricType::Histogram,
            vec![(Labels::empty(), MetricValue::Histogram(Box::new(classic)))],
        ),
        family(
            "native_seconds",
            MetricType::Histogram,
            vec![(Labels::empty(), MetricValue::Histogram(Box::new(native)))],
        ),
        family("size_bytes", MetricType::Summary, vec![(Labels::empty(), MetricValue::Summary(summary))]),
        family("build_info", MetricType::Info, vec![(labels(&[("version", "1")]), MetricValue::Info)]),
        family(
            "mode",
            MetricType::StateSet,
            vec![(Labels::empty(), MetricValue::StateSet(vec![state("on", true), state("off", false)]))],
        ),
        family("anything", MetricType::Unknown, vec![(Labels::empty(), MetricValue::Unknown(f64::INFINITY))]),
    ]
}

/// What a scraper that reads this body stores, in words: labels, and the value or `native`.
fn expected(body: &[u8], format: Format) -> Vec<String> {
    let options = ParseOptions { native_histograms: true, ..ParseOptions::default() };
    let mut parser = Parser::new(body, format, &options);
    let (mut stored, mut labels) = (Vec::new(), LabelBuffer::default());
    while let Some(event) = parser.next() {
        match event.unwrap() {
            Event::Sample(sample) => {
                sample.labels(&mut labels);
                stored.push(format!("{} {:?}", labels.to_labels(), sample.value));
            }
            Event::Histogram(histogram) => {
                histogram.labels(&mut labels);
                let Histogram::Integer(native) = &histogram.histogram else { panic!("integer") };
                stored.push(format!("{} native {:?} {:?}", labels.to_labels(), native.count as f64, native.sum));
            }
            _ => {}
        }
    }
    stored.sort();
    stored
}

/// The same of an answer of Prometheus.
fn stored(answer: &Value) -> Option<Vec<String>> {
    let number = |text: &Value| text.as_str()?.parse::<f64>().ok();
    let mut stored = Vec::new();
    for series in answer["data"]["result"].as_array()? {
        let metric =
            series["metric"].as_object()?.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap_or("")));
        let labels = Labels::from_pairs(metric.filter(|(name, _)| !matches!(*name, "job" | "instance")));
        let native = &series["histogram"][1];
        stored.push(if native.is_null() {
            format!("{labels} {:?}", number(&series["value"][1])?)
        } else {
            format!("{labels} native {:?} {:?}", number(&native["count"])?, number(&native["sum"])?)
        });
    }
    stored.sort();
    (!stored.is_empty()).then_some(stored)
}

#[test]
fn prometheus_reads_what_we_write_in_every_format() {
    let address = serve(Arc::new(|_, accept| {
        let negotiated = Negotiated::from_accept(Some(accept));
        let mut body = Vec::new();
        encode_with(&families(), negotiated.format(), &negotiated.options(), &mut body);
        (negotiated.content_type(), body)
    }));
    let jobs = ScrapeProtocol::PROTO_FIRST.map(|protocol| {
        let name = protocol.as_str();
        format!("- job_name: {name}\n  scrape_protocols: [{name}]\n  static_configs: [{{targets: ['{address}']}}]\n")
    });
    let configuration =
        format!("global: {{scrape_interval: 2s, scrape_timeout: 2s}}\nscrape_configs:\n{}", jobs.concat());
    let Some(prometheus) = Prometheus::start(&configuration) else { return };
    let encoded = |text: &str| {
        text.bytes()
            .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
            .collect::<String>()
    };
    for protocol in ScrapeProtocol::PROTO_FIRST {
        let negotiated = Negotiated::from_accept(Some(&accept_header(&[protocol], Escaping::AllowUtf8)));
        assert_eq!(negotiated.format(), protocol.format());
        let mut body = Vec::new();
        encode_with(&families(), negotiated.format(), &negotiated.options(), &mut body);
        let name = protocol.as_str();
        let selector = format!("{{job=\"{name}\",__name__!~\"up|scrape_.*\"}}");
        let theirs = prometheus.wait_for(&format!("/api/v1/query?query={}", encoded(&selector)), stored);
        assert_eq!(expected(&body, protocol.format()), theirs, "{name}");

        if protocol.format() == Format::Text {
            continue;
        }
        let selector = format!("{{job=\"{name}\"}}");
        let path = format!("/api/v1/query_exemplars?query={}&start=0&end=99999999999", encoded(&selector));
        let ids = prometheus.wait_for(&path, |answer| {
            let series = answer["data"].as_array()?.iter().flat_map(|series| series["exemplars"].as_array());
            let ids =
                series.flatten().filter_map(|exemplar| exemplar["labels"]["trace_id"].as_str().map(str::to_owned));
            let ids: std::collections::BTreeSet<String> = ids.collect();
            (!ids.is_empty()).then_some(ids)
        });
        let native = if protocol.format() == Format::Protobuf { "b c n" } else { "b c" };
        assert_eq!(ids.into_iter().collect::<Vec<_>>().join(" "), native, "{name}");
    }
}

#[test]
fn what_prometheus_packs_is_unpacked() {
    let Some(prometheus) = Prometheus::start("") else { return };
    prometheus.wait_for("/api/v1/status/buildinfo", |answer| answer["data"].as_object().map(|_| ()));
    let codings = Coding::ACCEPTED.split(", ").chain(["identity"]);
    for word in codings {
        let (head, packed) = prometheus.get("/metrics", word).unwrap();
        let named = head.lines().find_map(|line| line.strip_prefix("Content-Encoding: "));
        let coding = Coding::from_response(named).unwrap();
        // zstd is built into the servers of some releases only; the others answer as they are.
        if coding != Coding::Identity || word != "zstd" {
            assert_eq!(coding.content_encoding().unwrap_or("identity"), word, "{head}");
        }
        let body = coding.unpack(&packed, 1 << 20).unwrap();
        let samples = told(&body, Format::Text, &ParseOptions::default()).unwrap();
        assert!(samples.len() > 100, "{word}: {samples:#?}");
    }
}

#[test]
#[cfg(feature = "zstd")]
fn what_we_pack_the_zstd_program_unpacks() {
    use std::io::Write;
    use std::process::{Command, Stdio};

    let mut body = Vec::new();
    encode_with(&families(), Format::Text, &Default::default(), &mut body);
    let command = Command::new("zstd").args(["-dc"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = command else {
        println!("there is no program zstd: not compared with it");
        return;
    };
    child.stdin.take().unwrap().write_all(&Coding::Zstd.pack(body.clone())).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stdout == body);
}
