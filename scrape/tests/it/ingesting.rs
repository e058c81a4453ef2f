//! What must hold for every body that a target answers. A fuzz target looks for one for which it does not; its corpus is
//! replayed with the tests.
//!
//! Two targets of one job answer body after body, from a transport in memory, on a clock that is moved. The first answers
//! the whole input and so knows the last body's series from before; the second only has the last body. What is stored is
//! held against what the parser says of a body, and the two against each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferula_exposition::negotiate::{ScrapeProtocol, format_of_response};
use ferula_exposition::{Event, Format, ParseOptions, Parser};
use ferula_http::BodyBuffer;
use ferula_model::{
    AppendError, Appendable, Appender, Clock, CommitError, CommitSummary, Exemplar, Labels, Metadata, Sample,
    SeriesRef, Timestamp, Value,
};
use ferula_scrape::relabel::{Action, RelabelConfig, RelabelFields};
use ferula_scrape::{
    Fetch, FetchError, FetchRequest, Fetching, JobTransport, ManagerOptions, ScrapeConfig, ScrapeDefaults,
    ScrapeManager, Target, Transport, TransportError,
};
use tokio::time::{Instant, sleep};

const CONTENT_TYPES: [&str; 6] = [
    "text/plain; version=0.0.4",
    "application/openmetrics-text; version=1.0.0",
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
    "",
    "text/html",
    "no type",
];
/// Stands between the bodies of an input; no text format has it, and protobuf hardly ever.
const BETWEEN: &[u8] = b"\xff\xfe\xff";
const FIRST_MILLIS: i64 = 1_700_000_000_000;
/// The metrics of the report, as far as the jobs here have one.
const REPORT: [&[u8]; 5] = [
    b"up",
    b"scrape_duration_seconds",
    b"scrape_samples_scraped",
    b"scrape_samples_post_metric_relabeling",
    b"scrape_series_added",
];
const WARM: &str = "warm:1";
const COLD: &str = "cold:1";

/// The switches of a job, from the first three bytes of an input.
struct Job {
    content_type: &'static str,
    config: ScrapeConfig,
}

impl Job {
    fn new([kind, switches, limits]: [u8; 3]) -> Self {
        let mut config = ScrapeConfig::new("j").static_targets([WARM, COLD]);
        config.scrape_interval = Duration::from_secs(10);
        let on = |bit: u8| switches & (1 << bit) != 0;
        config.honor_labels = on(0);
        config.honor_timestamps = on(1);
        config.track_timestamps_staleness = on(2);
        config.scrape_native_histograms = Some(on(3));
        config.always_scrape_classic_histograms = Some(on(4));
        config.convert_classic_histograms_to_nhcb = Some(on(5));
        config.fallback_scrape_protocol = on(6).then_some(ScrapeProtocol::PrometheusText0_0_4);
        if on(7) {
            let fields = RelabelFields {
                source_labels: vec!["__name__".to_owned()],
                regex: "[a-m].*".to_owned(),
                action: Action::Drop,
                ..RelabelFields::default()
            };
            config.metric_relabel_configs.push(RelabelConfig::new(fields).unwrap());
        }
        config.limits.sample_limit = u64::from(limits & 7);
        config.limits.label_limit = u64::from(limits >> 3 & 7);
        config.limits.native_histogram_bucket_limit = u64::from(limits >> 6);
        config.validate(&ScrapeDefaults::default()).unwrap();
        Self { content_type: CONTENT_TYPES[usize::from(kind) % CONTENT_TYPES.len()], config }
    }

    /// How many samples the parser finds; `None` if the body cannot be read.
    fn samples(&self, body: &[u8]) -> Option<u64> {
        let format = match body {
            [] => Format::Text,
            _ => format_of_response(Some(self.content_type), self.config.fallback_scrape_protocol).ok()?,
        };
        let options = ParseOptions {
            native_histograms: self.config.scrape_native_histograms(),
            keep_classic_histograms: self.config.always_scrape_classic_histograms(),
            convert_classic_histograms: self.config.convert_classic_histograms(),
            ..ParseOptions::default()
        };
        let (mut parser, mut samples) = (Parser::new(body, format, &options), 0);
        while let Some(event) = parser.next() {
            samples += u64::from(matches!(event.ok()?, Event::Sample(_) | Event::Histogram(_)));
        }
        Some(samples)
    }

