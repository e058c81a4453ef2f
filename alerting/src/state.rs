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
            let since = *alert.keep_firing_since.get_or_insert(at);
            if at.since(since) < policy.keep_firing_for {
                return Some(alert);
            }
            if policy.keep_firing_for.is_zero() {
                alert.keep_firing_since = None;
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
