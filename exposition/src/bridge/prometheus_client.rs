//! The `prometheus-client` bridge: what does a registry of that crate hold?
//!
//! Its registries can be walked only by encoding them, and an encoder cannot come from outside: so it writes OpenMetrics, which
//! is read back here. That form has no native histograms; of a histogram that has only native buckets, count and sum remain.
//! (Its protobuf has them, but generates code with protoc as it is built.)

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::registry::Registry;

use crate::family::MetricFamily;
use crate::parser::{Format, ParseOptions};
use crate::read::read_families;
use crate::registry::Collect;

/// A registry of the `prometheus-client` crate as a collector.
///
/// ```
/// use std::sync::Arc;
/// use ferula_exposition::Registry;
/// use ferula_exposition::bridge::ClientRegistry;
/// use prometheus_client::metrics::counter::Counter;
///
/// let jobs = Counter::<u64>::default();
/// let mut theirs = prometheus_client::registry::Registry::default();
/// theirs.register("jobs", "Jobs done", jobs.clone());
/// jobs.inc();
///
/// let registry = Registry::new();
/// registry.collector(Arc::new(ClientRegistry::new(Arc::new(theirs))));
/// assert_eq!(&*registry.gather()[0].name, "jobs_total");
/// ```
#[derive(Clone)]
pub struct ClientRegistry {
    registry: Arc<Registry>,
    failures: Arc<AtomicU64>,
}

impl ClientRegistry {
    /// The metrics of this registry.
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry, failures: Arc::default() }
    }

    /// How many gatherings gave nothing, because the registry could not be encoded or what it encoded is not OpenMetrics.
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    fn families(&self) -> Option<Vec<MetricFamily>> {
        let mut body = String::new();
        prometheus_client::encoding::text::encode(&mut body, &self.registry).ok()?;
        read_families(body.as_bytes(), Format::OpenMetrics, &ParseOptions::default()).ok()
    }
}

impl Collect for ClientRegistry {
    fn collect(&self, out: &mut Vec<MetricFamily>) {
        match self.families() {
            Some(families) => out.extend(families),
            None => {
                self.failures.fetch_add(1, Relaxed);
            }
        }
    }
}

impl fmt::Debug for ClientRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientRegistry").field("failures", &self.failures()).finish_non_exhaustive()
    }
}
