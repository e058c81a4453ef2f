//! Metrics of rules, under Prometheus' own names.

use std::time::Duration;

use ferula_exposition::Registry;
use ferula_exposition::registry::{Counter, DEFAULT_BUCKETS, Family, Gauge, Histogram, RegisterError};
use ferula_model::Timestamp;

use crate::group::Definition;
use crate::quantiles::Quantiles;

/// What evaluations count.
#[derive(Clone, Debug)]
pub(crate) struct RuleMetrics {
    pub(crate) evaluations: Family<Counter, 1>,
    pub(crate) failures: Family<Counter, 1>,
    pub(crate) iterations: Family<Counter, 1>,
    pub(crate) iterations_missed: Family<Counter, 1>,
    pub(crate) expansions: Counter,
    pub(crate) expansion_failures: Counter,
    evaluation_duration: Quantiles,
    evaluation_duration_histogram: Histogram,
    group_duration: Quantiles,
    group_duration_histogram: Histogram,
    interval: Family<Gauge, 1>,
    last_evaluation: Family<Gauge, 1>,
    last_duration: Family<Gauge, 1>,
    last_rule_duration_sum: Family<Gauge, 1>,
    last_restore_duration: Family<Gauge, 1>,
    rules: Family<Gauge, 1>,
    last_samples: Family<Gauge, 1>,
}

impl RuleMetrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, RegisterError> {
        let name = |suffix: &str| format!("prometheus_rule_{suffix}");
        let counters = |suffix: &str, help: &str| registry.counter_family(&name(suffix), help, ["rule_group"]);
        let gauges = |suffix: &str, help: &str| registry.gauge_family(&name(suffix), help, ["rule_group"]);
        let histogram = |suffix: &str, help: &'static str| registry.histogram(&name(suffix), help, &DEFAULT_BUCKETS);
        let rule_took = "How long rules took to be evaluated.";
        let group_took = "How long groups took to be evaluated.";
        Ok(Self {
            evaluations: counters("evaluations_total", "Evaluations of rules.")?,
            failures: counters("evaluation_failures_total", "Evaluations of rules that failed.")?,
            iterations: counters("group_iterations_total", "Evaluations of groups that were due.")?,
            iterations_missed: counters(
                "group_iterations_missed_total",
                "Evaluations of groups that were left out because the one before took too long.",
            )?,
            expansions: registry
                .counter("prometheus_template_text_expansions_total", "Templates that were expanded.")?,
            expansion_failures: registry.counter(
                "prometheus_template_text_expansion_failures_total",
                "Templates that could not be expanded.",
            )?,
            evaluation_duration: Quantiles::register(registry, &name("evaluation_duration_seconds"), rule_took, ""),
            evaluation_duration_histogram: histogram("evaluation_duration_histogram_seconds", rule_took)?,
            group_duration: Quantiles::register(registry, &name("group_duration_seconds"), group_took, ""),
            group_duration_histogram: histogram("group_duration_histogram_seconds", group_took)?,
            interval: gauges("group_interval_seconds", "How often a group is evaluated.")?,
            last_evaluation: gauges(
                "group_last_evaluation_timestamp_seconds",
                "For when a group was last evaluated, in seconds since the epoch.",
            )?,
            last_duration: gauges("group_last_duration_seconds", "How long the last evaluation of a group took.")?,
            last_rule_duration_sum: gauges(
                "group_last_rule_duration_sum_seconds",
                "How long the last evaluations of the rules of a group took in all.",
            )?,
            last_restore_duration: gauges(
                "group_last_restore_duration_seconds",
                "How long it took to restore the alerts of a group.",
            )?,
            rules: gauges("group_rules", "Rules in a group.")?,
            last_samples: gauges("group_last_evaluation_samples", "Samples of the last evaluation of a group.")?,
        })
    }

    /// A group begins.
    pub(crate) fn group(&self, group: &Definition) {
        let key = group.key();
        let label = [key.as_str()];
        self.interval.with(label).set(group.interval.as_secs_f64());
        self.rules.with(label).set(group.rules.len() as f64);
        self.last_evaluation.with(label);
        self.last_duration.with(label);
        self.last_rule_duration_sum.with(label);
        self.last_restore_duration.with(label);
        self.last_samples.with(label);
        self.evaluations.with(label);
        self.failures.with(label);
        self.iterations.with(label);
        self.iterations_missed.with(label);
    }

    /// A rule was evaluated.
    pub(crate) fn evaluated(&self, took: Duration) {
        self.evaluation_duration.observe("", took.as_secs_f64());
        self.evaluation_duration_histogram.observe_duration(took);
    }

    /// A group was evaluated.
    pub(crate) fn ticked(&self, group: &Definition, slot: Timestamp, took: Duration, rules: Duration, samples: usize) {
        let key = group.key();
        let label = [key.as_str()];
        self.group_duration.observe("", took.as_secs_f64());
        self.group_duration_histogram.observe_duration(took);
        self.last_evaluation.with(label).set(slot.as_secs_f64());
        self.last_duration.with(label).set(took.as_secs_f64());
        self.last_rule_duration_sum.with(label).set(rules.as_secs_f64());
        self.last_samples.with(label).set(samples as f64);
    }

    /// The alerts of a group were restored.
    pub(crate) fn restored(&self, group: &Definition, took: Duration) {
        self.last_restore_duration.with([group.key().as_str()]).set(took.as_secs_f64());
    }

    /// Forgets what belongs to a group.
    pub(crate) fn forget(&self, group: &Definition) {
        let key = group.key();
        let label = [key.as_str()];
        for family in [&self.evaluations, &self.failures, &self.iterations, &self.iterations_missed] {
            family.remove(label);
        }
        for family in [
            &self.interval,
            &self.last_evaluation,
            &self.last_duration,
            &self.last_rule_duration_sum,
            &self.last_restore_duration,
            &self.rules,
            &self.last_samples,
        ] {
            family.remove(label);
        }
    }
}
