//! One test: its time passes, rules are evaluated, alerts and queries are compared.

use std::sync::Arc;
use std::time::Duration;

use ferula_exposition::Registry;
use ferula_model::{ManualClock, Timestamp, format_duration};
use ferula_promql::{Engine, EngineOptions};

use super::compare;
use super::file::{AlertTest, Test, TestFile};
use super::storage::TestStorage;
use crate::evaluate::{Evaluator, samples};
use crate::group::{Definition, Group};
use crate::manager::RuleSettings;
use crate::metrics::RuleMetrics;
use crate::rule::RuleFile;
use crate::source::{EngineSource, QuerySource};
use crate::state::{ActiveAlert, AlertState};

/// Runs a test; what went wrong.
pub(super) fn run(test: &Test, file: &TestFile, rules: &[RuleFile], engine: &EngineOptions) -> Vec<String> {
    let interval = if test.interval.is_zero() { file.evaluation_interval } else { test.interval };
    let storage = match TestStorage::new(&test.input_series, test.start.0, interval) {
        Ok(storage) => Arc::new(storage),
        Err(error) => return vec![error.to_string()],
    };
    let source = Arc::new(EngineSource::new(Arc::new(Engine::new(engine.clone())), storage.clone()));
    let metrics = match RuleMetrics::register(&Registry::new()) {
        Ok(metrics) => metrics,
        Err(error) => return vec![error.to_string()],
    };
    let clock = Arc::new(ManualClock::at(test.start.0));
    let evaluator = Evaluator {
        queries: source.clone(),
        appendable: storage.clone(),
        clock: clock.clone(),
        sinks: Vec::new(),
        resend_delay: Duration::ZERO,
        metrics,
        places: None,
    };
    let settings = RuleSettings {
        interval: file.evaluation_interval,
        external_labels: test.external_labels.clone(),
        external_url: test.external_url.clone(),
        ..RuleSettings::default()
    };
    let groups = groups(file, rules, &settings);
    let mut failures = Vec::new();
    let last = last_moment(test);
    let mut at = Duration::ZERO;
    while at <= last {
        let moment = test.start.0.saturating_add(at);
        clock.set(moment);
        storage.come_to(moment);
        for group in &groups {
            evaluator.tick(group, moment, &settings);
        }
        let errors = rule_errors(&groups, moment);
        if !errors.is_empty() {
            return errors;
        }
        let next = at + file.evaluation_interval;
        let due = test.alert_tests.iter().filter(|check| at <= check.eval_time && check.eval_time < next);
        failures.extend(due.filter_map(|check| alert_failure(test, check, &groups)));
        at = next;
    }
    storage.come_to(test.start.0.saturating_add(last));
    failures.extend(expr_failures(test, file.fuzzy_compare, &source));
    failures
}

/// All groups in the order of their evaluation: those that the file does not name come with the first that it names.
fn groups(file: &TestFile, rules: &[RuleFile], settings: &RuleSettings) -> Vec<Group> {
    let of_files = rules.iter().flat_map(|file| file.groups.iter().map(|group| (file.name.as_str(), group.clone())));
    let mut groups: Vec<Group> =
        of_files.map(|(name, group)| Group::new(Definition::new(name, group, settings), true)).collect();
    let rank = |group: &Group| file.group_eval_order.iter().position(|name| *name == group.definition.name);
    groups.sort_by_key(|group| rank(group).unwrap_or(0));
    groups
}

fn last_moment(test: &Test) -> Duration {
    let alerts = test.alert_tests.iter().map(|check| check.eval_time);
    alerts.chain(test.expr_tests.iter().map(|check| check.eval_time)).max().unwrap_or_default()
}

fn rule_errors(groups: &[Group], moment: Timestamp) -> Vec<String> {
    let since_epoch = format_duration(moment.since(Timestamp(0)));
    let rules = groups.iter().flat_map(|group| group.status().rules);
    let failed = rules.filter_map(|rule| rule.last_error.map(|error| (rule.rule.name().to_owned(), error)));
    failed.map(|(name, error)| format!("    rule: {name}, time: {since_epoch}, err: {error}")).collect()
}

fn alert_failure(test: &Test, check: &AlertTest, groups: &[Group]) -> Option<String> {
    let rules = groups.iter().flat_map(|group| group.status().rules);
    let of_name = rules.filter(|rule| rule.rule.name() == check.alertname);
    let firing = of_name.flat_map(|rule| rule.alerts).filter(|alert| alert.state == AlertState::Firing);
    let problem = compare::alerts(check, &firing.collect::<Vec<ActiveAlert>>())?;
    let name = if test.name.is_empty() { String::new() } else { format!("    name: {},\n", test.name) };
    let time = format_duration(check.eval_time);
    Some(format!("{name}    alertname: {}, time: {time}, \n{problem}", check.alertname))
}

fn expr_failures(test: &Test, fuzzy: bool, source: &EngineSource) -> Vec<String> {
    let mut failures = Vec::new();
    for check in &test.expr_tests {
        let at = test.start.0.saturating_add(check.eval_time);
        let head =
            format!("    expr: {}, time: {},", ferula_model::go_quote(&check.expr), format_duration(check.eval_time));
        let answer = source.instant(&check.expr, at).map_err(|error| error.to_string());
        match answer.and_then(|answer| samples(answer).map_err(|error| error.to_string())) {
            Err(error) => failures.push(format!("{head} err: {error}")),
            Ok(got) => {
                failures.extend(compare::samples(&check.exp_samples, &got, fuzzy).map(|problem| {
                    let space = if problem.starts_with('\n') { "" } else { " " };
                    format!("{head}{space}{problem}")
                }));
            }
        }
    }
    failures
}
