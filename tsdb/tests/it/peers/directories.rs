//! Whole data directories, both ways: blocks, log, log of late samples, head chunks, snapshot, exemplars.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ferula_model::{
    Appendable, Columns, CounterResetHint, Exemplar, ExemplarQueryable, FloatHistogram, Histogram, IntegerHistogram,
    Labels, Matcher, Metadata, MetricType, Queryable, STALE_MARKER, Sample, SelectHints, Span, TimeRange, Timestamp,
    Value,
};
use ferula_tsdb::compact::Retention;
use ferula_tsdb::{Db, DbBuilder};

use super::exact::{Exact, Written, assert_same, describe, values};
use super::server::Server;
use super::{EPOCH, peer, promtool};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
/// Bounds of custom buckets, of which one is no multiple of a thousandth.
const BOUNDS: [f64; 3] = [0.5, 2.25, 1_000.123_456_789];
/// How late samples may be.
const WINDOW: Duration = Duration::from_secs(6 * 3600);
const WINDOW_CONFIG: &str = "tsdb: {out_of_order_time_window: 6h}, exemplars: {max_exemplars: 1000}";

/// A sample every half a minute from `from` to `until`, of series of each kind and with each habit.
fn slice(from: i64, until: i64) -> Vec<Written> {
    let times = || (from..until).step_by(30_000);
    let steps = |time: i64| (time - EPOCH) / 30_000;
    let write = |name: &str, kind: &str, value: &dyn Fn(i64) -> Value| Written {
        labels: Labels::from_pairs([("__name__", name), ("job", "größe"), ("kind", kind)]),
        samples: times().map(|time| (time, value(steps(time)))).collect(),
        exemplars: Vec::new(),
    };
    let mut all = vec![
        write("requests_total", "counter", &|n| Value::Float((n * 7 % 1_000) as f64)),
        write("temperature", "gauge", &|n| {
            Value::Float(match n % 50 {
                11 => STALE_MARKER,
                12 => f64::NEG_INFINITY,
                13 => -0.0,
                14 => 1e-300,
                n => n as f64 / 8.0,
            })
        }),
        write("doomed", "all", &|n| Value::Float(n as f64)),
        write("doomed", "some", &|n| Value::Float(n as f64)),
        write("latency", "integer", &|n| integer(n, CounterResetHint::Unknown)),
        write("latency", "gauge", &|n| integer(n * 13 % 17, CounterResetHint::Gauge)),
        write("latency", "float", &|n| float(n)),
        write("latency", "custom", &|n| custom(n)),
        write("latency", "custom-float", &|n| custom_float(n)),
        write("latency", "stale", &|n| if n % 20 == 19 { stale() } else { integer(n, CounterResetHint::Unknown) }),
        // Changes its mind between requests.
        write("mixed", "both", &|n| if n / 60 % 2 == 0 { Value::Float(n as f64) } else { float(n) }),
    ];
    // A new series in every slice.
    all.push(write(&format!("short_{}", steps(from)), "churn", &|n| Value::Float(n as f64)));
    for series in all.iter_mut().filter(|series| series.labels.metric_name() == "requests_total") {
        let last = series.samples.last().unwrap().0;
        let labels = Labels::from_pairs([("trace_id", format!("trace-{}", steps(last)))]);
        series.exemplars.push((last, Exemplar { labels, value: 0.25, timestamp: Some(Timestamp(last)) }));
    }
    all
}

/// Cumulative, with buckets that come one after the other, and a reset now and then.
fn integer(n: i64, hint: CounterResetHint) -> Value {
    let n = n % 100;
    let third = n / 10;
    let buckets = if third == 0 { vec![n, 1] } else { vec![n, 1, third - n - 1] };
    let spans = vec![Span { offset: -2, length: 2 }, Span { offset: 3, length: u32::from(third != 0) }];
    let spans = spans.into_iter().filter(|span| span.length > 0).collect();
    Value::Histogram(Histogram::Integer(Arc::new(IntegerHistogram {
        counter_reset: hint,
        schema: 1,
        zero_threshold: 0.001,
        zero_count: n as u64,
        count: (n + n + n + 1 + third + n) as u64,
        sum: n as f64 * 1.5,
        positive_spans: spans,
        positive_buckets: buckets,
        negative_spans: vec![Span { offset: 1, length: 1 }],
        negative_buckets: vec![n],
        ..Default::default()
    })))
}

