//! The manager: all jobs, kept in line with the configuration and with discovery.
//!
//! ```text
//!  configuration --apply--> pools (one per job) --sync--> workers (one per target) --> storage
//!                    |                            ^
//!                    '--> providers --groups------'   throttled: at once, then every 100 ms doubling to 5 s
//! ```
//!
//! A new configuration is applied as a difference: jobs that did not change are not touched, discoveries that did not
//! change go on and their targets are known at once, and targets that stay keep their workers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ferula_exposition::Registry;
use ferula_exposition::registry::RegisterError;
use ferula_model::{Appendable, Clock, Labels};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::discovery::{Discoverer, DiscoveryConfig, DiscoveryError, DiscoveryWatch, Groups};
use crate::failure::FailureLog;
use crate::fetch::{Transport, TransportError};
use crate::http::HttpTransport;
use crate::ingest::StartTimestamps;
use crate::job::ScrapeConfig;
use crate::metrics::{DiscoveryMetrics, ScrapeMetrics};
use crate::pool::{Design, Pool, PoolOptions};
use crate::schedule::seed;
use crate::status::{DroppedTargets, TargetMetadata, TargetStatus};
use crate::target::TargetGroup;
use crate::worker::{Order, Surroundings};

/// As upstream: how soon changes of discovery follow each other at first, and how far that stretches.
const THROTTLE_MIN: Duration = Duration::from_millis(100);
const THROTTLE_MAX: Duration = Duration::from_secs(5);
/// What upstream calls the discovery manager of scraping in its metrics.
const METRICS_NAME: &str = "scrape";
/// Updates that wait for the manager; a discovery that is ahead of it waits too.
const UPDATES_QUEUED_MAX: usize = 64;

/// What a manager works with.
#[derive(Clone)]
pub struct ManagerOptions {
    storage: Arc<dyn Appendable>,
    clock: Arc<dyn Clock>,
    registry: Registry,
    transport: Arc<dyn Transport>,
    seed: u64,
    pool: PoolOptions,
}

impl ManagerOptions {
    /// Scrapes over HTTP into `storage`, by the time of `clock`. Metrics go to a registry of their own and to nobody.
    pub fn new(storage: Arc<dyn Appendable>, clock: Arc<dyn Clock>) -> Self {
        Self {
            storage,
            clock,
            registry: Registry::new(),
            transport: Arc::new(HttpTransport::default()),
            seed: 0,
            pool: PoolOptions::default(),
        }
    }

    /// Where the manager's own metrics go.
    #[must_use]
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// How targets are reached. Default: [`HttpTransport`].
    #[must_use]
    pub fn transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = transport;
        self
    }

    /// Names this server, so that the scrapes of a pair of servers do not coincide: the name of its host and its external
    /// labels. Default: nothing, as fits a single server.
    #[must_use]
    pub fn server(mut self, host: &str, external_labels: &Labels) -> Self {
        self.seed = seed(host, &external_labels.to_string());
        self
    }

    /// What becomes of start timestamps. Default: nothing.
    #[must_use]
    pub fn start_timestamps(mut self, starts: StartTimestamps) -> Self {
        self.pool.starts = starts;
        self
    }

    /// Whether series get `__type__` and `__unit__`. Default: no.
    #[must_use]
    pub fn type_and_unit_labels(mut self, on: bool) -> Self {
        self.pool.type_and_unit_labels = on;
        self
    }

    /// Whether metadata goes to the storage too (upstream's feature `metadata-wal-records`). Default: no.
    #[must_use]
    pub fn append_metadata(mut self, on: bool) -> Self {
        self.pool.append_metadata = on;
        self
    }
}

/// Why a manager could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// A manager starts tasks, and there is nothing to run them.
    #[error("a scrape manager must be made inside a tokio runtime")]
    NoRuntime,
    /// Its metrics collide with others of the registry.
    #[error(transparent)]
    Metrics(#[from] RegisterError),
}

/// Why a configuration was not applied. Nothing of it was: everything goes on as before.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// Two jobs of one name.
    #[error("found multiple scrape configs with job name {0:?}")]
    RepeatedJob(String),
    /// The targets of a job cannot be found.
    #[error("job {job:?}: {source}")]
    Discovery {
        /// The job.
        job: String,
        /// What is wrong.
        #[source]
        source: Box<DiscoveryError>,
    },
    /// The targets of a job cannot be reached.
    #[error("error creating scrape pool {job:?}: {source}")]
    Transport {
        /// The job.
        job: String,
        /// What is wrong.
        #[source]
        source: TransportError,
    },
    /// A failure log cannot be opened.
    #[error("scrape failure log {}: {source}", path.display())]
    FailureLog {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The manager was stopped.
    #[error("the scrape manager is stopped")]
    Stopped,
}

