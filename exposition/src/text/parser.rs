//! Reads the Prometheus text format.
//!
//! One pass, a byte table and no lookahead: a line is `# HELP`, `# TYPE`, another comment, blank, or a sample. The lenient
//! reading accepts exactly what Prometheus 3.14 accepts, oddities included: missing commas between labels, newlines inside
//! quotes, a value that follows a name without a blank, an end of input at a NUL byte that begins a token. The strict
//! reading adds `strict`.

use std::borrow::Cow;

use ferula_model::{MetricType, Timestamp};

use super::scan::{self, LabelRules};
use super::strict::Families;
use crate::error::{Fault, ParseErrorKind};
use crate::event::{Event, SampleEvent};
use crate::parser::ParseOptions;
use crate::series::{Body, Piece, SeriesLine, SeriesText, unescape_into};

/// A parser of the text format.
#[derive(Debug)]
pub(crate) struct TextParser<'a> {
    body: Body<'a>,
    at: usize,
    options: ParseOptions,
    line: SeriesLine,
    /// The unquoted name that was read last.
    name: Piece,
    /// What the last TYPE line said. Prometheus applies it to every sample that follows, whatever its name.
    metric_type: MetricType,
    strict: Option<Families>,
    /// Where the sample stands that was taken as known, until something else is read.
    known_from: Option<usize>,
    /// Lines were read that are not known, so the body has been checked to be text.
    checked: bool,
}

/// A line that was read, as numbers. The event of it is made in one go, where its reader wants it: handing events from
/// function to function costs more than reading the lines.
#[derive(Clone, Copy)]
pub(crate) enum Token {
    End,
    Comment { start: usize, end: usize },
    Help { family: Piece, text: Piece },
    Type { family: Piece, metric_type: MetricType },
    Sample(SampleLine),
}

/// A sample whose name and labels are in the parser's line.
#[derive(Clone, Copy)]
pub(crate) struct SampleLine {
    start: usize,
    key_end: usize,
    value: f64,
    timestamp: Option<Timestamp>,
}

impl<'a> TextParser<'a> {
    pub(crate) fn new(body: &'a [u8], options: &ParseOptions) -> Self {
        Self {
            body: Body::new(body),
            at: 0,
            options: options.clone(),
            line: SeriesLine::default(),
            name: Piece::default(),
            metric_type: MetricType::Unknown,
            strict: options.strict.then(Families::default),
            known_from: None,
            checked: false,
        }
    }

    /// Reads what comes next.
    #[inline(always)]
    pub(crate) fn token(&mut self) -> Result<Token, Fault> {
        let bytes = self.body.bytes;
        self.known_from = None;
        // Where everything was known, only the end is left.
        if !self.checked && self.at < bytes.len() {
            self.checked = true;
            self.body.check_all();
        }
        loop {
            self.at = scan::skip_blanks(bytes, self.at);
            match bytes.get(self.at) {
                None => return self.end().map(|()| Token::End),
                Some(0) if self.strict.is_none() => {
                    self.at = bytes.len();
                    return Ok(Token::End);
                }
                Some(b'\n') => self.at += 1,
                Some(b'#') => return self.comment(),
                Some(_) => {
                    let line = self.sample()?;
                    if let Some(strict) = &mut self.strict {
                        strict.sample(line.start, &self.body, &self.line, line.value)?;
                    }
                    return Ok(Token::Sample(line));
                }
            }
        }
    }

    /// Reads what comes next for nothing. False if it cannot be read.
    pub(crate) fn skip(&mut self) -> bool {
        self.token().is_ok()
    }

