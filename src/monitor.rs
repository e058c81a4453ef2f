//! The monitor: who owns the parts, and in which order do they start and end?
//!
//! ```text
//!  start: configuration --> sockets (not ready) --> storage (replay) --> scraping, rules --> ready
//!  close: not ready --> scraping ends --> rules end, alerts are sent --> sockets drain --> storage is synced and closed
//! ```
//!
//! What runs meanwhile is held together by [`parts`](crate::parts); how another configuration comes into force is told in
//! [`reload`](crate::reload).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ferula_alerting::RuleManager;
use ferula_exposition::Registry;
use ferula_model::StepGrid;
use ferula_promql::{Answer, CancelToken, Engine, QueryError, QueryOptions};
use ferula_scrape::ScrapeManager;
use ferula_tsdb::{Db, ReplayProgress};

use crate::api::ExternalUrl;
use crate::builder::{MonitorBuilder, Web};
use crate::config::Config;
use crate::error::Error;
use crate::metrics::{self, HttpMetrics, WriteMetrics};
use crate::parts::{Core, blocking, host_name};
use crate::reload::{Control, watch_files};
use crate::remote::write::WriteReceiver;
use crate::server::{Doors, Lifecycle, Readiness, Server, listen};
use crate::tasks::Tasks;
use crate::{maintain, own, status};

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
///     println!("{} {}", sample.labels, sample.value);
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

async fn open_sockets(web: &Web, server: &Arc<Server>) -> Result<(Tasks, Vec<SocketAddr>), Error> {
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

struct CancelOnDrop(CancelToken);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
