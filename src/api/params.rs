//! The parameters of a request: from the query string and, for forms, from the body.

use std::num::{IntErrorKind, ParseIntError};
use std::str::FromStr;

use ferula_model::number::NumberError;
use ferula_model::{Timestamp, go_quote};

use super::error::ApiError;
use super::moment::{SignedDuration, parse_seconds, parse_time};

/// Names and values in the order they were sent; a name may come several times.
#[derive(Clone, Debug, Default)]
pub struct Params {
    pairs: Vec<(String, String)>,
    malformed: Option<String>,
}

impl Params {
    /// Reads a query string and the body of an `application/x-www-form-urlencoded` form. Values of the body come first.
    /// What cannot be read is left out, and [`well_formed`](Self::well_formed) says so.
    pub fn new(query: &str, form: &[u8]) -> Self {
        let mut params = Self::default();
        params.read(&String::from_utf8_lossy(form));
        params.read(query);
        params
    }

    fn read(&mut self, text: &str) {
        for pair in text.split('&') {
            match malformation(pair) {
                None => {
                    let pairs = form_urlencoded::parse(pair.as_bytes());
                    self.pairs.extend(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())));
                }
                Some(what) => self.malformed = self.malformed.take().or(Some(what)),
            }
        }
    }

    /// Whether everything could be read.
    ///
    /// # Errors
    ///
    /// `error parsing form values: invalid URL escape "%zz"` or `... invalid semicolon separator in query`.
    pub fn well_formed(&self) -> Result<(), ApiError> {
        match &self.malformed {
            None => Ok(()),
            Some(what) => Err(ApiError::bad_data(format!("error parsing form values: {what}"))),
        }
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
        let number: i64 = parse_whole(text).map_err(|reason| {
            ApiError::parameter(name, format!("strconv.Atoi: parsing {}: {reason}", go_quote(text)))
        })?;
        usize::try_from(number).map_err(|_| ApiError::parameter(name, "limit must be non-negative"))
    }

    /// A boolean as Go's `ParseBool` reads it; absent is false. The endpoint's `complaint` stands before the reason.
    ///
    /// # Errors
    ///
    /// None of `1 t T TRUE true True 0 f F FALSE false False`.
    pub fn boolean(&self, name: &str, complaint: &str) -> Result<bool, ApiError> {
        match self.first(name) {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
            "" | "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
            text => {
                let reason = format!("strconv.ParseBool: parsing {}: invalid syntax", go_quote(text));
                Err(ApiError::parameter(name, format!("{complaint}: {reason}")))
            }
        }
    }
}

fn optional<T>(text: &str, parse: impl FnOnce(&str) -> Result<T, ApiError>) -> Result<Option<T>, ApiError> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

/// A whole number as Go's `strconv.Atoi` reads it.
pub(super) fn parse_whole<T: FromStr<Err = ParseIntError>>(text: &str) -> Result<T, NumberError> {
    text.parse().map_err(|error: ParseIntError| match error.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => NumberError::Range,
        _ => NumberError::Syntax,
    })
}

/// What is wrong with one pair of a form, if anything is: an escape that is none, or a semicolon, which once stood for `&`.
fn malformation(pair: &str) -> Option<String> {
    if pair.contains(';') {
        return Some("invalid semicolon separator in query".to_owned());
    }
    let wrong_escape = |part: &str| {
        part.match_indices('%').find_map(|(at, _)| {
            let escape = part.as_bytes().get(at..part.len().min(at + 3)).unwrap_or_default();
            let is_escape = matches!(escape, [_, a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit());
            (!is_escape).then(|| format!("invalid URL escape {}", go_quote(&String::from_utf8_lossy(escape))))
        })
    };
    pair.splitn(2, '=').find_map(wrong_escape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_comes_before_the_query_string() {
        let params = Params::new("query=b&match[]=x", b"query=a&match%5B%5D=y");
        assert_eq!(params.first("query"), "a");
        assert_eq!(params.all("match[]").collect::<Vec<_>>(), ["y", "x"]);
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let wrong = |query: &str| Params::new(query, b"").well_formed().err().map(|error| error.message);
        for (query, what) in [
            ("a=%zzz", "invalid URL escape \"%zz\""),
            ("a=1&b%f=2&c=%q", "invalid URL escape \"%f\""),
            ("%", "invalid URL escape \"%\""),
            ("a=1;b=2", "invalid semicolon separator in query"),
        ] {
            assert_eq!(wrong(query), Some(format!("error parsing form values: {what}")), "{query}");
        }
        assert_eq!(wrong("a=%25+%C3%A4&&b"), None);
        assert_eq!(Params::new("a=%25+%C3%A4&&b", b"").first("a"), "% ä");
    }
}
