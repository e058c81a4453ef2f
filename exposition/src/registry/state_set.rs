//! State sets and infos: which of these hold, and what is constant?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use ferula_model::{Clock, MetricType};

use super::family::Instrument;
use crate::family::MetricValue;

/// Most states of a set.
pub(super) const STATES_MAX: usize = 64;

/// Shows which of a few states hold: one of them, as for an enumeration, or any. Clones show the same.
///
/// ```
/// use ferula_exposition::{Format, Registry, encode};
///
/// let registry = Registry::new();
/// let phase = registry.state_set("phase", "What the server does.", &["starting", "ready", "stopping"])?;
/// phase.only("ready");
/// let mut body = Vec::new();
/// encode(&registry.gather(), Format::Text, &mut body);
/// let body = String::from_utf8_lossy(&body);
/// assert!(body.contains("phase{phase=\"starting\"} 0\nphase{phase=\"ready\"} 1\n"));
/// # Ok::<(), ferula_exposition::registry::RegisterError>(())
/// ```
#[derive(Clone, Debug)]
pub struct StateSet(Arc<Core>);

#[derive(Debug)]
struct Core {
    states: Arc<[Arc<str>]>,
    /// A bit for each state.
    holding: AtomicU64,
    touched: AtomicBool,
}

impl StateSet {
    /// Says whether a state holds, and leaves the others. False, and nothing done, if there is no such state.
    pub fn set(&self, state: &str, holds: bool) -> bool {
        let Some(bit) = self.bit(state) else { return false };
        if holds {
            self.0.holding.fetch_or(bit, Relaxed);
        } else {
            self.0.holding.fetch_and(!bit, Relaxed);
        }
        self.0.touched.store(true, Relaxed);
        true
    }

    /// Says that this state holds and no other. False, and nothing done, if there is no such state.
    pub fn only(&self, state: &str) -> bool {
        let Some(bit) = self.bit(state) else { return false };
        self.0.holding.store(bit, Relaxed);
        self.0.touched.store(true, Relaxed);
        true
    }

    /// Whether a state holds.
    pub fn holds(&self, state: &str) -> bool {
        self.bit(state).is_some_and(|bit| self.0.holding.load(Relaxed) & bit != 0)
    }

    fn bit(&self, state: &str) -> Option<u64> {
        self.0.states.iter().position(|known| &**known == state).map(|place| 1 << place)
    }
}

impl Instrument for StateSet {
    type Options = Arc<[Arc<str>]>;
    const TYPE: MetricType = MetricType::StateSet;

    fn create(states: &Arc<[Arc<str>]>, _: Option<&Arc<dyn Clock>>) -> Self {
        let (holding, touched) = Default::default();
        Self(Arc::new(Core { states: Arc::clone(states), holding, touched }))
    }

    fn read(&self) -> MetricValue {
        let holding = self.0.holding.load(Relaxed);
        let states = self.0.states.iter().enumerate();
        MetricValue::StateSet(states.map(|(i, state)| (Arc::clone(state), holding & (1 << i) != 0)).collect())
    }

    fn handles(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    fn activity(&self, before: u64) -> u64 {
        before.wrapping_add(u64::from(self.0.touched.swap(false, Relaxed)))
    }
}

/// Says something by its labels; the value is always 1. There is nothing to be done with it: see
/// [`Registry::info`](super::Registry::info).
#[derive(Clone, Debug, Default)]
pub struct Info(Arc<()>);

impl Instrument for Info {
    type Options = ();
    const TYPE: MetricType = MetricType::Info;

    fn create((): &(), _: Option<&Arc<dyn Clock>>) -> Self {
        Self::default()
    }

    fn read(&self) -> MetricValue {
        MetricValue::Info
    }

    fn handles(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    fn activity(&self, before: u64) -> u64 {
        // What is constant is never idle.
        before.wrapping_add(1)
    }
}
