//! Jobs: what may one say about a set of targets that are scraped alike?
//!
//! [`ScrapeConfig`] has the keys of Prometheus' `<scrape_config>` (3.14). What a job leaves open it inherits from
//! [`ScrapeDefaults`], the scraping keys of `global`, when it is [validated](ScrapeConfig::validate).

mod protocol;
mod yaml;

pub use protocol::{ContentTypeError, EscapingScheme, ScrapeProtocol};
use protocol::{escaping_of, preferred};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ferula_http::HttpClientConfig;
use thiserror::Error;

use crate::discovery::DiscoveryConfig;
use crate::relabel::{NameScheme, RelabelConfig, RelabelError};

/// The keys of `<scrape_config>`.
///
/// ```
/// use ferula_scrape::{ScrapeConfig, ScrapeDefaults};
///
/// let mut job = ScrapeConfig::new("node").static_targets(["127.0.0.1:9100"]);
/// job.validate(&ScrapeDefaults::default())?;
/// assert_eq!(job.scrape_interval.as_secs(), 60);
/// # Ok::<(), ferula_scrape::JobError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ScrapeConfig {
    /// The value of the label `job`; unique among the jobs.
    pub job_name: String,
    /// How often targets are scraped; zero inherits.
    pub scrape_interval: Duration,
    /// How long a scrape may take, at most the interval; zero inherits.
    pub scrape_timeout: Duration,
    /// The formats asked for, in order of preference; empty inherits.
    pub scrape_protocols: Vec<ScrapeProtocol>,
    /// The format of answers that do not name theirs.
    pub fallback_scrape_protocol: Option<ScrapeProtocol>,
    /// Whether native histograms are asked for and taken; `None` inherits.
    pub scrape_native_histograms: Option<bool>,
    /// Whether classic histograms become native ones with custom buckets; `None` inherits.
    pub convert_classic_histograms_to_nhcb: Option<bool>,
    /// Whether classic histograms are taken even beside native ones; `None` inherits.
    pub always_scrape_classic_histograms: Option<bool>,
    /// Whether `scrape_timeout_seconds`, `scrape_sample_limit` and `scrape_body_size_bytes` are written; `None` inherits.
    pub extra_scrape_metrics: Option<bool>,
    /// The path of the URL.
    pub metrics_path: String,
    /// `http` or `https`.
    pub scheme: String,
    /// Parameters of the URL.
    pub params: BTreeMap<String, Vec<String>>,
    /// Whether labels of the target's own series win over those of the target.
    pub honor_labels: bool,
    /// Whether timestamps that the target gives are kept.
    pub honor_timestamps: bool,
    /// Whether series with timestamps of their own are marked stale when they vanish.
    pub track_timestamps_staleness: bool,
    /// Whether gzip is asked for.
    pub enable_compression: bool,
    /// Where failed scrapes are written down.
    pub scrape_failure_log_file: Option<PathBuf>,
    /// How targets are reached.
    pub http: HttpClientConfig,
    /// Where targets come from.
    pub discovery: Vec<DiscoveryConfig>,
    /// Rules for discovered targets.
    pub relabel_configs: Vec<RelabelConfig>,
    /// Rules for scraped series.
    pub metric_relabel_configs: Vec<RelabelConfig>,
    /// What a scrape may bring.
    pub limits: ScrapeLimits,
    /// Which names are legal; `None` inherits.
    pub metric_name_validation_scheme: Option<NameScheme>,
    /// How targets are asked to write names that are not legal everywhere; `None` inherits.
    pub metric_name_escaping_scheme: Option<EscapingScheme>,
    /// Whether `scrape_protocols` are a default.
    names_no_protocols: bool,
}

/// What a scrape, or a job, may bring; 0 is no limit, or the limit of `global` where it has one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ScrapeLimits {
    /// Bytes of a body, unpacked; one of this size fails.
    pub body_size_limit: u64,
    /// Samples of a scrape after relabelling; more of them fail the scrape.
    pub sample_limit: u64,
    /// Labels of a series, the name included; more of them fail the scrape.
    pub label_limit: u64,
    /// Bytes of a label name.
    pub label_name_length_limit: u64,
    /// Bytes of a label value.
    pub label_value_length_limit: u64,
    /// Targets of a job; more of them fail all its scrapes.
    pub target_limit: u64,
    /// Dropped targets that are remembered, to be shown.
    pub keep_dropped_targets: u64,
    /// Buckets of a native histogram; finer ones are reduced, and fail the scrape if they cannot be.
    pub native_histogram_bucket_limit: u64,
    /// The least growth from bucket to bucket; finer native histograms are reduced.
    pub native_histogram_min_bucket_factor: f64,
}