fn float(n: i64) -> Value {
    let n = (n % 150) as f64;
    Value::Histogram(Histogram::Float(Arc::new(FloatHistogram {
        schema: 3,
        zero_threshold: 0.25,
        zero_count: n / 2.0,
        count: n * 4.0,
        sum: n * 0.1,
        positive_spans: vec![Span { offset: 4, length: 2 }],
        positive_buckets: vec![n, n * 1.5],
        negative_spans: vec![Span { offset: -5, length: 1 }],
        negative_buckets: vec![n],
        ..Default::default()
    })))
}

fn custom(n: i64) -> Value {
    Value::Histogram(Histogram::Integer(Arc::new(IntegerHistogram {
        schema: -53,
        count: 3 * n as u64 + 1,
        sum: n as f64,
        positive_spans: vec![Span { offset: 0, length: 3 }],
        positive_buckets: vec![n, 0, 1],
        custom_values: BOUNDS.into(),
        ..Default::default()
    })))
}

fn custom_float(n: i64) -> Value {
    let n = n as f64;
    Value::Histogram(Histogram::Float(Arc::new(FloatHistogram {
        schema: -53,
        count: n * 1.5,
        sum: n,
        positive_spans: vec![Span { offset: 1, length: 2 }],
        positive_buckets: vec![n, n / 2.0],
        custom_values: [0.5, 2.0].into(),
        ..Default::default()
    })))
}

fn stale() -> Value {
    Value::Histogram(Histogram::Integer(Arc::new(IntegerHistogram { sum: STALE_MARKER, ..Default::default() })))
}

/// Late samples of series that have others, and of one that has nothing else; so many that chunks become full, in no order.
fn late(from: i64) -> Vec<Written> {
    let write = |name: &str, kind: &str, count: i64, value: &dyn Fn(i64) -> Value| {
        let time = |n: i64| from + n * 29 % count * 30_000 + 7;
        (0..count)
            .map(|n| Written {
                labels: Labels::from_pairs([("__name__", name), ("job", "größe"), ("kind", kind)]),
                samples: vec![(time(n), value(n))],
                exemplars: Vec::new(),
            })
            .collect::<Vec<_>>()
    };
    let mut all = write("requests_total", "counter", 75, &|n| Value::Float(n as f64 + 0.5));
    all.extend(write("latency", "integer", 45, &|n| integer(n, CounterResetHint::Unknown)));
    all.extend(write("latency", "float", 20, &float));
    all.extend(write("only_late", "late", 50, &|n| Value::Float(-n as f64)));
    all
}

/// Slices of half an hour.
fn slices(from: i64, until: i64) -> impl Iterator<Item = Vec<Written>> {
    (from..until).step_by(30 * MINUTE as usize).map(move |start| slice(start, (start + 30 * MINUTE).min(until)))
}

fn open(path: &Path) -> DbBuilder {
    Db::builder(path).out_of_order_window(WINDOW).exemplars(1_000).retention(Retention::default())
}

fn read_everything(db: &Db) -> Exact {
    let querier = db.querier(TimeRange::ALL).unwrap();
    let set = querier.select(&SelectHints::default(), &[]).unwrap();
    let (mut all, mut columns) = (Exact::new(), Columns::default());
    for index in 0..set.len() {
        set.read(index, TimeRange::ALL, &mut columns).unwrap();
        let samples = values(std::mem::take(&mut columns));
        if !samples.is_empty() {
            let described = samples.iter().map(|(time, value)| (*time, describe(value))).collect();
            assert!(all.insert(set.labels(index).to_string(), described).is_none(), "no series twice");
        }
    }
    all
}

