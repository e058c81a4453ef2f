//! `/federate` of both servers, in all formats.

use ferula::exposition::{Format, MetricFamily, ParseOptions, read_families};

use crate::program::Program;
use crate::write_request::WriteRequest;

const PROTOBUF: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

#[test]
fn federation_agrees_with_a_real_prometheus() {
    let (ours_folder, theirs_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [&ours_folder, &theirs_folder] {
        let config = "global: {external_labels: {region: eu, zone: a}}\n";
        std::fs::write(folder.path().join("prometheus.yml"), config).unwrap();
    }
    let flags = ["--web.enable-remote-write-receiver"];
    let Some(theirs) = Program::start_prometheus(theirs_folder.path(), &flags) else { return };
    let ours = Program::start(ours_folder.path(), &flags);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    let mut request = WriteRequest::default();
    for (labels, value) in [
        (vec![("__name__", "a"), ("instance", "x")], 1.0),
        (vec![("__name__", "a"), ("zone", "own")], -0.0),
        (vec![("__name__", "a"), ("job", "quote\"back\\slash\nline")], f64::NAN),
        (vec![("__name__", "b.dotted"), ("dotted.label", "ä")], f64::NEG_INFINITY),
        (vec![("__name__", "gone")], f64::from_bits(0x7ff0_0000_0000_0002)),
    ] {
        request.series(&labels, &[(now - 20_000, 7.0), (now - 10_000, value)]);
    }
    let request = request.snappy();
    for server in [&ours, &theirs] {
        let (status, body) = server.request("POST", "/api/v1/write", &request).unwrap();
        assert_eq!(status, 204, "{}", String::from_utf8_lossy(&body));
    }
    for (accept, format) in [
        ("", Format::Text),
        ("text/plain;version=0.0.4;escaping=dots", Format::Text),
        ("text/plain;version=0.0.4;escaping=allow-utf-8", Format::Text),
        ("application/openmetrics-text;version=1.0.0,*/*;q=0.1", Format::Text),
        (PROTOBUF, Format::Protobuf),
    ] {
        let ask = |server: &Program| {
            let path = "/federate?match[]=%7B__name__!=%22%22%7D";
            let answer = server.exchange("GET", path, &[("Accept", accept)], b"").unwrap();
            let families = read_families(&answer.body, format, &ParseOptions::default()).unwrap();
            (answer.header("content-type").unwrap().to_owned(), lines(&families), answer.body)
        };
        let (ours, theirs) = (ask(&ours), ask(&theirs));
        assert_eq!((&ours.0, &ours.1), (&theirs.0, &theirs.1), "{accept}");
        assert!(ours.1.len() == 4, "the stale series is left out: {:?}", ours.1);
        if format == Format::Text {
            let blank = |body: &[u8]| String::from_utf8_lossy(body).matches("instance=\"\"").count();
            assert_eq!(blank(&ours.2), 3, "who has no instance says so");
            assert_eq!(blank(&theirs.2), 3);
            let zero = |body: &[u8]| String::from_utf8_lossy(body).contains(&format!(" 0 {}\n", now - 10_000));
            assert!(zero(&ours.2) && zero(&theirs.2), "zero has no sign in text");
        }
    }
}

/// Every metric as a line, sorted.
fn lines(families: &[MetricFamily]) -> Vec<String> {
    let mut lines: Vec<String> = families
        .iter()
        .flat_map(|family| {
            family.metrics.iter().map(move |metric| {
                let (name, kind, labels) = (&family.name, family.metric_type, &metric.labels);
                format!("{name} {kind:?} {labels} {:?} {:?}", metric.value, metric.timestamp)
            })
        })
        .collect();
    lines.sort();
    lines
}
