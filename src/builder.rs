//! The builder: everything that can be said about a monitor before it starts.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ferula_alerting::{Alert, NotifierOptions, Rules, Webhook};
use ferula_exposition::Registry;
use ferula_model::{Clock, SystemClock};
use ferula_promql::EngineOptions;
use ferula_scrape::{HttpTransport, Transport};
use ferula_tsdb::compact::Retention;
use ferula_tsdb::{Db, DbBuilder};

use crate::alerts::{AlertingOptions, closure};
use crate::api::{BuildInfo, ExternalUrl};
use crate::config::Config;
use crate::error::Error;
use crate::features::Features;
use crate::job::Job;
use crate::monitor::Monitor;
use crate::reload::kept;
use crate::server::Cors;
use crate::source::Source;

/// What is done to the options of the storage.
type StorageOptions = Box<dyn FnOnce(DbBuilder) -> DbBuilder + Send>;

/// Everything that can be said about a [`Monitor`] before it starts; each method states its default. Made by
/// [`Monitor::builder`].
pub struct MonitorBuilder {
    pub(crate) path: PathBuf,
    pub(crate) source: Source,
    pub(crate) web: Web,
    pub(crate) registry: Option<Registry>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) engine: EngineOptions,
    pub(crate) features: Features,
    pub(crate) own_metrics: Option<Duration>,
    pub(crate) auto_reload: Option<Duration>,
    pub(crate) about: About,
    pub(crate) alerting: AlertingOptions,
    pub(crate) retention: Retention,
    storage: StorageOptions,
}

/// How the monitor shows itself to others.
#[derive(Clone)]
pub(crate) struct Web {
    pub(crate) listen: Vec<String>,
    pub(crate) route_prefix: String,
    pub(crate) external_url: Option<ExternalUrl>,
    pub(crate) cors: Cors,
    pub(crate) connections_max: usize,
    pub(crate) read_timeout: Duration,
    pub(crate) write_receiver: bool,
    pub(crate) admin: bool,
    pub(crate) lifecycle: bool,
}

/// What the monitor says about itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    pub(crate) build: BuildInfo,
    pub(crate) flags: Vec<(String, String)>,
}

impl MonitorBuilder {
    pub(crate) fn new(path: PathBuf) -> Self {
        let build = BuildInfo { version: env!("CARGO_PKG_VERSION").to_owned(), ..BuildInfo::default() };
        Self {
            path,
            source: Source { file: None, base: Config::default(), jobs: Vec::new(), environment: None },
            web: Web {
                listen: Vec::new(),
                route_prefix: String::new(),
                external_url: None,
                cors: Cors::any(),
                connections_max: 512,
                read_timeout: Duration::from_secs(300),
                write_receiver: false,
                admin: false,
                lifecycle: false,
            },
            registry: None,
            clock: Arc::new(SystemClock),
            transport: Arc::new(HttpTransport::default()),
            engine: EngineOptions::default(),
            features: Features::default(),
            own_metrics: None,
            auto_reload: None,
            about: About { build, flags: Vec::new() },
            alerting: AlertingOptions::default(),
            retention: Retention::default(),
            storage: Box::new(|options| options),
        }
    }

    /// Adds a job. Jobs added in code stay beside those of a file. Default: none.
    #[must_use]
    pub fn job(mut self, job: Job) -> Self {
        self.source.jobs.push(job);
        self
    }

