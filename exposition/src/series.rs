//! Which labels do the raw bytes of a series name?
//!
//! A parser only notes where names and values stand ([`LabelSpan`]); [`LabelBuffer`] turns that into sorted pairs when they
//! are wanted. Decoding copies the raw key once and then works with ranges of it, so it costs one `memcpy` and a sort of a
//! few small numbers; only escaped texts are copied apart.

use std::ops::Range;

use ferula_model::number::{FloatForm, parse_float, write_float};
use ferula_model::{Labels, METRIC_NAME, MetricType};

/// A body, and the same as text if all of it is UTF-8.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body<'a> {
    pub(crate) bytes: &'a [u8],
    text: Option<&'a str>,
}

impl<'a> Body<'a> {
    /// A body whose texts are checked one by one: of a binary format, or one that is mostly known already.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, text: None }
    }

    /// Checks all of it at once, which is faster than one by one.
    pub(crate) fn check_all(&mut self) {
        self.text = std::str::from_utf8(self.bytes).ok();
    }

    /// Whether every text in it is valid, so that none needs a check of its own.
    #[inline]
    pub(crate) fn is_text(&self) -> bool {
        self.text.is_some()
    }

    /// The bytes of a range; empty if it lies outside.
    #[inline]
    pub(crate) fn slice(&self, range: Range<usize>) -> &'a [u8] {
        self.bytes.get(range).unwrap_or_default()
    }

    /// The text of a range, if it is UTF-8.
    #[inline]
    pub(crate) fn str(&self, range: Range<usize>) -> Option<&'a str> {
        match self.text {
            Some(text) => text.get(range),
            None => std::str::from_utf8(self.bytes.get(range)?).ok(),
        }
    }

    /// The text of a region to copy as a whole; binary formats have none.
    #[inline]
    fn region(&self, region: Piece) -> Option<&'a str> {
        if region.start == region.end { None } else { self.str(region.range()) }
    }

    /// The text of a piece that was checked.
    #[inline]
    pub(crate) fn piece(&self, piece: Piece) -> &'a str {
        self.str(piece.range()).unwrap_or_default()
    }
}

/// Where a text stands in the body. Bodies are shorter than 4 GiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// It contains backslashes that must be resolved.
    pub(crate) escaped: bool,
}

impl Piece {
    #[inline]
    pub(crate) fn new(start: usize, end: usize, escaped: bool) -> Self {
        Self { start: start as u32, end: end as u32, escaped }
    }

    #[inline]
    pub(crate) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// Where a label stands in the body.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LabelSpan {
    pub(crate) name: Piece,
    pub(crate) value: Piece,
}

/// Where everything stands that names a series. A parser keeps one and fills it again for each sample: events borrow it,
/// which keeps them small.
#[derive(Clone, Debug, Default)]
pub(crate) struct SeriesLine {
    /// The part of the body that holds the metric name and all labels; empty in binary formats.
    pub(crate) region: Piece,
    /// The metric name; `None` in exemplars.
    pub(crate) metric: Option<Piece>,
    pub(crate) spans: Vec<LabelSpan>,
    /// What an expanded classic family appends to its name.
    pub(crate) suffix: &'static str,
    /// The `le` or `quantile` that a binary format writes as a number, and its text.
    pub(crate) bound: Option<&'static str>,
    pub(crate) bound_text: String,
    /// The label whose value is a float to be laid out in OpenMetrics' form.
    float_label: Option<&'static str>,
    /// The type that becomes a label, and with it the unit.
    typed: Option<MetricType>,
    pub(crate) unit: String,
}

impl SeriesLine {
    /// Begins another line: what is known of its family stays.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.metric = None;
        self.spans.clear();
    }

    /// The series from here on are of this type, of a text format; `typed`: which becomes a label.
    pub(crate) fn begin_type(&mut self, metric_type: MetricType, typed: bool) {
        self.float_label = float_label(metric_type);
        self.typed = typed.then_some(metric_type);
    }

    /// As [`begin_type`](Self::begin_type), of a binary format, where bounds are numbers.
    pub(crate) fn begin_binary_type(&mut self, metric_type: MetricType, typed: bool) {
        self.typed = typed.then_some(metric_type);
    }

    #[inline]
    pub(crate) fn set_region(&mut self, start: usize, end: usize) {
        self.region = Piece::new(start, end, false);
    }
}