    fn has_limits(&self) -> bool {
        let limits = &self.config.limits;
        limits.sample_limit + limits.label_limit + limits.native_histogram_bucket_limit > 0
    }
}

/// What came of one scrape.
#[derive(Debug, Default)]
struct Scrape {
    /// The report, by metric.
    report: BTreeMap<String, f64>,
    /// What was stored beside it: times and values by labels.
    samples: BTreeMap<String, Vec<(i64, Value)>>,
    /// Series of which the end was to be marked, stored or not.
    ended: Vec<String>,
    /// When it was.
    at: i64,
}

/// No panic; all or nothing; the counts add up; exactly what ended is marked; and a series that is known is read as one that
/// is not.
pub(crate) fn ingesting(input: &[u8]) {
    let Some((switches, bodies)) = input.split_first_chunk::<3>() else { return };
    if claims_report(bodies) {
        return;
    }
    let job = Job::new(*switches);
    let mut answers = Vec::new();
    let mut rest = bodies;
    while let Some(at) = rest.windows(BETWEEN.len()).position(|window| window == BETWEEN).filter(|_| answers.len() < 3)
    {
        answers.push(&rest[..at]);
        rest = &rest[at + BETWEEN.len()..];
    }
    answers.push(rest);
    // The last one twice: what has not changed ends nothing.
    answers.push(rest);
    let count = answers.len();
    let cold = std::iter::repeat_n(None, count - 2).chain([Some(rest), Some(rest)]).collect();
    let scrapes =
        scraped(&job, BTreeMap::from([(WARM, answers.iter().map(|body| Some(*body)).collect()), (COLD, cold)]));
    for (target, answers) in [(WARM, answers.iter().map(|body| Some(*body)).collect()), (COLD, vec![None; count - 2])] {
        let mut before: Option<&Scrape> = None;
        for (scrape, body) in scrapes[target].iter().zip::<Vec<Option<&[u8]>>>(answers) {
            judge(&job, scrape, body);
            judge_ends(&job, before, scrape);
            before = Some(scrape);
        }
    }
    let (warm, cold) = (&scrapes[WARM][count - 2], &scrapes[COLD][count - 2]);
    assert_eq!(warm.report["up"], cold.report["up"], "known or new");
    for name in ["scrape_samples_scraped", "scrape_samples_post_metric_relabeling"] {
        assert_eq!(warm.report[name], cold.report[name], "{name}, known or new");
    }
    // With times of their own, samples of earlier bodies may forbid those of this one.
    if !job.config.honor_timestamps {
        let values = |scrape: &Scrape| -> Vec<(String, Vec<String>)> {
            let told = |samples: &Vec<(i64, Value)>| samples.iter().map(|(_, value)| format!("{value:?}")).collect();
            // A bound keeps its form while its line stays the same, even if a type line comes or goes: as upstream, where
            // the cache goes by the bytes of the line too.
            let plain = |series: &String| series.replace(".0\"", "\"").replace(WARM, "").replace(COLD, "");
            let mut values: Vec<_> =
                scrape.samples.iter().map(|(name, samples)| (plain(name), told(samples))).collect();
            values.sort();
            values
        };
        assert_eq!(values(warm), values(cold), "known or new");
    }
}

/// Whether a target names a series as the report does. The target's comes first and counts, as upstream, and the report cannot
/// be told from it.
fn claims_report(bodies: &[u8]) -> bool {
    let is_name = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    REPORT.iter().any(|metric| {
        let mut places = bodies.windows(metric.len()).enumerate().filter(|(_, window)| window == metric);
        places.any(|(from, _)| {
            !is_name(from.checked_sub(1).and_then(|at| bodies.get(at))) && !is_name(bodies.get(from + metric.len()))
        })
    })
}

