//! Bodies in, appends out, against a storage that writes down what it is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use ferula_exposition::Format;
use ferula_model::{
    AppendError, Appendable, Appender, CommitError, CommitSummary, Exemplar, Labels, Metadata, Sample, SeriesRef,
    Timestamp, Value, is_stale,
};
use parking_lot::Mutex;

use super::body::FUTURE_MILLIS_MAX;
use super::*;
use crate::relabel::{Action, RelabelConfig, RelabelFields};

/// Remembers every sample of every committed batch.
#[derive(Debug, Default)]
struct Recorder(Mutex<Recorded>);

#[derive(Debug, Default)]
struct Recorded {
    series: BTreeMap<Labels, u64>,
    newest: BTreeMap<u64, (Timestamp, u64)>,
    lines: Vec<String>,
    asked: usize,
    forgotten: Vec<u64>,
    room: Option<usize>,
}

struct Batch<'a> {
    storage: &'a Recorder,
    samples: Vec<(u64, Sample)>,
    exemplars: Vec<(u64, Exemplar)>,
}

impl Appendable for Recorder {
    fn appender(&self) -> Box<dyn Appender + '_> {
        Box::new(Batch { storage: self, samples: Vec::new(), exemplars: Vec::new() })
    }
}

impl Appender for Batch<'_> {
    fn series(&mut self, labels: &[(&str, &str)]) -> Result<SeriesRef, AppendError> {
        assert!(labels.is_sorted() && labels.iter().all(|(_, value)| !value.is_empty()));
        let mut recorded = self.storage.0.lock();
        recorded.asked += 1;
        let labels = Labels::from_pairs(labels.iter().copied());
        if let Some(known) = recorded.series.get(&labels) {
            return Ok(SeriesRef(*known));
        }
        if recorded.room.is_some_and(|room| recorded.series.len() >= room) {
            return Err(AppendError::SeriesLimit { limit: 0 });
        }
        let number = recorded.series.len() as u64 + 1 + recorded.forgotten.len() as u64;
        recorded.series.insert(labels, number);
        Ok(SeriesRef(number))
    }

    fn append(&mut self, series: SeriesRef, sample: Sample) -> Result<(), AppendError> {
        let recorded = self.storage.0.lock();
        if recorded.forgotten.contains(&series.0) {
            return Err(AppendError::UnknownSeries(series.0));
        }
        let bits = if let Value::Float(value) = &sample.value { value.to_bits() } else { 0 };
        match recorded.newest.get(&series.0) {
            Some((newest, _)) if sample.timestamp < *newest => return Err(AppendError::OutOfOrder),
            Some((newest, stored)) if sample.timestamp == *newest && bits != *stored => {
                return Err(AppendError::DuplicateForTimestamp);
            }
            _ => {}
        }
        self.samples.push((series.0, sample));
        Ok(())
    }

    fn append_exemplar(&mut self, series: SeriesRef, exemplar: Exemplar) -> Result<(), AppendError> {
        self.exemplars.push((series.0, exemplar));
        Ok(())
    }

    fn set_metadata(&mut self, _: SeriesRef, _: &Metadata) -> Result<(), AppendError> {
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<CommitSummary, CommitError> {
        let mut recorded = self.storage.0.lock();
        let names: BTreeMap<u64, String> =
            recorded.series.iter().map(|(labels, number)| (*number, labels.to_string())).collect();
        for (series, sample) in &self.samples {
            let (at, value) = (sample.timestamp, &sample.value);
            let text = match value {
                Value::Float(value) if is_stale(*value) => "stale".to_owned(),
                Value::Float(value) => value.to_string(),
                Value::Histogram(histogram) => histogram.to_string(),
            };
            let bits = if let Value::Float(value) = value { value.to_bits() } else { 0 };
            recorded.newest.insert(*series, (at, bits));
            let since = sample.start.map_or(String::new(), |start| format!(" since {}", start.0));
            recorded.lines.push(format!("{} {text} @{}{since}", names[series], at.0));
        }
        for (series, exemplar) in &self.exemplars {
            let at = exemplar.timestamp.unwrap().0;
            recorded.lines.push(format!("{} # {} {} @{at}", names[series], exemplar.labels, exemplar.value));
        }
        Ok(CommitSummary { samples: self.samples.len(), dropped: 0 })
    }

    fn rollback(self: Box<Self>) {}
}

