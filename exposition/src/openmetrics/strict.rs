//! What OpenMetrics forbids and Prometheus accepts.
//!
//! ```text
//!  family    metadata first, each kind once; no name twice, suffixes included
//!   group     samples with the same labels (le, quantile and the state aside) stand together, in order of time
//!    sample    suffix, labels, value and exemplar fit the type
//! ```
//!
//! Source: OpenMetrics 1.0.0 and the test suite of its reference parser.

use std::collections::HashSet;

use ferula_model::number::parse_float;
use ferula_model::{Labels, METRIC_NAME, MetricType};

use super::parser::SampleLine;
use crate::error::Fault;
use crate::event::Event;
use crate::series::{Body, LabelBuffer, SeriesLine};

/// Most characters in names and values of an exemplar's labels.
const EXEMPLAR_CHARS_MAX: usize = 128;

/// The families of one body, as far as it has been read.
#[derive(Debug, Default)]
pub(super) struct Families {
    /// Every name that a finished family stands for, suffixes included.
    taken: HashSet<String>,
    current: Option<Family>,
    buffer: LabelBuffer,
}

#[derive(Debug, Default)]
struct Family {
    name: String,
    metric_type: Option<MetricType>,
    helped: bool,
    unit: Option<String>,
    has_samples: bool,
    groups_seen: HashSet<Labels>,
    group: Option<Group>,
}

/// Samples with the same labels, in a row.
#[derive(Debug)]
struct Group {
    labels: Labels,
    /// Nanoseconds since the epoch.
    timestamp: Option<i128>,
    histogram: Option<Buckets>,
}

/// A histogram of one group and moment, as far as it has been read.
#[derive(Debug, Default)]
struct Buckets {
    bound: Option<f64>,
    cumulative: f64,
    negative_bounds: bool,
    count: Option<f64>,
    sum: Option<f64>,
    gauge_sum: Option<f64>,
}

impl Families {
    pub(super) fn metadata(&mut self, at: usize, event: &Event<'_>) -> Result<(), Fault> {
        let (Event::Help { family, .. } | Event::Type { family, .. } | Event::Unit { family, .. }) = event else {
            return Ok(());
        };
        if self.current.as_ref().is_none_or(|current| current.name != **family) {
            self.begin(at, family)?;
        }
        let Some(current) = &mut self.current else { return Ok(()) };
        if current.has_samples {
            return Err(Fault::strict(at, format!("metadata of {family:?} after its samples")));
        }
        let repeated = match event {
            Event::Type { metric_type, .. } => current.metric_type.replace(*metric_type).is_some(),
            Event::Unit { unit, .. } => current.unit.replace(unit.to_string()).is_some(),
            _ => std::mem::replace(&mut current.helped, true),
        };
        if repeated {
            return Err(Fault::strict(at, format!("metadata of {family:?} repeated")));
        }
        Ok(())
    }

    pub(super) fn sample(
        &mut self,
        body: Body<'_>,
        line: &SampleLine,
        series: &SeriesLine,
        exemplar: &SeriesLine,
    ) -> Result<(), Fault> {
        let at = line.start;
        let labels = self.unique_labels(at, &body, series)?;
        let name = labels.metric_name().to_owned();
        if !self.current.as_ref().is_some_and(|family| family.owns(&name)) {
            self.begin(at, &name)?;
        }
        let exemplar = match &line.exemplar {
            None => false,
            Some(part) => {
                let labels = self.unique_labels(part.start, &body, exemplar)?;
                let chars: usize =
                    labels.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum();
                if chars > EXEMPLAR_CHARS_MAX {
                    return Err(Fault::strict(part.start, "the labels of the exemplar exceed 128 characters"));
                }
                true
            }
        };
        let timestamp = line.timestamp.map(|seconds| nanoseconds(body.slice(seconds.piece.range()), seconds.value));
        match &mut self.current {
            Some(family) => family.sample(at, &name, &labels, line.value, timestamp, exemplar),
            None => Ok(()),
        }
    }

    pub(super) fn end(&mut self, at: usize) -> Result<(), Fault> {
        self.finish(at)
    }

    fn unique_labels(&mut self, at: usize, body: &Body<'_>, line: &SeriesLine) -> Result<Labels, Fault> {
        self.buffer.decode_as_written(body, line);
        if let Some(name) = self.buffer.duplicate() {
            return Err(Fault::strict(at, format!("label {name:?} repeated")));
        }
        let names = self.buffer.iter().map(|(name, _)| name).filter(|name| *name != METRIC_NAME);
        match names.into_iter().find(|name| name.is_empty() || name.starts_with("__")) {
            Some(name) => Err(Fault::strict(at, format!("label name {name:?} is empty or reserved"))),
            None => Ok(self.buffer.to_labels()),
        }
    }

