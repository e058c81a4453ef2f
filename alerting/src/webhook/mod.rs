//! Alerts straight to a webhook, in the body that Alertmanager sends.
//!
//! ```text
//!  send --> inbox --> [plan]: new? resolved? again? --> messages by alertname --[body]--> POST, again until taken
//! ```
//!
//! For programs without an Alertmanager: no grouping but by name, no silences, no inhibition. A message goes out when an
//! alert begins to fire, when it is resolved or not heard of any more, and again after the repeat interval.

mod body;
mod plan;

use std::sync::Arc;
use std::time::Duration;

use ferula_exposition::Registry;
use ferula_exposition::registry::{Counter, RegisterError};
use ferula_http::{BuildError, Client, HttpClientConfig};
use ferula_model::Clock;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{error, warn};

use crate::alert::{Alert, AlertSink};
use crate::notifier::{Mail, PostError};
use body::message_json;
use plan::{Message, Plan};

/// As the notifier: so many alerts may wait, beyond that the oldest are dropped.
const INBOX_ALERTS_MAX: usize = 10_000;
/// As Alertmanager: how soon a message is tried again at first, and how far that stretches.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Why a webhook cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// A webhook starts a task, and there is nothing to run it.
    #[error("a webhook must be started inside a tokio runtime")]
    NoRuntime,
    /// The URL is none.
    #[error("invalid webhook URL: {0}")]
    Url(String),
    /// The HTTP client cannot be built.
    #[error(transparent)]
    Client(#[from] BuildError),
    /// Its metrics collide with others of the registry.
    #[error(transparent)]
    Metrics(#[from] RegisterError),
}

/// Posts alerts to a URL as Alertmanager's webhook receiver does (body version 4), without an Alertmanager.
///
/// ```
/// use std::sync::Arc;
/// use ferula_alerting::Webhook;
/// use ferula_exposition::Registry;
/// use ferula_model::SystemClock;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let webhook = Webhook::new("http://127.0.0.1:9099/alerts").start(Arc::new(SystemClock), &Registry::new())?;
/// // In an Arc, for `RuleManagerOptions::notify`.
/// webhook.stop().await;
/// # Ok(()) })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Webhook {
    url: String,
    http: HttpClientConfig,
    receiver: String,
    external_url: String,
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
            external_url: String::new(),
            repeat_interval: Duration::from_hours(4),
            timeout: Duration::from_secs(10),
        }
    }

    /// How the HTTP client is built. Default: plain.
    #[must_use]
    pub fn http(mut self, config: HttpClientConfig) -> Self {
        self.http = config;
        self
    }

    /// What the body calls the receiver. Default: `webhook`.
    #[must_use]
    pub fn receiver(mut self, name: impl Into<String>) -> Self {
        self.receiver = name.into();
        self
    }

    /// The `externalURL` of the body. Default: empty.
    #[must_use]
    pub fn external_url(mut self, url: impl Into<String>) -> Self {
        self.external_url = url.into();
        self
    }

    /// How long until an alert that fires on is told again. Default: 4 hours, as Alertmanager.
    #[must_use]
    pub fn repeat_interval(mut self, interval: Duration) -> Self {
        self.repeat_interval = interval;
        self
    }

    /// How long a request may take. Default: 10 seconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Begins to send. Metrics go to `registry`.
    ///
    /// # Errors
    ///
    /// See [`WebhookError`].
    pub fn start(self, clock: Arc<dyn Clock>, registry: &Registry) -> Result<WebhookSink, WebhookError> {
        let runtime = Handle::try_current().map_err(|_| WebhookError::NoRuntime)?;
        let uri: http::Uri = self.url.parse().map_err(|e: http::uri::InvalidUri| WebhookError::Url(e.to_string()))?;
        if uri.host().is_none() || !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(WebhookError::Url("neither http://... nor https://...".to_owned()));
        }
        let client = Client::builder(&self.http).user_agent(crate::USER_AGENT).build()?;
        let counters = |name: &str, help: &str| -> Result<Counter, RegisterError> {
            let family = registry.counter_family(&format!("ferula_webhook_{name}"), help, ["receiver"])?;
            Ok(family.with([self.receiver.as_str()]))
        };
        let shared = Arc::new(Shared {
            mail: Mail { client, timeout: self.timeout, url: self.url.clone() },
            sent: counters("messages_total", "Messages that a webhook took.")?,
            failed: counters("requests_failed_total", "Requests to a webhook that failed.")?,
            refused: counters("messages_refused_total", "Messages that a webhook refused for good.")?,
            dropped: counters("alerts_dropped_total", "Alerts that were dropped because too many waited.")?,
            webhook: self,
            clock,
            inbox: Mutex::default(),
            changed: Notify::new(),
        });
        let task = runtime.spawn(Arc::clone(&shared).run());
        Ok(WebhookSink { shared, task: Mutex::new(Some(task)) })
    }
}