fn judge(job: &Job, scrape: &Scrape, body: Option<&[u8]>) {
    let up = scrape.report["up"] == 1.0;
    let stored: usize = scrape.samples.values().map(Vec::len).sum();
    let (scraped, relabelled, added) = (
        scrape.report["scrape_samples_scraped"],
        scrape.report["scrape_samples_post_metric_relabeling"],
        scrape.report["scrape_series_added"],
    );
    assert!(relabelled <= scraped && added <= relabelled, "{:?}", scrape.report);
    match body.and_then(|body| job.samples(body)) {
        Some(samples) if up => {
            assert_eq!(scraped, samples as f64);
            assert!(stored as f64 <= relabelled, "{stored} stored of {relabelled}");
        }
        // A series may be refused for its labels, and a limit be broken.
        Some(samples) => assert!(scraped <= samples as f64),
        None => assert!(!up, "the parser refuses the body"),
    }
    assert!(up || stored == 0, "all or nothing: {stored} stored");
    let limit = job.config.limits.sample_limit;
    assert!(!up || limit == 0 || stored as u64 <= limit, "{stored} stored");
    assert!(up || job.has_limits() || body.is_none_or(|body| !body.is_empty()), "an empty body is a good one");
}

/// What was alive and did not go on has ended, and nothing else, and once.
fn judge_ends(job: &Job, before: Option<&Scrape>, scrape: &Scrape) {
    let tracked = |scrape: &Scrape| -> BTreeSet<String> {
        let is_tracked = |samples: &&Vec<(i64, Value)>| {
            job.config.track_timestamps_staleness || samples.iter().any(|(at, _)| *at == scrape.at)
        };
        let tracked = scrape.samples.iter().filter(|(_, samples)| is_tracked(samples));
        tracked.map(|(series, _)| series.clone()).collect()
    };
    let alive = before.map(tracked).unwrap_or_default();
    let ended: BTreeSet<String> = scrape.ended.iter().cloned().collect();
    assert_eq!(ended.len(), scrape.ended.len(), "marked twice: {:?}", scrape.ended);
    let expected: BTreeSet<String> = alive.difference(&tracked(scrape)).cloned().collect();
    assert_eq!(ended, expected);
}

/// Lets both targets answer, and gives what was stored of each, scrape by scrape.
fn scraped<'a>(job: &Job, answers: BTreeMap<&'a str, Vec<Option<&[u8]>>>) -> BTreeMap<&'a str, Vec<Scrape>> {
    let count = answers[WARM].len();
    let queued = |(target, bodies): (&&str, &Vec<Option<&[u8]>>)| {
        let bodies = bodies.iter().rev().map(|body| body.map(<[u8]>::to_vec)).collect();
        (format!("http://{target}/metrics"), bodies)
    };
    let script =
        Script { content_type: job.content_type, bodies: Arc::new(Mutex::new(answers.iter().map(queued).collect())) };
    let storage = Arc::new(Recorder::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let clock = Arc::new(MovedClock(Instant::now()));
        let options = ManagerOptions::new(storage.clone(), clock).transport(Arc::new(script));
        let manager = ScrapeManager::new(options).unwrap();
        manager.apply(vec![job.config.clone()]).unwrap();
        while storage.0.lock().unwrap().scrapes.values().map(Vec::len).min().unwrap_or(0) < count
            || storage.0.lock().unwrap().scrapes.len() < answers.len()
        {
            sleep(Duration::from_secs(5)).await;
        }
        manager.stop().await;
    });
    let mut recorded = std::mem::take(&mut *storage.0.lock().unwrap());
    answers.into_keys().map(|target| (target, recorded.scrapes.remove(target).unwrap_or_default())).collect()
}

/// Time as tokio's paused clock has it.
#[derive(Debug)]
struct MovedClock(Instant);

impl Clock for MovedClock {
    fn now(&self) -> Timestamp {
        Timestamp(FIRST_MILLIS + i64::try_from(self.0.elapsed().as_millis()).unwrap())
    }
}

type Bodies = Vec<Option<Vec<u8>>>;

/// Bodies by URL, the next one last; `None` cannot be reached.
#[derive(Clone, Debug)]
struct Script {
    content_type: &'static str,
    bodies: Arc<Mutex<BTreeMap<String, Bodies>>>,
}

impl Transport for Script {
    fn job(&self, _: &ScrapeConfig) -> Result<Box<dyn JobTransport>, TransportError> {
        Ok(Box::new(self.clone()))
    }
}

impl JobTransport for Script {
    fn target(&self, _: &Target) -> Result<Arc<dyn Fetch>, TransportError> {
        Ok(Arc::new(self.clone()))
    }
}

impl Fetch for Script {
    fn fetch<'a>(&'a self, request: &'a FetchRequest, body: &'a mut BodyBuffer) -> Fetching<'a> {
        let answer = self.bodies.lock().unwrap().get_mut(&request.url).and_then(Vec::pop).flatten();
        Box::pin(async move {
            let answer = answer.ok_or_else(|| FetchError::Other("connection refused".to_owned()))?;
            body.replace(&answer);
            Ok(self.content_type.to_owned())
        })
    }
}

