//! Which format do a scraper and a target agree on?
//!
//! The scraper lists what it reads ([`accept_header`]), the target picks from the list ([`Negotiated::from_accept`]) and names
//! its choice in the `Content-Type`, from which the scraper picks its parser ([`format_of_response`]). [`Coding`] does the same
//! for packing.
//!
//! ```
//! use ferula_exposition::{Escaping, Format};
//! use ferula_exposition::negotiate::{Negotiated, ScrapeProtocol, accept_header, format_of_response};
//!
//! let accept = accept_header(&ScrapeProtocol::DEFAULT, Escaping::AllowUtf8);
//! let answer = Negotiated::from_accept(Some(&accept));
//! assert_eq!(answer.content_type(), "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8");
//! assert_eq!(format_of_response(Some(&answer.content_type()), None), Ok(Format::OpenMetrics));
//! ```

use thiserror::Error;

pub use crate::coding::{Coding, UnpackError};
use crate::encode::EncodeOptions;
use crate::escape::Escaping;
use crate::parser::Format;

/// A protocol of `scrape_protocols` in a Prometheus configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScrapeProtocol {
    /// `PrometheusProto`
    PrometheusProto,
    /// `OpenMetricsText1.0.0`
    OpenMetricsText1_0_0,
    /// `OpenMetricsText0.0.1`
    OpenMetricsText0_0_1,
    /// `PrometheusText1.0.0`
    PrometheusText1_0_0,
    /// `PrometheusText0.0.4`
    PrometheusText0_0_4,
}

impl ScrapeProtocol {
    /// What a scraper asks for by default.
    pub const DEFAULT: [Self; 4] =
        [Self::OpenMetricsText1_0_0, Self::OpenMetricsText0_0_1, Self::PrometheusText1_0_0, Self::PrometheusText0_0_4];

    /// What a scraper of native histograms or start timestamps asks for.
    pub const PROTO_FIRST: [Self; 5] = [
        Self::PrometheusProto,
        Self::OpenMetricsText1_0_0,
        Self::OpenMetricsText0_0_1,
        Self::PrometheusText1_0_0,
        Self::PrometheusText0_0_4,
    ];

    /// The name in a configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PrometheusProto => "PrometheusProto",
            Self::OpenMetricsText1_0_0 => "OpenMetricsText1.0.0",
            Self::OpenMetricsText0_0_1 => "OpenMetricsText0.0.1",
            Self::PrometheusText1_0_0 => "PrometheusText1.0.0",
            Self::PrometheusText0_0_4 => "PrometheusText0.0.4",
        }
    }

    /// The protocol of a name; case matters.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::PROTO_FIRST.into_iter().find(|protocol| protocol.as_str() == name)
    }

    /// The format that its bodies have.
    pub fn format(self) -> Format {
        match self {
            Self::PrometheusProto => Format::Protobuf,
            Self::OpenMetricsText1_0_0 | Self::OpenMetricsText0_0_1 => Format::OpenMetrics,
            Self::PrometheusText1_0_0 | Self::PrometheusText0_0_4 => Format::Text,
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::PrometheusProto => {
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
            }
            Self::OpenMetricsText1_0_0 => "application/openmetrics-text;version=1.0.0",
            Self::OpenMetricsText0_0_1 => "application/openmetrics-text;version=0.0.1",
            Self::PrometheusText1_0_0 => "text/plain;version=1.0.0",
            Self::PrometheusText0_0_4 => "text/plain;version=0.0.4",
        }
    }

    fn may_escape(self) -> bool {
        matches!(self, Self::OpenMetricsText1_0_0 | Self::PrometheusText1_0_0)
    }
}

