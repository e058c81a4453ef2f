//! Rules and alerts: evaluation, templates, delivery.

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
