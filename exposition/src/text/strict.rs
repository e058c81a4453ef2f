//! What the text format forbids and Prometheus accepts.
//!
//! The format asks for one group of lines per family with HELP and TYPE at most once and before the samples, for unique
//! series, for three escapes and no others, for a newline at the end, and for histograms whose `+Inf` bucket exists and
//! equals `_count`. Prometheus checks none of it.
//!
//! Source: "Exposition formats, text-based format" of the Prometheus documentation, 2025-11.

use std::collections::{BTreeMap, HashSet};

use ferula_model::number::parse_float;
use ferula_model::{Labels, METRIC_NAME, MetricType};

use crate::error::Fault;
use crate::series::{Body, LabelBuffer, Piece, SeriesLine};

/// The families of one body, as far as it has been read.
#[derive(Debug, Default)]
pub(crate) struct Families {
    seen: HashSet<String>,
    current: Option<Family>,
    buffer: LabelBuffer,
}

#[derive(Debug, Default)]
struct Family {
    name: String,
    metric_type: Option<MetricType>,
    helped: bool,
    started_at: usize,
    series: HashSet<Labels>,
    histograms: BTreeMap<Labels, Histogram>,
}

#[derive(Debug, Default)]
struct Histogram {
    bound: Option<f64>,
    cumulative: f64,
    count: Option<f64>,
}

impl Families {
    /// A HELP line of a family, or a TYPE line, which names a type.
    pub(crate) fn metadata(&mut self, at: usize, name: &str, metric_type: Option<MetricType>) -> Result<(), Fault> {
        let family = self.family(at, name)?;
        if !family.series.is_empty() {
            return Err(Fault::strict(at, format!("metadata of {name:?} after its samples")));
        }
        let repeated = match metric_type {
            Some(metric_type) => family.metric_type.replace(metric_type).is_some(),
            None => std::mem::replace(&mut family.helped, true),
        };
        if repeated {
            return Err(Fault::strict(at, format!("metadata of {name:?} repeated")));
        }
        Ok(())
    }

    pub(crate) fn sample(&mut self, at: usize, body: &Body<'_>, line: &SeriesLine, value: f64) -> Result<(), Fault> {
        let pieces = line.metric.iter().copied().chain(line.spans.iter().flat_map(|span| [span.name, span.value]));
        pieces.into_iter().try_for_each(|piece| check_escapes(body, piece))?;
        self.buffer.decode_as_written(body, line);
        if let Some(name) = self.buffer.duplicate() {
            return Err(Fault::strict(at, format!("label {name:?} repeated")));
        }
        let labels = self.buffer.to_labels();
        let name = labels.metric_name().to_owned();
        let belongs = self.current.as_ref().is_some_and(|family| family.owns(&name));
        if !belongs {
            self.family(at, &name)?;
        }
        let Some(family) = &mut self.current else { return Ok(()) };
        family.observe(at, &name, &labels, value)?;
        if !family.series.insert(labels) {
            return Err(Fault::strict(at, "series repeated"));
        }
        Ok(())
    }

    pub(crate) fn end(&mut self, body: &[u8]) -> Result<(), Fault> {
        if let Some(last) = self.current.take() {
            last.finish()?;
        }
        match body.last() {
            None | Some(b'\n') => Ok(()),
            Some(_) => Err(Fault::strict(body.len(), "the last line does not end with a newline")),
        }
    }

    /// The current family if it has this name, else a new one.
    fn family(&mut self, at: usize, name: &str) -> Result<&mut Family, Fault> {
        if self.current.as_ref().is_none_or(|current| current.name != name) {
            if let Some(previous) = self.current.take() {
                previous.finish()?;
            }
            if !self.seen.insert(name.to_owned()) {
                return Err(Fault::strict(at, format!("lines of {name:?} are not in one group")));
            }
            self.current = Some(Family { name: name.to_owned(), started_at: at, ..Family::default() });
        }
        self.current.as_mut().ok_or_else(|| Fault::strict(at, "no family"))
    }
}

impl Family {
    fn owns(&self, sample: &str) -> bool {
        let Some(suffix) = sample.strip_prefix(self.name.as_str()) else { return false };
        match self.metric_type {
            Some(MetricType::Histogram) => matches!(suffix, "_bucket" | "_sum" | "_count"),
            Some(MetricType::Summary) => matches!(suffix, "" | "_sum" | "_count"),
            _ => suffix.is_empty(),
        }
    }

    fn observe(&mut self, at: usize, name: &str, labels: &Labels, value: f64) -> Result<(), Fault> {
        let suffix = name.strip_prefix(self.name.as_str()).unwrap_or_default();
        match (self.metric_type, suffix) {
            (Some(MetricType::Summary), "") => {
                let quantile = labels.get("quantile").and_then(|text| parse_float(text).ok());
                match quantile {
                    Some(q) if (0.0..=1.0).contains(&q) => Ok(()),
                    _ => Err(Fault::strict(at, "a summary needs a label quantile between 0 and 1")),
                }
            }
            (Some(MetricType::Histogram), "_bucket") => {
                let Some(bound) = labels.get("le").and_then(|text| parse_float(text).ok()) else {
                    return Err(Fault::strict(at, "a bucket needs a label le that is a number"));
                };
                let histogram = self.histograms.entry(labels.without(&[METRIC_NAME, "le"])).or_default();
                if histogram.bound.is_some_and(|before| bound <= before || value < histogram.cumulative) {
                    return Err(Fault::strict(at, "buckets do not rise"));
                }
                histogram.bound = Some(bound);
                histogram.cumulative = value;
                Ok(())
            }
            (Some(MetricType::Histogram), "_count") => {
                self.histograms.entry(labels.without_metric_name()).or_default().count = Some(value);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn finish(self) -> Result<(), Fault> {
        for histogram in self.histograms.values() {
            if histogram.bound != Some(f64::INFINITY) {
                return Err(Fault::strict(self.started_at, format!("histogram {:?} has no +Inf bucket", self.name)));
            }
            if histogram.count.is_some_and(|count| count != histogram.cumulative) {
                return Err(Fault::strict(self.started_at, format!("+Inf bucket of {:?} is not its count", self.name)));
            }
        }
        Ok(())
    }
}

fn check_escapes(body: &Body<'_>, piece: Piece) -> Result<(), Fault> {
    let start = piece.start as usize;
    let text = body.slice(piece.range());
    if let Some(newline) = memchr::memchr(b'\n', text) {
        return Err(Fault::strict(start + newline, "a newline must be written as \\n"));
    }
    let mut at = 0;
    while let Some(backslash) = text.get(at..).and_then(|rest| memchr::memchr(b'\\', rest)) {
        at += backslash + 2;
        if !matches!(text.get(at - 1), Some(b'\\' | b'"' | b'n')) {
            return Err(Fault::strict(start + at - 2, "unknown escape"));
        }
    }
    Ok(())
}
