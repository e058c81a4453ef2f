//! Discovery: where do targets come from?
//!
//! ```text
//!  configuration --> provider (one per distinct configuration) --groups--> manager --> jobs
//! ```
//!
//! A [`Discoverer`] runs for as long as some job wants it and sends [`TargetGroup`]s whenever they change. Equal
//! configurations of several jobs share one. What a host knows itself (a registry of services, an orchestrator) comes in
//! by the same door: implement [`Discoverer`] and put it into a job as [`DiscoveryConfig::Custom`].

mod file;
mod http;
mod json;
mod refresh;
mod watch;
mod yaml;

pub use file::{FileDiscovery, expand};
pub use http::HttpDiscovery;
pub use refresh::{DiscoveryError, Found, Refresh, RefreshDiscoverer};
pub use watch::DiscoveryWatch;

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use ferula_model::Labels;
use ferula_model::yaml::Node;
use tokio::sync::mpsc;

use crate::metrics::DiscoveryMetrics;
use crate::target::TargetGroup;

/// One entry of the discovery keys of a job.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum DiscoveryConfig {
    /// `static_configs`: one group per entry.
    Static(Vec<TargetGroup>),
    /// `file_sd_configs`.
    File(FileDiscovery),
    /// `http_sd_configs`.
    Http(Box<HttpDiscovery>),
    /// A discovery of the host's own. Configuration files cannot name it.
    Custom(CustomDiscovery),
    /// A key that Prometheus knows and this build does not act on. The manager refuses a job that has it, so that
    /// targets are never missing in silence; a mere check of a file accepts it.
    Unsupported {
        /// The key, `kubernetes_sd_configs` for instance.
        key: &'static str,
        /// Its entry.
        entry: Box<Node>,
    },
}

/// Discovery keys of Prometheus 3.14 that this build does not act on.
const UNSUPPORTED: [&str; 34] = [
    "aws_sd_configs",
    "azure_sd_configs",
    "consul_sd_configs",
    "digitalocean_sd_configs",
    "dns_sd_configs",
    "docker_sd_configs",
    "dockerswarm_sd_configs",
    "ec2_sd_configs",
    "eureka_sd_configs",
    "gce_sd_configs",
    "hetzner_sd_configs",
    "ionos_sd_configs",
    "kubernetes_sd_configs",
    "kuma_sd_configs",
    "lightsail_sd_configs",
    "linode_sd_configs",
    "marathon_sd_configs",
    "nerve_sd_configs",
    "nomad_sd_configs",
    "oci_sd_configs",
    "openstack_sd_configs",
    "outscale_sd_configs",
    "ovhcloud_sd_configs",
    "puppetdb_sd_configs",
    "scaleway_sd_configs",
    "serverset_sd_configs",
    "stackit_sd_configs",
    "triton_sd_configs",
    "uyuni_sd_configs",
    "vultr_sd_configs",
    "ecs_sd_configs",
    "msk_sd_configs",
    "rds_sd_configs",
    "elasticache_sd_configs",
];

impl DiscoveryConfig {
    /// Fixed addresses, `host:port`, without labels of their own.
    pub fn of_addresses<A: AsRef<str>>(addresses: impl IntoIterator<Item = A>) -> Self {
        let group = TargetGroup::of_addresses(addresses, Labels::empty());
        Self::Static(vec![TargetGroup { source: "0".to_owned(), ..group }])
    }

    /// The name by which metrics call it.
    pub fn mechanism(&self) -> &str {
        match self {
            Self::Static(_) => "static",
            Self::File(_) => "file",
            Self::Http(_) => "http",
            Self::Custom(custom) => custom.0.mechanism(),
            Self::Unsupported { key, .. } => key.trim_end_matches("_sd_configs"),
        }
    }

    /// A static address with a `/` in it, which no request could reach.
    pub fn impossible_address(&self) -> Option<&str> {
        let Self::Static(groups) = self else { return None };
        let addresses = groups.iter().flat_map(|group| &group.targets).filter_map(|labels| labels.get("__address__"));
        addresses.into_iter().find(|address| address.contains('/'))
    }

    /// Makes every relative file name relative to `directory`, that of the configuration file.
    pub fn resolve_paths(&mut self, directory: &Path) {
        match self {
            Self::File(file) => file.resolve_paths(directory),
            Self::Http(http) => http.http.resolve_paths(directory),
            _ => {}
        }
    }

    /// Starts finding targets, if that takes more than reading the configuration.
    pub(crate) fn discoverer(&self) -> Result<Option<Arc<dyn Discoverer>>, DiscoveryError> {
        Ok(match self {
            Self::Static(_) => None,
            Self::File(file) => Some(Arc::new(file.clone())),
            Self::Http(http) => Some(http.discoverer()?),
            Self::Custom(custom) => Some(Arc::clone(&custom.0)),
            Self::Unsupported { key, .. } => return Err(DiscoveryError::Unsupported(key)),
        })
    }
}

/// A discovery of the host's own; equal only to itself.
#[derive(Clone, Debug)]
pub struct CustomDiscovery(pub Arc<dyn Discoverer>);

impl PartialEq for CustomDiscovery {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Finds targets.
///
/// ```
/// use std::future::Future;
/// use std::pin::Pin;
/// use std::sync::Arc;
/// use ferula_model::Labels;
/// use ferula_scrape::discovery::{CustomDiscovery, Discoverer, DiscoveryConfig, Groups};
/// use ferula_scrape::{ScrapeConfig, TargetGroup};
///
/// #[derive(Debug)]
/// struct Workers;
///
/// impl Discoverer for Workers {
///     fn mechanism(&self) -> &str {
///         "workers"
///     }
///     fn run(self: Arc<Self>, groups: Groups) -> Pin<Box<dyn Future<Output = ()> + Send>> {
///         Box::pin(async move {
///             let group = TargetGroup::of_addresses(["10.0.0.7:9100"], Labels::empty());
///             groups.send(vec![group]).await;
///             groups.closed().await; // nothing will ever change
///         })
///     }
/// }
///
/// let mut job = ScrapeConfig::new("workers");
/// job.discovery.push(DiscoveryConfig::Custom(CustomDiscovery(Arc::new(Workers))));
/// ```
pub trait Discoverer: Send + Sync + fmt::Debug {
    /// A word for metrics and messages.
    fn mechanism(&self) -> &str;

    /// Sends groups when they change, until nobody listens any more. The future may be dropped at any moment.
    fn run(self: Arc<Self>, groups: Groups) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Where a [`Discoverer`] sends what it found.
#[derive(Clone, Debug)]
pub struct Groups {
    pub(crate) provider: u64,
    pub(crate) job: Arc<str>,
    pub(crate) updates: mpsc::Sender<(u64, Vec<TargetGroup>)>,
    pub(crate) metrics: Arc<DiscoveryMetrics>,
}

impl Groups {
    /// Replaces the groups of these sources; groups without targets are deleted, those of other sources stay. False if
    /// nobody listens any more.
    pub async fn send(&self, groups: Vec<TargetGroup>) -> bool {
        self.updates.send((self.provider, groups)).await.is_ok()
    }

    /// Waits until nobody listens any more.
    pub async fn closed(&self) {
        self.updates.closed().await;
    }

    /// What discoveries count.
    pub(crate) fn metrics(&self) -> &DiscoveryMetrics {
        &self.metrics
    }

    /// The job that asked first, for metrics.
    pub(crate) fn job(&self) -> &str {
        &self.job
    }
}
