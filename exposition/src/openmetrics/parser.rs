//! Reads OpenMetrics text.
//!
//! Exactly one blank stands between tokens, every line begins in its first column, and `# EOF` ends the body. The lenient
//! reading accepts what Prometheus 3.14 accepts: it does not look at the order of lines, at suffixes or at values. The
//! strict reading adds [`strict`](super::strict).

use std::borrow::Cow;

use ferula_model::{MetricType, Timestamp};

use super::created::Created;
use super::strict::Families;
use crate::error::{Fault, ParseErrorKind};
use crate::event::{Event, ExemplarEvent, SampleEvent};
use crate::parser::ParseOptions;
use crate::series::{Body, Piece, SeriesLine, SeriesText, unescape_into};
use crate::text::scan::{self, LabelRules};

/// A parser of OpenMetrics text.
#[derive(Debug)]
pub(crate) struct OpenMetricsParser<'a> {
    body: Body<'a>,
    at: usize,
    options: ParseOptions,
    line: SeriesLine,
    exemplar_line: SeriesLine,
    /// What the last TYPE line said.
    metric_type: MetricType,
    family: String,
    created: Option<Created>,
    strict: Option<Families>,
    /// Where the sample stands that was taken as known, until something else is read.
    known_from: Option<usize>,
    /// Lines were read that are not known, so the body has been checked to be text.
    checked: bool,
}

/// A sample line; what names its series and its exemplar stands in two [`SeriesLine`]s.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SampleLine {
    pub(crate) start: usize,
    pub(crate) key_end: usize,
    pub(crate) metric: Piece,
    pub(crate) value: f64,
    pub(crate) timestamp: Option<Seconds>,
    pub(crate) exemplar: Option<ExemplarPart>,
    pub(crate) next: usize,
}

/// The exemplar at the end of a sample line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExemplarPart {
    pub(crate) start: usize,
    value: f64,
    timestamp: Option<Seconds>,
}

/// A timestamp in seconds, and where it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seconds {
    pub(crate) piece: Piece,
    pub(crate) value: f64,
}

impl Seconds {
    /// Milliseconds, truncated; beyond 64 bits the nearest there are.
    fn timestamp(self) -> Timestamp {
        Timestamp((self.value * 1000.0) as i64)
    }
}

impl<'a> OpenMetricsParser<'a> {
    pub(crate) fn new(body: &'a [u8], options: &ParseOptions) -> Self {
        Self {
            body: Body::new(body),
            at: 0,
            options: options.clone(),
            line: SeriesLine::default(),
            exemplar_line: SeriesLine::default(),
            metric_type: MetricType::Unknown,
            family: String::new(),
            created: None,
            strict: options.strict.then(Families::default),
            known_from: None,
            checked: false,
        }
    }

