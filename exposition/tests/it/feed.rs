//! A registry fed to a storage.

use std::sync::Arc;
use std::time::Duration;

use ferula_exposition::registry::{Family, Gauge, HistogramOptions, NativeOptions, SummaryOptions};
use ferula_exposition::{Feed, FeedError, MetricFamily, MetricValue, Registry};
use ferula_model::{AppendError, Exemplar, Labels, ManualClock, MetricType, Timestamp};

use crate::storage::Storage;

struct Bed {
    clock: Arc<ManualClock>,
    registry: Registry,
    storage: Storage,
    feed: Feed,
}

impl Bed {
    fn new() -> Self {
        Self::with(|feed| feed)
    }

    fn with(change: impl FnOnce(Feed) -> Feed) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp(0)));
        let feed = change(Feed::new(Labels::from_pairs([("job", "j")])));
        Self { registry: Registry::with_clock(clock.clone()), clock, storage: Storage::default(), feed }
    }

    /// What a gathering stores, metadata aside.
    fn stored(&mut self, at: i64) -> Vec<String> {
        self.feed.gather(&self.registry, Timestamp(at), &self.storage).unwrap();
        self.samples()
    }

    fn samples(&self) -> Vec<String> {
        self.storage.told().into_iter().filter(|line| !line.contains("} is ")).collect()
    }

    fn open_files(&self) -> Family<Gauge, 1> {
        self.registry.gauge_family("open_files", "Open files.", ["user"]).unwrap()
    }
}

fn exemplar(trace: &str, value: f64, at: Option<i64>) -> Exemplar {
    Exemplar { labels: Labels::from_pairs([("trace_id", trace)]), value, timestamp: at.map(Timestamp) }
}

#[test]
fn each_type_makes_the_series_that_a_scrape_of_it_makes() {
    let mut bed = Bed::new();
    let registry = &bed.registry;
    registry.counter("jobs_total", "Jobs.").unwrap().inc_by(3);
    registry.info("build_info", "Build.", [("version", "1")]).unwrap();
    registry.state_set("phase", "Phase.", &["up", "down"]).unwrap().only("up");
    let summary = registry.summary("size_bytes", "Sizes.", SummaryOptions::new(&[0.5])).unwrap();
    summary.observe(4.0);
    registry.histogram("wait_seconds", "Waits.", &[1.0, 2.5]).unwrap().observe(2.0);
    let native = registry.native_histogram("work_seconds", "Work.", NativeOptions::new(2.0).unwrap()).unwrap();
    native.observe(3.0);
    assert_eq!(
        bed.stored(5),
        [
            r#"{__name__="build_info", job="j", version="1"} 1 @5 since 0"#,
            r#"{__name__="jobs_total", job="j"} 3 @5 since 0"#,
            r#"{__name__="phase", job="j", phase="down"} 0 @5 since 0"#,
            r#"{__name__="phase", job="j", phase="up"} 1 @5 since 0"#,
            r#"{__name__="size_bytes", job="j", quantile="0.5"} 4 @5 since 0"#,
            r#"{__name__="size_bytes_count", job="j"} 1 @5 since 0"#,
            r#"{__name__="size_bytes_sum", job="j"} 4 @5 since 0"#,
            r#"{__name__="wait_seconds_bucket", job="j", le="+Inf"} 1 @5 since 0"#,
            r#"{__name__="wait_seconds_bucket", job="j", le="1.0"} 0 @5 since 0"#,
            r#"{__name__="wait_seconds_bucket", job="j", le="2.5"} 1 @5 since 0"#,
            r#"{__name__="wait_seconds_count", job="j"} 1 @5 since 0"#,
            r#"{__name__="wait_seconds_sum", job="j"} 2 @5 since 0"#,
            r#"{__name__="work_seconds", job="j"} {count:1, sum:3, (2,4]:1} @5 since 0"#,
        ]
    );
}

