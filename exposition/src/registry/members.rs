//! Members: the metrics of one family by key, and which of them have gone quiet.
//!
//! A family without an idle time is read under a shared lock. With one, each reading compares what a metric counted with
//! what it had counted at the reading before. A quiet metric is left out; it is forgotten for good once nobody holds a handle
//! to it, so that no handle ever counts into nothing: a metric that wakes comes back with all it had counted.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use ferula_model::{Clock, Labels, Timestamp};
use hashbrown::{Equivalent, HashMap};
use parking_lot::RwLock;

use super::family::Instrument;
use crate::family::Metric;

/// The metrics of one family by key.
#[derive(Debug)]
pub(crate) struct Members<K, I: Instrument> {
    pub(crate) options: I::Options,
    clock: Option<Arc<dyn Clock>>,
    pub(crate) bounds: Bounds,
    map: RwLock<HashMap<K, Member<I>>>,
}

/// How long and how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// A metric that did not change for so long is quiet.
    pub(crate) idle: Option<Duration>,
    /// So many metrics have labels of their own; those that come later share one.
    pub(crate) metrics_max: Option<usize>,
}

#[derive(Debug)]
struct Member<I> {
    instrument: I,
    labels: Labels,
    start: Option<Timestamp>,
    /// See [`Instrument::activity`].
    activity: u64,
    active_at: Timestamp,
}

impl<K: Eq + Hash, I: Instrument> Members<K, I> {
    pub(crate) fn new(options: I::Options, clock: Option<Arc<dyn Clock>>, bounds: Bounds) -> Self {
        Self { options, clock, bounds, map: RwLock::default() }
    }

    /// The metric of a key; `make` names it if it is new, `shared` names the one that stands for all beyond the limit.
    pub(crate) fn with<Q>(&self, key: &Q, make: impl FnOnce() -> (K, Labels), shared: impl FnOnce() -> (K, Labels)) -> I
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        if let Some(member) = self.map.read().get(key) {
            return member.instrument.clone();
        }
        let mut map = self.map.write();
        let is_full = self.bounds.metrics_max.is_some_and(|max| map.len() >= max);
        let (key, labels) = if is_full && !map.contains_key(key) { shared() } else { make() };
        map.entry(key).or_insert_with(|| self.create(labels)).instrument.clone()
    }

    fn create(&self, labels: Labels) -> Member<I> {
        let instrument = I::create(&self.options, self.clock.as_ref());
        let start = self.clock.as_ref().map(|clock| clock.now());
        let activity = instrument.activity(0);
        Member { instrument, labels, start, activity, active_at: start.unwrap_or_default() }
    }

    pub(crate) fn remove<Q>(&self, key: &Q) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.map.write().remove(key).is_some()
    }

    pub(crate) fn retain(&self, mut keep: impl FnMut(&K) -> bool) {
        self.map.write().retain(|key, _| keep(key));
    }

    pub(crate) fn len(&self) -> usize {
        self.map.read().len()
    }

    /// What each metric measures now, in no order; the quiet ones are left out.
    pub(crate) fn read(&self) -> Vec<Metric> {
        let (Some(idle), Some(clock)) = (self.bounds.idle, &self.clock) else {
            return self.map.read().values().map(Member::read).collect();
        };
        let now = clock.now();
        let mut metrics = Vec::new();
        self.map.write().retain(|_, member| {
            let quiet = member.is_quiet(now, idle);
            if !quiet {
                metrics.push(member.read());
            }
            // Nobody can take a handle while the map is locked for writing.
            !quiet || member.instrument.handles() > 1
        });
        metrics
    }
}

impl<I: Instrument> Member<I> {
    fn is_quiet(&mut self, now: Timestamp, idle: Duration) -> bool {
        let activity = self.instrument.activity(self.activity);
        if activity != self.activity {
            (self.activity, self.active_at) = (activity, now);
        }
        now.since(self.active_at) >= idle
    }

    fn read(&self) -> Metric {
        // Reading may be what makes it begin anew, behind the value that is read.
        let start = self.instrument.restarted().or(self.start);
        Metric { labels: self.labels.clone(), value: self.instrument.read(), timestamp: None, start }
    }
}
