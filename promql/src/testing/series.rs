//! What does a line like `up{job="x"} 1+1x5 _x3 stale` say? The notation for series in scripts and rule tests.

use ferula_model::{CounterResetHint, FloatHistogram, Labels, NORMAL_NAN, STALE_MARKER, Span, Value, parse_duration};
use nom::branch::alt;
use nom::bytes::complete::{tag, tag_no_case, take_until, take_while, take_while1};
use nom::character::complete::{char, digit1, one_of};
use nom::combinator::{cut, map_opt, opt, recognize, value, verify};
use nom::multi::{many0, separated_list0};
use nom::sequence::{delimited, pair, preceded, separated_pair, terminated};
use nom::{IResult, Parser};
use thiserror::Error;

use crate::syntax::parse_series_name;

/// How many points one notation may stand for: `1x1000000000` would fill the memory.
const POINTS_MAX: u64 = 1_000_000;

/// A series with its points.
///
/// ```
/// use ferula_promql::testing::parse_series_line;
///
/// let line = parse_series_line("up 1 _ 2").unwrap();
/// assert!(line.points[1].is_none());
/// ```
#[derive(Clone, Debug)]
pub struct SeriesLine {
    /// Which series.
    pub labels: Labels,
    /// One entry for each moment; `None` where there is no point.
    pub points: Vec<Option<Point>>,
}

/// A point of a [`SeriesLine`].
///
/// ```
/// use ferula_model::Value;
/// use ferula_promql::testing::parse_series_line;
///
/// let line = parse_series_line("up 1.5").unwrap();
/// assert!(matches!(line.points[0].as_ref().map(|point| &point.value), Some(Value::Float(1.5))));
/// ```
#[derive(Clone, Debug)]
pub struct Point {
    /// A float, or a float histogram.
    pub value: Value,
    /// Whether the histogram's counter-reset hint was written: only then it is compared.
    pub hint_written: bool,
}

/// A line that is not in the notation for series.
///
/// ```
/// use ferula_promql::testing::{SeriesLineError, parse_series_line};
///
/// assert_eq!(parse_series_line("up 0+1x99999999").unwrap_err(), SeriesLineError::TooManyPoints);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SeriesLineError {
    /// The series itself.
    #[error("{0}")]
    Series(String),
    /// Its points.
    #[error("cannot read the points from {rest:?} on")]
    Points {
        /// The first characters that could not be read.
        rest: String,
    },
    /// A histogram with something wrong in it.
    #[error("histogram {text:?}: {problem}")]
    Histogram {
        /// The histogram as written.
        text: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// More points than a test can want.
    #[error("more than {POINTS_MAX} points")]
    TooManyPoints,
}

/// Reads a series with its points: `name{label="value"} 1 2.5 _ 0+1x3 stale {{schema:0 count:1 ...}}`.
///
/// `vxN` is N+1 copies, `a+bxN` and `a-bxN` are N+1 points that rise or fall, `_xN` are N gaps. Source: Prometheus 3.14,
/// the unit tests of rules and the promqltest language.
///
/// # Errors
///
/// See [`SeriesLineError`].
///
/// ```
/// use ferula_promql::testing::parse_series_line;
///
/// let line = parse_series_line(r#"up{job="x"} 1 _ 2+1x2"#).unwrap();
/// assert_eq!(line.labels.to_string(), r#"{__name__="up", job="x"}"#);
/// assert_eq!(line.points.len(), 5);
/// ```
pub fn parse_series_line(line: &str) -> Result<SeriesLine, SeriesLineError> {
    let (name, points) = split_series(line);
    let labels = parse_series_name(name).map_err(|error| SeriesLineError::Series(error.to_string()))?;
    Ok(SeriesLine { labels, points: parse_points(points)? })
}