/// The bounds of custom buckets came along.
fn assert_custom_bounds(db: &Db) {
    let querier = db.querier(TimeRange::ALL).unwrap();
    for (kind, bounds) in [("custom", BOUNDS.as_slice()), ("custom-float", &[0.5, 2.0])] {
        let set = querier.select(&SelectHints::default(), &[Matcher::equal("kind", kind)]).unwrap();
        let mut columns = Columns::default();
        set.read(0, TimeRange::ALL, &mut columns).unwrap();
        assert!(columns.histograms.len() > 500);
        for histogram in &columns.histograms {
            let found = match histogram {
                Histogram::Integer(h) => &h.custom_values,
                Histogram::Float(h) => &h.custom_values,
            };
            assert_eq!(&**found, bounds);
        }
    }
}

/// As `query_exemplars` lists them, without what the labels of the series are.
fn exemplars(db: &Db) -> Vec<(String, f64)> {
    let found = db.exemplars(TimeRange::ALL, &[Vec::new()]).unwrap();
    let all = found.iter().flat_map(|series| &series.exemplars);
    all.map(|exemplar| (exemplar.labels.get("trace_id").unwrap().to_owned(), exemplar.value)).collect()
}

fn their_exemplars(server: &Server) -> Vec<(String, f64)> {
    let found = server.exemplars();
    let all = found.as_array().unwrap().iter().flat_map(|series| series["exemplars"].as_array().unwrap());
    let read = |exemplar: &serde_json::Value| {
        let value = exemplar["value"].as_str().unwrap().parse().unwrap();
        (exemplar["labels"]["trace_id"].as_str().unwrap().to_owned(), value)
    };
    all.map(read).collect()
}

/// Lets a real server write a directory, in two lives, and compares what it answered last with what we read there.
fn we_answer_as_they_did(features: &str, is_clean: bool) {
    let Some(binary) = peer("prometheus") else { return };
    let folder = tempfile::tempdir().unwrap();
    let start = || Server::start(&binary, folder.path(), WINDOW_CONFIG, &[features]);
    let server = start();
    slices(EPOCH, EPOCH + 5 * HOUR).for_each(|slice| server.write(&slice));
    server.wait_until("a block is written", || server.metric("prometheus_tsdb_head_truncations_total") > 0.0);
    // Before and in the head: each a chunk that is full, and one that is not.
    [EPOCH + HOUR, EPOCH + 3 * HOUR].into_iter().for_each(|from| server.write(&late(from)));
    let delete = |matcher: &str, from: i64, until: i64| {
        let matcher: String = matcher.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let path = "/api/v1/admin/tsdb/delete_series";
        let path = format!("{path}?match[]={matcher}&start={}&end={}", from / 1000, until / 1000);
        server.request("POST", &path, &[], &[]).unwrap();
    };
    delete("{kind=\"all\"}", EPOCH, EPOCH + 9 * HOUR);
    delete("{kind=\"some\"}", EPOCH + HOUR, EPOCH + 3 * HOUR);
    server.stop();
    let server = start();
    slices(EPOCH + 5 * HOUR, EPOCH + 6 * HOUR).for_each(|slice| server.write(&slice));
    server.write(&late(EPOCH + 4 * HOUR));
    let theirs = server.read_everything();
    let their_exemplars = their_exemplars(&server);
    assert!(theirs.len() > 20 && !their_exemplars.is_empty());
    if is_clean {
        server.stop()
    } else {
        server.kill()
    }
    let data = folder.path().join("data");
    if is_clean && !features.contains("snapshot") {
        assert!(std::fs::read_dir(data.join("chunks_head")).unwrap().count() > 0);
    }
    let db = open(&data).open().unwrap();
    let report = db.opened();
    assert!(
        report.damage.is_empty()
            && report.bad_records == 0
            && report.unknown.total() + report.unknown_late.total() == 0,
        "{report:?}"
    );
    assert_eq!(report.damaged_chunk_files, 0);
    assert_eq!(report.from_snapshot, is_clean && features.contains("snapshot"));
    assert!(db.quarantined().is_empty() && !db.blocks().is_empty());
    assert_same("opened", &theirs, &read_everything(&db));
    assert_custom_bounds(&db);
    let exemplars = exemplars(&db);
    // At a start without a snapshot, upstream forgets exemplars that are older than its head; the log has them still.
    assert!(exemplars.ends_with(&their_exemplars), "{exemplars:?} {their_exemplars:?}");
    assert_eq!(exemplars.len(), 12);
    // Ours from now on: it is written as blocks, unless the real server came first with all that was due, and read again.
    let tick = db.compact_head(Timestamp(EPOCH + 6 * HOUR));
    assert!(tick.problems.is_empty(), "{tick:?}");
    assert_same("compacted", &theirs, &read_everything(&db));
    db.close().unwrap();
    assert_same("opened again", &theirs, &read_everything(&open(&data).open().unwrap()));
}

