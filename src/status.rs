//! What a monitor says about itself, and what may be done to its storage.

use std::sync::{Arc, Weak};

use ferula_model::{Matcher, TimeRange, Timestamp};

use crate::api::{Admin, BuildInfo, Cardinality, RuntimeInfo, Status, WalReplay};
use crate::parts::{Core, host_name};

/// The pages below `/api/v1/status`.
pub(crate) struct StatusPages {
    core: Weak<Core>,
    started: Timestamp,
}

impl StatusPages {
    pub(crate) fn new(core: &Arc<Core>) -> Self {
        Self { core: Arc::downgrade(core), started: core.clock.now() }
    }

    /// What the core says; the default once the monitor is gone.
    fn ask<T: Default>(&self, question: impl FnOnce(&Core) -> T) -> T {
        self.core.upgrade().map(|core| question(&core)).unwrap_or_default()
    }
}

impl Status for StatusPages {
    fn build(&self) -> BuildInfo {
        self.ask(|core| core.about.build.clone())
    }

    fn runtime(&self) -> RuntimeInfo {
        self.ask(|core| {
            let state = core.state();
            RuntimeInfo {
                start_time: self.started,
                working_directory: std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default(),
                hostname: host_name(),
                server_time: core.clock.now(),
                reload_succeeded: state.last_reload_succeeded,
                config_time: state.read_at,
                corruptions: core.db.opened().damage.len() as u64,
                threads: std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count),
                cores: std::thread::available_parallelism().map_or(1, usize::from),
                memory_limit: i64::MAX,
                retention: state.retention,
            }
        })
    }

    fn config_yaml(&self) -> String {
        self.ask(|core| core.state().config.to_yaml())
    }

    fn flags(&self) -> Vec<(String, String)> {
        self.ask(|core| core.about.flags.clone())
    }

    fn cardinality(&self, limit: usize) -> Cardinality {
        self.ask(|core| {
            let head = core.db.cardinality(limit);
            Cardinality {
                series: head.series,
                label_pairs: head.label_pairs,
                chunks: head.chunks,
                // As upstream shows a head without samples.
                min_time: head.min_time.unwrap_or(i64::MAX),
                max_time: head.max_time.unwrap_or(i64::MIN),
                series_by_metric: head.series_by_metric,
                values_by_label: head.values_by_label,
                bytes_by_label: head.bytes_by_label,
                series_by_pair: head.series_by_pair,
            }
        })
    }

    fn wal_replay(&self) -> WalReplay {
        self.ask(|core| replay(core.db.wal_replay()))
    }

    fn blocks_json(&self) -> Vec<Vec<u8>> {
        let blocks = self.ask(|core| core.db.blocks());
        // A description is made of texts and numbers, which are always JSON.
        blocks.iter().filter_map(|meta| serde_json::to_vec(&**meta).ok()).collect()
    }
}

/// How far a replay is, as the API says it.
pub(crate) fn replay(replay: ferula_tsdb::WalReplay) -> WalReplay {
    WalReplay { min: replay.min as i64, max: replay.max as i64, current: replay.current as i64 }
}

/// Deletes, cleans up and copies.
pub(crate) struct Storekeeper(Weak<Core>);

impl Storekeeper {
    pub(crate) fn new(core: &Arc<Core>) -> Self {
        Self(Arc::downgrade(core))
    }

    fn core(&self) -> Result<Arc<Core>, Box<dyn std::error::Error>> {
        self.0.upgrade().ok_or_else(|| "the server is shutting down".into())
    }
}

impl Admin for Storekeeper {
    fn delete_series(&self, range: TimeRange, matchers: &[Matcher]) -> Result<(), Box<dyn std::error::Error>> {
        self.core()?.db.delete(range, matchers)?;
        Ok(())
    }

    fn clean_tombstones(&self) -> Result<(), Box<dyn std::error::Error>> {
        let core = self.core()?;
        core.db.clean_tombstones(core.clock.now())?;
        Ok(())
    }

    fn snapshot(&self, skip_head: bool) -> Result<String, Box<dyn std::error::Error>> {
        Ok(self.core()?.db.snapshot(skip_head)?)
    }
}
