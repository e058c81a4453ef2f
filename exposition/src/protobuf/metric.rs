//! One `Metric`, decoded as far as positions and numbers go, in memory that is reused.

use ferula_model::number::{FloatForm, push_float};
use ferula_model::{Exemplar, MetricType, NORMAL_NAN, Timestamp};

use super::format::{bucket, exemplar, histogram, label, metric, number, quantile, summary, timestamp};
use super::wire::{Field, Message, fault};
use crate::error::{Fault, ParseErrorKind};
use crate::series::{Body, LabelBuffer, LabelSpan, Piece, SeriesLine};

/// A metric and the classic series it stands for.
#[derive(Debug, Default)]
pub(super) struct MetricParts {
    /// Name and labels; suffix and bound are those of the current sample.
    pub(super) line: SeriesLine,
    pub(super) timestamp: Option<Timestamp>,
    pub(super) start: Option<Timestamp>,
    pub(super) samples: Vec<ClassicSample>,
    /// Where the histogram message stands, if there is one.
    pub(super) histogram: Option<(usize, usize)>,
    pub(super) has_buckets: bool,
    exemplar_labels: Vec<LabelSpan>,
    pub(super) exemplar_line: SeriesLine,
    /// The texts of bounds and quantiles.
    pub(super) bounds: Vec<u8>,
    labels_max: usize,
}

/// One classic series of a metric.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClassicSample {
    pub(super) suffix: &'static str,
    /// Label name, and where the value stands in `bounds`.
    pub(super) bound: Option<(&'static str, usize, usize)>,
    pub(super) value: f64,
    pub(super) exemplar: Option<ExemplarParts>,
}

/// An exemplar whose labels stand in `exemplar_labels`.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExemplarParts {
    first_label: usize,
    last_label: usize,
    pub(super) value: f64,
    pub(super) timestamp: Option<Timestamp>,
}

impl MetricParts {
    pub(super) fn new(labels_max: usize) -> Self {
        Self { labels_max, ..Self::default() }
    }

    /// Replaces the content by a metric of a family of this type.
    pub(super) fn read(
        &mut self,
        body: Body<'_>,
        mut message: Message<'_>,
        metric_type: MetricType,
        start_timestamps: bool,
    ) -> Result<(), Fault> {
        self.line.clear();
        self.samples.clear();
        self.exemplar_labels.clear();
        self.bounds.clear();
        (self.timestamp, self.start, self.histogram, self.has_buckets) = (None, None, None, false);
        let mut content = None;
        while let Some(field) = message.next()? {
            match field.number {
                metric::LABEL => {
                    if self.line.spans.len() >= self.labels_max {
                        return Err(Fault::new(field.at, ParseErrorKind::LabelLimit { limit: self.labels_max }));
                    }
                    self.line.spans.push(label_pair(body, field)?);
                }
                metric::TIMESTAMP_MS => {
                    self.timestamp = Some(field.signed()?).filter(|millis| *millis != 0).map(Timestamp);
                }
                other if Some(other) == content_field(metric_type) => content = Some(field.message()?),
                _ => {}
            }
        }
        match metric_type {
            MetricType::Summary => self.read_summary(content)?,
            MetricType::Histogram | MetricType::GaugeHistogram => self.read_histogram(body, content)?,
            _ => self.read_number(body, content)?,
        }
        self.start = self.start.filter(|start| start_timestamps && start.0 != 0);
        Ok(())
    }

    fn read_number(&mut self, body: Body<'_>, content: Option<Message<'_>>) -> Result<(), Fault> {
        let (mut value, mut exemplar) = (0.0, None);
        let mut content = content.unwrap_or_else(|| Message::new(body.bytes, 0, 0));
        while let Some(field) = content.next()? {
            match field.number {
                number::VALUE => value = field.double()?,
                number::EXEMPLAR => exemplar = Some(self.read_exemplar(body, field)?),
                number::START => self.start = Some(timestamp_of(field)?),
                _ => {}
            }
        }
        self.push("", None, value, exemplar);
        Ok(())
    }

    fn read_summary(&mut self, content: Option<Message<'_>>) -> Result<(), Fault> {
        let (mut count, mut sum) = (0, 0.0);
        self.push("_count", None, 0.0, None);
        self.push("_sum", None, 0.0, None);
        if let Some(mut content) = content {
            while let Some(field) = content.next()? {
                match field.number {
                    summary::COUNT => count = field.unsigned()?,
                    summary::SUM => sum = field.double()?,
                    summary::START => self.start = Some(timestamp_of(field)?),
                    summary::QUANTILE => {
                        let (mut at, mut value) = (0.0, 0.0);
                        let mut inner = field.message()?;
                        while let Some(field) = inner.next()? {
                            match field.number {
                                quantile::QUANTILE => at = field.double()?,
                                quantile::VALUE => value = field.double()?,
                                _ => {}
                            }
                        }
                        self.push("", Some(("quantile", at)), value, None);
                    }
                    _ => {}
                }
            }
        }
        self.set_total(count as f64, sum);
        Ok(())
    }

