//! The same samples in a real Prometheus and here: the same questions must get the same answers.

use std::process::Command;

use serde_json::Value;

use crate::program::{Program, peer};
use crate::write_request::WriteRequest;

/// One sample every 15 s for an hour, which ends at a fixed distance before now.
const SAMPLES: i64 = 240;
const STEP_MILLIS: i64 = 15_000;

/// Answers may differ in the last digits: sums in another order.
const TOLERANCE: f64 = 1e-12;

const QUERIES: &[&str] = &[
    "requests_total",
    "requests_total{code=\"200\"}",
    "requests_total{code!=\"200\",job=~\"a.*|b\"}",
    "rate(requests_total[5m])",
    "irate(requests_total[5m])",
    "increase(requests_total[10m])",
    "sum(rate(requests_total[5m]))",
    "sum by (job) (rate(requests_total[5m]))",
    "sum without (instance) (rate(requests_total[1m]))",
    "avg by (code) (requests_total)",
    "min(temperature)",
    "max by (instance) (temperature)",
    "count(temperature > 20)",
    "stddev(temperature)",
    "stdvar by (job) (temperature)",
    "quantile(0.9, temperature)",
    "topk(2, temperature)",
    "bottomk by (job) (1, temperature)",
    "count_values(\"value\", floor(temperature))",
    "group by (job) (temperature)",
    "temperature offset 10m",
    "temperature @ end()",
    "-temperature",
    "temperature * 2 + 1",
    "temperature % 7",
    "temperature ^ 2",
    "temperature > bool 20",
    "temperature and on (job, instance) requests_total{code=\"200\"}",
    "temperature unless on (instance) requests_total{instance=\"1\"}",
    "temperature or requests_total",
    "rate(requests_total[5m]) / on (job, instance) group_left temperature",
    "requests_total{code=\"500\"} / ignoring (code) requests_total{code=\"200\"}",
    "histogram_quantile(0.9, sum by (le) (rate(latency_seconds_bucket[5m])))",
    "histogram_quantile(0.5, rate(latency_seconds_bucket[5m]))",
    "avg_over_time(temperature[10m])",
    "max_over_time(temperature[10m]) - min_over_time(temperature[10m])",
    "stddev_over_time(temperature[10m])",
    "quantile_over_time(0.3, temperature[10m])",
    "count_over_time(temperature[3m])",
    "last_over_time(temperature[1m])",
    "deriv(temperature[10m])",
    "predict_linear(temperature[10m], 3600)",
    "delta(temperature[10m])",
    "changes(temperature[10m])",
    "resets(requests_total[30m])",
    "max_over_time(rate(requests_total[5m])[30m:1m])",
    "absent(nothing{job=\"x\"})",
    "label_replace(temperature, \"host\", \"h-$1\", \"instance\", \"(.*)\")",
    "label_join(temperature, \"both\", \"-\", \"job\", \"instance\")",
    "clamp_max(round(temperature, 0.5), 21)",
    "sqrt(abs(temperature)) + ln(temperature + 1)",
    "hour(timestamp(temperature)) + day_of_week()",
    "vector(time()) - scalar(max(timestamp(temperature)))",
    "sort_desc(temperature)",
    "{__name__=~\"temp.*\"}",
    "1 + 2 * 3 ^ 2",
    "\"text\"",
    "nothing",
    "rate(",
    "sum(temperature) by (",
    "temperature[5m]",
    "foo + on (x) bar or temperature{job=~\"(\"}",
];