    /// The next event; `Ok(None)` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Event<'_>>, Fault> {
        let bytes = self.body.bytes;
        self.known_from = None;
        // Where everything was known, only the end is left.
        if !self.checked && bytes.get(self.at..).is_some_and(|rest| !rest.is_empty() && rest != b"# EOF\n") {
            self.checked = true;
            self.body.check_all();
        }
        loop {
            match bytes.get(self.at) {
                None => return Err(Fault::new(self.at, ParseErrorKind::NoEof)),
                Some(b'#') => {
                    if self.end_of_file()? {
                        return Ok(None);
                    }
                    return self.metadata().map(Some);
                }
                Some(_) => {}
            }
            let rules = self.rules();
            let line = sample(self.body, self.at, rules, &mut self.line, &mut self.exemplar_line)?;
            self.limit_line(line.start, line.next)?;
            if let Some(strict) = &mut self.strict {
                strict.sample(self.body, &line, &self.line, &self.exemplar_line)?;
            }
            self.at = line.next;
            if self.is_created(&line) {
                continue;
            }
            return Ok(Some(self.sample_event(line)));
        }
    }

    /// Whether the line only says when another series began, and is not to be yielded.
    fn is_created(&mut self, line: &SampleLine) -> bool {
        if !self.options.start_timestamps || !has_start(self.metric_type) {
            return false;
        }
        if self.body.slice(line.metric.range()).ends_with(b"_created") {
            return true;
        }
        if self.created.is_none() {
            self.created = Some(Created::look_ahead(self.body, line.start, self.rules()));
        }
        false
    }

    /// The next line that is yielded, if it is a sample; it stays the next line.
    pub(crate) fn peek(&mut self) -> Option<SampleEvent<'_>> {
        let mut at = self.at;
        loop {
            if matches!(self.body.bytes.get(at), None | Some(b'#')) {
                return None;
            }
            let line = sample(self.body, at, self.rules(), &mut self.line, &mut self.exemplar_line).ok()?;
            at = line.next;
            if self.is_created(&line) {
                continue;
            }
            let Event::Sample(sample) = self.sample_event(line) else { return None };
            return Some(sample);
        }
    }

    /// As the text format's.
    #[inline]
    pub(crate) fn next_known(&mut self, key: &[u8]) -> Option<(f64, Option<Timestamp>)> {
        let bytes = self.body.bytes;
        let key_end = self.at.checked_add(key.len())?;
        if self.strict.is_some() || self.options.start_timestamps || bytes.get(self.at..key_end)? != key {
            return None;
        }
        if key.is_empty() || bytes.get(key_end) != Some(&b' ') {
            return None;
        }
        let (value, end) = number(bytes, key_end, "value").ok()?;
        if bytes.get(end) != Some(&b'\n') {
            return None;
        }
        self.known_from = Some(self.at);
        self.at = end + 1;
        Some((value, None))
    }

    /// As the text format's.
    #[inline]
    pub(crate) fn skip_known(
        &mut self,
        len: usize,
        metric_type: MetricType,
        is_known: impl FnOnce(&[u8]) -> bool,
    ) -> bool {
        let Some(end) = self.at.checked_add(len) else { return false };
        let plain = self.strict.is_none() && !self.options.start_timestamps && !self.options.type_and_unit_labels;
        let same = plain && self.body.bytes.get(self.at..end).is_some_and(is_known);
        if same {
            (self.at, self.known_from) = (end, None);
            self.begin_type(metric_type);
        }
        same
    }

    pub(crate) fn unread_known(&mut self) {
        if let Some(start) = self.known_from.take() {
            self.at = start;
        }
    }

    pub(crate) fn metric_type(&self) -> MetricType {
        self.metric_type
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    fn rules(&self) -> LabelRules {
        LabelRules { limit: self.options.limits.labels, exemplar: false, strict: self.strict.is_some() }
    }

    fn sample_event(&self, line: SampleLine) -> Event<'_> {
        let series = SeriesText::Raw(&self.body, &self.line);
        let start = self.created.as_ref().and_then(|created| created.of(series, self.metric_type));
        let exemplar = line.exemplar.map(|part| ExemplarEvent {
            value: part.value,
            timestamp: part.timestamp.map(Seconds::timestamp),
            series: SeriesText::Raw(&self.body, &self.exemplar_line),
        });
        Event::Sample(SampleEvent {
            key: self.body.slice(line.start..line.key_end),
            value: line.value,
            timestamp: line.timestamp.map(Seconds::timestamp),
            start,
            exemplar,
            series,
        })
    }

    /// Whether the body ends here. Something else after the mark is an error.
    fn end_of_file(&mut self) -> Result<bool, Fault> {
        let rest = self.body.bytes.get(self.at..).unwrap_or_default();
        let Some(after) = rest.strip_prefix(b"# EOF") else { return Ok(false) };
        if !matches!(after, b"" | b"\n") {
            return Err(Fault::new(self.at + 5, ParseErrorKind::AfterEof));
        }
        if let Some(strict) = &mut self.strict {
            strict.end(self.at)?;
        }
        self.at = self.body.bytes.len();
        Ok(true)
    }

    fn metadata(&mut self) -> Result<Event<'_>, Fault> {
        let bytes = self.body.bytes;
        let start = self.at;
        let keyword = match bytes.get(start..start + 7) {
            Some(b"# HELP ") => Keyword::Help,
            Some(b"# TYPE ") => Keyword::Type,
            Some(b"# UNIT ") => Keyword::Unit,
            _ => return Err(Fault::expected(bytes, start + 1, "HELP, TYPE, UNIT or EOF")),
        };
        let name_at = start + 7;
        let (piece, name_end) = match bytes.get(name_at) {
            Some(b'"') => {
                let piece = scan::quoted::<true>(bytes, name_at + 1)?;
                (piece, piece.end as usize + 1)
            }
            _ => match scan::metric_name(bytes, name_at) {
                Some(end) => (Piece::new(name_at, end, false), end),
                None => return Err(Fault::expected(bytes, name_at, "a metric name")),
            },
        };
        if self.strict.is_some() {
            scan::check_utf8(self.body, piece, "metric name")?;
        }
        let rest = bytes.get(name_end..).unwrap_or_default();
        let end = name_end + memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        if bytes.get(name_end) != Some(&b' ') {
            return Err(Fault::expected(bytes, name_end, "a blank and a text"));
        }
        if bytes.get(end).is_none() {
            return Err(Fault::expected(bytes, end, "a newline"));
        }
        self.limit_line(start, end)?;
        self.at = end + 1;
        let text_at = name_end + 1;
        let family = self.resolved(piece);
        self.begin_family(&family);
        let event = match keyword {
            Keyword::Help => {
                let fault = || Fault::new(text_at, ParseErrorKind::Utf8 { what: "help text" });
                let text = self.body.str(text_at..end).ok_or_else(fault)?;
                Event::Help { family, text: unescaped(text) }
            }
            Keyword::Type => {
                let word = self.body.slice(text_at..end);
                let metric_type = metric_type(word).ok_or_else(|| {
                    let word = String::from_utf8_lossy(word).into_owned();
                    Fault::new(text_at, ParseErrorKind::MetricType(word))
                })?;
                self.begin_type(metric_type);
                Event::Type { family, metric_type }
            }
            Keyword::Unit => {
                let unit = self.unit_text(&family, text_at, end)?;
                self.line.unit.clear();
                self.line.unit.push_str(&unit);
                Event::Unit { family, unit }
            }
        };
        if let Some(strict) = &mut self.strict {
            strict.metadata(start, &event)?;
        }
        Ok(event)
    }

    fn begin_type(&mut self, metric_type: MetricType) {
        self.metric_type = metric_type;
        self.line.begin_type(metric_type, self.options.type_and_unit_labels);
    }

    fn begin_family(&mut self, family: &str) {
        self.created = None;
        if self.family != family {
            self.family.clear();
            self.family.push_str(family);
            self.line.unit.clear();
        }
    }

    fn unit_text(&self, family: &str, start: usize, end: usize) -> Result<Cow<'a, str>, Fault> {
        let utf8 = || Fault::new(start, ParseErrorKind::Utf8 { what: "unit" });
        let unit = self.body.str(start..end).ok_or_else(utf8)?;
        let suffix = family.strip_suffix(unit).is_some_and(|base| base.ends_with('_'));
        if unit.is_empty() || suffix {
            return Ok(Cow::Borrowed(unit));
        }
        let (unit, family) = (unit.to_owned(), family.to_owned());
        Err(Fault::new(start, ParseErrorKind::Unit { unit, family }))
    }

    /// The name of a metadata line. Prometheus does not look whether it is UTF-8.
    fn resolved(&self, piece: Piece) -> Cow<'a, str> {
        let Some(text) = self.body.str(piece.range()) else {
            return String::from_utf8_lossy(self.body.slice(piece.range()));
        };
        if piece.escaped { unescaped(text) } else { Cow::Borrowed(text) }
    }

    fn limit_line(&self, start: usize, end: usize) -> Result<(), Fault> {
        let limit = self.options.limits.line_bytes;
        if end - start > limit {
            return Err(Fault::new(start, ParseErrorKind::LineLimit { limit }));
        }
        Ok(())
    }
}

