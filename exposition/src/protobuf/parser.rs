//! Reads delimited protobuf.
//!
//! Each family yields its help, unit and type, then the series of each metric: a native histogram if there is one and it is
//! wanted, and the classic series that Prometheus makes of it.

use std::borrow::Cow;
use std::collections::HashSet;

use ferula_model::number::parse_float;
use ferula_model::{Exemplar, MetricType, Timestamp};

use super::format::family;
use super::histogram;
use super::metric::{ExemplarParts, MetricParts};
use super::wire::{Message, fault};
use crate::error::{Fault, ParseErrorKind};
use crate::event::{Event, ExemplarEvent, HistogramEvent, SampleEvent};
use crate::nhcb::Cumulative;
use crate::parser::ParseOptions;
use crate::series::{Body, Piece, SeriesText};

/// A parser of delimited protobuf.
#[derive(Debug)]
pub(crate) struct ProtobufParser<'a> {
    body: Body<'a>,
    at: usize,
    options: ParseOptions,
    family: Family,
    step: Step,
    parts: MetricParts,
    /// The key of the current metric without suffix and bound, and the key of the current sample.
    key_base: usize,
    key: Vec<u8>,
    /// Names of the families so far, in strict mode.
    seen: Option<HashSet<String>>,
    /// Classic histograms that could not be converted.
    dropped: u64,
}

#[derive(Debug, Default)]
struct Family {
    name: Piece,
    help: Piece,
    unit: Piece,
    metric_type: MetricType,
    metrics: Vec<(usize, usize)>,
}

/// What comes next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Family,
    Unit,
    Type,
    Metric(usize),
    /// A sample of the metric before.
    Classic {
        metric: usize,
        sample: usize,
    },
}

impl<'a> ProtobufParser<'a> {
    pub(crate) fn new(body: &'a [u8], options: &ParseOptions) -> Self {
        Self {
            body: Body::new(body),
            at: 0,
            options: options.clone(),
            family: Family::default(),
            step: Step::Family,
            parts: MetricParts::new(options.limits.labels),
            key_base: 0,
            key: Vec::new(),
            seen: options.strict.then(HashSet::new),
            dropped: 0,
        }
    }