    fn begin(&mut self, at: usize, name: &str) -> Result<(), Fault> {
        if name.is_empty() {
            return Err(Fault::strict(at, "a metric name cannot be empty"));
        }
        self.finish(at)?;
        self.current = Some(Family { name: name.to_owned(), ..Family::default() });
        Ok(())
    }

    fn finish(&mut self, at: usize) -> Result<(), Fault> {
        let Some(mut family) = self.current.take() else { return Ok(()) };
        family.end_group(at)?;
        let metric_type = family.metric_type.unwrap_or_default();
        if family.unit.is_some_and(|unit| !unit.is_empty())
            && matches!(metric_type, MetricType::Info | MetricType::StateSet)
        {
            return Err(Fault::strict(at, format!("{:?} cannot have a unit", family.name)));
        }
        let suffixes = suffixes(metric_type).iter().filter(|suffix| !suffix.is_empty());
        for suffix in std::iter::once(&"").chain(suffixes) {
            let name = format!("{}{suffix}", family.name);
            if self.taken.contains(&name) {
                return Err(Fault::strict(at, format!("name {name:?} is used by two families")));
            }
            self.taken.insert(name);
        }
        Ok(())
    }
}

/// What the samples of a type append to the family's name.
fn suffixes(metric_type: MetricType) -> &'static [&'static str] {
    match metric_type {
        MetricType::Counter => &["_total", "_created"],
        MetricType::Summary => &["", "_count", "_sum", "_created"],
        MetricType::Histogram => &["_count", "_sum", "_bucket", "_created"],
        MetricType::GaugeHistogram => &["_gcount", "_gsum", "_bucket"],
        MetricType::Info => &["_info"],
        MetricType::Gauge | MetricType::StateSet | MetricType::Unknown => &[""],
    }
}

impl Family {
    fn owns(&self, sample: &str) -> bool {
        let suffix = sample.strip_prefix(self.name.as_str());
        suffix.is_some_and(|suffix| suffixes(self.metric_type.unwrap_or_default()).contains(&suffix))
    }

    fn sample(
        &mut self,
        at: usize,
        name: &str,
        labels: &Labels,
        value: f64,
        timestamp: Option<i128>,
        exemplar: bool,
    ) -> Result<(), Fault> {
        self.has_samples = true;
        let suffix = name.strip_prefix(self.name.as_str()).unwrap_or_default();
        let metric_type = self.metric_type.unwrap_or_default();
        self.check_labels(suffix, metric_type, labels).map_err(|why| Fault::strict(at, why))?;
        self.check_value(suffix, metric_type, value).map_err(|why| Fault::strict(at, why))?;
        let may_have_exemplar = match metric_type {
            MetricType::Histogram | MetricType::GaugeHistogram => suffix == "_bucket",
            MetricType::Counter => suffix == "_total",
            _ => false,
        };
        if exemplar && !may_have_exemplar {
            return Err(Fault::strict(at, "only buckets and counters have exemplars"));
        }
        let group = self.group_labels(suffix, metric_type, labels);
        self.enter_group(at, group, timestamp, metric_type)?;
        match self.group.as_mut().and_then(|group| group.histogram.as_mut()) {
            Some(buckets) => buckets.observe(suffix, labels, value).map_err(|why| Fault::strict(at, why)),
            None => Ok(()),
        }
    }

    fn check_labels(&self, suffix: &str, metric_type: MetricType, labels: &Labels) -> Result<(), String> {
        let number = |label: &str| labels.get(label).and_then(|text| parse_float(text).ok());
        let canonical = |label: &str, number: f64| {
            number.is_finite() || labels.get(label).is_some_and(|text| matches!(text, "+Inf" | "-Inf"))
        };
        match (metric_type, suffix) {
            (MetricType::StateSet, _) if labels.get(&self.name).is_none() => {
                Err(format!("a state set needs a label {:?}", self.name))
            }
            (MetricType::Histogram | MetricType::GaugeHistogram, "_bucket") => match number("le") {
                Some(bound) if !bound.is_nan() && canonical("le", bound) => Ok(()),
                _ => Err("a bucket needs a label le that is a number or +Inf".to_owned()),
            },
            (MetricType::Summary, "") => match number("quantile") {
                Some(quantile) if (0.0..=1.0).contains(&quantile) => Ok(()),
                _ => Err("a quantile needs a label quantile between 0 and 1".to_owned()),
            },
            _ => Ok(()),
        }
    }

