//! Discovery for others than scraping: who finds Alertmanagers, for instance, follows the same mechanisms.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{DiscoveryConfig, DiscoveryError, Groups};
use crate::metrics::DiscoveryMetrics;
use crate::target::TargetGroup;

/// Updates that wait for the watcher; a discovery that is ahead of it waits too.
const UPDATES_QUEUED_MAX: usize = 16;

/// Discoveries under way, made by [`ScrapeManager::watch`](crate::ScrapeManager::watch). Dropping it ends them.
#[derive(Debug)]
pub struct DiscoveryWatch {
    tasks: Vec<JoinHandle<()>>,
}

impl DiscoveryWatch {
    pub(crate) fn start(
        name: &str,
        configs: &[DiscoveryConfig],
        metrics: &Arc<DiscoveryMetrics>,
        runtime: &Handle,
        mut changed: impl FnMut(Vec<TargetGroup>) + Send + 'static,
    ) -> Result<Self, DiscoveryError> {
        let (updates, mut received) = mpsc::channel::<(u64, Vec<TargetGroup>)>(UPDATES_QUEUED_MAX);
        let mut known: BTreeMap<(u64, String), TargetGroup> = BTreeMap::new();
        let mut discoverers = Vec::new();
        for (provider, config) in configs.iter().enumerate() {
            let provider = provider as u64;
            if let DiscoveryConfig::Static(groups) = config {
                known.extend(groups.iter().map(|group| ((provider, group.source.clone()), group.clone())));
            }
            if let Some(discoverer) = config.discoverer()? {
                let (updates, metrics) = (updates.clone(), Arc::clone(metrics));
                discoverers.push(discoverer.run(Groups { provider, job: name.into(), updates, metrics }));
            }
        }
        drop(updates);
        changed(known.values().cloned().collect());
        let mut watch = Self { tasks: discoverers.into_iter().map(|discoverer| runtime.spawn(discoverer)).collect() };
        watch.tasks.push(runtime.spawn(async move {
            while let Some((provider, groups)) = received.recv().await {
                for group in groups {
                    let key = (provider, group.source.clone());
                    match group.targets.is_empty() {
                        true => known.remove(&key),
                        false => known.insert(key, group),
                    };
                }
                changed(known.values().cloned().collect());
            }
        }));
        Ok(watch)
    }
}

impl Drop for DiscoveryWatch {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
