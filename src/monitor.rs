//! The monitor: who owns the parts, and in which order do they start and end?
//!
//! ```text
//!  start: configuration --> sockets (not ready) --> storage (replay) --> scraping, rules --> ready
//!  close: not ready --> scraping ends --> rules end, alerts are sent --> sockets drain --> storage is synced and closed
//! ```
//!
//! A reload is a difference: jobs that did not change are not touched. One reload runs at a time.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use ferula_alerting::RuleManager;
use ferula_exposition::Registry;
use ferula_model::yaml::ByteSize;
use ferula_model::{Clock, StepGrid, Timestamp, format_duration};
use ferula_promql::{Answer, CancelToken, Engine, QueryError, QueryOptions};
use ferula_scrape::{ManagerOptions, ScrapeManager};
use ferula_tsdb::compact::Retention;
use ferula_tsdb::{Db, Reload, ReplayProgress};
use parking_lot::RwLock;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::alerts::Alerting;
use crate::api::{Api, ExternalUrl};
use crate::builder::{self, About, Contents, MonitorBuilder, Source};
use crate::config::Config;
use crate::error::Error;
use crate::features::Features;
use crate::maintain;
use crate::metrics::{self, HttpMetrics, QueryMetrics, ReloadMetrics, WriteMetrics};
use crate::own;
use crate::remote::write::WriteReceiver;
use crate::server::{Doors, Lifecycle, Readiness, Server, listen};
use crate::status::{self, StatusPages, Storekeeper};

/// A Prometheus inside this process: it scrapes, stores, and answers queries in code and over HTTP.
///
/// [`closed`](Self::closed) ends it in order. Dropping it ends it too, but at once: scrapes under way are lost, what was
/// acknowledged is not.
///
/// ```
/// use ferula::Monitor;
///
/// # fn main() -> Result<(), ferula::Error> {
/// # let folder = tempfile::tempdir().expect("a folder");
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime").block_on(async {
/// let monitor = Monitor::builder(folder.path()).listen("127.0.0.1:0").start().await?;
/// println!("http://{}/api/v1/query?query=up", monitor.addresses()[0]);
/// for sample in monitor.instant("sum by (job) (up)").await?.vector()? {
///     println!("{} {:?}", sample.labels, sample.value);
/// }
/// monitor.closed().await
/// # })
/// # }
/// ```
pub struct Monitor {
    core: Arc<Core>,
    server: Arc<Server>,
    addresses: Vec<SocketAddr>,
    sockets: Tasks,
    /// What writes into the storage.
    work: Tasks,
    upkeep: Tasks,
}

/// How many exemplars are kept if nobody says it, as upstream.
const EXEMPLARS_DEFAULT: u64 = 100_000;

/// Files are not looked at more often than this, as upstream.
const AUTO_RELOAD_MIN: Duration = Duration::from_secs(1);

/// What a reload, the API and the tasks share.
pub(crate) struct Core {
    pub(crate) db: Arc<Db>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) scrape: Arc<ScrapeManager>,
    pub(crate) alerting: Alerting,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) about: About,
    pub(crate) registry: Registry,
    /// What the program says about what is kept.
    retention: Retention,
    external_url: ExternalUrl,
    source: Source,
    features: Features,
    state: RwLock<State>,
    reloading: tokio::sync::Mutex<()>,
    reloads: ReloadMetrics,
    queries: Arc<QueryMetrics>,
    stop: watch::Sender<bool>,
}

/// The configuration in force.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) config: Arc<Config>,
    pub(crate) read_at: Timestamp,
    pub(crate) last_reload_succeeded: bool,
    /// What is kept, as `/api/v1/status/runtimeinfo` shows it.
    pub(crate) retention: String,
}

/// Tasks that end when they are told to. Dropping this tells them.
#[derive(Default)]
struct Tasks {
    stop: Option<watch::Sender<bool>>,
    handles: Vec<JoinHandle<()>>,
}

impl Tasks {
    fn new() -> Self {
        Self { stop: Some(watch::Sender::new(false)), handles: Vec::new() }
    }