#[test]
fn we_open_what_the_real_server_left_at_a_clean_stop() {
    we_answer_as_they_did("--enable-feature=exemplar-storage", true);
}

#[test]
fn we_open_what_the_real_server_left_when_it_was_killed() {
    we_answer_as_they_did("--enable-feature=exemplar-storage", false);
}

#[test]
fn we_open_what_the_real_server_left_with_a_snapshot() {
    we_answer_as_they_did("--enable-feature=exemplar-storage,memory-snapshot-on-shutdown", true);
}

#[test]
fn we_open_what_the_real_server_left_when_it_was_killed_after_a_snapshot() {
    we_answer_as_they_did("--enable-feature=exemplar-storage,memory-snapshot-on-shutdown", false);
}

fn append(db: &Db, written: &[Written]) {
    let mut appender = db.appender();
    for series in written {
        let pairs: Vec<(&str, &str)> = series.labels.iter().collect();
        let number = appender.series(&pairs).unwrap();
        for (time, value) in &series.samples {
            let sample = Sample { timestamp: Timestamp(*time), start: None, value: value.clone() };
            appender.append(number, sample).unwrap();
        }
        for (_, exemplar) in &series.exemplars {
            appender.append_exemplar(number, exemplar.clone()).unwrap();
        }
        let metadata = Metadata { metric_type: MetricType::Counter, unit: String::new(), help: "Some help.".into() };
        appender.set_metadata(number, &metadata).unwrap();
    }
    appender.commit().unwrap();
}

