//! The monitor's own metrics, and those of its host, read straight into the storage: no HTTP, no text between.

use std::sync::Arc;
use std::time::Duration;

use ferula_exposition::{Feed, Registry};
use ferula_model::{Clock, Labels};
use ferula_tsdb::Db;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// Stores what the registry holds, every so often, until `stop` turns true. Series are not ended then: whoever starts next
/// goes on with them.
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
    let labels = Labels::from_pairs([("instance", instance.as_str()), ("job", "ferula")]);
    let mut feed = Feed::new(labels).reporting(Arc::clone(&clock));
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = ticks.tick() => {}
        }
        let (storage, registry, now) = (Arc::clone(&storage), registry.clone(), clock.now());
        let fed = tokio::task::spawn_blocking(move || {
            let outcome = feed.gather(&registry, now, &*storage);
            (feed, outcome)
        });
        let Ok((back, outcome)) = fed.await else { return };
        feed = back;
        match outcome {
            Ok(summary) => {
                if let Some(reason) = &summary.refusal {
                    tracing::warn!(%reason, refused = summary.refused, "own metrics were refused");
                }
            }
            Err(error) => tracing::error!(%error, "own metrics were not stored; the next round tries again"),
        }
    }
}