/// Reads the sample line that begins at `start`.
#[inline]
pub(crate) fn sample(
    body: Body<'_>,
    start: usize,
    rules: LabelRules,
    line: &mut SeriesLine,
    exemplar_line: &mut SeriesLine,
) -> Result<SampleLine, Fault> {
    let bytes = body.bytes;
    line.clear();
    let mut metric = None;
    let mut at = start;
    if let Some(end) = scan::metric_name(bytes, start) {
        metric = Some(Piece::new(start, end, false));
        at = end;
    } else if bytes.get(start) != Some(&b'{') {
        return Err(Fault::expected(bytes, start, "a metric name, metadata or an opening brace"));
    }
    if bytes.get(at) == Some(&b'{') {
        at = scan::labels::<false>(body, at + 1, rules, &mut metric, &mut line.spans)?;
    }
    let key_end = at;
    let metric = metric.ok_or_else(|| Fault::new(start, ParseErrorKind::NoMetricName))?;
    line.metric = Some(metric);
    line.set_region(start, key_end);
    let (value, mut at) = number(bytes, at, "value")?;
    let mut timestamp = None;
    if bytes.get(at) == Some(&b' ') && !bytes.get(at..).unwrap_or_default().starts_with(b" # {") {
        let (seconds, end) = seconds(bytes, at, "timestamp")?;
        timestamp = Some(seconds);
        at = end;
    }
    let mut exemplar = None;
    if bytes.get(at..).unwrap_or_default().starts_with(b" # {") {
        let (part, end) = exemplar_part(body, at + 3, rules, exemplar_line)?;
        exemplar = Some(part);
        at = end;
    }
    match bytes.get(at) {
        Some(b'\n') => Ok(SampleLine { start, key_end, metric, value, timestamp, exemplar, next: at + 1 }),
        None => Err(Fault::new(at, ParseErrorKind::NoEof)),
        Some(_) => Err(Fault::expected(bytes, at, "the end of the line")),
    }
}

