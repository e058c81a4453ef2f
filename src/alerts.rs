//! Rules and notification: the parts of alerting, kept in line with the configuration.
//!
//! ```text
//!  storage --queries--> RuleManager --alerts--> Notifier --> Alertmanagers, as discovery finds them
//!     ^                     |          '------> webhooks and closures of the host
//!     '---recorded series---'
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ferula_alerting::rule::RuleLanguage;
use ferula_alerting::{
    Alert, AlertRelabel, AlertSink, AlertmanagerSet, Endpoints, EngineSource, Notifier, NotifierConfig,
    NotifierOptions, QuerySource, RuleFile, RuleManager, RuleManagerOptions, RuleSettings, Rules, Webhook, WebhookSink,
    endpoints_of_group,
};
use ferula_exposition::Registry;
use ferula_model::{Clock, Labels, Timestamp};
use ferula_promql::syntax::Dialect;
use ferula_promql::{Answer, CancelToken, Engine, QueryError};
use ferula_scrape::ScrapeManager;
use ferula_scrape::discovery::DiscoveryWatch;
use ferula_scrape::relabel::{NameScheme, RelabelConfig, relabel};
use ferula_tsdb::Db;
use parking_lot::Mutex;

use crate::config::{AlertmanagerSection, Config};
use crate::error::Error;
use crate::metrics::QueryMetrics;

/// What a host says about rules and notification.
#[derive(Clone)]
pub(crate) struct AlertingOptions {
    pub(crate) rules: Rules,
    pub(crate) webhooks: Vec<Webhook>,
    pub(crate) sinks: Vec<Arc<dyn AlertSink>>,
    pub(crate) outage_tolerance: Duration,
    pub(crate) grace_period: Duration,
    pub(crate) resend_delay: Duration,
    pub(crate) concurrency: usize,
    pub(crate) notifier: NotifierOptions,
}

impl Default for AlertingOptions {
    /// As upstream.
    fn default() -> Self {
        Self {
            rules: Rules::default(),
            webhooks: Vec::new(),
            sinks: Vec::new(),
            outage_tolerance: Duration::from_secs(3600),
            grace_period: Duration::from_secs(600),
            resend_delay: Duration::from_secs(60),
            concurrency: 0,
            notifier: NotifierOptions::default(),
        }
    }
}

/// The rule manager, and everybody it tells.
pub(crate) struct Alerting {
    pub(crate) rules: Arc<RuleManager>,
    pub(crate) notifier: Arc<Notifier>,
    webhooks: Vec<Arc<WebhookSink>>,
    /// Rules that were added in code.
    own_rules: Rules,
    dialect: Dialect,
    /// Is pulled at the end, so that long queries of rules do not hold it up.
    cancel: CancelToken,
    watches: Mutex<Vec<DiscoveryWatch>>,
}

impl Alerting {
    pub(crate) fn start(
        options: AlertingOptions,
        db: &Arc<Db>,
        engine: &Arc<Engine>,
        metrics: &Arc<QueryMetrics>,
        clock: &Arc<dyn Clock>,
        registry: &Registry,
    ) -> Result<Self, Error> {
        let cancel = CancelToken::new();
        let source = EngineSource::new(Arc::clone(engine), db.clone()).cancel(cancel.clone());
        let source = Observed { source, metrics: Arc::clone(metrics) };
        let notifier = Arc::new(Notifier::new(options.notifier.registry(registry.clone()))?);
        let mut manager = RuleManagerOptions::new(Arc::new(source), db.clone(), Arc::clone(clock))
            .registry(registry.clone())
            .restore_from(db.clone())
            .outage_tolerance(options.outage_tolerance)
            .grace_period(options.grace_period)
            .resend_delay(options.resend_delay)
            .concurrency(options.concurrency)
            .notify(Arc::clone(&notifier) as Arc<dyn AlertSink>);
        let mut webhooks = Vec::new();
        for webhook in options.webhooks {
            let sink = Arc::new(webhook.start(Arc::clone(clock), registry)?);
            manager = manager.notify(Arc::clone(&sink) as Arc<dyn AlertSink>);
            webhooks.push(sink);
        }
        manager = options.sinks.into_iter().fold(manager, RuleManagerOptions::notify);
        Ok(Self {
            rules: Arc::new(RuleManager::new(manager)?),
            notifier,
            webhooks,
            own_rules: options.rules,
            dialect: engine.options().dialect.clone(),
            cancel,
            watches: Mutex::default(),
        })
    }

