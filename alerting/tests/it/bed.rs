//! A storage in memory, a clock that follows tokio's, and a manager between them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferula_alerting::{
    Alert, AlertSink, EngineSource, GroupStatus, RuleManager, RuleManagerOptions, RuleSettings, Rules,
};
use ferula_exposition::Registry;
use ferula_model::{
    AppendError, Appendable, Appender, Clock, CommitError, CommitSummary, Exemplar, Labels, Metadata, Querier,
    Queryable, Sample, SelectError, SeriesRef, TimeRange, Timestamp, Value, is_stale,
};
use ferula_promql::testing::MemoryStorage;
use ferula_promql::{Engine, EngineOptions};
use tokio::time::Instant;

/// A storage that remembers what was appended, in order, and refuses what is out of order.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) memory: MemoryStorage,
    appended: Mutex<Appended>,
}

#[derive(Debug, Default)]
struct Appended {
    refs: Vec<Labels>,
    newest: BTreeMap<Labels, Timestamp>,
    lines: Vec<(Labels, Timestamp, f64)>,
    /// Commits fail from now on.
    broken: bool,
}

impl Store {
    pub(crate) fn set(&self, labels: &[(&str, &str)], at: Timestamp, value: f64) {
        self.memory.insert(&Labels::from_pairs(labels.iter().copied()), Sample::float(at, value));
    }

    pub(crate) fn break_commits(&self, broken: bool) {
        self.appended.lock().unwrap().broken = broken;
    }

    /// What rules wrote of a metric: `{labels without the name} value @seconds`, in the order of writing.
    pub(crate) fn written(&self, metric: &str) -> Vec<String> {
        let appended = self.appended.lock().unwrap();
        let of_metric = appended.lines.iter().filter(|(labels, ..)| labels.metric_name() == metric);
        let line = |(labels, at, value): &(Labels, Timestamp, f64)| {
            let value = if is_stale(*value) { "stale".to_owned() } else { value.to_string() };
            format!("{} {value} @{}", labels.without_metric_name(), at.as_secs_f64())
        };
        of_metric.map(line).collect()
    }

    /// The values and, relative to the first of them, the times that rules wrote of a metric: `1@0 2@10`.
    pub(crate) fn course(&self, metric: &str) -> String {
        let appended = self.appended.lock().unwrap();
        let of_metric: Vec<_> = appended.lines.iter().filter(|(labels, ..)| labels.metric_name() == metric).collect();
        let first = of_metric.first().map_or(0, |(_, at, _)| at.0);
        let show = |(_, at, value): &&(Labels, Timestamp, f64)| {
            let value = if is_stale(*value) { "stale".to_owned() } else { value.to_string() };
            format!("{value}@{}", (at.0 - first) / 1000)
        };
        of_metric.iter().map(show).collect::<Vec<_>>().join(" ")
    }
}

struct Batch<'a>(&'a Store, Vec<(Labels, Sample)>);

impl Appendable for Store {
    fn appender(&self) -> Box<dyn Appender + '_> {
        Box::new(Batch(self, Vec::new()))
    }
}

impl Appender for Batch<'_> {
    fn series(&mut self, labels: &[(&str, &str)]) -> Result<SeriesRef, AppendError> {
        let mut appended = self.0.appended.lock().unwrap();
        appended.refs.push(Labels::from_pairs(labels.iter().copied()));
        Ok(SeriesRef(appended.refs.len() as u64 - 1))
    }

    fn append(&mut self, series: SeriesRef, sample: Sample) -> Result<(), AppendError> {
        let appended = self.0.appended.lock().unwrap();
        let labels = appended.refs.get(series.0 as usize).ok_or(AppendError::UnknownSeries(series.0))?;
        if appended.newest.get(labels).is_some_and(|newest| *newest >= sample.timestamp) {
            return Err(AppendError::OutOfOrder);
        }
        self.1.push((labels.clone(), sample));
        Ok(())
    }

    fn append_exemplar(&mut self, _: SeriesRef, _: Exemplar) -> Result<(), AppendError> {
        Ok(())
    }

    fn set_metadata(&mut self, _: SeriesRef, _: &Metadata) -> Result<(), AppendError> {
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<CommitSummary, CommitError> {
        let mut appended = self.0.appended.lock().unwrap();
        if appended.broken {
            return Err(CommitError::NotWritable("the disk is full".to_owned()));
        }
        let samples = self.1.len();
        for (labels, sample) in self.1 {
            let value = match &sample.value {
                Value::Float(value) => *value,
                Value::Histogram(histogram) => histogram.sum(),
            };
            appended.newest.insert(labels.clone(), sample.timestamp);
            appended.lines.push((labels.clone(), sample.timestamp, value));
            self.0.memory.insert(&labels, sample);
        }
        Ok(CommitSummary { samples, dropped: 0 })
    }

    fn rollback(self: Box<Self>) {}
}