/// The `Accept` header of a scrape: protocols by falling preference, then anything.
pub fn accept_header(protocols: &[ScrapeProtocol], escaping: Escaping) -> String {
    let mut weight = ScrapeProtocol::PROTO_FIRST.len() + 1;
    let mut header = String::new();
    for protocol in protocols {
        header.push_str(protocol.media_type());
        if protocol.may_escape() {
            header.push_str(";escaping=");
            header.push_str(escaping.as_str());
        }
        header.push_str(&format!(";q=0.{weight},"));
        weight = weight.saturating_sub(1);
    }
    header + &format!("*/*;q=0.{weight}")
}

/// A response whose format is not known.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ContentTypeError {
    /// The target sent no Content-Type, and the job has no fallback.
    #[error(
        "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol specified for target"
    )]
    Blank,
    /// The target sent something that is no media type, and the job has no fallback.
    #[error("cannot parse Content-Type {0:?} and no fallback_scrape_protocol for target")]
    Malformed(String),
    /// The target sent a media type that is none of the three, and the job has no fallback.
    #[error("received unsupported Content-Type {0:?} and no fallback_scrape_protocol specified for target")]
    Unsupported(String),
}

/// The format of a response. Only the base media type counts; its parameters are not looked at. A target that names none of
/// the three gets the fallback of its job.
///
/// # Errors
///
/// There is no fallback.
pub fn format_of_response(
    content_type: Option<&str>,
    fallback: Option<ScrapeProtocol>,
) -> Result<Format, ContentTypeError> {
    let text = content_type.unwrap_or_default();
    let base = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let error = match base.as_str() {
        "application/openmetrics-text" => return Ok(Format::OpenMetrics),
        "application/vnd.google.protobuf" => return Ok(Format::Protobuf),
        "text/plain" => return Ok(Format::Text),
        "" if text.is_empty() => ContentTypeError::Blank,
        other if is_media_type(other) => ContentTypeError::Unsupported(text.to_owned()),
        _ => ContentTypeError::Malformed(text.to_owned()),
    };
    fallback.map(ScrapeProtocol::format).ok_or(error)
}

fn is_media_type(text: &str) -> bool {
    let token = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    match text.split_once('/') {
        Some((kind, subtype)) => token(kind) && token(subtype),
        None => token(text),
    }
}

/// What a target answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    protocol: ScrapeProtocol,
    escaping: Escaping,
}

impl Negotiated {
    /// Picks from an `Accept` header what the scraper prefers among what can be written. Without a header, or with nothing
    /// in it that is known, the text format 0.0.4. Names are escaped with underscores unless the scraper says how.
    pub fn from_accept(accept: Option<&str>) -> Self {
        Self::among(accept, &[Format::Text, Format::OpenMetrics, Format::Protobuf])
    }

    /// As [`from_accept`](Self::from_accept), among some of the formats; the text format is always among them.
    pub fn among(accept: Option<&str>, formats: &[Format]) -> Self {
        let mut ranges: Vec<_> = accept.unwrap_or_default().split(',').filter_map(MediaRange::parse).collect();
        // The sort is stable: among equals, the first one listed.
        ranges.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        let can_write = |protocol: &ScrapeProtocol| formats.contains(&protocol.format());
        let chosen = ranges.iter().find_map(|range| Some((range.protocol().filter(can_write)?, range.escaping())));
        let (protocol, escaping) = chosen.unwrap_or((ScrapeProtocol::PrometheusText0_0_4, None));
        Self { protocol, escaping: escaping.unwrap_or(Escaping::Underscores) }
    }

    /// The format to write.
    pub fn format(self) -> Format {
        self.protocol.format()
    }

    /// How to write it.
    pub fn options(self) -> EncodeOptions {
        EncodeOptions { escaping: self.escaping, ..EncodeOptions::default() }
    }

    /// The `Content-Type` of the answer.
    pub fn content_type(self) -> String {
        let base = match self.protocol {
            ScrapeProtocol::PrometheusProto => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
            ScrapeProtocol::OpenMetricsText1_0_0 => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            ScrapeProtocol::OpenMetricsText0_0_1 => "application/openmetrics-text; version=0.0.1; charset=utf-8",
            ScrapeProtocol::PrometheusText1_0_0 => "text/plain; version=1.0.0; charset=utf-8",
            ScrapeProtocol::PrometheusText0_0_4 => "text/plain; version=0.0.4; charset=utf-8",
        };
        format!("{base}; escaping={}", self.escaping.as_str())
    }
}

