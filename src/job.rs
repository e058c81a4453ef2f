//! Jobs in code.

use std::time::Duration;

use ferula_scrape::ScrapeConfig;

/// A set of targets that are scraped alike; what is not said here is inherited from the configuration's `global`. For
/// everything else that a job can have, make one from a [`ScrapeConfig`].
///
/// ```
/// use std::time::Duration;
/// use ferula::Job;
///
/// let job = Job::new("node").every(Duration::from_secs(15)).targets(["127.0.0.1:9100", "127.0.0.1:9101"]);
/// assert_eq!(job.config().scrape_interval, Duration::from_secs(15));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Job(ScrapeConfig);

impl Job {
    /// A job without targets; `name` becomes the label `job` of its series.
    pub fn new(name: impl Into<String>) -> Self {
        Self(ScrapeConfig::new(name))
    }

    /// How often each target is scraped. Default: as `global` says, and one minute if it says nothing.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.0.scrape_interval = interval;
        self
    }

    /// How long a scrape may take, at most the interval. Default: as `global` says, and ten seconds if it says nothing.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.0.scrape_timeout = timeout;
        self
    }

    /// Adds targets at fixed addresses, `host:port`.
    #[must_use]
    pub fn targets<A: AsRef<str>>(mut self, addresses: impl IntoIterator<Item = A>) -> Self {
        self.0 = self.0.static_targets(addresses);
        self
    }

    /// Where the metrics are. Default: `/metrics`.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.0.metrics_path = path.into();
        self
    }

    /// All that can be said about a job.
    pub fn config(&self) -> &ScrapeConfig {
        &self.0
    }
}

impl From<ScrapeConfig> for Job {
    fn from(config: ScrapeConfig) -> Self {
        Self(config)
    }
}

impl From<Job> for ScrapeConfig {
    fn from(job: Job) -> Self {
        job.0
    }
}