#[test]
fn queries_agree_with_a_real_prometheus() {
    let (ours_folder, theirs_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [&ours_folder, &theirs_folder] {
        std::fs::write(folder.path().join("prometheus.yml"), "scrape_configs: []\n").unwrap();
    }
    let Some(theirs) = Program::start_prometheus(theirs_folder.path(), &["--web.enable-remote-write-receiver"]) else {
        return;
    };
    let ours = Program::start(ours_folder.path(), &["--web.enable-remote-write-receiver"]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    let first = (now / STEP_MILLIS - SAMPLES - 4) * STEP_MILLIS;
    let request = samples(first);
    for server in [&ours, &theirs] {
        let (status, body) = server.request("POST", "/api/v1/write", &request).unwrap();
        assert_eq!(status, 204, "{}", String::from_utf8_lossy(&body));
    }
    let mut wrong = Vec::new();
    for path in paths(first) {
        let (our_status, our_body) = ours.get(&path);
        let (their_status, their_body) = theirs.get(&path);
        if our_status != their_status || !agree(&sorted(&our_body), &sorted(&their_body)) {
            wrong.push(format!(
                "{path}\n  ours   {our_status} {our_body:.600}\n  theirs {their_status} {their_body:.600}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{} answers differ:\n{}", wrong.len(), wrong.join("\n"));
    promtool_reads_the_same(&ours, &theirs, first);
}

/// Every query at one moment and over time, and the questions about series and labels.
fn paths(first: i64) -> Vec<String> {
    let second = |millis: i64| millis as f64 / 1000.0;
    let (start, end) = (second(first), second(first + SAMPLES * STEP_MILLIS));
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let mut paths = Vec::new();
    for query in QUERIES {
        let query = encode(query);
        paths.push(format!("/api/v1/query?query={query}&time={}", end - 20.5));
        paths.push(format!("/api/v1/query_range?query={query}&start={start}&end={end}&step=47"));
    }
    let selector = encode("{job=\"a\"}");
    for path in [
        format!("/api/v1/series?match[]={selector}&start={start}&end={end}"),
        format!("/api/v1/labels?start={start}&end={end}"),
        format!("/api/v1/labels?match[]={selector}&start={start}&end={end}"),
        format!("/api/v1/label/instance/values?start={start}&end={end}"),
        format!("/api/v1/label/__name__/values?match[]={selector}&start={start}&end={end}&limit=2"),
        "/api/v1/query".to_owned(),
        "/api/v1/query?query=up&time=x".to_owned(),
        "/api/v1/query?query=up&timeout=x".to_owned(),
        "/api/v1/query_range?query=up&start=1&end=0&step=1".to_owned(),
        "/api/v1/query_range?query=up&start=0&end=1&step=0".to_owned(),
        "/api/v1/query_range?query=up&start=0&end=100000&step=1".to_owned(),
        "/api/v1/series".to_owned(),
        "/api/v1/series?match[]={a=\"\"}".replace('"', "%22"),
        "/api/v1/format_query?query=sum(rate(x%5B5m%5D))by(a)".to_owned(),
        "/api/v1/nothing".to_owned(),
    ] {
        paths.push(path);
    }
    paths
}

/// Counters with resets, gauges with gaps, a classic histogram: 3 jobs of 3 instances.
fn samples(first: i64) -> Vec<u8> {
    let mut request = WriteRequest::default();
    for (j, job) in ["a", "b", "c"].into_iter().enumerate() {
        for i in 0..3_usize {
            let instance = i.to_string();
            let seed = (3 * j + i) as i64;
            for (c, code) in ["200", "404", "500"].into_iter().enumerate() {
                let speed = (seed + 1) * (3 - c as i64);
                let points = points(first, |n| Some((n % (150 + seed) * speed) as f64));
                let labels = [("__name__", "requests_total"), ("code", code), ("instance", &instance), ("job", job)];
                request.series(&labels, &points);
            }
            let gauge = points(first, |n| {
                let gap = n % 50 > 40 + seed % 3;
                (!gap).then(|| 18.0 + seed as f64 * 0.7 + ((n * 37 + seed) % 101) as f64 / 13.0)
            });
            request.series(&[("__name__", "temperature"), ("instance", &instance), ("job", job)], &gauge);
            for (b, le) in ["0.1", "0.5", "1", "+Inf"].into_iter().enumerate() {
                let points = points(first, |n| Some((n * (seed + 1) * (b as i64 + 1)) as f64));
                let labels =
                    [("__name__", "latency_seconds_bucket"), ("instance", &instance), ("job", job), ("le", le)];
                request.series(&labels, &points);
            }
        }
    }
    request.snappy()
}

fn points(first: i64, value: impl Fn(i64) -> Option<f64>) -> Vec<(i64, f64)> {
    (0..SAMPLES).filter_map(|n| Some((first + n * STEP_MILLIS, value(n)?))).collect()
}

/// The answer with instant vectors and lists of series in the order of their labels: upstream promises none. The warning
/// about sorting a range goes, because only 3.14 has it and the peer is 3.5.
fn sorted(body: &str) -> Value {
    let Ok(mut answer) = serde_json::from_str::<Value>(body) else { return Value::String(body.to_owned()) };
    if answer["warnings"][0].as_str().is_some_and(|text| text.contains("sort is ineffective"))
        && let Some(envelope) = answer.as_object_mut()
    {
        envelope.remove("warnings");
    }
    let is_vector = answer["data"]["resultType"] == "vector";
    let list = if is_vector { &mut answer["data"]["result"] } else { &mut answer["data"] };
    if let Some(items) = list.as_array_mut() {
        items.sort_by_key(|item| if is_vector { item["metric"].to_string() } else { item.to_string() });
    }
    answer
}

fn agree(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| agree(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| agree(a, b)))
        }
        (Value::String(a), Value::String(b)) => a == b || close(a, b),
        (a, b) => a == b,
    }
}

fn close(a: &str, b: &str) -> bool {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()),
        _ => false,
    }
}

/// What promtool prints about one server it prints about the other.
fn promtool_reads_the_same(ours: &Program, theirs: &Program, first: i64) {
    let Some(promtool) = peer("promtool") else { return };
    let end = (first + SAMPLES * STEP_MILLIS) / 1000;
    let (start, time) = (format!("--start={}", end - 600), format!("--time={end}"));
    let end = format!("--end={end}");
    for (command, rest) in [
        (vec!["instant", &time], vec!["sort(sum by (job) (temperature))"]),
        (vec!["range", &start, &end, "--step=30s"], vec!["sum by (job) (rate(requests_total[5m]))"]),
        (vec!["series", "--match=temperature{job=\"a\"}", &start, &end], vec![]),
        (vec!["labels", &start, &end], vec!["job"]),
    ] {
        let ask = |server: &Program| {
            let url = format!("http://{}", server.address());
            let name = if command[0] == "series" { vec![] } else { rest.clone() };
            let output = Command::new(&promtool).arg("query").args(&command).arg(url).args(name).output().unwrap();
            (
                output.status.success(),
                String::from_utf8(output.stdout).unwrap(),
                String::from_utf8(output.stderr).unwrap(),
            )
        };
        let (ours, theirs) = (ask(ours), ask(theirs));
        assert!(theirs.0, "promtool {command:?}: {}", theirs.2);
        assert_eq!(ours, theirs, "promtool {command:?}");
    }
}