/// A target and its storage.
struct Bed {
    storage: Recorder,
    ingestor: Ingestor,
}

impl Bed {
    fn new(change: impl FnOnce(&mut IngestRules)) -> Self {
        Self { storage: Recorder::default(), ingestor: Ingestor::new(Arc::new(rules(change))) }
    }

    /// Scrapes a body as a worker does; gives what was stored, counts and the error.
    fn scrape(&mut self, body: &str, at: i64) -> (Vec<String>, Counts, Option<String>) {
        self.scrape_as(body, Format::Text, at)
    }

    fn scrape_as(&mut self, body: &str, format: Format, at: i64) -> (Vec<String>, Counts, Option<String>) {
        let at = Timestamp(at);
        let mut appender = self.storage.appender();
        let (counts, outcome) = self.ingestor.ingest(&mut *appender, body.as_bytes(), format, at);
        if outcome.is_err() {
            appender.rollback();
            appender = self.storage.appender();
            self.ingestor.mark_all_stale(&mut *appender, at);
        }
        appender.commit().unwrap();
        let lines = std::mem::take(&mut self.storage.0.lock().lines);
        (lines, counts, outcome.err().map(|error| error.to_string()))
    }

    fn stored(&mut self, body: &str, at: i64) -> Vec<String> {
        let (lines, _, error) = self.scrape(body, at);
        assert_eq!(error, None);
        lines
    }
}

fn rules(change: impl FnOnce(&mut IngestRules)) -> IngestRules {
    let mut rules = IngestRules { honor_timestamps: true, ..IngestRules::default() };
    change(&mut rules);
    rules
}

fn target(rules: &mut IngestRules) {
    rules.series.target = Labels::from_pairs([("job", "j"), ("instance", "i")]);
}

fn relabel(fields: RelabelFields) -> Arc<[RelabelConfig]> {
    Arc::new([RelabelConfig::new(fields).unwrap()])
}

#[test]
fn samples_get_the_labels_of_the_target_and_known_ones_are_not_asked_for_again() {
    let mut bed = Bed::new(target);
    let body = "# TYPE a counter\na{x=\"1\"} 1\na{x=\"2\"} 2\n";
    assert_eq!(
        bed.stored(body, 10),
        [
            r#"{__name__="a", instance="i", job="j", x="1"} 1 @10"#,
            r#"{__name__="a", instance="i", job="j", x="2"} 2 @10"#
        ]
    );
    assert_eq!(bed.stored(body, 20).len(), 2);
    assert_eq!(bed.storage.0.lock().asked, 2);
}

