//! Monitors in this process: their parts together, their reloads, their end.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ferula::model::{ManualClock, Timestamp};
use ferula::scrape::Health;
use ferula::{Error, Job, Monitor, MonitorBuilder, Rules};
use http_body_util::{BodyExt, Full};

/// Runs a test with two worker threads.
fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)
}

/// A request to the server of a monitor, without a socket: status and body.
async fn ask(monitor: &Monitor, method: &str, path: &str, body: &[u8]) -> (u16, String) {
    let request = http::Request::builder().method(method).uri(path);
    let request = match method {
        "POST" => request.header("content-type", "application/x-www-form-urlencoded"),
        _ => request,
    };
    let response = monitor.server().handle(request.body(Full::new(Bytes::copy_from_slice(body))).unwrap()).await;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn get(monitor: &Monitor, path: &str) -> (u16, String) {
    ask(monitor, "GET", path, b"").await
}

/// Waits for something that the monitor does by itself, as long as the test runner is willing to.
async fn until(mut holds: impl AsyncFnMut() -> bool) {
    while !holds().await {
        tokio::task::yield_now().await;
    }
}

fn monitor(folder: &Path) -> MonitorBuilder {
    Monitor::builder(folder).listen("127.0.0.1:0")
}

#[test]
fn two_monitors_watch_each_other_in_one_process() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(async {
        let first = monitor(a.path()).start().await.unwrap();
        let address = first.addresses()[0].to_string();
        let job = Job::new("first").every(Duration::from_millis(100)).timeout(Duration::from_millis(100));
        let second = monitor(b.path()).job(job.targets([&address])).start().await.unwrap();
        until(async || second.scrape().targets().iter().all(|target| target.last.health == Health::Up)).await;
        let query = format!("up{{instance=\"{address}\"}}");
        until(async || !second.instant(&query).await.unwrap().vector().unwrap().is_empty()).await;
        let answer = second.instant("prometheus_ready").await.unwrap();
        assert_eq!(answer.vector().unwrap().len(), 1, "the metrics of the first are stored in the second");
        first.closed().await.unwrap();
        second.closed().await.unwrap();
    });
}

#[test]
fn what_was_stored_is_there_after_a_restart_and_the_folder_is_free_after_the_end() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_700_000_000_000)));
        let start =
            || Monitor::builder(folder.path()).clock(clock.clone()).store_own_metrics(Duration::from_secs(3600));
        let first = start().start().await.unwrap();
        first.registry().gauge("answer", "To everything.").unwrap().set(42.0);
        // The first round was stored before the gauge was there.
        clock.advance(Duration::from_secs(60));
        let refused = start().start().await.unwrap_err();
        assert!(matches!(refused, Error::Open(_)), "{refused}");
        until(async || !first.instant("prometheus_build_info").await.unwrap().vector().unwrap().is_empty()).await;
        first.closed().await.unwrap();

        let second = start().start().await.unwrap();
        let stored = second.instant("prometheus_build_info").await.unwrap();
        assert_eq!(stored.vector().unwrap()[0].labels.get("job"), Some("ferula"));
        second.closed().await.unwrap();
    });
}

#[test]
fn a_reload_is_a_difference_and_a_wrong_file_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prometheus.yml");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    run(async {
        write("scrape_configs:\n- job_name: a\n");
        let builder = Monitor::builder(folder.path().join("data")).config_file(&file).lifecycle(true);
        let monitor = builder.job(Job::new("in code")).start().await.unwrap();
        assert_eq!(monitor.scrape().pools(), ["a", "in code"]);

        write("global: {external_labels: {x: y}}\nscrape_configs:\n- job_name: a\n- job_name: b\n");
        assert_eq!(ask(&monitor, "POST", "/-/reload", b"").await, (200, String::new()));
        assert_eq!(monitor.scrape().pools(), ["a", "b", "in code"]);
        let (_, metrics) = get(&monitor, "/metrics").await;
        assert!(metrics.contains("prometheus_config_last_reload_successful 1\n"));

        write("scrape_configs:\n- job_nam: a\n");
        let (status, body) = ask(&monitor, "POST", "/-/reload", b"").await;
        assert_eq!(status, 500);
        assert!(body.starts_with("failed to reload config: parsing YAML file "), "{body}");
        assert!(body.contains("line 2: field job_nam not found in type config.ScrapeConfig"), "{body}");
        assert_eq!(monitor.scrape().pools(), ["a", "b", "in code"]);
        let (_, metrics) = get(&monitor, "/metrics").await;
        assert!(metrics.contains("prometheus_config_last_reload_successful 0\n"));
        let (_, yaml) = get(&monitor, "/api/v1/status/config").await;
        assert!(yaml.contains(r"external_labels:\n    x: \"), "{yaml}");

        for section in ["remote_write: [{url: 'http://a'}]", "remote_read: [{url: 'http://a'}]"] {
            write(section);
            let error = monitor.reload().await.unwrap_err().to_string();
            let name = section.split(':').next().unwrap();
            assert_eq!(error, format!("not supported yet: {name}; remove them to start without"));
        }
        monitor.closed().await.unwrap();
    });
}

