//! Applying samples: who does it, and in which order?
//!
//! Each page of series belongs to one worker, and a worker does what it is told in the order of the log.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use ferula_model::{Columns, TimeRange};

use super::UnknownItems;
use crate::block::tombstones::Interval;
use crate::head::Head;
use crate::head::append::{Applied, FloatItem, FloatItems, HistogramItem};
use crate::head::select::decode_stored;
use crate::head::series::{MappedChunk, PAGE_SERIES};

/// Samples in a batch for a worker, and batches that may wait for one.
const BATCH: usize = 4096;
const WAITING: usize = 16;

pub(super) enum Work {
    Floats(FloatItems),
    Histograms(Vec<HistogramItem>),
    LateChunk(u32, MappedChunk),
    DeleteLate(u32, Interval),
}

/// Those who apply samples.
pub(super) struct Workers<'scope> {
    queues: Vec<Queue>,
    threads: Vec<ScopedJoinHandle<'scope, UnknownItems>>,
}

impl<'scope> Workers<'scope> {
    /// Starts them, for the log or for that of late samples.
    pub(super) fn start(scope: &'scope Scope<'scope, '_>, head: &'scope Head, late: bool) -> Self {
        let count = super::threads();
        let mut workers = Self { queues: Vec::new(), threads: Vec::new() };
        for _ in 0..count {
            let (send, receive) = sync_channel(WAITING);
            let (give_back, spare) = sync_channel(WAITING);
            workers.threads.push(scope.spawn(move || work(head, late, &receive, &give_back)));
            workers.queues.push(Queue { send, spare, floats: FloatItems::with_capacity(BATCH) });
        }
        workers
    }

    /// Who has the page of a series.
    #[inline]
    fn of(&mut self, series: u32) -> Option<&mut Queue> {
        let at = series as usize / PAGE_SERIES % self.queues.len();
        self.queues.get_mut(at)
    }

    #[inline]
    pub(super) fn push(&mut self, item: FloatItem, start: i64) {
        if let Some(queue) = self.of(item.series) {
            queue.push(item, start);
        }
    }

    /// Hands out the histograms of a record.
    pub(super) fn push_histograms(&mut self, items: impl Iterator<Item = HistogramItem>) {
        let mut parts: Vec<Vec<HistogramItem>> = vec![Vec::new(); self.queues.len()];
        for item in items {
            if let Some(part) = parts.get_mut(item.series as usize / PAGE_SERIES % self.queues.len()) {
                part.push(item);
            }
        }
        for (queue, part) in self.queues.iter_mut().zip(parts) {
            if !part.is_empty() {
                // Floats first: a series may have had some before.
                queue.flush();
                queue.send(Work::Histograms(part));
            }
        }
    }

    /// Has something done with a series after all that was handed out for it before.
    pub(super) fn dispatch(&mut self, series: u32, work: Work) {
        if let Some(queue) = self.of(series) {
            queue.flush();
            queue.send(work);
        }
    }

    /// Waits until all is done. Gives the samples whose series nobody introduced.
    pub(super) fn finish(mut self) -> UnknownItems {
        self.queues.iter_mut().for_each(Queue::flush);
        drop(self.queues);
        let mut sum = UnknownItems::default();
        for thread in self.threads {
            let unknown = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            sum.samples += unknown.samples;
            sum.histograms += unknown.histograms;
        }
        sum
    }
}

/// The way to one worker.
struct Queue {
    send: SyncSender<Work>,
    spare: Receiver<FloatItems>,
    floats: FloatItems,
}

impl Queue {
    #[inline]
    fn push(&mut self, item: FloatItem, start: i64) {
        self.floats.push(item);
        if start != 0 {
            self.floats.start_last(start);
        }
        if self.floats.len() >= BATCH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.floats.is_empty() {
            let next = self.spare.try_recv().unwrap_or_else(|_| FloatItems::with_capacity(BATCH));
            let full = std::mem::replace(&mut self.floats, next);
            self.send(Work::Floats(full));
        }
    }

    fn send(&mut self, work: Work) {
        // A worker only ends after its queue does.
        let _ = self.send.send(work);
    }
}

/// Applies batches until the queue ends. Gives the samples whose series nobody introduced.
fn work(head: &Head, late: bool, queue: &Receiver<Work>, give_back: &SyncSender<FloatItems>) -> UnknownItems {
    let mut unknown = UnknownItems::default();
    let mut applied = Applied { min: i64::MAX, max: i64::MIN, replaying: true, ..Applied::default() };
    let rules = head.chunk_rules();
    let valid_from = head.valid_from.load(Ordering::Acquire);
    while let Ok(work) = queue.recv() {
        match work {
            Work::Floats(mut floats) => {
                if !late {
                    floats.retain(|item| item.time >= valid_from);
                }
                head.apply_floats(0, None, rules, floats.all(), &mut applied);
                unknown.samples += std::mem::take(&mut applied.unknown);
                floats.clear();
                let _ = give_back.try_send(floats);
            }
            Work::Histograms(items) => {
                for item in items.iter().filter(|item| late || item.time >= valid_from) {
                    head.apply_histogram(0, None, rules, item, &mut applied);
                }
                unknown.histograms += std::mem::take(&mut applied.unknown);
            }
            Work::LateChunk(series, chunk) => head.attach_late(series, chunk),
            Work::DeleteLate(series, range) => head.delete_late(series, range.min, range.max),
        }
    }
    if applied.min <= applied.max {
        head.widen_bounds(applied.min, applied.max);
    }
    head.counters.gauges.add(applied.tally);
    unknown
}

impl Head {
    /// Late samples of the open chunk are in this one, if it can be read.
    fn attach_late(&self, series: u32, chunk: MappedChunk) {
        let mut columns = Columns::default();
        if decode_stored(series, &mut self.chunks.reader(), &chunk, TimeRange::ALL, &mut columns).is_err() {
            return;
        }
        let mut times = columns.times;
        times.append(&mut columns.histogram_times);
        times.sort_unstable();
        self.late_waiting.lock().insert(series);
        self.pages.with_mut(series, |state| {
            state.rest_mut().late.get_or_insert_default().replace_open(chunk, &times);
        });
    }
}
