//! An alert on its way out of this process, and who takes it.

use std::sync::Arc;

use ferula_model::{Labels, LabelsBuilder, Timestamp};

/// An alert as it is sent: of an alerting rule, or of the host's own making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// What identifies it; `alertname` among them.
    pub labels: Labels,
    /// What it says to people.
    pub annotations: Labels,
    /// When it began to fire.
    pub starts_at: Timestamp,
    /// When it was resolved, or until when it is valid if nothing more is heard of it.
    pub ends_at: Timestamp,
    /// Where its query can be looked at.
    pub generator_url: String,
}

impl Alert {
    /// The label `alertname`, or the empty string.
    pub fn name(&self) -> &str {
        self.labels.get("alertname").unwrap_or_default()
    }

    /// Whether it is over at a moment.
    pub fn is_resolved(&self, at: Timestamp) -> bool {
        self.ends_at <= at
    }

    /// The alert with labels added where it has none of that name.
    #[must_use]
    pub fn with_labels_below(mut self, below: &Labels) -> Self {
        if below.iter().any(|(name, _)| self.labels.get(name).is_none()) {
            let mut builder: LabelsBuilder = below.to_builder();
            for (name, value) in &self.labels {
                builder.set(name, value);
            }
            self.labels = builder.build();
        }
        self
    }
}

/// Takes alerts: a [`Notifier`](crate::Notifier), a [`Webhook`](crate::Webhook), or any closure of the host.
///
/// ```
/// use std::sync::Arc;
/// use ferula_alerting::{Alert, AlertSink};
///
/// let sink: Arc<dyn AlertSink> = Arc::new(|alerts: Vec<Alert>| {
///     for alert in alerts {
///         println!("{} since {:?}", alert.labels, alert.starts_at);
///     }
/// });
/// sink.send(Vec::new());
/// ```
pub trait AlertSink: Send + Sync {
    /// Takes alerts of one rule. Must not block for long: the rule's group waits. Firing alerts come again after each
    /// resend delay, resolved ones for fifteen minutes, so what is lost once is not lost for good.
    fn send(&self, alerts: Vec<Alert>);
}

impl<F: Fn(Vec<Alert>) + Send + Sync> AlertSink for F {
    fn send(&self, alerts: Vec<Alert>) {
        self(alerts);
    }
}

impl AlertSink for Vec<Arc<dyn AlertSink>> {
    fn send(&self, alerts: Vec<Alert>) {
        for sink in self {
            sink.send(alerts.clone());
        }
    }
}