/// Scrapes all targets of all jobs. Dropping it stops everything at once; [`stop`](Self::stop) lets scrapes end.
pub struct ScrapeManager {
    shared: Arc<Shared>,
    updates: JoinHandle<()>,
}

struct Shared {
    options: ManagerOptions,
    around: Surroundings,
    discovery_metrics: Arc<DiscoveryMetrics>,
    runtime: Handle,
    updates: mpsc::Sender<(u64, Vec<TargetGroup>)>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pools: BTreeMap<String, Pool>,
    providers: BTreeMap<u64, Provider>,
    next_provider: u64,
    failure_logs: BTreeMap<PathBuf, Arc<FailureLog>>,
    /// Workers of jobs that are gone, which end their series.
    ending: Vec<(watch::Sender<Order>, JoinHandle<()>)>,
    stopped: bool,
}

/// A discovery under way, for all jobs that are configured equally.
struct Provider {
    config: DiscoveryConfig,
    /// By source.
    groups: BTreeMap<String, TargetGroup>,
    /// `None`: the configuration says all there is.
    task: Option<JoinHandle<()>>,
}

impl Drop for Provider {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl ScrapeManager {
    /// A manager without jobs.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn new(options: ManagerOptions) -> Result<Self, StartError> {
        let runtime = Handle::try_current().map_err(|_| StartError::NoRuntime)?;
        let metrics = Arc::new(ScrapeMetrics::register(&options.registry)?);
        let discovery_metrics = Arc::new(DiscoveryMetrics::register(&options.registry)?);
        let around = Surroundings {
            storage: Arc::clone(&options.storage),
            clock: Arc::clone(&options.clock),
            metrics,
            bodies: Arc::default(),
            seed: options.seed,
        };
        let (updates, received) = mpsc::channel(UPDATES_QUEUED_MAX);
        let shared = Arc::new(Shared { options, around, discovery_metrics, runtime, updates, state: Mutex::default() });
        let task = shared.runtime.spawn(follow(Arc::downgrade(&shared), received));
        Ok(Self { shared, updates: task })
    }

    /// Applies a configuration: these jobs and no others, each [validated](ScrapeConfig::validate).
    ///
    /// # Errors
    ///
    /// See [`ApplyError`]; then nothing changes.
    pub fn apply(&self, configs: Vec<ScrapeConfig>) -> Result<(), ApplyError> {
        let started = tokio::time::Instant::now();
        let mut state = self.shared.state.lock();
        if state.stopped {
            return Err(ApplyError::Stopped);
        }
        let wanted = by_name(configs)?;
        let changes = self.shared.prepare(&mut state, &wanted)?;
        self.shared.carry_out(&mut state, &wanted, changes);
        self.shared.around.metrics.reload_length.observe_duration(started.elapsed());
        Ok(())
    }

    /// Follows discoveries for someone else, who is told all groups now and whenever they change; `name` says for whom, in
    /// metrics and messages.
    ///
    /// # Errors
    ///
    /// A discovery cannot be started.
    pub fn watch(
        &self,
        name: &str,
        configs: &[DiscoveryConfig],
        changed: impl FnMut(Vec<TargetGroup>) + Send + 'static,
    ) -> Result<DiscoveryWatch, DiscoveryError> {
        DiscoveryWatch::start(name, configs, &self.shared.discovery_metrics, &self.shared.runtime, changed)
    }

    /// The active targets, by job.
    pub fn targets(&self) -> Vec<TargetStatus> {
        self.shared.state.lock().pools.values().flat_map(Pool::statuses).collect()
    }

    /// The targets that relabelling dropped, by job; one entry for each job.
    pub fn dropped_targets(&self) -> Vec<DroppedTargets> {
        self.shared.state.lock().pools.values().map(Pool::dropped).collect()
    }

    /// The names of the jobs, sorted.
    pub fn pools(&self) -> Vec<String> {
        self.shared.state.lock().pools.keys().cloned().collect()
    }

    /// The configuration of a job as it runs.
    pub fn config(&self, job: &str) -> Option<Arc<ScrapeConfig>> {
        self.shared.state.lock().pools.get(job).map(|pool| Arc::clone(pool.config()))
    }

    /// What all active targets say about their metric families.
    pub fn metadata(&self) -> Vec<TargetMetadata> {
        self.shared.state.lock().pools.values().flat_map(Pool::metadata).collect()
    }