    fn signal(&self) -> watch::Receiver<bool> {
        self.stop.as_ref().map_or_else(|| watch::Sender::new(true).subscribe(), watch::Sender::subscribe)
    }

    fn add(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.handles.push(tokio::spawn(task));
    }

    async fn end(mut self) {
        self.tell();
        for task in std::mem::take(&mut self.handles) {
            // A task that panicked has said so already.
            let _ = task.await;
        }
    }

    fn tell(&self) {
        if let Some(stop) = &self.stop {
            stop.send_replace(true);
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.tell();
    }
}

impl Monitor {
    /// A builder of a monitor that keeps its data in a folder, which is made if it is not there.
    pub fn builder(path: impl Into<PathBuf>) -> MonitorBuilder {
        MonitorBuilder::new(path.into())
    }

    pub(crate) async fn start(builder: MonitorBuilder) -> Result<Self, Error> {
        let source = builder.source.clone();
        let config = blocking(move || source.load()).await??;
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        let clock = Arc::clone(&builder.clock);
        let registry = builder.registry.clone().unwrap_or_else(|| Registry::with_clock(Arc::clone(&clock)));
        let ready = metrics::describe(&registry, &builder.about.build)?;
        let (web, own_metrics, auto_reload) = (builder.web.clone(), builder.own_metrics, builder.auto_reload);
        let progress = ReplayProgress::default();
        let server = {
            let (registry, progress) = (registry.clone(), progress.clone());
            let server = Server::closed()
                .with_cors(web.cors.clone())
                .with_read_timeout(web.read_timeout)
                .with_route_prefix(&web.route_prefix)
                .with_external_path(web.external_url.as_ref().map_or("", |url| &url.path))
                .with_version(&builder.about.build)
                .with_wal_replay(move || status::replay(progress.read()))
                .with_observer(Arc::new(HttpMetrics::register(&registry)?))
                .with_metrics(Arc::new(move || registry.gather()));
            Arc::new(server)
        };
        let (sockets, addresses) = open_sockets(&web, &server).await?;

        let external_url = web.external_url.clone().unwrap_or_else(|| external_url(&addresses));
        let own_port = addresses.first().map_or(0, SocketAddr::port);
        let external_url = ExternalUrl { own_port, ..external_url };
        let core = Core::open(builder, config, registry.clone(), external_url, &progress).await?;
        metrics::watch(&core)?;
        let api = core.api(web.admin);
        let (mut work, mut upkeep) = (Tasks::new(), Tasks::new());
        upkeep.add(maintain::run(Arc::downgrade(&core.db), Arc::clone(&core.clock), upkeep.signal()));
        if let Some(every) = own_metrics {
            let instance = addresses.first().map_or_else(host_name, SocketAddr::to_string);
            let storage = Arc::clone(&core.db);
            work.add(own::run(registry, storage, Arc::clone(&core.clock), instance, every, work.signal()));
        }
        if let Some(every) = auto_reload {
            let known = core.contents().await?;
            work.add(watch_files(Arc::downgrade(&core), every, known, work.signal()));
        }
        let writes = WriteMetrics::register(&core.registry)?;
        let receiver = || WriteReceiver::new(core.db.clone(), clock);
        let write = web.write_receiver.then(|| receiver().with_observer(move |summary| writes.observe(summary)));
        let lifecycle = web.lifecycle.then(|| Arc::new(Control(Arc::downgrade(&core))) as Arc<dyn Lifecycle>);
        server.open(Doors { api, write, lifecycle });
        ready.set(1.0);
        Ok(Self { core, server, addresses, sockets, work, upkeep })
    }

    /// The addresses that the monitor listens on, with the ports it really has.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The HTTP side, for a host that has a server of its own: call [`Server::handle`] with its requests.
    pub fn server(&self) -> Arc<Server> {
        Arc::clone(&self.server)
    }

    /// Where the metrics of the monitor are, and where those of the host may go.
    pub fn registry(&self) -> &Registry {
        &self.core.registry
    }

    /// The storage.
    pub fn storage(&self) -> &Arc<Db> {
        &self.core.db
    }

    /// The query engine.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.core.engine
    }

