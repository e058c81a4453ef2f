//! New configurations: what runs on, what is handed over, what ends.

use std::time::Duration;

use ferula_alerting::{ApplyError, RuleFile, RuleSettings, Rules, rule::RuleGroup};

use super::bed::{Bed, pass, settings};

#[tokio::test(start_paused = true)]
async fn an_unchanged_group_runs_on_and_a_changed_one_hands_over_its_alerts_and_series() {
    let bed = Bed::new();
    bed.set(&[("__name__", "up")], 0.0);
    let rules = |expr: &str| {
        format!(
            "groups: [{{name: g, rules: [{{alert: A, expr: '{expr}', for: 1h}}, {{record: r, expr: up}}, {{record: gone, expr: up}}]}}]"
        )
    };
    bed.apply(&rules("up == 0")).await;
    pass(25).await;
    let alert = bed.manager.alerts().remove(0);
    bed.apply(&rules("up == 0")).await;
    assert!(bed.group().rules[0].last_evaluation.is_some());
    bed.apply(&rules("up == bool 1").replace("{record: gone, expr: up}", "{record: new, expr: up}")).await;
    assert_eq!(bed.manager.alerts(), std::slice::from_ref(&alert));
    pass(10).await;
    assert_eq!(bed.manager.alerts()[0].active_at, alert.active_at);
    // The rule that is gone ends its series with the first evaluation of the new group.
    let gone = bed.store.course("gone");
    assert_eq!(gone, "0@0 0@10 stale@20");
    assert!(!bed.store.course("r").contains("stale"));
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_gone_ends_its_series_unless_another_has_taken_them_over() {
    let bed = Bed::new();
    bed.set(&[("__name__", "up")], 1.0);
    bed.apply("groups: [{name: g, rules: [{record: a, expr: up}, {record: b, expr: up}]}]").await;
    pass(15).await;
    bed.apply("groups: [{name: renamed, rules: [{record: a, expr: up}]}]").await;
    pass(19).await;
    assert!(!bed.store.course("b").contains("stale"));
    pass(30).await;
    assert!(
        bed.store.course("b").ends_with("stale@10") || bed.store.course("b").contains("stale"),
        "{}",
        bed.store.course("b")
    );
    assert!(!bed.store.course("a").contains("stale"), "{}", bed.store.course("a"));
    let groups = bed.manager.groups();
    assert_eq!((groups.len(), groups[0].name.as_str()), (1, "renamed"));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_applied_changes_nothing() {
    let bed = Bed::new();
    bed.apply("groups: [{name: g, rules: [{record: a, expr: vector(1)}]}]").await;
    let twice = vec![RuleFile::new("f", Vec::new()), RuleFile::new("f", Vec::new())];
    let error = bed.manager.apply(Rules::from(twice), settings()).await.unwrap_err();
    assert_eq!(error.to_string(), "rule file \"f\" is given twice");
    let groups = vec![RuleGroup::new("g"), RuleGroup::new("g")];
    let error = bed.manager.apply(Rules::from(vec![RuleFile::new("f", groups)]), settings()).await.unwrap_err();
    assert_eq!(error.to_string(), "f: groupname: \"g\" is repeated in the same file");
    let none = RuleSettings { interval: Duration::ZERO, ..settings() };
    assert!(matches!(bed.manager.apply(Rules::default(), none).await, Err(ApplyError::NoInterval)));
    assert_eq!(bed.group().name, "g");
    pass(30).await;
    assert_eq!(bed.store.course("a"), "1@0 1@10 1@20");
}

#[tokio::test(start_paused = true)]
async fn nothing_happens_after_the_end() {
    let bed = Bed::new();
    bed.apply("groups: [{name: g, rules: [{record: a, expr: vector(1)}]}]").await;
    pass(15).await;
    bed.manager.stop().await;
    let before = bed.store.course("a");
    pass(60).await;
    assert_eq!(bed.store.course("a"), before);
    assert!(matches!(bed.manager.apply(Rules::default(), settings()).await, Err(ApplyError::Stopped)));
}
