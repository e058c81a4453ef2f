//! Moments and durations as clients write them, and moments as answers print them.
//!
//! A moment is seconds since the epoch or RFC 3339, read as Go's `strconv.ParseFloat` and `time.Parse` read them: lenient
//! about the number of digits of the hour, strict about all else. A duration is seconds or Prometheus' notation.

use std::time::Duration;

use ferula_model::number::parse_float;
use ferula_model::{Timestamp, go_quote, parse_duration};
use jiff::civil::{Date, DateTime};

/// The moments that clients send for "from the beginning" and "to the end": the extremes of Go's `time.Time` in
/// milliseconds, which upstream prints as RFC 3339 and accepts again.
const EXTREME_MOMENTS: [(&str, Timestamp); 2] = [
    ("-292273086-05-16T16:47:06Z", Timestamp(i64::MIN / 1000 * 1000 + 62_135_596_801_000)),
    ("292277025-08-18T07:12:54.999999999Z", Timestamp(i64::MAX / 1000 * 1000 - 62_135_596_800_001)),
];

/// Seconds beyond this are no moment: milliseconds would not fit into 64 bits.
const SECONDS_MAX: f64 = 9.2e15;

/// A duration that a client may send with a sign, in milliseconds. What a negative one means is the endpoint's matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignedDuration {
    millis: i64,
}

impl SignedDuration {
    /// The duration, if it is above zero.
    pub fn positive(self) -> Option<Duration> {
        u64::try_from(self.millis).ok().filter(|millis| *millis > 0).map(Duration::from_millis)
    }
}

/// A text that is no moment or no duration; the words are upstream's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MomentError {
    #[error("cannot parse {} to a valid timestamp", go_quote(.0))]
    Moment(String),
    #[error("cannot parse {} to a valid duration", go_quote(.0))]
    Duration(String),
    #[error("cannot parse {} to a valid duration. It overflows int64", go_quote(.0))]
    DurationTooLong(String),
}

/// Reads a moment: seconds since the epoch with decimals, or RFC 3339.
pub(super) fn parse_time(text: &str) -> Result<Timestamp, MomentError> {
    let moment = match parse_float(text) {
        Ok(seconds) if seconds.is_finite() && seconds.abs() < SECONDS_MAX => {
            let millis = (seconds.fract() * 1000.0).round();
            Some(Timestamp(seconds.trunc() as i64 * 1000 + millis as i64))
        }
        Ok(_) => None,
        Err(_) => rfc3339_millis(text).map(Timestamp).or_else(|| {
            let extreme = EXTREME_MOMENTS.iter().find(|(printed, _)| *printed == text);
            extreme.map(|(_, moment)| *moment)
        }),
    };
    moment.ok_or_else(|| MomentError::Moment(text.to_owned()))
}

/// Reads a duration: seconds with decimals, or Prometheus' notation.
pub(super) fn parse_seconds(text: &str) -> Result<SignedDuration, MomentError> {
    if let Ok(seconds) = parse_float(text) {
        if !seconds.is_finite() || seconds.abs() > i64::MAX as f64 / 1e9 {
            return Err(MomentError::DurationTooLong(text.to_owned()));
        }
        return Ok(SignedDuration { millis: (seconds * 1000.0) as i64 });
    }
    match parse_duration(text) {
        Ok(duration) => Ok(SignedDuration { millis: ferula_model::millis(duration) }),
        Err(_) => Err(MomentError::Duration(text.to_owned())),
    }
}

