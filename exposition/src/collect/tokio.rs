//! The runtime collector: what does a tokio runtime do?

use tokio::runtime::Handle;

use super::Families;
use crate::family::MetricFamily;
use crate::registry::Collect;

/// Metrics of a tokio runtime: workers, living tasks, and the queue into which tasks are injected.
///
/// ```
/// use std::sync::Arc;
/// use ferula_exposition::Registry;
/// use ferula_exposition::collect::RuntimeCollector;
///
/// let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// let registry = Registry::new();
/// registry.collector(Arc::new(RuntimeCollector::new(runtime.handle().clone())));
/// assert!(registry.gather().iter().any(|family| &*family.name == "tokio_alive_tasks"));
/// ```
#[derive(Clone, Debug)]
pub struct RuntimeCollector(Handle);

impl RuntimeCollector {
    /// A collector of this runtime.
    pub fn new(runtime: Handle) -> Self {
        Self(runtime)
    }
}

impl Collect for RuntimeCollector {
    fn collect(&self, out: &mut Vec<MetricFamily>) {
        let metrics = self.0.metrics();
        let mut families = Families::default();
        families.gauge("tokio_workers", "Worker threads of the runtime.", &[], metrics.num_workers() as f64);
        families.gauge("tokio_alive_tasks", "Tasks that have not ended.", &[], metrics.num_alive_tasks() as f64);
        let help = "Tasks that wait in the queue shared by all workers.";
        families.gauge("tokio_global_queue_depth", help, &[], metrics.global_queue_depth() as f64);
        out.extend(families.into_families());
    }
}
