//! A whole body as values: events back to families.

use std::collections::HashMap;
use std::sync::Arc;

use ferula_model::number::{FloatForm, parse_float, push_float};
use ferula_model::{Exemplar, Histogram, Labels, METRIC_NAME, MetricType, Timestamp};

use crate::error::ParseError;
use crate::event::{Event, HistogramEvent, SampleEvent};
use crate::family::{Bucket, HistogramValue, Metric, MetricFamily, MetricValue, SummaryValue};
use crate::parser::{Format, ParseOptions, Parser};
use crate::series::LabelBuffer;

/// Reads a body into families, in the order of the body. Samples that fit no family become a family of unknown type.
///
/// This is for tools and tests; a scraper works on the events, without building any of this.
///
/// ```
/// use ferula_exposition::{Format, ParseOptions, encode, read_families};
///
/// let body = b"# HELP jobs_total Jobs done.\n# TYPE jobs_total counter\njobs_total{queue=\"mail\"} 3\n";
/// let families = read_families(body, Format::Text, &ParseOptions::default())?;
/// let mut again = Vec::new();
/// encode(&families, Format::Text, &mut again);
/// assert_eq!(again, body);
/// # Ok::<(), ferula_exposition::ParseError>(())
/// ```
///
/// # Errors
///
/// Why the body is refused.
pub fn read_families(body: &[u8], format: Format, options: &ParseOptions) -> Result<Vec<MetricFamily>, ParseError> {
    let mut reader = Reader { openmetrics: format == Format::OpenMetrics, ..Reader::default() };
    let mut parser = Parser::new(body, format, options);
    while let Some(event) = parser.next() {
        match event? {
            Event::Help { family, text } => say(&mut reader.described(&family).help, &text),
            Event::Type { family, metric_type } => reader.described(&family).metric_type = metric_type,
            Event::Unit { family, unit } => say(&mut reader.described(&family).unit, &unit),
            Event::Sample(sample) => reader.sample(&sample),
            Event::Histogram(histogram) => reader.histogram(&histogram),
            Event::Comment(_) => {}
        }
    }
    Ok(reader.finish())
}

#[derive(Default)]
struct Reader {
    openmetrics: bool,
    families: Vec<MetricFamily>,
    /// Described, but without a metric so far. A family that gets none is none.
    described: Option<MetricFamily>,
    /// Metrics of the last family by labels and time.
    metrics: HashMap<(Labels, Option<Timestamp>), usize>,
    buffer: LabelBuffer,
}

/// Takes over a help text or unit. An empty one cannot be written: it says nothing, and what was said before holds.
fn say(slot: &mut Arc<str>, text: &str) {
    if !text.is_empty() {
        *slot = text.into();
    }
}

/// What a sample is within its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Whole,
    Bucket,
    Count,
    Sum,
    Quantile,
    State,
}

impl Reader {
    /// The family that is described. It begins with its first metric; what has metrics already stays what it is.
    fn described(&mut self, name: &str) -> &mut MetricFamily {
        let begun = self.described.take().filter(|family| *family.name == *name);
        let family = begun.unwrap_or_else(|| self.anew(name));
        self.described.insert(family)
    }

    /// A family without metrics. If the last one has this name, it is as that was described, until something else is said.
    fn anew(&self, name: &str) -> MetricFamily {
        let mut family = MetricFamily::new(name, "", MetricType::Unknown);
        if let Some(last) = self.families.last().filter(|last| *last.name == *name) {
            (family.help, family.unit) = (last.help.clone(), last.unit.clone());
            family.metric_type = last.metric_type;
        }
        family
    }

    /// A family with its first metric. One that is described as the last one is the last one, whatever was said between.
    fn begin(&mut self, family: MetricFamily) {
        let is_last = |last: &MetricFamily| {
            last.name == family.name
                && last.metric_type == family.metric_type
                && last.help == family.help
                && last.unit == family.unit
        };
        if !self.families.last().is_some_and(is_last) {
            self.metrics.clear();
            self.families.push(family);
        }
    }

