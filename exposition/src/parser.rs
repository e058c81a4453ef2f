//! One door to all formats.

use ferula_model::{MetricType, Timestamp};

use crate::error::{Fault, ParseError, ParseErrorKind};
use crate::event::{Event, HistogramEvent};
use crate::nhcb::{Collator, Finished, Fit};
use crate::openmetrics::OpenMetricsParser;
use crate::protobuf::ProtobufParser;
use crate::series::SeriesText;
use crate::text::{TextParser, Token};

/// The formats that can be read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Prometheus text, 0.0.4 and 1.0.0: `text/plain`.
    #[default]
    Text,
    /// OpenMetrics text, 0.0.1 and 1.0.0: `application/openmetrics-text`.
    OpenMetrics,
    /// Messages `io.prometheus.client.MetricFamily`, each after its length: `application/vnd.google.protobuf`.
    Protobuf,
}

/// How a body is read.
///
/// ```
/// use ferula_exposition::{Format, ParseOptions, Parser};
///
/// let no_newline_at_the_end = b"up 1";
/// let lenient = ParseOptions::default();
/// assert!(Parser::new(no_newline_at_the_end, Format::Text, &lenient).check().is_ok());
/// let strict = ParseOptions { strict: true, ..lenient };
/// assert!(Parser::new(no_newline_at_the_end, Format::Text, &strict).check().is_err());
/// ```
#[derive(Clone, Debug, Default)]
pub struct ParseOptions {
    /// Accept exactly what the specification of the format allows. Otherwise exactly what Prometheus 3.14 accepts, which is
    /// what a scraper wants. Strict reading allocates.
    pub strict: bool,
    /// Yield start timestamps. In OpenMetrics this takes the `_created` samples of counters, histograms and summaries out
    /// of the stream and hands them to the samples they belong to.
    pub start_timestamps: bool,
    /// Yield native histograms. Otherwise the native part of a histogram is ignored and the classic part expanded.
    pub native_histograms: bool,
    /// Yield the classic series of a histogram even where a native one is yielded.
    pub keep_classic_histograms: bool,
    /// Turn classic histograms into native ones with custom buckets.
    pub convert_classic_histograms: bool,
    /// Add `__type__` and `__unit__` to the labels of each sample.
    pub type_and_unit_labels: bool,
    /// What a body may take.
    pub limits: ParseLimits,
}

/// What a body may take. Beyond it, the body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseLimits {
    /// Bytes of a body; by default, and at most, 4 GiB - 1.
    pub body_bytes: usize,
    /// Bytes of a line, or of a message in protobuf; 64 MiB by default.
    pub line_bytes: usize,
    /// Labels of a series; 65,536 by default.
    pub labels: usize,
}

impl Default for ParseLimits {
    fn default() -> Self {
        Self { body_bytes: u32::MAX as usize, line_bytes: 64 << 20, labels: 1 << 16 }
    }
}

/// Reads a body, one [`Event`] at a time. After an error there is nothing more.
///
/// ```
/// use ferula_exposition::{Event, Format, ParseOptions, Parser};
///
/// let body = b"# TYPE http_requests_total counter\nhttp_requests_total{code=\"200\"} 1027 1395066363000\n";
/// let mut parser = Parser::new(body, Format::Text, &ParseOptions::default());
/// while let Some(event) = parser.next() {
///     if let Event::Sample(sample) = event.unwrap() {
///         assert_eq!(sample.key, b"http_requests_total{code=\"200\"}");
///         assert_eq!(sample.value, 1027.0);
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Parser<'a> {
    body: &'a [u8],
    format: Format,
    reader: Reader<'a>,
    state: State,
    /// In the text formats, while classic histograms are converted.
    collator: Option<Box<Collator>>,
    keep_classic: bool,
}

