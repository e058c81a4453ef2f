//! A storage in memory that writes down, as text, what is committed to it.

use std::collections::BTreeMap;

use ferula_model::{
    AppendError, Appendable, Appender, CommitError, CommitSummary, Exemplar, Labels, Metadata, Sample, SeriesRef,
    Timestamp, Value, is_stale,
};
use parking_lot::Mutex;

#[derive(Debug, Default)]
pub(crate) struct Storage(pub(crate) Mutex<State>);

#[derive(Debug, Default)]
pub(crate) struct State {
    series: BTreeMap<Labels, u64>,
    names: BTreeMap<u64, Labels>,
    newest: BTreeMap<u64, Timestamp>,
    /// What was committed, a line for each sample, exemplar and metadata.
    lines: Vec<String>,
    /// How often a series was asked for.
    pub(crate) asked: usize,
    pub(crate) fail_commits: bool,
    pub(crate) closed: bool,
    pub(crate) series_max: Option<usize>,
}

impl Storage {
    /// What was committed since this was last asked, sorted.
    pub(crate) fn told(&self) -> Vec<String> {
        let mut lines = std::mem::take(&mut self.0.lock().lines);
        lines.sort();
        lines
    }

    /// The storage forgets its series, as after a restart with other refs.
    pub(crate) fn forget(&self) {
        let mut state = self.0.lock();
        state.series.clear();
        state.names.clear();
    }
}

struct Batch<'a> {
    storage: &'a Storage,
    lines: Vec<String>,
    times: Vec<(u64, Timestamp)>,
}

impl Batch<'_> {
    fn name(&self, series: SeriesRef) -> Result<String, AppendError> {
        let state = self.storage.0.lock();
        state.names.get(&series.0).map(ToString::to_string).ok_or(AppendError::UnknownSeries(series.0))
    }
}

impl Appendable for Storage {
    fn appender(&self) -> Box<dyn Appender + '_> {
        Box::new(Batch { storage: self, lines: Vec::new(), times: Vec::new() })
    }
}

impl Appender for Batch<'_> {
    fn series(&mut self, labels: &[(&str, &str)]) -> Result<SeriesRef, AppendError> {
        assert!(labels.is_sorted() && labels.iter().all(|(_, value)| !value.is_empty()));
        let mut state = self.storage.0.lock();
        state.asked += 1;
        let labels = Labels::from_pairs(labels.iter().copied());
        if let Some(known) = state.series.get(&labels) {
            return Ok(SeriesRef(*known));
        }
        if let Some(limit) = state.series_max.filter(|max| state.series.len() >= *max) {
            return Err(AppendError::SeriesLimit { limit: limit as u64 });
        }
        let number = state.asked as u64;
        state.series.insert(labels.clone(), number);
        state.names.insert(number, labels);
        Ok(SeriesRef(number))
    }

    fn append(&mut self, series: SeriesRef, sample: Sample) -> Result<(), AppendError> {
        let name = self.name(series)?;
        let state = self.storage.0.lock();
        if state.closed {
            return Err(AppendError::NotWritable("closed".to_owned()));
        }
        if state.newest.get(&series.0).is_some_and(|newest| sample.timestamp < *newest) {
            return Err(AppendError::OutOfOrder);
        }
        let value = match &sample.value {
            Value::Float(value) if is_stale(*value) => "stale".to_owned(),
            Value::Float(value) => value.to_string(),
            Value::Histogram(histogram) => histogram.to_string(),
        };
        let start = sample.start.map(|start| format!(" since {}", start.0)).unwrap_or_default();
        self.lines.push(format!("{name} {value} @{}{start}", sample.timestamp.0));
        self.times.push((series.0, sample.timestamp));
        Ok(())
    }

    fn append_exemplar(&mut self, series: SeriesRef, exemplar: Exemplar) -> Result<(), AppendError> {
        let (name, at) = (self.name(series)?, exemplar.timestamp.unwrap().0);
        self.lines.push(format!("{name} # {} {} @{at}", exemplar.labels, exemplar.value));
        Ok(())
    }

    fn set_metadata(&mut self, series: SeriesRef, metadata: &Metadata) -> Result<(), AppendError> {
        let (name, metric_type) = (self.name(series)?, metadata.metric_type.as_str());
        self.lines.push(format!("{name} is {metric_type} {:?} {:?}", metadata.unit, metadata.help));
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<CommitSummary, CommitError> {
        let mut state = self.storage.0.lock();
        if state.fail_commits {
            return Err(CommitError::NotWritable("disk full".to_owned()));
        }
        let samples = self.times.len();
        state.newest.extend(self.times);
        state.lines.extend(self.lines);
        Ok(CommitSummary { samples, dropped: 0 })
    }

    fn rollback(self: Box<Self>) {}
}