/// Reads the exemplar whose opening brace stands at `start`.
fn exemplar_part(
    body: Body<'_>,
    start: usize,
    rules: LabelRules,
    line: &mut SeriesLine,
) -> Result<(ExemplarPart, usize), Fault> {
    line.clear();
    let rules = LabelRules { exemplar: true, ..rules };
    let end = scan::labels::<false>(body, start + 1, rules, &mut None, &mut line.spans)?;
    line.set_region(start, end);
    let (value, mut at) = number(body.bytes, end, "exemplar value")?;
    let mut timestamp = None;
    if body.bytes.get(at) == Some(&b' ') {
        let (seconds, after) = seconds(body.bytes, at, "exemplar timestamp")?;
        timestamp = Some(seconds);
        at = after;
    }
    Ok((ExemplarPart { start, value, timestamp }, at))
}

/// Reads one blank and a float, and says where the float ends.
#[inline(always)]
fn number(bytes: &[u8], at: usize, what: &'static str) -> Result<(f64, usize), Fault> {
    if bytes.get(at) == Some(&b' ')
        && let Some(read) = scan::plain_number(bytes, at + 1, |b| matches!(b, b' ' | b'\n'))
    {
        return Ok(read);
    }
    let end = token_end(bytes, at + 1);
    if bytes.get(at) != Some(&b' ') || end == at + 1 {
        let after = at + usize::from(bytes.get(at) == Some(&b' '));
        return Err(Fault::expected(bytes, after, if after == at { "a blank and a value" } else { what }));
    }
    Ok((scan::float(bytes, at + 1, end, what)?, end))
}

/// Reads one blank and a timestamp, and says where the timestamp ends.
fn seconds(bytes: &[u8], at: usize, what: &'static str) -> Result<(Seconds, usize), Fault> {
    let (value, end) = number(bytes, at, what)?;
    if !value.is_finite() {
        let text = String::from_utf8_lossy(bytes.get(at + 1..end).unwrap_or_default()).into_owned();
        let source = ferula_model::number::NumberError::Range;
        return Err(Fault::new(at + 1, ParseErrorKind::Number { what, text, source }));
    }
    Ok((Seconds { piece: Piece::new(at + 1, end, false), value }, end))
}

#[inline(always)]
fn token_end(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|b| matches!(b, b' ' | b'\n')).unwrap_or(rest.len())
}

enum Keyword {
    Help,
    Type,
    Unit,
}

fn metric_type(word: &[u8]) -> Option<MetricType> {
    Some(match word {
        b"counter" => MetricType::Counter,
        b"gauge" => MetricType::Gauge,
        b"histogram" => MetricType::Histogram,
        b"gaugehistogram" => MetricType::GaugeHistogram,
        b"summary" => MetricType::Summary,
        b"info" => MetricType::Info,
        b"stateset" => MetricType::StateSet,
        b"unknown" => MetricType::Unknown,
        _ => return None,
    })
}

/// Whether samples of this type have start timestamps in `_created` lines.
fn has_start(metric_type: MetricType) -> bool {
    matches!(metric_type, MetricType::Counter | MetricType::Histogram | MetricType::Summary)
}

fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    unescape_into(&mut out, text);
    Cow::Owned(out)
}
