//! The monitor's own metrics, read straight into the storage: no HTTP, no text between.
//!
//! One batch every interval, as a scrape of `/metrics` would store it: each family's samples, `up` left out because nothing
//! can be down, and a stale marker for each series that is gone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ferula_exposition::{MetricFamily, MetricValue, Registry};
use ferula_model::number::{FloatForm, format_float};
use ferula_model::{AppendError, Appendable, Appender, Clock, Labels, METRIC_NAME, STALE_MARKER, Sample, Timestamp};
use ferula_tsdb::Db;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// Stores what the registry holds, every so often, until `stop` turns true.
pub(crate) async fn run(
    registry: Registry,
    storage: Arc<Db>,
    clock: Arc<dyn Clock>,
    instance: String,
    every: Duration,
    mut stop: watch::Receiver<bool>,
) {
    let mut ticks = tokio::time::interval(every.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut store = OwnMetrics::new(registry, instance);
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = ticks.tick() => {}
        }
        let (storage, now) = (Arc::clone(&storage), clock.now());
        let stored = tokio::task::spawn_blocking(move || {
            store.store(&*storage, now);
            store
        });
        let Ok(back) = stored.await else { return };
        store = back;
    }
}

/// The series of the registry in the storage.
struct OwnMetrics {
    registry: Registry,
    /// Labels that every series gets.
    target: Vec<(String, String)>,
    /// The series that were stored last, and in which round.
    known: HashMap<Labels, u64>,
    round: u64,
}

impl OwnMetrics {
    fn new(registry: Registry, instance: String) -> Self {
        let target = vec![("instance".to_owned(), instance), ("job".to_owned(), "ferula".to_owned())];
        Self { registry, target, known: HashMap::new(), round: 0 }
    }

    /// Stores one round. What the storage refuses is logged and counted there; it does not keep the rest out.
    fn store(&mut self, storage: &dyn Appendable, now: Timestamp) {
        self.round += 1;
        let mut appender = storage.appender();
        let mut refused = 0_usize;
        for family in self.registry.gather() {
            for (labels, sample) in samples(&family, &self.target, now) {
                refused += usize::from(append(&mut *appender, &labels, sample).is_err());
                self.known.insert(labels, self.round);
            }
        }
        let round = self.round;
        self.known.retain(|labels, last| {
            let stays = *last == round;
            if !stays {
                refused += usize::from(append(&mut *appender, labels, Sample::float(now, STALE_MARKER)).is_err());
            }
            stays
        });
        if let Err(error) = appender.commit() {
            tracing::error!(%error, "storing the monitor's own metrics");
        }
        if refused > 0 {
            tracing::warn!(refused, "the storage refused some of the monitor's own metrics");
        }
    }
}

fn append(appender: &mut dyn Appender, labels: &Labels, sample: Sample) -> Result<(), AppendError> {
    let pairs: Vec<(&str, &str)> = labels.iter().collect();
    let series = appender.series(&pairs)?;
    appender.append(series, sample)
}

/// The samples of a family, as a scrape of its text would store them.
fn samples(family: &MetricFamily, target: &[(String, String)], now: Timestamp) -> Vec<(Labels, Sample)> {
    let mut out = Vec::new();
    for metric in &family.metrics {
        let labels = |suffix: &str, extra: Option<(&str, &str)>| {
            let mut builder = metric.labels.to_builder();
            for (name, value) in target {
                if builder.get(name).is_none() {
                    builder.set(name, value);
                }
            }
            if let Some((name, value)) = extra {
                builder.set(name, value);
            }
            builder.set(METRIC_NAME, &format!("{}{suffix}", family.name));
            builder.build()
        };
        let mut float = |labels, value| out.push((labels, Sample::float(metric.timestamp.unwrap_or(now), value)));
        match &metric.value {
            MetricValue::Counter { value, .. } | MetricValue::Gauge(value) | MetricValue::Unknown(value) => {
                float(labels("", None), *value);
            }
            MetricValue::Histogram(histogram) => {
                histogram.sum.into_iter().for_each(|sum| float(labels("_sum", None), sum));
                histogram.count.into_iter().for_each(|count| float(labels("_count", None), count));
                for bucket in &histogram.buckets {
                    let le = format_float(bucket.upper_bound, FloatForm::OpenMetrics);
                    float(labels("_bucket", Some(("le", &le))), bucket.cumulative_count);
                }
                if let Some(native) = &histogram.native {
                    let at = metric.timestamp.unwrap_or(now);
                    out.push((labels("", None), Sample::histogram(at, native.clone())));
                }
            }
            MetricValue::Summary(summary) => {
                summary.sum.into_iter().for_each(|sum| float(labels("_sum", None), sum));
                summary.count.into_iter().for_each(|count| float(labels("_count", None), count));
                for (quantile, value) in &summary.quantiles {
                    let quantile = format_float(*quantile, FloatForm::OpenMetrics);
                    float(labels("", Some(("quantile", &quantile))), *value);
                }
            }
            MetricValue::Info => float(labels("_info", None), 1.0),
            MetricValue::StateSet(states) => {
                for (state, holds) in states {
                    float(labels("", Some((&family.name, state))), f64::from(u8::from(*holds)));
                }
            }
            // A kind that is new in the exposition crate and unknown here.
            other => tracing::debug!(?other, family = %family.name, "a metric of unknown kind is not stored"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_becomes_the_series_of_its_text() {
        let registry = Registry::new();
        registry.histogram("wait_seconds", "", &[1.0]).unwrap().observe(0.5);
        let family = registry.gather().remove(0);
        let found = samples(&family, &[("job".to_owned(), "me".to_owned())], Timestamp(7));
        let texts: Vec<String> = found.iter().map(|(labels, _)| labels.to_string()).collect();
        assert_eq!(
            texts,
            [
                r#"{__name__="wait_seconds_sum", job="me"}"#,
                r#"{__name__="wait_seconds_count", job="me"}"#,
                r#"{__name__="wait_seconds_bucket", job="me", le="1.0"}"#,
                r#"{__name__="wait_seconds_bucket", job="me", le="+Inf"}"#,
            ]
        );
    }
}
