//! The queue of one endpoint, and the task that empties it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ferula_http::{Client, Limits};
use http::{Request, header};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{error, warn};

use super::body::alerts_json;
use super::metrics::{EndpointMetrics, NotifierMetrics};
use crate::alert::Alert;

/// Nobody looks at the answers of Alertmanagers beyond their status.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// How messages reach one endpoint.
#[derive(Clone)]
pub(crate) struct Mail {
    pub(crate) client: Client,
    pub(crate) timeout: Duration,
    pub(crate) url: String,
}

impl Mail {
    /// Posts a JSON body.
    ///
    /// # Errors
    ///
    /// There is no answer, or not one of success.
    pub(crate) async fn post(&self, body: Vec<u8>) -> Result<(), PostError> {
        let request = Request::post(&self.url).header(header::CONTENT_TYPE, "application/json").body(Bytes::from(body));
        let request = request.map_err(|error| PostError::Url(error.to_string()))?;
        let limits = Limits::timeout(self.timeout).body_bytes_max(ANSWER_BYTES_MAX);
        let answer = self.client.send(request, &limits).await.map_err(PostError::Http)?;
        if answer.status().is_success() { Ok(()) } else { Err(PostError::Status(answer.status())) }
    }
}

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostError {
    #[error("invalid URL: {0}")]
    Url(String),
    #[error(transparent)]
    Http(ferula_http::Error),
    #[error("bad response status {0}")]
    Status(http::StatusCode),
}

/// One endpoint with its queue. Dropping it drops what waits.
pub(crate) struct Sender {
    shared: Arc<Shared>,
    task: Option<JoinHandle<()>>,
}

struct Shared {
    mail: Mail,
    capacity: usize,
    batch: usize,
    metrics: EndpointMetrics,
    queue: Mutex<Queue>,
    changed: Notify,
}

#[derive(Default)]
struct Queue {
    alerts: VecDeque<Arc<Alert>>,
    closed: bool,
}

impl Sender {
    pub(crate) fn start(
        mail: Mail,
        capacity: usize,
        batch: usize,
        metrics: &NotifierMetrics,
        runtime: &Handle,
    ) -> Self {
        let metrics = metrics.endpoint(&mail.url);
        let (queue, changed) = (Mutex::default(), Notify::new());
        let shared = Arc::new(Shared { mail, capacity, batch, metrics, queue, changed });
        let task = runtime.spawn(Arc::clone(&shared).run());
        Self { shared, task: Some(task) }
    }

    /// Adds alerts; if there are too many, the oldest go.
    pub(crate) fn add(&self, alerts: &[Arc<Alert>]) {
        let mut queue = self.shared.queue.lock();
        queue.alerts.extend(alerts.iter().cloned());
        let over = queue.alerts.len().saturating_sub(self.shared.capacity);
        if over > 0 {
            queue.alerts.drain(..over);
            warn!(alertmanager = %self.shared.mail.url, num_dropped = over, "Alert notification queue full, dropping alerts");
            self.shared.metrics.dropped.inc_by(over as u64);
        }
        self.shared.metrics.queue_length.set(queue.alerts.len() as f64);
        drop(queue);
        self.shared.changed.notify_one();
    }

    /// Takes no more; what waits is sent if `drain`, else dropped.
    pub(crate) fn close(&self, drain: bool) {
        self.shared.close(drain);
    }

    /// Waits until the last message is gone. [`close`](Self::close) comes first.
    pub(crate) async fn ended(mut self) {
        if let Some(task) = self.task.take() {
            // A task that panicked has said so already.
            let _ = task.await;
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            self.shared.close(false);
            task.abort();
        }
    }
}

impl Shared {
    fn close(&self, drain: bool) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        if !drain && !queue.alerts.is_empty() {
            self.metrics.dropped.inc_by(queue.alerts.len() as u64);
            queue.alerts.clear();
        }
        self.metrics.queue_length.set(queue.alerts.len() as f64);
        drop(queue);
        self.changed.notify_one();
    }

    /// The next batch; `None` if the queue is empty.
    fn take(&self) -> (Vec<Arc<Alert>>, bool) {
        let mut queue = self.queue.lock();
        let count = queue.alerts.len().min(self.batch);
        let batch = queue.alerts.drain(..count).collect();
        self.metrics.queue_length.set(queue.alerts.len() as f64);
        (batch, queue.closed)
    }

    async fn run(self: Arc<Self>) {
        loop {
            let (batch, closed) = self.take();
            match (batch.is_empty(), closed) {
                (true, true) => return,
                (true, false) => self.changed.notified().await,
                (false, _) => self.send(&batch).await,
            }
        }
    }

    async fn send(&self, batch: &[Arc<Alert>]) {
        let began = Instant::now();
        let count = batch.len() as u64;
        if let Err(problem) = self.mail.post(alerts_json(batch.iter().map(|alert| &**alert))).await {
            error!(alertmanager = %self.mail.url, count, err = %problem, "Error sending alerts");
            self.metrics.errors.inc_by(count);
            self.metrics.dropped.inc_by(count);
        }
        self.metrics.took(began.elapsed().as_secs_f64());
        self.metrics.sent.inc_by(count);
    }
}