/// Everything that names a series, undecoded.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SeriesText<'a> {
    /// As found in a body.
    Raw(&'a Body<'a>, &'a SeriesLine),
    /// Decoded by the parser already (converted histograms).
    Decoded(&'a LabelBuffer),
}

impl SeriesText<'_> {
    pub(crate) fn decode(&self, buffer: &mut LabelBuffer) {
        match self {
            SeriesText::Raw(body, line) => buffer.decode(body, line),
            SeriesText::Decoded(decoded) => buffer.clone_from(decoded),
        }
    }
}

/// The label of a family's samples whose value is a number.
pub(crate) fn float_label(metric_type: MetricType) -> Option<&'static str> {
    match metric_type {
        MetricType::Histogram => Some("le"),
        MetricType::Summary => Some("quantile"),
        _ => None,
    }
}

/// The decoded labels of a series, sorted by name, the metric name among them as `__name__`. Made to be reused: once it has
/// grown, decoding into it allocates nothing.
///
/// ```
/// use ferula_exposition::{Event, Format, LabelBuffer, ParseOptions, Parser};
///
/// let mut parser = Parser::new(b"up{job=\"node\",az=\"a\\\\b\"} 1\n", Format::Text, &ParseOptions::default());
/// let mut labels = LabelBuffer::default();
/// if let Some(Ok(Event::Sample(sample))) = parser.next() {
///     sample.labels(&mut labels);
/// }
/// let pairs: Vec<_> = labels.iter().collect();
/// assert_eq!(pairs, [("__name__", "up"), ("az", "a\\b"), ("job", "node")]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct LabelBuffer {
    text: String,
    pairs: Vec<Pair>,
}

#[derive(Clone, Copy, Debug)]
struct Pair {
    name: (u32, u32),
    value: (u32, u32),
}