/// The scraping keys of `global`.
#[derive(Clone, Debug, PartialEq)]
pub struct ScrapeDefaults {
    /// One minute, unless configured.
    pub scrape_interval: Duration,
    /// Ten seconds, unless configured.
    pub scrape_timeout: Duration,
    /// Empty: by upstream's preference, protobuf first where native histograms are scraped.
    pub scrape_protocols: Vec<ScrapeProtocol>,
    /// See [`ScrapeConfig::scrape_native_histograms`].
    pub scrape_native_histograms: bool,
    /// See [`ScrapeConfig::convert_classic_histograms_to_nhcb`].
    pub convert_classic_histograms_to_nhcb: bool,
    /// See [`ScrapeConfig::always_scrape_classic_histograms`].
    pub always_scrape_classic_histograms: bool,
    /// See [`ScrapeConfig::extra_scrape_metrics`].
    pub extra_scrape_metrics: bool,
    /// See [`ScrapeConfig::scrape_failure_log_file`].
    pub scrape_failure_log_file: Option<PathBuf>,
    /// Limits of jobs that set none.
    pub limits: ScrapeLimits,
    /// See [`ScrapeConfig::metric_name_validation_scheme`].
    pub metric_name_validation_scheme: NameScheme,
    /// See [`ScrapeConfig::metric_name_escaping_scheme`]; `None`: what the validation scheme suggests.
    pub metric_name_escaping_scheme: Option<EscapingScheme>,
}

impl Default for ScrapeDefaults {
    fn default() -> Self {
        Self {
            scrape_interval: Duration::from_mins(1),
            scrape_timeout: Duration::from_secs(10),
            scrape_protocols: Vec::new(),
            scrape_native_histograms: false,
            convert_classic_histograms_to_nhcb: false,
            always_scrape_classic_histograms: false,
            extra_scrape_metrics: false,
            scrape_failure_log_file: None,
            limits: ScrapeLimits::default(),
            metric_name_validation_scheme: NameScheme::Utf8,
            metric_name_escaping_scheme: None,
        }
    }
}

