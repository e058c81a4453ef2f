//! The notifier: alerts on their way to outside Alertmanagers.
//!
//! ```text
//!  send --external labels, alert_relabel_configs--> for each set: its alert_relabel_configs
//!                                                       '--> for each endpoint: queue --batches--> POST /api/v2/alerts
//! ```
//!
//! Every endpoint has a queue and a task of its own, so that a slow one holds up nobody. A message that fails is not sent
//! again: its alerts come again by themselves after the resend delay of their rules. What is lost is counted.

mod body;
mod config;
mod endpoint;
mod metrics;
mod queue;

pub use config::AlertmanagerConfig;
pub use endpoint::{EndpointError, Endpoints, endpoints_of_group};

pub(crate) use body::{texts, to_json};
pub(crate) use queue::{Mail, PostError};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ferula_exposition::Registry;
use ferula_exposition::registry::RegisterError;
use ferula_http::{BuildError, Client, ProxyEnvironment};
use ferula_model::Labels;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::runtime::Handle;

use crate::alert::{Alert, AlertSink};
use metrics::NotifierMetrics;
use queue::Sender;

/// Changes the labels of an alert or an Alertmanager, or drops it. Closures are that.
pub trait AlertRelabel: Send + Sync {
    /// The new labels; `None` drops what they belong to.
    fn relabel(&self, labels: Labels) -> Option<Labels>;
}

impl<F: Fn(Labels) -> Option<Labels> + Send + Sync> AlertRelabel for F {
    fn relabel(&self, labels: Labels) -> Option<Labels> {
        self(labels)
    }
}

/// How many alerts go into one message if nobody says it, as upstream.
const BATCH_SIZE: usize = 256;

/// What a notifier works with.
#[derive(Clone, Debug)]
pub struct NotifierOptions {
    registry: Registry,
    queue_capacity: usize,
    batch_size: usize,
    drain: bool,
    user_agent: String,
    proxies: ProxyEnvironment,
}

impl Default for NotifierOptions {
    /// Upstream's defaults: 10,000 alerts wait for each endpoint, 256 go into a message, queues are drained at the end.
    fn default() -> Self {
        Self {
            registry: Registry::new(),
            queue_capacity: 10_000,
            batch_size: BATCH_SIZE,
            drain: true,
            user_agent: crate::USER_AGENT.to_owned(),
            proxies: ProxyEnvironment::default(),
        }
    }
}

impl NotifierOptions {
    /// Where the notifier's metrics go.
    #[must_use]
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// How many alerts may wait for each endpoint (`--alertmanager.notification-queue-capacity`); beyond, the oldest are
    /// dropped. At least 1.
    #[must_use]
    pub fn queue_capacity(mut self, alerts: usize) -> Self {
        self.queue_capacity = alerts.max(1);
        self
    }

    /// How many alerts go into one message (`--alertmanager.notification-batch-size`); 0 is the default.
    #[must_use]
    pub fn batch_size(mut self, alerts: usize) -> Self {
        self.batch_size = if alerts == 0 { BATCH_SIZE } else { alerts };
        self
    }

    /// Whether [`Notifier::stop`] sends what waits (`--alertmanager.drain-notification-queue-on-shutdown`).
    #[must_use]
    pub fn drain(mut self, on: bool) -> Self {
        self.drain = on;
        self
    }

    /// The `User-Agent` of the messages.
    #[must_use]
    pub fn user_agent(mut self, text: impl Into<String>) -> Self {
        self.user_agent = text.into();
        self
    }

    /// The proxies that `proxy_from_environment` means. Default: none.
    #[must_use]
    pub fn proxies(mut self, proxies: ProxyEnvironment) -> Self {
        self.proxies = proxies;
        self
    }
}

/// To whom alerts go.
#[derive(Clone, Default)]
pub struct NotifierConfig {
    /// Labels for alerts that have none of that name.
    pub external_labels: Labels,
    /// `alerting.alert_relabel_configs`.
    pub relabel: Option<Arc<dyn AlertRelabel>>,
    /// The sets of Alertmanagers; each name once.
    pub sets: Vec<AlertmanagerSet>,
}

