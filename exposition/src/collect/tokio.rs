//! The runtime collector: what does a tokio runtime do?

use tokio::runtime::{Handle, RuntimeMetrics};

use super::Families;
use crate::family::MetricFamily;
use crate::registry::Collect;

/// Metrics of a tokio runtime: workers, how busy each is and how often it sleeps, living tasks, and the queue that all
/// workers share.
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
        workers(&metrics, &mut families);
        out.extend(families.into_families());
    }
}

#[cfg(target_has_atomic = "64")]
fn workers(metrics: &RuntimeMetrics, families: &mut Families) {
    for worker in 0..metrics.num_workers() {
        let labels = [("worker", &*worker.to_string())];
        let help = "Time that the worker was busy with tasks.";
        let busy = metrics.worker_total_busy_duration(worker).as_secs_f64();
        families.counter("tokio_worker_busy_seconds_total", help, &labels, busy);
        let help = "How often the worker went to sleep because there was nothing to do.";
        families.counter("tokio_worker_parks_total", help, &labels, metrics.worker_park_count(worker) as f64);
    }
}

/// Tokio counts these only where it can do so in one step.
#[cfg(not(target_has_atomic = "64"))]
fn workers(_: &RuntimeMetrics, _: &mut Families) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_tells_of_its_workers_and_tasks() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (release, wait) = tokio::sync::oneshot::channel::<()>();
        let task = runtime.spawn(wait);
        let mut families = Vec::new();
        RuntimeCollector::new(runtime.handle().clone()).collect(&mut families);
        let value = |name: &str| {
            let family = families.iter().find(|family| &*family.name == name).unwrap();
            format!("{:?} {}", family.metrics[0].value, family.metrics[0].labels)
        };
        assert_eq!(value("tokio_workers"), "Gauge(1.0) {}");
        assert_eq!(value("tokio_alive_tasks"), "Gauge(1.0) {}");
        assert!(value("tokio_worker_busy_seconds_total").ends_with(r#"{worker="0"}"#));
        assert!(value("tokio_worker_parks_total").starts_with("Counter"));
        drop(release);
        runtime.block_on(task).unwrap().unwrap_err();
    }
}
