//! What any parser yields.
//!
//! Events borrow from the body and from the parser, and carry everything that belongs to them: there is no state to ask the
//! parser for afterwards. The series of a sample stays undecoded until somebody calls `labels`, because a scraper that has
//! seen the same bytes before has no use for them.

use std::borrow::Cow;

use ferula_model::{Exemplar, Histogram, Labels, MetricType, Timestamp};

use crate::series::{LabelBuffer, SeriesText};

/// One thing that an exposition says.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The help text of a family.
    Help {
        /// The family.
        family: Cow<'a, str>,
        /// The text, unescaped; may be empty.
        text: Cow<'a, str>,
    },
    /// The type of a family.
    Type {
        /// The family.
        family: Cow<'a, str>,
        /// The type.
        metric_type: MetricType,
    },
    /// The unit of a family.
    Unit {
        /// The family.
        family: Cow<'a, str>,
        /// The unit; may be empty.
        unit: Cow<'a, str>,
    },
    /// A comment, from `#` to the end of the line. Only in the text format.
    Comment(&'a [u8]),
    /// A float sample.
    Sample(SampleEvent<'a>),
    /// A native histogram. Apart, for it is rare and large.
    Histogram(Box<HistogramEvent<'a>>),
}

/// A float sample of one series.
#[derive(Clone, Debug)]
pub struct SampleEvent<'a> {
    /// The raw bytes that name the series. In the text formats it is `name{labels}` as written, in protobuf an encoding of
    /// the same; in both cases the same bytes name the same series, so they serve as the key of a cache.
    pub key: &'a [u8],
    /// The value. Every NaN of an exposition is [`NORMAL_NAN`](ferula_model::NORMAL_NAN).
    pub value: f64,
    /// When the value held, if the target says so.
    pub timestamp: Option<Timestamp>,
    /// When the counter started from zero, if the target says so and the options ask for it.
    pub start: Option<Timestamp>,
    /// An exemplar, at most one.
    pub exemplar: Option<ExemplarEvent<'a>>,
    pub(crate) series: SeriesText<'a>,
}

impl SampleEvent<'_> {
    /// Decodes name and labels of the series into `buffer`, replacing what it held.
    pub fn labels(&self, buffer: &mut LabelBuffer) {
        self.series.decode(buffer);
    }
}

/// A native histogram sample of one series.
#[derive(Clone, Debug)]
pub struct HistogramEvent<'a> {
    /// The raw bytes that name the series, as in [`SampleEvent::key`]. A native and a classic histogram never share a key.
    pub key: &'a [u8],
    /// The histogram.
    pub histogram: Histogram,
    /// When it held, if the target says so.
    pub timestamp: Option<Timestamp>,
    /// When it started from zero, if the target says so and the options ask for it.
    pub start: Option<Timestamp>,
    /// Its exemplars.
    pub exemplars: Vec<Exemplar>,
    pub(crate) series: SeriesText<'a>,
}

impl HistogramEvent<'_> {
    /// Decodes name and labels of the series into `buffer`, replacing what it held.
    pub fn labels(&self, buffer: &mut LabelBuffer) {
        self.series.decode(buffer);
    }
}

/// An exemplar behind a sample.
#[derive(Clone, Copy, Debug)]
pub struct ExemplarEvent<'a> {
    /// The observed value.
    pub value: f64,
    /// When it was observed, if the target says so.
    pub timestamp: Option<Timestamp>,
    pub(crate) series: SeriesText<'a>,
}

impl ExemplarEvent<'_> {
    /// Decodes the labels into `buffer`, replacing what it held.
    pub fn labels(&self, buffer: &mut LabelBuffer) {
        self.series.decode(buffer);
    }

    /// The exemplar as a value of its own.
    pub fn to_exemplar(&self) -> Exemplar {
        let mut buffer = LabelBuffer::default();
        self.labels(&mut buffer);
        let labels = buffer.to_labels();
        Exemplar { labels, value: self.value, timestamp: self.timestamp }
    }
}

impl From<&LabelBuffer> for Labels {
    fn from(buffer: &LabelBuffer) -> Self {
        buffer.to_labels()
    }
}
