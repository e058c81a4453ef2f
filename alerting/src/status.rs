//! What rules are doing: what the API and the host's own pages show.

use std::sync::Arc;
use std::time::Duration;

use ferula_model::Timestamp;

use crate::rule::Rule;
use crate::state::{ActiveAlert, AlertState};

/// How the last evaluation of a rule ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RuleHealth {
    /// There was none yet.
    #[default]
    Unknown,
    /// Well.
    Good,
    /// With an error.
    Bad,
}

impl RuleHealth {
    /// The word for it in the API: `unknown`, `ok`, `err`.
    pub fn as_str(self) -> &'static str {
        match self {
            RuleHealth::Unknown => "unknown",
            RuleHealth::Good => "ok",
            RuleHealth::Bad => "err",
        }
    }
}

/// A group as it stands now.
#[derive(Clone, Debug)]
pub struct GroupStatus {
    /// The name of its file.
    pub file: String,
    /// Its name.
    pub name: String,
    /// How often it is evaluated.
    pub interval: Duration,
    /// How far in the past its queries look.
    pub query_offset: Duration,
    /// The most series or alerts one rule may have; 0 is no limit.
    pub limit: usize,
    /// When the last evaluation began, if there was one.
    pub last_evaluation: Option<Timestamp>,
    /// How long that took.
    pub evaluation_duration: Duration,
    /// Its rules, in order.
    pub rules: Vec<RuleStatus>,
}

/// A rule as it stands now.
#[derive(Clone, Debug)]
pub struct RuleStatus {
    /// Its definition, with the labels of its group.
    pub rule: Arc<Rule>,
    /// How the last evaluation ended.
    pub health: RuleHealth,
    /// What went wrong in it.
    pub last_error: Option<String>,
    /// When it began, if there was one.
    pub last_evaluation: Option<Timestamp>,
    /// How long it took.
    pub evaluation_duration: Duration,
    /// Its alerts that are pending or firing, by labels; of a recording rule, none.
    pub alerts: Vec<AlertStatus>,
}

impl RuleStatus {
    /// The state of an alerting rule: the highest of its alerts; `None` before the first evaluation, which the API calls
    /// `unknown`.
    pub fn state(&self) -> Option<AlertState> {
        self.last_evaluation?;
        Some(self.alerts.iter().map(|alert| alert.state).max().unwrap_or(AlertState::Inactive))
    }
}

/// An alert as it stands now.
pub type AlertStatus = ActiveAlert;