/// A job that has no meaning; the words are those of Prometheus.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum JobError {
    /// Every job has a name.
    #[error("job_name is empty")]
    NoName,
    /// The timeout is longer than the interval.
    #[error("scrape timeout greater than scrape interval for scrape config with job name {job:?}")]
    TimeoutBeyondInterval {
        /// The job.
        job: String,
    },
    /// No such format.
    #[error(
        "unknown scrape protocol {0}, supported: [OpenMetricsText0.0.1 OpenMetricsText1.0.0 PrometheusProto PrometheusText0.0.4 PrometheusText1.0.0]"
    )]
    UnknownProtocol(String),
    /// A format is asked for twice.
    #[error("duplicated protocol in scrape_protocols, got [{protocols}] for scrape config with job name {job:?}")]
    RepeatedProtocol {
        /// All of them.
        protocols: String,
        /// The job.
        job: String,
    },
    /// A static target is a URL instead of a host and a port, and no rule could mend it.
    #[error("{0:?} is not a valid hostname")]
    Address(String),
    /// The HTTP options contradict each other.
    #[error(transparent)]
    Http(#[from] ferula_http::ConfigError),
    /// A rule names what is not legal in this job.
    #[error(transparent)]
    Relabel(#[from] RelabelError),
    /// UTF-8 names are asked for where they are not legal.
    #[error("utf8 metric names requested but validation scheme is not set to UTF8")]
    EscapingWithoutUtf8,
    /// No such scheme.
    #[error("unknown metric name {what} {value:?}")]
    UnknownScheme {
        /// `validation scheme` or `escaping method setting`.
        what: &'static str,
        /// The name.
        value: String,
    },
    /// A discovery that has no meaning.
    #[error("{0}")]
    Discovery(String),
}

impl ScrapeConfig {
    /// A job with upstream's defaults, no targets, and everything that can be inherited left open.
    pub fn new(job_name: impl Into<String>) -> Self {
        Self {
            job_name: job_name.into(),
            scrape_interval: Duration::ZERO,
            scrape_timeout: Duration::ZERO,
            scrape_protocols: Vec::new(),
            fallback_scrape_protocol: None,
            scrape_native_histograms: None,
            convert_classic_histograms_to_nhcb: None,
            always_scrape_classic_histograms: None,
            extra_scrape_metrics: None,
            metrics_path: "/metrics".to_owned(),
            scheme: "http".to_owned(),
            params: BTreeMap::new(),
            honor_labels: false,
            honor_timestamps: true,
            track_timestamps_staleness: false,
            enable_compression: true,
            scrape_failure_log_file: None,
            http: HttpClientConfig::default(),
            discovery: Vec::new(),
            relabel_configs: Vec::new(),
            metric_relabel_configs: Vec::new(),
            limits: ScrapeLimits::default(),
            metric_name_validation_scheme: None,
            metric_name_escaping_scheme: None,
            names_no_protocols: false,
        }
    }

    /// Asks for protobuf first, the format that carries most, unless somebody named the protocols. After
    /// [`validate`](Self::validate). Upstream does so where start timestamps are wanted.
    pub fn prefer_protobuf(&mut self) {
        if self.names_no_protocols {
            self.scrape_protocols = preferred(true).to_vec();
        }
    }

    /// The same job with targets at fixed addresses, `host:port`.
    #[must_use]
    pub fn static_targets<A: AsRef<str>>(mut self, addresses: impl IntoIterator<Item = A>) -> Self {
        self.discovery.push(DiscoveryConfig::of_addresses(addresses));
        self
    }

    /// Inherits what is open and checks the rules between the keys.
    ///
    /// # Errors
    ///
    /// The first rule that is broken; see [`JobError`].
    pub fn validate(&mut self, defaults: &ScrapeDefaults) -> Result<(), JobError> {
        if self.job_name.is_empty() {
            return Err(JobError::NoName);
        }
        self.http.validate()?;
        if self.relabel_configs.is_empty()
            && let Some(address) = self.discovery.iter().find_map(DiscoveryConfig::impossible_address)
        {
            return Err(JobError::Address(address.to_owned()));
        }
        self.inherit_cadence(defaults)?;
        self.inherit_histograms(defaults);
        self.inherit_protocols(defaults)?;
        self.inherit_limits(&defaults.limits);
        self.inherit_names(defaults)?;
        self.extra_scrape_metrics.get_or_insert(defaults.extra_scrape_metrics);
        if self.scrape_failure_log_file.is_none() {
            self.scrape_failure_log_file.clone_from(&defaults.scrape_failure_log_file);
        }
        Ok(())
    }

    /// Makes every relative file name relative to `directory`, that of the configuration file.
    pub fn resolve_paths(&mut self, directory: &Path) {
        self.http.resolve_paths(directory);
        if let Some(file) = &mut self.scrape_failure_log_file
            && file.is_relative()
        {
            *file = directory.join(&*file);
        }
        for discovery in &mut self.discovery {
            discovery.resolve_paths(directory);
        }
    }

    /// Whether native histograms are taken.
    pub fn scrape_native_histograms(&self) -> bool {
        self.scrape_native_histograms.unwrap_or_default()
    }

    /// Whether classic histograms become native ones.
    pub fn convert_classic_histograms(&self) -> bool {
        self.convert_classic_histograms_to_nhcb.unwrap_or_default()
    }

    /// Whether classic histograms are taken even beside native ones.
    pub fn always_scrape_classic_histograms(&self) -> bool {
        self.always_scrape_classic_histograms.unwrap_or_default()
    }

    /// Whether the extra series about scrapes are written.
    pub fn extra_scrape_metrics(&self) -> bool {
        self.extra_scrape_metrics.unwrap_or_default()
    }

    /// Which names are legal.
    pub fn name_scheme(&self) -> NameScheme {
        self.metric_name_validation_scheme.unwrap_or_default()
    }

    /// How targets are asked to write names.
    pub fn escaping_scheme(&self) -> EscapingScheme {
        self.metric_name_escaping_scheme.unwrap_or_else(|| escaping_of(self.name_scheme()))
    }

    fn inherit_cadence(&mut self, defaults: &ScrapeDefaults) -> Result<(), JobError> {
        if self.scrape_interval.is_zero() {
            self.scrape_interval = defaults.scrape_interval;
        }
        if self.scrape_timeout > self.scrape_interval {
            return Err(JobError::TimeoutBeyondInterval { job: self.job_name.clone() });
        }
        if self.scrape_timeout.is_zero() {
            self.scrape_timeout = defaults.scrape_timeout.min(self.scrape_interval);
        }
        Ok(())
    }

    fn inherit_histograms(&mut self, defaults: &ScrapeDefaults) {
        self.scrape_native_histograms.get_or_insert(defaults.scrape_native_histograms);
        self.convert_classic_histograms_to_nhcb.get_or_insert(defaults.convert_classic_histograms_to_nhcb);
        self.always_scrape_classic_histograms.get_or_insert(defaults.always_scrape_classic_histograms);
    }

    fn inherit_protocols(&mut self, defaults: &ScrapeDefaults) -> Result<(), JobError> {
        if self.scrape_protocols.is_empty() {
            self.scrape_protocols.clone_from(&defaults.scrape_protocols);
        }
        if self.scrape_protocols.is_empty() {
            self.names_no_protocols = true;
            self.scrape_protocols = preferred(self.scrape_native_histograms()).to_vec();
        }
        let repeated = |(at, protocol)| self.scrape_protocols.iter().take(at).any(|earlier| earlier == protocol);
        if self.scrape_protocols.iter().enumerate().any(repeated) {
            let names: Vec<_> = self.scrape_protocols.iter().map(|protocol| protocol.as_str()).collect();
            return Err(JobError::RepeatedProtocol { protocols: names.join(" "), job: self.job_name.clone() });
        }
        Ok(())
    }

    fn inherit_limits(&mut self, defaults: &ScrapeLimits) {
        let own = &mut self.limits;
        for (own, default) in [
            (&mut own.body_size_limit, defaults.body_size_limit),
            (&mut own.sample_limit, defaults.sample_limit),
            (&mut own.label_limit, defaults.label_limit),
            (&mut own.label_name_length_limit, defaults.label_name_length_limit),
            (&mut own.label_value_length_limit, defaults.label_value_length_limit),
            (&mut own.target_limit, defaults.target_limit),
            (&mut own.keep_dropped_targets, defaults.keep_dropped_targets),
            (&mut own.native_histogram_bucket_limit, defaults.native_histogram_bucket_limit),
        ] {
            if *own == 0 {
                *own = default;
            }
        }
    }

    fn inherit_names(&mut self, defaults: &ScrapeDefaults) -> Result<(), JobError> {
        let scheme = *self.metric_name_validation_scheme.get_or_insert(defaults.metric_name_validation_scheme);
        let inherited = defaults.metric_name_escaping_scheme;
        let escaping = *self.metric_name_escaping_scheme.get_or_insert(inherited.unwrap_or(escaping_of(scheme)));
        if escaping == EscapingScheme::AllowUtf8 && scheme != NameScheme::Utf8 {
            return Err(JobError::EscapingWithoutUtf8);
        }
        for rule in self.relabel_configs.iter_mut().chain(&mut self.metric_relabel_configs) {
            *rule = rule.in_scheme(scheme)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_inherits_what_it_leaves_open() {
        let mut defaults = ScrapeDefaults { scrape_native_histograms: true, ..Default::default() };
        defaults.limits.sample_limit = 7;
        let mut job = ScrapeConfig::new("j");
        job.scrape_interval = Duration::from_secs(5);
        job.validate(&defaults).unwrap();
        assert_eq!((job.scrape_timeout, job.limits.sample_limit), (Duration::from_secs(5), 7));
        assert_eq!(job.scrape_protocols[0], ScrapeProtocol::PrometheusProto);
        assert_eq!(job.escaping_scheme(), EscapingScheme::AllowUtf8);
        let mut again = job.clone();
        again.validate(&defaults).unwrap();
        assert_eq!(again, job);
    }

    #[test]
    fn jobs_without_meaning_are_refused_in_upstreams_words() {
        let refused = |change: fn(&mut ScrapeConfig)| {
            let mut job = ScrapeConfig::new("j");
            change(&mut job);
            job.validate(&ScrapeDefaults::default()).unwrap_err().to_string()
        };
        assert_eq!(refused(|job| job.job_name.clear()), "job_name is empty");
        assert_eq!(
            refused(|job| job.scrape_timeout = Duration::from_hours(1)),
            "scrape timeout greater than scrape interval for scrape config with job name \"j\""
        );
        assert_eq!(
            refused(|job| *job = ScrapeConfig::new("j").static_targets(["http://bad"])),
            "\"http://bad\" is not a valid hostname"
        );
        assert_eq!(
            refused(|job| job.scrape_protocols = vec![ScrapeProtocol::PrometheusText0_0_4; 2]),
            "duplicated protocol in scrape_protocols, got [PrometheusText0.0.4 PrometheusText0.0.4] for scrape config with job name \"j\""
        );
        assert_eq!(
            refused(|job| {
                job.metric_name_validation_scheme = Some(NameScheme::Legacy);
                job.metric_name_escaping_scheme = Some(EscapingScheme::AllowUtf8);
            }),
            "utf8 metric names requested but validation scheme is not set to UTF8"
        );
    }
}
