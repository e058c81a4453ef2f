//! What a manager is told: when it is made, and with each configuration; and what it cannot use.

use std::sync::Arc;
use std::time::Duration;

use ferula_exposition::Registry;
use ferula_exposition::registry::RegisterError;
use ferula_model::{Appendable, Clock, Labels, Queryable};
use thiserror::Error;

use crate::alert::AlertSink;
use crate::source::QuerySource;

/// What a manager works with.
#[derive(Clone)]
pub struct RuleManagerOptions {
    pub(super) queries: Arc<dyn QuerySource>,
    pub(super) appendable: Arc<dyn Appendable>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) queryable: Option<Arc<dyn Queryable>>,
    pub(super) sinks: Vec<Arc<dyn AlertSink>>,
    pub(super) registry: Registry,
    pub(super) outage_tolerance: Duration,
    pub(super) grace_period: Duration,
    pub(super) resend_delay: Duration,
    pub(super) restore_new_groups: bool,
    pub(super) concurrency: usize,
}

impl RuleManagerOptions {
    /// Asks `queries`, stores into `appendable`, goes by the time of `clock`. Nobody is notified, nothing is restored and
    /// metrics go nowhere, unless the methods below say otherwise.
    pub fn new(queries: Arc<dyn QuerySource>, appendable: Arc<dyn Appendable>, clock: Arc<dyn Clock>) -> Self {
        Self {
            queries,
            appendable,
            clock,
            queryable: None,
            sinks: Vec::new(),
            registry: Registry::new(),
            outage_tolerance: Duration::from_hours(1),
            grace_period: Duration::from_mins(10),
            resend_delay: Duration::from_mins(1),
            restore_new_groups: false,
            concurrency: 0,
        }
    }

    /// Sends alerts there too.
    #[must_use]
    pub fn notify(mut self, sink: Arc<dyn AlertSink>) -> Self {
        self.sinks.push(sink);
        self
    }

    /// Where `ALERTS_FOR_STATE` of the time before the start is found, so that `for` goes on after a restart. Default:
    /// nowhere, alerts begin anew.
    #[must_use]
    pub fn restore_from(mut self, storage: Arc<dyn Queryable>) -> Self {
        self.queryable = Some(storage);
        self
    }

    /// Where the manager's own metrics go.
    #[must_use]
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// The longest outage after which `for` is restored (`--rules.alert.for-outage-tolerance`). Default: 1 hour.
    #[must_use]
    pub fn outage_tolerance(mut self, tolerance: Duration) -> Self {
        self.outage_tolerance = tolerance;
        self
    }

    /// The least time between restoration and firing; rules whose `for` is shorter are not restored
    /// (`--rules.alert.for-grace-period`). Default: 10 minutes.
    #[must_use]
    pub fn grace_period(mut self, period: Duration) -> Self {
        self.grace_period = period;
        self
    }

    /// How long it takes until an alert that fires on is sent again (`--rules.alert.resend-delay`). Default: 1 minute.
    #[must_use]
    pub fn resend_delay(mut self, delay: Duration) -> Self {
        self.resend_delay = delay;
        self
    }

    /// Whether groups that come with a later configuration are restored too. Default: no, as upstream.
    #[must_use]
    pub fn restore_new_groups(mut self, on: bool) -> Self {
        self.restore_new_groups = on;
        self
    }

    /// How many rules, over all groups, may be evaluated beside others of their group where they do not depend on each
    /// other (`concurrent-rule-eval`, `--rules.max-concurrent-evals`). Default: 0, one after another.
    #[must_use]
    pub fn concurrency(mut self, rules: usize) -> Self {
        self.concurrency = rules;
        self
    }
}

/// What all groups have in common, and may change with the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleSettings {
    /// How often groups are evaluated that do not say (`evaluation_interval`). Default: 1 minute.
    pub interval: Duration,
    /// How far in the past the queries of groups look that do not say (`rule_query_offset`). Default: zero.
    pub query_offset: Duration,
    /// What templates know as `$externalLabels`.
    pub external_labels: Labels,
    /// Under which URL this server is reached, without a slash at the end; for templates and links in alerts.
    pub external_url: String,
}

impl Default for RuleSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_mins(1),
            query_offset: Duration::ZERO,
            external_labels: Labels::empty(),
            external_url: String::new(),
        }
    }
}

/// Why a manager could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// A manager starts tasks, and there is nothing to run them.
    #[error("a rule manager must be made inside a tokio runtime")]
    NoRuntime,
    /// Its metrics collide with others of the registry.
    #[error(transparent)]
    Metrics(#[from] RegisterError),
}

/// Why rules were not applied. Nothing of them was: everything goes on as before.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// Two files of one name.
    #[error("rule file {0:?} is given twice")]
    RepeatedFile(String),
    /// Two groups of one name in a file.
    #[error("{file}: groupname: {group:?} is repeated in the same file")]
    RepeatedGroup {
        /// The file.
        file: String,
        /// The group.
        group: String,
    },
    /// The interval by default is zero.
    #[error("the evaluation interval must not be zero")]
    NoInterval,
    /// The manager was stopped.
    #[error("the rule manager is stopped")]
    Stopped,
}
