//! A group: its definition, what it knows at the moment, and how both go over to its successor.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ferula_model::{Labels, SeriesRef, Timestamp};
use parking_lot::Mutex;

use crate::manager::RuleSettings;
use crate::rule::{Batch, Rule, RuleGroup, Texts, batches};
use crate::state::{ActiveAlert, AlertState};
use crate::status::{GroupStatus, RuleHealth, RuleStatus};
use crate::template::Template;

/// What a group is: two that are equal need not take turns.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Definition {
    pub(crate) file: String,
    pub(crate) name: String,
    pub(crate) interval: Duration,
    pub(crate) query_offset: Duration,
    pub(crate) limit: usize,
    pub(crate) rules: Vec<Arc<Rule>>,
}

impl Definition {
    pub(crate) fn new(file: &str, group: RuleGroup, settings: &RuleSettings) -> Self {
        let labels = group.labels;
        Self {
            file: file.to_owned(),
            name: group.name,
            interval: group.interval.unwrap_or(settings.interval),
            query_offset: group.query_offset.unwrap_or(settings.query_offset),
            limit: group.limit,
            rules: group.rules.into_iter().map(|rule| Arc::new(rule.with_group_labels(&labels))).collect(),
        }
    }

    /// What identifies it among all groups, and in metrics.
    pub(crate) fn key(&self) -> String {
        format!("{};{}", self.file, self.name)
    }
}

/// A group that is evaluated.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) definition: Definition,
    /// The templates of each alerting rule.
    pub(crate) templates: Vec<Templates>,
    /// Which rules may be evaluated at the same time.
    pub(crate) batches: Vec<Batch>,
    pub(crate) live: Mutex<Live>,
}

/// The templates of a rule's labels and annotations, by name. A recording rule has none.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    pub(crate) labels: Vec<(String, Expansion)>,
    pub(crate) annotations: Vec<(String, Expansion)>,
}

/// A template, or what stands in its place if it does not parse: rules that were built in code are not checked elsewhere.
pub(crate) type Expansion = Result<Template, crate::template::TemplateError>;

impl Templates {
    fn of(rule: &Rule) -> Self {
        let Rule::Alerting(rule) = rule else { return Self::default() };
        let compile = |texts: &Texts| -> Vec<(String, Expansion)> {
            texts.iter().map(|(name, text)| (name.clone(), Template::of_alert(&rule.name, text))).collect()
        };
        Self { labels: compile(&rule.labels), annotations: compile(&rule.annotations) }
    }
}

/// What a group knows at the moment.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pub(crate) last_evaluation: Option<Timestamp>,
    pub(crate) evaluation_duration: Duration,
    pub(crate) rules: Vec<LiveRule>,
    /// Series of rules that are gone, which the next evaluation ends.
    pub(crate) stale: Vec<Labels>,
}

/// What a rule knows at the moment.
#[derive(Debug, Default)]
pub(crate) struct LiveRule {
    pub(crate) health: RuleHealth,
    pub(crate) last_error: Option<String>,
    pub(crate) last_evaluation: Option<Timestamp>,
    pub(crate) evaluation_duration: Duration,
    pub(crate) alerts: BTreeMap<Labels, ActiveAlert>,
    /// The series that its last good evaluation wrote.
    pub(crate) series: Written,
    /// Whether `for` is restored, or need not be: only then are `ALERTS` written.
    pub(crate) restored: bool,
}

/// Series with what their storage calls them.
pub(crate) type Written = HashMap<Labels, SeriesRef>;

impl Group {
    /// A group that has not been evaluated. `restored`: its alerts begin anew in any case.
    pub(crate) fn new(definition: Definition, restored: bool) -> Self {
        let rules = definition.rules.iter().map(|_| LiveRule { restored, ..LiveRule::default() }).collect();
        let templates = definition.rules.iter().map(|rule| Templates::of(rule)).collect();
        let batches = batches(&definition.rules.iter().map(|rule| &**rule).collect::<Vec<_>>());
        Self { definition, templates, batches, live: Mutex::new(Live { rules, ..Live::default() }) }
    }