/// The end of the series' name: behind its closing brace, or at the first blank. The mark `@st` belongs to the rest.
pub(super) fn split_series(line: &str) -> (&str, &str) {
    let mut quote = None;
    let mut escaped = false;
    let mut in_braces = false;
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some('"' | '\''), '\\') => escaped = true,
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '{') => in_braces = true,
            (None, '}') => return line.split_at(at + 1),
            (None, _) if !in_braces && (c.is_whitespace() || c == '@') => return line.split_at(at),
            (None, _) => {}
        }
    }
    (line, "")
}

/// One piece of the notation.
enum Item<'t> {
    Gaps(u64),
    Floats { first: f64, step: f64, times: u64 },
    Histograms { first: &'t str, step: Option<(bool, &'t str)>, times: u64 },
}

fn parse_points(text: &str) -> Result<Vec<Option<Point>>, SeriesLineError> {
    let mut points = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let ended = |rest: &str| rest.is_empty() || rest.starts_with(char::is_whitespace);
        let (behind, item) = match item(rest) {
            Ok((behind, item)) if ended(behind) => (behind, item),
            _ => return Err(SeriesLineError::Points { rest: rest.chars().take(40).collect() }),
        };
        push_item(&mut points, item)?;
        rest = behind.trim_start();
    }
    Ok(points)
}

fn push_item(points: &mut Vec<Option<Point>>, item: Item<'_>) -> Result<(), SeriesLineError> {
    let (Item::Gaps(times) | Item::Floats { times, .. } | Item::Histograms { times, .. }) = item;
    if times.saturating_add(points.len() as u64) > POINTS_MAX {
        return Err(SeriesLineError::TooManyPoints);
    }
    match item {
        Item::Gaps(times) => points.extend((0..times).map(|_| None)),
        Item::Floats { first, step, times } => {
            let mut current = first;
            for _ in 0..=times {
                points.push(Some(Point { value: Value::Float(current), hint_written: false }));
                current += step;
            }
        }
        Item::Histograms { first, step, times } => {
            let step = match step {
                None => None,
                Some((negative, text)) => Some((negative, text, histogram(text)?.0)),
            };
            let (mut current, hint_written) = histogram(first)?;
            for index in 0..=times {
                if index > 0
                    && let Some((negative, text, step)) = &step
                {
                    let problem = |problem| SeriesLineError::Histogram { text: (*text).to_owned(), problem };
                    if step.schema < current.schema {
                        return Err(problem("the step has a lower resolution than the first histogram"));
                    }
                    let combined = if *negative { current.sub(step) } else { current.add(step) };
                    combined.map_err(|_| problem("the step has other buckets than the first histogram"))?;
                }
                points.push(Some(Point { value: Value::Histogram(current.clone().into()), hint_written }));
            }
        }
    }
    Ok(())
}

fn item(rest: &str) -> IResult<&str, Item<'_>> {
    alt((gaps, histograms, floats)).parse(rest)
}

fn times(rest: &str) -> IResult<&str, u64> {
    preceded(char('x'), cut(map_opt(digit1, |digits: &str| digits.parse().ok()))).parse(rest)
}

fn gaps(rest: &str) -> IResult<&str, Item<'_>> {
    preceded(char('_'), opt(times)).map(|times| Item::Gaps(times.unwrap_or(1))).parse(rest)
}

fn histograms(rest: &str) -> IResult<&str, Item<'_>> {
    let braces = || delimited(tag("{{"), take_until("}}"), tag("}}"));
    let step = pair(one_of("+-"), braces());
    (braces(), opt(step), opt(times))
        .map(|(first, step, times)| Item::Histograms {
            first,
            step: step.map(|(sign, text)| (sign == '-', text)),
            times: times.unwrap_or(0),
        })
        .parse(rest)
}

fn floats(rest: &str) -> IResult<&str, Item<'_>> {
    let step = verify(pair(recognize(one_of("+-")), unsigned_number), |_: &(&str, f64)| true)
        .map(|(sign, number)| if sign == "-" { -number } else { number });
    alt((
        pair(number, pair(step, times)).map(|(first, (step, times))| Item::Floats { first, step, times }),
        pair(number, opt(times)).map(|(first, times)| Item::Floats { first, step: 0.0, times: times.unwrap_or(0) }),
    ))
    .parse(rest)
}

