//! Samples that came late: out of order within the window, or older than what the head takes in order.
//!
//! They lie beside the samples in order, sorted, and only the reader merges the two.

use ferula_model::Columns;
use ferula_model::Value;

use super::series::MappedChunk;

/// Late samples of one series.
#[derive(Debug, Default)]
pub(super) struct Late {
    /// Late chunks in the head chunk files; they may overlap.
    pub(super) mapped: Vec<MappedChunk>,
    /// The open late chunk: sorted by time, each time once.
    open: Vec<(i64, Value)>,
    /// How many of the mapped chunks are on their way into blocks.
    pub(super) sealed: usize,
}

impl Late {
    pub(super) fn is_empty(&self) -> bool {
        self.mapped.is_empty() && self.open.is_empty()
    }

    /// Adds a sample; the first one of a moment stays. Says whether it was added.
    pub(super) fn insert(&mut self, time: i64, value: Value) -> bool {
        match self.open.binary_search_by_key(&time, |(time, _)| *time) {
            Ok(_) => false,
            Err(at) => {
                self.open.insert(at, (time, value));
                true
            }
        }
    }

    /// Samples of the open chunk.
    pub(super) fn open_len(&self) -> usize {
        self.open.len()
    }

    /// Takes the open chunk as columns.
    pub(super) fn take_open(&mut self) -> Columns {
        let mut columns = Columns::default();
        for (time, value) in std::mem::take(&mut self.open) {
            push(&mut columns, time, value);
        }
        columns
    }

    /// A chunk that holds samples of the open one, those at `times` (rising).
    pub(super) fn replace_open(&mut self, chunk: MappedChunk, times: &[i64]) {
        self.open.retain(|(time, _)| times.binary_search(time).is_err());
        self.mapped.push(chunk);
    }

    /// Takes samples of the open chunk out between two times, both included.
    pub(super) fn delete_open(&mut self, min: i64, max: i64) {
        self.open.retain(|(time, _)| !(min..=max).contains(time));
    }

    /// Forgets the chunks that blocks have.
    pub(super) fn forget_sealed(&mut self) {
        self.mapped.drain(..self.sealed.min(self.mapped.len()));
        self.sealed = 0;
    }

    /// Copies the samples of the open chunk that lie between two times.
    pub(super) fn copy_open(&self, min: i64, max: i64, columns: &mut Columns) {
        let from = self.open.partition_point(|(time, _)| *time < min);
        for (time, value) in self.open.iter().skip(from).take_while(|(time, _)| *time <= max) {
            push(columns, *time, value.clone());
        }
    }

    /// The oldest and the newest time.
    pub(super) fn bounds(&self) -> Option<(i64, i64)> {
        let open = self.open.first().zip(self.open.last()).map(|(first, last)| (first.0, last.0));
        let mapped = self.mapped.iter().map(|chunk| (chunk.min_time, chunk.max_time));
        mapped.chain(open).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.mapped.capacity() * size_of::<MappedChunk>() + self.open.capacity() * size_of::<(i64, Value)>()
    }
}

fn push(columns: &mut Columns, time: i64, value: Value) {
    match value {
        Value::Float(value) => {
            columns.times.push(time);
            columns.values.push(value);
        }
        Value::Histogram(histogram) => {
            columns.histogram_times.push(time);
            columns.histograms.push(histogram);
        }
    }
}
