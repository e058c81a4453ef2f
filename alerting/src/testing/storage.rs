//! The storage of a test: its series up to the moment that it has come to, and what rules wrote.

use std::time::Duration;

use ferula_model::{
    AppendError, Appendable, Appender, CommitError, CommitSummary, Exemplar, Labels, Metadata, Querier, Queryable,
    Sample, SelectError, SeriesRef, TimeRange, Timestamp,
};
use ferula_promql::testing::{MemoryStorage, SeriesLineError, parse_series_line};
use parking_lot::Mutex;

use super::file::InputSeries;

#[derive(Debug, Default)]
pub(super) struct TestStorage {
    memory: MemoryStorage,
    /// What a ref means.
    names: Mutex<Vec<Labels>>,
    /// Samples that are to come, the last first.
    to_come: Mutex<Vec<(Labels, Sample)>>,
}

impl TestStorage {
    /// A storage of series whose points are `interval` apart.
    pub(super) fn new(series: &[InputSeries], start: Timestamp, interval: Duration) -> Result<Self, SeriesLineError> {
        let mut to_come = Vec::new();
        for input in series {
            let line = parse_series_line(&format!("{} {}", input.series, input.values))?;
            let mut at = start;
            for point in line.points {
                if let Some(point) = point {
                    to_come.push((line.labels.clone(), Sample { timestamp: at, start: None, value: point.value }));
                }
                at = at.saturating_add(interval);
            }
        }
        to_come.sort_by_key(|(_, sample)| std::cmp::Reverse(sample.timestamp));
        Ok(Self { to_come: Mutex::new(to_come), ..Self::default() })
    }

    /// Lets time pass up to a moment.
    pub(super) fn come_to(&self, moment: Timestamp) {
        let mut to_come = self.to_come.lock();
        while to_come.last().is_some_and(|(_, sample)| sample.timestamp <= moment) {
            if let Some((labels, sample)) = to_come.pop() {
                self.memory.insert(&labels, sample);
            }
        }
    }
}

impl Queryable for TestStorage {
    fn querier(&self, range: TimeRange) -> Result<Box<dyn Querier + '_>, SelectError> {
        self.memory.querier(range)
    }
}

impl Appendable for TestStorage {
    fn appender(&self) -> Box<dyn Appender + '_> {
        Box::new(Batch { storage: self, samples: Vec::new() })
    }
}

struct Batch<'a> {
    storage: &'a TestStorage,
    samples: Vec<(Labels, Sample)>,
}

impl Appender for Batch<'_> {
    fn series(&mut self, labels: &[(&str, &str)]) -> Result<SeriesRef, AppendError> {
        let mut names = self.storage.names.lock();
        names.push(Labels::from_pairs(labels.iter().copied()));
        Ok(SeriesRef(names.len() as u64 - 1))
    }

    fn append(&mut self, series: SeriesRef, sample: Sample) -> Result<(), AppendError> {
        let names = self.storage.names.lock();
        let name = usize::try_from(series.0).ok().and_then(|index| names.get(index));
        let name = name.ok_or(AppendError::UnknownSeries(series.0))?;
        self.samples.push((name.clone(), sample));
        Ok(())
    }

    fn append_exemplar(&mut self, _: SeriesRef, _: Exemplar) -> Result<(), AppendError> {
        Ok(())
    }

    fn set_metadata(&mut self, _: SeriesRef, _: &Metadata) -> Result<(), AppendError> {
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<CommitSummary, CommitError> {
        for (labels, sample) in &self.samples {
            self.storage.memory.insert(labels, sample.clone());
        }
        Ok(CommitSummary { samples: self.samples.len(), dropped: 0 })
    }

    fn rollback(self: Box<Self>) {}
}
