//! The body of a message: alerts as Alertmanager's API v2 takes them, in the bytes that Prometheus sends.

use std::collections::BTreeMap;
use std::io;

use ferula_model::Labels;
use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter};

use crate::alert::Alert;
use crate::civil::Rfc3339;

/// Alerts as a JSON array.
pub(crate) fn alerts_json<'a>(alerts: impl IntoIterator<Item = &'a Alert>) -> Vec<u8> {
    to_json(&alerts.into_iter().map(Posted::from).collect::<Vec<_>>())
}

/// Fields in the order of upstream's client.
#[derive(Serialize)]
struct Posted<'a> {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'a str, &'a str>,
    #[serde(rename = "endsAt")]
    ends_at: String,
    #[serde(rename = "startsAt")]
    starts_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "str::is_empty")]
    generator_url: &'a str,
    labels: BTreeMap<&'a str, &'a str>,
}

impl<'a> From<&'a Alert> for Posted<'a> {
    fn from(alert: &'a Alert) -> Self {
        Self {
            annotations: texts(&alert.annotations),
            ends_at: Rfc3339(alert.ends_at).to_string(),
            starts_at: Rfc3339(alert.starts_at).to_string(),
            generator_url: &alert.generator_url,
            labels: texts(&alert.labels),
        }
    }
}

pub(crate) fn texts(labels: &Labels) -> BTreeMap<&str, &str> {
    labels.iter().collect()
}

/// JSON as Go's `encoding/json` writes it: what HTML gives a meaning to is escaped.
pub(crate) fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    // Strings, numbers and maps with texts as keys: there is nothing that could fail in memory.
    let _ = value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, GoFormatter));
    out
}

struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (before, tail) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            let mut chars = tail.chars();
            if let Some(special) = chars.next() {
                write!(writer, "\\u{:04x}", u32::from(special))?;
            }
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_char_escape<W: ?Sized + io::Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        match escape {
            CharEscape::Quote => writer.write_all(b"\\\""),
            CharEscape::ReverseSolidus => writer.write_all(b"\\\\"),
            CharEscape::Solidus => writer.write_all(b"/"),
            CharEscape::Backspace => writer.write_all(b"\\b"),
            CharEscape::FormFeed => writer.write_all(b"\\f"),
            CharEscape::LineFeed => writer.write_all(b"\\n"),
            CharEscape::CarriageReturn => writer.write_all(b"\\r"),
            CharEscape::Tab => writer.write_all(b"\\t"),
            CharEscape::AsciiControl(byte) => write!(writer, "\\u{byte:04x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use ferula_model::Timestamp;

    use super::*;

    #[test]
    fn an_alert_in_upstreams_bytes() {
        let alert = Alert {
            labels: Labels::from_pairs([("job", "a<b"), ("alertname", "Down")]),
            annotations: Labels::from_pairs([("summary", "x & \"y\"\n\u{1}")]),
            starts_at: Timestamp(1_000),
            ends_at: Timestamp(241_500),
            generator_url: "http://h/graph?g0.expr=up+%3D%3D+0&g0.tab=1".to_owned(),
        };
        let bytes = alerts_json([&alert]);
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "[{\"annotations\":{\"summary\":\"x \\u0026 \\\"y\\\"\\n\\u0001\"},\"endsAt\":\"1970-01-01T00:04:01.500Z\",\
             \"startsAt\":\"1970-01-01T00:00:01.000Z\",\"generatorURL\":\"http://h/graph?g0.expr=up+%3D%3D+0\\u0026g0.tab=1\",\
             \"labels\":{\"alertname\":\"Down\",\"job\":\"a\\u003cb\"}}]"
        );
    }
}
