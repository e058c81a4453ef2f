//! One tick of a group: queries in, samples and transitions out.
//!
//! ```text
//!  rule --query--> samples --record--> series --------------------------.
//!                    '-----sightings--> [state::step] --> ALERTS... ----+--> write: append, end what is gone, commit
//!                                            '--> alerts due --> sinks
//! ```
//!
//! Rules go one after another, and each is committed before the next begins, so that later rules see what earlier ones
//! wrote; where concurrency is allowed, rules that do not depend on each other go together. [`record`] and [`advance`] decide and touch nothing; [`Evaluator`] carries out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ferula_model::{Appendable, Clock, Labels, METRIC_NAME, Timestamp, Value};
use ferula_promql::{Answer, QueryError, Value as Answered, VectorSample};
use thiserror::Error;
use tokio::time::Instant;
use tracing::warn;

use crate::alert::{Alert, AlertSink};
use crate::group::{Group, Live, LiveRule, Templates};
use crate::manager::RuleSettings;
use crate::metrics::RuleMetrics;
use crate::rule::{AlertingRule, Batch, RecordingRule, Rule};
use crate::source::QuerySource;
use crate::state::{ActiveAlert, AlertState, Policy, Sighting, step};
use crate::status::RuleHealth;
use crate::template::{AlertData, Environment, table_link};
use crate::write::{self, Output};

pub(crate) const ALERTS: &str = "ALERTS";
pub(crate) const ALERTS_FOR_STATE: &str = "ALERTS_FOR_STATE";
pub(crate) const ALERT_NAME: &str = "alertname";
const ALERT_STATE: &str = "alertstate";

/// Why an evaluation failed; the words are upstream's.
#[derive(Debug, Error)]
pub(crate) enum EvalError {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error("rule result is not a vector or scalar")]
    NotAVector,
    #[error("vector contains metrics with the same labelset after applying {0} labels")]
    SameLabels(&'static str),
    #[error("exceeded limit of {limit} with {count} {what}")]
    Limit { limit: usize, count: usize, what: &'static str },
}

/// What evaluations work with.
pub(crate) struct Evaluator {
    pub(crate) queries: Arc<dyn QuerySource>,
    pub(crate) appendable: Arc<dyn Appendable>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) sinks: Vec<Arc<dyn AlertSink>>,
    pub(crate) resend_delay: Duration,
    pub(crate) metrics: RuleMetrics,
    /// For rules that are evaluated beside others, over all groups; none: one after another.
    pub(crate) places: Option<Places>,
}

/// A limited number of places.
#[derive(Debug)]
pub(crate) struct Places(AtomicUsize);

impl Places {
    pub(crate) fn new(count: usize) -> Self {
        Self(AtomicUsize::new(count))
    }

    /// A place, if one is free; it is free again when it is dropped.
    fn take(&self) -> Option<Place<'_>> {
        let less = |free: usize| free.checked_sub(1);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).ok().map(|_| Place(&self.0))
    }
}

struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

impl Evaluator {
    /// Evaluates all rules of a group for a slot. Blocks.
    pub(crate) fn tick(&self, group: &Group, slot: Timestamp, settings: &RuleSettings) {
        let began = (self.clock.now(), Instant::now());
        let samples = if self.places.is_none() {
            (0..group.definition.rules.len()).map(|index| self.rule(group, index, slot, settings)).sum()
        } else {
            group.batches.iter().map(|batch| self.batch(group, batch, slot, settings)).sum()
        };
        let ended = std::mem::take(&mut group.live.lock().stale);
        if !ended.is_empty() {
            self.end(&ended, slot.saturating_sub(group.definition.query_offset));
        }
        let mut live = group.live.lock();
        live.last_evaluation = Some(began.0);
        live.evaluation_duration = began.1.elapsed();
        let rules_took = live.rules.iter().map(|rule| rule.evaluation_duration).sum();
        self.metrics.ticked(&group.definition, slot, live.evaluation_duration, rules_took, samples);
    }

    /// Evaluates a batch: each rule on a thread of its own, as long as there is a place for one, or else on this one.
    fn batch(&self, group: &Group, batch: &Batch, slot: Timestamp, settings: &RuleSettings) -> usize {
        std::thread::scope(|scope| {
            let (mut threads, mut samples) = (Vec::new(), 0);
            for index in &batch.rules {
                match self.places.as_ref().filter(|_| batch.parallel).and_then(Places::take) {
                    Some(place) => threads.push(scope.spawn(move || {
                        let _place = place;
                        self.rule(group, *index, slot, settings)
                    })),
                    None => samples += self.rule(group, *index, slot, settings),
                }
            }
            // A thread that panicked has said so already.
            samples + threads.into_iter().filter_map(|thread| thread.join().ok()).sum::<usize>()
        })
    }

    /// Ends series that no rule writes any more.
    pub(crate) fn end(&self, series: &[Labels], at: Timestamp) {
        if let Err(error) = write::end(&*self.appendable, series, at) {
            warn!(err = %error, "Stale sample appending for previous configuration failed");
        }
    }

