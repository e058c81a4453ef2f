//! Rules and alerts: evaluation, templates, delivery.

#![forbid(unsafe_code)]

mod alert;
mod civil;
mod manager;
mod notifier;
mod quantiles;
pub mod rule;
mod source;
mod state;
mod status;
mod template;
mod webhook;

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
pub use webhook::{Webhook, WebhookError, WebhookSink};

/// How the notifier names itself to Alertmanagers and webhooks.
const USER_AGENT: &str = concat!("Ferula/", env!("CARGO_PKG_VERSION"));
