//! A pool: the workers of one job.
//!
//! [`Pool::sync`] brings them in line with what discovery found and configuration says, as a difference: a target that
//! was there and is there goes on undisturbed, with its cache; a new plan reaches it between two scrapes.

use std::collections::BTreeMap;
use std::sync::Arc;

use ferula_exposition::ParseOptions;
use ferula_exposition::negotiate::accept_header;
use ferula_model::Labels;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::failure::FailureLog;
use crate::fetch::{FetchRequest, JobTransport, Transport, TransportError};
use crate::ingest::histogram::BucketLimits;
use crate::ingest::metadata::MetadataCache;
use crate::ingest::rules::SeriesRules;
use crate::ingest::{IngestRules, Ingestor, StartTimestamps};
use crate::job::ScrapeConfig;
use crate::relabel::RelabelConfig;
use crate::status::{DroppedTargets, LastScrape, TargetMetadata, TargetStatus};
use crate::target::{Target, TargetGroup, Verdict, targets_of_group};
use crate::worker::{Order, Plan, Surroundings, Worker};

/// What applies to all pools of a manager.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PoolOptions {
    pub(crate) starts: StartTimestamps,
    pub(crate) type_and_unit_labels: bool,
    pub(crate) append_metadata: bool,
}

/// The workers of one job.
pub(crate) struct Pool {
    job: Arc<str>,
    design: Design,
    around: Surroundings,
    options: PoolOptions,
    runtime: Handle,
    /// By identity of the target.
    active: BTreeMap<u64, Active>,
    dropped: Vec<Labels>,
    dropped_count: usize,
    /// The configuration is another one than that of the plans.
    replan: bool,
    /// Workers that end their series.
    ending: Vec<(watch::Sender<Order>, JoinHandle<()>)>,
}

/// A configuration and what it takes to scrape by it; what can fail about that has not failed.
pub(crate) struct Design {
    config: Arc<ScrapeConfig>,
    transport: Box<dyn JobTransport>,
    accept: String,
    metric_relabel: Arc<[RelabelConfig]>,
    failures: Option<Arc<FailureLog>>,
}

struct Active {
    target: Arc<Target>,
    orders: watch::Sender<Order>,
    task: JoinHandle<()>,
    status: Arc<Mutex<LastScrape>>,
    metadata: Arc<Mutex<MetadataCache>>,
    forced_error: bool,
}

impl Design {
    pub(crate) fn new(
        config: Arc<ScrapeConfig>,
        transport: &dyn Transport,
        failures: Option<Arc<FailureLog>>,
    ) -> Result<Self, TransportError> {
        Ok(Self {
            transport: transport.job(&config)?,
            accept: accept_header(&config.scrape_protocols, config.escaping_scheme()),
            metric_relabel: config.metric_relabel_configs.clone().into(),
            failures,
            config,
        })
    }
}

impl Design {
    pub(crate) fn job_name(&self) -> &str {
        &self.config.job_name
    }
}

impl Pool {
    pub(crate) fn new(design: Design, around: Surroundings, options: PoolOptions, runtime: Handle) -> Self {
        Self {
            job: design.config.job_name.as_str().into(),
            design,
            around,
            options,
            runtime,
            active: BTreeMap::new(),
            dropped: Vec::new(),
            dropped_count: 0,
            replan: false,
            ending: Vec::new(),
        }
    }

    pub(crate) fn config(&self) -> &Arc<ScrapeConfig> {
        &self.design.config
    }

    /// Takes another configuration of the same job. The next [`sync`](Self::sync) brings it to the targets.
    pub(crate) fn redesign(&mut self, design: Design) {
        self.design = design;
        self.replan = true;
    }