/// How our database ends before the real server has it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Snapshot,
    Closed,
    Killed,
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else if entry.file_name() != "lock" {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Late samples that are deleted. Upstream has no record for that: it sees those again that it meets in a log.
const DELETED_LATE: std::ops::Range<i64> = EPOCH + HOUR..EPOCH + HOUR + 10 * MINUTE;

fn is_deleted_late(labels: &str, time: i64) -> bool {
    labels.contains("only_late") && DELETED_LATE.contains(&time)
}

/// Writes a directory, in two lives, and compares what the real server answers from it with what we answered last.
fn they_answer_as_we_did(end: End) {
    let (Some(binary), Some(tool)) = (peer("prometheus"), peer("promtool")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (written, data) = (folder.path().join("written"), folder.path().join("data"));
    let db = open(&written).open().unwrap();
    slices(EPOCH, EPOCH + 5 * HOUR).for_each(|slice| append(&db, &slice));
    let tick = db.tick(Timestamp(EPOCH + 5 * HOUR));
    assert!(tick.problems.is_empty() && tick.blocks.len() == 1, "{tick:?}");
    [EPOCH + HOUR, EPOCH + 3 * HOUR].into_iter().for_each(|from| append(&db, &late(from)));
    let delete = |kind: &str, from: i64, until: i64| {
        let range = TimeRange::new(Timestamp(from), Timestamp(until));
        assert!(db.delete(range, &[Matcher::equal("kind", kind)]).unwrap() > 0);
    };
    delete("all", EPOCH, EPOCH + 9 * HOUR);
    delete("some", EPOCH + HOUR, EPOCH + 3 * HOUR);
    // Some of the late samples too.
    delete("late", DELETED_LATE.start, DELETED_LATE.end);
    db.close().unwrap();
    drop(db);
    let db = open(&written).snapshot_on_close(end == End::Snapshot).open().unwrap();
    slices(EPOCH + 5 * HOUR, EPOCH + 6 * HOUR).for_each(|slice| append(&db, &slice));
    append(&db, &late(EPOCH + 4 * HOUR));
    let ours = read_everything(&db);
    let our_exemplars = exemplars(&db);
    assert!(ours.len() > 20 && !our_exemplars.is_empty());
    if end != End::Killed {
        db.close().unwrap();
    }
    copy(&written, &data);
    copy(&written, &folder.path().join("copy"));
    let features = match end {
        End::Snapshot => "--enable-feature=exemplar-storage,memory-snapshot-on-shutdown",
        _ => "--enable-feature=exemplar-storage",
    };
    let server = Server::start(&binary, folder.path(), WINDOW_CONFIG, &[features]);
    for damage in ["snapshot_replay_error_total", "wal_corruptions_total", "mmap_chunk_corruptions_total"] {
        assert_eq!(server.metric(&format!("prometheus_tsdb_{damage}")), 0.0, "{damage}");
    }
    let log = std::fs::read_to_string(folder.path().join("prometheus.log")).unwrap();
    assert_eq!(log.contains("Chunk snapshot loading time"), end == End::Snapshot, "{log}");
    let alarming = log.lines().find(|line| line.contains("level=WARN") || line.contains("level=ERROR"));
    assert_eq!(alarming, None);
    let mut theirs = server.read_everything();
    theirs.iter_mut().for_each(|(labels, samples)| samples.retain(|time, _| !is_deleted_late(labels, *time)));
    assert_same("started", &theirs, &ours);
    let their_exemplars = their_exemplars(&server);
    assert!(our_exemplars.ends_with(&their_exemplars), "{their_exemplars:?} {our_exemplars:?}");
    assert_eq!(their_exemplars.len(), if end == End::Snapshot { 12 } else { 8 });
    for hour in 0..6 {
        let time = (EPOCH + hour * HOUR) / 1000 + 1800;
        let query = "latency%7Bkind%3D%22custom%22%7D";
        let answer = server.request("GET", &format!("/api/v1/query?query={query}&time={time}"), &[], &[]).unwrap();
        assert!(answer.contains("\"2.25\",\"1000.123456789\""), "{answer}");
    }
    // And once more, after its own checkpoint and compaction.
    slices(EPOCH + 6 * HOUR, EPOCH + 8 * HOUR).for_each(|slice| server.write(&slice));
    server.wait_until("a block is written", || server.metric("prometheus_tsdb_head_truncations_total") > 0.0);
    let theirs = server.read_everything();
    for (labels, samples) in &ours {
        let kept = theirs.get(labels).into_iter().flatten().map(|(time, _)| *time);
        let kept = kept.filter(|time| *time < EPOCH + 6 * HOUR && !is_deleted_late(labels, *time));
        assert_eq!(kept.count(), samples.len(), "{labels}");
    }
    promtool_reads(&tool, &folder.path().join("copy"), &ours);
}

fn promtool_reads(tool: &Path, data: &Path, ours: &Exact) {
    let path = data.to_str().unwrap();
    let list = promtool(tool, &["tsdb", "list", path]);
    assert!(list.lines().count() > 1, "{list}");
    let analysis = promtool(tool, &["tsdb", "analyze", path]);
    assert!(analysis.contains("Total Series: "), "{analysis}");
    let dump = promtool(tool, &["tsdb", "dump", path]);
    for (labels, samples) in ours.iter().filter(|(labels, _)| !labels.contains("latency") && !labels.contains("mixed"))
    {
        let lines = dump.lines().filter_map(|line| line.strip_prefix(labels.as_str()));
        let dumped = lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<i64>().unwrap());
        let dumped: Vec<i64> = dumped.filter(|time| !is_deleted_late(labels, *time)).collect();
        let missing: Vec<i64> = samples.keys().copied().filter(|time| !dumped.contains(time)).collect();
        let strange: Vec<&i64> = dumped.iter().filter(|time| !samples.contains_key(time)).collect();
        assert_eq!((dumped.len(), missing, strange), (samples.len(), Vec::new(), Vec::new()), "{labels}");
    }
}

#[test]
fn the_real_server_opens_what_we_left_at_a_clean_close() {
    they_answer_as_we_did(End::Closed);
}

#[test]
fn the_real_server_opens_what_we_left_with_a_snapshot() {
    they_answer_as_we_did(End::Snapshot);
}

#[test]
fn the_real_server_opens_what_we_left_when_we_were_killed() {
    they_answer_as_we_did(End::Killed);
}
