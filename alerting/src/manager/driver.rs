//! The driver of a group: waits for its slots, evaluates, and restores what was pending before a restart.

use std::sync::Arc;

use ferula_model::{Queryable, Timestamp};
use tokio::sync::watch;
use tokio::time::Instant;

use super::RuleSettings;
use crate::evaluate::Evaluator;
use crate::group::Group;
use crate::restore::{Patience, restore};
use crate::schedule::{Slots, Turn};

/// Evaluates one group again and again.
pub(super) struct Driver {
    pub(super) group: Arc<Group>,
    pub(super) evaluator: Arc<Evaluator>,
    pub(super) settings: watch::Receiver<Arc<RuleSettings>>,
    pub(super) storage: Option<Arc<dyn Queryable>>,
    pub(super) patience: Patience,
    pub(super) stopped: watch::Receiver<bool>,
}

impl Driver {
    pub(super) async fn run(mut self, restores: bool) {
        let definition = &self.group.definition;
        let slots = Slots::new(definition.interval, &definition.file, &definition.name);
        let mut last = slots.before(self.evaluator.clock.now());
        let mut evaluations_until_restored = if restores { 2 } else { 0 };
        while !*self.stopped.borrow() {
            match slots.turn(last, self.evaluator.clock.now()) {
                Turn::Wait(time) => tokio::select! {
                    () = tokio::time::sleep(time) => {}
                    // An error says that the manager is gone.
                    stopped = self.stopped.changed() => if stopped.is_err() { return },
                },
                Turn::Due { slot, missed } => {
                    self.evaluate(slot, missed).await;
                    last = slot;
                    if evaluations_until_restored > 0 {
                        evaluations_until_restored -= 1;
                        // The first evaluation may come before there is data, or before other groups have written theirs.
                        if evaluations_until_restored == 0 {
                            self.restore().await;
                        }
                    }
                }
            }
        }
    }

    async fn evaluate(&self, slot: Timestamp, missed: u64) {
        let (group, evaluator) = (Arc::clone(&self.group), Arc::clone(&self.evaluator));
        let settings = Arc::clone(&self.settings.borrow());
        let key = group.definition.key();
        evaluator.metrics.iterations.with([key.as_str()]).inc_by(1 + missed);
        evaluator.metrics.iterations_missed.with([key.as_str()]).inc_by(missed);
        // A panic in there has said so already; the next slot begins afresh.
        let _ = tokio::task::spawn_blocking(move || evaluator.tick(&group, slot, &settings)).await;
    }

    async fn restore(&self) {
        let (group, storage, patience) = (Arc::clone(&self.group), self.storage.clone(), self.patience);
        let now = self.evaluator.clock.now();
        let began = Instant::now();
        let _ = tokio::task::spawn_blocking(move || restore(&group, storage.as_deref(), patience, now)).await;
        self.evaluator.metrics.restored(&self.group.definition, began.elapsed());
    }
}