    /// Evaluates a rule; the number of samples it gave.
    fn rule(&self, group: &Group, index: usize, slot: Timestamp, settings: &RuleSettings) -> usize {
        let (Some(rule), Some(templates)) = (group.definition.rules.get(index), group.templates.get(index)) else {
            return 0;
        };
        let began = (self.clock.now(), Instant::now());
        let at = slot.saturating_sub(group.definition.query_offset);
        let key = group.definition.key();
        self.metrics.evaluations.with([key.as_str()]).inc();
        let output = match &**rule {
            Rule::Recording(rule) => self.recording(rule, at, group.definition.limit),
            Rule::Alerting(rule) => {
                let tick = Tick { slot, at, settings, interval: group.definition.interval };
                self.alerting(rule, templates, &tick, group, index)
            }
        };
        let samples = output.as_ref().map_or(0, Vec::len);
        let outcome = match output {
            Ok(output) => {
                let previous = with_rule(group, index, |live| std::mem::take(&mut live.series));
                let written = write::write(&*self.appendable, output, previous.unwrap_or_default(), at);
                with_rule(group, index, |live| live.series = written.series);
                written.trouble.map_or(Ok(()), |trouble| {
                    if written.lost {
                        self.metrics.failures.with([key.as_str()]).inc();
                    }
                    warn!(file = group.definition.file, group = group.definition.name, name = rule.name(), index,
                        err = %trouble, "Rule sample appending failed");
                    Err(trouble)
                })
            }
            Err(error) => {
                self.metrics.failures.with([key.as_str()]).inc();
                // Whoever cancels queries stops on purpose.
                if !matches!(error, EvalError::Query(QueryError::Canceled { .. })) {
                    warn!(file = group.definition.file, group = group.definition.name, name = rule.name(), index,
                        err = %error, "Evaluating rule failed");
                }
                Err(error.to_string())
            }
        };
        let took = began.1.elapsed();
        self.metrics.evaluated(took);
        with_rule(group, index, |live| {
            live.last_evaluation = Some(began.0);
            live.evaluation_duration = took;
            live.health = if outcome.is_ok() { RuleHealth::Good } else { RuleHealth::Bad };
            live.last_error = outcome.err();
        });
        samples
    }

    fn recording(&self, rule: &RecordingRule, at: Timestamp, limit: usize) -> Result<Vec<Output>, EvalError> {
        record(rule, samples(self.queries.instant(rule.expr.as_str(), at)?)?, limit)
    }

    fn alerting(
        &self,
        rule: &AlertingRule,
        templates: &Templates,
        tick: &Tick<'_>,
        group: &Group,
        index: usize,
    ) -> Result<Vec<Output>, EvalError> {
        let samples = samples(self.queries.instant(rule.expr.as_str(), tick.at)?)?;
        let sightings = self.sightings(rule, templates, samples, tick)?;
        let policy = Policy { hold: rule.hold, keep_firing_for: rule.keep_firing_for };
        let advanced: Option<Result<_, EvalError>> = with_rule(group, index, |live| {
            let alerts = std::mem::take(&mut live.alerts);
            // Beyond the limit all of them are gone, and their times begin anew.
            live.alerts = advance(alerts, sightings, policy, tick.slot, group.definition.limit)?;
            let output = if live.restored { alert_series(live.alerts.values()) } else { Vec::new() };
            let delay = self.resend_delay;
            let due = live.alerts.values_mut().filter(|alert| is_due(alert, tick.slot, delay));
            let until = tick.slot.saturating_add(4 * tick.interval.max(delay));
            let link = || format!("{}{}", tick.settings.external_url, table_link(rule.expr.as_str()));
            let messages: Vec<Alert> = due
                .map(|alert| {
                    alert.last_sent_at = Some(tick.slot);
                    message(alert, until, link())
                })
                .collect();
            Ok((output, messages))
        });
        let (output, messages) = advanced.unwrap_or_else(|| Ok(Default::default()))?;
        if !messages.is_empty() {
            self.sinks.send(messages);
        }
        Ok(output)
    }

    /// What the samples of an alert's query mean.
    fn sightings(
        &self,
        rule: &AlertingRule,
        templates: &Templates,
        samples: Vec<VectorSample>,
        tick: &Tick<'_>,
    ) -> Result<Vec<Sighting>, EvalError> {
        let environment =
            Environment { queries: &*self.queries, at: tick.slot, external_url: &tick.settings.external_url };
        let mut seen = BTreeSet::new();
        let mut sightings = Vec::with_capacity(samples.len());
        for sample in samples {
            let data = AlertData {
                labels: &sample.labels,
                external_labels: &tick.settings.external_labels,
                value: &sample.value,
            };
            let expand = |template: &crate::group::Expansion| {
                self.metrics.expansions.inc();
                let expanded = template.as_ref().map_err(Clone::clone).and_then(|t| t.expand(&data, &environment));
                expanded.unwrap_or_else(|error| {
                    self.metrics.expansion_failures.inc();
                    warn!(alert = rule.name, err = %error, "Expanding alert template failed");
                    error.in_place()
                })
            };
            let mut labels = sample.labels.to_builder();
            labels.remove(METRIC_NAME);
            for (name, template) in &templates.labels {
                labels.set(name, &expand(template));
            }
            labels.set(ALERT_NAME, &rule.name);
            let labels = labels.build();
            if !seen.insert(labels.clone()) {
                return Err(EvalError::SameLabels("alert"));
            }
            let annotations = templates.annotations.iter().map(|(name, template)| (name, expand(template)));
            let annotations = Labels::from_pairs(annotations);
            let value = match sample.value {
                Value::Float(value) => value,
                Value::Histogram(_) => 0.0,
            };
            sightings.push(Sighting { labels, annotations, value });
        }
        Ok(sightings)
    }
}