#[test]
fn the_lifecycle_over_http_ends_a_monitor_and_is_off_by_default() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let off = Monitor::builder(folder.path()).start().await.unwrap();
        for path in ["/-/quit", "/-/reload"] {
            assert_eq!(ask(&off, "POST", path, b"").await, (403, "Lifecycle API is not enabled.".to_owned()));
            assert_eq!(get(&off, path).await.0, 405);
        }
        assert_eq!(ask(&off, "POST", "/api/v1/write", b"").await.0, 404);
        let wrong = [
            ("GET", "/api/v1/write"),
            ("HEAD", "/api/v1/query"),
            ("HEAD", "/metrics"),
            ("DELETE", "/federate"),
            ("POST", "/-/healthy"),
        ];
        for (method, path) in wrong {
            assert_eq!(ask(&off, method, path, b"").await, (405, "Method Not Allowed\n".to_owned()), "{method} {path}");
        }
        assert_eq!(ask(&off, "OPTIONS", "/api/v1/write", b"").await.0, 204);
        assert_eq!(ask(&off, "OPTIONS", "/metrics", b"").await.0, 200);
        assert_eq!(ask(&off, "HEAD", "/-/ready", b"").await.0, 200);
        off.closed().await.unwrap();

        let on = Monitor::builder(folder.path()).lifecycle(true).start().await.unwrap();
        let server = on.server();
        assert_eq!(get(&on, "/-/ready").await, (200, "Prometheus Server is Ready.\n".to_owned()));
        assert_eq!(ask(&on, "POST", "/-/quit", b"").await.0, 200);
        on.stopping().await;
        on.closed().await.unwrap();
        let late = http::Request::get("/api/v1/query?query=1").body(Full::new(Bytes::new())).unwrap();
        let late = server.handle(late).await;
        assert_eq!(late.status(), 503);
        assert_eq!(late.headers()["x-prometheus-stopping"], "true");
    });
}

#[test]
fn what_cannot_start_says_why_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let error = Monitor::builder(folder.path()).listen(&address).start().await.unwrap_err();
        assert!(error.to_string().starts_with(&format!("listen on {address}: ")), "{error}");

        let job = || Job::new("twice");
        let error = monitor(folder.path()).job(job()).job(job()).start().await.unwrap_err();
        assert_eq!(error.to_string(), "found multiple scrape configs with job name \"twice\"");

        let missing = folder.path().join("missing.yml");
        let error = monitor(folder.path()).config_file(&missing).start().await.unwrap_err();
        assert!(error.to_string().starts_with(&format!("open {}: ", missing.display())), "{error}");

        std::fs::write(folder.path().join("bad.rules"), "groups: [{name: a, rules: [{record: b, expr: 'sum('}]}]")
            .unwrap();
        std::fs::write(&missing, "rule_files: [bad.rules]\n").unwrap();
        let error = monitor(folder.path()).config_file(&missing).start().await.unwrap_err();
        assert!(error.to_string().contains("could not parse expression"), "{error}");

        // After all that the folder is free.
        monitor(folder.path()).start().await.unwrap().closed().await.unwrap();
    });
}

