//! What does the evaluator cost, storage aside?
//!
//! ```text
//! cargo bench -p ferula-promql                # all queries: CPU on one thread, time on all
//! cargo bench -p ferula-promql -- topk        # those whose text has `topk`
//! cargo bench -p ferula-promql -- memory      # peak memory of one query over ever more series
//! ```
//!
//! Samples come from columns in memory, so reading a series is a copy. CPU is the scheduler's account of the one thread that
//! works; the queries are the shapes of the project's comparison with other servers.

#![allow(clippy::print_stdout, clippy::expect_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use ferula_model::{
    Columns, Labels, Matcher, Querier, Queryable, SelectError, SelectHints, SeriesSet, StepGrid, TimeRange, Timestamp,
};
use ferula_promql::{Engine, EngineOptions, QueryOptions, Value};

const SCRAPE: i64 = 15_000;
const SAMPLES: i64 = 1_600;
const END: i64 = SCRAPE * SAMPLES;

/// A series whose samples follow from its number: counters rise, gauges wander.
struct Store {
    series: Vec<(Labels, Arc<[f64]>)>,
    times: Vec<i64>,
}

impl Store {
    fn new(mut labels: Vec<Vec<(String, String)>>) -> Self {
        labels.sort();
        let series = labels.iter().enumerate().map(|(index, pairs)| {
            let labels = Labels::from_pairs(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            let counter = !labels.metric_name().ends_with("bytes") && !labels.metric_name().ends_with("info");
            let mut state = index as u64 * 7919 + 1;
            let mut value = 0.0;
            let values = (0..SAMPLES).map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let noise = (state >> 33) as f64 / 2_147_483_648.0;
                value = if counter && noise > 0.999 {
                    0.0
                } else if counter {
                    value + noise * 10.0
                } else {
                    noise * 1e9
                };
                if labels.metric_name().ends_with("info") { 1.0 } else { value }
            });
            let values: Vec<f64> = values.collect();
            (labels, Arc::from(values))
        });
        // One scrape of ten is late by milliseconds.
        let late = |sample: i64| if sample % 10 == 3 { 3 + sample / 10 % 5 } else { 0 };
        Self { series: series.collect(), times: (1..=SAMPLES).map(|sample| sample * SCRAPE + late(sample)).collect() }
    }
}

impl Queryable for Store {
    fn querier(&self, _: TimeRange) -> Result<Box<dyn Querier + '_>, SelectError> {
        Ok(Box::new(View(self)))
    }
}

struct View<'s>(&'s Store);

impl Querier for View<'_> {
    fn select(&self, _: &SelectHints, matchers: &[Matcher]) -> Result<Box<dyn SeriesSet + '_>, SelectError> {
        let belongs = |labels: &Labels| matchers.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or_default()));
        let found = (0..self.0.series.len()).filter(|index| belongs(&self.0.series[*index].0)).collect();
        Ok(Box::new(Found { store: self.0, found }))
    }

    fn label_names(&self, _: &[Matcher], _: usize) -> Result<Vec<String>, SelectError> {
        Ok(Vec::new())
    }

    fn label_values(&self, _: &str, _: &[Matcher], _: usize) -> Result<Vec<String>, SelectError> {
        Ok(Vec::new())
    }
}

struct Found<'s> {
    store: &'s Store,
    found: Vec<usize>,
}

impl SeriesSet for Found<'_> {
    fn len(&self) -> usize {
        self.found.len()
    }

    fn labels(&self, index: usize) -> Labels {
        self.store.series[self.found[index]].0.clone()
    }

    fn read(&self, index: usize, range: TimeRange, columns: &mut Columns) -> Result<(), SelectError> {
        columns.clear();
        let from = self.store.times.partition_point(|time| *time < range.min.as_millis());
        let to = self.store.times.partition_point(|time| *time <= range.max.as_millis());
        columns.times.extend_from_slice(&self.store.times[from..to]);
        columns.values.extend_from_slice(&self.store.series[self.found[index]].1[from..to]);
        Ok(())
    }
}

