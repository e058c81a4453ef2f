//! Limits: may this query go on?
//!
//! Samples and bytes are counted while they are held, over all threads of a query. Cancellation is looked at before each
//! series, the clock every few thousand samples.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::error::QueryError;
use crate::options::CancelToken;

/// The limits of one query and how much of them is used.
#[derive(Debug)]
pub(crate) struct Limits {
    max_samples: u64,
    max_bytes: u64,
    max_bytes_together: u64,
    started: Instant,
    timeout: Duration,
    cancel: CancelToken,
    used: Arc<Used>,
}

#[derive(Debug, Default)]
struct Used {
    samples: AtomicU64,
    samples_peak: AtomicU64,
    bytes: AtomicU64,
    bytes_peak: AtomicU64,
    /// Bytes of all queries of the engine.
    together: Arc<AtomicU64>,
}

/// Samples that are held until this is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    used: Arc<Used>,
    samples: u64,
    bytes: u64,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.used.samples.fetch_sub(self.samples, Ordering::Relaxed);
        self.used.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.used.together.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Limits {
    pub(crate) fn new(max_samples: u64, max_bytes: u64, timeout: Duration, cancel: CancelToken) -> Self {
        Self {
            max_samples,
            max_bytes,
            max_bytes_together: 0,
            started: Instant::now(),
            timeout,
            cancel,
            used: Arc::default(),
        }
    }

    /// The same, with the bytes counted among those of other queries too. `max` is for all together, 0 for no limit.
    pub(crate) fn together(mut self, bytes: Arc<AtomicU64>, max: u64) -> Self {
        self.used = Arc::new(Used { together: bytes, ..Used::default() });
        self.max_bytes_together = max;
        self
    }

    /// Counts samples as held.
    pub(crate) fn hold(&self, samples: u64, bytes: u64) -> Result<Hold, QueryError> {
        let held = self.used.samples.fetch_add(samples, Ordering::Relaxed).saturating_add(samples);
        let held_bytes = self.used.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let together = self.used.together.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let hold = Hold { used: Arc::clone(&self.used), samples, bytes };
        if held > self.max_samples {
            return Err(QueryError::TooManySamples { limit: self.max_samples });
        }
        if self.max_bytes > 0 && held_bytes > self.max_bytes {
            return Err(QueryError::TooManyBytes { limit: self.max_bytes });
        }
        if self.max_bytes_together > 0 && together > self.max_bytes_together {
            return Err(QueryError::TooManyBytesTogether { limit: self.max_bytes_together });
        }
        self.used.samples_peak.fetch_max(held, Ordering::Relaxed);
        self.used.bytes_peak.fetch_max(held_bytes, Ordering::Relaxed);
        Ok(hold)
    }

    /// Whether a grid is short enough that one series of it may be held at all.
    pub(crate) fn admits_steps(&self, steps: usize) -> Result<(), QueryError> {
        let steps = steps as u64;
        let held = self.used.samples.load(Ordering::Relaxed);
        if steps.saturating_add(held) > self.max_samples {
            return Err(QueryError::TooManySamples { limit: self.max_samples });
        }
        if self.max_bytes > 0 && steps.saturating_mul(8) > self.max_bytes {
            return Err(QueryError::TooManyBytes { limit: self.max_bytes });
        }
        Ok(())
    }

    /// Whether there is time left and the asker still waits.
    pub(crate) fn check(&self, stage: &'static str) -> Result<(), QueryError> {
        self.check_cancellation(stage)?;
        if self.started.elapsed() >= self.timeout {
            return Err(QueryError::Timeout { stage, after: self.timeout });
        }
        Ok(())
    }

    /// Whether the asker still waits.
    #[inline]
    pub(crate) fn check_cancellation(&self, stage: &'static str) -> Result<(), QueryError> {
        if self.cancel.is_canceled() { Err(QueryError::Canceled { stage }) } else { Ok(()) }
    }

    pub(crate) fn peak_samples(&self) -> u64 {
        self.used.samples_peak.load(Ordering::Relaxed)
    }

    pub(crate) fn peak_bytes(&self) -> u64 {
        self.used.bytes_peak.load(Ordering::Relaxed)
    }
}

/// What a worker counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) total_queryable: u64,
    pub(crate) read: u64,
    /// For each step of the query's grid; empty unless asked for.
    pub(crate) queryable_per_step: Vec<u64>,
    pub(crate) read_per_step: Vec<u64>,
}

impl Counters {
    /// Adds samples to the step of the query's grid that `at` falls on, if it does.
    pub(crate) fn count_at(&mut self, settings: &super::Settings, at: ferula_model::Timestamp, count: u64) {
        let grid = settings.query_grid;
        let since = at.as_millis() - grid.start().as_millis();
        let step = since.div_euclid(grid.step_millis()).clamp(0, grid.len() as i64 - 1) as usize;
        self.queryable_per_step.resize(grid.len(), 0);
        self.read_per_step.resize(grid.len(), 0);
        self.queryable_per_step[step] += count;
    }

    /// Adds the samples of an instant selector, which are read at the step they are for.
    pub(crate) fn count_presence(
        &mut self,
        settings: &super::Settings,
        grid: ferula_model::StepGrid,
        vector: &super::steps::StepVector,
    ) {
        for step in vector.presence().iter() {
            self.count_at(settings, grid.at(step), 1);
        }
    }

    pub(crate) fn merge(&mut self, other: Counters) {
        self.total_queryable += other.total_queryable;
        self.read += other.read;
        merge_steps(&mut self.queryable_per_step, other.queryable_per_step);
        merge_steps(&mut self.read_per_step, other.read_per_step);
    }
}

fn merge_steps(mine: &mut Vec<u64>, theirs: Vec<u64>) {
    if mine.len() < theirs.len() {
        mine.resize(theirs.len(), 0);
    }
    for (mine, theirs) in mine.iter_mut().zip(theirs) {
        *mine += theirs;
    }
}