    fn sample(&mut self, sample: &SampleEvent<'_>) {
        sample.labels(&mut self.buffer);
        let name = self.buffer.get(METRIC_NAME).unwrap_or_default().to_owned();
        let part_of = |family: &MetricFamily| part(family, &name, &self.buffer, sample.value, self.openmetrics);
        let begun = self.described.take().and_then(|family| Some((part_of(&family)?, family)));
        let part = match (begun, self.families.last().and_then(part_of)) {
            (Some((part, family)), _) => {
                self.begin(family);
                part
            }
            (None, Some(part)) => part,
            (None, None) => {
                // What fits no family is a family of its own, even if one of this name was there.
                self.begin(MetricFamily { metric_type: MetricType::Unknown, ..self.anew(&name) });
                Part::Whole
            }
        };
        let family = self.families.last().map_or("", |family| &*family.name).to_owned();
        let apart = match part {
            Part::Bucket => "le",
            Part::Quantile => "quantile",
            Part::State => &family,
            _ => "",
        };
        let of_metric = self.buffer.iter().filter(|(label, _)| *label != METRIC_NAME && *label != apart);
        let labels = Labels::from_pairs(of_metric);
        let bound = self.buffer.get(apart).unwrap_or_default().to_owned();
        let metric = self.metric(labels, sample.timestamp, part == Part::Whole);
        metric.start = metric.start.or(sample.start);
        set_part(metric, part, &bound, sample.value, sample.exemplar.as_ref().map(|exemplar| exemplar.to_exemplar()));
    }

    fn histogram(&mut self, event: &HistogramEvent<'_>) {
        event.labels(&mut self.buffer);
        if let Some(family) = self.described.take() {
            self.begin(family);
        }
        let labels = self.buffer.iter().filter(|(label, _)| *label != METRIC_NAME);
        let labels = Labels::from_pairs(labels);
        let metric = self.metric(labels, event.timestamp, false);
        metric.start = event.start;
        if let MetricValue::Histogram(value) = &mut metric.value {
            value.native = Some(event.histogram.clone());
            value.exemplars.clone_from(&event.exemplars);
            let (count, sum) = match &event.histogram {
                Histogram::Integer(native) => (native.count as f64, native.sum),
                Histogram::Float(native) => (native.count, native.sum),
            };
            (value.count, value.sum) = (Some(count), Some(sum));
        }
    }

    /// The metric of the last family with these labels; a new one if there is none or `alone` is set.
    fn metric(&mut self, labels: Labels, timestamp: Option<Timestamp>, alone: bool) -> &mut Metric {
        if self.families.is_empty() {
            self.families.push(MetricFamily::default());
        }
        let last = self.families.len() - 1;
        let family = &mut self.families[last];
        let key = (labels.clone(), timestamp);
        let index = match self.metrics.get(&key).filter(|_| !alone) {
            Some(index) => *index,
            None => {
                let value = empty_value(family.metric_type);
                family.metrics.push(Metric { labels, value, timestamp, start: None });
                let index = family.metrics.len() - 1;
                self.metrics.insert(key, index);
                index
            }
        };
        &mut family.metrics[index]
    }

    /// Names in OpenMetrics become those of samples.
    fn finish(mut self) -> Vec<MetricFamily> {
        for family in self.families.iter_mut().filter(|_| self.openmetrics) {
            let suffix = match family.metric_type {
                MetricType::Counter => "_total",
                MetricType::Info => "_info",
                _ => continue,
            };
            family.name = format!("{}{suffix}", family.name).into();
        }
        self.families
    }
}