/// Five families of about 5,000 series each.
fn families() -> Vec<Vec<(String, String)>> {
    let mut all = Vec::new();
    let mut add = |pairs: &[(&str, String)]| {
        all.push(pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect());
    };
    let name = |text: &str| ("__name__", text.to_owned());
    for instance in 0..50 {
        let on = ("instance", format!("host-{instance:03}.example:9100"));
        let job = ("job", format!("job-{}", instance % 5));
        for part in 0..100 {
            let mode = ("mode", ["idle", "user", "system", "iowait"][part % 4].to_owned());
            let code = ("code", ["200", "301", "404", "500"][part % 4].to_owned());
            let handler = ("handler", format!("/api/v1/path{}", part / 4));
            let le = ("le", ["0.01", "0.1", "0.5", "1", "+Inf"][part % 5].to_owned());
            let path = ("handler", format!("/api/v1/path{}", part / 5));
            let namespace = ("namespace", format!("ns-{}", part % 10));
            let pod = ("pod", format!("pod-{instance}-{part}"));
            add(&[name("cpu_seconds_total"), on.clone(), job.clone(), mode, ("cpu", (part / 4).to_string())]);
            add(&[name("requests_total"), on.clone(), job.clone(), code, handler]);
            add(&[name("duration_seconds_bucket"), on.clone(), job.clone(), le, path]);
            add(&[name("memory_bytes"), namespace.clone(), pod.clone(), ("container", "main".to_owned())]);
            add(&[name("pod_info"), namespace, pod, ("node", format!("node-{}", instance % 20))]);
        }
    }
    all
}

/// Text; seconds of range and step, or nothing for an instant query.
const QUERIES: &[(&str, Option<(u64, u64)>)] = &[
    ("sum(rate(requests_total[5m]))", Some((15_000, 15))),
    ("memory_bytes", None),
    ("count({__name__=~\".+\"})", None),
    ("count by (__name__) ({__name__=~\".+\"})", None),
    ("topk(10, rate(requests_total[5m]))", None),
    ("histogram_quantile(0.99, sum by (le, handler) (rate(duration_seconds_bucket[5m])))", None),
    ("label_replace(memory_bytes, \"host\", \"$1\", \"pod\", \"([^-]+)-.*\")", None),
    ("max_over_time(memory_bytes[1h])", None),
    ("quantile_over_time(0.9, memory_bytes[1h])", None),
    ("max_over_time(sum(rate(requests_total[5m]))[1h:1m])", None),
    ("memory_bytes * on (namespace, pod) group_left (node) pod_info", None),
    ("predict_linear(memory_bytes[1h], 14400) < 0 or memory_bytes", None),
    ("memory_bytes", Some((10_800, 30))),
    ("rate(cpu_seconds_total[5m])", Some((10_800, 30))),
    ("sum by (mode) (rate(cpu_seconds_total[5m]))", Some((10_800, 30))),
    ("sum by (namespace) (memory_bytes)", Some((10_800, 30))),
    ("histogram_quantile(0.95, sum by (le) (rate(duration_seconds_bucket[5m])))", Some((10_800, 30))),
    ("topk(5, sum by (handler) (rate(requests_total[5m])))", Some((3_600, 15))),
    ("topk(5, rate(requests_total[5m]))", Some((3_600, 15))),
    ("sum by (node) (memory_bytes * on (namespace, pod) group_left (node) pod_info)", Some((3_600, 15))),
    ("avg_over_time(memory_bytes[10m])", Some((15_000, 15))),
    ("max_over_time(memory_bytes[10m])", Some((15_000, 15))),
    ("quantile_over_time(0.9, memory_bytes[10m])", Some((3_600, 15))),
    ("max_over_time(rate(requests_total{code=\"200\"}[5m])[30m:1m])", Some((7_200, 60))),
    ("count by (job) ({__name__=~\".+\"})", Some((10_800, 30))),
    (
        "sum by (handler) (rate(requests_total{code=~\"5..\"}[5m])) / sum by (handler) (rate(requests_total[5m]))",
        Some((10_800, 30)),
    ),
    ("increase(requests_total[1h]) > 0", Some((6_000, 60))),
    ("sum by (instance) (rate(requests_total[1h]))", Some((3_600, 60))),
    ("count(memory_bytes offset -12m)", Some((3_600, 15))),
    ("quantile by (job) (0.9, rate(requests_total[5m]))", Some((3_600, 15))),
    ("stddev by (job) (rate(requests_total[5m]))", Some((3_600, 15))),
    ("avg by (job) (rate(requests_total[5m]))", Some((3_600, 15))),
    ("count_values(\"mode\", round(rate(requests_total[5m])))", Some((3_600, 15))),
    ("rate(requests_total[5m]) unless rate(requests_total{code=\"200\"}[5m])", Some((3_600, 15))),
    ("abs(memory_bytes - 5e8) > 1e8", Some((10_800, 30))),
];

