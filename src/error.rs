//! What can go wrong with a monitor.

use ferula_exposition::registry::RegisterError;
use ferula_promql::QueryError;
use ferula_scrape::{ApplyError, JobError, StartError};
use ferula_tsdb::OpenError;
use thiserror::Error;

use crate::config::ConfigError;

/// What can go wrong with a monitor.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A job that was added in code cannot be.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The configuration is right but its jobs cannot be scraped here.
    #[error(transparent)]
    Scrape(#[from] ApplyError),
    /// The scraper could not be started.
    #[error(transparent)]
    ScrapeStart(#[from] StartError),
    /// A rule file cannot be used.
    #[error(transparent)]
    Rules(#[from] ferula_alerting::rule::LoadError),
    /// Rules in code are wrong.
    #[error(transparent)]
    RuleText(#[from] ferula_alerting::rule::RuleFileError),
    /// The rules are right but cannot be put in force.
    #[error(transparent)]
    RuleApply(#[from] ferula_alerting::ApplyError),
    /// The rules could not be started.
    #[error(transparent)]
    RuleStart(#[from] ferula_alerting::StartError),
    /// The Alertmanagers cannot be told.
    #[error(transparent)]
    Notifier(#[from] ferula_alerting::NotifierError),
    /// A webhook cannot be used.
    #[error(transparent)]
    Webhook(#[from] ferula_alerting::WebhookError),
    /// The Alertmanagers cannot be found.
    #[error(transparent)]
    Discovery(#[from] ferula_scrape::discovery::DiscoveryError),
    /// The storage could not be opened.
    #[error("opening storage failed: {0}")]
    Open(#[from] OpenError),
    /// The storage could not take what the configuration says about it.
    #[error("applying storage options failed: {0}")]
    Storage(#[from] ferula_tsdb::DbError),
    /// The storage could not be closed cleanly: what is durable is unknown.
    #[error("closing storage failed: {0}")]
    Close(#[from] ferula_tsdb::fs::FsError),
    /// A socket could not be opened.
    #[error(transparent)]
    Listen(#[from] std::io::Error),
    /// A metric of the monitor collides with one that the host registered.
    #[error(transparent)]
    Metrics(#[from] RegisterError),
    /// A query could not be answered.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The times of a range query make no grid.
    #[error(transparent)]
    Grid(#[from] ferula_model::StepGridError),
    /// The runtime was shut down meanwhile.
    #[error("interrupted: the runtime is shutting down")]
    Interrupted,
}