/// `2006-01-02T15:04:05.999Z` or with an offset instead of the `Z`, in milliseconds since the epoch.
fn rfc3339_millis(text: &str) -> Option<i64> {
    let (date, clock) = text.split_once('T')?;
    let (date, zone) = (split_date(date)?, clock.find(['Z', '+', '-'])?);
    let (clock, zone) = clock.split_at(zone);
    let mut parts = clock.splitn(3, ':');
    let (hour, minute, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    // Go's parser takes an hour of one digit.
    let (hour, minute) = (digits(hour, 1..=2)?, digits(minute, 2..=2)?);
    let (second, millis) = match seconds.split_once(['.', ',']) {
        Some((second, fraction)) => (second, millis_of(fraction)?),
        None => (seconds, 0),
    };
    let second = digits(second, 2..=2)?;
    let moment = DateTime::new(
        date.year(),
        date.month(),
        date.day(),
        i8::try_from(hour).ok()?,
        i8::try_from(minute).ok()?,
        i8::try_from(second).ok()?,
        0,
    );
    let since_epoch = moment.ok()?.duration_since(Date::constant(1970, 1, 1).at(0, 0, 0, 0));
    Some((since_epoch.as_secs() - offset_seconds(zone)?) * 1000 + millis)
}

fn split_date(text: &str) -> Option<Date> {
    let mut parts = text.splitn(3, '-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let (year, month, day) = (digits(year, 4..=4)?, digits(month, 2..=2)?, digits(day, 2..=2)?);
    Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

/// The first three digits of a fraction of a second.
fn millis_of(fraction: &str) -> Option<i64> {
    digits(fraction, 1..=usize::MAX)?;
    let mut places = fraction.bytes().map(|digit| i64::from(digit - b'0'));
    Some((0..3).fold(0, |millis, _| millis * 10 + places.next().unwrap_or(0)))
}

/// `Z`, `+01:30`. Go allows 24 hours and 60 minutes.
fn offset_seconds(zone: &str) -> Option<i64> {
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("Z", "") => return Some(0),
        ("+", rest) => (1, rest),
        (_, rest) => (-1, rest),
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (digits(hours, 2..=2)?, digits(minutes, 2..=2)?);
    (hours <= 24 && minutes <= 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// A number of so many digits; one that is too large for 64 bits is 0, for what only asks whether these are digits.
fn digits(text: &str, count: std::ops::RangeInclusive<usize>) -> Option<i64> {
    let fits = count.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().unwrap_or(0))
}

/// A moment as RFC 3339 with nanoseconds, as Go prints `time.Time` in JSON; trailing zeros of the fraction are dropped.
pub fn rfc3339(at: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(at.as_millis()) {
        Ok(moment) => moment.to_string(),
        Err(_) => "0001-01-01T00:00:00Z".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_rfc3339() {
        for (text, millis) in [
            ("1435781430.781", 1_435_781_430_781),
            ("-1.5", -1_500),
            (".5", 500),
            ("1_000", 1_000_000),
            ("0x1p4", 16_000),
            ("2015-07-01T20:10:30.781Z", 1_435_781_430_781),
            ("2015-07-01T20:10:30,781999999999Z", 1_435_781_430_781),
            ("2015-07-01T22:10:30.781+02:00", 1_435_781_430_781),
            ("2020-01-01T1:00:00Z", 1_577_840_400_000),
            ("2020-01-01T00:00:00+23:60", 1_577_750_400_000),
            ("9999-12-31T23:59:59.5Z", 253_402_300_799_500),
            ("0000-01-01T00:00:00Z", -62_167_219_200_000),
            ("1969-12-31T23:59:59.5Z", -500),
        ] {
            assert_eq!(parse_time(text), Ok(Timestamp(millis)), "{text}");
        }
        for text in [
            "",
            "foo",
            "NaN",
            "Inf",
            "1e16",
            "1e400",
            "0x10",
            " 1",
            "2020-01-01",
            "2020-01-01T00:00:00",
            "2020-01-01t00:00:00Z",
            "2020-01-01T00:00:00z",
            "2020-01-01 00:00:00Z",
            "2020-01-01T00:00Z",
            "2020-01-01T24:00:00Z",
            "2020-01-01T00:00:60Z",
            "2020-01-01T00:00:00.Z",
            "2020-01-01T0:0:0Z",
            "2020-1-01T00:00:00Z",
            "2019-02-29T00:00:00Z",
            "2020-01-01T00:00:00+0100",
            "2020-01-01T00:00:00+25:00",
            "2020-01-01T00:00:00+24:61",
            "20200101T000000Z",
            "12020-01-01T00:00:00Z",
            "-0001-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_time(text), Err(MomentError::Moment(text.to_owned())));
        }
        assert_eq!(parse_time("x").unwrap_err().to_string(), "cannot parse \"x\" to a valid timestamp");
    }

    #[test]
    fn durations_are_seconds_or_prometheus_notation() {
        assert_eq!(parse_seconds("15"), Ok(SignedDuration { millis: 15_000 }));
        assert_eq!(parse_seconds("0.25"), Ok(SignedDuration { millis: 250 }));
        assert_eq!(parse_seconds("1h30m"), Ok(SignedDuration { millis: 5_400_000 }));
        let too_long = parse_seconds("1e15").unwrap_err().to_string();
        assert_eq!(too_long, "cannot parse \"1e15\" to a valid duration. It overflows int64");
        assert_eq!(parse_seconds("-1").unwrap().positive(), None);
    }
}