    /// The scraper: its targets, and what is known about them.
    pub fn scrape(&self) -> &Arc<ScrapeManager> {
        &self.core.scrape
    }

    /// The rules: their groups and alerts.
    pub fn rules(&self) -> &Arc<RuleManager> {
        &self.core.alerting.rules
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.core.state().config
    }

    /// Evaluates a query now. Dropping the future cancels the query.
    ///
    /// # Errors
    ///
    /// See [`QueryError`].
    pub async fn instant(&self, query: &str) -> Result<Answer, Error> {
        let now = self.core.clock.now();
        self.query(query, move |core, query, options| core.engine.instant(&*core.db, query, now, options)).await
    }

    /// Evaluates a query at each moment of a grid. Dropping the future cancels the query.
    ///
    /// # Errors
    ///
    /// See [`QueryError`].
    pub async fn range(&self, query: &str, grid: StepGrid) -> Result<Answer, Error> {
        self.query(query, move |core, query, options| core.engine.range(&*core.db, query, grid, options)).await
    }

    async fn query(
        &self,
        query: &str,
        evaluate: impl FnOnce(&Core, &str, &QueryOptions) -> Result<Answer, QueryError> + Send + 'static,
    ) -> Result<Answer, Error> {
        let cancel = CancelToken::new();
        let _guard = CancelOnDrop(cancel.clone());
        let (core, query) = (Arc::clone(&self.core), query.to_owned());
        let answer = blocking(move || {
            let mut options = QueryOptions::default();
            options.cancel = cancel;
            evaluate(&core, &query, &options)
        });
        let answer = answer.await??;
        self.core.queries.observe(&answer.statistics);
        Ok(answer)
    }

    /// Reads the configuration again and applies what changed.
    ///
    /// # Errors
    ///
    /// The configuration cannot be used; the one in force stays.
    pub async fn reload(&self) -> Result<(), Error> {
        self.core.reload().await
    }

    /// Asks whoever waits at [`stopping`](Self::stopping) to close the monitor, as `/-/quit` does.
    pub fn shutdown(&self) {
        self.core.stop.send_replace(true);
    }

    /// Waits until somebody wants the monitor to end: [`shutdown`](Self::shutdown) or `/-/quit`.
    pub async fn stopping(&self) {
        let mut stop = self.core.stop.subscribe();
        // The sender lives as long as `self`.
        let _ = stop.wait_for(|stop| *stop).await;
    }

    /// Ends the monitor: no new requests and scrapes, those under way are finished, the log is synced and the storage is
    /// closed.
    ///
    /// # Errors
    ///
    /// The storage could not be closed cleanly.
    pub async fn closed(self) -> Result<(), Error> {
        let Self { core, server, sockets, work, upkeep, .. } = self;
        server.set_readiness(Readiness::Stopping);
        core.scrape.stop().await;
        core.alerting.stop().await;
        work.end().await;
        sockets.end().await;
        upkeep.tell();
        let db = Arc::clone(&core.db);
        // This ends a merge that is under way, and with it the upkeep.
        let closed = blocking(move || db.close()).await?;
        upkeep.end().await;
        Ok(closed?)
    }
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Monitor").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

async fn open_sockets(web: &crate::builder::Web, server: &Arc<Server>) -> Result<(Tasks, Vec<SocketAddr>), Error> {
    let mut sockets = Tasks::new();
    let mut addresses = Vec::new();
    let options = listen::Options::new(web.connections_max, web.read_timeout);
    for address in &web.listen {
        let (listener, bound) = listen::bind(address).await?;
        tracing::info!(component = "web", listen = %bound, "Start listening for connections");
        sockets.add(listen::serve(listener, Arc::clone(server), options.clone(), sockets.signal()));
        addresses.push(bound);
    }
    Ok((sockets, addresses))
}

/// How others reach this server if nobody says it: by the name of the machine.
fn external_url(addresses: &[SocketAddr]) -> ExternalUrl {
    let host = match (host_name(), addresses.first()) {
        (name, Some(address)) => format!("{name}:{}", address.port()),
        (name, None) => name,
    };
    ExternalUrl { host, ..ExternalUrl::default() }
}

/// The name of the machine.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Runs `work` where blocking is allowed.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Interrupted)
}