impl LabelBuffer {
    /// Name and value of each label, by rising name. A name that the exposition repeats stands here as often; an empty
    /// value, which means that the label is absent, stands here as well.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.pairs.iter().map(|pair| (self.at(pair.name), self.at(pair.value)))
    }

    /// The value of a label.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// A label name that occurs more than once, if there is one. Prometheus refuses such a series.
    pub fn duplicate(&self) -> Option<&str> {
        let names = self.pairs.windows(2).map(|pair| match pair {
            [a, b] => (self.at(a.name), self.at(b.name)),
            _ => ("", "_"),
        });
        names.into_iter().find(|(a, b)| a == b).map(|(name, _)| name)
    }

    /// How many labels, the metric name included.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there is no label at all.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The labels as a set of their own: empty values dropped, of a repeated name the last one kept.
    pub fn to_labels(&self) -> Labels {
        match self.duplicate() {
            None => Labels::from_sorted(self.iter()),
            Some(_) => Labels::from_pairs(self.iter()),
        }
    }

    #[inline]
    fn at(&self, (start, end): (u32, u32)) -> &str {
        self.text.get(start as usize..end as usize).unwrap_or_default()
    }

    /// Replaces the content by the labels of `other` for which `keep` holds.
    pub(crate) fn assign<'a>(&mut self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) {
        self.clear();
        for (name, value) in pairs {
            let name = self.push(name);
            let value = self.push(value);
            self.insert(Pair { name, value });
        }
    }

    /// Leaves the name of the metric name, with which the text begins always.
    #[inline]
    fn clear(&mut self) {
        if self.text.is_empty() {
            self.text.push_str(METRIC_NAME);
        }
        self.text.truncate(METRIC_NAME.len());
        self.pairs.clear();
    }

    pub(crate) fn decode(&mut self, body: &Body<'_>, line: &SeriesLine) {
        self.decode_as(body, line, line.float_label);
    }

    /// As [`decode`](Self::decode), with bounds and quantiles as the target writes them.
    pub(crate) fn decode_as_written(&mut self, body: &Body<'_>, line: &SeriesLine) {
        self.decode_as(body, line, None);
    }

    fn decode_as(&mut self, body: &Body<'_>, line: &SeriesLine, float_label: Option<&str>) {
        self.clear();
        let place = body.region(line.region).map(|region| {
            let base = self.text.len() as u32;
            self.text.push_str(region);
            Region { offset: line.region.start, base }
        });
        if let Some(metric) = line.metric {
            let value = if line.suffix.is_empty() {
                self.resolve(body, place, metric)
            } else {
                let start = self.text.len() as u32;
                self.text.push_str(body.piece(metric));
                self.text.push_str(line.suffix);
                (start, self.text.len() as u32)
            };
            self.insert(Pair { name: (0, METRIC_NAME.len() as u32), value });
        }
        for span in &line.spans {
            let name = self.resolve(body, place, span.name);
            let mut value = self.resolve(body, place, span.value);
            if float_label.is_some_and(|label| label == self.at(name)) {
                value = self.normalized(value);
            }
            self.insert(Pair { name, value });
        }
        if let Some(label) = line.bound {
            let name = self.push(label);
            let value = self.push(&line.bound_text);
            self.insert(Pair { name, value });
        }
        if let Some(metric_type) = line.typed {
            self.add_type_and_unit(metric_type, &line.unit);
        }
    }

    /// `__type__` and `__unit__` replace what the target may have said under these names.
    fn add_type_and_unit(&mut self, metric_type: MetricType, unit: &str) {
        let of_type = if metric_type == MetricType::Unknown { "" } else { metric_type.as_str() };
        for (label, text) in [("__type__", of_type), ("__unit__", unit)] {
            if text.is_empty() {
                continue;
            }
            let mut pairs = std::mem::take(&mut self.pairs);
            pairs.retain(|pair| self.at(pair.name) != label);
            self.pairs = pairs;
            let name = self.push(label);
            let value = self.push(text);
            self.insert(Pair { name, value });
        }
    }

    /// Where a piece of the body stands in this buffer, which holds the region already.
    #[inline(always)]
    fn resolve(&mut self, body: &Body<'_>, place: Option<Region>, piece: Piece) -> (u32, u32) {
        if piece.escaped {
            let start = self.text.len() as u32;
            unescape_into(&mut self.text, body.piece(piece));
            return (start, self.text.len() as u32);
        }
        match place {
            Some(place) => {
                let shift = |at: u32| at.wrapping_sub(place.offset).wrapping_add(place.base);
                (shift(piece.start), shift(piece.end))
            }
            None => self.push(body.piece(piece)),
        }
    }

    fn normalized(&mut self, value: (u32, u32)) -> (u32, u32) {
        let Ok(number) = parse_float(self.at(value)) else { return value };
        let start = self.text.len() as u32;
        // Writing into a string never errs.
        let _ = write_float(&mut self.text, number, FloatForm::OpenMetrics);
        (start, self.text.len() as u32)
    }

    fn push(&mut self, text: &str) -> (u32, u32) {
        let start = self.text.len() as u32;
        self.text.push_str(text);
        (start, self.text.len() as u32)
    }

    /// Targets mostly write labels in order.
    #[inline(always)]
    fn insert(&mut self, pair: Pair) {
        if self.pairs.last().is_none_or(|last| self.comes_first(last.name, pair.name)) {
            self.pairs.push(pair);
        } else {
            self.insert_before(pair);
        }
    }

    #[inline(never)]
    fn insert_before(&mut self, pair: Pair) {
        let place = self.pairs.iter().rposition(|before| self.comes_first(before.name, pair.name));
        self.pairs.insert(place.map_or(0, |place| place + 1), pair);
    }

    /// Whether a name sorts before another one or is the same. Mostly the first letter says so.
    #[inline(always)]
    fn comes_first(&self, name: (u32, u32), other: (u32, u32)) -> bool {
        let text = self.text.as_bytes();
        let letter = |(start, end): (u32, u32)| if start < end { text.get(start as usize) } else { None };
        match (letter(name), letter(other)) {
            (Some(a), Some(b)) if a != b => a < b,
            _ => self.at(name) <= self.at(other),
        }
    }
}

/// Where the copied region of the body begins, there and here.
#[derive(Clone, Copy)]
struct Region {
    offset: u32,
    base: u32,
}

/// Resolves `\\`, `\"` and `\n`; any other backslash stays as it is.
pub(crate) fn unescape_into(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (plain, escaped) = rest.split_at(at);
        out.push_str(plain);
        let (resolved, used) = match escaped.as_bytes().get(1) {
            Some(b'n') => ("\n", 2),
            Some(b'"') => ("\"", 2),
            Some(b'\\') => ("\\", 2),
            _ => ("\\", 1),
        };
        out.push_str(resolved);
        rest = escaped.get(used..).unwrap_or_default();
    }
    out.push_str(rest);
}
