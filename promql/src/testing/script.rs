//! What does a script tell to do? Commands with the lines they stand on.

use std::time::Duration;

use ferula_model::{Labels, StepGrid, Timestamp, parse_duration};
use thiserror::Error;

use super::series::{Point, SeriesLineError, parse_series_line, split_series};
use crate::syntax::parse_series_name;

/// A command of a script.
#[derive(Clone, Debug)]
pub(super) enum Command {
    Clear,
    Load(Load),
    Eval(Box<Eval>),
}

/// `load`, `load_with_nhcb`
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) step: Duration,
    /// Whether classic histograms are loaded as native ones with custom buckets too.
    pub(super) with_native: bool,
    pub(super) series: Vec<LoadSeries>,
}

#[derive(Clone, Debug)]
pub(super) struct LoadSeries {
    pub(super) labels: Labels,
    pub(super) points: Vec<Option<Point>>,
    /// Start timestamps relative to their samples, in seconds; empty if none are given.
    pub(super) starts: Vec<Option<f64>>,
}

/// `eval`
#[derive(Clone, Debug)]
pub(super) struct Eval {
    pub(super) query: String,
    pub(super) when: When,
    pub(super) expected: Expected,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    Instant(Timestamp),
    Range(StepGrid),
}

/// What must come out.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected {
    pub(super) fails: bool,
    /// What the error must say, if it must say something.
    pub(super) failure: Vec<Text>,
    pub(super) warnings: Notes,
    pub(super) infos: Notes,
    pub(super) ordered: bool,
    /// The moments of an instant query's range vector.
    pub(super) range: Option<StepGrid>,
    pub(super) string: Option<String>,
    pub(super) scalar: Option<f64>,
    pub(super) series: Vec<(Labels, Vec<Option<Point>>)>,
}

/// Which annotations of one level are expected.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    pub(super) forbidden: bool,
    pub(super) required: Vec<Text>,
}

/// What a message must be.
#[derive(Clone, Debug)]
pub(super) enum Text {
    Any,
    Exactly(String),
    Matching(ferula_model::Matcher),
}