struct CancelOnDrop(CancelToken);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Core {
    /// Opens the storage and starts what works with it.
    async fn open(
        builder: MonitorBuilder,
        config: Config,
        registry: Registry,
        external_url: ExternalUrl,
        progress: &ReplayProgress,
    ) -> Result<Arc<Self>, Error> {
        let clock = Arc::clone(&builder.clock);
        let mut engine = builder.engine.clone();
        builder.features.apply_to_engine(&mut engine);
        let transport = Arc::clone(&builder.transport);
        let (source, about, features) = (builder.source.clone(), builder.about.clone(), builder.features);
        let retention = builder.retention;
        let alerting = builder.alerting.clone();
        let options = builder.open_options(&config).replay_progress(progress);
        let db = Arc::new(blocking(move || options.open()).await??);
        report_opening(&db);
        let scrape = ManagerOptions::new(db.clone(), Arc::clone(&clock))
            .registry(registry.clone())
            .transport(transport)
            .server(&host_name(), &config.global.external_labels);
        let scrape = Arc::new(ScrapeManager::new(features.scrape_options(scrape))?);
        let engine = Arc::new(Engine::new(engine));
        let queries = Arc::new(QueryMetrics::register(&registry)?);
        let core = Arc::new(Self {
            alerting: Alerting::start(alerting, &db, &engine, &queries, &clock, &registry)?,
            db,
            engine,
            scrape,
            external_url,
            reloads: ReloadMetrics::register(&registry)?,
            queries,
            registry,
            about,
            retention,
            source,
            features,
            state: RwLock::new(State {
                config: Arc::new(Config::default()),
                read_at: clock.now(),
                last_reload_succeeded: false,
                retention: String::new(),
            }),
            reloading: tokio::sync::Mutex::new(()),
            stop: watch::Sender::new(false),
            clock,
        });
        core.apply(config).await?;
        Ok(core)
    }

    /// The API over all parts.
    fn api(self: &Arc<Self>, admin: bool) -> Api {
        let core = Arc::downgrade(self);
        let queries = Arc::clone(&self.queries);
        let api = Api::new(self.db.clone(), Arc::clone(&self.engine), Arc::clone(&self.clock))
            .with_exemplars(self.db.clone())
            .with_scrape(Arc::clone(&self.scrape))
            .with_alerting(Arc::clone(&self.alerting.rules), Arc::clone(&self.alerting.notifier))
            .with_external_url(self.external_url.clone())
            .with_query_observer(move |statistics| queries.observe(statistics))
            .with_external_labels(move || {
                let core = core.upgrade();
                core.map(|core| core.state().config.global.external_labels.clone()).unwrap_or_default()
            })
            .with_status(Arc::new(StatusPages::new(self)));
        if admin { api.with_admin(Arc::new(Storekeeper::new(self))) } else { api }
    }

    /// The configuration in force.
    pub(crate) fn state(&self) -> State {
        self.state.read().clone()
    }

    /// What the files of the configuration in force hold now.
    async fn contents(self: &Arc<Self>) -> Result<Contents, Error> {
        let core = Arc::clone(self);
        blocking(move || core.source.contents(&core.state().config)).await
    }

    /// Reads the configuration again and applies it.
    pub(crate) async fn reload(&self) -> Result<(), Error> {
        let _one_at_a_time = self.reloading.lock().await;
        let began = std::time::Instant::now();
        let file = self.source.file().map(|file| file.display().to_string()).unwrap_or_default();
        tracing::info!(filename = %file, "Loading configuration file");
        let source = self.source.clone();
        let loaded = match blocking(move || source.load()).await {
            Ok(loaded) => loaded,
            Err(interrupted) => Err(interrupted),
        };
        let applied = match loaded {
            Ok(config) => self.apply(config).await,
            Err(error) => Err(error),
        };
        match &applied {
            Ok(()) => {
                tracing::info!(filename = %file, duration = ?began.elapsed(), "Completed loading of configuration file");
            }
            Err(error) => {
                self.state.write().last_reload_succeeded = false;
                self.reloads.failed();
                tracing::error!(%error, filename = %file, "Loading configuration failed");
            }
        }
        applied
    }