    /// Entries and bytes of the metadata of each job.
    pub fn metadata_sizes(&self) -> Vec<(String, usize, usize)> {
        let state = self.shared.state.lock();
        let size = |(name, pool): (&String, &Pool)| {
            let (families, bytes) = pool.metadata_size();
            (name.clone(), families, bytes)
        };
        state.pools.iter().map(size).collect()
    }

    /// Stops: no scrape begins any more, those under way end and are stored. Series are not ended: whoever starts next
    /// goes on with them.
    pub async fn stop(&self) {
        let ending = {
            let mut state = self.shared.state.lock();
            state.stopped = true;
            state.providers.clear();
            let mut ending = std::mem::take(&mut state.ending);
            for (orders, _) in &ending {
                let _ = orders.send(Order::Stop);
            }
            for pool in std::mem::take(&mut state.pools).into_values() {
                ending.extend(pool.end(false));
            }
            ending
        };
        self.updates.abort();
        for (_orders, task) in ending {
            // A worker that panicked has said so already.
            let _ = task.await;
        }
    }
}

impl Drop for ScrapeManager {
    fn drop(&mut self) {
        self.updates.abort();
        let mut state = self.shared.state.lock();
        state.stopped = true;
        state.providers.clear();
        // Without their orders, workers end by themselves after the scrape under way.
        state.pools.clear();
        state.ending.clear();
    }
}

impl std::fmt::Debug for ScrapeManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScrapeManager").field("pools", &self.pools()).finish_non_exhaustive()
    }
}

fn by_name(configs: Vec<ScrapeConfig>) -> Result<BTreeMap<String, Arc<ScrapeConfig>>, ApplyError> {
    let mut wanted = BTreeMap::new();
    for config in configs {
        if let Some(twin) = wanted.insert(config.job_name.clone(), Arc::new(config)) {
            return Err(ApplyError::RepeatedJob(twin.job_name.clone()));
        }
    }
    Ok(wanted)
}

/// Everything of a new configuration that can fail, done.
struct Changes {
    designs: Vec<Design>,
    providers: Vec<NewProvider>,
}

struct NewProvider {
    config: DiscoveryConfig,
    job: Arc<str>,
    discoverer: Option<Arc<dyn Discoverer>>,
}

type Wanted = BTreeMap<String, Arc<ScrapeConfig>>;

impl Shared {
    fn prepare(&self, state: &mut State, wanted: &Wanted) -> Result<Changes, ApplyError> {
        let mut providers: Vec<NewProvider> = Vec::new();
        let mut designs = Vec::new();
        for (job, config) in wanted {
            for discovery in &config.discovery {
                let known = state.providers.values().map(|provider| &provider.config);
                if known.chain(providers.iter().map(|new| &new.config)).any(|known| known == discovery) {
                    continue;
                }
                let discoverer = discovery.discoverer().map_err(|source| {
                    self.discovery_metrics.failed_configs.with([METRICS_NAME]).inc();
                    ApplyError::Discovery { job: job.clone(), source: Box::new(source) }
                })?;
                providers.push(NewProvider { config: discovery.clone(), job: job.as_str().into(), discoverer });
            }
            let known = state.pools.get(job);
            if known.is_some_and(|pool| pool.config() == config) {
                continue;
            }
            let (metrics, is_known) = (&self.around.metrics, known.is_some());
            let failures = state.failure_log(config)?;
            let design = Design::new(Arc::clone(config), &*self.options.transport, failures).map_err(|source| {
                if is_known {
                    metrics.pool_reloads_failed.inc()
                } else {
                    metrics.pools_failed.inc()
                }
                ApplyError::Transport { job: job.clone(), source }
            })?;
            designs.push(design);
        }
        Ok(Changes { designs, providers })
    }

    fn carry_out(self: &Arc<Self>, state: &mut State, wanted: &Wanted, changes: Changes) {
        self.discovery_metrics.failed_configs.with([METRICS_NAME]).set(0.0);
        let mut stale: BTreeSet<String> = BTreeSet::new();
        for design in changes.designs {
            let job = design.job_name().to_owned();
            match state.pools.get_mut(&job) {
                Some(pool) => {
                    pool.redesign(design);
                    self.around.metrics.pool_reloads.inc();
                }
                None => {
                    let (around, runtime) = (self.around.clone(), self.runtime.clone());
                    state.pools.insert(job.clone(), Pool::new(design, around, self.options.pool, runtime));
                    self.around.metrics.pools.inc();
                }
            }
            stale.insert(job);
        }
        let gone: Vec<String> = state.pools.keys().filter(|job| !wanted.contains_key(*job)).cloned().collect();
        for job in gone {
            if let Some(pool) = state.pools.remove(&job) {
                state.ending.extend(pool.end(true));
                self.around.metrics.forget_pool(&job);
            }
        }
        state.ending.retain(|(_, task)| !task.is_finished());
        let is_wanted = |config: &DiscoveryConfig| wanted.values().any(|job| job.discovery.contains(config));
        state.providers.retain(|_, provider| is_wanted(&provider.config));
        state
            .failure_logs
            .retain(|path, _| wanted.values().any(|config| config.scrape_failure_log_file.as_ref() == Some(path)));
        for provider in changes.providers {
            self.start_provider(state, provider);
        }
        for job in stale {
            self.sync(state, &job);
        }
    }

