//! Answers of both engines in one form, and whether they are the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ferula_model::FloatHistogram;
use ferula_promql::{Answer, QueryError, Value};
use serde_json::Value as Json;

/// How far apart two floats of two right engines may be.
pub(crate) const TOLERANCE: f64 = 1e-12;

/// An answer, whoever gave it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) error: Option<String>,
    /// Type of the answer.
    kind: String,
    /// Points by labels and moment.
    series: BTreeMap<String, BTreeMap<i64, Point>>,
    pub(crate) warnings: BTreeSet<String>,
    pub(crate) infos: BTreeSet<String>,
}

/// Rule of the bounds, lower and upper bound, count.
type Bucket = (u8, f64, f64, f64);

#[derive(Clone, Debug, PartialEq)]
enum Point {
    Float(f64),
    Text(String),
    Histogram { count: f64, sum: f64, buckets: Vec<Bucket> },
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Point::Float(value) => write!(f, "{value:?}"),
            Point::Text(text) => write!(f, "{text:?}"),
            Point::Histogram { count, sum, buckets } => write!(f, "count {count:?} sum {sum:?} {buckets:?}"),
        }
    }
}

impl Outcome {
    pub(crate) fn of_ours(answer: Result<Answer, QueryError>) -> Self {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Self { error: Some(error.to_string()), ..Self::default() },
        };
        let mut outcome = Self {
            kind: answer.value.type_name().to_owned(),
            warnings: answer.warnings.iter().cloned().collect(),
            infos: answer.infos.iter().map(|text| without_extent(text)).collect(),
            ..Self::default()
        };
        let point = |value: &ferula_model::Value| match value {
            ferula_model::Value::Float(value) => Point::Float(*value),
            ferula_model::Value::Histogram(histogram) => of_histogram(&histogram.to_float()),
        };
        match &answer.value {
            Value::Scalar { at, value } => outcome.add("{}", at.as_millis(), Point::Float(*value)),
            Value::String { at, value } => outcome.add("{}", at.as_millis(), Point::Text(value.clone())),
            Value::Vector(samples) => {
                for sample in samples {
                    outcome.add(&sample.labels.to_string(), sample.at.as_millis(), point(&sample.value));
                }
            }
            Value::Matrix(series) => {
                for series in series {
                    for (at, value) in series.points() {
                        outcome.add(&series.labels.to_string(), at.as_millis(), point(&value));
                    }
                }
            }
        }
        outcome
    }

    pub(crate) fn of_peer(answer: &Json) -> Self {
        let texts = |name: &str| {
            let list = answer[name].as_array().map(Vec::as_slice).unwrap_or_default();
            list.iter().filter_map(Json::as_str).map(|text| text.replace(" for metric name \"\"", "")).collect()
        };
        let data = &answer["data"];
        let mut outcome = Self {
            error: answer["error"].as_str().map(str::to_owned),
            kind: data["resultType"].as_str().unwrap_or_default().to_owned(),
            warnings: texts("warnings"),
            infos: texts("infos"),
            ..Self::default()
        };
        let result = &data["result"];
        match outcome.kind.as_str() {
            "scalar" => outcome.add("{}", millis(&result[0]), Point::Float(float(&result[1]))),
            "string" => {
                let text = result[1].as_str().unwrap_or_default().to_owned();
                outcome.add("{}", millis(&result[0]), Point::Text(text));
            }
            _ => {}
        }
        for series in result.as_array().into_iter().flatten().filter(|series| series["metric"].is_object()) {
            let labels: BTreeMap<&str, &str> = series["metric"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()))
                .collect();
            let labels = ferula_model::Labels::from_pairs(labels).to_string();
            let one = |name: &str| series.get(name).map(std::slice::from_ref).unwrap_or_default();
            let many = |name: &str| series[name].as_array().map(Vec::as_slice).unwrap_or_default();
            for point in one("value").iter().chain(many("values")) {
                outcome.add(&labels, millis(&point[0]), Point::Float(float(&point[1])));
            }
            for point in one("histogram").iter().chain(many("histograms")) {
                outcome.add(&labels, millis(&point[0]), histogram_of_peer(&point[1]));
            }
        }
        outcome
    }

    fn add(&mut self, labels: &str, at: i64, point: Point) {
        let before = self.series.entry(labels.to_owned()).or_default().insert(at, point);
        assert!(before.is_none(), "{labels} has two points at {at}");
    }

    /// How many points.
    pub(crate) fn points(&self) -> usize {
        self.series.values().map(BTreeMap::len).sum()
    }

    /// What differs from the answer of a peer, if anything does.
    pub(crate) fn difference(&self, peer: &Outcome) -> Option<String> {
        match (&self.error, &peer.error) {
            (None, None) => {}
            (Some(ours), Some(theirs)) if same_error(ours, theirs) => return None,
            (ours, theirs) => return Some(format!("error {ours:?}, theirs {theirs:?}")),
        }
        if self.kind != peer.kind {
            return Some(format!("type {}, theirs {}", self.kind, peer.kind));
        }
        for labels in self.series.keys().chain(peer.series.keys()) {
            let (Some(ours), Some(theirs)) = (self.series.get(labels), peer.series.get(labels)) else {
                let which = if self.series.contains_key(labels) { "only ours" } else { "only theirs" };
                return Some(format!("series {labels}: {which}"));
            };
            for at in ours.keys().chain(theirs.keys()) {
                let (a, b) = (ours.get(at), theirs.get(at));
                if !a.zip(b).is_some_and(|(a, b)| same_point(a, b)) {
                    let show = |point: Option<&Point>| point.map_or("nothing".to_owned(), ToString::to_string);
                    return Some(format!("{labels} at {at}: {}, theirs {}", show(a), show(b)));
                }
            }
        }
        for (name, ours, theirs) in [("warning", &self.warnings, &peer.warnings), ("info", &self.infos, &peer.infos)] {
            // The API stops after ten of a kind.
            if theirs.iter().any(|text| text.contains(" more ")) {
                continue;
            }
            if ours != theirs {
                let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>();
                return Some(format!(
                    "{name}: only ours {:?}, only theirs {:?}",
                    only(ours, theirs),
                    only(theirs, ours)
                ));
            }
        }
        None
    }
}

