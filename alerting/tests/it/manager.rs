//! Rules over time, on a clock that is moved.

use std::sync::Arc;
use std::time::Duration;

use ferula_alerting::{AlertState, RuleHealth, Rules};
use ferula_model::{Clock as _, Timestamp};

use super::bed::{Bed, Store, TokioClock, pass, settings};

#[tokio::test(start_paused = true)]
async fn later_rules_see_what_earlier_ones_wrote_in_the_same_slot() {
    let bed = Bed::new();
    bed.set(&[("__name__", "x"), ("job", "a")], 1.0);
    bed.apply(
        "groups: [{name: g, rules: [{record: 'twice', expr: x * 2, labels: {job: '', by: rule}}, {record: more, expr: twice + 1}]}]",
    )
    .await;
    assert_eq!(bed.group().rules[0].health, RuleHealth::Unknown);
    pass(25).await;
    bed.set(&[("__name__", "x"), ("job", "a")], 5.0);
    pass(10).await;
    assert_eq!(bed.store.course("twice"), "2@0 2@10 10@20");
    assert_eq!(bed.store.course("more"), "3@0 3@10 11@20");
    assert!(bed.store.written("twice")[0].starts_with(r#"{by="rule"} 2 @"#), "{:?}", bed.store.written("twice"));
    let group = bed.group();
    assert_eq!((group.rules[0].health, group.rules[0].last_error.as_deref()), (RuleHealth::Good, None));
    assert!(group.last_evaluation.is_some());
    assert_eq!(bed.metric("prometheus_rule_evaluations_total{rule_group=\"rules.yml;g\"}"), 6.0);
    assert_eq!(bed.metric("prometheus_rule_group_last_evaluation_samples{rule_group=\"rules.yml;g\"}"), 2.0);
    assert_eq!(bed.metric("prometheus_rule_group_rules{rule_group=\"rules.yml;g\"}"), 2.0);
    bed.manager.stop().await;
}

#[tokio::test(start_paused = true)]
async fn slots_are_fixed_moments_and_the_offset_moves_query_and_samples() {
    let bed = Bed::new();
    bed.apply("groups: [{name: g, query_offset: 3s, rules: [{record: at, expr: time()}]}]").await;
    pass(30).await;
    let written = bed.store.written("at");
    assert_eq!(written.len(), 3, "{written:?}");
    for line in &written {
        // The query looks from where its sample is put.
        let (value, at) = line.strip_prefix("{} ").unwrap().split_once(" @").unwrap();
        assert_eq!(value, at);
    }
    let hash = ferula_model::Labels::from_pairs([("file", "rules.yml"), ("name", "g")]).hash64();
    let offset = (hash % 10_000_000_000) / 1_000_000;
    let first = (written[0].rsplit_once('@').unwrap().1.parse::<f64>().unwrap() * 1000.0) as u64 + 3_000;
    assert_eq!(first % 10_000, offset);
}

const DOWN: &str = "
groups:
- name: g
  rules:
  - alert: Down
    expr: up == 0
    for: 20s
    labels: {severity: '{{ if eq $labels.job \"a\" }}page{{ end }}', kind: down}
    annotations: {summary: '{{ $labels.job }} is at {{ $value }} in {{ $externalLabels.cluster }}'}
";

#[tokio::test(start_paused = true)]
async fn an_alert_is_pending_fires_is_sent_again_and_is_resolved() {
    let bed = Bed::new();
    let up = |value| bed.set(&[("__name__", "up"), ("job", "a")], value);
    up(0.0);
    bed.apply(DOWN).await;
    pass(15).await;
    assert_eq!(bed.group().rules[0].alerts[0].state, AlertState::Pending);
    assert!(bed.inbox.take().is_empty());
    pass(20).await;
    let alert = bed.manager.alerts().remove(0);
    assert_eq!(alert.state, AlertState::Firing);
    assert_eq!(alert.labels.to_string(), r#"{alertname="Down", job="a", kind="down", severity="page"}"#);
    assert_eq!(alert.annotations.get("summary"), Some("a is at 0 in eu"));
    let sent = bed.inbox.take();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].starts_at, alert.active_at.saturating_add(Duration::from_secs(20)));
    assert_eq!(sent[0].ends_at, sent[0].starts_at.saturating_add(Duration::from_secs(240)));
    assert_eq!(sent[0].generator_url, "http://localhost:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1");
    // Again only after the resend delay of a minute, at the next slot.
    pass(60).await;
    assert!(bed.inbox.take().is_empty());
    pass(10).await;
    assert_eq!(bed.inbox.take().len(), 1);
    up(1.0);
    pass(10).await;
    assert!(bed.manager.alerts().is_empty());
    let resolved = bed.inbox.take();
    assert!(resolved[0].is_resolved(bed.clock.now()));
    // It is said again for a quarter of an hour.
    pass(16 * 60).await;
    assert_eq!(bed.inbox.take().len(), 12);
    // Unlike other samples, these wait until restoration has looked, which is after the second evaluation.
    let states: Vec<String> = bed
        .store
        .written("ALERTS")
        .iter()
        .map(|line| {
            let state = if line.contains("pending") { "pending" } else { "firing" };
            format!("{state} {}", line.split("} ").nth(1).unwrap().split(' ').next().unwrap())
        })
        .collect();
    assert_eq!(states.iter().filter(|state| *state == "firing 1").count(), 8);
    assert_eq!(states.last().unwrap(), "firing stale");
    let since = bed.store.written("ALERTS_FOR_STATE");
    assert!(since[0].contains(&format!(" {} @", alert.active_at.0 / 1000)), "{since:?}");
}

#[tokio::test(start_paused = true)]
async fn pending_alerts_are_written_and_end_when_they_fire() {
    let store = Arc::new(Store::default());
    let bed = Bed::with(store, TokioClock::new(), |options| options);
    bed.apply("groups: []").await;
    bed.set(&[("__name__", "up"), ("job", "a")], 0.0);
    // Groups that come later begin anew and write at once.
    bed.apply(DOWN).await;
    pass(40).await;
    let written: Vec<String> = bed
        .store
        .written("ALERTS")
        .iter()
        .map(|line| {
            let state = if line.contains("pending") { "pending" } else { "firing" };
            format!("{state} {}", line.split("} ").nth(1).unwrap().split(' ').next().unwrap())
        })
        .collect();
    assert_eq!(written, ["pending 1", "pending 1", "firing 1", "pending stale", "firing 1"]);
}

#[tokio::test(start_paused = true)]
async fn an_alert_fires_on_for_a_while_without_its_sample() {
    let bed = Bed::new();
    bed.set(&[("__name__", "up")], 0.0);
    bed.apply("groups: [{name: g, rules: [{alert: A, expr: up == 0, keep_firing_for: 25s}]}]").await;
    pass(10).await;
    bed.set(&[("__name__", "up")], 1.0);
    pass(20).await;
    let alert = bed.manager.alerts().remove(0);
    assert_eq!(alert.state, AlertState::Firing);
    assert!(alert.keep_firing_since.is_some());
    pass(20).await;
    assert!(bed.manager.alerts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn failures_are_shown_counted_and_end_nothing() {
    let bed = Bed::new();
    bed.set(&[("__name__", "x"), ("i", "1")], 1.0);
    bed.apply(
        "groups: [{name: g, limit: 1, rules: [{record: r, expr: x}, {alert: A, expr: x}, {record: d, expr: x, labels: {i: same}}, {record: m, expr: 'x[1m]'}]}]",
    )
    .await;
    pass(10).await;
    let errors =
        |bed: &Bed| -> Vec<Option<String>> { bed.group().rules.into_iter().map(|rule| rule.last_error).collect() };
    assert_eq!(errors(&bed)[..3], [None, None, None]);
    assert_eq!(errors(&bed)[3].as_deref(), Some("rule result is not a vector or scalar"));
    bed.set(&[("__name__", "x"), ("i", "2")], 1.0);
    pass(10).await;
    assert_eq!(errors(&bed)[0].as_deref(), Some("exceeded limit of 1 with 2 series"));
    assert_eq!(errors(&bed)[1].as_deref(), Some("exceeded limit of 1 with 2 alerts"));
    let same = "vector contains metrics with the same labelset after applying rule labels";
    assert_eq!(errors(&bed)[2].as_deref(), Some(same));
    assert_eq!(bed.group().rules[0].health, RuleHealth::Bad);
    assert!(bed.manager.alerts().is_empty());
    assert_eq!(bed.metric("prometheus_rule_evaluation_failures_total{rule_group=\"rules.yml;g\"}"), 5.0);
    // Nothing was marked as ended.
    assert_eq!(bed.store.course("r"), "1@0");
    bed.manager.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_fails_loses_nothing_of_what_is_known() {
    let bed = Bed::new();
    bed.set(&[("__name__", "x")], 1.0);
    bed.apply("groups: [{name: g, rules: [{record: r, expr: x == 1}]}]").await;
    pass(10).await;
    bed.store.break_commits(true);
    bed.set(&[("__name__", "x")], 2.0);
    pass(10).await;
    assert_eq!(bed.group().rules[0].last_error.as_deref(), Some("storage is not writable: the disk is full"));
    bed.store.break_commits(false);
    pass(10).await;
    assert_eq!(bed.store.course("r"), "1@0 stale@20");
}

#[tokio::test(start_paused = true)]
async fn two_alerts_of_one_rule_must_differ() {
    let bed = Bed::new();
    bed.set(&[("__name__", "x"), ("i", "1")], 1.0);
    bed.set(&[("__name__", "x"), ("i", "2")], 1.0);
    bed.apply("groups: [{name: g, rules: [{alert: A, expr: x, labels: {i: same}}]}]").await;
    pass(10).await;
    let same = "vector contains metrics with the same labelset after applying alert labels";
    assert_eq!(bed.group().rules[0].last_error.as_deref(), Some(same));
}

#[tokio::test(start_paused = true)]
async fn rules_together_give_what_they_give_in_order() {
    let rules = "
groups:
- name: g
  rules:
  - {record: a, expr: x}
  - {record: b, expr: a + 1}
  - {record: c, expr: b + 1}
  - {record: d, expr: x * 3}
  - {alert: E, expr: c > 0}
";
    let mut results = Vec::new();
    for concurrency in [0, 4] {
        let bed = Bed::with(Arc::default(), TokioClock::new(), |options| options.concurrency(concurrency));
        bed.set(&[("__name__", "x")], 1.0);
        bed.apply(rules).await;
        pass(30).await;
        let courses: Vec<String> = ["a", "b", "c", "d"].iter().map(|metric| bed.store.course(metric)).collect();
        results.push((courses, bed.manager.alerts().len(), bed.inbox.take().len()));
        bed.manager.stop().await;
    }
    assert_eq!(results[0], results[1]);
    assert_eq!(results[0].0[2], "3@0 3@10 3@20");
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_the_time_that_was_served_counts() {
    let (store, clock) = (Arc::new(Store::default()), TokioClock::new());
    let rules = "groups: [{name: g, rules: [{alert: A, expr: up == 0, for: 30m, labels: {s: page}}]}]";
    let scrape = |store: &Store, at: Timestamp| store.set(&[("__name__", "up")], at, 0.0);
    let first = Bed::with(Arc::clone(&store), Arc::clone(&clock), |options| options);
    scrape(&store, clock.now());
    first.apply(rules).await;
    // Twelve minutes pending.
    for _ in 0..12 {
        scrape(&store, clock.now());
        pass(60).await;
    }
    let before = first.manager.alerts().remove(0);
    first.manager.stop().await;
    // Fifteen minutes away.
    pass(15 * 60).await;
    let second = Bed::with(Arc::clone(&store), Arc::clone(&clock), |options| options);
    scrape(&store, clock.now());
    second.apply(rules).await;
    pass(9).await;
    pass(16).await;
    let after = second.manager.alerts().remove(0);
    let moved = after.active_at.since(before.active_at).as_secs();
    assert!((15 * 60..15 * 60 + 40).contains(&moved), "{moved}");
    // It goes on from there: eighteen minutes to go.
    for _ in 0..17 {
        scrape(&store, clock.now());
        pass(60).await;
    }
    assert_eq!(second.manager.alerts()[0].state, AlertState::Pending);
    scrape(&store, clock.now());
    pass(90).await;
    assert_eq!(second.manager.alerts()[0].state, AlertState::Firing);
}

#[tokio::test(start_paused = true)]
async fn templates_ask_queries_and_see_new_external_labels_at_once() {
    let bed = Bed::new();
    bed.set(&[("__name__", "up"), ("job", "a")], 0.0);
    let rules = "
groups:
- name: g
  rules:
  - alert: A
    expr: up == 0
    annotations:
      others: '{{ query \"count(up)\" | first | value }} in {{ $externalLabels.cluster }}'
      wrong: '{{ first (query \"none\") }}'
";
    bed.apply(rules).await;
    pass(10).await;
    let alert = bed.manager.alerts().remove(0);
    assert_eq!(alert.annotations.get("others"), Some("1 in eu"));
    assert!(
        alert
            .annotations
            .get("wrong")
            .unwrap()
            .starts_with("<error expanding template: error executing template __alert_A")
    );
    assert_eq!(bed.metric("prometheus_template_text_expansion_failures_total"), 1.0);
    let mut changed = settings();
    changed.external_labels = ferula_model::Labels::from_pairs([("cluster", "us")]);
    bed.manager.apply(Rules::parse("rules.yml", rules).unwrap(), changed).await.unwrap();
    pass(10).await;
    let after = bed.manager.alerts().remove(0);
    assert_eq!(after.annotations.get("others"), Some("1 in us"));
    assert_eq!(after.active_at, alert.active_at);
}
