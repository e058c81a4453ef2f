//! Start timestamps, from the bytes of a target to the answer of a query.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferula::model::{Clock, Columns, ManualClock, Matcher, Queryable, SelectHints, TimeRange, Timestamp, Value};
use ferula::scrape::{
    BodyBuffer, Fetch, FetchRequest, Fetching, JobTransport, ScrapeConfig, Target, Transport, TransportError,
};
use ferula::tsdb::Db;
use ferula::tsdb::fs::{Crash, MemFs};
use ferula::{Feature, Features, Job, Monitor, MonitorBuilder};

const NOW: i64 = 1_700_000_000_000;
const BODY: &str = "# TYPE requests counter\n\
    requests_total{path=\"/\"} 7\n\
    requests_created{path=\"/\"} 1699999000.5\n\
    # TYPE temperature gauge\n\
    temperature 20\n\
    # EOF\n";

/// A target that answers in OpenMetrics, and remembers what it was asked for.
#[derive(Clone, Debug, Default)]
struct Counter(Arc<Mutex<String>>);

impl Transport for Counter {
    fn job(&self, _: &ScrapeConfig) -> Result<Box<dyn JobTransport>, TransportError> {
        Ok(Box::new(self.clone()))
    }
}

impl JobTransport for Counter {
    fn target(&self, _: &Target) -> Result<Arc<dyn Fetch>, TransportError> {
        Ok(Arc::new(self.clone()))
    }
}

impl Fetch for Counter {
    fn fetch<'a>(&'a self, request: &'a FetchRequest, body: &'a mut BodyBuffer) -> Fetching<'a> {
        Box::pin(async move {
            self.0.lock().unwrap().clone_from(&request.accept);
            body.replace(BODY.as_bytes());
            Ok("application/openmetrics-text; version=1.0.0".to_owned())
        })
    }
}

fn monitor(disk: &MemFs, target: &Counter, clock: &Arc<ManualClock>, features: &str) -> MonitorBuilder {
    let mut enabled = Features::default();
    for name in features.split(',') {
        assert_eq!(enabled.enable(name), Ok(Feature::Enabled), "{name}");
    }
    let fs = Arc::new(disk.session());
    Monitor::builder("data")
        .storage(|db| db.fs(fs).lock_file(false).snapshot_on_close(false))
        .transport(Arc::new(target.clone()))
        .clock(clock.clone())
        .features(enabled)
        .job(Job::new("j").every(Duration::from_millis(50)).timeout(Duration::from_millis(50)).targets(["counter:80"]))
}

/// Waits until the counter was scraped; gives what a query answers then.
async fn scraped(monitor: &Monitor, query: &str) -> Option<f64> {
    while monitor.instant("requests_total").await.unwrap().vector().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    monitor.instant(query).await.unwrap().vector().unwrap().first().map(|sample| match &sample.value {
        Value::Float(value) => *value,
        Value::Histogram(_) => f64::NAN,
    })
}

/// The start timestamps of the counter, each once.
fn starts(db: &Db) -> Vec<i64> {
    let querier = db.querier(TimeRange::ALL).unwrap();
    let matcher = Matcher::equal("__name__", "requests_total");
    let set = querier.select(&SelectHints::default(), &[matcher]).unwrap();
    let mut columns = Columns::default();
    set.read(0, TimeRange::ALL, &mut columns).unwrap();
    assert!(columns.starts.is_empty() || columns.starts.len() == columns.times.len());
    columns.starts.dedup();
    columns.starts
}

#[test]
fn a_scraped_start_survives_a_crash_and_becomes_part_of_a_block() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (disk, target) = (MemFs::new(), Counter::default());
    let clock = Arc::new(ManualClock::at(Timestamp(NOW)));
    let features = "st-storage,use-start-timestamps,promql-experimental-functions";
    let query = "start_timestamp(requests_total)";
    for round in 0..2 {
        runtime.block_on(async {
            let monitor = monitor(&disk, &target, &clock, features).start().await.unwrap();
            assert_eq!(scraped(&monitor, query).await, Some(1_699_999_000.5));
            assert_eq!(starts(monitor.storage()), [1_699_999_000_500]);
            assert!(target.0.lock().unwrap().starts_with("application/vnd.google.protobuf"), "asked for first");
            disk.crash(Crash::Process);
            // The process is dead: what it still says, nobody hears.
            let _ = monitor.closed().await;
        });
        clock.advance(Duration::from_secs(3 * 3600));
        let db = Db::builder("data").fs(Arc::new(disk.session())).lock_file(false).open().unwrap();
        assert_eq!(starts(&db), [1_699_999_000_500], "in round {round}");
        if round == 1 {
            let tick = db.compact_head(clock.now());
            assert_eq!((tick.blocks.len(), tick.problems.len()), (1, 0), "{tick:?}");
            assert_eq!(starts(&db), [1_699_999_000_500], "in a block");
        }
    }
}

#[test]
fn without_the_feature_created_lines_are_series() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (disk, target) = (MemFs::new(), Counter::default());
        let clock = Arc::new(ManualClock::at(Timestamp(NOW)));
        let monitor = monitor(&disk, &target, &clock, "metadata-wal-records").start().await.unwrap();
        assert_eq!(scraped(&monitor, "requests_created").await, Some(1_699_999_000.5));
        assert!(starts(monitor.storage()).is_empty());
        assert!(target.0.lock().unwrap().starts_with("application/openmetrics-text"));
        monitor.closed().await.unwrap();
    });
}