/// A webhook in use: give it to the rule manager, stop it at the end. Dropping it stops at once.
pub struct WebhookSink {
    shared: Arc<Shared>,
    task: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    webhook: Webhook,
    mail: Mail,
    clock: Arc<dyn Clock>,
    inbox: Mutex<Inbox>,
    changed: Notify,
    sent: Counter,
    failed: Counter,
    refused: Counter,
    dropped: Counter,
}

#[derive(Default)]
struct Inbox {
    alerts: Vec<Alert>,
    closed: bool,
}

impl WebhookSink {
    /// Stops: what waits is sent, one try each.
    pub async fn stop(&self) {
        self.shared.inbox.lock().closed = true;
        self.shared.changed.notify_one();
        let task = self.task.lock().take();
        if let Some(task) = task {
            // A task that panicked has said so already.
            let _ = task.await;
        }
    }
}

impl AlertSink for WebhookSink {
    fn send(&self, alerts: Vec<Alert>) {
        let mut inbox = self.shared.inbox.lock();
        inbox.alerts.extend(alerts);
        let over = inbox.alerts.len().saturating_sub(INBOX_ALERTS_MAX);
        if over > 0 {
            inbox.alerts.drain(..over);
            warn!(receiver = self.shared.webhook.receiver, num_dropped = over, "Webhook queue full, dropping alerts");
            self.shared.dropped.inc_by(over as u64);
        }
        drop(inbox);
        self.shared.changed.notify_one();
    }
}

impl Drop for WebhookSink {
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
    }
}

impl std::fmt::Debug for WebhookSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may hold a token.
        f.debug_struct("WebhookSink").field("receiver", &self.shared.webhook.receiver).finish_non_exhaustive()
    }
}

impl Shared {
    async fn run(self: Arc<Self>) {
        let mut plan = Plan::default();
        loop {
            let (alerts, closed) = {
                let mut inbox = self.inbox.lock();
                (std::mem::take(&mut inbox.alerts), inbox.closed)
            };
            let now = self.clock.now();
            for message in plan.messages(alerts, now, self.webhook.repeat_interval) {
                self.deliver(&message).await;
            }
            if closed {
                return;
            }
            // What came while a message was tried again has been heard of there.
            if self.has_news() {
                continue;
            }
            match plan.next_expiry() {
                None => self.changed.notified().await,
                Some(at) => {
                    // Rounded up: what has not expired yet would be looked at again and again.
                    let wait = at.since(self.clock.now()) + Duration::from_millis(1);
                    tokio::select! {
                        () = self.changed.notified() => {}
                        () = tokio::time::sleep(wait) => {}
                    }
                }
            }
        }
    }

    /// Sends a message until it is taken, refused for good, or there is no more time.
    async fn deliver(&self, message: &Message) {
        let body = message_json(message, &self.webhook.receiver, &self.webhook.external_url);
        let mut pause = RETRY_MIN;
        loop {
            let problem = match self.mail.post(body.clone()).await {
                Ok(()) => return self.sent.inc(),
                Err(problem) => problem,
            };
            self.failed.inc();
            error!(receiver = self.webhook.receiver, err = %problem, "Error sending alerts to a webhook");
            let for_good = matches!(&problem, PostError::Url(_))
                || matches!(&problem, PostError::Status(status) if !status.is_server_error());
            if for_good || self.inbox.lock().closed {
                return self.refused.inc();
            }
            self.wait_to_retry(pause).await;
            pause = pause.mul_f64(1.5).min(RETRY_MAX);
        }
    }

    fn has_news(&self) -> bool {
        let inbox = self.inbox.lock();
        inbox.closed || !inbox.alerts.is_empty()
    }

    /// Waits, but not beyond the end.
    async fn wait_to_retry(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while !self.inbox.lock().closed {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                () = self.changed.notified() => {}
            }
        }
    }
}
