//! A storage that writes down what it is told, and a clock that follows tokio's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use ferula_model::{
    AppendError, Appendable, Appender, Clock, CommitError, CommitSummary, Exemplar, Labels, Metadata, Sample,
    SeriesRef, Timestamp, Value, is_stale,
};
use tokio::time::Instant;

/// Remembers committed samples as lines: `name{labels} value @seconds`.
#[derive(Debug, Default)]
pub(crate) struct Recorder(Mutex<Recorded>);

#[derive(Debug, Default)]
struct Recorded {
    series: BTreeMap<Labels, u64>,
    names: BTreeMap<u64, Labels>,
    samples: Vec<(u64, Timestamp, f64)>,
}

impl Recorder {
    /// The samples of one metric, with the values of these labels: `job/instance value @seconds`.
    pub(crate) fn samples(&self, metric: &str, by: &[&str]) -> Vec<String> {
        let recorded = self.0.lock().unwrap();
        let mut lines = Vec::new();
        for (series, at, value) in &recorded.samples {
            let labels = &recorded.names[series];
            if labels.metric_name() != metric {
                continue;
            }
            let place: Vec<&str> = by.iter().map(|name| labels.get(name).unwrap_or("-")).collect();
            let value = if is_stale(*value) { "stale".to_owned() } else { value.to_string() };
            lines.push(format!("{} {value} @{}", place.join("/"), at.as_secs_f64()));
        }
        lines
    }

    pub(crate) fn values(&self, metric: &str) -> Vec<f64> {
        let recorded = self.0.lock().unwrap();
        let of_metric = recorded.samples.iter().filter(|(series, ..)| recorded.names[series].metric_name() == metric);
        of_metric.map(|(_, _, value)| *value).collect()
    }

    pub(crate) fn series(&self) -> Vec<String> {
        self.0.lock().unwrap().series.keys().map(Labels::to_string).collect()
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap().samples.clear();
    }
}

struct Batch<'a>(&'a Recorder, Vec<(u64, Timestamp, f64)>);

impl Appendable for Recorder {
    fn appender(&self) -> Box<dyn Appender + '_> {
        Box::new(Batch(self, Vec::new()))
    }
}

impl Appender for Batch<'_> {
    fn series(&mut self, labels: &[(&str, &str)]) -> Result<SeriesRef, AppendError> {
        let mut recorded = self.0.0.lock().unwrap();
        let labels = Labels::from_pairs(labels.iter().copied());
        let next = recorded.series.len() as u64;
        let number = *recorded.series.entry(labels.clone()).or_insert(next);
        recorded.names.insert(number, labels);
        Ok(SeriesRef(number))
    }

    fn append(&mut self, series: SeriesRef, sample: Sample) -> Result<(), AppendError> {
        let recorded = self.0.0.lock().unwrap();
        if recorded.samples.iter().any(|(other, at, _)| *other == series.0 && *at >= sample.timestamp) {
            return Err(AppendError::OutOfOrder);
        }
        let value = match sample.value {
            Value::Float(value) => value,
            Value::Histogram(histogram) => histogram.sum(),
        };
        self.1.push((series.0, sample.timestamp, value));
        Ok(())
    }

    fn append_exemplar(&mut self, _: SeriesRef, _: Exemplar) -> Result<(), AppendError> {
        Ok(())
    }

    fn set_metadata(&mut self, _: SeriesRef, _: &Metadata) -> Result<(), AppendError> {
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<CommitSummary, CommitError> {
        let samples = self.1.len();
        self.0.0.lock().unwrap().samples.extend(self.1);
        Ok(CommitSummary { samples, dropped: 0 })
    }

    fn rollback(self: Box<Self>) {}
}

/// Shows the time that tokio's paused clock has advanced since it was made.
#[derive(Debug)]
pub(crate) struct TokioClock(Instant);

impl TokioClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Instant::now()))
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp(i64::try_from(self.0.elapsed().as_millis()).unwrap())
    }
}