    /// What the configuration says, instead of a file. Default: an empty one.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.source.base = config;
        self
    }

    /// A file `prometheus.yml` that is read at the start and at each reload. Default: none.
    #[must_use]
    pub fn config_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.source.file = Some(path.into());
        self
    }

    /// Looks every so often whether the file, or a file of rules or jobs that it names, has changed, and reloads. Default:
    /// no.
    #[must_use]
    pub fn auto_reload(mut self, every: Duration) -> Self {
        self.auto_reload = Some(every);
        self
    }

    /// Where the variables in external labels come from; a program says `|name| std::env::var(name).ok()`. Default:
    /// labels stay as they are written.
    #[must_use]
    pub fn environment(mut self, value: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        self.source.environment = Some(Arc::new(value));
        self
    }

    /// Adds rules. Rules added in code stay beside those of files. Default: none.
    #[must_use]
    pub fn rules(mut self, rules: Rules) -> Self {
        self.alerting.rules = self.alerting.rules.and(rules);
        self
    }

    /// Posts alerts to a webhook, without an Alertmanager between. Can be said several times. Default: to nobody but the
    /// Alertmanagers of the configuration.
    #[must_use]
    pub fn notify(mut self, webhook: Webhook) -> Self {
        self.alerting.webhooks.push(webhook);
        self
    }

    /// Hands alerts to a closure, rule by rule, as they are sent to Alertmanagers. It must not block for long: the rule's
    /// group waits. Can be said several times.
    #[must_use]
    pub fn on_alerts(mut self, take: impl Fn(Vec<Alert>) + Send + Sync + 'static) -> Self {
        self.alerting.sinks.push(closure(take));
        self
    }

    /// The longest outage after which `for` goes on where it was. Default: one hour.
    #[must_use]
    pub fn alert_outage_tolerance(mut self, tolerance: Duration) -> Self {
        self.alerting.outage_tolerance = tolerance;
        self
    }

    /// The least time between a restart and an alert whose `for` goes on. Default: ten minutes.
    #[must_use]
    pub fn alert_grace_period(mut self, period: Duration) -> Self {
        self.alerting.grace_period = period;
        self
    }

    /// After how long an alert that fires on is sent again. Default: one minute.
    #[must_use]
    pub fn alert_resend_delay(mut self, delay: Duration) -> Self {
        self.alerting.resend_delay = delay;
        self
    }

    /// How many rules of a group may be evaluated at one time where they do not depend on each other. Default: one.
    #[must_use]
    pub fn rule_concurrency(mut self, rules: usize) -> Self {
        self.alerting.concurrency = rules;
        self
    }

    /// How Alertmanagers are told: queues, batches, proxies. Default: as Prometheus.
    #[must_use]
    pub fn notifier(mut self, options: NotifierOptions) -> Self {
        self.alerting.notifier = options;
        self
    }

    /// How long samples are kept. A file's `storage.tsdb.retention` overrules this. Default: 15 days, or without limit if
    /// there is one of size.
    #[must_use]
    pub fn retention(mut self, time: Duration) -> Self {
        self.retention.time = Some(time);
        self
    }

    /// How many bytes are kept, logs included; the oldest blocks go first. Default: no limit.
    #[must_use]
    pub fn retention_bytes(mut self, bytes: u64) -> Self {
        self.retention.bytes_max = Some(bytes);
        self
    }

    /// Anything else about the storage: durability, limits of memory, a file system of the host's own.
    ///
    /// ```
    /// use ferula::Monitor;
    /// use ferula::tsdb::Durability;
    ///
    /// let builder = Monitor::builder("data").storage(|db| db.durability(Durability::Always).series_limit(1_000_000));
    /// ```
    #[must_use]
    pub fn storage(mut self, options: impl FnOnce(DbBuilder) -> DbBuilder + Send + 'static) -> Self {
        let earlier = self.storage;
        self.storage = Box::new(move |db| options(earlier(db)));
        self
    }

    /// How queries are evaluated. Default: as Prometheus.
    #[must_use]
    pub fn engine(mut self, options: EngineOptions) -> Self {
        self.engine = options;
        self
    }

    /// What is experimental. Default: nothing.
    #[must_use]
    pub fn features(mut self, features: Features) -> Self {
        self.features = features;
        self
    }

    /// Serves the HTTP API at an address, `host:port`; port 0 takes a free one. Can be said several times. Default: no
    /// socket.
    #[must_use]
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.web.listen.push(address.into());
        self
    }

    /// Serves everything below a path. Default: the path of the external URL.
    #[must_use]
    pub fn route_prefix(mut self, prefix: &str) -> Self {
        self.web.route_prefix = format!("/{}", prefix.trim_matches('/')).trim_end_matches('/').to_owned();
        self
    }

    /// Under which URL others reach this server. Default: the name of the machine and the port of the first address.
    #[must_use]
    pub fn external_url(mut self, url: ExternalUrl) -> Self {
        self.web.route_prefix.clone_from(&url.path);
        self.web.external_url = Some(url);
        self
    }

    /// Which origins a browser may ask from. Default: any.
    #[must_use]
    pub fn cors(mut self, cors: Cors) -> Self {
        self.web.cors = cors;
        self
    }

    /// How many connections are open at one time at all addresses together; further ones wait. Default: 512.
    #[must_use]
    pub fn connections_max(mut self, connections: usize) -> Self {
        self.web.connections_max = connections;
        self
    }

    /// How long a client may take to send the head of a request and then its body, and how long an idle connection is kept.
    /// Default: five minutes; zero is no limit.
    #[must_use]
    pub fn read_timeout(mut self, timeout: Duration) -> Self {
        self.web.read_timeout = timeout;
        self
    }

    /// Takes samples by remote write at `/api/v1/write`. Default: no.
    #[must_use]
    pub fn remote_write_receiver(mut self, on: bool) -> Self {
        self.web.write_receiver = on;
        self
    }

    /// Allows deletions and snapshots over HTTP. Default: no.
    #[must_use]
    pub fn admin_api(mut self, on: bool) -> Self {
        self.web.admin = on;
        self
    }

    /// Allows `/-/reload` and `/-/quit`. Default: no.
    #[must_use]
    pub fn lifecycle(mut self, on: bool) -> Self {
        self.web.lifecycle = on;
        self
    }

    /// Where the monitor's own metrics go; `/metrics` shows all of it. A host registers its metrics in the same one.
    /// Default: one of its own, see [`Monitor::registry`]. A registry without a clock gets no summaries.
    #[must_use]
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Stores what the registry holds, every so often, without HTTP between: an application that monitors itself. Series
    /// get the labels `job="ferula"` and `instance`, the first listening address or the machine's name. Default: no.
    #[must_use]
    pub fn store_own_metrics(mut self, every: Duration) -> Self {
        self.own_metrics = Some(every);
        self
    }

    /// What time it is. Default: the system's clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// How targets are reached. Default: HTTP.
    #[must_use]
    pub fn transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = transport;
        self
    }

    /// Which build this is, for `/api/v1/status/buildinfo` and `prometheus_build_info`. Default: the version of this crate.
    #[must_use]
    pub fn build_info(mut self, build: BuildInfo) -> Self {
        self.about.build = build;
        self
    }

    /// The flags that the program was started with, for `/api/v1/status/flags`. Default: none.
    #[must_use]
    pub fn flags(mut self, flags: impl IntoIterator<Item = (String, String)>) -> Self {
        self.about.flags = flags.into_iter().collect();
        self.about.flags.sort();
        self
    }

    /// Opens the storage and the sockets and begins to scrape. While the storage is replayed, the sockets answer already:
    /// healthy, not ready.
    ///
    /// # Errors
    ///
    /// See [`Error`]; nothing runs then.
    pub async fn start(self) -> Result<Monitor, Error> {
        Monitor::start(self).await
    }

    /// The storage's options, as this builder and the configuration have them.
    pub(crate) fn open_options(self, config: &Config) -> DbBuilder {
        let retention = kept(self.retention, config.storage.retention);
        let mut options = Db::builder(&self.path)
            .clock(Arc::clone(&self.clock))
            .retention(retention)
            .float_encoding(self.features.float_encoding(config.storage.float_encoding));
        options = self.features.storage_options(options);
        if let Some(window) = config.storage.out_of_order_window {
            options = options.out_of_order_window(window);
        }
        if let Some(exemplars) = config.storage.exemplars_max {
            options = options.exemplars(usize::try_from(exemplars).unwrap_or(usize::MAX));
        }
        (self.storage)(options)
    }
}
