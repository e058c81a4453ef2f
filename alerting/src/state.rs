//! The life of an alert: inactive, pending, firing, and firing on after its sample is gone.
//!
//! ```text
//!             sample            held long enough
//!  (nothing) --------> pending -----------------> firing --no sample--> [keeps firing] --> inactive --15 min--> (nothing)
//!      ^                  |  ^                       |                                        |
//!      '----no sample-----'  '---- `for` was raised -'                 a sample: a new alert -'
//! ```
//!
//! [`step`] is all of it: what there was, whether a sample is there now, the rule's times and the moment give what there
//! is next. Nothing else changes an alert, except that sending stamps it and restoration moves `active_at`.

use std::time::Duration;

use ferula_model::{Labels, Timestamp};

/// As upstream: so long a resolved alert is kept, to be sent again in case a message was lost.
const RESOLVED_RETENTION: Duration = Duration::from_mins(15);

/// Where an alert is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertState {
    /// Resolved.
    Inactive,
    /// Its sample is there, but not long enough.
    Pending,
    /// It fires.
    Firing,
}

impl AlertState {
    /// The word for it in labels and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            AlertState::Inactive => "inactive",
            AlertState::Pending => "pending",
            AlertState::Firing => "firing",
        }
    }
}

/// What a rule knows of one alert.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveAlert {
    /// What identifies it.
    pub labels: Labels,
    /// Annotations of the last evaluation that saw its sample.
    pub annotations: Labels,
    /// The sample's value then; 0 for a histogram.
    pub value: f64,
    /// Where it is in its life.
    pub state: AlertState,
    /// Since when its sample is there.
    pub active_at: Timestamp,
    /// Since when it fires.
    pub fired_at: Option<Timestamp>,
    /// When it was resolved.
    pub resolved_at: Option<Timestamp>,
    /// Since when it fires without a sample.
    pub keep_firing_since: Option<Timestamp>,
    /// When it was last sent.
    pub last_sent_at: Option<Timestamp>,
}

/// A sample of an alert's query, with what it means to people.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sighting {
    pub(crate) labels: Labels,
    pub(crate) annotations: Labels,
    pub(crate) value: f64,
}

/// A rule's times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) hold: Duration,
    pub(crate) keep_firing_for: Duration,
}

/// What becomes of an alert in one evaluation.
pub(crate) fn step(
    alert: Option<ActiveAlert>,
    seen: Option<Sighting>,
    policy: Policy,
    at: Timestamp,
) -> Option<ActiveAlert> {
    match seen {
        Some(sighting) => Some(present(alert, sighting, policy, at)),
        None => absent(alert?, policy, at),
    }
}

fn present(alert: Option<ActiveAlert>, seen: Sighting, policy: Policy, at: Timestamp) -> ActiveAlert {
    let mut alert = match alert.filter(|alert| alert.state != AlertState::Inactive) {
        Some(known) => ActiveAlert { annotations: seen.annotations, value: seen.value, ..known },
        None => ActiveAlert {
            labels: seen.labels,
            annotations: seen.annotations,
            value: seen.value,
            state: AlertState::Pending,
            active_at: at,
            fired_at: None,
            resolved_at: None,
            keep_firing_since: None,
            last_sent_at: None,
        },
    };
    alert.keep_firing_since = None;
    // `since` would call a moment that restoration has moved into the future "now".
    let held = at >= alert.active_at && at.since(alert.active_at) >= policy.hold;
    match (alert.state, held) {
        (AlertState::Pending, true) => {
            alert.state = AlertState::Firing;
            alert.fired_at = Some(at);
        }
        (AlertState::Firing, false) => {
            alert.state = AlertState::Pending;
            alert.fired_at = None;
            alert.last_sent_at = None;
        }
        _ => {}
    }
    alert
}

