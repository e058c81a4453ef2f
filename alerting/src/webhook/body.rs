//! The body of a message: version 4 of Alertmanager's webhook, its keys in Alertmanager's order.

use std::collections::BTreeMap;

use ferula_model::{Labels, Timestamp};
use serde::Serialize;

use super::plan::Message;
use crate::alert::Alert;
use crate::civil::Rfc3339;
use crate::notifier::{texts, to_json};

/// How Go writes a moment that is none.
const NEVER: &str = "0001-01-01T00:00:00Z";

#[derive(Serialize)]
struct Body<'a> {
    receiver: String,
    status: &'static str,
    alerts: Vec<Told<'a>>,
    notification_reason: &'static str,
    #[serde(rename = "groupLabels")]
    group_labels: BTreeMap<&'a str, &'a str>,
    #[serde(rename = "commonLabels")]
    common_labels: BTreeMap<&'a str, &'a str>,
    #[serde(rename = "commonAnnotations")]
    common_annotations: BTreeMap<&'a str, &'a str>,
    #[serde(rename = "routeLabels")]
    route_labels: BTreeMap<&'a str, &'a str>,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    version: &'static str,
    #[serde(rename = "groupKey")]
    group_key: String,
    #[serde(rename = "truncatedAlerts")]
    truncated_alerts: usize,
}

#[derive(Serialize)]
struct Told<'a> {
    status: &'static str,
    labels: BTreeMap<&'a str, &'a str>,
    annotations: BTreeMap<&'a str, &'a str>,
    #[serde(rename = "startsAt")]
    starts_at: String,
    #[serde(rename = "endsAt")]
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
    fingerprint: String,
}

/// The message as JSON.
pub(super) fn message_json(message: &Message, receiver: &str, external_url: &str) -> Vec<u8> {
    let fires = message.alerts.iter().any(|(_, fires)| *fires);
    let alerts: Vec<&Alert> = message.alerts.iter().map(|(alert, _)| alert).collect();
    let group = Labels::from_pairs([("alertname", &message.name)]);
    to_json(&Body {
        receiver: quote_meta(receiver),
        status: status(fires),
        alerts: message.alerts.iter().map(|(alert, fires)| told(alert, *fires)).collect(),
        notification_reason: message.reason.as_str(),
        group_labels: BTreeMap::from([("alertname", message.name.as_str())]),
        common_labels: common(alerts.iter().map(|alert| &alert.labels)),
        common_annotations: common(alerts.iter().map(|alert| &alert.annotations)),
        route_labels: BTreeMap::new(),
        external_url,
        version: "4",
        group_key: format!("{{}}:{group}"),
        truncated_alerts: 0,
    })
}

fn status(fires: bool) -> &'static str {
    if fires { "firing" } else { "resolved" }
}

fn told(alert: &Alert, fires: bool) -> Told<'_> {
    Told {
        status: status(fires),
        labels: texts(&alert.labels),
        annotations: texts(&alert.annotations),
        starts_at: moment(alert.starts_at),
        ends_at: if fires { NEVER.to_owned() } else { moment(alert.ends_at) },
        generator_url: &alert.generator_url,
        fingerprint: format!("{:016x}", fingerprint(&alert.labels)),
    }
}

/// What all have in common.
fn common<'a>(mut all: impl Iterator<Item = &'a Labels>) -> BTreeMap<&'a str, &'a str> {
    let mut common = all.next().map(texts).unwrap_or_default();
    for labels in all {
        common.retain(|name, value| labels.get(name) == Some(*value));
    }
    common
}

/// RFC 3339 as Go's `encoding/json` has it: no more decimals than needed.
fn moment(at: Timestamp) -> String {
    let text = Rfc3339(at).to_string();
    let shortened = text.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.');
    // The seconds may end with zeros too.
    let seconds = text.find('.').unwrap_or(text.len());
    format!("{}Z", text.get(..shortened.len().max(seconds)).unwrap_or_default())
}

/// Go's `regexp.QuoteMeta`.
fn quote_meta(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// FNV-1a over names and values, each followed by `0xFF`.
fn fingerprint(labels: &Labels) -> u64 {
    let texts = labels.iter().flat_map(|(name, value)| [name, value]);
    let bytes = texts.flat_map(|text| text.bytes().chain([0xFF]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::super::plan::Reason;
    use super::*;

    #[test]
    fn a_message_in_alertmanagers_bytes() {
        let alert = |instance: &str, ends_at| Alert {
            labels: Labels::from_pairs([("alertname", "Down"), ("instance", instance)]),
            annotations: Labels::from_pairs([("summary", "gone")]),
            starts_at: Timestamp(1_500),
            ends_at: Timestamp(ends_at),
            generator_url: "http://h/graph".to_owned(),
        };
        let alerts = vec![(alert("a", 900_000), true), (alert("b", 20_000), false)];
        let message = Message { name: "Down".to_owned(), reason: Reason::NewAlerts, alerts };
        let body = String::from_utf8(message_json(&message, "r-1.x", "http://am")).unwrap();
        let expected = concat!(
            r#"{"receiver":"r-1\\.x","status":"firing","alerts":[{"status":"firing","labels":{"alertname":"Down","#,
            r#""instance":"a"},"annotations":{"summary":"gone"},"startsAt":"1970-01-01T00:00:01.5Z","#,
            r#""endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://h/graph","fingerprint":"A"},{"status":"resolved","#,
            r#""labels":{"alertname":"Down","instance":"b"},"annotations":{"summary":"gone"},"#,
            r#""startsAt":"1970-01-01T00:00:01.5Z","endsAt":"1970-01-01T00:00:20Z","generatorURL":"http://h/graph","#,
            r#""fingerprint":"B"}],"notification_reason":"new alerts added","groupLabels":{"alertname":"Down"},"#,
            r#""commonLabels":{"alertname":"Down"},"commonAnnotations":{"summary":"gone"},"routeLabels":{},"#,
            r#""externalURL":"http://am","version":"4","groupKey":"{}:{alertname=\"Down\"}","truncatedAlerts":0}"#,
        );
        let print = |instance: &str| format!("{:016x}", fingerprint(&alert(instance, 0).labels));
        assert_eq!(
            body,
            expected
                .replace(r#":"A""#, &format!(":{:?}", print("a")))
                .replace(r#":"B""#, &format!(":{:?}", print("b")))
        );
    }

    #[test]
    fn fingerprints_are_fnv_1a() {
        assert_eq!(fingerprint(&Labels::empty()), 0xcbf2_9ce4_8422_2325);
        let by_hand = b"a\xffb\xff"
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3));
        assert_eq!(fingerprint(&Labels::from_pairs([("a", "b")])), by_hand);
        assert_eq!(moment(Timestamp(0)), "1970-01-01T00:00:00Z");
        assert_eq!(moment(Timestamp(10_010)), "1970-01-01T00:00:10.01Z");
    }
}
