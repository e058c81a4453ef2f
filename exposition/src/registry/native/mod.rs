//! Native histograms: exponential buckets that appear where observations fall.
//!
//! ```text
//!  observe --> current Table --new bucket over the limit--> make room: reset | widen the zero bucket | halve the resolution
//!                   |                                              |
//!                   '------------- read <--- retired Tables <------'   (until the last writer has left them)
//! ```
//!
//! An observation takes no lock: it finds its bucket in a table of atomic counts ([`table`]) or claims a free place there.
//! Only what changes the shape of the table locks: a bucket beyond the limit, a full table, a reading. Then a new table is
//! published and the counts of the old one are moved. Someone who was just writing into the old one may still do so; what he
//! leaves there is moved at the next reading, so no observation is lost or counted twice.
//!
//! Source: native histograms of client_golang 1.24: same options, same strategies in the same order. The reset that it
//! schedules by a timer happens here behind the first reading after its time, so that nothing unread is forgotten.

mod layout;
mod options;
mod table;

use std::sync::Arc;
use std::sync::atomic::{Ordering::Acquire, fence};
use std::time::Duration;

use arc_swap::ArcSwap;
use ferula_model::{Clock, IntegerHistogram, Timestamp};
use parking_lot::Mutex;

pub use options::{NativeOptions, NativeOptionsError};
use table::{Added, Contents, Table};

/// The lowest resolution.
const SCHEMA_MIN: i32 = -4;

/// Observations in exponential buckets, with a limit on the buckets.
#[derive(Debug)]
pub(super) struct Sketch {
    current: ArcSwap<Table>,
    change: Mutex<Change>,
    options: NativeOptions,
    clock: Option<Arc<dyn Clock>>,
}

/// What only changes under the lock.
#[derive(Debug, Default)]
struct Change {
    /// Tables that were replaced and may still be written to.
    retired: Vec<Arc<Table>>,
    last_reset: Timestamp,
    was_reset: bool,
    /// Resolution was lost since the last reset.
    coarser: bool,
}

impl Sketch {
    pub(super) fn new(options: NativeOptions, classic_bounds: usize, clock: Option<Arc<dyn Clock>>) -> Self {
        let last_reset = clock.as_ref().map(|clock| clock.now()).unwrap_or_default();
        let current = Table::new(options.schema, options.zero_threshold, classic_bounds, 0);
        Self {
            current: ArcSwap::from_pointee(current),
            change: Mutex::new(Change { last_reset, ..Change::default() }),
            options,
            clock,
        }
    }

    /// Counts `times` observations of a value; `classic` is the classic bucket that it falls into.
    #[inline]
    pub(super) fn add(&self, value: f64, times: u64, classic: Option<usize>) {
        loop {
            let table = self.current.load();
            match table.add(value, times, classic) {
                Added::Known => return,
                Added::New if !self.options.is_over(table.buckets()) => return,
                Added::New => {
                    // Who resets the table forgets this observation, and has to count it again.
                    let table = Arc::clone(&table);
                    if self.make_room(&table, false) != Room::Reset {
                        return;
                    }
                }
                Added::Full => {
                    let table = Arc::clone(&table);
                    self.make_room(&table, true);
                }
            }
        }
    }

    /// Everything counted up to now.
    pub(super) fn read(&self) -> Reading {
        let mut change = self.change.lock();
        let current = self.current.load_full();
        change.retired.retain(|old| {
            let written_to = Arc::strong_count(old) > 1;
            // What the last writer added comes before he let go.
            fence(Acquire);
            current.take_over(old);
            // Counts for which there was no place stay where they are, and are read from there.
            written_to || !old.is_empty()
        });
        let mut contents = Contents::of(&current);
        for old in &change.retired {
            contents.add(old);
        }
        if change.coarser && self.reset_is_due(&change) {
            self.reset(&mut change);
        }
        Reading(contents)
    }

    /// A number that changes with each observation.
    pub(super) fn activity(&self) -> u64 {
        let change = self.change.lock();
        let current = self.current.load();
        change.retired.iter().map(|old| old.activity()).fold(current.activity(), u64::wrapping_add)
    }

    /// When it last forgot everything.
    pub(super) fn restarted(&self) -> Option<Timestamp> {
        let change = self.change.lock();
        change.was_reset.then_some(change.last_reset)
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        self.reset(&mut self.change.lock());
    }

    /// Replaces a table that has a bucket more than allowed, or no place for another one.
    fn make_room(&self, seen: &Arc<Table>, full: bool) -> Room {
        let mut change = self.change.lock();
        let current = self.current.load_full();
        if !Arc::ptr_eq(seen, &current) {
            return Room::Made;
        }
        if !self.options.is_over(current.buckets()) {
            if full {
                self.replace(&mut change, &current, current.schema, current.zero_threshold);
            }
            return Room::Made;
        }
        if self.reset_is_due(&change) {
            self.reset(&mut change);
            return Room::Reset;
        }
        if let Some(zero_threshold) = self.wider_zero_threshold(&current) {
            change.coarser = true;
            self.replace(&mut change, &current, current.schema, zero_threshold);
        } else if current.schema > SCHEMA_MIN {
            change.coarser = true;
            self.replace(&mut change, &current, current.schema - 1, current.zero_threshold);
        } else if full {
            self.replace(&mut change, &current, current.schema, current.zero_threshold);
        }
        Room::Made
    }

    fn reset_is_due(&self, change: &Change) -> bool {
        match (self.options.reset_after, &self.clock) {
            (Some(after), Some(clock)) => clock.now().since(change.last_reset) >= after,
            _ => false,
        }
    }

    fn reset(&self, change: &mut Change) {
        let empty = self.current.load().emptied(self.options.schema, self.options.zero_threshold);
        self.current.store(Arc::new(empty));
        let last_reset = self.clock.as_ref().map(|clock| clock.now()).unwrap_or_default();
        *change = Change { last_reset, was_reset: self.clock.is_some(), ..Change::default() };
    }

    /// The end of the bucket nearest to zero, if the zero bucket may become so wide.
    fn wider_zero_threshold(&self, table: &Table) -> Option<f64> {
        if table.zero_threshold >= self.options.zero_threshold_max {
            return None;
        }
        let wider = ferula_model::histogram::upper_bound(table.lowest()?, table.schema, &[]);
        (wider <= self.options.zero_threshold_max).then_some(wider)
    }

    fn replace(&self, change: &mut Change, old: &Arc<Table>, schema: i32, zero_threshold: f64) {
        let next = Arc::new(old.replacement(schema, zero_threshold));
        self.current.store(Arc::clone(&next));
        next.take_over(old);
        change.retired.push(Arc::clone(old));
    }
}

/// What was done about a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// It was replaced, by us or by someone else, or cannot be made smaller.
    Made,
    /// It was replaced by an empty one.
    Reset,
}

/// What a sketch held at one moment.
#[derive(Debug)]
pub(super) struct Reading(Contents);

impl Reading {
    pub(super) fn histogram(&self) -> IntegerHistogram {
        self.0.histogram()
    }

    /// Observations per classic bucket, not cumulative.
    pub(super) fn classic(&self) -> &[u64] {
        &self.0.classic
    }
}

/// How long a reset stays away unless the options say otherwise; no default of client_golang, which has none.
const RESET_AFTER: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests;
