//! Samples that came late: out of order within the window, or older than what the head takes in order.
//!
//! They lie beside the samples in order, sorted, and only the reader merges the two.

use ferula_model::{Columns, Value};

use super::series::MappedChunk;
use crate::chunk::push_start;
use crate::columns::{Mark, retain_from};

/// Late samples of one series.
#[derive(Debug, Default)]
pub(super) struct Late {
    /// Late chunks in the head chunk files; they may overlap.
    pub(super) mapped: Vec<MappedChunk>,
    /// The open late chunk: sorted by time, each time once, over both kinds.
    open: Columns,
    /// How many of the mapped chunks are on their way into blocks.
    pub(super) sealed: usize,
}

impl Late {
    pub(super) fn is_empty(&self) -> bool {
        self.mapped.is_empty() && self.open.is_empty()
    }

    /// Adds a sample; the first one of a moment stays. `start` is 0 for none. Says whether it was added.
    pub(super) fn insert(&mut self, time: i64, start: i64, value: Value) -> bool {
        let open = &mut self.open;
        match (open.times.binary_search(&time), open.histogram_times.binary_search(&time), value) {
            (Err(at), Err(_), Value::Float(value)) => {
                insert_start(&mut open.starts, at, open.times.len(), start);
                open.times.insert(at, time);
                open.values.insert(at, value);
            }
            (Err(_), Err(at), Value::Histogram(histogram)) => {
                insert_start(&mut open.histogram_starts, at, open.histogram_times.len(), start);
                open.histogram_times.insert(at, time);
                open.histograms.insert(at, histogram);
            }
            _ => return false,
        }
        true
    }

    /// Samples of the open chunk.
    pub(super) fn open_len(&self) -> usize {
        self.open.len()
    }

    /// Takes the open chunk.
    pub(super) fn take_open(&mut self) -> Columns {
        std::mem::take(&mut self.open)
    }

    /// A chunk that holds samples of the open one, those at `times` (rising).
    pub(super) fn replace_open(&mut self, chunk: MappedChunk, times: &[i64]) {
        self.retain_open(|time| times.binary_search(&time).is_err());
        self.mapped.push(chunk);
    }

    /// Takes samples of the open chunk out between two times, both included.
    pub(super) fn delete_open(&mut self, min: i64, max: i64) {
        self.retain_open(|time| !(min..=max).contains(&time));
    }

    fn retain_open(&mut self, keep: impl Fn(i64) -> bool) {
        retain_from(&mut self.open, Mark::default(), false, keep);
        if self.open.is_empty() {
            self.open = Columns::default();
        }
    }

    /// Forgets the chunks that blocks have.
    pub(super) fn forget_sealed(&mut self) {
        self.mapped.drain(..self.sealed.min(self.mapped.len()));
        self.sealed = 0;
    }

    /// Appends the samples of the open chunk that lie between two times to empty columns.
    pub(super) fn copy_open(&self, min: i64, max: i64, columns: &mut Columns) {
        let open = &self.open;
        let between = |times: &[i64]| {
            let from = times.partition_point(|time| *time < min);
            from..times.partition_point(|time| *time <= max).max(from)
        };
        let floats = between(&open.times);
        columns.times.extend_from_slice(open.times.get(floats.clone()).unwrap_or_default());
        columns.values.extend_from_slice(open.values.get(floats.clone()).unwrap_or_default());
        columns.starts.extend_from_slice(open.starts.get(floats).unwrap_or_default());
        let histograms = between(&open.histogram_times);
        columns.histogram_times.extend_from_slice(open.histogram_times.get(histograms.clone()).unwrap_or_default());
        columns.histograms.extend_from_slice(open.histograms.get(histograms.clone()).unwrap_or_default());
        columns.histogram_starts.extend_from_slice(open.histogram_starts.get(histograms).unwrap_or_default());
    }

    /// The oldest and the newest time.
    pub(super) fn bounds(&self) -> Option<(i64, i64)> {
        let ends = |times: &[i64]| times.first().copied().zip(times.last().copied());
        let open = [ends(&self.open.times), ends(&self.open.histogram_times)].into_iter().flatten();
        let mapped = self.mapped.iter().map(|chunk| (chunk.min_time, chunk.max_time));
        mapped.chain(open).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let Columns { times, values, starts, histogram_times, histograms, histogram_starts } = &self.open;
        let numbers = times.capacity()
            + values.capacity()
            + starts.capacity()
            + histogram_times.capacity()
            + histogram_starts.capacity();
        let histograms = histograms.capacity() * size_of::<ferula_model::Histogram>();
        size_of::<Self>() + self.mapped.capacity() * size_of::<MappedChunk>() + numbers * 8 + histograms
    }
}

/// Puts a start at a place of its column, which exists from the first start on. There are `samples` without this one.
fn insert_start(starts: &mut Vec<i64>, at: usize, samples: usize, start: i64) {
    push_start(starts, samples, start);
    if let Some(tail) = starts.get_mut(at..) {
        tail.rotate_right(usize::from(!tail.is_empty()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferula_model::IntegerHistogram;

    #[test]
    fn starts_stay_with_their_samples() {
        let mut late = Late::default();
        assert!(late.insert(50, 0, Value::Float(5.0)));
        assert!(late.insert(30, 3, Value::Float(3.0)));
        assert!(late.insert(40, 0, Value::Float(4.0)));
        assert!(late.insert(20, 2, Value::Histogram(IntegerHistogram::default().into())));
        assert!(!late.insert(20, 9, Value::Float(9.0)), "a moment is taken, whatever the kind");
        assert!(!late.insert(40, 9, Value::Float(9.0)));
        assert_eq!((late.bounds(), late.open_len()), (Some((20, 50)), 4));
        let mut copied = Columns::default();
        late.copy_open(20, 40, &mut copied);
        assert_eq!((copied.times, copied.starts), (vec![30, 40], vec![3, 0]));
        assert_eq!((copied.histogram_times, copied.histogram_starts), (vec![20], vec![2]));
        late.delete_open(0, 30);
        let left = late.take_open();
        assert_eq!((left.times, left.starts), (vec![40, 50], vec![0, 0]));
    }
}