    fn start_provider(&self, state: &mut State, new: NewProvider) {
        let id = state.next_provider;
        state.next_provider += 1;
        let groups = match &new.config {
            DiscoveryConfig::Static(groups) => {
                groups.iter().map(|group| (group.source.clone(), group.clone())).collect()
            }
            _ => BTreeMap::new(),
        };
        let (updates, metrics) = (self.updates.clone(), Arc::clone(&self.discovery_metrics));
        let task = new.discoverer.map(|discoverer| {
            self.runtime.spawn(discoverer.run(Groups { provider: id, job: new.job, updates, metrics }))
        });
        state.providers.insert(id, Provider { config: new.config, groups, task });
    }

    /// Brings the targets of a job up to date.
    fn sync(&self, state: &mut State, job: &str) {
        let State { pools, providers, .. } = state;
        let Some(pool) = pools.get_mut(job) else { return };
        let started = tokio::time::Instant::now();
        let config = Arc::clone(pool.config());
        let of_job = providers.values().filter(|provider| config.discovery.contains(&provider.config));
        let groups: Vec<&TargetGroup> = of_job.flat_map(|provider| provider.groups.values()).collect();
        let discovered: usize = groups.iter().map(|group| group.targets.len()).sum();
        pool.sync(groups.into_iter());
        self.discovery_metrics.discovered_targets.with([METRICS_NAME, job]).set(discovered as f64);
        self.discovery_metrics.updates.with([METRICS_NAME]).inc();
        self.around.metrics.sync_length.with([job]).observe_duration(started.elapsed());
    }

    /// Takes what a provider sent. The jobs that it is for are noted in `stale`.
    fn take(&self, (provider, groups): (u64, Vec<TargetGroup>), stale: &mut BTreeSet<String>) {
        let mut state = self.state.lock();
        let State { pools, providers, .. } = &mut *state;
        // A provider that is gone meanwhile has nothing to say any more.
        let Some(provider) = providers.get_mut(&provider) else { return };
        self.discovery_metrics.received_updates.with([METRICS_NAME]).inc();
        for group in groups {
            if group.targets.is_empty() {
                provider.groups.remove(&group.source);
            } else {
                provider.groups.insert(group.source.clone(), group);
            }
        }
        let jobs = pools.iter().filter(|(_, pool)| pool.config().discovery.contains(&provider.config));
        stale.extend(jobs.map(|(job, _)| job.clone()));
    }
}

impl State {
    fn failure_log(&mut self, config: &ScrapeConfig) -> Result<Option<Arc<FailureLog>>, ApplyError> {
        let Some(path) = &config.scrape_failure_log_file else { return Ok(None) };
        if let Some(log) = self.failure_logs.get(path) {
            return Ok(Some(Arc::clone(log)));
        }
        let log = FailureLog::open(path).map_err(|source| ApplyError::FailureLog { path: path.clone(), source })?;
        let log = Arc::new(log);
        self.failure_logs.insert(path.clone(), Arc::clone(&log));
        Ok(Some(log))
    }
}

/// Brings what discoveries find to the pools: the first change at once, further ones less and less often while they keep
/// coming.
async fn follow(shared: std::sync::Weak<Shared>, mut updates: mpsc::Receiver<(u64, Vec<TargetGroup>)>) {
    let mut pause = THROTTLE_MIN;
    while let Some(first) = updates.recv().await {
        let mut stale = BTreeSet::new();
        {
            let Some(shared) = shared.upgrade() else { return };
            shared.take(first, &mut stale);
            while let Ok(more) = updates.try_recv() {
                shared.take(more, &mut stale);
            }
            let mut state = shared.state.lock();
            for job in stale {
                shared.sync(&mut state, &job);
            }
        }
        tokio::time::sleep(pause).await;
        pause = if updates.is_empty() { THROTTLE_MIN } else { (pause * 2).min(THROTTLE_MAX) };
    }
}
