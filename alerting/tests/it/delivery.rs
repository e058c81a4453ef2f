//! Alerts on their way out, over real sockets.

use std::sync::Arc;
use std::time::Duration;

use ferula_alerting::{
    Alert, AlertSink, AlertmanagerConfig, AlertmanagerSet, Endpoints, Notifier, NotifierConfig, NotifierOptions,
    Webhook,
};
use ferula_exposition::Registry;
use ferula_model::{Labels, SystemClock, Timestamp};
use hyper::StatusCode;

use super::server::Server;

fn alert(name: &str, ends_at: Timestamp) -> Alert {
    Alert {
        labels: Labels::from_pairs([("alertname", name), ("job", "a")]),
        annotations: Labels::from_pairs([("summary", "x")]),
        starts_at: Timestamp(1_000),
        ends_at,
        generator_url: "http://h/graph".to_owned(),
    }
}

const LATER: Timestamp = Timestamp(4_000_000_000_000);

fn metric(registry: &Registry, begin: &str) -> f64 {
    let mut text = Vec::new();
    ferula_exposition::encode(&registry.gather(), ferula_exposition::Format::Text, &mut text);
    let text = String::from_utf8(text).unwrap();
    let line = text.lines().find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("{begin} in {text}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

fn notifier(options: NotifierOptions, urls: &[String], change: impl FnOnce(&mut NotifierConfig)) -> Notifier {
    let notifier = Notifier::new(options).unwrap();
    let set = AlertmanagerSet { name: "s".into(), config: AlertmanagerConfig::default(), relabel: None };
    let mut config = NotifierConfig { sets: vec![set], ..NotifierConfig::default() };
    change(&mut config);
    notifier.apply(config).unwrap();
    notifier.set_endpoints("s", Endpoints { active: urls.to_vec(), dropped: Vec::new() });
    notifier
}

#[tokio::test]
async fn alerts_reach_every_alertmanager_relabelled() {
    let (mut first, mut second) = (Server::start().await, Server::start().await);
    let urls = [first.url("/api/v2/alerts"), second.url("/api/v2/alerts")];
    let registry = Registry::new();
    let notifier = notifier(NotifierOptions::default().registry(registry.clone()), &urls, |config| {
        config.external_labels = Labels::from_pairs([("cluster", "eu"), ("job", "not this")]);
        config.relabel = Some(Arc::new(|labels: Labels| {
            labels.get("alertname").is_none_or(|name| name != "Dropped").then_some(labels)
        }));
        config.sets[0].relabel = Some(Arc::new(|labels: Labels| {
            let mut labels = labels.to_builder();
            labels.set("set", "s");
            Some(labels.build())
        }));
    });
    notifier.send(vec![alert("Down", LATER), alert("Dropped", LATER)]);
    for server in [&mut first, &mut second] {
        let received = server.next().await;
        assert_eq!(
            (received.line.as_str(), received.content_type.as_str()),
            ("POST /api/v2/alerts", "application/json")
        );
        assert!(received.user_agent.starts_with("Ferula/"));
        assert_eq!(
            received.text,
            r#"[{"annotations":{"summary":"x"},"endsAt":"2096-10-02T07:06:40.000Z","startsAt":"1970-01-01T00:00:01.000Z","generatorURL":"http://h/graph","labels":{"alertname":"Down","cluster":"eu","job":"a","set":"s"}}]"#
        );
    }
    notifier.stop().await;
    assert_eq!(metric(&registry, &format!("prometheus_notifications_sent_total{{alertmanager=\"{}\"}}", urls[0])), 1.0);
    assert_eq!(metric(&registry, "prometheus_notifications_alertmanagers_discovered"), 2.0);
}

#[tokio::test]
async fn what_fails_is_counted_and_dropped() {
    let mut server = Server::start().await;
    server.will_answer(StatusCode::INTERNAL_SERVER_ERROR);
    let registry = Registry::new();
    let notifier = notifier(NotifierOptions::default().registry(registry.clone()), &[server.url("/x")], |_| {});
    notifier.send(vec![alert("A", LATER)]);
    server.next().await;
    notifier.stop().await;
    for name in ["errors_total", "dropped_total", "sent_total"] {
        assert_eq!(metric(&registry, &format!("prometheus_notifications_{name}{{")), 1.0, "{name}");
    }
    assert!(server.is_idle());
}

#[tokio::test]
async fn queues_are_bounded_drop_the_oldest_and_are_drained_in_batches() {
    let mut server = Server::start().await;
    let registry = Registry::new();
    let options = NotifierOptions::default().registry(registry.clone()).queue_capacity(5).batch_size(2);
    let notifier = notifier(options, &[server.url("/x")], |_| {});
    // The runtime has one thread: nothing is sent before this test waits.
    notifier.send((0..8).map(|number| alert(&format!("A{number}"), LATER)).collect());
    notifier.stop().await;
    let mut batches = Vec::new();
    for _ in 0..3 {
        let received = server.next().await;
        let names = received
            .body
            .as_array()
            .unwrap()
            .iter()
            .map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned());
        batches.push(names.collect::<Vec<_>>().join(" "));
    }
    assert_eq!(batches, ["A3 A4", "A5 A6", "A7"]);
    assert_eq!(metric(&registry, "prometheus_notifications_dropped_total{"), 3.0);
}

#[tokio::test]
async fn without_draining_the_rest_is_dropped_and_counted() {
    let mut server = Server::start().await;
    let registry = Registry::new();
    let notifier =
        notifier(NotifierOptions::default().registry(registry.clone()).drain(false), &[server.url("/x")], |_| {});
    notifier.send(vec![alert("A", LATER), alert("B", LATER)]);
    notifier.stop().await;
    assert!(server.is_idle());
    assert_eq!(metric(&registry, "prometheus_notifications_dropped_total{"), 2.0);
}

#[tokio::test]
async fn endpoints_follow_discovery_and_sets_the_configuration() {
    let notifier = notifier(NotifierOptions::default(), &["http://a/x".into(), "http://b/x".into()], |_| {});
    assert_eq!(notifier.alertmanagers(), ["http://a/x", "http://b/x"]);
    notifier.set_endpoints("s", Endpoints { active: vec!["http://b/x".into()], dropped: vec!["http://c/x".into()] });
    notifier.set_endpoints("unknown", Endpoints { active: vec!["http://d/x".into()], dropped: Vec::new() });
    assert_eq!(
        (notifier.alertmanagers(), notifier.dropped_alertmanagers()),
        (vec!["http://b/x".to_owned()], vec!["http://c/x".to_owned()])
    );
    // The same set keeps its endpoints, a changed one begins anew.
    let set = |path: &str| {
        let config = AlertmanagerConfig { path_prefix: path.to_owned(), ..AlertmanagerConfig::default() };
        NotifierConfig {
            sets: vec![AlertmanagerSet { name: "s".into(), config, relabel: None }],
            ..NotifierConfig::default()
        }
    };
    notifier.apply(set("")).unwrap();
    assert_eq!(notifier.alertmanagers().len(), 1);
    notifier.apply(set("/other")).unwrap();
    assert!(notifier.alertmanagers().is_empty());
}

#[tokio::test]
async fn a_webhook_is_told_what_is_new_and_is_tried_again() {
    let mut server = Server::start().await;
    server.will_answer(StatusCode::SERVICE_UNAVAILABLE);
    let registry = Registry::new();
    let webhook = Webhook::new(server.url("/hook")).timeout(Duration::from_secs(5));
    let webhook = webhook.start(Arc::new(SystemClock), &registry).unwrap();
    webhook.send(vec![alert("Down", LATER)]);
    let refused = server.next().await;
    let taken = server.next().await;
    assert_eq!(refused.text, taken.text);
    assert_eq!((taken.line.as_str(), taken.content_type.as_str()), ("POST /hook", "application/json"));
    assert_eq!(taken.body["status"], "firing");
    webhook.send(vec![alert("Down", LATER)]);
    webhook.send(vec![alert("Down", Timestamp(2_000))]);
    let resolved = server.next().await;
    assert_eq!(
        (&resolved.body["status"], &resolved.body["alerts"][0]["endsAt"]),
        (&"resolved".into(), &"1970-01-01T00:00:02Z".into())
    );
    webhook.stop().await;
    assert_eq!(metric(&registry, "ferula_webhook_messages_total{receiver=\"webhook\"}"), 2.0);
    assert_eq!(metric(&registry, "ferula_webhook_requests_failed_total{receiver=\"webhook\"}"), 1.0);
}

#[tokio::test]
async fn a_webhook_without_a_host_is_refused() {
    for url in ["", "not a url", "/path", "ftp://h/"] {
        assert!(Webhook::new(url).start(Arc::new(SystemClock), &Registry::new()).is_err(), "{url}");
    }
}

#[tokio::test]
async fn a_webhook_that_is_stopped_tries_once_what_waits() {
    let mut server = Server::start().await;
    (0..2).for_each(|_| server.will_answer(StatusCode::SERVICE_UNAVAILABLE));
    let registry = Registry::new();
    let webhook = Webhook::new(server.url("/hook")).start(Arc::new(SystemClock), &registry).unwrap();
    webhook.send(vec![alert("A", LATER)]);
    let first = server.next().await;
    // Before the answer to the first message is read: the runtime has one thread.
    webhook.send(vec![alert("B", LATER)]);
    webhook.stop().await;
    let names = [first, server.next().await].map(|received| received.body["groupLabels"]["alertname"].clone());
    assert_eq!(names, ["A", "B"]);
    assert!(server.is_idle());
    assert_eq!(metric(&registry, "ferula_webhook_messages_refused_total{receiver=\"webhook\"}"), 2.0);
}