fn absent(mut alert: ActiveAlert, policy: Policy, at: Timestamp) -> Option<ActiveAlert> {
    match alert.state {
        AlertState::Pending => None,
        AlertState::Firing => {
            if !policy.keep_firing_for.is_zero() {
                let since = *alert.keep_firing_since.get_or_insert(at);
                if at.since(since) < policy.keep_firing_for {
                    return Some(alert);
                }
            }
            alert.state = AlertState::Inactive;
            alert.resolved_at = Some(at);
            Some(alert)
        }
        AlertState::Inactive => {
            let resolved_at = alert.resolved_at.unwrap_or(at);
            (at.since(resolved_at) <= RESOLVED_RETENTION).then_some(alert)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Policy = Policy { hold: Duration::from_secs(20), keep_firing_for: Duration::ZERO };
    const AT_ONCE: Policy = Policy { hold: Duration::ZERO, keep_firing_for: Duration::ZERO };
    const KEEP: Policy = Policy { hold: Duration::ZERO, keep_firing_for: Duration::from_secs(25) };

    fn seen(value: f64) -> Option<Sighting> {
        let annotations = Labels::from_pairs([("value", value.to_string())]);
        Some(Sighting { labels: Labels::from_pairs([("alertname", "A")]), annotations, value })
    }

    /// What the alert looks like after each tick of ten seconds: `-` nothing, `p` pending, `F` firing, `k` firing on,
    /// `r` resolved; a capital is followed by the value.
    fn life(policy: Policy, samples: &str) -> String {
        let mut alert = None;
        let mut life = String::new();
        for (tick, sample) in samples.chars().enumerate() {
            let sample = sample.to_digit(10).and_then(|value| seen(f64::from(value)));
            alert = step(alert, sample, policy, Timestamp(tick as i64 * 10_000));
            life.push(match &alert {
                None => '-',
                Some(alert) => match (alert.state, alert.keep_firing_since) {
                    (AlertState::Pending, _) => 'p',
                    (AlertState::Firing, None) => 'F',
                    (AlertState::Firing, Some(_)) => 'k',
                    (AlertState::Inactive, _) => 'r',
                },
            });
        }
        life
    }

    #[test]
    fn lives_of_alerts() {
        for (policy, samples, expected) in [
            (AT_ONCE, "..1.", "--Fr"),
            (HOLD, "1111", "ppFF"),
            (HOLD, "11.1111", "pp-ppFF"),
            (HOLD, "111.111", "ppFrppF"),
            (KEEP, "1....", "Fkkkr"),
            (KEEP, "1..1....", "FkkFkkkr"),
            (KEEP, ".1....1", "-FkkkrF"),
        ] {
            assert_eq!(life(policy, samples), expected, "{samples}");
        }
    }

    #[test]
    fn a_resolved_alert_is_kept_for_fifteen_minutes() {
        let samples = format!("1{}", ".".repeat(93));
        let expected = format!("F{}--", "r".repeat(91));
        assert_eq!(life(AT_ONCE, &samples), expected);
    }

    #[test]
    fn value_and_annotations_follow_the_sample_and_stay_without_one() {
        let alert = step(None, seen(1.0), KEEP, Timestamp(0));
        let alert = step(alert, seen(2.0), KEEP, Timestamp(1_000));
        let alert = step(alert, None, KEEP, Timestamp(2_000)).unwrap();
        assert_eq!((alert.value, alert.annotations.get("value")), (2.0, Some("2")));
        assert_eq!((alert.active_at, alert.fired_at), (Timestamp(0), Some(Timestamp(0))));
        assert_eq!(alert.keep_firing_since, Some(Timestamp(2_000)));
    }

    #[test]
    fn a_raised_hold_or_a_restored_beginning_takes_firing_back() {
        let firing =
            ActiveAlert { last_sent_at: Some(Timestamp(0)), ..step(None, seen(1.0), AT_ONCE, Timestamp(0)).unwrap() };
        let raised = step(Some(firing.clone()), seen(1.0), HOLD, Timestamp(10_000)).unwrap();
        assert_eq!((raised.state, raised.fired_at, raised.last_sent_at), (AlertState::Pending, None, None));
        let ahead = ActiveAlert { active_at: Timestamp(90_000), ..firing };
        assert_eq!(step(Some(ahead), seen(1.0), AT_ONCE, Timestamp(10_000)).unwrap().state, AlertState::Pending);
    }

    #[test]
    fn an_alert_that_comes_again_begins_anew() {
        let fired = step(None, seen(1.0), AT_ONCE, Timestamp(0));
        let resolved = step(fired, None, AT_ONCE, Timestamp(10_000));
        assert_eq!(resolved.as_ref().unwrap().resolved_at, Some(Timestamp(10_000)));
        let again = step(resolved, seen(3.0), AT_ONCE, Timestamp(20_000)).unwrap();
        assert_eq!((again.active_at, again.resolved_at, again.last_sent_at), (Timestamp(20_000), None, None));
    }
}