/// A line that is no part of the language.
///
/// ```
/// use ferula_promql::testing::{Options, ScriptError, run_script};
///
/// let report = run_script("lode 1m\n", &Options::default());
/// assert!(report.failures[0].message.contains(&ScriptError::UnknownCommand("lode".to_owned()).to_string()));
/// ```
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum ScriptError {
    /// No command of that name.
    #[error("unknown command {0:?}")]
    UnknownCommand(String),
    /// A command whose words are not in the right order.
    #[error("expected {0}")]
    Expected(&'static str),
    /// A duration that is none.
    #[error("{0:?} is not a duration")]
    Duration(String),
    /// A time grid without an end.
    #[error("{0}")]
    Grid(#[from] ferula_model::StepGridError),
    /// A series that is none.
    #[error(transparent)]
    Series(#[from] SeriesLineError),
    /// An `expect` line that is none.
    #[error("unknown expectation {0:?}")]
    UnknownExpectation(String),
    /// A regular expression that is none.
    #[error(transparent)]
    Regex(#[from] ferula_model::RegexError),
    /// Start timestamps that do not fit the samples below them.
    #[error("start timestamps need a line of samples of the same series and length below them")]
    StrayStarts,
}

/// Splits a script into commands, each with the number of its first line, from 1.
pub(super) fn read_script(text: &str) -> Vec<(usize, Result<Command, ScriptError>)> {
    let comment = |line: &&str| line.starts_with('#');
    let lines: Vec<&str> = text.lines().map(str::trim).map(|line| if comment(&line) { "" } else { line }).collect();
    let mut commands = Vec::new();
    let mut at = 0;
    while let Some(first) = lines.get(at) {
        let number = at + 1;
        at += 1;
        if first.is_empty() {
            continue;
        }
        let word = first.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
        let takes_block = word.starts_with("load") || word.starts_with("eval");
        let rest = lines.get(at..).unwrap_or_default();
        let length = if takes_block { rest.iter().take_while(|line| !line.is_empty()).count() } else { 0 };
        let block = rest.get(..length).unwrap_or_default();
        at += length;
        commands.push((number, read_command(&word, first, block)));
    }
    commands
}

fn read_command(word: &str, first: &str, block: &[&str]) -> Result<Command, ScriptError> {
    match word {
        "clear" => Ok(Command::Clear),
        "load" | "load_with_nhcb" => read_load(word == "load_with_nhcb", first, block).map(Command::Load),
        _ if word.starts_with("eval") => read_eval(word, first, block).map(|eval| Command::Eval(Box::new(eval))),
        _ => Err(ScriptError::UnknownCommand(word.to_owned())),
    }
}

fn duration(text: &str) -> Result<Duration, ScriptError> {
    parse_duration(text).map_err(|_| ScriptError::Duration(text.to_owned()))
}

/// A moment: a duration since the epoch, or before it with a minus.
fn moment(text: &str) -> Result<Timestamp, ScriptError> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let millis = ferula_model::millis(duration(text)?);
    Ok(Timestamp::from_millis(if negative { -millis } else { millis }))
}

/// The next word and what follows it.
fn next_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    (word, rest.trim_start())
}

fn read_load(with_native: bool, first: &str, block: &[&str]) -> Result<Load, ScriptError> {
    let (_, step) = next_word(first);
    let step = duration(step)?;
    let mut series: Vec<LoadSeries> = Vec::new();
    let mut starts: Option<(Labels, Vec<Option<f64>>)> = None;
    for line in block {
        let (name, rest) = split_series(line);
        if let Some(offsets) = rest.strip_prefix("@st") {
            if starts.is_some() {
                return Err(ScriptError::StrayStarts);
            }
            let labels = parse_series_name(name).map_err(|error| SeriesLineError::Series(error.to_string()))?;
            let offsets = parse_series_line(&format!("offsets {offsets}"))?.points;
            starts = Some((labels, offsets.into_iter().map(|point| point.map(seconds)).collect()));
            continue;
        }
        let line = parse_series_line(line)?;
        let starts = match starts.take() {
            None => Vec::new(),
            Some((labels, starts)) if labels == line.labels && starts.len() == line.points.len() => starts,
            Some(_) => return Err(ScriptError::StrayStarts),
        };
        // Of two lines for one series the later counts.
        series.retain(|before| before.labels != line.labels);
        series.push(LoadSeries { labels: line.labels, points: line.points, starts });
    }
    if starts.is_some() { Err(ScriptError::StrayStarts) } else { Ok(Load { step, with_native, series }) }
}

fn seconds(point: Point) -> f64 {
    match point.value {
        ferula_model::Value::Float(seconds) => seconds,
        ferula_model::Value::Histogram(_) => 0.0,
    }
}

fn read_eval(word: &str, first: &str, block: &[&str]) -> Result<Eval, ScriptError> {
    let mut expected = Expected::default();
    match word {
        "eval" => {}
        "eval_fail" => expected.fails = true,
        "eval_warn" => expected.warnings.required.push(Text::Any),
        "eval_info" => expected.infos.required.push(Text::Any),
        "eval_ordered" => expected.ordered = true,
        _ => return Err(ScriptError::UnknownCommand(word.to_owned())),
    }
    let (_, rest) = next_word(first);
    let (kind, rest) = next_word(rest);
    let (when, query) = match kind {
        "instant" => read_instant(rest)?,
        "range" => {
            let (grid, query) = read_grid(rest)?;
            (When::Range(grid), query)
        }
        _ => return Err(ScriptError::Expected("eval instant at <time> <query> or eval range from ... <query>")),
    };
    for line in block {
        read_expectation(&mut expected, line)?;
    }
    Ok(Eval { query: query.to_owned(), when, expected })
}

fn read_instant(rest: &str) -> Result<(When, &str), ScriptError> {
    let (word, after) = next_word(rest);
    if word != "at" {
        return Ok((When::Instant(Timestamp::from_millis(0)), rest));
    }
    let (at, query) = next_word(after);
    Ok((When::Instant(moment(at)?), query))
}

/// `from <time> to <time> step <duration>` and what follows it.
fn read_grid(rest: &str) -> Result<(StepGrid, &str), ScriptError> {
    let mut rest = rest;
    let mut values = [""; 3];
    for (keyword, slot) in ["from", "to", "step"].into_iter().zip(&mut values) {
        let (word, after) = next_word(rest);
        if word != keyword {
            return Err(ScriptError::Expected("from <time> to <time> step <duration>"));
        }
        (*slot, rest) = next_word(after);
    }
    let [from, to, step] = values;
    Ok((StepGrid::new(moment(from)?, moment(to)?, duration(step)?)?, rest))
}

fn read_expectation(expected: &mut Expected, line: &str) -> Result<(), ScriptError> {
    let (word, rest) = next_word(line);
    match word {
        "expected_fail_message" => {
            expected.failure.push(Text::Exactly(rest.to_owned()));
            return Ok(());
        }
        "expected_fail_regexp" => {
            expected.failure.push(regex(rest)?);
            return Ok(());
        }
        "expect" => return read_expect(expected, line, rest),
        _ => {}
    }
    if let Ok(("", number)) = super::series::number(line) {
        expected.scalar = Some(number);
        return Ok(());
    }
    let line = parse_series_line(line)?;
    expected.series.push((line.labels, line.points));
    Ok(())
}

fn read_expect(expected: &mut Expected, line: &str, rest: &str) -> Result<(), ScriptError> {
    let (what, rest) = next_word(rest);
    match what {
        "range" => {
            let (vector, grid) = next_word(rest);
            if vector != "vector" {
                return Err(ScriptError::UnknownExpectation(line.to_owned()));
            }
            expected.range = Some(read_grid(grid)?.0);
            return Ok(());
        }
        "string" => {
            expected.string = Some(unquoted(rest));
            return Ok(());
        }
        _ => {}
    }
    let text = read_text(rest)?;
    match what {
        "fail" => {
            expected.fails = true;
            expected.failure.push(text);
        }
        "warn" => expected.warnings.required.push(text),
        "info" => expected.infos.required.push(text),
        "no_warn" => expected.warnings.forbidden = true,
        "no_info" => expected.infos.forbidden = true,
        "ordered" => expected.ordered = true,
        _ => return Err(ScriptError::UnknownExpectation(line.to_owned())),
    }
    Ok(())
}

/// `msg: <text>`, `regex: <expression>`, or nothing.
fn read_text(rest: &str) -> Result<Text, ScriptError> {
    if rest.is_empty() {
        return Ok(Text::Any);
    }
    match rest.split_once(':') {
        Some(("msg", text)) => Ok(Text::Exactly(text.trim().to_owned())),
        Some(("regex", expression)) => regex(expression.trim()),
        _ => Err(ScriptError::UnknownExpectation(rest.to_owned())),
    }
}

/// An expression that may match anywhere in a text.
fn regex(expression: &str) -> Result<Text, ScriptError> {
    let anywhere = format!(".*(?:{expression}).*");
    Ok(Text::Matching(ferula_model::Matcher::new(ferula_model::MatchOp::Regex, "text", anywhere)?))
}

fn unquoted(text: &str) -> String {
    crate::syntax::unquote_literal(text.trim()).unwrap_or_else(|| text.trim().to_owned())
}