    fn check_value(&self, suffix: &str, metric_type: MetricType, value: f64) -> Result<(), String> {
        let counts = matches!(suffix, "_bucket" | "_count" | "_gcount" | "_total" | "_sum");
        let whole = matches!(suffix, "_bucket" | "_count" | "_gcount");
        let wrong = match metric_type {
            MetricType::StateSet => value != 0.0 && value != 1.0,
            MetricType::Info => value != 1.0,
            MetricType::Summary if suffix.is_empty() => value < 0.0,
            MetricType::Counter | MetricType::Summary | MetricType::Histogram | MetricType::GaugeHistogram => {
                ((counts || suffix == "_gsum") && value.is_nan())
                    || (counts && value < 0.0)
                    || (whole && !(value.is_finite() && value.trunc() == value))
            }
            _ => false,
        };
        if wrong { Err(format!("{value} is no value for a {}", metric_type.as_str())) } else { Ok(()) }
    }

    fn group_labels(&self, suffix: &str, metric_type: MetricType, labels: &Labels) -> Labels {
        match (metric_type, suffix) {
            // Infos cannot be told apart into groups.
            (MetricType::Info, _) => Labels::empty(),
            (MetricType::Summary, "") => labels.without(&[METRIC_NAME, "quantile"]),
            (MetricType::StateSet, _) => labels.without(&[METRIC_NAME, &self.name]),
            (MetricType::Histogram | MetricType::GaugeHistogram, "_bucket") => labels.without(&[METRIC_NAME, "le"]),
            _ => labels.without_metric_name(),
        }
    }

    fn enter_group(
        &mut self,
        at: usize,
        labels: Labels,
        timestamp: Option<i128>,
        metric_type: MetricType,
    ) -> Result<(), Fault> {
        let is_histogram = matches!(metric_type, MetricType::Histogram | MetricType::GaugeHistogram);
        if let Some(group) = self.group.as_mut().filter(|group| group.labels == labels) {
            match (group.timestamp, timestamp) {
                (None, None) => return Ok(()),
                (Some(before), Some(now)) if before == now => return Ok(()),
                (Some(before), Some(now)) if before > now && metric_type != MetricType::Info => {
                    return Err(Fault::strict(at, "timestamps of a group go backwards"));
                }
                (Some(_), Some(_)) => {}
                _ => return Err(Fault::strict(at, "some samples of a group have timestamps, some have none")),
            }
        } else if self.groups_seen.contains(&labels) {
            return Err(Fault::strict(at, "samples of a group do not stand together"));
        }
        self.end_group(at)?;
        self.groups_seen.insert(labels.clone());
        self.group = Some(Group { labels, timestamp, histogram: is_histogram.then(Buckets::default) });
        Ok(())
    }

    fn end_group(&mut self, at: usize) -> Result<(), Fault> {
        match self.group.take().and_then(|group| group.histogram) {
            Some(buckets) => buckets.finish().map_err(|why| Fault::strict(at, format!("{:?}: {why}", self.name))),
            None => Ok(()),
        }
    }
}

impl Buckets {
    fn observe(&mut self, suffix: &str, labels: &Labels, value: f64) -> Result<(), String> {
        match suffix {
            "_bucket" => {
                let bound = labels.get("le").and_then(|text| parse_float(text).ok()).unwrap_or(f64::NAN);
                if self.bound.is_some_and(|before| bound <= before) {
                    return Err("bounds do not rise".to_owned());
                }
                if value < self.cumulative {
                    return Err("counts of buckets fall".to_owned());
                }
                self.negative_bounds |= bound < 0.0;
                self.bound = Some(bound);
                self.cumulative = value;
            }
            "_count" | "_gcount" => self.count = Some(value),
            "_sum" => self.sum = Some(value),
            "_gsum" => self.gauge_sum = Some(value),
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<(), &'static str> {
        let has_sum = self.sum.is_some() || self.gauge_sum.is_some();
        if self.bound != Some(f64::INFINITY) {
            Err("the +Inf bucket is missing")
        } else if self.count.is_some_and(|count| count != self.cumulative) {
            Err("the count is not the +Inf bucket")
        } else if has_sum != self.count.is_some() {
            Err("sum and count must both be present, or neither")
        } else if self.negative_bounds && self.sum.is_some() {
            Err("a histogram with negative bounds cannot have a sum")
        } else if !self.negative_bounds && self.gauge_sum.is_some_and(|sum| sum < 0.0) {
            Err("a negative sum needs negative bounds")
        } else {
            Ok(())
        }
    }
}

/// A timestamp in nanoseconds, exact unless it has an exponent.
fn nanoseconds(text: &[u8], value: f64) -> i128 {
    let text = std::str::from_utf8(text).unwrap_or_default();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let nine: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    match (whole.parse::<u64>(), nine.parse::<u64>()) {
        (Ok(whole), Ok(nanos)) if digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') => {
            let nanos = i128::from(whole) * 1_000_000_000 + i128::from(nanos);
            if negative { -nanos } else { nanos }
        }
        _ => (value * 1e9) as i128,
    }
}