#[test]
fn the_pages_of_a_fresh_monitor_have_upstreams_bytes() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let rules = Rules::parse("own.rules", "groups: []").unwrap();
        let flags = [("log.level".to_owned(), "info".to_owned())];
        let monitor = Monitor::builder(folder.path()).rules(rules).flags(flags).start().await.unwrap();
        for (path, data) in [
            ("targets", r#"{"activeTargets":[],"droppedTargets":[],"droppedTargetCounts":{}}"#),
            ("targets?state=active", r#"{"activeTargets":[],"droppedTargets":[],"droppedTargetCounts":null}"#),
            ("targets/metadata", "[]"),
            ("metadata", "{}"),
            ("scrape_pools", r#"{"scrapePools":[]}"#),
            ("rules", r#"{"groups":[]}"#),
            ("alerts", r#"{"alerts":[]}"#),
            ("alertmanagers", r#"{"activeAlertmanagers":[],"droppedAlertmanagers":[]}"#),
            ("status/flags", r#"{"log.level":"info"}"#),
            ("status/walreplay", r#"{"min":0,"max":0,"current":0}"#),
            ("notifications", "[]"),
        ] {
            let (status, body) = get(&monitor, &format!("/api/v1/{path}")).await;
            assert_eq!((status, body), (200, format!(r#"{{"status":"success","data":{data}}}"#)), "{path}");
        }
        for (path, error) in [
            ("rules?type=x", r#"invalid parameter \"type\": not supported value \"x\""#),
            ("rules?group_limit=0", r#"invalid parameter \"group_limit\": group_limit needs to be greater than 0"#),
            (
                "rules?group_limit=1&group_next_token=x",
                r#"invalid parameter \"group_next_token\": invalid group_next_token 'x'. were rule groups changed?"#,
            ),
            ("metadata?limit=x", "limit must be a number"),
            ("scrape_pools/config", "no scrapePool parameter provided"),
        ] {
            let (status, body) = get(&monitor, &format!("/api/v1/{path}")).await;
            let expected = format!(r#"{{"status":"error","errorType":"bad_data","error":"{error}"}}"#);
            assert_eq!((status, body), (400, expected), "{path}");
        }
        monitor.closed().await.unwrap();
    });
}

#[test]
fn a_malformed_write_gets_an_error_and_stores_nothing() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let monitor = Monitor::builder(folder.path()).remote_write_receiver(true).start().await.unwrap();
        let good = crate::write_request::WriteRequest::default()
            .series(&[("__name__", "a")], &[(Timestamp::from_millis(0).as_millis(), 1.0)])
            .snappy();
        let mut bodies: Vec<Vec<u8>> = (0..good.len()).map(|length| good[..length].to_vec()).collect();
        bodies.extend((0..good.len()).map(|at| {
            let mut flipped = good.clone();
            flipped[at] ^= 0x80;
            flipped
        }));
        for body in bodies {
            let (status, text) = ask(&monitor, "POST", "/api/v1/write", &body).await;
            assert!(matches!(status, 204 | 400 | 413 | 415), "{status} {text}");
        }
        monitor.closed().await.unwrap();
    });
}

#[test]
fn the_admin_api_deletes_and_copies_and_is_off_by_default() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let start =
            || Monitor::builder(folder.path()).clock(Arc::new(ManualClock::at(now))).remote_write_receiver(true);
        let off = start().start().await.unwrap();
        let refusal = r#"{"status":"error","errorType":"unavailable","error":"admin APIs disabled"}"#;
        assert_eq!(ask(&off, "POST", "/api/v1/admin/tsdb/snapshot", b"").await, (500, refusal.to_owned()));
        off.closed().await.unwrap();

        let on = start().admin_api(true).start().await.unwrap();
        let request = crate::write_request::WriteRequest::default()
            .series(&[("__name__", "gone")], &[(now.as_millis(), 1.0)])
            .series(&[("__name__", "kept")], &[(now.as_millis(), 1.0)])
            .snappy();
        let write = http::Request::post("/api/v1/write").body(Full::new(Bytes::from(request))).unwrap();
        assert_eq!(on.server().handle(write).await.status(), 204);
        assert_eq!(ask(&on, "POST", "/api/v1/admin/tsdb/delete_series", b"match[]=gone").await, (204, String::new()));
        assert_eq!(on.instant("gone").await.unwrap().vector().unwrap().len(), 0);
        assert_eq!(on.instant("kept").await.unwrap().vector().unwrap().len(), 1);
        assert_eq!(ask(&on, "POST", "/api/v1/admin/tsdb/clean_tombstones", b"").await.0, 204);
        let (status, body) = ask(&on, "POST", "/api/v1/admin/tsdb/snapshot", b"").await;
        assert_eq!(status, 200, "{body}");
        let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
        let copy = folder.path().join("snapshots").join(answer["data"]["name"].as_str().unwrap());
        on.closed().await.unwrap();

        let copied = Monitor::builder(copy).clock(Arc::new(ManualClock::at(now))).start().await.unwrap();
        assert_eq!(copied.instant("kept").await.unwrap().vector().unwrap().len(), 1);
        let (_, blocks) = get(&copied, "/api/v1/status/tsdb/blocks").await;
        assert!(blocks.starts_with(r#"{"status":"success","data":{"blocks":[{"ulid":""#), "{blocks}");
        copied.closed().await.unwrap();
    });
}

#[test]
fn a_file_that_changes_is_read_again_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prometheus.yml");
    std::fs::write(&file, "scrape_configs: []\n").unwrap();
    run(async {
        let builder = Monitor::builder(folder.path().join("data")).config_file(&file);
        let monitor = builder.auto_reload(Duration::from_secs(1)).start().await.unwrap();
        std::fs::write(&file, "scrape_configs: [{job_name: new}]\n").unwrap();
        until(async || monitor.scrape().pools() == ["new"]).await;
        monitor.closed().await.unwrap();
    });
}

#[test]
fn rules_record_and_tell_the_host() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let rules = Rules::parse(
            "own.rules",
            "groups: [{name: g, interval: 50ms, rules: [{record: two, expr: vector(1) + 1}, \
             {alert: Two, expr: two == 2, labels: {severity: page}}]}]",
        )
        .unwrap();
        let (alerts, mut told) = tokio::sync::mpsc::unbounded_channel();
        let monitor = Monitor::builder(folder.path())
            .rules(rules)
            .on_alerts(move |batch| batch.into_iter().for_each(|alert| drop(alerts.send(alert))))
            .start()
            .await
            .unwrap();
        let alert = told.recv().await.unwrap();
        assert_eq!(alert.labels.to_string(), r#"{alertname="Two", severity="page"}"#);
        assert_eq!(monitor.instant("two").await.unwrap().vector().unwrap().len(), 1);
        let (_, metrics) = get(&monitor, "/metrics").await;
        let timed = "prometheus_engine_query_duration_seconds{slice=\"inner_eval\",quantile=\"0.9\"} ";
        assert!(metrics.contains(timed), "{metrics}");
        let (_, body) = get(&monitor, "/api/v1/rules?rule_name[]=two").await;
        let rules = r#""rules":[{"name":"two","query":"vector(1) + 1","health":"ok","evaluationTime":"#;
        assert!(body.contains(rules), "{body}");
        for filter in ["type=record&rule_name[]=Two", "match[]={severity=%22x%22}", "rule_group[]=x", "file[]=x"] {
            let (_, body) = get(&monitor, &format!("/api/v1/rules?{filter}")).await;
            assert_eq!(body, r#"{"status":"success","data":{"groups":[]}}"#, "{filter}");
        }
        monitor.closed().await.unwrap();
    });
}

/// A body that never comes.
struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

#[test]
fn a_client_whose_body_does_not_come_loses_its_place() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let monitor =
            Monitor::builder(folder.path()).remote_write_receiver(true).read_timeout(Duration::from_millis(1));
        let monitor = monitor.start().await.unwrap();
        let request = http::Request::post("/api/v1/write").body(Endless).unwrap();
        assert_eq!(monitor.server().handle(request).await.status(), 408);
        monitor.closed().await.unwrap();
    });
}

/// A body of so many pieces of a KiB, which are counted down as they are read.
struct Counted(Arc<AtomicUsize>);

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        std::task::Poll::Ready(left.ok().map(|_| Ok(http_body::Frame::data(Bytes::from(vec![0; 1024])))))
    }
}

#[test]
fn a_body_that_nobody_wants_is_read_up_to_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let monitor = Monitor::builder(folder.path()).start().await.unwrap();
        for (pieces, left) in [(3, 0), (1000, 743)] {
            let count = Arc::new(AtomicUsize::new(pieces));
            let request = http::Request::post("/nothing").body(Counted(Arc::clone(&count))).unwrap();
            assert_eq!(monitor.server().handle(request).await.status(), 404);
            assert_eq!(count.load(Ordering::Relaxed), left);
        }
        monitor.closed().await.unwrap();
    });
}
