//! Exemplars: a ring of fixed size for all series together.

use std::collections::VecDeque;

use ferula_model::{AppendError, Exemplar, Timestamp};
use hashbrown::HashMap;

use crate::wal::format::ExemplarRecord;

/// Characters of names and values of an exemplar in all (OpenMetrics 1.0).
const CHARACTERS_MAX: usize = 128;

/// The newest exemplars of all series; the oldest goes when a new one comes.
#[derive(Debug)]
pub(super) struct ExemplarRing {
    limit: usize,
    ring: VecDeque<(u32, i64, Exemplar)>,
    /// The newest exemplar of each series that has one in the ring, and how many it has.
    newest: HashMap<u32, (i64, Exemplar, usize)>,
}

impl ExemplarRing {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, ring: VecDeque::new(), newest: HashMap::new() }
    }

    /// May this exemplar enter? A repetition of the newest one may, and changes nothing.
    pub(super) fn judge(
        &self,
        series: u32,
        time: i64,
        exemplar: &Exemplar,
        late_window: i64,
    ) -> Result<(), AppendError> {
        let characters = exemplar.labels.iter().map(|(name, value)| name.chars().count() + value.chars().count());
        if characters.sum::<usize>() > CHARACTERS_MAX {
            return Err(AppendError::ExemplarTooLong);
        }
        match self.newest.get(&series) {
            Some((newest, ..)) if time < newest.saturating_sub(late_window) => Err(AppendError::OutOfOrderExemplar),
            _ => Ok(()),
        }
    }

    /// Adds an exemplar.
    pub(super) fn add(&mut self, series: u32, time: i64, exemplar: &Exemplar) {
        if self.limit == 0 {
            return;
        }
        let exemplar = Exemplar { timestamp: Some(Timestamp::from_millis(time)), ..exemplar.clone() };
        if self.newest.get(&series).is_some_and(|(_, newest, _)| {
            newest.labels == exemplar.labels
                && newest.value.to_bits() == exemplar.value.to_bits()
                && newest.timestamp == exemplar.timestamp
        }) {
            return;
        }
        self.shrink(self.limit - 1);
        let entry = self.newest.entry(series).or_insert_with(|| (time, exemplar.clone(), 0));
        entry.2 += 1;
        if time >= entry.0 {
            (entry.0, entry.1) = (time, exemplar.clone());
        }
        self.ring.push_back((series, time, exemplar));
    }

    /// Changes how many exemplars are kept.
    pub(super) fn resize(&mut self, limit: usize) {
        self.limit = limit;
        self.shrink(limit);
    }

    fn shrink(&mut self, limit: usize) {
        while self.ring.len() > limit {
            let Some((series, ..)) = self.ring.pop_front() else { return };
            if let Some(entry) = self.newest.get_mut(&series) {
                entry.2 -= 1;
                if entry.2 == 0 {
                    self.newest.remove(&series);
                }
            }
        }
    }

    /// Series, time and exemplar between two times, oldest arrival first.
    pub(super) fn between(&self, min: i64, max: i64) -> impl Iterator<Item = (u32, i64, &Exemplar)> {
        let found = self.ring.iter().filter(move |(_, time, _)| (min..=max).contains(time));
        found.map(|(series, time, exemplar)| (*series, *time, exemplar))
    }

    pub(super) fn len(&self) -> usize {
        self.ring.len()
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// How many series have exemplars.
    pub(super) fn series(&self) -> usize {
        self.newest.len()
    }

    /// The time of the oldest exemplar by arrival.
    pub(super) fn oldest(&self) -> Option<i64> {
        self.ring.front().map(|(_, time, _)| *time)
    }

    pub(super) fn bytes(&self) -> usize {
        self.ring
            .iter()
            .map(|(.., exemplar)| 2 * size_of::<(u32, i64, Exemplar)>() + exemplar.labels.heap_bytes())
            .sum()
    }
}

/// An exemplar as logs and snapshots have it.
pub(super) fn record_of((series, time, exemplar): (u32, i64, &Exemplar)) -> ExemplarRecord {
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    ExemplarRecord {
        series: u64::from(series),
        time,
        value: exemplar.value,
        labels: exemplar.labels.iter().map(owned).collect(),
    }
}