/// The info about forced monotonicity without how far it had to be forced, which came after 3.5.
fn without_extent(text: &str) -> String {
    match (text.find(", from buckets "), text.rfind(" (")) {
        (Some(from), Some(to)) => format!("{}{}", &text[..from], &text[to..]),
        _ => text.to_owned(),
    }
}

fn same_error(ours: &str, theirs: &str) -> bool {
    // Of several duplicates either engine may name any.
    let theirs = theirs.strip_prefix("invalid parameter \"query\": ").unwrap_or(theirs);
    let theirs = &theirs.replace("\"<Item 57400>\" ", "");
    let general = |text: &str| text.split("the match group").next().unwrap_or_default().to_owned();
    // The column of an operator depends on how far the parser had read.
    let without_place = |text: &str| text.split_once("parse error: ").map(|(_, rest)| rest.to_owned());
    if let (Some(ours), Some(theirs)) = (without_place(ours), without_place(theirs)) {
        return ours == theirs;
    }
    ours == theirs || (ours.contains("found duplicate series") && general(ours) == general(theirs))
}

fn same_point(a: &Point, b: &Point) -> bool {
    match (a, b) {
        (Point::Float(a), Point::Float(b)) => same_float(*a, *b),
        (Point::Text(a), Point::Text(b)) => a == b,
        (Point::Histogram { count: a, sum: b, buckets: c }, Point::Histogram { count: x, sum: y, buckets: z }) => {
            let same_bucket = |(p, q): (&Bucket, &Bucket)| {
                p.0 == q.0 && same_float(p.1, q.1) && same_float(p.2, q.2) && same_float(p.3, q.3)
            };
            same_float(*a, *x) && same_float(*b, *y) && c.len() == z.len() && c.iter().zip(z).all(same_bucket)
        }
        _ => false,
    }
}

pub(crate) fn same_float(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
}

fn of_histogram(histogram: &FloatHistogram) -> Point {
    let rule = |bucket: &ferula_model::histogram::Bucket| match (bucket.lower_inclusive, bucket.upper_inclusive) {
        (false, true) => 0,
        (true, false) => 1,
        (false, false) => 2,
        (true, true) => 3,
    };
    let populated = histogram.buckets().filter(|bucket| bucket.count != 0.0);
    let buckets = populated.map(|bucket| (rule(&bucket), bucket.lower, bucket.upper, bucket.count)).collect();
    Point::Histogram { count: histogram.count, sum: histogram.sum, buckets }
}

fn histogram_of_peer(json: &Json) -> Point {
    let buckets = json["buckets"].as_array().map(Vec::as_slice).unwrap_or_default();
    let bucket = |b: &Json| (b[0].as_u64().unwrap_or(9) as u8, float(&b[1]), float(&b[2]), float(&b[3]));
    Point::Histogram {
        count: float(&json["count"]),
        sum: float(&json["sum"]),
        buckets: buckets.iter().map(bucket).collect(),
    }
}

fn float(json: &Json) -> f64 {
    ferula_model::number::parse_float(json.as_str().unwrap_or_default()).expect("a float")
}

fn millis(json: &Json) -> i64 {
    (json.as_f64().expect("a moment") * 1000.0).round() as i64
}
