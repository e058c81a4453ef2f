//! Jobs, targets and their series over time, on a clock that is moved.

use std::sync::Arc;
use std::time::Duration;

use ferula_exposition::Registry;
use ferula_model::Labels;
use ferula_scrape::relabel::{Action, RelabelConfig, RelabelFields};
use ferula_scrape::{ApplyError, Health, ManagerOptions, ScrapeConfig, ScrapeDefaults, ScrapeManager};
use tokio::time::sleep;

use super::storage::{Recorder, TokioClock};
use super::transport::Bodies;

struct Bed {
    storage: Arc<Recorder>,
    bodies: Bodies,
    registry: Registry,
    manager: ScrapeManager,
}

impl Bed {
    fn new() -> Self {
        let (storage, bodies, registry) = (Arc::new(Recorder::default()), Bodies::default(), Registry::new());
        let options = ManagerOptions::new(storage.clone(), TokioClock::new())
            .transport(Arc::new(bodies.clone()))
            .registry(registry.clone());
        Self { storage, bodies, registry, manager: ScrapeManager::new(options).unwrap() }
    }

    fn apply(&self, jobs: Vec<ScrapeConfig>) {
        self.manager.apply(jobs).unwrap();
    }

    fn metric(&self, name: &str) -> f64 {
        let mut text = Vec::new();
        let families = self.registry.gather();
        ferula_exposition::encode(&families, ferula_exposition::Format::Text, &mut text);
        let text = String::from_utf8(text).unwrap();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} in {text}"));
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    }
}

