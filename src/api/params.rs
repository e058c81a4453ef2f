//! The parameters of a request: from the query string and, for forms, from the body.

use std::borrow::Cow;
use std::time::Duration;

use ferula_model::{Timestamp, go_quote, parse_duration};

use super::error::ApiError;

/// The moments that clients send for "from the beginning" and "to the end": the extremes of Go's `time.Time` in
/// milliseconds, which upstream prints as RFC 3339 and accepts again.
const EXTREME_MOMENTS: [(&str, Timestamp); 2] = [
    ("-292273086-05-16T16:47:06Z", Timestamp(i64::MIN / 1000 * 1000 + 62_135_596_801_000)),
    ("292277025-08-18T07:12:54.999999999Z", Timestamp(i64::MAX / 1000 * 1000 - 62_135_596_800_001)),
];

/// Names and values in the order they were sent; a name may come several times.
#[derive(Clone, Debug, Default)]
pub struct Params {
    pairs: Vec<(String, String)>,
}

impl Params {
    /// Reads a query string and the body of an `application/x-www-form-urlencoded` form. Values of the body come first.
    pub fn new(query: &str, form: &[u8]) -> Self {
        let decode = |(name, value): (Cow<'_, str>, Cow<'_, str>)| (name.into_owned(), value.into_owned());
        let pairs = form_urlencoded::parse(form).chain(form_urlencoded::parse(query.as_bytes())).map(decode).collect();
        Self { pairs }
    }

    /// The first value of a name; the empty string if there is none.
    pub fn first(&self, name: &str) -> &str {
        self.pairs.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// All values of a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// A moment, or `None` if the parameter is absent or empty.
    ///
    /// # Errors
    ///
    /// `invalid parameter "NAME": invalid time value for 'NAME': cannot parse "X" to a valid timestamp`.
    pub fn time(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        let refused = |cause| ApiError::parameter(name, format!("invalid time value for '{name}': {cause}"));
        optional(self.first(name), |text| parse_time(text).map_err(refused))
    }

    /// A moment that must be there.
    ///
    /// # Errors
    ///
    /// `invalid parameter "NAME": cannot parse "X" to a valid timestamp`, also for an absent parameter.
    pub fn required_time(&self, name: &str) -> Result<Timestamp, ApiError> {
        parse_time(self.first(name)).map_err(|cause| ApiError::parameter(name, cause))
    }

    /// A duration in seconds or in Prometheus' notation, or `None` if the parameter is absent or empty.
    ///
    /// # Errors
    ///
    /// `invalid parameter "NAME": cannot parse "X" to a valid duration`.
    pub fn duration(&self, name: &str) -> Result<Option<SignedDuration>, ApiError> {
        optional(self.first(name), |text| parse_seconds(text).map_err(|cause| ApiError::parameter(name, cause)))
    }

    /// A duration that must be there.
    ///
    /// # Errors
    ///
    /// As [`duration`](Self::duration), also for an absent parameter.
    pub fn required_duration(&self, name: &str) -> Result<SignedDuration, ApiError> {
        parse_seconds(self.first(name)).map_err(|cause| ApiError::parameter(name, cause))
    }

    /// `limit` and its kin: a number of at least 0, where 0 and an absent parameter mean "no limit".
    ///
    /// # Errors
    ///
    /// Not a number, or a negative one.
    pub fn limit(&self, name: &str) -> Result<usize, ApiError> {
        let text = self.first(name);
        if text.is_empty() {
            return Ok(0);
        }
        let number: i64 = text.parse().map_err(|_| {
            ApiError::parameter(name, format!("strconv.Atoi: parsing {}: invalid syntax", go_quote(text)))
        })?;
        usize::try_from(number).map_err(|_| ApiError::parameter(name, "limit must be non-negative"))
    }

    /// A boolean as Go's `ParseBool` reads it; absent is false.
    ///
    /// # Errors
    ///
    /// None of `1 t T TRUE true True 0 f F FALSE false False`.
    pub fn boolean(&self, name: &str) -> Result<bool, ApiError> {
        match self.first(name) {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
            "" | "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
            text => {
                Err(ApiError::parameter(name, format!("strconv.ParseBool: parsing {}: invalid syntax", go_quote(text))))
            }
        }
    }
}

fn optional<T>(text: &str, parse: impl FnOnce(&str) -> Result<T, ApiError>) -> Result<Option<T>, ApiError> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

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

/// Reads a moment: seconds since the epoch with decimals, or RFC 3339.
fn parse_time(text: &str) -> Result<Timestamp, String> {
    if let Some(seconds) = go_float(text) {
        let (whole, fraction) = (seconds.trunc(), seconds.fract());
        let millis = (fraction * 1000.0).round();
        if seconds.is_finite() && seconds.abs() < 9.2e15 {
            return Ok(Timestamp(whole as i64 * 1000 + millis as i64));
        }
    } else if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp(moment.as_nanosecond().div_euclid(1_000_000) as i64));
    } else if let Some((_, moment)) = EXTREME_MOMENTS.iter().find(|(printed, _)| *printed == text) {
        return Ok(*moment);
    }
    Err(format!("cannot parse {} to a valid timestamp", go_quote(text)))
}

/// Reads a duration: seconds with decimals, or Prometheus' notation.
fn parse_seconds(text: &str) -> Result<SignedDuration, String> {
    if let Some(seconds) = go_float(text) {
        if !seconds.is_finite() || seconds.abs() > i64::MAX as f64 / 1e9 {
            return Err(format!("cannot parse {} to a valid duration. It overflows int64", go_quote(text)));
        }
        return Ok(SignedDuration { millis: (seconds * 1000.0) as i64 });
    }
    match parse_duration(text) {
        Ok(duration) => Ok(SignedDuration { millis: ferula_model::millis(duration) }),
        Err(_) => Err(format!("cannot parse {} to a valid duration", go_quote(text))),
    }
}

fn go_float(text: &str) -> Option<f64> {
    text.parse().ok()
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
        assert_eq!(parse_time("1435781430.781"), Ok(Timestamp(1_435_781_430_781)));
        assert_eq!(parse_time("-1.5"), Ok(Timestamp(-1_500)));
        assert_eq!(parse_time("2015-07-01T20:10:30.781Z"), Ok(Timestamp(1_435_781_430_781)));
        assert_eq!(parse_time("2015-07-01T22:10:30.781+02:00"), Ok(Timestamp(1_435_781_430_781)));
        assert_eq!(parse_time("foo"), Err("cannot parse \"foo\" to a valid timestamp".to_owned()));
        assert_eq!(parse_time("NaN"), Err("cannot parse \"NaN\" to a valid timestamp".to_owned()));
        assert!(parse_time("").is_err());
    }

    #[test]
    fn durations_are_seconds_or_prometheus_notation() {
        assert_eq!(parse_seconds("15"), Ok(SignedDuration { millis: 15_000 }));
        assert_eq!(parse_seconds("0.25"), Ok(SignedDuration { millis: 250 }));
        assert_eq!(parse_seconds("1h30m"), Ok(SignedDuration { millis: 5_400_000 }));
        assert_eq!(parse_seconds("1e15").unwrap_err(), "cannot parse \"1e15\" to a valid duration. It overflows int64");
        assert_eq!(parse_seconds("-1").unwrap().positive(), None);
    }

    #[test]
    fn the_form_comes_before_the_query_string() {
        let params = Params::new("query=b&match[]=x", b"query=a&match%5B%5D=y");
        assert_eq!(params.first("query"), "a");
        assert_eq!(params.all("match[]").collect::<Vec<_>>(), ["y", "x"]);
    }
}
