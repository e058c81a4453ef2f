//! Which rules of a group read what others write?
//!
//! A rule depends on an earlier one if one of its selectors may name what that writes: the metric of a recording rule, or
//! `ALERTS` and `ALERTS_FOR_STATE` of an alerting rule (3.14). A selector that names no metric may read anything; then
//! nothing is known about the whole group.

use ferula_model::{METRIC_NAME, Matcher};
use ferula_promql::syntax::Expr;

use super::Rule;
use crate::evaluate::{ALERT_NAME, ALERTS, ALERTS_FOR_STATE};

/// What may be evaluated at the same time: batches one after another, each of which may run in parallel or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Rules by index, rising.
    pub(crate) rules: Vec<usize>,
    pub(crate) parallel: bool,
}

/// The batches of a group: first what depends on nothing, then what has both, in order, then what nothing depends on.
pub(crate) fn batches(rules: &[&Rule]) -> Vec<Batch> {
    let in_order = |rules: Vec<usize>| Batch { rules, parallel: false };
    let Some(depends_on) = dependencies(rules) else { return vec![in_order((0..rules.len()).collect())] };
    let is_needed = |index: usize| depends_on.iter().any(|needs| needs.contains(&index));
    let (mut free, mut both, mut last) = (Vec::new(), Vec::new(), Vec::new());
    for (index, needs) in depends_on.iter().enumerate() {
        match (needs.is_empty(), is_needed(index)) {
            (true, _) => free.push(index),
            (false, true) => both.push(index),
            (false, false) => last.push(index),
        }
    }
    let parallel = |rules: Vec<usize>| Batch { rules, parallel: true };
    [parallel(free), in_order(both), parallel(last)].into_iter().filter(|batch| !batch.rules.is_empty()).collect()
}

/// For each rule, the earlier ones that it depends on; `None` if that cannot be known.
fn dependencies(rules: &[&Rule]) -> Option<Vec<Vec<usize>>> {
    let mut all = Vec::with_capacity(rules.len());
    for (index, rule) in rules.iter().enumerate() {
        let mut needs = Vec::new();
        for selector in selectors(rule.expr().expr()) {
            if !selector.iter().any(|matcher| matcher.name == METRIC_NAME) {
                return None;
            }
            let earlier = rules.iter().enumerate().take(index);
            needs.extend(earlier.filter(|(_, rule)| may_read(selector, rule)).map(|(earlier, _)| earlier));
        }
        all.push(needs);
    }
    Some(all)
}

fn may_read(selector: &[Matcher], rule: &Rule) -> bool {
    let accepts = |label: &str, value: &str| {
        selector.iter().filter(|matcher| matcher.name == label).all(|matcher| matcher.matches(value))
    };
    match rule {
        Rule::Recording(rule) => accepts(METRIC_NAME, &rule.name),
        Rule::Alerting(rule) => {
            (accepts(METRIC_NAME, ALERTS) || accepts(METRIC_NAME, ALERTS_FOR_STATE)) && accepts(ALERT_NAME, &rule.name)
        }
    }
}

/// The matchers of every selector in an expression.
fn selectors(expr: &Expr) -> Vec<&[Matcher]> {
    let own: Option<&[Matcher]> = match expr {
        Expr::Selector(selector) => Some(&selector.matchers),
        Expr::Matrix(matrix) => Some(&matrix.selector.matchers),
        _ => None,
    };
    let children = expr.children().into_iter().flat_map(selectors);
    own.into_iter().chain(children).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{AlertingRule, RecordingRule};

    /// Rules such as `a = b + c` and `!Alert = x`; batches such as `|0 1` (parallel) and `>2` (in order).
    fn planned(rules: &[&str]) -> String {
        let rules: Vec<Rule> = rules
            .iter()
            .map(|rule| {
                let (name, expr) = rule.split_once(" = ").unwrap();
                match name.strip_prefix('!') {
                    Some(alert) => AlertingRule::new(alert, expr).unwrap().into(),
                    None => RecordingRule::new(name, expr).unwrap().into(),
                }
            })
            .collect();
        let batches = batches(&rules.iter().collect::<Vec<_>>());
        let shown = batches.iter().map(|batch| {
            let rules: Vec<String> = batch.rules.iter().map(usize::to_string).collect();
            format!("{}{}", if batch.parallel { '|' } else { '>' }, rules.join(" "))
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn batches_follow_from_who_reads_what() {
        for (rules, expected) in [
            (&["a = x", "b = y"][..], "|0 1"),
            (&["a = x", "b = rate(a[5m])"], "|0 |1"),
            (&["a = x", "b = a", "c = b", "d = b"], "|0 >1 |2 3"),
            (&["a = b", "b = x"], "|0 1"),
            (&["a = x", "b = {job=\"y\"}"], ">0 1"),
            (&["a = x", "b = {__name__=~\"a|z\"}", "c = {__name__=~\"q.*\"}"], "|0 2 |1"),
            (&["!A = x", "b = ALERTS"], "|0 |1"),
            (&["!A = x", "b = ALERTS{alertname=\"B\"}", "c = ALERTS_FOR_STATE{alertname=~\"A|B\"}"], "|0 1 |2"),
            (&["a = x", "!B = sum(a) > 1 unless max_over_time(y[1h:1m])"], "|0 |1"),
        ] {
            assert_eq!(planned(rules), expected, "{rules:?}");
        }
    }
}
