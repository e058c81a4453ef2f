//! Time: milliseconds since the epoch, ranges, steps, durations in Prometheus' notation, and where "now" comes from.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use thiserror::Error;

/// Milliseconds since 1970-01-01 00:00:00 UTC; negative before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// Seconds since the epoch, with three decimals if they are not whole: as answers of the API have them.
///
/// ```
/// use ferula_model::Timestamp;
///
/// assert_eq!(Timestamp::from_millis(1_500).to_string(), "1.500");
/// assert_eq!(Timestamp::from_millis(-2_000).to_string(), "-2");
/// ```
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (seconds, millis) = (self.0.unsigned_abs() / 1000, self.0.unsigned_abs() % 1000);
        match millis {
            0 => write!(f, "{sign}{seconds}"),
            _ => write!(f, "{sign}{seconds}.{millis:03}"),
        }
    }
}

impl Timestamp {
    /// The earliest moment.
    pub const MIN: Timestamp = Timestamp(i64::MIN);
    /// The latest moment.
    pub const MAX: Timestamp = Timestamp(i64::MAX);

    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Seconds since the epoch, with the milliseconds as decimals.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// Later by a duration; stops at [`Timestamp::MAX`].
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// Earlier by a duration; stops at [`Timestamp::MIN`].
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }

    /// How long after `earlier`; zero if it is not.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// Whole milliseconds of a duration, at most `i64::MAX`.
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A range of time, closed at both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeRange {
    /// The first moment that belongs.
    pub min: Timestamp,
    /// The last moment that belongs.
    pub max: Timestamp,
}

impl TimeRange {
    /// All of time.
    pub const ALL: TimeRange = TimeRange { min: Timestamp::MIN, max: Timestamp::MAX };

    /// From `min` to `max`, both included.
    pub const fn new(min: Timestamp, max: Timestamp) -> Self {
        Self { min, max }
    }

    /// Whether a moment belongs.
    pub fn contains(self, at: Timestamp) -> bool {
        self.min <= at && at <= self.max
    }

    /// Whether two ranges share a moment.
    pub fn overlaps(self, other: TimeRange) -> bool {
        self.min <= other.max && other.min <= self.max
    }
}

/// The moments of a range query: `start`, `start + step`, ... up to and including `end` if it falls on a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StepGrid {
    start: Timestamp,
    end: Timestamp,
    step_millis: i64,
}

/// A step grid that has no meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StepGridError {
    /// The step is not positive.
    #[error("zero or negative query resolution step widths are not accepted. Try a positive integer")]
    Step,
    /// The end lies before the start.
    #[error("end timestamp must not be before start time")]
    Order,
}

impl StepGrid {
    /// A grid from `start` to `end` (included) in steps of at least one millisecond.
    ///
    /// # Errors
    ///
    /// The step is shorter than a millisecond, or the end lies before the start.
    pub fn new(start: Timestamp, end: Timestamp, step: Duration) -> Result<Self, StepGridError> {
        let step_millis = millis(step);
        if step_millis <= 0 {
            return Err(StepGridError::Step);
        }
        if end < start {
            return Err(StepGridError::Order);
        }
        Ok(Self { start, end, step_millis })
    }

    /// A single moment, as an instant query has it.
    pub const fn instant(at: Timestamp) -> Self {
        Self { start: at, end: at, step_millis: 1 }
    }

    /// The first moment.
    pub const fn start(self) -> Timestamp {
        self.start
    }

    /// The end as given, which need not lie on a step.
    pub const fn end(self) -> Timestamp {
        self.end
    }

    /// The step in milliseconds, at least 1.
    pub const fn step_millis(self) -> i64 {
        self.step_millis
    }

    /// How many moments; at least one.
    pub fn len(self) -> usize {
        let span = i128::from(self.end.0) - i128::from(self.start.0);
        usize::try_from(span / i128::from(self.step_millis) + 1).unwrap_or(usize::MAX)
    }

    /// Never: a grid has at least one moment.
    pub const fn is_empty(self) -> bool {
        false
    }

    /// The moment of step `index`.
    pub const fn at(self, index: usize) -> Timestamp {
        Timestamp(self.start.0.saturating_add((index as i64).saturating_mul(self.step_millis)))
    }
}

