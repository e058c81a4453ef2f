//! The core: the parts of a monitor, as a reload, the API and the tasks share them.

use std::sync::Arc;

use ferula_exposition::Registry;
use ferula_model::Clock;
use ferula_promql::Engine;
use ferula_scrape::{ManagerOptions, ScrapeManager};
use ferula_tsdb::{Db, ReplayProgress};
use tokio::sync::watch;

use crate::alerts::Alerting;
use crate::api::{Api, ExternalUrl};
use crate::builder::{About, MonitorBuilder};
use crate::config::Config;
use crate::error::Error;
use crate::metrics::QueryMetrics;
use crate::reload::{Settings, State};
use crate::source::Contents;
use crate::status::{StatusPages, Storekeeper};

/// What a reload, the API and the tasks share.
pub(crate) struct Core {
    pub(crate) db: Arc<Db>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) scrape: Arc<ScrapeManager>,
    pub(crate) alerting: Alerting,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) about: About,
    pub(crate) registry: Registry,
    pub(crate) external_url: ExternalUrl,
    pub(crate) queries: Arc<QueryMetrics>,
    /// Turns true when somebody wants the monitor to end.
    pub(crate) stop: watch::Sender<bool>,
    settings: Settings,
}

impl Core {
    /// Opens the storage and starts what works with it.
    pub(crate) async fn open(
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
        let (about, features) = (builder.about.clone(), builder.features);
        let settings = Settings::new(&builder, &registry)?;
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
            queries,
            registry,
            about,
            stop: watch::Sender::new(false),
            settings,
            clock,
        });
        core.settings.apply(&core, config).await?;
        Ok(core)
    }

    /// The API over all parts.
    pub(crate) fn api(self: &Arc<Self>, admin: bool) -> Api {
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
        self.settings.state()
    }

    /// What the files of the configuration in force hold now.
    pub(crate) async fn contents(&self) -> Result<Contents, Error> {
        self.settings.contents().await
    }

    /// Reads the configuration again and applies it.
    ///
    /// # Errors
    ///
    /// The configuration cannot be used; the one in force stays.
    pub(crate) async fn reload(&self) -> Result<(), Error> {
        self.settings.reload(self).await
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

/// The name of the machine.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Runs `work` where blocking is allowed.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Interrupted)
}
