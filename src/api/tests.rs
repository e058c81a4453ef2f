//! Requests as values, answers as bytes, over a storage in memory.

use std::sync::Arc;

use ferula_model::{Labels, ManualClock, Sample, Timestamp};
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
        (response.status.as_u16(), response.headers)
    };
    for (method, path, allow) in [
        ("HEAD", "/query", "GET, OPTIONS, POST"),
        ("DELETE", "/query_range", "GET, OPTIONS, POST"),
        ("PUT", "/labels", "GET, OPTIONS, POST"),
        ("POST", "/label/job/values", "GET, OPTIONS"),
        ("POST", "/status/tsdb/blocks", "GET, OPTIONS"),
        ("GET", "/admin/tsdb/snapshot", "OPTIONS, POST, PUT"),
    ] {
        assert_eq!(ask(method, path), (405, vec![("allow", allow)]), "{method} {path}");
    }
    assert_eq!(ask("POST", "/query").0, 200);
    assert_eq!(ask("OPTIONS", "/query").0, 204);
    for (method, path) in [("PUT", "/nothing"), ("POST", "/status/nothing"), ("POST", "/admin/tsdb/nothing")] {
        assert_eq!(ask(method, path).0, 404, "{method} {path}");
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