/// A duration that is not in Prometheus' notation.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DurationError {
    /// Nothing was given.
    #[error("empty duration string")]
    Empty,
    /// Not a sequence of number and unit, from the largest unit to the smallest, each once.
    #[error("not a valid duration string: {0}")]
    Syntax(String),
    /// More than 292 years, the range of signed 64-bit nanoseconds.
    #[error("duration out of range")]
    OutOfRange,
}

impl DurationError {
    fn syntax(text: &str) -> Self {
        Self::Syntax(crate::quote::go_quote(text))
    }
}

/// Units from the largest to the smallest, in milliseconds. A year has 365 days.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads a duration in Prometheus' notation: `1y2w3d4h5m6s7ms`, units descending, each at most once; or `0`.
///
/// ```
/// use std::time::Duration;
/// use ferula_model::{format_duration, parse_duration};
///
/// assert_eq!(parse_duration("1h30m").unwrap(), Duration::from_secs(5400));
/// assert_eq!(format_duration(Duration::from_secs(5400)), "1h30m");
/// assert!(parse_duration("30m1h").is_err());
/// ```
///
/// # Errors
///
/// See [`DurationError`]; the words are those of Prometheus' `model.ParseDuration`.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    match text {
        "" => return Err(DurationError::Empty),
        "0" => return Ok(Duration::ZERO),
        _ => {}
    }
    let mut rest = text;
    let mut next_unit = 0;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        let at = UNITS.iter().position(|(name, _)| *name == unit).filter(|at| *at >= next_unit);
        let (Some(at), false) = (at, number.is_empty()) else {
            return Err(DurationError::syntax(text));
        };
        let count: u64 = number.parse().map_err(|_| DurationError::OutOfRange)?;
        total = count.checked_mul(UNITS[at].1).and_then(|ms| ms.checked_add(total)).ok_or(DurationError::OutOfRange)?;
        if total > i64::MAX as u64 / 1_000_000 {
            return Err(DurationError::OutOfRange);
        }
        next_unit = at + 1;
        rest = tail;
    }
    Ok(Duration::from_millis(total))
}

/// Writes a duration in Prometheus' notation, whole milliseconds. Years and weeks appear only where they divide exactly.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for (unit, size) in UNITS {
        let exact_only = matches!(unit, "y" | "w");
        if rest < size || (exact_only && !rest.is_multiple_of(size)) {
            continue;
        }
        out.push_str(&format!("{}{unit}", rest / size));
        rest %= size;
    }
    out
}

/// Where "now" comes from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => Timestamp(millis(after)),
            Err(before) => Timestamp(-millis(before.duration())),
        }
    }
}

/// A clock that stands still until it is moved; for tests and simulations.
///
/// ```
/// use std::time::Duration;
/// use ferula_model::{Clock, ManualClock, Timestamp};
///
/// let clock = ManualClock::at(Timestamp(1_000));
/// clock.advance(Duration::from_secs(1));
/// assert_eq!(clock.now(), Timestamp(2_000));
/// ```
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.0))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(millis(by), Ordering::SeqCst);
    }

    /// Sets the clock, backwards too.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_as_prometheus_prints_them() {
        for (text, printed) in [
            ("0", "0s"),
            ("1w", "1w"),
            ("8d", "8d"),
            ("1y", "1y"),
            ("366d", "366d"),
            ("4d1h", "4d1h"),
            ("1m500ms", "1m500ms"),
            ("90s", "1m30s"),
        ] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), printed, "{text}");
        }
    }

    #[test]
    fn wrong_durations_say_why() {
        for wrong in ["1", "1y1y", "1s1m", "-1s", "1.5s", " 1s", "s", "1x"] {
            assert_eq!(
                parse_duration(wrong).unwrap_err().to_string(),
                format!("not a valid duration string: \"{wrong}\"")
            );
        }
        assert_eq!(parse_duration("").unwrap_err().to_string(), "empty duration string");
        assert_eq!(parse_duration("300y").unwrap_err(), DurationError::OutOfRange);
    }

    #[test]
    fn a_grid_includes_an_end_on_a_step() {
        let grid = StepGrid::new(Timestamp(0), Timestamp(10), Duration::from_millis(5)).unwrap();
        assert_eq!((grid.len(), grid.at(2)), (3, Timestamp(10)));
    }
}
