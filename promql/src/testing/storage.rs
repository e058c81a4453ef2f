//! A storage in memory, for tests: where do a script's samples wait for its queries?

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use ferula_model::{
    Columns, CounterResetHint, FloatHistogram, Histogram, Labels, Matcher, Querier, Queryable, Question, Sample,
    SelectError, SelectHints, SeriesSet, TimeRange, Timestamp, Value, is_stale,
};

/// Series in memory, for tests of whatever reads a [`Queryable`].
///
/// Histograms come out as Prometheus' storage hands them out: as float histograms, with the hint "no reset" on each that
/// follows another without a reset, and "unknown" on the others; gauges stay gauges.
///
/// ```
/// use ferula_model::{Labels, Sample, Timestamp};
/// use ferula_promql::testing::MemoryStorage;
///
/// let storage = MemoryStorage::new();
/// storage.insert(&Labels::from_pairs([("__name__", "up")]), Sample::float(Timestamp::from_millis(0), 1.0));
/// assert_eq!(storage.series_count(), 1);
/// ```
#[derive(Debug, Default)]
pub struct MemoryStorage {
    series: RwLock<BTreeMap<Labels, Points>>,
}

type Points = BTreeMap<i64, Point>;

#[derive(Clone, Debug)]
struct Point {
    start: i64,
    value: Value,
}

impl MemoryStorage {
    /// An empty storage.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a sample, in any order of time; of two with the same time the later insertion stays.
    pub fn insert(&self, labels: &Labels, sample: Sample) {
        let start = sample.start.map_or(0, Timestamp::as_millis);
        let point = Point { start, value: sample.value };
        let mut series = self.series.write().unwrap_or_else(PoisonError::into_inner);
        series.entry(labels.clone()).or_default().insert(sample.timestamp.as_millis(), point);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.series.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// How many series there are.
    pub fn series_count(&self) -> usize {
        self.read().len()
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Labels, Points>> {
        self.series.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queryable for MemoryStorage {
    fn querier(&self, range: TimeRange) -> Result<Box<dyn Querier + '_>, SelectError> {
        Ok(Box::new(MemoryQuerier { storage: self, range }))
    }
}

struct MemoryQuerier<'s> {
    storage: &'s MemoryStorage,
    range: TimeRange,
}

impl MemoryQuerier<'_> {
    fn matching(&self, matchers: &[Matcher]) -> Vec<Labels> {
        let belongs = |labels: &Labels| {
            matchers.iter().all(|matcher| matcher.matches(labels.get(&matcher.name).unwrap_or_default()))
        };
        self.storage.read().keys().filter(|labels| belongs(labels)).cloned().collect()
    }
}

impl Querier for MemoryQuerier<'_> {
    fn select(&self, hints: &SelectHints, matchers: &[Matcher]) -> Result<Box<dyn SeriesSet + '_>, SelectError> {
        let range = hints.range.unwrap_or(self.range);
        let chosen = |points: &Points| points.range(range.min.as_millis()..=range.max.as_millis()).next().is_some();
        let all = self.storage.read();
        let mut series: Vec<(Labels, Points)> = Vec::new();
        for labels in self.matching(matchers) {
            if let Some(points) = all.get(&labels).filter(|points| chosen(points)) {
                series.push((labels, points.clone()));
            }
        }
        if hints.limit > 0 {
            series.truncate(hints.limit);
        }
        Ok(Box::new(MemorySeries(series)))
    }

    fn label_names(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<String>, SelectError> {
        let series = self.matching(matchers);
        let names = series.iter().flat_map(|labels| labels.iter().map(|(name, _)| name.to_owned()));
        Ok(sorted(names.collect(), limit))
    }

    fn label_values(&self, name: &str, matchers: &[Matcher], limit: usize) -> Result<Vec<String>, SelectError> {
        let series = self.matching(matchers);
        let values = series.iter().filter_map(|labels| labels.get(name).map(str::to_owned));
        Ok(sorted(values.collect(), limit))
    }

    /// Always known: a storage for tests is small.
    fn at_most(&self, question: Question<'_>, _: TimeRange) -> Option<usize> {
        match question {
            Question::Series(matchers) => Some(self.matching(matchers).len()),
            Question::LabelNames => self.label_names(&[], 0).ok().map(|names| names.len()),
            Question::LabelValues(name) => self.label_values(name, &[], 0).ok().map(|values| values.len()),
            _ => None,
        }
    }
}

