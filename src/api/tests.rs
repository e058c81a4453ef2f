//! Requests as values, answers as bytes, over a storage in memory.

use std::sync::Arc;

use ferula_exposition::{Format, MetricValue, ParseOptions};
use ferula_model::{CounterResetHint, FloatHistogram, Labels, ManualClock, MetricType, Sample, Span, Timestamp};
use ferula_promql::testing::MemoryStorage;
use ferula_promql::{CancelToken, Engine, EngineOptions};
use http::Method;

use super::{Api, Params, Request};

/// `up{job="a"}` is 1 and `up{job="b"}` is 0, each 15 s from 0 to 60 s; it is 60 s.
fn api() -> Api {
    let storage = MemoryStorage::new();
    for (job, value) in [("a", 1.0), ("b", 0.0)] {
        let labels = Labels::from_pairs([("__name__", "up"), ("job", job)]);
        for second in (0..=60).step_by(15) {
            storage.insert(&labels, Sample::float(Timestamp(second * 1000), value));
        }
    }
    let clock = Arc::new(ManualClock::at(Timestamp(60_000)));
    Api::new(Arc::new(storage), Arc::new(Engine::new(EngineOptions::default())), clock)
}

fn get(path: &str) -> (u16, String) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let params = Params::new(query, b"");
    let request =
        Request { method: Method::GET, path: path.to_owned(), params, accept: None, cancel: CancelToken::new() };
    let response = api().answer(&request);
    (response.status.as_u16(), String::from_utf8(response.body.collect().to_vec()).unwrap())
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    let ask = |method: &str, path: &str| {
        let (method, params) = (method.parse().unwrap(), Params::new("query=1", b""));
        let request = Request { method, path: path.to_owned(), params, accept: None, cancel: CancelToken::new() };
        let response = api().answer(&request);
        let allow = response.headers.into_iter().find(|(name, _)| *name == "allow");
        (response.status.as_u16(), allow.map(|(_, methods)| methods.into_owned()))
    };
    for (method, path, allow) in [
        ("HEAD", "/query", "GET, OPTIONS, POST"),
        ("DELETE", "/query_range", "GET, OPTIONS, POST"),
        ("PUT", "/labels", "GET, OPTIONS, POST"),
        ("POST", "/label/job/values", "GET, OPTIONS"),
        ("POST", "/status/tsdb/blocks", "GET, OPTIONS"),
        ("GET", "/admin/tsdb/snapshot", "OPTIONS, POST, PUT"),
    ] {
        assert_eq!(ask(method, path), (405, Some(allow.to_owned())), "{method} {path}");
    }
    assert_eq!(ask("POST", "/query").0, 200);
    assert_eq!(ask("OPTIONS", "/query").0, 204);
    for (method, path) in [("PUT", "/nothing"), ("POST", "/status/nothing"), ("POST", "/admin/tsdb/nothing")] {
        assert_eq!(ask(method, path).0, 404, "{method} {path}");
    }
}

#[test]
fn a_brief_answer_is_the_answer() {
    let ask = |target: &str| {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let params = Params::new(query, b"");
        let request =
            Request { method: Method::GET, path: path.to_owned(), params, accept: None, cancel: CancelToken::new() };
        let (api, text) = (api(), |response: super::Response| (response.status, response.body.collect()));
        let brief = api.answer_if_brief(&request).map(text);
        assert!(brief.is_none() || brief == Some(text(api.answer(&request))), "{target}");
        brief.is_some()
    };
    for target in [
        "/query?query=up&time=60",
        "/query_range?query=up&start=0&end=60&step=15",
        "/query?query=time()",
        "/labels",
        "/label/job/values?match[]=up",
        "/series?match[]=up",
    ] {
        assert!(ask(target), "{target}");
    }
    for target in [
        "/query_range?query=up&start=0&end=1000000&step=100",
        "/query?query=up%7B",
        "/query?query=up&time=x",
        "/query?query=up&timeout=0",
        "/nothing",
        "/status/buildinfo",
    ] {
        assert!(!ask(target), "{target}");
    }
}