    /// Takes over the state of the group that it replaces. Rules are matched by name and labels, the nth of equals with
    /// the nth; the series of rules without a match are ended by the next evaluation.
    pub(crate) fn inherit(&self, from: &Group) {
        let mut old = std::mem::take(&mut *from.live.lock());
        let mut by_identity: HashMap<(&str, &Texts), VecDeque<usize>> = HashMap::new();
        for (index, rule) in from.definition.rules.iter().enumerate() {
            by_identity.entry((rule.name(), rule.labels())).or_default().push_back(index);
        }
        let mut live = self.live.lock();
        live.last_evaluation = old.last_evaluation;
        live.evaluation_duration = old.evaluation_duration;
        live.stale = std::mem::take(&mut old.stale);
        for (index, rule) in self.definition.rules.iter().enumerate() {
            let twins = by_identity.get_mut(&(rule.name(), rule.labels()));
            let Some(twin) = twins.and_then(VecDeque::pop_front).and_then(|twin| old.rules.get_mut(twin)) else {
                continue;
            };
            let Some(rule) = live.rules.get_mut(index) else { continue };
            rule.series = std::mem::take(&mut twin.series);
            rule.alerts = std::mem::take(&mut twin.alerts);
        }
        live.stale.extend(old.rules.into_iter().flat_map(|rule| rule.series.into_keys()));
    }

    /// Every series that it has written and not ended; it forgets them.
    pub(crate) fn take_series(&self) -> Vec<Labels> {
        let mut live = self.live.lock();
        let mut series = std::mem::take(&mut live.stale);
        for rule in &mut live.rules {
            series.extend(std::mem::take(&mut rule.series).into_keys());
        }
        series
    }

    pub(crate) fn status(&self) -> GroupStatus {
        let live = self.live.lock();
        let rules = self.definition.rules.iter().zip(&live.rules);
        GroupStatus {
            file: self.definition.file.clone(),
            name: self.definition.name.clone(),
            interval: self.definition.interval,
            query_offset: self.definition.query_offset,
            limit: self.definition.limit,
            last_evaluation: live.last_evaluation,
            evaluation_duration: live.evaluation_duration,
            rules: rules
                .map(|(rule, live)| RuleStatus {
                    rule: Arc::clone(rule),
                    health: live.health,
                    last_error: live.last_error.clone(),
                    last_evaluation: live.last_evaluation,
                    evaluation_duration: live.evaluation_duration,
                    alerts: live.alerts.values().filter(|a| a.state != AlertState::Inactive).cloned().collect(),
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::RecordingRule;

    fn group(rules: &[(&str, &str)]) -> Group {
        let mut group = RuleGroup::new("g");
        for (name, label) in rules {
            group = group.rule(RecordingRule::new(*name, "up").unwrap().label("l", label).unwrap());
        }
        Group::new(Definition::new("f", group, &RuleSettings::default()), true)
    }

    fn writes(group: &Group, rule: usize, series: &str) {
        let labels = Labels::from_pairs([("series", series)]);
        group.live.lock().rules[rule].series.insert(labels, SeriesRef(0));
    }

    fn written(group: &Group, rule: usize) -> Vec<String> {
        group.live.lock().rules[rule].series.keys().map(|s| s.get("series").unwrap().to_owned()).collect()
    }

    #[test]
    fn state_goes_to_the_nth_rule_of_the_same_name_and_labels_and_the_rest_is_ended() {
        let old = group(&[("a", "1"), ("a", "1"), ("b", "1"), ("c", "1"), ("a", "1")]);
        for (rule, series) in ["first", "second", "of b", "of c", "third"].iter().enumerate() {
            writes(&old, rule, series);
        }
        let new = group(&[("b", "1"), ("a", "1"), ("c", "2"), ("a", "1")]);
        new.inherit(&old);
        assert_eq!(written(&new, 0), ["of b"]);
        assert_eq!(written(&new, 1), ["first"]);
        assert!(written(&new, 2).is_empty());
        assert_eq!(written(&new, 3), ["second"]);
        let mut stale: Vec<_> = new.live.lock().stale.iter().map(|s| s.get("series").unwrap().to_owned()).collect();
        stale.sort();
        assert_eq!(stale, ["of c", "third"]);
    }
}