fn sorted(mut texts: Vec<String>, limit: usize) -> Vec<String> {
    texts.sort_unstable();
    texts.dedup();
    if limit > 0 {
        texts.truncate(limit);
    }
    texts
}

struct MemorySeries(Vec<(Labels, Points)>);

impl SeriesSet for MemorySeries {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn labels(&self, index: usize) -> Labels {
        self.0.get(index).map(|(labels, _)| labels.clone()).unwrap_or_default()
    }

    fn read(&self, index: usize, range: TimeRange, columns: &mut Columns) -> Result<(), SelectError> {
        columns.clear();
        let Some((_, points)) = self.0.get(index) else { return Ok(()) };
        let mut previous = None;
        for (&at, point) in points {
            let histogram = match &point.value {
                Value::Float(_) => None,
                Value::Histogram(histogram) => Some(hinted(histogram, previous.as_ref())),
            };
            if range.contains(Timestamp::from_millis(at)) {
                match (&point.value, &histogram) {
                    (Value::Float(value), _) => {
                        columns.times.push(at);
                        columns.values.push(*value);
                        columns.starts.push(point.start);
                    }
                    (Value::Histogram(_), histogram) => {
                        columns.histogram_times.push(at);
                        columns.histograms.extend(histogram.clone().map(Histogram::from));
                        columns.histogram_starts.push(point.start);
                    }
                }
            }
            previous = histogram;
        }
        for starts in [&mut columns.starts, &mut columns.histogram_starts] {
            if starts.iter().all(|&start| start == 0) {
                starts.clear();
            }
        }
        Ok(())
    }
}

/// The histogram with the hint that reading a chunk would give it. `previous` is the sample before it, if that is a
/// histogram: it stands in the same chunk unless something forced a new one.
fn hinted(histogram: &Histogram, previous: Option<&FloatHistogram>) -> FloatHistogram {
    let mut float = FloatHistogram::clone(&histogram.to_float());
    if float.counter_reset == CounterResetHint::Gauge || is_stale(float.sum) {
        return float;
    }
    let same_chunk = previous.is_some_and(|previous| continues_chunk(&float, previous));
    float.counter_reset = if same_chunk { CounterResetHint::NotReset } else { CounterResetHint::Unknown };
    float
}

fn continues_chunk(float: &FloatHistogram, previous: &FloatHistogram) -> bool {
    let mut unhinted = float.clone();
    unhinted.counter_reset = CounterResetHint::Unknown;
    float.counter_reset != CounterResetHint::Reset
        && previous.counter_reset != CounterResetHint::Gauge
        && !is_stale(previous.sum)
        && previous.schema == float.schema
        && previous.zero_threshold == float.zero_threshold
        && previous.custom_values == float.custom_values
        && !unhinted.detect_reset(previous)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hints(counts: &[(f64, CounterResetHint)]) -> Vec<CounterResetHint> {
        let storage = MemoryStorage::new();
        let labels = Labels::from_pairs([("__name__", "h")]);
        for (index, &(count, counter_reset)) in counts.iter().enumerate() {
            let histogram = FloatHistogram { count, zero_count: count, counter_reset, ..FloatHistogram::default() };
            storage.insert(&labels, Sample::histogram(Timestamp::from_millis(index as i64), histogram));
        }
        let querier = storage.querier(TimeRange::ALL).expect("a querier");
        let series = querier.select(&SelectHints::default(), &[]).expect("series");
        let mut columns = Columns::default();
        series.read(0, TimeRange::ALL, &mut columns).expect("samples");
        columns.histograms.iter().map(Histogram::counter_reset).collect()
    }

    #[test]
    fn hints_are_those_of_chunks() {
        use CounterResetHint::{Gauge, NotReset, Reset, Unknown};
        let read = hints(&[(1.0, Unknown), (2.0, Unknown), (1.0, Unknown), (1.0, Reset), (2.0, Gauge), (3.0, Unknown)]);
        assert_eq!(read, [Unknown, NotReset, Unknown, Unknown, Gauge, Unknown]);
    }
}