/// What one evaluation of an alerting rule knows besides the rule.
struct Tick<'a> {
    slot: Timestamp,
    /// When the query looks: the slot less the query offset.
    at: Timestamp,
    settings: &'a RuleSettings,
    interval: Duration,
}

fn with_rule<T>(group: &Group, index: usize, act: impl FnOnce(&mut LiveRule) -> T) -> Option<T> {
    let live: &mut Live = &mut group.live.lock();
    live.rules.get_mut(index).map(act)
}

/// The samples of an answer; a scalar is one without labels.
pub(crate) fn samples(answer: Answer) -> Result<Vec<VectorSample>, EvalError> {
    match answer.value {
        Answered::Vector(samples) => Ok(samples),
        Answered::Scalar { at, value } => {
            Ok(vec![VectorSample { labels: Labels::empty(), at, value: Value::Float(value) }])
        }
        Answered::String { .. } | Answered::Matrix(_) => Err(EvalError::NotAVector),
    }
}

/// The series of a recording rule.
fn record(rule: &RecordingRule, samples: Vec<VectorSample>, limit: usize) -> Result<Vec<Output>, EvalError> {
    let mut seen = BTreeSet::new();
    let mut output = Vec::with_capacity(samples.len());
    for sample in samples {
        let mut labels = sample.labels.to_builder();
        labels.set(METRIC_NAME, &rule.name);
        for (name, value) in &rule.labels {
            labels.set(name, value);
        }
        let labels = labels.build();
        if !seen.insert(labels.clone()) {
            return Err(EvalError::SameLabels("rule"));
        }
        output.push(Output { labels, value: sample.value });
    }
    check_limit(limit, output.len(), "series")?;
    Ok(output)
}

fn check_limit(limit: usize, count: usize, what: &'static str) -> Result<(), EvalError> {
    if limit > 0 && count > limit { Err(EvalError::Limit { limit, count, what }) } else { Ok(()) }
}

/// The alerts after an evaluation.
fn advance(
    mut alerts: BTreeMap<Labels, ActiveAlert>,
    sightings: Vec<Sighting>,
    policy: Policy,
    slot: Timestamp,
    limit: usize,
) -> Result<BTreeMap<Labels, ActiveAlert>, EvalError> {
    let mut next = BTreeMap::new();
    for sighting in sightings {
        let known = alerts.remove(&sighting.labels);
        if let Some(alert) = step(known, Some(sighting), policy, slot) {
            next.insert(alert.labels.clone(), alert);
        }
    }
    for (labels, alert) in alerts {
        if let Some(alert) = step(Some(alert), None, policy, slot) {
            next.insert(labels, alert);
        }
    }
    let active = next.values().filter(|alert| alert.state != AlertState::Inactive).count();
    check_limit(limit, active, "alerts")?;
    Ok(next)
}

/// `ALERTS` and `ALERTS_FOR_STATE` of the alerts that are pending or firing.
fn alert_series<'a>(alerts: impl Iterator<Item = &'a ActiveAlert>) -> Vec<Output> {
    let mut output = Vec::new();
    for alert in alerts.filter(|alert| alert.state != AlertState::Inactive) {
        let mut labels = alert.labels.to_builder();
        labels.set(METRIC_NAME, ALERTS_FOR_STATE);
        let since = alert.active_at.0.div_euclid(1000) as f64;
        output.push(Output { labels: labels.build(), value: Value::Float(since) });
        labels.set(METRIC_NAME, ALERTS).set(ALERT_STATE, alert.state.as_str());
        output.push(Output { labels: labels.build(), value: Value::Float(1.0) });
    }
    output
}

/// Whether an alert must be sent now.
fn is_due(alert: &ActiveAlert, slot: Timestamp, resend_delay: Duration) -> bool {
    if alert.state == AlertState::Pending {
        return false;
    }
    match (alert.last_sent_at, alert.resolved_at) {
        (None, _) => true,
        (Some(sent), Some(resolved)) if resolved > sent => true,
        (Some(sent), _) => sent.saturating_add(resend_delay) < slot,
    }
}

/// The alert as it goes out.
fn message(alert: &ActiveAlert, valid_until: Timestamp, generator_url: String) -> Alert {
    Alert {
        labels: alert.labels.clone(),
        annotations: alert.annotations.clone(),
        starts_at: alert.fired_at.unwrap_or(alert.active_at),
        ends_at: alert.resolved_at.unwrap_or(valid_until),
        generator_url,
    }
}