#[test]
fn starts_are_stored_or_become_zeros_or_both() {
    let body = "# TYPE a counter\na_total{x=\"1\"} 7\na_created{x=\"1\"} 0.004\na_total{x=\"2\"} 8\n# EOF\n";
    let (one, two) = (r#"{__name__="a_total", x="1"}"#, r#"{__name__="a_total", x="2"}"#);
    let plain = |at| [format!("{one} 7 @{at}"), format!("{two} 8 @{at}")];
    let since = |at| [format!("{one} 7 @{at} since 4"), format!("{two} 8 @{at}")];
    let zero = [format!("{one} 0 @4")];
    let cases = [
        (false, true, [zero.as_slice(), &plain(10)].concat(), plain(20).to_vec()),
        (true, false, since(10).to_vec(), since(20).to_vec()),
        (true, true, [zero.as_slice(), &since(10)].concat(), since(20).to_vec()),
    ];
    for (store, zero_samples, first, second) in cases {
        let mut bed = Bed::new(|rules| {
            rules.parse.start_timestamps = true;
            rules.starts = StartTimestamps::of_features(store, zero_samples);
        });
        assert_eq!(bed.scrape_as(body, Format::OpenMetrics, 10).0, first);
        assert_eq!(bed.scrape_as(body, Format::OpenMetrics, 20).0, second);
        assert_eq!(
            bed.scrape_as(body, Format::OpenMetrics, 3).0.len(),
            0,
            "a start in the future is none; the rest is late"
        );
    }
    // Whoever does not ask for them has the lines as samples.
    let mut bed = Bed::new(|_| {});
    let (lines, ..) = bed.scrape_as(body, Format::OpenMetrics, 10);
    assert!(lines.contains(&"{__name__=\"a_created\", x=\"1\"} 0.004 @10".to_owned()), "{lines:?}");
}

#[test]
fn displaced_labels_are_exported_until_the_name_is_free() {
    let body = "a{job=\"own\",exported_job=\"old\",instance=\"\"} 1\n";
    let mut bed = Bed::new(target);
    assert_eq!(
        bed.stored(body, 1),
        [r#"{__name__="a", exported_exported_job="own", exported_job="old", instance="i", job="j"} 1 @1"#]
    );
    let mut bed = Bed::new(|rules| {
        target(rules);
        rules.series.honor_labels = true;
    });
    assert_eq!(bed.stored(body, 1), [r#"{__name__="a", exported_job="old", job="own"} 1 @1"#]);
}

#[test]
fn dropped_series_are_known_to_be_dropped() {
    let mut bed = Bed::new(|rules| {
        let fields = RelabelFields {
            source_labels: vec!["__name__".into()],
            regex: "b".into(),
            action: Action::Drop,
            ..Default::default()
        };
        rules.series.relabel = relabel(fields);
    });
    for at in 1..4 {
        let (lines, counts, _) = bed.scrape("a 1\nb 2\n", at);
        assert_eq!(lines, [format!("{{__name__=\"a\"}} 1 @{at}")]);
        assert_eq!((counts.scraped, counts.after_relabelling), (2, 1));
        assert_eq!(counts.series_added, u64::from(at == 1));
    }
}

#[test]
fn vanished_series_are_marked_and_come_back() {
    let mut bed = Bed::new(|_| {});
    bed.stored("a 1\nb 1\n", 1);
    assert_eq!(bed.stored("a 2\n", 2), ["{__name__=\"a\"} 2 @2", "{__name__=\"b\"} stale @2"]);
    assert_eq!(bed.stored("a 3\n", 3), ["{__name__=\"a\"} 3 @3"]);
    let (lines, counts, _) = bed.scrape("b 4\na 4\n", 4);
    assert_eq!(lines, ["{__name__=\"b\"} 4 @4", "{__name__=\"a\"} 4 @4"]);
    assert_eq!(counts.series_added, 1);
}

#[test]
fn a_failed_scrape_stores_nothing_and_marks_everything() {
    let mut bed = Bed::new(|_| {});
    bed.stored("a 1\nb 1\n", 1);
    let (lines, counts, error) = bed.scrape("a 2\nb 2\nc{ 3\n", 2);
    assert_eq!(lines, ["{__name__=\"a\"} stale @2", "{__name__=\"b\"} stale @2"]);
    assert_eq!(counts.scraped, 2);
    assert!(error.unwrap().starts_with("line 3, column"));
    assert!(bed.scrape("c{", 3).0.is_empty(), "an end is marked once");
    assert_eq!(bed.stored("a 4\n", 4), ["{__name__=\"a\"} 4 @4"]);
}

#[test]
fn an_empty_body_is_a_good_scrape_of_nothing() {
    let mut bed = Bed::new(|_| {});
    bed.stored("a 1\n", 1);
    assert_eq!(bed.stored("", 2), ["{__name__=\"a\"} stale @2"]);
}

#[test]
fn timestamps_of_the_target_are_honoured_and_not_tracked() {
    let mut bed = Bed::new(|_| {});
    assert_eq!(bed.stored("a 1 5\n", 10), ["{__name__=\"a\"} 1 @5"]);
    assert!(bed.stored("", 20).is_empty());
    let mut tracking = Bed::new(|rules| rules.track_timestamps = true);
    tracking.stored("a 1 5\n", 10);
    assert_eq!(tracking.stored("", 20), ["{__name__=\"a\"} stale @20"]);
    let mut ignoring = Bed::new(|rules| rules.honor_timestamps = false);
    for at in [10, 20] {
        assert_eq!(ignoring.stored("a 1 5\n", at), [format!("{{__name__=\"a\"}} 1 @{at}")]);
    }
    assert_eq!(ignoring.stored("", 30), ["{__name__=\"a\"} stale @30"]);
}

#[test]
fn a_series_that_gets_timestamps_is_not_tracked_any_more() {
    let mut bed = Bed::new(|_| {});
    bed.stored("a 1\n", 10);
    let (lines, ..) = bed.scrape("a 2 20\n", 20);
    assert_eq!(lines[0], "{__name__=\"a\"} 2 @20");
    assert!(bed.stored("", 30).is_empty());
}

#[test]
fn single_samples_are_refused_and_counted() {
    let mut bed = Bed::new(|_| {});
    bed.stored("a 1 100\n", 100);
    let future = 100 + FUTURE_MILLIS_MAX + 1;
    let body = format!("a 1 50\na 2 100\nb 1\nb 2\nc 1 {future}\nd 1\n");
    let (lines, counts, error) = bed.scrape(&body, 100);
    assert_eq!(error, None);
    assert_eq!(lines, ["{__name__=\"b\"} 1 @100", "{__name__=\"d\"} 1 @100"]);
    let refused = counts.refused;
    assert_eq!((refused.out_of_order, refused.duplicate, refused.out_of_bounds), (1, 2, 1));
    assert_eq!((counts.scraped, counts.after_relabelling), (6, 6));
}

#[test]
fn the_sample_limit_fails_the_scrape_and_counts_to_the_end() {
    let mut bed = Bed::new(|rules| rules.sample_limit = 2);
    assert_eq!(bed.stored("a 1\nb 1\n", 1).len(), 2);
    let (lines, counts, error) = bed.scrape("a 2\nb 2\nc 2\nd 2\n", 2);
    assert_eq!(error.as_deref(), Some("sample limit exceeded"));
    assert_eq!(lines, ["{__name__=\"a\"} stale @2", "{__name__=\"b\"} stale @2"]);
    assert_eq!((counts.scraped, counts.after_relabelling, counts.series_added), (4, 4, 0));
    assert_eq!(bed.storage.0.lock().series.len(), 2, "the storage is not bothered with the rest");
}

#[test]
fn label_limits_fail_the_scrape_in_upstreams_words() {
    for (change, body, expected) in [
        (
            (|rules| rules.series.label_limit = 2) as fn(&mut IngestRules),
            "a{x=\"1\",y=\"2\"} 1\n",
            "label_limit exceeded (metric: a, number of labels: 3, limit: 2)",
        ),
        (
            |rules| rules.series.name_length_limit = 8,
            "a{too_long_x=\"1\"} 1\n",
            "label_name_length_limit exceeded (metric: a, label name: too_long_x, length: 10, limit: 8)",
        ),
        (
            |rules| rules.series.value_length_limit = 3,
            "a{x=\"1234\"} 1\n",
            "label_value_length_limit exceeded (metric: a, label name: x, value: 1234, length: 4, limit: 3)",
        ),
        (
            |rules| rules.series.names = crate::relabel::NameScheme::Legacy,
            "{\"a.b\"} 1\n",
            "invalid metric name or label names: {__name__=\"a.b\"}",
        ),
        (|_| {}, "a{x=\"1\",x=\"2\"} 1\n", "label name \"x\" is not unique: invalid sample"),
        (
            |rules| {
                rules.series.relabel = relabel(RelabelFields {
                    regex: "__name__".into(),
                    action: Action::LabelDrop,
                    ..Default::default()
                });
            },
            "a{x=\"1\"} 1\n",
            "missing metric name (__name__ label)",
        ),
    ] {
        let (lines, _, error) = Bed::new(change).scrape(body, 1);
        assert_eq!(error.as_deref(), Some(expected));
        assert!(lines.is_empty());
    }
}

#[test]
fn a_full_storage_costs_new_series_only() {
    let mut bed = Bed::new(|_| {});
    bed.stored("a 1\n", 1);
    bed.storage.0.lock().room = Some(1);
    let (lines, counts, error) = bed.scrape("a 2\nb 2\n", 2);
    assert_eq!((lines.len(), counts.refused.series_limit, error), (1, 1, None));
}

#[test]
fn series_that_the_storage_forgot_are_asked_for_again() {
    let bodies = [
        "a{x=\"1\"} 1\nb 2\n",
        "a{x=\"1\"}  1\nb  2\n",
        "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\n",
    ];
    for body in bodies {
        let mut bed = Bed::new(target);
        let before = bed.stored(body, 1);
        {
            let mut recorded = bed.storage.0.lock();
            recorded.forgotten = recorded.series.values().copied().collect();
            recorded.series.clear();
        }
        let after: Vec<String> = bed.stored(body, 2).iter().map(|line| line.replace("@2", "@1")).collect();
        assert_eq!(before, after);
        assert_eq!(bed.stored(body, 3).len(), 2);
        assert_eq!(bed.stored("", 4).len(), 2, "both are marked");
    }
}

#[test]
fn new_rules_mark_what_they_leave_out() {
    let mut bed = Bed::new(|_| {});
    bed.stored("a 1\nb 1\n", 1);
    let fields = RelabelFields {
        source_labels: vec!["__name__".into()],
        regex: "b".into(),
        action: Action::Drop,
        ..Default::default()
    };
    bed.ingestor.change_rules(Arc::new(rules(|rules| rules.series.relabel = relabel(fields))), false);
    assert_eq!(bed.stored("a 2\nb 2\n", 2), ["{__name__=\"a\"} 2 @2", "{__name__=\"b\"} stale @2"]);
}

#[test]
fn metadata_is_kept_by_family() {
    let mut bed = Bed::new(|_| {});
    bed.stored("# HELP a What it is.\n# TYPE a gauge\na 1\n", 1);
    let all = bed.ingestor.metadata().lock().all();
    assert_eq!((&*all[0].0, all[0].1.help.as_str(), all[0].1.metric_type.as_str()), ("a", "What it is.", "gauge"));
}

#[test]
fn two_writings_of_a_series_are_one_series() {
    let mut bed = Bed::new(|_| {});
    bed.stored("a{x=\"1\",y=\"2\"} 1\n", 1);
    assert_eq!(bed.stored("a{y=\"2\",x=\"1\"} 2\n", 2), ["{__name__=\"a\", x=\"1\", y=\"2\"} 2 @2"]);
    assert_eq!(bed.stored("", 3).len(), 1);
}

/// What a target may say in a line; samples have the place `@` for a value that changes.
const LINES: &[&str] = &[
    "# HELP a One.",
    "# HELP a Two.",
    "# TYPE a counter",
    "# TYPE a gauge",
    "# HELP b Text.",
    "# TYPE b counter",
    "# comment",
    "",
    " ",
    "a @",
    "a{x=\"1\"} @",
    "a{x=\"2\"} @",
    " b @",
    "b{x=\"1\"} @ ",
    "c  @",
    "c{x=\"1\"}  @",
];

proptest::proptest! {
    /// A target that is remembered stores what a target that is new would store, whatever its bodies were before.
    #[test]
    fn what_is_remembered_changes_nothing(
        bodies in proptest::collection::vec(proptest::collection::vec(0..LINES.len(), 0..12), 1..8),
    ) {
        let mut remembering = Bed::new(target);
        for (at, lines) in bodies.iter().enumerate() {
            let at = at as i64 + 1;
            let body: String = lines.iter().map(|line| LINES[*line].replace('@', &at.to_string()) + "\n").collect();
            let (stored, counts, error) = remembering.scrape(&body, at);
            let mut new = Bed::new(target);
            let (expected, expected_counts, expected_error) = new.scrape(&body, at);
            let samples: Vec<_> = stored.into_iter().filter(|line| !line.contains("stale")).collect();
            proptest::prop_assert_eq!(samples, expected);
            proptest::prop_assert_eq!(error, expected_error);
            proptest::prop_assert_eq!(Counts { series_added: 0, ..counts }, Counts { series_added: 0, ..expected_counts });
            let known = remembering.ingestor.metadata().lock().all();
            for (family, metadata) in new.ingestor.metadata().lock().all() {
                let remembered = known.iter().find(|(name, _)| *name == family).map(|(_, metadata)| metadata.clone());
                let same = remembered.is_some_and(|remembered| {
                    (metadata.help.is_empty() || remembered.help == metadata.help)
                        && (metadata.metric_type == Default::default() || remembered.metric_type == metadata.metric_type)
                });
                proptest::prop_assert!(same, "{} in {:?}", family, known);
            }
        }
    }
}

#[test]
fn families_that_are_only_heard_again_are_not_forgotten() {
    let mut bed = Bed::new(target);
    for at in 1..30 {
        bed.stored("# HELP a One.\n# TYPE a counter\na 1\na{x=\"1\"} 1\n# HELP b Text.\nb 1\n", at);
    }
    assert_eq!(bed.ingestor.metadata().lock().all().len(), 2);
}
