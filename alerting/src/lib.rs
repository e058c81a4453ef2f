//! Rules and alerts: recording and alerting rules, their templates, and the way of alerts to Alertmanagers and webhooks.
//!
//! Everything is Prometheus' (3.14): rule files, the life of an alert, `ALERTS` and `ALERTS_FOR_STATE`, the order and the
//! moments of evaluations, metrics, and the bytes that Alertmanagers are sent. Queries come from anything that answers
//! PromQL, samples go into anything that takes them, and alerts go to any number of [`AlertSink`]s: a closure is one.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use ferula_alerting::{Alert, EngineSource, RuleManager, RuleManagerOptions, RuleSettings, Rules};
//! use ferula_model::SystemClock;
//! use ferula_promql::{Engine, EngineOptions};
//! # use ferula_model::{AppendError, Appendable, Appender, CommitError, CommitSummary, Exemplar, Metadata, Sample, SeriesRef};
//! # struct Storage;
//! # struct Batch;
//! # impl Appendable for Storage { fn appender(&self) -> Box<dyn Appender + '_> { Box::new(Batch) } }
//! # impl Appender for Batch {
//! #     fn series(&mut self, _: &[(&str, &str)]) -> Result<SeriesRef, AppendError> { Ok(SeriesRef(1)) }
//! #     fn append(&mut self, _: SeriesRef, _: Sample) -> Result<(), AppendError> { Ok(()) }
//! #     fn append_exemplar(&mut self, _: SeriesRef, _: Exemplar) -> Result<(), AppendError> { Ok(()) }
//! #     fn set_metadata(&mut self, _: SeriesRef, _: &Metadata) -> Result<(), AppendError> { Ok(()) }
//! #     fn commit(self: Box<Self>) -> Result<CommitSummary, CommitError> { Ok(CommitSummary::default()) }
//! #     fn rollback(self: Box<Self>) {}
//! # }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! # let (read, written) = (Arc::new(ferula_promql::testing::MemoryStorage::new()), Arc::new(Storage));
//! let (alerts, mut fired) = tokio::sync::mpsc::unbounded_channel();
//! let queries = Arc::new(EngineSource::new(Arc::new(Engine::new(EngineOptions::default())), read));
//! let options = RuleManagerOptions::new(queries, written, Arc::new(SystemClock))
//!     .notify(Arc::new(move |batch: Vec<Alert>| batch.into_iter().for_each(|alert| drop(alerts.send(alert)))));
//! let manager = RuleManager::new(options)?;
//!
//! let rules = Rules::parse("rules.yml", "
//! groups:
//! - name: example
//!   rules:
//!   - alert: Always
//!     expr: vector(42)
//!     annotations: {summary: 'the answer is {{ $value }}'}
//! ")?;
//! let settings = RuleSettings { interval: Duration::from_millis(10), ..RuleSettings::default() };
//! manager.apply(rules, settings).await?;
//!
//! let alert = fired.recv().await.ok_or("no alert")?;
//! assert_eq!(alert.annotations.get("summary"), Some("the answer is 42"));
//! manager.stop().await;
//! assert_eq!(manager.groups()[0].rules[0].health.as_str(), "ok");
//! # Ok(()) })
//! # }
//! ```
//!
//! # One alert, from a sample to a message
//!
//! 1. [`rule`] reads and checks files: what is wrong with them comes out all at once, with line and column.
//! 2. [`RuleManager`] keeps groups in line with the configuration, each with a task of its own; `schedule` says which slot
//!    of the group is due and how many were missed.
//! 3. `evaluate` asks the [`QuerySource`] for a slot. Each sample becomes labels and annotations by way of `template`, Go's
//!    template language with Prometheus' functions.
//! 4. `state` decides in one pure step what becomes of the alert: pending, firing, firing on, resolved. `restore` moves its
//!    beginning after a restart, so that `for` goes on where it was.
//! 5. `write` stores `ALERTS` and `ALERTS_FOR_STATE`, and ends the series that are not there any more.
//! 6. What is due goes to the sinks: a [`Notifier`] relabels and queues it for each Alertmanager, a [`Webhook`] tells people
//!    without one, a closure does what the host likes.
//!
//! # Map
//!
//! - [`RuleManager`], [`RuleManagerOptions`], [`RuleSettings`]: rules at work. [`GroupStatus`], [`RuleStatus`],
//!   [`AlertStatus`]: what they are doing.
//! - [`rule`], [`Rules`]: what rules there are, from files or from code.
//! - [`Alert`], [`AlertSink`], [`Notifier`], [`Webhook`]: where alerts go.
//! - [`AlertmanagerConfig`], [`endpoints_of_group`]: how Alertmanagers are found and reached.
//! - [`testing`]: unit tests of rules, as `promtool test rules` has them.

#![forbid(unsafe_code)]

mod alert;
mod civil;
mod evaluate;
mod group;
mod manager;
mod metrics;
mod notifier;
mod quantiles;
mod restore;
pub mod rule;
mod schedule;
mod source;
mod state;
mod status;
mod template;
pub mod testing;
mod webhook;
mod write;

pub use alert::{Alert, AlertSink};
pub use manager::{ApplyError, RuleManager, RuleManagerOptions, RuleSettings, StartError};
pub use notifier::{
    AlertRelabel, AlertmanagerConfig, AlertmanagerSet, EndpointError, Endpoints, Notifier, NotifierConfig,
    NotifierError, NotifierOptions, endpoints_of_group,
};
pub use rule::{RuleFile, Rules};
pub use source::{EngineSource, QuerySource};
pub use state::{ActiveAlert, AlertState};
pub use status::{AlertStatus, GroupStatus, RuleHealth, RuleStatus};
pub use template::TemplateError;
#[doc(hidden)]
pub use template::fuzz_template;
pub use webhook::{Webhook, WebhookError, WebhookSink};

/// How the notifier names itself to Alertmanagers and webhooks.
const USER_AGENT: &str = concat!("Ferula/", env!("CARGO_PKG_VERSION"));