fn run(engine: &Engine, store: &Store, query: &str, range: Option<(u64, u64)>) -> (usize, u64) {
    let end = Timestamp::from_millis(END);
    let options = QueryOptions::default();
    let answer = match range {
        None => engine.instant(store, query, end, &options),
        Some((length, step)) => {
            let start = end.saturating_sub(Duration::from_secs(length));
            let grid = StepGrid::new(start, end, Duration::from_secs(step)).expect("a grid");
            engine.range(store, query, grid, &options)
        }
    };
    let answer = answer.expect("an answer");
    let series = match &answer.value {
        Value::Matrix(series) => series.len(),
        Value::Vector(samples) => samples.len(),
        _ => 1,
    };
    (series, answer.statistics.samples.bytes_peak)
}

/// Nanoseconds that this thread has been on a processor.
fn cpu_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
}

fn engine(threads: Option<usize>) -> Engine {
    let mut options = EngineOptions::default();
    if let Some(threads) = threads {
        options.threads = threads;
    }
    Engine::new(options)
}

fn time(filter: &str) {
    let store = Store::new(families());
    let (one, all) = (engine(Some(1)), engine(None));
    println!("{:>9} {:>9} {:>8} {:>10}  query", "CPU ms", "time ms", "series", "peak bytes");
    for (query, range) in QUERIES.iter().filter(|(query, _)| query.contains(filter)) {
        let (mut best, mut fastest) = (u64::MAX, Duration::MAX);
        let (mut series, mut bytes) = (0, 0);
        for _ in 0..5 {
            let before = cpu_nanos();
            (series, bytes) = run(&one, &store, query, *range);
            best = best.min(cpu_nanos() - before);
            let before = Instant::now();
            run(&all, &store, query, *range);
            fastest = fastest.min(before.elapsed());
        }
        let kind = if range.is_some() { "range" } else { "instant" };
        println!(
            "{:>9.2} {:>9.2} {series:>8} {bytes:>10}  {kind} {query}",
            best as f64 / 1e6,
            fastest.as_secs_f64() * 1e3
        );
    }
}

fn resident_kilobytes(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn memory() {
    println!("{:>8} {:>12} {:>16} {:>14}  query", "series", "samples", "accounted bytes", "more RSS KiB");
    for count in [1_000, 10_000, 100_000] {
        let shared: Arc<[f64]> = (0..SAMPLES).map(|sample| sample as f64).collect();
        let labels = |index: usize| {
            let instance = format!("{index:06}");
            Labels::from_pairs([("__name__", "requests_total"), ("instance", instance.as_str()), ("job", "j")])
        };
        let store = Store {
            series: (0..count).map(|index| (labels(index), Arc::clone(&shared))).collect(),
            times: (1..=SAMPLES).map(|sample| sample * SCRAPE).collect(),
        };
        for query in ["sum(rate(requests_total[5m]))", "sum by (job) (requests_total * 2)"] {
            // Forgets the highest mark so far.
            let _ = std::fs::write("/proc/self/clear_refs", "5");
            let before = resident_kilobytes("VmRSS:");
            let (_, bytes) = run(&engine(None), &store, query, Some((15_000, 15)));
            let more = resident_kilobytes("VmHWM:").saturating_sub(before);
            println!("{count:>8} {:>12} {bytes:>16} {more:>14}  {query}", count as i64 * 1_000);
        }
    }
}

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with("--")).unwrap_or_default();
    if filter == "memory" { memory() } else { time(&filter) }
}