/// One entry of `alerting.alertmanagers`.
#[derive(Clone)]
pub struct AlertmanagerSet {
    /// How it is called in [`Notifier::set_endpoints`]; upstream calls them `config-0`, `config-1`, ...
    pub name: String,
    /// How its Alertmanagers are reached.
    pub config: AlertmanagerConfig,
    /// Its `alert_relabel_configs`.
    pub relabel: Option<Arc<dyn AlertRelabel>>,
}

/// Why a notifier could not be made, or a configuration was not applied.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NotifierError {
    /// A notifier starts tasks, and there is nothing to run them.
    #[error("a notifier must be made inside a tokio runtime")]
    NoRuntime,
    /// Its metrics collide with others of the registry.
    #[error(transparent)]
    Metrics(#[from] RegisterError),
    /// Two sets of one name.
    #[error("found two sets of alertmanagers of the name {0:?}")]
    RepeatedSet(String),
    /// The HTTP client of a set cannot be built.
    #[error("alertmanagers {set}: {source}")]
    Client {
        /// The set.
        set: String,
        /// What is wrong.
        #[source]
        source: BuildError,
    },
    /// The notifier was stopped.
    #[error("the notifier is stopped")]
    Stopped,
}

/// Sends alerts to Alertmanagers (API v2). Dropping it stops at once; [`stop`](Self::stop) sends what waits.
///
/// ```
/// use std::sync::Arc;
/// use ferula_alerting::{AlertmanagerConfig, AlertmanagerSet, Endpoints, Notifier, NotifierConfig, NotifierOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let notifier = Notifier::new(NotifierOptions::default())?;
/// let set = AlertmanagerSet { name: "main".into(), config: AlertmanagerConfig::default(), relabel: None };
/// notifier.apply(NotifierConfig { sets: vec![set], ..NotifierConfig::default() })?;
/// let active = vec!["http://127.0.0.1:9093/api/v2/alerts".to_owned()];
/// notifier.set_endpoints("main", Endpoints { active, dropped: Vec::new() });
/// assert_eq!(notifier.alertmanagers().len(), 1);
/// notifier.stop().await;
/// # Ok(()) })
/// # }
/// ```
pub struct Notifier {
    options: NotifierOptions,
    metrics: NotifierMetrics,
    runtime: Handle,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    external_labels: Labels,
    relabel: Option<Arc<dyn AlertRelabel>>,
    sets: BTreeMap<String, Set>,
    stopped: bool,
}

struct Set {
    set: AlertmanagerSet,
    client: Client,
    senders: BTreeMap<String, Sender>,
    dropped: Vec<String>,
}

impl Notifier {
    /// A notifier that knows no Alertmanager.
    ///
    /// # Errors
    ///
    /// See [`NotifierError`].
    pub fn new(options: NotifierOptions) -> Result<Self, NotifierError> {
        let runtime = Handle::try_current().map_err(|_| NotifierError::NoRuntime)?;
        let metrics = NotifierMetrics::register(&options.registry, options.queue_capacity)?;
        Ok(Self { options, metrics, runtime, state: Mutex::default() })
    }

    /// Applies a configuration. Sets that are reached as before keep their endpoints, queues and connections; new ones
    /// have no endpoint yet.
    ///
    /// # Errors
    ///
    /// See [`NotifierError`]; then nothing changes.
    pub fn apply(&self, config: NotifierConfig) -> Result<(), NotifierError> {
        let mut state = self.state.lock();
        if state.stopped {
            return Err(NotifierError::Stopped);
        }
        let mut clients: BTreeMap<String, Option<Client>> = BTreeMap::new();
        for set in &config.sets {
            let unchanged = state.sets.get(&set.name).is_some_and(|known| known.set.config == set.config);
            let client = if unchanged { None } else { Some(self.client(set)?) };
            if clients.insert(set.name.clone(), client).is_some() {
                return Err(NotifierError::RepeatedSet(set.name.clone()));
            }
        }
        let mut known = std::mem::take(&mut state.sets);
        for set in config.sets {
            let name = set.name.clone();
            let new = match (clients.remove(&name).flatten(), known.remove(&name)) {
                (None, Some(same)) => Set { set, ..same },
                (Some(client), _) => Set { set, client, senders: BTreeMap::new(), dropped: Vec::new() },
                (None, None) => continue,
            };
            state.sets.insert(name, new);
        }
        drop(known);
        state.external_labels = config.external_labels;
        state.relabel = config.relabel;
        self.count_endpoints(&state);
        Ok(())
    }