/// A float with an optional sign, a duration in seconds, or `stale`.
pub(super) fn number(rest: &str) -> IResult<&str, f64> {
    let signed =
        pair(opt(one_of("+-")), unsigned_number).map(|(sign, number)| if sign == Some('-') { -number } else { number });
    alt((value(STALE_MARKER, tag("stale")), signed)).parse(rest)
}

fn unsigned_number(rest: &str) -> IResult<&str, f64> {
    alt((
        value(f64::INFINITY, tag_no_case("inf")),
        value(NORMAL_NAN, tag_no_case("nan")),
        map_opt(duration_text, |text| Some(parse_duration(text).ok()?.as_nanos() as f64 / 1e9)),
        map_opt(float_text, |text| text.parse().ok()),
    ))
    .parse(rest)
}

fn duration_text(rest: &str) -> IResult<&str, &str> {
    recognize(pair(pair(digit1, one_of("smhdwy")), take_while(|c: char| c.is_ascii_digit() || "smhdwy".contains(c))))
        .parse(rest)
}

fn float_text(rest: &str) -> IResult<&str, &str> {
    let digits = || take_while(|c: char| c.is_ascii_digit());
    let mantissa = verify(recognize((digits(), opt(pair(char('.'), digits())))), |text: &str| {
        text.contains(|c: char| c.is_ascii_digit())
    });
    let exponent = (one_of("eE"), opt(one_of("+-")), digit1);
    recognize(pair(mantissa, opt(exponent))).parse(rest)
}

