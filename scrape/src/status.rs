//! Status: what can be said about targets from outside?

use std::sync::Arc;
use std::time::Duration;

use ferula_model::{Labels, Metadata, Timestamp};

/// Whether the last scrape of a target was good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Health {
    /// It has not been scraped yet.
    #[default]
    Unknown,
    /// It was.
    Up,
    /// It was not.
    Down,
}

impl Health {
    /// As the API writes it: `unknown`, `up`, `down`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// What happened in the last scrape of a target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LastScrape {
    /// How it ended.
    pub health: Health,
    /// Why it failed; empty if it did not.
    pub error: String,
    /// When it began; `None` before the first one.
    pub at: Option<Timestamp>,
    /// How long it took.
    pub duration: Duration,
}

/// An active target, with everything that `/api/v1/targets` says about it.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetStatus {
    /// The job, by its name.
    pub scrape_pool: String,
    /// The labels before relabelling.
    pub discovered_labels: Labels,
    /// The labels on its series.
    pub labels: Labels,
    /// Where it is scraped.
    pub scrape_url: String,
    /// How often.
    pub scrape_interval: Duration,
    /// How long a scrape may take.
    pub scrape_timeout: Duration,
    /// Its last scrape.
    pub last: LastScrape,
}

/// The targets that relabelling dropped from a job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DroppedTargets {
    /// The job, by its name.
    pub scrape_pool: String,
    /// Their labels before relabelling; at most `keep_dropped_targets` of them, if that is set.
    pub discovered_labels: Vec<Labels>,
    /// How many there are.
    pub count: usize,
}

/// What an active target says about its metric families.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetMetadata {
    /// The job, by its name.
    pub scrape_pool: String,
    /// The labels on its series.
    pub labels: Labels,
    /// Its families by name.
    pub families: Vec<(Arc<str>, Metadata)>,
}