/// One entry of an `Accept` header.
struct MediaRange<'a> {
    kind: String,
    parameters: Vec<(String, &'a str)>,
    weight: f64,
}

impl<'a> MediaRange<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';');
        let kind = parts.next()?.trim().to_ascii_lowercase();
        let parameters: Vec<_> = parts
            .filter_map(|part| part.split_once('='))
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"')))
            .collect();
        let weight = parameters.iter().find(|(name, _)| name == "q").and_then(|(_, value)| value.parse().ok());
        (!kind.is_empty()).then(|| Self { kind, parameters, weight: weight.unwrap_or(1.0) })
    }

    fn parameter(&self, name: &str) -> &'a str {
        self.parameters.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    fn protocol(&self) -> Option<ScrapeProtocol> {
        if self.weight <= 0.0 {
            return None;
        }
        match (self.kind.as_str(), self.parameter("version")) {
            ("application/vnd.google.protobuf", _) => {
                let families = self.parameter("proto") == "io.prometheus.client.MetricFamily";
                (families && self.parameter("encoding") == "delimited").then_some(ScrapeProtocol::PrometheusProto)
            }
            ("application/openmetrics-text", "1.0.0") => Some(ScrapeProtocol::OpenMetricsText1_0_0),
            ("application/openmetrics-text", "" | "0.0.1") => Some(ScrapeProtocol::OpenMetricsText0_0_1),
            ("text/plain", "1.0.0") => Some(ScrapeProtocol::PrometheusText1_0_0),
            ("text/plain", "" | "0.0.4") => Some(ScrapeProtocol::PrometheusText0_0_4),
            _ => None,
        }
    }

    fn escaping(&self) -> Option<Escaping> {
        Escaping::from_word(self.parameter("escaping"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_accept_header_is_that_of_prometheus() {
        assert_eq!(
            accept_header(&ScrapeProtocol::DEFAULT, Escaping::AllowUtf8),
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        );
    }

    #[test]
    fn a_target_answers_what_the_scraper_prefers() {
        let chosen = |accept| Negotiated::from_accept(accept).content_type();
        let text = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
        assert_eq!(chosen(None), text);
        assert_eq!(chosen(Some("*/*")), text);
        assert_eq!(chosen(Some("text/html")), text);
        assert_eq!(chosen(Some("application/openmetrics-text;version=9,text/plain")), text);
        assert_eq!(
            chosen(Some("text/plain;q=0.5, text/plain;version=1.0.0;escaping=dots;q=0.7")),
            "text/plain; version=1.0.0; charset=utf-8; escaping=dots"
        );
        let proto = accept_header(&ScrapeProtocol::PROTO_FIRST, Escaping::AllowUtf8);
        assert_eq!(Negotiated::from_accept(Some(&proto)).format(), Format::Protobuf);
    }

    #[test]
    fn a_response_without_a_known_type_needs_a_fallback() {
        use ScrapeProtocol::PrometheusText0_0_4 as FALLBACK;
        for (content_type, error) in [
            (None, ContentTypeError::Blank),
            (Some(""), ContentTypeError::Blank),
            (Some("text/html"), ContentTypeError::Unsupported("text/html".to_owned())),
            (Some("text//plain"), ContentTypeError::Malformed("text//plain".to_owned())),
        ] {
            assert_eq!(format_of_response(content_type, None), Err(error));
            assert_eq!(format_of_response(content_type, Some(FALLBACK)), Ok(Format::Text));
        }
        let openmetrics = Some("application/openmetrics-text; version=2; charset=latin1");
        assert_eq!(format_of_response(openmetrics, Some(FALLBACK)), Ok(Format::OpenMetrics));
    }
}