    /// Brings the workers in line with the groups.
    pub(crate) fn sync<'a>(&mut self, groups: impl Iterator<Item = &'a TargetGroup>) {
        let wanted = self.judge(groups);
        let limit = self.design.config.limits.target_limit;
        let over_limit = limit > 0 && wanted.len() as u64 > limit;
        if over_limit {
            self.around.metrics.exceeded_target_limit.inc();
        }
        let forced_error =
            over_limit.then(|| format!("target_limit exceeded (number of targets: {}, limit: {limit})", wanted.len()));
        let mut leaving = BTreeMap::new();
        for identity in
            self.active.keys().copied().filter(|identity| !wanted.contains_key(identity)).collect::<Vec<_>>()
        {
            if let Some(active) = self.active.remove(&identity) {
                leaving.insert(active.target.labels.clone(), active);
            }
        }
        let replan = std::mem::take(&mut self.replan);
        for (identity, target) in wanted {
            // Another address or interval, but the same labels: the same series go on, and so does their worker.
            let known = self.active.remove(&identity).or_else(|| leaving.remove(&target.labels));
            let active = match known {
                None => self.start(target, forced_error.as_deref()),
                Some(active) if !replan && active.forced_error == over_limit && active.target == target => Some(active),
                Some(active) => Some(self.redirect(active, target, forced_error.as_deref())),
            };
            if let Some(active) = active {
                self.active.insert(identity, active);
            }
        }
        for active in leaving.into_values() {
            // A worker that is not there any more hears nothing and has nothing to end.
            let _ = active.orders.send(Order::EndSeries);
            self.ending.push((active.orders, active.task));
        }
        self.ending.retain(|(_, task)| !task.is_finished());
        let metrics = &self.around.metrics;
        metrics.pool_targets.with([&self.job]).set(self.active.len() as f64);
        metrics.pool_target_limit.with([&self.job]).set(limit as f64);
        metrics.pool_syncs.with([&self.job]).inc();
    }

    /// The targets that the groups have, each once.
    fn judge<'a>(&mut self, groups: impl Iterator<Item = &'a TargetGroup>) -> BTreeMap<u64, Arc<Target>> {
        let mut wanted = BTreeMap::new();
        self.dropped.clear();
        self.dropped_count = 0;
        let keep = self.design.config.limits.keep_dropped_targets;
        for verdict in groups.flat_map(|group| targets_of_group(&self.design.config, group)) {
            match verdict {
                Ok(Verdict::Keep(target)) => {
                    if let Some(twin) = wanted.insert(target.identity, Arc::<Target>::from(target)) {
                        tracing::warn!(job = &*self.job, target = %twin.url, "target discovered twice, scraped once");
                    }
                }
                Ok(Verdict::Drop(labels)) => {
                    self.dropped_count += 1;
                    if keep == 0 || (self.dropped.len() as u64) < keep {
                        self.dropped.push(labels);
                    }
                }
                Err(error) => {
                    self.around.metrics.sync_failed.with([&self.job]).inc();
                    tracing::error!(job = &*self.job, %error, "target cannot be scraped");
                }
            }
        }
        wanted
    }

    fn start(&self, target: Arc<Target>, forced_error: Option<&str>) -> Option<Active> {
        let plan = match self.plan(&target, forced_error) {
            Ok(plan) => Arc::new(plan),
            Err(error) => {
                self.around.metrics.sync_failed.with([&self.job]).inc();
                tracing::error!(job = &*self.job, target = %target.url, %error, "target cannot be scraped");
                return None;
            }
        };
        let (orders, receiver) = watch::channel(Order::Scrape(Arc::clone(&plan)));
        let status = Arc::new(Mutex::new(LastScrape::default()));
        let ingestor = Ingestor::new(Arc::clone(&plan.rules));
        let metadata = ingestor.metadata();
        let worker = Worker::new(self.around.clone(), receiver, plan, ingestor, Arc::clone(&status));
        let task = self.runtime.spawn(worker.run());
        Some(Active { target, orders, task, status, metadata, forced_error: forced_error.is_some() })
    }

    /// Gives a worker another plan.
    fn redirect(&self, mut active: Active, target: Arc<Target>, forced_error: Option<&str>) -> Active {
        match self.plan(&target, forced_error) {
            Ok(plan) => {
                (active.target, active.forced_error) = (target, forced_error.is_some());
                let _ = active.orders.send(Order::Scrape(Arc::new(plan)));
            }
            Err(error) => {
                self.around.metrics.sync_failed.with([&self.job]).inc();
                tracing::error!(job = &*self.job, target = %target.url, %error, "target goes on as it was");
            }
        }
        active
    }

    fn plan(&self, target: &Arc<Target>, forced_error: Option<&str>) -> Result<Plan, TransportError> {
        let config = &*self.design.config;
        let limits = &config.limits;
        // Upstream refuses a body that reaches its limit; here a body may have as many bytes as the maximum says.
        let body_bytes_max = if limits.body_size_limit == 0 { u64::MAX } else { limits.body_size_limit - 1 };
        let request = FetchRequest {
            url: target.url.clone(),
            accept: self.design.accept.clone(),
            timeout: target.timeout,
            body_bytes_max,
            gzip: config.enable_compression,
        };
        Ok(Plan {
            fetch: self.design.transport.target(target)?,
            target: Arc::clone(target),
            request,
            fallback: config.fallback_scrape_protocol,
            rules: Arc::new(self.rules(target)),
            extra_metrics: config.extra_scrape_metrics(),
            forced_error: forced_error.map(str::to_owned),
            failures: self.design.failures.clone(),
            job: Arc::clone(&self.job),
        })
    }

    fn rules(&self, target: &Target) -> IngestRules {
        let config = &*self.design.config;
        let limits = &config.limits;
        let series = SeriesRules {
            target: target.labels.clone(),
            honor_labels: config.honor_labels,
            relabel: Arc::clone(&self.design.metric_relabel),
            names: config.name_scheme(),
            label_limit: limits.label_limit,
            name_length_limit: limits.label_name_length_limit,
            value_length_limit: limits.label_value_length_limit,
        };
        let parse = ParseOptions {
            start_timestamps: self.options.starts != StartTimestamps::Ignore,
            native_histograms: target.histograms.native,
            keep_classic_histograms: target.histograms.always_classic,
            convert_classic_histograms: target.histograms.convert_classic,
            type_and_unit_labels: self.options.type_and_unit_labels,
            ..ParseOptions::default()
        };
        IngestRules {
            series,
            parse,
            honor_timestamps: config.honor_timestamps,
            track_timestamps: config.track_timestamps_staleness,
            sample_limit: limits.sample_limit,
            buckets: BucketLimits::new(limits.native_histogram_bucket_limit, limits.native_histogram_min_bucket_factor),
            starts: self.options.starts,
            append_metadata: self.options.append_metadata,
        }
    }

    /// Ends all workers. `end_series`: their series too. Gives what is still to be waited for.
    pub(crate) fn end(self, end_series: bool) -> Vec<(watch::Sender<Order>, JoinHandle<()>)> {
        let mut ending = self.ending;
        for (_, active) in self.active {
            let _ = active.orders.send(if end_series { Order::EndSeries } else { Order::Stop });
            ending.push((active.orders, active.task));
        }
        if !end_series {
            for (orders, _) in &ending {
                let _ = orders.send(Order::Stop);
            }
        }
        ending
    }

    pub(crate) fn statuses(&self) -> impl Iterator<Item = TargetStatus> + '_ {
        self.active.values().map(|active| TargetStatus {
            scrape_pool: self.design.config.job_name.clone(),
            discovered_labels: active.target.discovered_labels.clone(),
            labels: active.target.labels.clone(),
            scrape_url: active.target.url.clone(),
            scrape_interval: active.target.interval,
            scrape_timeout: active.target.timeout,
            last: active.status.lock().clone(),
        })
    }

    pub(crate) fn dropped(&self) -> DroppedTargets {
        DroppedTargets {
            scrape_pool: self.design.config.job_name.clone(),
            discovered_labels: self.dropped.clone(),
            count: self.dropped_count,
        }
    }

    pub(crate) fn metadata(&self) -> impl Iterator<Item = TargetMetadata> + '_ {
        self.active.values().map(|active| TargetMetadata {
            scrape_pool: self.design.config.job_name.clone(),
            labels: active.target.labels.clone(),
            families: active.metadata.lock().all(),
        })
    }

    /// Families and bytes of the metadata of all targets.
    pub(crate) fn metadata_size(&self) -> (usize, usize) {
        let sizes = self.active.values().map(|active| active.metadata.lock().size());
        sizes.fold((0, 0), |(families, bytes), (f, b)| (families + f, bytes + b))
    }
}