/// What a sample of this name is within the family, if it belongs to it and the family can hold it as it is.
fn part(family: &MetricFamily, name: &str, labels: &LabelBuffer, value: f64, openmetrics: bool) -> Option<Part> {
    let suffix = name.strip_prefix(&*family.name)?;
    let is_histogram = matches!(family.metric_type, MetricType::Histogram | MetricType::GaugeHistogram);
    let gauge = openmetrics && family.metric_type == MetricType::GaugeHistogram;
    let has_number = |label: &str| labels.get(label).is_some_and(is_written_number);
    match (family.metric_type, suffix) {
        (MetricType::Info, _) if value != 1.0 => None,
        (MetricType::Counter, "_total") | (MetricType::Info, "_info") => openmetrics.then_some(Part::Whole),
        (MetricType::Counter | MetricType::Info, "") => (!openmetrics).then_some(Part::Whole),
        (MetricType::StateSet, "") if value == 0.0 || value == 1.0 => labels.get(&family.name).map(|_| Part::State),
        (MetricType::Summary, "") => has_number("quantile").then_some(Part::Quantile),
        // Count and sum are of the whole metric: a bound among their labels could not be told from those of its parts.
        (MetricType::Summary, "_count" | "_sum") if labels.get("quantile").is_some() => None,
        (_, "_count" | "_sum" | "_gcount" | "_gsum") if is_histogram && labels.get("le").is_some() => None,
        (MetricType::Summary, "_count") => Some(Part::Count),
        (MetricType::Summary, "_sum") => Some(Part::Sum),
        (_, "_bucket") if is_histogram => has_number("le").then_some(Part::Bucket),
        (_, "_count") if is_histogram && !gauge => Some(Part::Count),
        (_, "_sum") if is_histogram && !gauge => Some(Part::Sum),
        (_, "_gcount") if gauge => Some(Part::Count),
        (_, "_gsum") if gauge => Some(Part::Sum),
        (MetricType::Gauge | MetricType::Unknown, "") => Some(Part::Whole),
        _ => None,
    }
}

/// Whether a bound or quantile is written as an encoder would write it.
fn is_written_number(text: &str) -> bool {
    let mut written = Vec::new();
    let number = parse_float(text).map(|number| push_float(&mut written, number, FloatForm::OpenMetrics));
    number.is_ok() && written == text.as_bytes()
}

fn empty_value(metric_type: MetricType) -> MetricValue {
    match metric_type {
        MetricType::Counter => MetricValue::Counter { value: 0.0, exemplar: None },
        MetricType::Gauge => MetricValue::Gauge(0.0),
        MetricType::Unknown => MetricValue::Unknown(0.0),
        MetricType::Histogram | MetricType::GaugeHistogram => MetricValue::Histogram(Box::default()),
        MetricType::Summary => MetricValue::Summary(SummaryValue::default()),
        MetricType::Info => MetricValue::Info,
        MetricType::StateSet => MetricValue::StateSet(Vec::new()),
    }
}

fn set_part(metric: &mut Metric, part: Part, bound: &str, value: f64, exemplar: Option<Exemplar>) {
    match (&mut metric.value, part) {
        (MetricValue::Counter { value: counted, exemplar: of_counter }, _) => {
            *counted = value;
            *of_counter = exemplar;
        }
        (MetricValue::Gauge(number) | MetricValue::Unknown(number), _) => *number = value,
        (MetricValue::StateSet(states), _) => states.push((Arc::from(bound), value != 0.0)),
        (MetricValue::Summary(summary), Part::Count) => summary.count = Some(value),
        (MetricValue::Summary(summary), Part::Sum) => summary.sum = Some(value),
        (MetricValue::Summary(summary), _) => {
            summary.quantiles.push((parse_float(bound).unwrap_or(f64::NAN), value));
        }
        (MetricValue::Histogram(histogram), Part::Count) => histogram.count = Some(value),
        (MetricValue::Histogram(histogram), Part::Sum) => histogram.sum = Some(value),
        (MetricValue::Histogram(histogram), _) => add_bucket(histogram, bound, value, exemplar),
        (MetricValue::Info, _) => {}
    }
}

fn add_bucket(histogram: &mut HistogramValue, bound: &str, value: f64, exemplar: Option<Exemplar>) {
    let upper_bound = parse_float(bound).unwrap_or(f64::NAN);
    histogram.buckets.push(Bucket { upper_bound, cumulative_count: value, exemplar });
}