    /// The event of what was read last; `None` at the end.
    #[inline(always)]
    pub(crate) fn event(&self, token: Token) -> Option<Event<'_>> {
        Some(match token {
            Token::End => return None,
            Token::Comment { start, end } => Event::Comment(self.body.slice(start..end)),
            Token::Help { family, text } => {
                Event::Help { family: self.resolved(family), text: unescape_help(self.body.piece(text), text.escaped) }
            }
            Token::Type { family, metric_type } => Event::Type { family: self.resolved(family), metric_type },
            Token::Sample(line) => Event::Sample(self.sample_event(line)),
        })
    }

    /// The next line, if it is a sample; it stays the next line.
    pub(crate) fn peek(&mut self) -> Option<SampleEvent<'_>> {
        let bytes = self.body.bytes;
        while let Some(b' ' | b'\t' | b'\n') = bytes.get(self.at) {
            self.at += 1;
        }
        if matches!(bytes.get(self.at), None | Some(b'#' | 0)) {
            return None;
        }
        let here = self.at;
        let line = self.sample();
        self.at = here;
        Some(self.sample_event(line.ok()?))
    }

    /// Takes the next line if it is a sample of exactly this raw key, which an earlier call returned: the bytes of the key
    /// are compared and not looked at again.
    #[inline]
    pub(crate) fn next_known(&mut self, key: &[u8]) -> Option<(f64, Option<Timestamp>)> {
        let bytes = self.body.bytes;
        let key_end = self.at.checked_add(key.len())?;
        if self.strict.is_some() || key.is_empty() || bytes.get(self.at..key_end)? != key {
            return None;
        }
        // What follows must be a single blank and then a value: anything else might still belong to the key.
        if bytes.get(key_end) != Some(&b' ') || matches!(bytes.get(key_end + 1), Some(b' ' | b'\t' | b'{')) {
            return None;
        }
        let start = key_end + 1;
        let (value, end) = match scan::plain_number(bytes, start, scan::ends_value) {
            Some(read) => read,
            None => self.any_value(start).ok()?,
        };
        let (timestamp, next) = match bytes.get(end) {
            Some(b'\n') => (None, end + 1),
            _ => self.timestamp(end).ok()?,
        };
        self.known_from = Some(self.at);
        self.at = next;
        Some((value, timestamp))
    }

    /// Skips comments and blank lines that are known, and after which the type was `metric_type`.
    #[inline]
    pub(crate) fn skip_known(
        &mut self,
        len: usize,
        metric_type: MetricType,
        is_known: impl FnOnce(&[u8]) -> bool,
    ) -> bool {
        let Some(end) = self.at.checked_add(len) else { return false };
        let same = self.strict.is_none() && self.body.bytes.get(self.at..end).is_some_and(is_known);
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

    fn begin_type(&mut self, metric_type: MetricType) {
        self.metric_type = metric_type;
        self.line.begin_type(metric_type, self.options.type_and_unit_labels);
    }

    fn end(&mut self) -> Result<(), Fault> {
        match &mut self.strict {
            Some(strict) => strict.end(self.body.bytes),
            None => Ok(()),
        }
    }

    #[inline(always)]
    fn sample(&mut self) -> Result<SampleLine, Fault> {
        let bytes = self.body.bytes;
        let start = self.at;
        let hint = self.name;
        self.line.clear();
        let mut metric = None;
        let mut at = start;
        if let Some(end) = scan::metric_name_like(bytes, start, hint) {
            let name = Piece::new(start, end, false);
            self.name = name;
            metric = Some(name);
            at = end;
        } else if bytes.get(start) != Some(&b'{') {
            return Err(Fault::expected(bytes, start, "a metric name, a comment or an opening brace"));
        }
        let mut key_end = at;
        if bytes.get(at) != Some(&b'{') {
            at = scan::skip_blanks(bytes, at);
        }
        if bytes.get(at) == Some(&b'{') {
            let rules =
                LabelRules { limit: self.options.limits.labels, exemplar: false, strict: self.strict.is_some() };
            key_end = scan::labels::<true>(self.body, at + 1, rules, &mut metric, &mut self.line.spans)?;
            at = scan::skip_blanks(bytes, key_end);
        }
        if metric.is_none() {
            return Err(Fault::new(start, ParseErrorKind::NoMetricName));
        }
        self.line.metric = metric;
        self.line.set_region(start, key_end);
        let (value, end) = match scan::plain_number(bytes, at, scan::ends_value) {
            Some(read) => read,
            None => self.any_value(at)?,
        };
        if self.strict.is_some() && at == key_end && bytes.get(at.wrapping_sub(1)) != Some(&b'}') {
            return Err(Fault::expected(bytes, at, "a blank before the value"));
        }
        let (timestamp, next) = match bytes.get(end) {
            Some(b'\n') => (None, end + 1),
            _ => self.timestamp(end)?,
        };
        self.limit_line(start, next)?;
        self.at = next;
        Ok(SampleLine { start, key_end, value, timestamp })
    }

    /// The value of any form that begins here, and where it ends.
    fn any_value(&self, at: usize) -> Result<(f64, usize), Fault> {
        let bytes = self.body.bytes;
        let end = scan::value_end(bytes, at);
        if end == at {
            return Err(Fault::expected(bytes, at, "a value"));
        }
        Ok((scan::float(bytes, at, end, "value")?, end))
    }

    /// The optional timestamp behind a value, and where the next line begins.
    fn timestamp(&self, at: usize) -> Result<(Option<Timestamp>, usize), Fault> {
        let bytes = self.body.bytes;
        let at = scan::skip_blanks(bytes, at);
        let signed = self.strict.is_some() && bytes.get(at) == Some(&b'-');
        let digits_at = at + usize::from(signed);
        let rest = bytes.get(digits_at..).unwrap_or_default();
        let digits = rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
        let after = scan::skip_blanks(bytes, digits_at + digits);
        let next = match bytes.get(after) {
            Some(b'\n') => after + 1,
            None => after,
            _ if digits == 0 => return Err(Fault::expected(bytes, at, "a timestamp or the end of the line")),
            _ => return Err(Fault::expected(bytes, after, "the end of the line")),
        };
        if digits == 0 && !signed {
            return Ok((None, next));
        }
        let token = self.body.str(at..digits_at + digits).unwrap_or_default();
        let millis: i64 = token.parse().map_err(|_| {
            let source = ferula_model::number::NumberError::Range;
            Fault::new(at, ParseErrorKind::Number { what: "timestamp", text: token.to_owned(), source })
        })?;
        Ok((Some(Timestamp(millis)), next))
    }

    #[inline(always)]
    fn sample_event(&self, line: SampleLine) -> SampleEvent<'_> {
        SampleEvent {
            key: self.body.slice(line.start..line.key_end),
            value: line.value,
            timestamp: line.timestamp,
            start: None,
            exemplar: None,
            series: SeriesText::Raw(&self.body, &self.line),
        }
    }

    #[inline(always)]
    fn comment(&mut self) -> Result<Token, Fault> {
        let bytes = self.body.bytes;
        let start = self.at;
        let word_at = scan::skip_blanks(bytes, start + 1);
        let word = if word_at == start + 1 { None } else { bytes.get(word_at..word_at + 4) };
        let blank = matches!(bytes.get(word_at + 4), Some(b' ' | b'\t'));
        let keyword = match word {
            Some(b"HELP") if blank => Some(Keyword::Help),
            Some(b"TYPE") if blank => Some(Keyword::Type),
            _ => None,
        };
        match keyword {
            Some(keyword) => self.metadata(word_at + 4, keyword),
            None => {
                let rest = bytes.get(start..).unwrap_or_default();
                let end = start + memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                self.limit_line(start, end)?;
                self.at = (end + 1).min(bytes.len());
                Ok(Token::Comment { start, end })
            }
        }
    }

    /// Reads family and text of a metadata line, from behind its keyword on.
    #[inline(always)]
    fn metadata(&mut self, at: usize, keyword: Keyword) -> Result<Token, Fault> {
        let bytes = self.body.bytes;
        let line_start = self.at;
        let name_at = scan::skip_blanks(bytes, at);
        let (family, name_end) = match bytes.get(name_at) {
            Some(b'"') => {
                let piece = scan::quoted::<true>(bytes, name_at + 1)?;
                (piece, piece.end as usize + 1)
            }
            _ => match scan::metric_name_like(bytes, name_at, self.name) {
                Some(end) => {
                    let name = Piece::new(name_at, end, false);
                    self.name = name;
                    (name, end)
                }
                None => return Err(Fault::expected(bytes, name_at, "a metric name")),
            },
        };
        if self.strict.is_some() {
            scan::check_utf8(self.body, family, "metric name")?;
        }
        let rest = bytes.get(name_end..).unwrap_or_default();
        let (length, escaped) = match (keyword, rest) {
            (Keyword::Type, [b' ' | b'\t', word @ ..]) => match scan::only_word(word) {
                Some(length) => (1 + length, false),
                None => scan::line_length(rest),
            },
            _ => scan::line_length(rest),
        };
        let end = name_end + length;
        let text_at = (name_end + 1).min(end);
        self.limit_line(line_start, end)?;
        self.at = (end + 1).min(bytes.len());
        let token = match keyword {
            Keyword::Help => {
                let text = Piece::new(text_at, end, escaped);
                // It may begin in the middle of a letter, so that it is no text even if the body is.
                let fault = || Fault::new(text_at, ParseErrorKind::Utf8 { what: "help text" });
                self.body.str(text.range()).ok_or_else(fault)?;
                Token::Help { family, text }
            }
            Keyword::Type => {
                let word = self.body.slice(text_at..end);
                let word = if self.strict.is_some() { word.trim_ascii() } else { word };
                let metric_type = metric_type(word).ok_or_else(|| {
                    let word = String::from_utf8_lossy(word).into_owned();
                    Fault::new(text_at, ParseErrorKind::MetricType(word))
                })?;
                self.begin_type(metric_type);
                Token::Type { family, metric_type }
            }
        };
        if self.strict.is_some() {
            self.judge(line_start, token)?;
        }
        Ok(token)
    }

    /// Whether the specification allows a metadata line here.
    #[cold]
    fn judge(&mut self, line_start: usize, token: Token) -> Result<(), Fault> {
        let (family, metric_type) = match token {
            Token::Help { family, .. } => (family, None),
            Token::Type { family, metric_type } => (family, Some(metric_type)),
            _ => return Ok(()),
        };
        let name = self.resolved(family);
        self.strict.as_mut().map_or(Ok(()), |strict| strict.metadata(line_start, &name, metric_type))
    }

    /// The name of a metadata line. Prometheus does not look whether it is UTF-8.
    #[inline(always)]
    pub(crate) fn resolved(&self, piece: Piece) -> Cow<'a, str> {
        match self.body.str(piece.range()) {
            Some(text) if !piece.escaped => Cow::Borrowed(text),
            _ => self.resolved_slowly(piece),
        }
    }

    #[cold]
    fn resolved_slowly(&self, piece: Piece) -> Cow<'a, str> {
        let Some(text) = self.body.str(piece.range()) else {
            return String::from_utf8_lossy(self.body.slice(piece.range()));
        };
        let mut resolved = String::with_capacity(text.len());
        unescape_into(&mut resolved, text);
        Cow::Owned(resolved)
    }

    #[inline]
    fn limit_line(&self, start: usize, end: usize) -> Result<(), Fault> {
        let limit = self.options.limits.line_bytes;
        if end - start > limit {
            return Err(Fault::new(start, ParseErrorKind::LineLimit { limit }));
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Keyword {
    Help,
    Type,
}

fn metric_type(word: &[u8]) -> Option<MetricType> {
    Some(match word {
        b"counter" => MetricType::Counter,
        b"gauge" => MetricType::Gauge,
        b"histogram" => MetricType::Histogram,
        b"summary" => MetricType::Summary,
        b"untyped" => MetricType::Unknown,
        _ => return None,
    })
}

/// Resolves `\\` and `\n`; any other backslash, and `\"` with it, stays.
#[inline(always)]
fn unescape_help(text: &str, escaped: bool) -> Cow<'_, str> {
    if escaped { unescaped_help(text) } else { Cow::Borrowed(text) }
}

#[cold]
fn unescaped_help(text: &str) -> Cow<'_, str> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (plain, escaped) = rest.split_at(at);
        out.push_str(plain);
        let (resolved, used) = match escaped.as_bytes().get(1) {
            Some(b'n') => ("\n", 2),
            Some(b'\\') => ("\\", 2),
            _ => ("\\", 1),
        };
        out.push_str(resolved);
        rest = escaped.get(used..).unwrap_or_default();
    }
    out.push_str(rest);
    Cow::Owned(out)
}