/// Reads what stands between `{{` and `}}`; answers also whether a hint was written.
fn histogram(text: &str) -> Result<(FloatHistogram, bool), SeriesLineError> {
    let fail = |problem| SeriesLineError::Histogram { text: text.to_owned(), problem };
    let blanks = || take_while(char::is_whitespace);
    let key = take_while1(|c: char| c == '_' || c.is_ascii_lowercase());
    let numbers = delimited(
        pair(char('['), blanks()),
        separated_list0(take_while1(char::is_whitespace), number),
        pair(blanks(), char(']')),
    );
    let field = alt((
        numbers.map(Field::List),
        number.map(Field::Number),
        take_while1(|c: char| c == '_' || c.is_ascii_lowercase()).map(Field::Word),
    ));
    let parsed: IResult<&str, Vec<(&str, Field<'_>)>> =
        preceded(blanks(), many0(terminated(separated_pair(key, char(':'), field), blanks()))).parse(text);
    let fields = match parsed {
        Ok(("", fields)) => fields,
        _ => return Err(fail("expected key:value pairs")),
    };
    let mut out = HistogramFields::default();
    for (index, (key, field)) in fields.iter().enumerate() {
        if fields.iter().take(index).any(|(before, _)| before == key) {
            return Err(fail("a key is written twice"));
        }
        out.set(key, field).map_err(fail)?;
    }
    Ok((out.finish(), out.hint.is_some()))
}

enum Field<'t> {
    Number(f64),
    List(Vec<f64>),
    Word(&'t str),
}

#[derive(Default)]
struct HistogramFields {
    histogram: FloatHistogram,
    offset: i32,
    negative_offset: i32,
    hint: Option<CounterResetHint>,
}

impl HistogramFields {
    fn set(&mut self, key: &str, field: &Field<'_>) -> Result<(), &'static str> {
        let histogram = &mut self.histogram;
        match (key, field) {
            ("schema", Field::Number(number)) => histogram.schema = integer(*number)?,
            ("sum", Field::Number(number)) => histogram.sum = *number,
            ("count", Field::Number(number)) => histogram.count = *number,
            ("z_bucket", Field::Number(number)) => histogram.zero_count = *number,
            ("z_bucket_w", Field::Number(number)) => histogram.zero_threshold = *number,
            ("offset", Field::Number(number)) => self.offset = integer(*number)?,
            ("n_offset", Field::Number(number)) => self.negative_offset = integer(*number)?,
            ("buckets", Field::List(list)) => histogram.positive_buckets.clone_from(list),
            ("n_buckets", Field::List(list)) => histogram.negative_buckets.clone_from(list),
            ("custom_values", Field::List(list)) => histogram.custom_values = list.as_slice().into(),
            ("counter_reset_hint", Field::Word(word)) => {
                self.hint = Some(match *word {
                    "unknown" => CounterResetHint::Unknown,
                    "reset" => CounterResetHint::Reset,
                    "not_reset" => CounterResetHint::NotReset,
                    "gauge" => CounterResetHint::Gauge,
                    _ => return Err("an unknown counter reset hint"),
                });
            }
            _ => return Err("an unknown key, or a value of the wrong kind"),
        }
        Ok(())
    }

    fn finish(&self) -> FloatHistogram {
        let spans = |offset: i32, buckets: &[f64]| match u32::try_from(buckets.len()) {
            Ok(length) if length > 0 => vec![Span { offset, length }],
            _ => Vec::new(),
        };
        let mut histogram = self.histogram.clone();
        histogram.positive_spans = spans(self.offset, &histogram.positive_buckets);
        histogram.negative_spans = spans(self.negative_offset, &histogram.negative_buckets);
        histogram.counter_reset = self.hint.unwrap_or_default();
        histogram
    }
}

fn integer(number: f64) -> Result<i32, &'static str> {
    let whole = number.trunc() == number && number.abs() <= f64::from(i32::MAX);
    if whole { Ok(number as i32) } else { Err("expected an integer") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(points: &str) -> Vec<Option<f64>> {
        let line = parse_series_line(&format!("m {points}")).expect(points);
        let float = |point: Point| match point.value {
            Value::Float(value) => value,
            Value::Histogram(histogram) => histogram.to_float().count,
        };
        line.points.into_iter().map(|point| point.map(float)).collect()
    }

    #[test]
    fn notations_expand() {
        let some = |values: &[f64]| values.iter().copied().map(Some).collect::<Vec<_>>();
        assert_eq!(floats("1x2"), some(&[1.0, 1.0, 1.0]));
        assert_eq!(floats("1+2x2 -3"), some(&[1.0, 3.0, 5.0, -3.0]));
        assert_eq!(floats("-1-1e1x1"), some(&[-1.0, -11.0]));
        assert_eq!(floats("_x2 5m _"), [None, None, Some(300.0), None]);
        assert_eq!(floats("1e-2x1 .5 Inf -Inf"), some(&[0.01, 0.01, 0.5, f64::INFINITY, f64::NEG_INFINITY]));
        assert_eq!(floats("{{count:1}}+{{count:2}}x2"), some(&[1.0, 3.0, 5.0]));
        assert!(ferula_model::is_stale(floats("stale")[0].expect("a point")));
    }

    #[test]
    fn wrong_lines_say_where() {
        for (line, place) in [
            ("m 1 2 three 4", "three 4"),
            ("m 1x", "1x"),
            ("m {{count:1 count:2}}", "twice"),
            ("m {{schema:1.5}}", "integer"),
            ("m 1x99999999999", "more than"),
            ("m{a=~\"b\"} 1", "with ="),
        ] {
            let error = parse_series_line(line).expect_err(line).to_string();
            assert!(error.contains(place), "{line}: {error}");
        }
    }

    #[test]
    fn names_end_behind_their_brace() {
        let line = parse_series_line(r#"{"a b", l="}\" x"} 1"#).expect("a series");
        assert_eq!(line.labels.to_string(), r#"{__name__="a b", l="}\" x"}"#);
    }
}
