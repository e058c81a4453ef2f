//! After a restart: since when have alerts been active?
//!
//! `ALERTS_FOR_STATE` holds it. Time that the server was away does not count towards `for`, except that an alert whose
//! time had nearly come waits for the grace period at least, so that recovering targets are not reported.

use std::collections::HashMap;
use std::time::Duration;

use ferula_model::{
    Columns, Labels, METRIC_NAME, Matcher, Queryable, SelectError, SelectHints, TimeRange, Timestamp, is_stale,
};
use tracing::error;

use crate::evaluate::{ALERT_NAME, ALERTS_FOR_STATE};
use crate::group::Group;
use crate::rule::{AlertingRule, Rule};

/// How far back restoration looks, and how soon a restored alert may fire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) outage_tolerance: Duration,
    pub(crate) grace_period: Duration,
}

/// Restores the alerts of a group that are active at `now`. Blocks. Whatever happens, all its rules count as restored
/// afterwards: there is no second try.
pub(crate) fn restore(group: &Group, storage: Option<&dyn Queryable>, patience: Patience, now: Timestamp) {
    for (index, rule) in group.definition.rules.iter().enumerate() {
        let Rule::Alerting(rule) = &**rule else { continue };
        // Waiting for the grace period would make a short `for` longer than it is.
        let stored = match storage.filter(|_| rule.hold >= patience.grace_period) {
            Some(storage) => stored(storage, rule, patience, now).unwrap_or_else(|problem| {
                error!(rule = rule.name, err = %problem, "Failed to restore 'for' state");
                HashMap::new()
            }),
            None => HashMap::new(),
        };
        let mut live = group.live.lock();
        let Some(live) = live.rules.get_mut(index) else { continue };
        for alert in live.alerts.values_mut() {
            if let Some(stored) = stored.get(&alert.labels) {
                alert.active_at = active_at(*stored, rule.hold, patience.grace_period, now);
            }
        }
        live.restored = true;
    }
}

/// The last sample of `ALERTS_FOR_STATE`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stored {
    /// When it was written.
    at: Timestamp,
    /// The alert was active since.
    since: Timestamp,
}

/// Since when an alert counts as active.
fn active_at(stored: Stored, hold: Duration, grace_period: Duration, now: Timestamp) -> Timestamp {
    let down_at = Timestamp(stored.at.0.div_euclid(1000) * 1000);
    let hold_millis = ferula_model::millis(hold);
    let pending_millis = down_at.0.saturating_sub(stored.since.0);
    let remaining_millis = hold_millis.saturating_sub(pending_millis);
    if remaining_millis <= 0 {
        stored.since
    } else if remaining_millis < ferula_model::millis(grace_period) {
        now.saturating_add(grace_period).saturating_sub(hold)
    } else {
        Timestamp(stored.since.0.saturating_add(now.0.saturating_sub(down_at.0)))
    }
}

/// What is stored for a rule, by the labels of its alerts. What ended with a stale marker was not active.
fn stored(
    storage: &dyn Queryable,
    rule: &AlertingRule,
    patience: Patience,
    now: Timestamp,
) -> Result<HashMap<Labels, Stored>, SelectError> {
    let range = TimeRange::new(now.saturating_sub(patience.outage_tolerance), now);
    let mut matchers = vec![Matcher::equal(METRIC_NAME, ALERTS_FOR_STATE), Matcher::equal(ALERT_NAME, &rule.name)];
    // What a template makes of a label is not known here.
    let fixed = rule.labels.iter().filter(|(name, value)| *name != ALERT_NAME && !value.contains("{{"));
    matchers.extend(fixed.map(|(name, value)| Matcher::equal(name, value)));
    let querier = storage.querier(range)?;
    let series = querier.select(&SelectHints::default(), &matchers)?;
    let mut found = HashMap::new();
    let mut columns = Columns::default();
    for index in 0..series.len() {
        series.read(index, range, &mut columns)?;
        if let (Some(at), Some(since)) = (columns.times.last(), columns.values.last())
            && !is_stale(*since)
        {
            let since = Timestamp((*since as i64).saturating_mul(1000));
            found.insert(series.labels(index).without_metric_name(), Stored { at: Timestamp(*at), since });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_the_server_was_away_does_not_count() {
        let minutes = |minutes: i64| Timestamp(minutes * 60_000);
        let hold = Duration::from_mins(30);
        let grace = Duration::from_mins(10);
        for (what, since, written, now, expected) in [
            ("it had fired", 0, 30, 60, 0),
            ("it had just become active", 10, 10, 40, 40),
            ("twenty minutes were left, thirty it was away", 0, 10, 40, 30),
            ("exactly the grace period was left", 0, 20, 50, 30),
            ("less was left: the grace period from now", 0, 25, 40, 20),
        ] {
            let stored = Stored { at: minutes(written), since: minutes(since) };
            assert_eq!(active_at(stored, hold, grace, minutes(now)), minutes(expected), "{what}");
        }
        // Writing is known to the second only.
        let stored = Stored { at: Timestamp(600_999), since: minutes(0) };
        assert_eq!(active_at(stored, hold, grace, minutes(20)), minutes(10));
    }
}