impl Queryable for Store {
    fn querier(&self, range: TimeRange) -> Result<Box<dyn Querier + '_>, SelectError> {
        self.memory.querier(range)
    }
}

/// Shows the time that tokio's paused clock has advanced since it was made, and ten hours more.
#[derive(Debug)]
pub(crate) struct TokioClock(Instant);

const BEGIN: Duration = Duration::from_hours(10);

impl TokioClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Instant::now()))
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp(i64::try_from((BEGIN + self.0.elapsed()).as_millis()).unwrap())
    }
}

/// Remembers alerts as they come.
#[derive(Default)]
pub(crate) struct Inbox(pub(crate) Mutex<Vec<Alert>>);

impl AlertSink for Inbox {
    fn send(&self, alerts: Vec<Alert>) {
        self.0.lock().unwrap().extend(alerts);
    }
}

impl Inbox {
    pub(crate) fn take(&self) -> Vec<Alert> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

pub(crate) struct Bed {
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Arc<TokioClock>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) registry: Registry,
    pub(crate) manager: RuleManager,
}

impl Bed {
    pub(crate) fn new() -> Self {
        Self::with(Arc::new(Store::default()), TokioClock::new(), |options| options)
    }

    pub(crate) fn with(
        store: Arc<Store>,
        clock: Arc<TokioClock>,
        change: impl FnOnce(RuleManagerOptions) -> RuleManagerOptions,
    ) -> Self {
        let (inbox, registry) = (Arc::new(Inbox::default()), Registry::new());
        let engine = Arc::new(Engine::new(EngineOptions::default()));
        let options =
            RuleManagerOptions::new(Arc::new(EngineSource::new(engine, store.clone())), store.clone(), clock.clone())
                .restore_from(store.clone())
                .notify(inbox.clone())
                .registry(registry.clone());
        Self { store, clock, inbox, registry, manager: RuleManager::new(change(options)).unwrap() }
    }

    pub(crate) async fn apply(&self, rules: &str) {
        self.manager.apply(Rules::parse("rules.yml", rules).unwrap(), settings()).await.unwrap();
    }

    /// Sets a sample now, that is seen by the evaluations of the next five minutes.
    pub(crate) fn set(&self, labels: &[(&str, &str)], value: f64) {
        self.store.set(labels, self.clock.now(), value);
    }

    pub(crate) fn group(&self) -> GroupStatus {
        self.manager.groups().remove(0)
    }

    /// The value of a metric of the manager, by the begin of its line.
    pub(crate) fn metric(&self, begin: &str) -> f64 {
        let mut text = Vec::new();
        ferula_exposition::encode(&self.registry.gather(), ferula_exposition::Format::Text, &mut text);
        let text = String::from_utf8(text).unwrap();
        let line = text.lines().find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("{begin} in {text}"));
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    }
}

pub(crate) fn settings() -> RuleSettings {
    RuleSettings {
        interval: Duration::from_secs(10),
        external_labels: Labels::from_pairs([("cluster", "eu")]),
        external_url: "http://localhost:9090".to_owned(),
        ..RuleSettings::default()
    }
}

pub(crate) async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}