#[test]
fn refs_are_kept_and_metadata_is_told_once() {
    let mut bed = Bed::new();
    bed.registry.in_unit("bytes").counter("sent_bytes_total", "Sent.").unwrap().inc();
    bed.feed.gather(&bed.registry, Timestamp(1), &bed.storage).unwrap();
    assert_eq!(bed.storage.told()[1], r#"{__name__="sent_bytes_total", job="j"} is counter "bytes" "Sent.""#);
    bed.feed.gather(&bed.registry, Timestamp(2), &bed.storage).unwrap();
    assert_eq!(bed.storage.told(), [r#"{__name__="sent_bytes_total", job="j"} 1 @2 since 0"#]);
    assert_eq!(bed.storage.0.lock().asked, 1);
    let mut family = MetricFamily::new("sent_bytes_total", "Sent, all in all.", MetricType::Counter);
    family.push_number(Labels::empty(), 2.0);
    bed.feed.append(&[family], Timestamp(3), &bed.storage).unwrap();
    assert_eq!(bed.storage.told()[1], r#"{__name__="sent_bytes_total", job="j"} is counter "" "Sent, all in all.""#);
}

#[test]
fn what_vanished_is_marked_stale_once_at_the_next_gathering() {
    let mut bed = Bed::new();
    let open = bed.open_files();
    open.with(["ann"]).set(1.0);
    open.with(["bob"]).set(2.0);
    bed.stored(1);
    open.remove(["ann"]);
    let bob = |at| format!(r#"{{__name__="open_files", job="j", user="bob"}} 2 @{at} since 0"#);
    assert_eq!(bed.stored(2), [r#"{__name__="open_files", job="j", user="ann"} stale @2"#.to_owned(), bob(2)]);
    assert_eq!(bed.stored(3), [bob(3)]);
    open.with(["ann"]).set(3.0);
    assert_eq!(bed.stored(4).len(), 2, "it comes back as the same series");
}

#[test]
fn expired_series_are_marked_stale_and_return_with_their_count() {
    let mut bed = Bed::new();
    let jobs = bed.registry.expiring(Duration::from_secs(60)).counter_family("jobs_total", "", ["q"]).unwrap();
    let held = jobs.with(["held"]);
    held.inc();
    jobs.with(["loose"]).inc();
    assert_eq!(bed.stored(1).len(), 2);
    bed.clock.advance(Duration::from_secs(60));
    let stale = |q: &str| format!(r#"{{__name__="jobs_total", job="j", q="{q}"}} stale @2"#);
    assert_eq!(bed.stored(2), [stale("held"), stale("loose")]);
    assert_eq!(jobs.len(), 1, "nobody holds the other one");
    held.inc();
    assert_eq!(bed.stored(3), [r#"{__name__="jobs_total", job="j", q="held"} 2 @3 since 0"#]);
}

#[test]
fn closing_marks_everything_stale_and_the_feed_can_go_on() {
    let mut bed = Bed::with(|feed| feed.reporting(Arc::new(ManualClock::at(Timestamp(7)))));
    bed.open_files().with(["ann"]).set(1.0);
    assert_eq!(
        bed.stored(1),
        [
            r#"{__name__="open_files", job="j", user="ann"} 1 @1 since 0"#,
            r#"{__name__="scrape_duration_seconds", job="j"} 0 @1"#,
            r#"{__name__="scrape_samples_post_metric_relabeling", job="j"} 1 @1"#,
            r#"{__name__="scrape_samples_scraped", job="j"} 1 @1"#,
            r#"{__name__="scrape_series_added", job="j"} 1 @1"#,
            r#"{__name__="up", job="j"} 1 @1"#,
        ]
    );
    assert_eq!(bed.feed.close(Timestamp(2), &bed.storage).unwrap().stale, 6);
    assert!(bed.samples().iter().all(|line| line.ends_with("stale @2")));
    assert_eq!(bed.feed.close(Timestamp(3), &bed.storage).unwrap().stale, 0, "once is enough");
    bed.samples();
    assert_eq!(bed.stored(4).len(), 6);
}

#[test]
fn a_failed_commit_changes_nothing_and_is_made_up_for() {
    let mut bed = Bed::new();
    let open = bed.open_files();
    open.with(["ann"]).set(1.0);
    bed.stored(1);
    open.remove(["ann"]);
    open.with(["bob"]).set(2.0);
    bed.storage.0.lock().fail_commits = true;
    let error = bed.feed.gather(&bed.registry, Timestamp(2), &bed.storage).unwrap_err();
    assert!(matches!(error, FeedError::Commit(_)), "{error}");
    open.remove(["bob"]);
    bed.storage.0.lock().fail_commits = false;
    assert_eq!(
        bed.stored(3),
        [r#"{__name__="open_files", job="j", user="ann"} stale @3"#],
        "the other one was never stored, so it cannot end"
    );
    assert_eq!(bed.stored(4), Vec::<String>::new());
}

#[test]
fn a_storage_that_forgot_a_series_is_asked_again() {
    let mut bed = Bed::with(|feed| feed.reporting(Arc::new(ManualClock::at(Timestamp(7)))));
    bed.open_files().with(["ann"]).set(1.0);
    let before = bed.stored(1).len();
    bed.storage.forget();
    let summary = bed.feed.gather(&bed.registry, Timestamp(2), &bed.storage).unwrap();
    assert_eq!((summary.samples, summary.refused, summary.series_added), (1, 0, 0));
    let told = bed.storage.told();
    assert_eq!(told.iter().filter(|line| line.contains("@2")).count(), before);
    assert!(told.iter().any(|line| line.contains("is gauge")), "metadata again");
    assert_eq!(bed.storage.0.lock().asked, 12);
}

#[test]
fn what_the_storage_refuses_is_counted() {
    let mut bed = Bed::new();
    bed.open_files().with(["ann"]).set(1.0);
    bed.stored(5);
    bed.storage.0.lock().series_max = Some(1);
    bed.open_files().with(["bob"]).set(1.0);
    let summary = bed.feed.gather(&bed.registry, Timestamp(4), &bed.storage).unwrap();
    assert_eq!((summary.samples, summary.refused, summary.stale), (0, 2, 0));
    // A gathering has no order, so either may come first.
    assert!(matches!(summary.refusal, Some(AppendError::OutOfOrder | AppendError::SeriesLimit { limit: 1 })));
    bed.storage.0.lock().closed = true;
    let error = bed.feed.gather(&bed.registry, Timestamp(6), &bed.storage).unwrap_err();
    assert_eq!(error.to_string(), "storage is not writable: closed");
}

#[test]
fn exemplars_are_sent_once() {
    let mut bed = Bed::new();
    let jobs = bed.registry.counter("jobs_total", "").unwrap();
    let both = HistogramOptions::default().buckets(&[1.0]).native(NativeOptions::new(2.0).unwrap());
    let work = bed.registry.histogram_family_with("work_seconds", "", [], both).unwrap().with([]);
    jobs.add_with_exemplar(1.0, exemplar("a", 1.0, None));
    work.observe_with_exemplar(3.0, exemplar("b", 3.0, Some(2)));
    work.observe_with_exemplar(0.5, exemplar("c", 0.5, Some(1)));
    let exemplars = |lines: Vec<String>| lines.into_iter().filter(|line| line.contains(" # ")).collect::<Vec<_>>();
    assert_eq!(
        exemplars(bed.stored(5)),
        [
            r#"{__name__="jobs_total", job="j"} # {trace_id="a"} 1 @5"#,
            r#"{__name__="work_seconds", job="j"} # {trace_id="b"} 3 @2"#,
            r#"{__name__="work_seconds", job="j"} # {trace_id="c"} 0.5 @1"#,
        ]
    );
    assert!(exemplars(bed.stored(6)).is_empty());
    jobs.add_with_exemplar(1.0, exemplar("d", 1.0, Some(6)));
    work.observe_with_exemplar(8.0, exemplar("e", 8.0, Some(6)));
    assert_eq!(exemplars(bed.stored(7)).len(), 2);
}

#[test]
fn histograms_come_in_the_forms_that_are_asked_for() {
    let both = HistogramOptions::default().buckets(&[1.0]).native(NativeOptions::new(2.0).unwrap());
    let names = |change: fn(Feed) -> Feed| {
        let mut bed = Bed::with(change);
        bed.registry.histogram_family_with("both", "", [], both.clone()).unwrap().with([]).observe(3.0);
        bed.registry.histogram("classic", "", &[1.0]).unwrap().observe(3.0);
        let name = |line: String| line.split('"').nth(1).unwrap_or_default().to_owned();
        let mut names: Vec<_> = bed.stored(1).into_iter().map(name).collect();
        names.dedup();
        names
    };
    let classic = ["classic_bucket", "classic_count", "classic_sum"];
    assert_eq!(names(|feed| feed), [&["both"], &classic[..]].concat());
    assert_eq!(
        names(|feed| feed.native_histograms(false)),
        [&["both_bucket", "both_count", "both_sum"], &classic[..]].concat()
    );
    assert_eq!(
        names(|feed| feed.keep_classic_histograms(true)),
        [&["both", "both_bucket", "both_count", "both_sum"], &classic[..]].concat()
    );
    assert_eq!(names(|feed| feed.convert_classic_histograms(true)), ["both", "classic"]);
}

#[test]
fn labels_of_the_feed_displace_those_of_metrics() {
    let mut bed = Bed::new();
    bed.registry.gauge_family("a", "", ["job", "exported_job"]).unwrap().with(["own", "old"]).set(1.0);
    let expected = r#"{__name__="a", exported_exported_job="own", exported_job="old", job="j"} 1 @1 since 0"#;
    assert_eq!(bed.stored(1), [expected]);
    let mut honest = Feed::new(Labels::from_pairs([("job", "j")])).honor_labels(true);
    honest.gather(&bed.registry, Timestamp(2), &bed.storage).unwrap();
    assert_eq!(bed.samples(), [r#"{__name__="a", exported_job="old", job="own"} 1 @2 since 0"#]);
}

#[test]
fn metrics_of_another_time_are_not_marked() {
    let mut bed = Bed::new();
    let mut family = MetricFamily::new("old", "", MetricType::Gauge);
    family.push(Labels::empty(), MetricValue::Gauge(1.0));
    family.metrics[0].timestamp = Some(Timestamp(3));
    bed.feed.append(&[family], Timestamp(10), &bed.storage).unwrap();
    assert_eq!(bed.samples(), [r#"{__name__="old", job="j"} 1 @3"#]);
    assert_eq!(bed.feed.append(&[], Timestamp(20), &bed.storage).unwrap().stale, 0);
}

#[test]
fn what_is_there_twice_is_stored_once() {
    let mut bed = Bed::new();
    let mut family = MetricFamily::new("twice", "", MetricType::Gauge);
    family.push_number(Labels::empty(), 1.0);
    family.push_number(Labels::empty(), 2.0);
    bed.registry.collector(Arc::new(family));
    let summary = bed.feed.gather(&bed.registry, Timestamp(1), &bed.storage).unwrap();
    assert_eq!((summary.samples, summary.duplicates), (1, 1));
    assert_eq!(bed.samples(), [r#"{__name__="twice", job="j"} 1 @1"#]);
}

#[test]
fn two_registries_share_nothing() {
    let (mut one, mut other) = (Bed::new(), Bed::new());
    one.registry.counter("jobs_total", "").unwrap().inc();
    other.registry.counter("jobs_total", "").unwrap().inc_by(2);
    assert_eq!(one.stored(1), [r#"{__name__="jobs_total", job="j"} 1 @1 since 0"#]);
    assert_eq!(other.stored(1), [r#"{__name__="jobs_total", job="j"} 2 @1 since 0"#]);
}