    /// What a configuration says about the storage. Where it says nothing, a reload goes back to the defaults.
    fn storage_options(&self, config: &Config) -> Reload {
        let kept = builder::retention(self.retention, config.storage.retention);
        let mut options = Reload::default().retention(kept);
        let earlier = self.state().config;
        if config.storage.out_of_order_window != earlier.storage.out_of_order_window {
            options = options.out_of_order_window(config.storage.out_of_order_window.unwrap_or_default());
        }
        if config.storage.exemplars_max != earlier.storage.exemplars_max {
            let exemplars = config.storage.exemplars_max.unwrap_or(EXEMPLARS_DEFAULT);
            options = options.exemplars(usize::try_from(exemplars).unwrap_or(usize::MAX));
        }
        options
    }

    /// Puts a configuration in force. All files are read before anything changes; then each part changes as a whole or
    /// not at all.
    async fn apply(&self, config: Config) -> Result<(), Error> {
        let config = Arc::new(config);
        let (of_rules, dialect) = (Arc::clone(&config), self.alerting.dialect().clone());
        let rules = blocking(move || Alerting::load(&of_rules, &dialect)).await??;
        let mut jobs = config.scrape_configs.clone();
        if self.features.extra_scrape_metrics {
            jobs.iter_mut().for_each(|job| job.extra_scrape_metrics = Some(true));
        }
        let (db, storage) = (Arc::clone(&self.db), self.storage_options(&config));
        blocking(move || db.set_options(&storage)).await??;
        self.scrape.apply(jobs)?;
        self.alerting.apply(&config, rules, self.external_url.to_string(), &self.scrape).await?;
        let now = self.clock.now();
        let retention = retention_text(builder::retention(self.retention, config.storage.retention));
        *self.state.write() = State { config, read_at: now, last_reload_succeeded: true, retention };
        self.reloads.succeeded(now);
        Ok(())
    }
}

/// `15d or 512MiB or 80%`.
fn retention_text(kept: Retention) -> String {
    let limits = [
        kept.time.map(format_duration),
        kept.bytes_max.map(|bytes| ByteSize(bytes).to_string()),
        kept.disk_percent_max.map(|percent| format!("{percent}%")),
    ];
    limits.into_iter().flatten().collect::<Vec<_>>().join(" or ")
}

/// Reloads when a file has changed, until `stop` turns true. A change that cannot be used is tried once.
async fn watch_files(core: Weak<Core>, every: Duration, mut known: Contents, mut stop: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(every.max(AUTO_RELOAD_MIN));
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = ticks.tick() => {}
        }
        let Some(core) = core.upgrade() else { return };
        let Ok(now) = core.contents().await else { return };
        if known != now {
            tracing::info!("Configuration file change detected, reloading the configuration.");
            // What went wrong was logged, and the configuration in force stays.
            let _ = core.reload().await;
            // The configuration may name other files now.
            let Ok(now) = core.contents().await else { return };
            known = now;
        }
    }
}

/// Says what opening the storage found.
fn report_opening(db: &Db) {
    let report = db.opened();
    for (damage, lost) in &report.damage {
        tracing::warn!(%damage, ?lost, "the log was damaged: everything before that is there");
    }
    for quarantined in db.quarantined() {
        tracing::warn!(?quarantined, "a block is damaged and was put aside");
    }
    tracing::info!(series = report.series, samples = report.samples, "TSDB started");
}

/// The lifecycle over HTTP.
struct Control(Weak<Core>);

impl Lifecycle for Control {
    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        Box::pin(async {
            match self.0.upgrade() {
                Some(core) => core.reload().await.map_err(|error| error.to_string()),
                None => Err("the server is shutting down".to_owned()),
            }
        })
    }

    fn quit(&self) {
        if let Some(core) = self.0.upgrade() {
            core.stop.send_replace(true);
        }
    }
}
