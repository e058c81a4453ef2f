//! What is worth a message? Decided from what was told before and what is heard now.

use std::collections::BTreeMap;
use std::time::Duration;

use ferula_model::{Labels, Timestamp};

use crate::alert::Alert;

/// What people were told, by alert.
#[derive(Debug, Default)]
pub(super) struct Plan {
    firing: BTreeMap<Labels, Told>,
}

#[derive(Debug)]
struct Told {
    at: Timestamp,
    /// As it was last heard of; valid until its end.
    alert: Alert,
}

/// Alerts of one name that go out together.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Message {
    pub(super) name: String,
    pub(super) reason: Reason,
    /// Each with whether it fires.
    pub(super) alerts: Vec<(Alert, bool)>,
}

/// Why a message goes out, in Alertmanager's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    RepeatInterval,
    AllResolved,
    SomeResolved,
    NewAlerts,
    First,
}

impl Reason {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Reason::First => "first notification",
            Reason::NewAlerts => "new alerts added",
            Reason::SomeResolved => "some alerts resolved",
            Reason::AllResolved => "all alerts resolved",
            Reason::RepeatInterval => "repeat interval elapsed",
        }
    }
}

impl Plan {
    /// What is to be told now, by name.
    pub(super) fn messages(&mut self, heard: Vec<Alert>, now: Timestamp, repeat: Duration) -> Vec<Message> {
        let known: Vec<String> = self.firing.values().map(|told| told.alert.name().to_owned()).collect();
        let mut news: BTreeMap<String, Vec<(Alert, Option<Reason>)>> = BTreeMap::new();
        let mut tell = |alert: Alert, reason| {
            news.entry(alert.name().to_owned()).or_default().push((alert, reason));
        };
        for alert in heard {
            let told = self.firing.get_mut(&alert.labels);
            match (alert.is_resolved(now), told) {
                // Nobody was told that it fires.
                (true, None) => {}
                (true, Some(_)) => {
                    self.firing.remove(&alert.labels);
                    tell(alert, None);
                }
                (false, None) => {
                    self.firing.insert(alert.labels.clone(), Told { at: now, alert: alert.clone() });
                    tell(alert, Some(Reason::NewAlerts));
                }
                (false, Some(told)) => {
                    told.alert = alert.clone();
                    if now.since(told.at) >= repeat {
                        told.at = now;
                        tell(alert, Some(Reason::RepeatInterval));
                    }
                }
            }
        }
        // Whoever spoke of these is gone.
        let silent: Vec<Labels> =
            self.firing.iter().filter(|(_, told)| told.alert.is_resolved(now)).map(|(l, _)| l.clone()).collect();
        for labels in silent {
            if let Some(told) = self.firing.remove(&labels) {
                tell(told.alert, None);
            }
        }
        let message = |(name, told): (String, Vec<(Alert, Option<Reason>)>)| {
            let still_fires = self.firing.values().any(|told| told.alert.name() == name);
            let strongest = told.iter().filter_map(|(_, reason)| *reason).max();
            let reason = match strongest {
                Some(Reason::NewAlerts) if !known.contains(&name) => Reason::First,
                Some(Reason::NewAlerts) => Reason::NewAlerts,
                _ if told.iter().any(|(_, reason)| reason.is_none()) => {
                    if still_fires {
                        Reason::SomeResolved
                    } else {
                        Reason::AllResolved
                    }
                }
                _ => Reason::RepeatInterval,
            };
            let mut alerts: Vec<(Alert, bool)> = told.into_iter().map(|(a, reason)| (a, reason.is_some())).collect();
            alerts.sort_by(|(a, _), (b, _)| {
                order(&a.labels).cmp(&order(&b.labels)).then_with(|| a.labels.cmp(&b.labels))
            });
            Message { name, reason, alerts }
        };
        news.into_iter().map(message).collect()
    }

    /// When the next of the firing alerts is over, if nothing more is heard of it.
    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        self.firing.values().map(|told| told.alert.ends_at).min()
    }
}

fn order(labels: &Labels) -> (Option<&str>, Option<&str>) {
    (labels.get("job"), labels.get("instance"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPEAT: Duration = Duration::from_secs(100);

    fn alert(name: &str, instance: &str, ends_at: i64) -> Alert {
        Alert {
            labels: Labels::from_pairs([("alertname", name), ("instance", instance)]),
            annotations: Labels::empty(),
            starts_at: Timestamp(0),
            ends_at: Timestamp(ends_at * 1000),
            generator_url: String::new(),
        }
    }

    /// What is told: `A(first notification): +1 -2`.
    fn told(plan: &mut Plan, now: i64, heard: &[Alert]) -> String {
        let messages = plan.messages(heard.to_vec(), Timestamp(now * 1000), REPEAT);
        let lines: Vec<String> = messages
            .iter()
            .map(|message| {
                let alerts = message.alerts.iter().map(|(alert, fires)| {
                    format!(" {}{}", if *fires { '+' } else { '-' }, alert.labels.get("instance").unwrap())
                });
                format!("{}({}):{}", message.name, message.reason.as_str(), alerts.collect::<String>())
            })
            .collect();
        lines.join("; ")
    }

    #[test]
    fn people_are_told_what_is_new() {
        let plan = &mut Plan::default();
        assert_eq!(told(plan, 0, &[alert("A", "2", 400), alert("A", "1", 400)]), "A(first notification): +1 +2");
        assert_eq!(told(plan, 60, &[alert("A", "1", 460), alert("A", "2", 460)]), "");
        assert_eq!(
            told(plan, 70, &[alert("A", "3", 460), alert("B", "1", 460)]),
            "A(new alerts added): +3; B(first notification): +1"
        );
        assert_eq!(told(plan, 80, &[alert("A", "1", 80), alert("C", "1", 80)]), "A(some alerts resolved): -1");
        assert_eq!(told(plan, 90, &[alert("A", "1", 80)]), "");
        assert_eq!(told(plan, 100, &[alert("A", "2", 500)]), "A(repeat interval elapsed): +2");
        assert_eq!(told(plan, 110, &[alert("A", "2", 110), alert("A", "3", 110)]), "A(all alerts resolved): -2 -3");
        assert_eq!(told(plan, 120, &[alert("A", "1", 500)]), "A(first notification): +1");
    }

    #[test]
    fn an_alert_that_nobody_speaks_of_any_more_is_over_at_its_end() {
        let plan = &mut Plan::default();
        told(plan, 0, &[alert("A", "1", 240)]);
        assert_eq!(plan.next_expiry(), Some(Timestamp(240_000)));
        assert_eq!(told(plan, 239, &[]), "");
        assert_eq!(told(plan, 240, &[]), "A(all alerts resolved): -1");
        assert_eq!(plan.next_expiry(), None);
    }
}
