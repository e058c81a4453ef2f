//! Which configuration is in force, and how does another one come into force?
//!
//! A reload is a difference: what did not change is not touched. All files are read before anything changes, one reload
//! runs at a time, and a configuration that cannot be used leaves the one in force.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use ferula_exposition::Registry;
use ferula_exposition::registry::RegisterError;
use ferula_model::yaml::ByteSize;
use ferula_model::{Timestamp, format_duration};
use ferula_scrape::ScrapeConfig;
use ferula_tsdb::Reload;
use ferula_tsdb::compact::Retention;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::alerts::Alerting;
use crate::builder::MonitorBuilder;
use crate::config::{Config, RetentionConfig};
use crate::error::Error;
use crate::features::Features;
use crate::metrics::ReloadMetrics;
use crate::parts::{Core, blocking};
use crate::server::Lifecycle;
use crate::source::{Contents, Source};

/// How many exemplars are kept if nobody says it, as upstream.
const EXEMPLARS_DEFAULT: u64 = 100_000;

/// Files are not looked at more often than this, as upstream.
const AUTO_RELOAD_MIN: Duration = Duration::from_secs(1);

/// How long samples are kept if nobody says how much: 15 days, as Prometheus.
const RETENTION_DEFAULT: Duration = Duration::from_secs(15 * 86_400);

/// The configuration in force, and what a program says besides it.
pub(crate) struct Settings {
    source: Source,
    /// What the program says about what is kept.
    retention: Retention,
    /// What is experimental, some of it for all jobs.
    features: Features,
    state: RwLock<State>,
    one_at_a_time: tokio::sync::Mutex<()>,
    metrics: ReloadMetrics,
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

impl Settings {
    /// Nothing is in force yet.
    pub(crate) fn new(builder: &MonitorBuilder, registry: &Registry) -> Result<Self, RegisterError> {
        Ok(Self {
            source: builder.source.clone(),
            retention: builder.retention,
            features: builder.features,
            state: RwLock::new(State {
                config: Arc::new(Config::default()),
                read_at: builder.clock.now(),
                last_reload_succeeded: false,
                retention: String::new(),
            }),
            one_at_a_time: tokio::sync::Mutex::new(()),
            metrics: ReloadMetrics::register(registry)?,
        })
    }

    pub(crate) fn state(&self) -> State {
        self.state.read().clone()
    }

    /// What the files of the configuration in force hold now.
    pub(crate) async fn contents(&self) -> Result<Contents, Error> {
        let (source, config) = (self.source.clone(), self.state().config);
        blocking(move || source.contents(&config)).await
    }

    /// Reads the configuration again and applies it.
    pub(crate) async fn reload(&self, parts: &Core) -> Result<(), Error> {
        let _one_at_a_time = self.one_at_a_time.lock().await;
        let began = std::time::Instant::now();
        let file = self.source.file().map(|file| file.display().to_string()).unwrap_or_default();
        tracing::info!(filename = %file, "Loading configuration file");
        let source = self.source.clone();
        let loaded = match blocking(move || source.load()).await {
            Ok(loaded) => loaded,
            Err(interrupted) => Err(interrupted),
        };
        let applied = match loaded {
            Ok(config) => self.apply(parts, config).await,
            Err(error) => Err(error),
        };
        match &applied {
            Ok(()) => {
                tracing::info!(filename = %file, duration = ?began.elapsed(), "Completed loading of configuration file");
            }
            Err(error) => {
                self.state.write().last_reload_succeeded = false;
                self.metrics.failed();
                tracing::error!(%error, filename = %file, "Loading configuration failed");
            }
        }
        applied
    }

    /// Puts a configuration in force. All files are read before anything changes; then each part changes as a whole or
    /// not at all.
    pub(crate) async fn apply(&self, parts: &Core, config: Config) -> Result<(), Error> {
        let config = Arc::new(config);
        let (of_rules, dialect) = (Arc::clone(&config), parts.alerting.dialect().clone());
        let rules = blocking(move || Alerting::load(&of_rules, &dialect)).await??;
        let mut jobs = config.scrape_configs.clone();
        if self.features.extra_scrape_metrics {
            jobs.iter_mut().for_each(|job| job.extra_scrape_metrics = Some(true));
        }
        if self.features.prefers_protobuf() {
            jobs.iter_mut().for_each(ScrapeConfig::prefer_protobuf);
        }
        let (db, storage) = (Arc::clone(&parts.db), self.storage_options(&config));
        blocking(move || db.set_options(&storage)).await??;
        parts.scrape.apply(jobs)?;
        parts.alerting.apply(&config, rules, parts.external_url.to_string(), &parts.scrape).await?;
        let now = parts.clock.now();
        let retention = retention_text(kept(self.retention, config.storage.retention));
        *self.state.write() = State { config, read_at: now, last_reload_succeeded: true, retention };
        self.metrics.succeeded(now);
        Ok(())
    }

    /// What a configuration says about the storage. Where it says nothing, a reload goes back to the defaults.
    fn storage_options(&self, config: &Config) -> Reload {
        let retention = kept(self.retention, config.storage.retention);
        let encoding = self.features.float_encoding(config.storage.float_encoding);
        let mut options = Reload::default().retention(retention).float_encoding(encoding);
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
}

/// What a file says goes before what the program says; 15 days if nobody says anything.
pub(crate) fn kept(program: Retention, file: Option<RetentionConfig>) -> Retention {
    let mut kept = match file {
        None => program,
        Some(file) => Retention {
            time: Some(file.time).filter(|time| !time.is_zero()),
            bytes_max: Some(file.size.0).filter(|bytes| *bytes > 0),
            disk_percent_max: Some(file.percentage).filter(|percent| *percent > 0.0),
        },
    };
    if kept == Retention::default() {
        kept.time = Some(RETENTION_DEFAULT);
    }
    kept
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
pub(crate) async fn watch_files(
    core: Weak<Core>,
    every: Duration,
    mut known: Contents,
    mut stop: watch::Receiver<bool>,
) {
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

/// The lifecycle over HTTP.
pub(crate) struct Control(pub(crate) Weak<Core>);

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_decides_what_is_kept_and_something_always_does() {
        let hours = |n: u64| Some(Duration::from_secs(n * 3600));
        let program = Retention { time: hours(1), ..Retention::default() };
        assert_eq!(kept(program, None).time, hours(1));
        assert_eq!(kept(Retention::default(), None).time, Some(RETENTION_DEFAULT));
        let by_size = RetentionConfig { size: ferula_model::yaml::ByteSize(7), ..RetentionConfig::default() };
        assert_eq!(kept(program, Some(by_size)), Retention { bytes_max: Some(7), ..Retention::default() });
        assert_eq!(kept(program, Some(RetentionConfig::default())).time, Some(RETENTION_DEFAULT));
    }
}