#[derive(Debug)]
enum Reader<'a> {
    Text(Box<TextParser<'a>>),
    OpenMetrics(Box<OpenMetricsParser<'a>>),
    Protobuf(Box<ProtobufParser<'a>>),
}

#[derive(Debug)]
enum State {
    Reading,
    Refused(Fault),
    Done,
}

impl<'a> Parser<'a> {
    /// A parser of `body`.
    pub fn new(body: &'a [u8], format: Format, options: &ParseOptions) -> Self {
        let limit = options.limits.body_bytes.min(u32::MAX as usize);
        let state = if body.len() > limit {
            State::Refused(Fault::new(0, ParseErrorKind::BodyLimit { bytes: body.len(), limit }))
        } else {
            State::Reading
        };
        let reader = match format {
            Format::OpenMetrics => Reader::OpenMetrics(Box::new(OpenMetricsParser::new(body, options))),
            Format::Protobuf => Reader::Protobuf(Box::new(ProtobufParser::new(body, options))),
            Format::Text => Reader::Text(Box::new(TextParser::new(body, options))),
        };
        let collator = (options.convert_classic_histograms && format != Format::Protobuf).then(Box::default);
        Self { body, format, reader, state, collator, keep_classic: options.keep_classic_histograms }
    }

    /// The next event, or why the body is refused; `None` at the end.
    #[allow(clippy::should_implement_trait, reason = "events borrow from the parser, which an iterator cannot say")]
    pub fn next(&mut self) -> Option<Result<Event<'_>, ParseError>> {
        if !matches!(self.state, State::Reading) {
            return match std::mem::replace(&mut self.state, State::Done) {
                State::Refused(fault) => Some(Err(ParseError::of_body(self.body, self.format, fault))),
                State::Reading | State::Done => None,
            };
        }
        if let Some(finished) = self.collate() {
            return self.collator.as_ref().map(|collator| Ok(histogram_event(collator, finished)));
        }
        let next = match &mut self.reader {
            Reader::Text(reader) => {
                let token = match reader.token() {
                    Ok(Token::End) => {
                        self.state = State::Done;
                        return None;
                    }
                    Ok(token) => token,
                    Err(fault) => {
                        self.state = State::Done;
                        return Some(Err(ParseError::of_body(self.body, self.format, fault)));
                    }
                };
                if let (Some(collator), Token::Type { family, metric_type }) = (&mut self.collator, token) {
                    collator.begin_family(&reader.resolved(family), metric_type);
                }
                return reader.event(token).map(Ok);
            }
            Reader::OpenMetrics(reader) => reader.next(),
            Reader::Protobuf(reader) => reader.next(),
        };
        match next {
            Ok(None) => {
                self.state = State::Done;
                None
            }
            Ok(Some(event)) => {
                if let (Some(collator), Event::Type { family, metric_type }) = (&mut self.collator, &event) {
                    collator.begin_family(family, *metric_type);
                }
                Some(Ok(event))
            }
            Err(fault) => {
                self.state = State::Done;
                Some(Err(ParseError::of_body(self.body, self.format, fault)))
            }
        }
    }

    /// Looks at the lines to come and puts the parts of a classic histogram together. Returns it where it ends; otherwise
    /// the next line is to be yielded as it is.
    fn collate(&mut self) -> Option<Finished> {
        let collator = self.collator.as_deref_mut()?;
        loop {
            let sample = match &mut self.reader {
                Reader::Text(reader) => reader.peek(),
                Reader::OpenMetrics(reader) => reader.peek(),
                Reader::Protobuf(_) => None,
            };
            let fit = sample.as_ref().map_or(Fit::None, |sample| collator.fit(sample));
            match sample {
                Some(sample) if fit == Fit::Part => collator.take(&sample),
                _ => {}
            }
            if fit != Fit::Part {
                match collator.finish() {
                    Some(finished) => return Some(finished),
                    None if fit == Fit::None => return None,
                    // The histogram before contradicted itself; this line begins another one.
                    None => continue,
                }
            }
            if self.keep_classic {
                return None;
            }
            let skipped = match &mut self.reader {
                Reader::Text(reader) => reader.skip(),
                Reader::OpenMetrics(reader) => reader.next().is_ok(),
                Reader::Protobuf(_) => false,
            };
            if !skipped {
                return None;
            }
        }
    }

    /// How many classic histograms were left out because they contradict themselves, while
    /// [`convert_classic_histograms`](ParseOptions::convert_classic_histograms) asked for native ones.
    pub fn dropped_histograms(&self) -> u64 {
        match &self.reader {
            Reader::Protobuf(reader) => reader.dropped(),
            _ => self.collator.as_ref().map_or(0, |collator| collator.dropped),
        }
    }

    /// Takes the next sample if its raw key is exactly `key`, which an earlier [`next`](Self::next) returned, on this body
    /// or another one. The key is compared and not parsed again: for a scraper that remembers the order of a target's
    /// series this is the way past 1 GB/s. `None` leaves everything as it was, and says nothing but "ask `next`".
    ///
    /// Only the text format has this path; in strict mode, in the other formats, and while the options ask for work beyond
    /// reading, it always answers `None`.
    #[inline]
    pub fn next_known(&mut self, key: &[u8]) -> Option<(f64, Option<Timestamp>)> {
        match &mut self.reader {
            Reader::Text(reader) if matches!(self.state, State::Reading) && self.collator.is_none() => {
                reader.next_known(key)
            }
            Reader::OpenMetrics(reader) if matches!(self.state, State::Reading) && self.collator.is_none() => {
                reader.next_known(key)
            }
            _ => None,
        }
    }

    /// Takes back the sample that [`next_known`](Self::next_known) has just given: [`next`](Self::next) will yield it with
    /// everything that belongs to it. At another moment this does nothing.
    pub fn unread_known(&mut self) {
        match &mut self.reader {
            Reader::Text(reader) => reader.unread_known(),
            Reader::OpenMetrics(reader) => reader.unread_known(),
            Reader::Protobuf(_) => {}
        }
    }

    /// Skips over the next `len` bytes if `is_known` recognizes them: as comment and metadata lines that an earlier body
    /// had at the same place, newlines included, and that were looked at then. `metric_type` is what
    /// [`metric_type`](Self::metric_type) was after them. False leaves everything as it was.
    #[inline]
    pub fn skip_known(&mut self, len: usize, metric_type: MetricType, is_known: impl FnOnce(&[u8]) -> bool) -> bool {
        match &mut self.reader {
            Reader::Text(reader) if matches!(self.state, State::Reading) && self.collator.is_none() => {
                reader.skip_known(len, metric_type, is_known)
            }
            Reader::OpenMetrics(reader) if matches!(self.state, State::Reading) && self.collator.is_none() => {
                reader.skip_known(len, metric_type, is_known)
            }
            _ => false,
        }
    }

    /// The type that the last TYPE line named.
    pub fn metric_type(&self) -> MetricType {
        match &self.reader {
            Reader::Text(reader) => reader.metric_type(),
            Reader::OpenMetrics(reader) => reader.metric_type(),
            Reader::Protobuf(reader) => reader.metric_type(),
        }
    }

    /// Up to which byte of the body everything has been yielded or skipped. What lies between two positions is what was
    /// read between them, for [`skip_known`](Self::skip_known).
    pub fn position(&self) -> usize {
        match &self.reader {
            Reader::Text(reader) => reader.position(),
            Reader::OpenMetrics(reader) => reader.position(),
            Reader::Protobuf(reader) => reader.position(),
        }
    }

    /// Calls `find` on each event until it answers something. A convenience for tests and tools; events cannot leave an
    /// iterator, because they borrow from the parser.
    pub fn find_map<T>(&mut self, mut find: impl FnMut(Result<Event<'_>, ParseError>) -> Option<T>) -> Option<T> {
        while let Some(event) = self.next() {
            if let Some(found) = find(event) {
                return Some(found);
            }
        }
        None
    }

    /// Reads to the end.
    ///
    /// # Errors
    ///
    /// Why the body is refused.
    pub fn check(mut self) -> Result<(), ParseError> {
        while let Some(event) = self.next() {
            event?;
        }
        Ok(())
    }
}

fn histogram_event(collator: &Collator, finished: Finished) -> Event<'_> {
    let Finished { histogram, exemplars, timestamp, start } = finished;
    let series = SeriesText::Decoded(&collator.labels);
    Event::Histogram(Box::new(HistogramEvent { key: &collator.key, histogram, timestamp, start, exemplars, series }))
}