#[test]
fn a_timeout_that_is_over_at_once_is_a_timeout() {
    let over = r#"{"status":"error","errorType":"timeout","error":"query timed out in query queue"}"#;
    for timeout in ["0", "0s", "-1", "1e-7"] {
        for path in ["/query?query=1", "/query_range?query=up&start=0&end=1&step=1"] {
            assert_eq!(get(&format!("{path}&timeout={timeout}")), (503, over.to_owned()), "{path} {timeout}");
        }
    }
    assert_eq!(get("/query?query=1&timeout=1h&lookback_delta=-1").0, 200);
    let (status, body) = get("/query?query=1&timeout=-1s");
    assert_eq!(status, 400);
    assert!(body.contains(r#"invalid parameter \"timeout\": cannot parse \"-1s\" to a valid duration"#), "{body}");
}

#[test]
fn answers_have_upstreams_bytes() {
    for (path, status, body) in [
        (
            "/query?query=up%7Bjob=%22a%22%7D",
            200,
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"a"},"value":[60,"1"]}]}}"#,
        ),
        (
            "/query?query=1%2B1&time=1.5",
            200,
            r#"{"status":"success","data":{"resultType":"scalar","result":[1.500,"2"]}}"#,
        ),
        ("/query?query=%22a%22", 200, r#"{"status":"success","data":{"resultType":"string","result":[60,"a"]}}"#),
        ("/query?query=nothing", 200, r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#),
        (
            "/query_range?query=up%7Bjob=%22b%22%7D&start=0&end=30&step=15",
            200,
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up","job":"b"},"values":[[0,"0"],[15,"0"],[30,"0"]]}]}}"#,
        ),
        (
            "/query_range?query=up&start=0&end=30&step=15&limit=1",
            200,
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up","job":"a"},"values":[[0,"1"],[15,"1"],[30,"1"]]}]},"warnings":["results truncated due to limit"]}"#,
        ),
        (
            "/series?match[]=up",
            200,
            r#"{"status":"success","data":[{"__name__":"up","job":"a"},{"__name__":"up","job":"b"}]}"#,
        ),
        ("/labels", 200, r#"{"status":"success","data":["__name__","job"]}"#),
        (
            "/label/job/values?limit=1",
            200,
            r#"{"status":"success","data":["a"],"warnings":["results truncated due to limit"]}"#,
        ),
        ("/format_query?query=sum(up)by(job)", 200, r#"{"status":"success","data":"sum by (job) (up)"}"#),
    ] {
        assert_eq!(get(path), (status, body.to_owned()), "{path}");
    }
}

#[test]
fn wrong_requests_say_what_is_wrong() {
    for (path, status, kind, message) in [
        (
            "/query?query=up(",
            400,
            "bad_data",
            r#"invalid parameter \"query\": 1:4: parse error: unclosed left parenthesis"#,
        ),
        (
            "/query?query=up&time=x",
            400,
            "bad_data",
            r#"invalid parameter \"time\": invalid time value for 'time': cannot parse \"x\" to a valid timestamp"#,
        ),
        ("/query?query=up&limit=-1", 400, "bad_data", r#"invalid parameter \"limit\": limit must be non-negative"#),
        (
            "/query_range?query=up&start=1&end=0&step=1",
            400,
            "bad_data",
            r#"invalid parameter \"end\": end timestamp must not be before start time"#,
        ),
        (
            "/query_range?query=up&start=0&end=1&step=0",
            400,
            "bad_data",
            r#"invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer"#,
        ),
        (
            "/query_range?query=up&start=0&end=11001&step=1",
            400,
            "bad_data",
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ),
        (
            "/query_range?query=up&end=1&step=1",
            400,
            "bad_data",
            r#"invalid parameter \"start\": cannot parse \"\" to a valid timestamp"#,
        ),
        (
            "/query?query=up%20%2B%20on()%20up",
            422,
            "execution",
            r#"found duplicate series for the match group {} on the right hand-side of the operation: [{__name__=\"up\", job=\"a\"}, {__name__=\"up\", job=\"b\"}];many-to-many matching not allowed: matching labels must be unique on one side"#,
        ),
        ("/series", 400, "bad_data", "no match[] parameter provided"),
        (
            "/series?match[]=%7Ba=%22%22%7D",
            400,
            "bad_data",
            r#"invalid parameter \"match[]\": match[] must contain at least one non-empty matcher"#,
        ),
    ] {
        let body = format!(r#"{{"status":"error","errorType":"{kind}","error":"{message}"}}"#);
        assert_eq!(get(path), (status, body), "{path}");
    }
    assert_eq!(get("/nothing"), (404, "404 page not found\n".to_owned()));
}

/// `/federate` over floats, a native histogram and one with custom buckets, all of them gauges of now.
fn federate(accept: &str) -> (String, Vec<u8>) {
    let storage = MemoryStorage::new();
    let now = Timestamp(60_000);
    let insert = |labels: &[(&str, &str)], sample| storage.insert(&Labels::from_pairs(labels.iter().copied()), sample);
    insert(&[("__name__", "zero"), ("instance", "i")], Sample::float(now, -0.0));
    insert(&[("__name__", "gone"), ("instance", "i")], Sample::float(now, ferula_model::STALE_MARKER));
    let native = FloatHistogram {
        schema: 0,
        count: 3.0,
        sum: 4.0,
        positive_spans: vec![Span { offset: 0, length: 2 }],
        positive_buckets: vec![1.0, 2.0],
        ..FloatHistogram::default()
    };
    insert(&[("__name__", "native")], Sample::histogram(now, native.clone()));
    insert(&[("__name__", "native"), ("a", "b")], Sample::float(now, 1.0));
    let gauge = FloatHistogram { counter_reset: CounterResetHint::Gauge, ..native.clone() };
    insert(&[("__name__", "native"), ("c", "d")], Sample::histogram(now, gauge));
    let custom = FloatHistogram { schema: -53, custom_values: vec![0.5, 1.0, 2.0].into(), ..native };
    insert(&[("__name__", "custom"), ("region", "us")], Sample::histogram(now, custom));
    let clock = Arc::new(ManualClock::at(now));
    let api = Api::new(Arc::new(storage), Arc::new(Engine::new(EngineOptions::default())), clock)
        .with_external_labels(|| Labels::from_pairs([("region", "eu")]));
    let response = api.federate(&Request {
        method: Method::GET,
        path: "/federate".to_owned(),
        params: Params::new("match[]=%7B%7D", b""),
        accept: Some(accept.to_owned()),
        cancel: CancelToken::new(),
    });
    (response.content_type.unwrap_or_default().into_owned(), response.body.collect().to_vec())
}

#[test]
fn federation_in_text_has_what_text_can_carry() {
    let (content_type, body) = federate("application/openmetrics-text;version=1.0.0;q=0.9,text/plain;q=0.1");
    assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8; escaping=underscores");
    let expected = r#"# TYPE custom histogram
custom_bucket{region="us",instance="",le="0.5"} 1 60000
custom_bucket{region="us",instance="",le="1"} 3 60000
custom_bucket{region="us",instance="",le="2"} 3 60000
custom_bucket{region="us",instance="",le="+Inf"} 3 60000
custom_sum{region="us",instance=""} 4 60000
custom_count{region="us",instance=""} 3 60000
# TYPE native untyped
native{a="b",region="eu",instance=""} 1 60000
# TYPE zero untyped
zero{instance="i",region="eu"} 0 60000
"#;
    assert_eq!(String::from_utf8(body).unwrap(), expected);
}

#[test]
fn federation_in_protobuf_has_native_histograms() {
    let accept = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
    let (content_type, body) = federate(accept);
    assert!(content_type.starts_with("application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily"));
    let options = ParseOptions { native_histograms: true, ..ParseOptions::default() };
    let families = ferula_exposition::read_families(&body, Format::Protobuf, &options).unwrap();
    let kinds: Vec<_> =
        families.iter().map(|family| (&*family.name, family.metric_type, family.metrics.len())).collect();
    assert_eq!(
        kinds,
        [
            ("custom", MetricType::Histogram, 1),
            ("native", MetricType::Histogram, 1),
            ("native", MetricType::Unknown, 1),
            ("native", MetricType::GaugeHistogram, 1),
            ("zero", MetricType::Unknown, 1),
        ],
        "a name comes again where the kind of its samples changes"
    );
    let MetricValue::Histogram(native) = &families[1].metrics[0].value else { panic!("{families:?}") };
    let native = native.native.as_ref().unwrap().to_float();
    assert_eq!((native.count, native.sum, native.positive_buckets.as_slice()), (3.0, 4.0, &[1.0, 2.0][..]));
    assert_eq!(families[1].metrics[0].timestamp, Some(Timestamp(60_000)));
}