    fn read_histogram(&mut self, body: Body<'_>, content: Option<Message<'_>>) -> Result<(), Fault> {
        let (mut count, mut count_float, mut sum) = (0, 0.0, 0.0);
        self.push("_count", None, 0.0, None);
        self.push("_sum", None, 0.0, None);
        let mut infinite = false;
        if let Some(mut content) = content {
            let range = content.range();
            self.histogram = Some((range.start, range.end));
            while let Some(field) = content.next()? {
                match field.number {
                    histogram::COUNT => count = field.unsigned()?,
                    histogram::COUNT_FLOAT => count_float = field.double()?,
                    histogram::SUM => sum = field.double()?,
                    histogram::START => self.start = Some(timestamp_of(field)?),
                    histogram::BUCKET => {
                        self.has_buckets = true;
                        infinite |= self.read_bucket(body, field)?;
                    }
                    _ => {}
                }
            }
        }
        let total = if count_float > 0.0 { count_float } else { count as f64 };
        self.set_total(total, sum);
        if !infinite {
            self.push("_bucket", Some(("le", f64::INFINITY)), total, None);
        }
        Ok(())
    }

    /// Whether it is the last bucket.
    fn read_bucket(&mut self, body: Body<'_>, field: Field<'_>) -> Result<bool, Fault> {
        let (mut count, mut count_float, mut bound, mut exemplar) = (0, 0.0, 0.0, None);
        let mut inner = field.message()?;
        while let Some(field) = inner.next()? {
            match field.number {
                bucket::CUMULATIVE_COUNT => count = field.unsigned()?,
                bucket::CUMULATIVE_COUNT_FLOAT => count_float = field.double()?,
                bucket::UPPER_BOUND => bound = field.double()?,
                bucket::EXEMPLAR => exemplar = Some(self.read_exemplar(body, field)?),
                _ => {}
            }
        }
        let value = if count_float > 0.0 { count_float } else { count as f64 };
        self.push("_bucket", Some(("le", bound)), value, exemplar);
        Ok(bound == f64::INFINITY)
    }

    pub(super) fn read_exemplar(&mut self, body: Body<'_>, field: Field<'_>) -> Result<ExemplarParts, Fault> {
        let first_label = self.exemplar_labels.len();
        let (mut value, mut timestamp) = (0.0, None);
        let mut inner = field.message()?;
        while let Some(field) = inner.next()? {
            match field.number {
                exemplar::LABEL => self.exemplar_labels.push(label_pair(body, field)?),
                exemplar::VALUE => value = field.double()?,
                exemplar::TIMESTAMP => timestamp = Some(timestamp_of(field)?),
                _ => {}
            }
        }
        Ok(ExemplarParts { first_label, last_label: self.exemplar_labels.len(), value, timestamp })
    }

    /// Makes the labels of an exemplar those of `exemplar_line`.
    pub(super) fn point_at_exemplar(&mut self, parts: ExemplarParts) {
        self.exemplar_line.clear();
        let spans = self.exemplar_labels.get(parts.first_label..parts.last_label).unwrap_or_default();
        self.exemplar_line.spans.extend_from_slice(spans);
    }

    pub(super) fn take_exemplar(&mut self, body: Body<'_>, parts: ExemplarParts) -> Exemplar {
        let mut buffer = LabelBuffer::default();
        self.point_at_exemplar(parts);
        buffer.decode(&body, &self.exemplar_line);
        Exemplar { labels: buffer.to_labels(), value: parts.value, timestamp: parts.timestamp }
    }

    fn push(
        &mut self,
        suffix: &'static str,
        bound: Option<(&'static str, f64)>,
        value: f64,
        exemplar: Option<ExemplarParts>,
    ) {
        let bound = bound.map(|(label, number)| {
            let start = self.bounds.len();
            push_float(&mut self.bounds, number, FloatForm::OpenMetrics);
            (label, start, self.bounds.len())
        });
        let value = if value.is_nan() { NORMAL_NAN } else { value };
        self.samples.push(ClassicSample { suffix, bound, value, exemplar });
    }

    /// Count and sum come first, though they may be read last.
    fn set_total(&mut self, count: f64, sum: f64) {
        for (sample, value) in self.samples.iter_mut().zip([count, sum]) {
            sample.value = if value.is_nan() { NORMAL_NAN } else { value };
        }
    }
}

fn content_field(metric_type: MetricType) -> Option<u32> {
    match metric_type {
        MetricType::Counter => Some(metric::COUNTER),
        MetricType::Gauge => Some(metric::GAUGE),
        MetricType::Summary => Some(metric::SUMMARY),
        MetricType::Unknown => Some(metric::UNTYPED),
        MetricType::Histogram | MetricType::GaugeHistogram => Some(metric::HISTOGRAM),
        _ => None,
    }
}

fn label_pair(body: Body<'_>, field: Field<'_>) -> Result<LabelSpan, Fault> {
    let mut span = LabelSpan::default();
    let mut inner = field.message()?;
    while let Some(field) = inner.next()? {
        match field.number {
            label::NAME => span.name = text(body, field, "label name")?,
            label::VALUE => span.value = text(body, field, "label value")?,
            _ => {}
        }
    }
    if span.name.start == span.name.end {
        return Err(fault(field.at, "label without a name"));
    }
    Ok(span)
}

/// A text field, checked to be UTF-8.
pub(super) fn text(body: Body<'_>, field: Field<'_>, what: &'static str) -> Result<Piece, Fault> {
    let range = field.message()?.range();
    let piece = Piece::new(range.start, range.end, false);
    crate::text::scan::check_utf8(body, piece, what)?;
    Ok(piece)
}

/// Milliseconds of a `google.protobuf.Timestamp`.
fn timestamp_of(field: Field<'_>) -> Result<Timestamp, Fault> {
    let (mut seconds, mut nanos) = (0i64, 0i64);
    let mut inner = field.message()?;
    while let Some(field) = inner.next()? {
        match field.number {
            timestamp::SECONDS => seconds = field.signed()?,
            timestamp::NANOS => nanos = field.signed()?,
            _ => {}
        }
    }
    Ok(Timestamp(seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000)))
}