    fn client(&self, set: &AlertmanagerSet) -> Result<Client, NotifierError> {
        Client::builder(&set.config.http)
            .user_agent(&self.options.user_agent)
            .proxy_environment(self.options.proxies.clone())
            .build()
            .map_err(|source| NotifierError::Client { set: set.name.clone(), source })
    }

    /// The Alertmanagers of a set, as discovery found them: these and no others. Alerts that wait for one that is gone
    /// are dropped and counted. A set that is not configured is ignored.
    pub fn set_endpoints(&self, set: &str, endpoints: Endpoints) {
        let mut state = self.state.lock();
        if let Some(known) = state.sets.get_mut(set) {
            let wanted: BTreeSet<String> = endpoints.active.into_iter().collect();
            known.senders.retain(|url, _| wanted.contains(url));
            for url in wanted {
                let mail = Mail { client: known.client.clone(), timeout: known.set.config.timeout, url: url.clone() };
                known.senders.entry(url).or_insert_with(|| {
                    let (capacity, batch) = (self.options.queue_capacity, self.options.batch_size);
                    Sender::start(mail, capacity, batch, &self.metrics, &self.runtime)
                });
            }
            known.dropped = endpoints.dropped;
        }
        self.count_endpoints(&state);
    }

    fn count_endpoints(&self, state: &State) {
        let urls: BTreeSet<&String> = state.sets.values().flat_map(|set| set.senders.keys()).collect();
        self.metrics.discovered.set(urls.len() as f64);
        self.metrics.keep(|url| urls.iter().any(|known| *known == url));
    }

    /// The Alertmanagers in use, as URLs that alerts are posted to.
    pub fn alertmanagers(&self) -> Vec<String> {
        self.state.lock().sets.values().flat_map(|set| set.senders.keys().cloned()).collect()
    }

    /// The Alertmanagers that relabelling dropped.
    pub fn dropped_alertmanagers(&self) -> Vec<String> {
        self.state.lock().sets.values().flat_map(|set| set.dropped.iter().cloned()).collect()
    }

    /// Stops: what waits is sent, one try each, or dropped and counted if the options say so.
    pub async fn stop(&self) {
        let senders: Vec<Sender> = {
            let mut state = self.state.lock();
            state.stopped = true;
            std::mem::take(&mut state.sets).into_values().flat_map(|set| set.senders.into_values()).collect()
        };
        for sender in &senders {
            sender.close(self.options.drain);
        }
        for sender in senders {
            sender.ended().await;
        }
    }
}

impl AlertSink for Notifier {
    fn send(&self, alerts: Vec<Alert>) {
        let state = self.state.lock();
        let alerts: Vec<Alert> = alerts
            .into_iter()
            .map(|alert| alert.with_labels_below(&state.external_labels))
            .filter_map(|alert| relabelled(alert, state.relabel.as_deref()))
            .collect();
        for set in state.sets.values().filter(|set| !set.senders.is_empty()) {
            let of_set: Vec<Arc<Alert>> = alerts
                .iter()
                .filter_map(|alert| relabelled(alert.clone(), set.set.relabel.as_deref()).map(Arc::new))
                .collect();
            for sender in set.senders.values() {
                sender.add(&of_set);
            }
        }
    }
}

fn relabelled(alert: Alert, rules: Option<&dyn AlertRelabel>) -> Option<Alert> {
    match rules {
        None => Some(alert),
        Some(rules) => rules.relabel(alert.labels.clone()).map(|labels| Alert { labels, ..alert }),
    }
}

impl std::fmt::Debug for Notifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notifier").field("alertmanagers", &self.alertmanagers()).finish_non_exhaustive()
    }
}
