//! Discoveries of a host's own, and those that change.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferula_model::{Labels, yaml};
use ferula_scrape::discovery::{CustomDiscovery, Discoverer, DiscoveryConfig, Groups};
use ferula_scrape::{ManagerOptions, ScrapeConfig, ScrapeDefaults, ScrapeManager, TargetGroup};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::storage::{Recorder, TokioClock};
use super::transport::Bodies;

/// Passes on what the test sends.
#[derive(Debug)]
struct Puppet {
    groups: Mutex<Option<mpsc::UnboundedReceiver<TargetGroup>>>,
    runs: AtomicUsize,
}

impl Discoverer for Puppet {
    fn mechanism(&self) -> &str {
        "puppet"
    }

    fn run(self: Arc<Self>, groups: Groups) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        let mut received = self.groups.lock().unwrap().take().unwrap();
        Box::pin(async move {
            while let Some(group) = received.recv().await {
                if !groups.send(vec![group]).await {
                    return;
                }
            }
        })
    }
}

fn manager() -> (ScrapeManager, Arc<Recorder>) {
    let storage = Arc::new(Recorder::default());
    let options = ManagerOptions::new(storage.clone(), TokioClock::new()).transport(Arc::new(Bodies::default()));
    (ScrapeManager::new(options).unwrap(), storage)
}

fn job(name: &str, discovery: DiscoveryConfig) -> ScrapeConfig {
    let mut job = ScrapeConfig::new(name);
    job.discovery.push(discovery);
    job.validate(&ScrapeDefaults::default()).unwrap();
    job
}

fn instances(manager: &ScrapeManager, job: &str) -> Vec<String> {
    let of_job = manager.targets().into_iter().filter(|target| target.scrape_pool == job);
    let mut instances: Vec<_> = of_job.map(|target| target.labels.get("instance").unwrap().to_owned()).collect();
    instances.sort();
    instances
}

#[tokio::test(start_paused = true)]
async fn groups_come_change_and_go_and_jobs_share_a_discovery() {
    let (manager, _storage) = manager();
    let (send, received) = mpsc::unbounded_channel();
    let puppet = Arc::new(Puppet { groups: Mutex::new(Some(received)), runs: AtomicUsize::new(0) });
    let discovery = DiscoveryConfig::Custom(CustomDiscovery(puppet.clone()));
    let group = |source: &str, addresses: &[&str]| TargetGroup {
        source: source.into(),
        ..TargetGroup::of_addresses(addresses, Labels::empty())
    };
    manager.apply(vec![job("a", discovery.clone()), job("b", discovery.clone())]).unwrap();
    send.send(group("1", &["h:1", "h:2"])).unwrap();
    sleep(Duration::from_millis(50)).await;
    assert_eq!(instances(&manager, "a"), ["h:1", "h:2"]);
    assert_eq!(instances(&manager, "b"), ["h:1", "h:2"]);

    send.send(group("1", &["h:2"])).unwrap();
    send.send(group("2", &["h:3"])).unwrap();
    sleep(Duration::from_secs(6)).await;
    assert_eq!(instances(&manager, "a"), ["h:2", "h:3"]);

    // A reload keeps the discovery and what it found.
    let mut changed = job("a", discovery.clone());
    changed.metrics_path = "/other".into();
    manager.apply(vec![changed]).unwrap();
    assert_eq!(instances(&manager, "a"), ["h:2", "h:3"]);
    assert_eq!(puppet.runs.load(Ordering::SeqCst), 1);
    assert!(manager.targets()[0].scrape_url.ends_with("/other"));

    send.send(group("2", &[])).unwrap();
    sleep(Duration::from_secs(6)).await;
    assert_eq!(instances(&manager, "a"), ["h:2"]);
    assert!(!send.is_closed());
    manager.apply(vec![]).unwrap();
    sleep(Duration::from_secs(1)).await;
    assert!(send.is_closed(), "nobody wants it any more");
}

#[tokio::test]
async fn what_this_build_cannot_discover_is_refused_when_it_shall_run() {
    let (manager, _storage) = manager();
    let mut job: ScrapeConfig = yaml::decode("job_name: k\nkubernetes_sd_configs:\n- role: pod\n").unwrap();
    job.validate(&ScrapeDefaults::default()).unwrap();
    let error = manager.apply(vec![job]).unwrap_err();
    assert_eq!(error.to_string(), "job \"k\": kubernetes_sd_configs is not supported by this build");
}
