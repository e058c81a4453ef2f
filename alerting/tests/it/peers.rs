//! The real Alertmanager takes our alerts, and its webhook says the same as ours.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use ferula_alerting::{
    Alert, AlertSink, AlertmanagerConfig, AlertmanagerSet, Endpoints, Notifier, NotifierConfig, NotifierOptions,
    Webhook,
};
use ferula_exposition::Registry;
use ferula_http::{Client, HttpClientConfig, Limits};
use ferula_model::{Clock, Labels, SystemClock};

use super::server::{Received, Server};

/// Ends the process that a test started.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts an Alertmanager that tells `hook`; its base URL.
async fn alertmanager(folder: &std::path::Path, hook: &str) -> Option<(Process, String)> {
    let Some(peers) = std::env::var_os("FERULA_PEERS") else {
        println!("FERULA_PEERS is not set: nothing is sent to the real Alertmanager");
        return None;
    };
    let config = folder.join("alertmanager.yml");
    let text = format!(
        "route: {{receiver: hook, group_by: [alertname], group_wait: 1ms, group_interval: 100ms}}\n\
         receivers: [{{name: hook, webhook_configs: [{{url: '{hook}'}}]}}]\n"
    );
    std::fs::File::create(&config).unwrap().write_all(text.as_bytes()).unwrap();
    let port = free_port();
    let child = Command::new(std::path::Path::new(&peers).join("prometheus-alertmanager"))
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.path={}", folder.join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--cluster.listen-address=")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (process, url) = (Process(child), format!("http://127.0.0.1:{port}"));
    let client = Client::new(&HttpClientConfig::default()).unwrap();
    for _ in 0..600 {
        let request = http::Request::get(format!("{url}/-/ready")).body(bytes::Bytes::new()).unwrap();
        match client.send(request, &Limits::timeout(Duration::from_secs(5))).await {
            Ok(answer) if answer.status().is_success() => return Some((process, url)),
            // Another process has to come up; there is nothing to wait on.
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    panic!("the Alertmanager does not become ready");
}

#[tokio::test]
async fn the_real_alertmanager_tells_what_our_webhook_tells() {
    let folder = tempfile::tempdir().unwrap();
    let (mut theirs, mut ours) = (Server::start().await, Server::start().await);
    let Some((_process, base)) = alertmanager(folder.path(), &theirs.url("/hook")).await else { return };
    let notifier = Notifier::new(NotifierOptions::default()).unwrap();
    let set = AlertmanagerSet { name: "s".into(), config: AlertmanagerConfig::default(), relabel: None };
    notifier.apply(NotifierConfig { sets: vec![set], ..NotifierConfig::default() }).unwrap();
    let active = vec![format!("{base}/api/v2/alerts")];
    notifier.set_endpoints("s", Endpoints { active, dropped: Vec::new() });
    let webhook =
        Webhook::new(ours.url("/hook")).receiver("hook").start(Arc::new(SystemClock), &Registry::new()).unwrap();
    let now = SystemClock.now();
    let mut alert = Alert {
        labels: Labels::from_pairs([("alertname", "Down"), ("job", "a<b>"), ("instance", "h:1")]),
        annotations: Labels::from_pairs([("summary", "it's \"down\"")]),
        starts_at: now,
        ends_at: now.saturating_add(Duration::from_secs(240)),
        generator_url: "http://localhost:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1".to_owned(),
    };
    for status in ["firing", "resolved"] {
        notifier.send(vec![alert.clone()]);
        webhook.send(vec![alert.clone()]);
        let (theirs, ours) = (theirs.next().await, ours.next().await);
        assert_eq!(theirs.body["status"], status);
        assert_eq!(comparable(&theirs), comparable(&ours));
        alert.ends_at = SystemClock.now();
    }
    notifier.stop().await;
    webhook.stop().await;
}

/// The body as it came, less what this Alertmanager does not have yet or says about itself.
fn comparable(received: &Received) -> String {
    let mut text = received.text.trim_end().to_owned();
    for key in ["notification_reason", "externalURL"] {
        let begin = format!("\"{key}\":\"");
        if let Some(at) = text.find(&begin) {
            let end = at + begin.len() + text[at + begin.len()..].find("\",").unwrap() + 2;
            text.replace_range(at..end, "");
        }
    }
    // Routes have labels only in later versions.
    text.replace("\"routeLabels\":{},", "")
}
