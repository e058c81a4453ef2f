//! Protocols: which formats does a scraper ask for, and in which does the answer come?

use std::fmt::Write;
use std::str::FromStr;

use ferula_exposition::Format;
use thiserror::Error;

use super::JobError;
use crate::relabel::NameScheme;

/// A format that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScrapeProtocol {
    /// `PrometheusProto`: delimited protobuf.
    Protobuf,
    /// `OpenMetricsText1.0.0`.
    OpenMetrics100,
    /// `OpenMetricsText0.0.1`.
    OpenMetrics001,
    /// `PrometheusText1.0.0`.
    Text100,
    /// `PrometheusText0.0.4`.
    Text004,
}

impl ScrapeProtocol {
    const ALL: [Self; 5] = [Self::Protobuf, Self::OpenMetrics100, Self::OpenMetrics001, Self::Text100, Self::Text004];

    /// What is asked for if nothing is configured: protobuf first where native histograms are wanted, since only it
    /// carries them.
    pub fn preference(native_histograms: bool) -> &'static [Self] {
        const PROTOBUF_FIRST: &[ScrapeProtocol] = &ScrapeProtocol::ALL;
        const TEXT_ONLY: &[ScrapeProtocol] = &[
            ScrapeProtocol::OpenMetrics100,
            ScrapeProtocol::OpenMetrics001,
            ScrapeProtocol::Text100,
            ScrapeProtocol::Text004,
        ];
        if native_histograms { PROTOBUF_FIRST } else { TEXT_ONLY }
    }

    /// As configuration files write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Protobuf => "PrometheusProto",
            Self::OpenMetrics100 => "OpenMetricsText1.0.0",
            Self::OpenMetrics001 => "OpenMetricsText0.0.1",
            Self::Text100 => "PrometheusText1.0.0",
            Self::Text004 => "PrometheusText0.0.4",
        }
    }

    /// The parser for it.
    pub fn format(self) -> Format {
        match self {
            Self::Protobuf => Format::Protobuf,
            Self::OpenMetrics100 | Self::OpenMetrics001 => Format::OpenMetrics,
            Self::Text100 | Self::Text004 => Format::Text,
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Protobuf => {
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
            }
            Self::OpenMetrics100 => "application/openmetrics-text;version=1.0.0",
            Self::OpenMetrics001 => "application/openmetrics-text;version=0.0.1",
            Self::Text100 => "text/plain;version=1.0.0",
            Self::Text004 => "text/plain;version=0.0.4",
        }
    }
}

impl FromStr for ScrapeProtocol {
    type Err = JobError;

    fn from_str(text: &str) -> Result<Self, JobError> {
        let known = Self::ALL.into_iter().find(|protocol| protocol.as_str() == text);
        known.ok_or_else(|| JobError::UnknownProtocol(text.to_owned()))
    }
}

/// How a target is asked to write names that are not legal everywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EscapingScheme {
    /// As they are.
    #[default]
    AllowUtf8,
    /// `_` for what is not legal.
    Underscores,
    /// `_dot_` for dots, `__` for underscores and the rest.
    Dots,
    /// `U__` and code points.
    Values,
}

impl EscapingScheme {
    /// As configuration files and media types write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllowUtf8 => "allow-utf-8",
            Self::Underscores => "underscores",
            Self::Dots => "dots",
            Self::Values => "values",
        }
    }

    pub(super) fn suggested_by(names: NameScheme) -> Self {
        match names {
            NameScheme::Utf8 => Self::AllowUtf8,
            NameScheme::Legacy => Self::Underscores,
        }
    }
}

impl FromStr for EscapingScheme {
    type Err = JobError;

    fn from_str(text: &str) -> Result<Self, JobError> {
        [Self::AllowUtf8, Self::Underscores, Self::Dots, Self::Values]
            .into_iter()
            .find(|scheme| scheme.as_str() == text)
            .ok_or_else(|| JobError::UnknownScheme { what: "escaping method setting", value: text.to_owned() })
    }
}

/// The `Accept` header that asks for protocols in their order.
pub(crate) fn accept_header(protocols: &[ScrapeProtocol], escaping: EscapingScheme) -> String {
    let mut header = String::new();
    let mut weight = ScrapeProtocol::ALL.len() + 1;
    for protocol in protocols {
        header.push_str(protocol.media_type());
        if matches!(protocol, ScrapeProtocol::OpenMetrics100 | ScrapeProtocol::Text100) {
            // Writing into a string never errs.
            let _ = write!(header, ";escaping={}", escaping.as_str());
        }
        let _ = write!(header, ";q=0.{weight},");
        weight = weight.saturating_sub(1);
    }
    let _ = write!(header, "*/*;q=0.{weight}");
    header
}

/// Why the format of an answer is not known.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ContentTypeError {
    /// The answer has no `Content-Type`.
    #[error(
        "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol specified for target"
    )]
    Blank,
    /// The header is not a media type.
    #[error("cannot parse Content-Type {0:?} and no fallback_scrape_protocol for target")]
    Unparsable(String),
    /// It is the type of something else.
    #[error("received unsupported Content-Type {0:?} and no fallback_scrape_protocol specified for target")]
    Unsupported(String),
}

/// The format that a `Content-Type` names. Only the base type counts; where it names none of ours, `fallback` does.
pub(crate) fn format_of(content_type: &str, fallback: Option<ScrapeProtocol>) -> Result<Format, ContentTypeError> {
    let base = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match base.as_str() {
        "text/plain" => return Ok(Format::Text),
        "application/openmetrics-text" => return Ok(Format::OpenMetrics),
        "application/vnd.google.protobuf" => return Ok(Format::Protobuf),
        _ => {}
    }
    if let Some(fallback) = fallback {
        return Ok(fallback.format());
    }
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&b))
    };
    Err(match base.split_once('/') {
        _ if content_type.is_empty() => ContentTypeError::Blank,
        Some((kind, sub)) if is_token(kind) && is_token(sub) => ContentTypeError::Unsupported(content_type.to_owned()),
        _ => ContentTypeError::Unparsable(content_type.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_header_is_upstreams() {
        assert_eq!(
            accept_header(ScrapeProtocol::preference(false), EscapingScheme::AllowUtf8),
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        );
    }

    #[test]
    fn the_base_type_decides_and_the_fallback_fills_in() {
        let text = Some(ScrapeProtocol::Text004);
        for (header, fallback, expected) in [
            ("text/plain; version=0.0.4", None, Ok(Format::Text)),
            ("Application/OpenMetrics-Text", text, Ok(Format::OpenMetrics)),
            ("application/vnd.google.protobuf; proto=x", None, Ok(Format::Protobuf)),
            ("text/html", text, Ok(Format::Text)),
            ("", text, Ok(Format::Text)),
            ("", None, Err(ContentTypeError::Blank)),
            ("text/html", None, Err(ContentTypeError::Unsupported("text/html".into()))),
            ("rubbish", None, Err(ContentTypeError::Unparsable("rubbish".into()))),
        ] {
            assert_eq!(format_of(header, fallback), expected, "{header}");
        }
    }
}