/// A job scraped every ten seconds.
fn job(name: &str, targets: &[&str]) -> ScrapeConfig {
    let mut job = ScrapeConfig::new(name).static_targets(targets);
    job.scrape_interval = Duration::from_secs(10);
    job.validate(&ScrapeDefaults::default()).unwrap();
    job
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The times in lines such as `a 1 @12.345`.
fn times(lines: &[String]) -> Vec<f64> {
    lines.iter().map(|line| line.rsplit_once('@').unwrap().1.parse().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_target_is_scraped_at_its_place_in_each_interval() {
    let bed = Bed::new();
    bed.bodies.set("h:1", "a 1\n");
    bed.apply(vec![job("j", &["h:1"])]);
    assert_eq!(bed.manager.targets()[0].last.health, Health::Unknown);
    sleep(seconds(100)).await;
    let times = times(&bed.storage.samples("a", &[]));
    assert_eq!(times.len(), 10);
    for pair in times.windows(2) {
        assert!((pair[1] - pair[0] - 10.0).abs() < 1e-9, "{times:?}");
    }
    let status = &bed.manager.targets()[0];
    assert_eq!((status.last.health, status.last.error.as_str()), (Health::Up, ""));
    assert_eq!(status.scrape_url, "http://h:1/metrics");
    assert_eq!(bed.storage.values("up"), [1.0; 10]);
    assert_eq!(bed.storage.values("scrape_samples_scraped"), [1.0; 10]);
    assert_eq!(bed.storage.values("scrape_series_added")[..2], [1.0, 0.0]);
    assert!(bed.storage.series().contains(&r#"{__name__="a", instance="h:1", job="j"}"#.to_owned()));
    assert!(bed.metric("prometheus_target_interval_length_seconds{interval=\"10s\",quantile=\"0.5\"}") - 10.0 < 0.01);
}

#[tokio::test(start_paused = true)]
async fn a_failed_scrape_is_down_and_ends_its_series() {
    let bed = Bed::new();
    bed.bodies.set("h:1", "a 1\n");
    bed.apply(vec![job("j", &["h:1"])]);
    sleep(seconds(15)).await;
    bed.bodies.remove("h:1");
    sleep(seconds(20)).await;
    bed.bodies.set("h:1", "a 2\n");
    sleep(seconds(10)).await;
    let values: Vec<String> =
        bed.storage.samples("a", &[]).iter().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect();
    let up = bed.storage.values("up");
    let first_down = up.iter().position(|up| *up == 0.0).unwrap();
    assert_eq!(values[first_down], "stale");
    assert_eq!(values.iter().filter(|value| *value == "stale").count(), 1);
    assert_eq!(values.last().unwrap(), "2");
}

#[tokio::test(start_paused = true)]
async fn slow_targets_time_out_and_slots_are_skipped_not_queued() {
    let bed = Bed::new();
    bed.bodies.set_slow("h:1", "a 1\n", seconds(60));
    bed.apply(vec![job("j", &["h:1"])]);
    sleep(seconds(60)).await;
    assert_eq!(bed.manager.targets()[0].last.error, "context deadline exceeded");
    let times = times(&bed.storage.samples("up", &[]));
    assert!(times.len() >= 3 && times.windows(2).all(|pair| pair[1] - pair[0] >= 9.9), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_gone_ends_its_series_at_the_first_missing_scrape() {
    let bed = Bed::new();
    bed.bodies.set("h:1", "a 1\n");
    bed.bodies.set("h:2", "a 1\n");
    bed.apply(vec![job("j", &["h:1", "h:2"])]);
    sleep(seconds(30)).await;
    bed.apply(vec![job("j", &["h:2"])]);
    sleep(seconds(60)).await;
    let lines = bed.storage.samples("a", &["instance"]);
    let of_first: Vec<_> = lines.into_iter().filter(|line| line.starts_with("h:1")).collect();
    assert!(of_first.last().unwrap().contains("stale"), "{of_first:?}");
    let times = times(&of_first);
    assert!((times[times.len() - 1] - times[times.len() - 2] - 10.0).abs() < 1e-9, "{of_first:?}");
    assert!(bed.storage.samples("up", &["instance"]).iter().any(|line| line.starts_with("h:1 stale")));
    assert_eq!(bed.manager.targets().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_changed_configuration_keeps_series_and_their_place() {
    let bed = Bed::new();
    bed.bodies.set("h:1", "a 1\nb 1\n");
    bed.apply(vec![job("j", &["h:1"])]);
    sleep(seconds(25)).await;
    let mut changed = job("j", &["h:1"]);
    let fields = RelabelFields {
        source_labels: vec!["__name__".into()],
        regex: "b".into(),
        action: Action::Drop,
        ..RelabelFields::default()
    };
    changed.metric_relabel_configs = vec![RelabelConfig::new(fields).unwrap()];
    bed.apply(vec![changed]);
    sleep(seconds(40)).await;
    assert!(bed.storage.samples("a", &[]).iter().all(|line| !line.contains("stale")));
    let b = bed.storage.samples("b", &[]);
    assert_eq!(b.iter().filter(|line| line.contains("stale")).count(), 1, "{b:?}");
    let times = times(&bed.storage.samples("a", &[]));
    assert!(times.windows(2).all(|pair| (pair[1] - pair[0] - 10.0).abs() < 1e-9), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn another_interval_keeps_the_series() {
    let bed = Bed::new();
    bed.bodies.set("h:1", "a 1\n");
    bed.apply(vec![job("j", &["h:1"])]);
    sleep(seconds(25)).await;
    let mut faster = job("j", &["h:1"]);
    (faster.scrape_interval, faster.scrape_timeout) = (seconds(5), seconds(5));
    bed.apply(vec![faster]);
    sleep(seconds(60)).await;
    let lines = bed.storage.samples("a", &[]);
    assert!(lines.iter().all(|line| !line.contains("stale")), "{lines:?}");
    assert!(lines.len() >= 13);
    assert_eq!(bed.storage.values("scrape_series_added").iter().sum::<f64>(), 1.0);
}

#[tokio::test(start_paused = true)]
async fn too_many_targets_fail_all_of_the_job_until_there_are_fewer() {
    let bed = Bed::new();
    bed.bodies.set("h:1", "a 1\n");
    bed.bodies.set("h:2", "a 1\n");
    let limited = |targets: &[&str]| {
        let mut job = job("j", targets);
        job.limits.target_limit = 1;
        job
    };
    bed.apply(vec![limited(&["h:1", "h:2"])]);
    sleep(seconds(15)).await;
    assert!(bed.storage.values("up").iter().all(|up| *up == 0.0) && bed.storage.values("a").is_empty());
    assert_eq!(bed.manager.targets()[0].last.error, "target_limit exceeded (number of targets: 2, limit: 1)");
    assert_eq!(bed.metric("prometheus_target_scrape_pool_exceeded_target_limit_total"), 1.0);
    bed.storage.clear();
    bed.apply(vec![limited(&["h:1"])]);
    sleep(seconds(15)).await;
    assert!(!bed.storage.values("a").is_empty());
}

#[tokio::test(start_paused = true)]
async fn stopping_lets_scrapes_end_and_ends_no_series() {
    let bed = Bed::new();
    bed.bodies.set_slow("h:1", "a 1\n", seconds(3));
    bed.apply(vec![job("j", &["h:1"])]);
    let mut waited = 0;
    while bed.manager.targets()[0].last.at.is_none() {
        sleep(Duration::from_millis(500)).await;
        waited += 1;
        assert!(waited < 100);
    }
    sleep(seconds(8)).await; // in the middle of the second scrape
    bed.manager.stop().await;
    let lines = bed.storage.samples("a", &[]);
    assert!(lines.len() == 2 && !lines.iter().any(|line| line.contains("stale")), "{lines:?}");
    sleep(seconds(100)).await;
    assert_eq!(bed.storage.samples("a", &[]).len(), 2);
    assert!(matches!(bed.manager.apply(vec![]), Err(ApplyError::Stopped)));
}

#[tokio::test(start_paused = true)]
async fn an_impossible_configuration_changes_nothing() {
    let bed = Bed::new();
    bed.bodies.set("h:1", "a 1\n");
    bed.apply(vec![job("j", &["h:1"])]);
    let error = bed.manager.apply(vec![job("j", &["h:2"]), job("j", &["h:3"])]).unwrap_err();
    assert_eq!(error.to_string(), "found multiple scrape configs with job name \"j\"");
    let mut gopher = job("g", &["h:2"]);
    gopher.scheme = "gopher".into();
    let error = bed.manager.apply(vec![gopher]).unwrap_err();
    assert_eq!(error.to_string(), "error creating scrape pool \"g\": no gophers here");
    assert_eq!(bed.manager.pools(), ["j"]);
    sleep(seconds(11)).await;
    assert_eq!(bed.storage.values("up").first(), Some(&1.0));
}

#[tokio::test(start_paused = true)]
async fn dropped_targets_are_shown_as_far_as_configured() {
    let bed = Bed::new();
    let mut job = job("j", &["h:1", "h:2", "x:1"]);
    let fields = RelabelFields {
        source_labels: vec!["__address__".into()],
        regex: "h:.*".into(),
        action: Action::Drop,
        ..RelabelFields::default()
    };
    job.relabel_configs = vec![RelabelConfig::new(fields).unwrap()];
    job.limits.keep_dropped_targets = 1;
    bed.apply(vec![job]);
    let dropped = &bed.manager.dropped_targets()[0];
    assert_eq!((dropped.count, dropped.discovered_labels.len()), (2, 1));
    assert_eq!(dropped.discovered_labels[0].get("__address__"), Some("h:1"));
    assert_eq!(bed.manager.targets().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn metadata_and_extra_metrics_are_there() {
    let bed = Bed::new();
    bed.bodies.set("h:1", "# HELP a Text.\n# TYPE a counter\na 1\n");
    let mut job = job("j", &["h:1"]);
    job.extra_scrape_metrics = Some(true);
    bed.apply(vec![job]);
    sleep(seconds(11)).await;
    let metadata = bed.manager.metadata();
    assert_eq!(metadata[0].labels, Labels::from_pairs([("job", "j"), ("instance", "h:1")]));
    assert_eq!((&*metadata[0].families[0].0, metadata[0].families[0].1.help.as_str()), ("a", "Text."));
    assert_eq!(bed.storage.values("scrape_body_size_bytes")[0], 36.0);
    assert_eq!(bed.storage.values("scrape_timeout_seconds")[0], 10.0);
}

#[tokio::test(start_paused = true)]
async fn many_targets_spread_over_the_interval() {
    let bed = Bed::new();
    let hosts: Vec<String> = (0..200).map(|at| format!("h{at}:1")).collect();
    for host in &hosts {
        bed.bodies.set(host, "a 1\n");
    }
    bed.apply(vec![job("j", &hosts.iter().map(String::as_str).collect::<Vec<_>>())]);
    sleep(seconds(10)).await;
    let mut per_second = [0; 11];
    for time in times(&bed.storage.samples("a", &[])) {
        per_second[time as usize] += 1;
    }
    assert_eq!(per_second.iter().sum::<usize>(), 200);
    assert!(per_second[..10].iter().all(|count| (8..40).contains(count)), "{per_second:?}");
}