/// A storage that remembers each batch, and takes nothing older than what a series has, nor another value for the same time.
#[derive(Debug, Default)]
struct Recorder(Mutex<Recorded>);

#[derive(Debug, Default)]
struct Recorded {
    refs: BTreeMap<Labels, u64>,
    labels: Vec<Labels>,
    newest: BTreeMap<u64, (i64, String)>,
    scrapes: BTreeMap<String, Vec<Scrape>>,
}

#[derive(Debug)]
struct Batch<'a> {
    storage: &'a Recorder,
    samples: Vec<(u64, i64, Value)>,
    markers: Vec<u64>,
}

impl Appendable for Recorder {
    fn appender(&self) -> Box<dyn Appender + '_> {
        Box::new(Batch { storage: self, samples: Vec::new(), markers: Vec::new() })
    }
}

impl Batch<'_> {
    fn newest(&self, series: u64) -> Option<(i64, String)> {
        let staged = self.samples.iter().rev().find(|(other, ..)| *other == series);
        match staged {
            Some((_, at, value)) => Some((*at, format!("{value:?}"))),
            None => self.storage.0.lock().unwrap().newest.get(&series).cloned(),
        }
    }
}

impl Appender for Batch<'_> {
    fn series(&mut self, labels: &[(&str, &str)]) -> Result<SeriesRef, AppendError> {
        assert!(labels.windows(2).all(|pair| pair[0].0 < pair[1].0), "sorted and unique: {labels:?}");
        assert!(labels.iter().all(|(name, value)| !name.is_empty() && !value.is_empty()), "{labels:?}");
        let mut recorded = self.storage.0.lock().unwrap();
        let labels = Labels::from_pairs(labels.iter().copied());
        let next = recorded.labels.len() as u64;
        let number = *recorded.refs.entry(labels.clone()).or_insert(next);
        if number == next {
            recorded.labels.push(labels);
        }
        Ok(SeriesRef(number))
    }

    fn append(&mut self, series: SeriesRef, sample: Sample) -> Result<(), AppendError> {
        let at = sample.timestamp.as_millis();
        if sample.value.is_stale() {
            self.markers.push(series.0);
        }
        match self.newest(series.0) {
            Some((newest, _)) if newest > at => return Err(AppendError::OutOfOrder),
            // The same once more is taken, as storages do.
            Some((newest, value)) if newest == at && value != format!("{:?}", sample.value) => {
                return Err(AppendError::DuplicateForTimestamp);
            }
            _ => {}
        }
        self.samples.push((series.0, at, sample.value));
        Ok(())
    }

    fn append_exemplar(&mut self, _: SeriesRef, _: Exemplar) -> Result<(), AppendError> {
        Ok(())
    }

    fn set_metadata(&mut self, _: SeriesRef, _: &Metadata) -> Result<(), AppendError> {
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<CommitSummary, CommitError> {
        let mut recorded = self.storage.0.lock().unwrap();
        let (mut scrape, mut instance) = (Scrape::default(), String::new());
        // The report comes last, and has the labels of the target alone.
        let report_from =
            self.samples.iter().rposition(|(series, ..)| recorded.labels[*series as usize].metric_name() == "up");
        for (place, (series, at, value)) in self.samples.iter().enumerate() {
            recorded.newest.insert(*series, (*at, format!("{value:?}")));
            let labels = &recorded.labels[*series as usize];
            match value {
                Value::Float(value) if report_from.is_some_and(|from| place >= from) => {
                    labels.get("instance").unwrap_or_default().clone_into(&mut instance);
                    scrape.report.insert(labels.metric_name().to_owned(), *value);
                    scrape.at = *at;
                }
                value if value.is_stale() => {}
                value => scrape.samples.entry(labels.to_string()).or_default().push((*at, value.clone())),
            }
        }
        scrape.ended = self.markers.iter().map(|series| recorded.labels[*series as usize].to_string()).collect();
        recorded.scrapes.entry(instance).or_default().push(scrape);
        Ok(CommitSummary { samples: self.samples.len(), dropped: 0 })
    }

    fn rollback(self: Box<Self>) {}
}
