//! Maintenance: the storage is ticked when it is time, by a task that ends with its monitor.

use std::sync::{Arc, Weak};

use ferula_model::{Clock, Timestamp};
use ferula_tsdb::Db;
use tokio::sync::watch;

/// Ticks the storage until `stop` turns true or the storage is gone or closed. What goes wrong is logged and counted by the
/// storage itself, which says when to try again.
pub(crate) async fn run(storage: Weak<Db>, clock: Arc<dyn Clock>, mut stop: watch::Receiver<bool>) {
    let mut next = clock.now();
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(next.since(clock.now())) => {}
        }
        let Some(db) = storage.upgrade() else { return };
        let now = clock.now();
        let Ok(tick) = tokio::task::spawn_blocking(move || db.tick(now)).await else { return };
        for block in &tick.blocks {
            tracing::info!(ulid = %block.ulid, mint = block.min_time, maxt = block.max_time, "write block");
        }
        for compacted in &tick.compactions {
            let ulid = compacted.block.as_ref().map(|block| block.ulid.to_string()).unwrap_or_default();
            tracing::info!(ulid, "compact blocks");
        }
        for ulid in tick.deletions.all() {
            tracing::info!(block = %ulid, "Deleting obsolete block");
        }
        next = tick.next.max(Timestamp(now.as_millis() + 1));
    }
}