    /// Reads the rule files of a configuration. This touches the disk.
    pub(crate) fn load(config: &Config, dialect: &Dialect) -> Result<Rules, Error> {
        let legacy_names = config.global.scrape.metric_name_validation_scheme == NameScheme::Legacy;
        let language = RuleLanguage { dialect: dialect.clone(), legacy_names };
        let files: Result<Vec<RuleFile>, _> =
            config.rule_file_paths().into_iter().map(|path: PathBuf| RuleFile::load(path, &language)).collect();
        Ok(Rules::from(files?))
    }

    /// The language of rules.
    pub(crate) fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    /// Puts rules and Alertmanagers in force.
    pub(crate) async fn apply(
        &self,
        config: &Config,
        rules: Rules,
        external_url: String,
        scrape: &ScrapeManager,
    ) -> Result<(), Error> {
        let external_labels = config.global.external_labels.clone();
        self.notifier.apply(NotifierConfig {
            external_labels: external_labels.clone(),
            relabel: rewriting(&config.alerting.alert_relabel_configs),
            sets: config.alerting.alertmanagers.iter().enumerate().map(set).collect(),
        })?;
        let watches: Result<Vec<_>, Error> = config
            .alerting
            .alertmanagers
            .iter()
            .enumerate()
            .map(|(index, section)| self.find(&set_name(index), section, scrape))
            .collect();
        *self.watches.lock() = watches?;
        let settings = RuleSettings {
            interval: config.global.evaluation_interval,
            query_offset: config.global.rule_query_offset,
            external_labels,
            external_url,
        };
        Ok(self.rules.apply(rules.and(self.own_rules.clone()), settings).await?)
    }

    /// Follows the discoveries of a set of Alertmanagers.
    fn find(&self, name: &str, section: &AlertmanagerSection, scrape: &ScrapeManager) -> Result<DiscoveryWatch, Error> {
        let (notifier, set) = (Arc::downgrade(&self.notifier), name.to_owned());
        let (config, rules) = (section.alertmanager.clone(), rewriting(&section.relabel_configs));
        let watch = scrape.watch(name, &section.discovery, move |groups| {
            let Some(notifier) = notifier.upgrade() else { return };
            let mut all = Endpoints::default();
            for group in groups {
                match endpoints_of_group(&config, &group.targets, &group.labels, rules.as_deref()) {
                    Ok(endpoints) => all = all.and(endpoints),
                    Err(error) => tracing::error!(%error, set, "Creating targets failed"),
                }
            }
            notifier.set_endpoints(&set, all);
        });
        Ok(watch?)
    }

    /// Ends evaluation, then sends what waits.
    pub(crate) async fn stop(&self) {
        self.watches.lock().clear();
        self.cancel.cancel();
        self.rules.stop().await;
        self.notifier.stop().await;
        for webhook in &self.webhooks {
            webhook.stop().await;
        }
    }
}

/// Answers the queries of rules, and counts them as all others.
struct Observed {
    source: EngineSource,
    metrics: Arc<QueryMetrics>,
}

impl QuerySource for Observed {
    fn instant(&self, query: &str, at: Timestamp) -> Result<Answer, QueryError> {
        let answer = self.source.instant(query, at)?;
        self.metrics.observe(&answer.statistics);
        Ok(answer)
    }
}

/// What upstream calls the sets.
fn set_name(index: usize) -> String {
    format!("config-{index}")
}

fn set((index, section): (usize, &AlertmanagerSection)) -> AlertmanagerSet {
    AlertmanagerSet {
        name: set_name(index),
        config: section.alertmanager.clone(),
        relabel: rewriting(&section.alert_relabel_configs),
    }
}

/// Rules of relabelling as the notifier takes them; none if there are none.
fn rewriting(rules: &[RelabelConfig]) -> Option<Arc<dyn AlertRelabel>> {
    if rules.is_empty() {
        return None;
    }
    let rules = rules.to_vec();
    Some(Arc::new(move |labels: Labels| {
        let mut builder = labels.to_builder();
        relabel(&mut builder, &rules).then(|| builder.build())
    }))
}

/// A closure of the host as a sink.
pub(crate) fn closure(take: impl Fn(Vec<Alert>) + Send + Sync + 'static) -> Arc<dyn AlertSink> {
    Arc::new(take)
}