    /// The next event; `Ok(None)` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Event<'_>>, Fault> {
        loop {
            match self.step {
                Step::Family => {
                    if !self.next_family()? {
                        return Ok(None);
                    }
                    self.step = Step::Unit;
                    let (family, text) = (self.text(self.family.name), self.text(self.family.help));
                    return Ok(Some(Event::Help { family, text }));
                }
                Step::Unit => {
                    self.step = Step::Type;
                    if self.family.unit.start < self.family.unit.end {
                        let (family, unit) = (self.text(self.family.name), self.text(self.family.unit));
                        return Ok(Some(Event::Unit { family, unit }));
                    }
                }
                Step::Type => {
                    self.step = Step::Metric(0);
                    let family = self.text(self.family.name);
                    return Ok(Some(Event::Type { family, metric_type: self.family.metric_type }));
                }
                Step::Metric(metric) => match self.family.metrics.get(metric).copied() {
                    None => self.step = Step::Family,
                    Some(range) => {
                        if let Some((histogram, exemplars)) = self.read_metric(range, metric)? {
                            return Ok(Some(self.histogram_event(histogram, exemplars)));
                        }
                    }
                },
                Step::Classic { metric, sample } => {
                    if sample >= self.parts.samples.len() {
                        self.step = Step::Metric(metric + 1);
                    } else {
                        self.step = Step::Classic { metric, sample: sample + 1 };
                        return Ok(Some(self.sample_event(sample)));
                    }
                }
            }
        }
    }

    pub(crate) fn metric_type(&self) -> MetricType {
        self.family.metric_type
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// Reads on to a family with metrics.
    fn next_family(&mut self) -> Result<bool, Fault> {
        let bytes = self.body.bytes;
        while self.at < bytes.len() {
            let start = self.at;
            let mut prefix = Message::new(bytes, start, (start + 5).min(bytes.len()));
            let length = prefix.varint()?;
            let begin = prefix.range().start;
            let limit = self.options.limits.line_bytes;
            let end = usize::try_from(length).ok().and_then(|length| begin.checked_add(length));
            let end = end.filter(|end| *end <= bytes.len()).ok_or_else(|| fault(start, "message cut off"))?;
            if end - begin > limit {
                return Err(Fault::new(start, ParseErrorKind::LineLimit { limit }));
            }
            self.at = end;
            self.read_family(Message::new(bytes, begin, end))?;
            if !self.family.metrics.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn read_family(&mut self, mut message: Message<'a>) -> Result<(), Fault> {
        let at = message.range().start;
        let mut metrics = std::mem::take(&mut self.family.metrics);
        metrics.clear();
        self.family = Family { metric_type: MetricType::Counter, metrics, ..Family::default() };
        while let Some(field) = message.next()? {
            match field.number {
                family::NAME => self.family.name = super::metric::text(self.body, field, "metric name")?,
                family::HELP => self.family.help = super::metric::text(self.body, field, "help text")?,
                family::UNIT => self.family.unit = super::metric::text(self.body, field, "unit")?,
                family::TYPE => self.family.metric_type = metric_type(field.at, field.unsigned()?)?,
                family::METRIC => {
                    let range = field.message()?.range();
                    self.family.metrics.push((range.start, range.end));
                }
                _ => {}
            }
        }
        if self.family.name.start == self.family.name.end && !self.family.metrics.is_empty() {
            return Err(Fault::new(at, ParseErrorKind::NoMetricName));
        }
        let name = self.text(self.family.name);
        let repeated = self.seen.as_mut().is_some_and(|seen| !seen.insert(name.to_string()));
        if repeated { Err(Fault::strict(at, format!("family {name:?} repeated"))) } else { Ok(()) }
    }

    /// Decodes a metric. A native histogram is returned; the classic series, if any are wanted, are the next step.
    fn read_metric(
        &mut self,
        (start, end): (usize, usize),
        metric: usize,
    ) -> Result<Option<(ferula_model::Histogram, Vec<Exemplar>)>, Fault> {
        let message = Message::new(self.body.bytes, start, end);
        let metric_type = self.family.metric_type;
        self.parts.read(self.body, message, metric_type, self.options.start_timestamps)?;
        self.begin_key();
        if self.seen.is_some() {
            self.check_strictly(start)?;
        }
        self.step = Step::Classic { metric, sample: 0 };
        let Some((start, end)) = self.parts.histogram else { return Ok(None) };
        let message = Message::new(self.body.bytes, start, end);
        let mut fields = Vec::new();
        let gauge = metric_type == MetricType::GaugeHistogram;
        let native = match self.options.native_histograms {
            true => histogram::read(message, gauge, &mut fields)?,
            false => None,
        };
        let converts = native.is_none() && self.options.convert_classic_histograms && !gauge;
        let Some(native) = (if converts { self.convert() } else { native }) else { return Ok(None) };
        let mut exemplars = Vec::new();
        for field in &fields {
            let parts = self.parts.read_exemplar(self.body, *field)?;
            exemplars.push(self.parts.take_exemplar(self.body, parts));
        }
        if fields.is_empty() {
            let of_buckets: Vec<_> = self.parts.samples.iter().filter_map(|sample| sample.exemplar).collect();
            exemplars.extend(of_buckets.into_iter().map(|parts| self.parts.take_exemplar(self.body, parts)));
        }
        // Upstream drops exemplars of native histograms without a time: they could not be told apart.
        exemplars.retain(|exemplar| converts || exemplar.timestamp.is_some());
        if !(self.options.keep_classic_histograms && (converts || self.parts.has_buckets)) {
            self.step = Step::Metric(metric + 1);
        }
        Ok(Some((native, exemplars)))
    }

    /// The classic histogram as a native one with custom buckets. If it contradicts itself nothing of it is left, unless
    /// the classic series are kept.
    fn convert(&mut self) -> Option<ferula_model::Histogram> {
        let mut cumulative = Cumulative::default();
        for sample in &self.parts.samples {
            match (sample.suffix, sample.bound) {
                ("_count", _) => cumulative.set_count(sample.value),
                ("_sum", _) => cumulative.set_sum(sample.value),
                (_, Some((_, start, end))) => {
                    let text = self.parts.bounds.get(start..end).unwrap_or_default();
                    let bound = std::str::from_utf8(text).ok().and_then(|text| parse_float(text).ok());
                    cumulative.add_bucket(bound.unwrap_or(f64::NAN), sample.value);
                }
                _ => {}
            }
        }
        let converted = cumulative.convert();
        if converted.is_none() {
            self.dropped += 1;
            if !self.options.keep_classic_histograms {
                self.parts.samples.clear();
            }
        }
        converted
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    fn check_strictly(&self, at: usize) -> Result<(), Fault> {
        let mut names: Vec<_> = self.parts.line.spans.iter().map(|span| self.body.slice(span.name.range())).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
            return Err(Fault::strict(at, "label repeated"));
        }
        let mut below = f64::NEG_INFINITY;
        for sample in self.parts.samples.iter().filter(|sample| sample.suffix == "_bucket") {
            if sample.value < below {
                return Err(Fault::strict(at, "counts of buckets fall"));
            }
            below = sample.value;
        }
        Ok(())
    }

    /// Family name and labels: what all series of a metric have in common. The separators occur in no UTF-8 text.
    fn begin_key(&mut self) {
        self.key.clear();
        self.key.extend_from_slice(self.body.slice(self.family.name.range()));
        for span in &self.parts.line.spans {
            self.key.push(0xff);
            self.key.extend_from_slice(self.body.slice(span.name.range()));
            self.key.push(0xfe);
            self.key.extend_from_slice(self.body.slice(span.value.range()));
        }
        self.key.push(0xfd);
        self.key_base = self.key.len();
    }

    fn sample_event(&mut self, index: usize) -> Event<'_> {
        self.key.truncate(self.key_base);
        let Some(sample) = self.parts.samples.get(index).copied() else { return Event::Comment(&[]) };
        self.key.extend_from_slice(sample.suffix.as_bytes());
        self.dress(sample.suffix);
        let line = &mut self.parts.line;
        if let Some((label, start, end)) = sample.bound {
            let text = self.parts.bounds.get(start..end).unwrap_or_default();
            self.key.push(0xff);
            self.key.extend_from_slice(text);
            line.bound = Some(label);
            line.bound_text.clear();
            line.bound_text.push_str(std::str::from_utf8(text).unwrap_or_default());
        }
        if let Some(parts) = sample.exemplar {
            self.parts.point_at_exemplar(parts);
        }
        let exemplar = |parts: ExemplarParts| ExemplarEvent {
            value: parts.value,
            timestamp: parts.timestamp,
            series: SeriesText::Raw(&self.body, &self.parts.exemplar_line),
        };
        Event::Sample(SampleEvent {
            key: &self.key,
            value: sample.value,
            timestamp: self.parts.timestamp,
            start: self.parts.start,
            exemplar: sample.exemplar.map(exemplar),
            series: SeriesText::Raw(&self.body, &self.parts.line),
        })
    }

    fn histogram_event(&mut self, histogram: ferula_model::Histogram, exemplars: Vec<Exemplar>) -> Event<'_> {
        self.key.truncate(self.key_base);
        self.key.push(0xfc);
        let (timestamp, start): (Option<Timestamp>, _) = (self.parts.timestamp, self.parts.start);
        self.dress("");
        let series = SeriesText::Raw(&self.body, &self.parts.line);
        Event::Histogram(Box::new(HistogramEvent { key: &self.key, histogram, timestamp, start, exemplars, series }))
    }

    /// Name, suffix, type and unit of a series of the family, without a bound.
    fn dress(&mut self, suffix: &'static str) {
        let line = &mut self.parts.line;
        (line.metric, line.suffix, line.bound) = (Some(self.family.name), suffix, None);
        if self.options.type_and_unit_labels {
            line.begin_binary_type(self.family.metric_type, true);
            line.unit.clear();
            line.unit.push_str(self.body.str(self.family.unit.range()).unwrap_or_default());
        }
    }

    fn text(&self, piece: Piece) -> Cow<'a, str> {
        Cow::Borrowed(self.body.str(piece.range()).unwrap_or_default())
    }
}

fn metric_type(at: usize, number: u64) -> Result<MetricType, Fault> {
    Ok(match number {
        0 => MetricType::Counter,
        1 => MetricType::Gauge,
        2 => MetricType::Summary,
        3 => MetricType::Unknown,
        4 => MetricType::Histogram,
        5 => MetricType::GaugeHistogram,
        other => return Err(Fault::new(at, ParseErrorKind::MetricType(other.to_string()))),
    })
}
