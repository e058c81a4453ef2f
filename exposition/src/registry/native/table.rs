//! A table of atomic counts by bucket, and what it adds up to.
//!
//! Open addressing: a bucket claims the first free slot behind the place that its number hashes to. A slot never changes its
//! bucket, so a count that is added to it can never fall into another one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use ferula_model::histogram::upper_bound;
use ferula_model::{IntegerHistogram, Span};

use super::layout::{Bounds, coarser};
use crate::registry::counter::add_float;

/// Slots of the smallest table.
const SLOTS_MIN: usize = 32;
/// Runs of at most so many empty buckets are written out, because that is shorter than another span.
const EMPTY_BUCKETS_KEPT: i32 = 2;
const FREE: u64 = 0;

/// Counts by bucket.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) schema: i32,
    pub(super) zero_threshold: f64,
    bounds: Bounds,
    slots: Box<[Slot]>,
    claimed: AtomicUsize,
    zero: AtomicU64,
    nan: AtomicU64,
    /// Bits of a float.
    sum: AtomicU64,
    /// Counts of the classic buckets, if there are any.
    classic: Box<[AtomicU64]>,
}

/// A bucket and its count. Both stand in one cache line.
#[derive(Debug, Default)]
#[repr(align(16))]
struct Slot {
    key: AtomicU64,
    count: AtomicU64,
}

/// What became of an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// Counted, in a bucket that was there.
    Known,
    /// Counted, in a bucket that is new.
    New,
    /// Not counted: there is no place for another bucket.
    Full,
}

impl Table {
    /// An empty table with room for `expected` buckets.
    pub(super) fn new(schema: i32, zero_threshold: f64, classic: usize, expected: usize) -> Self {
        let slots = (2 * expected).next_power_of_two().max(SLOTS_MIN);
        Self {
            schema,
            zero_threshold,
            bounds: Bounds::new(schema),
            slots: (0..slots).map(|_| Slot::default()).collect(),
            claimed: AtomicUsize::new(0),
            zero: AtomicU64::new(0),
            nan: AtomicU64::new(0),
            sum: AtomicU64::new(0),
            classic: (0..classic).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// An empty table of the size that this one needed.
    pub(super) fn emptied(&self, schema: i32, zero_threshold: f64) -> Self {
        Self::new(schema, zero_threshold, self.classic.len(), 0)
    }

    /// An empty table that what stands here fits into.
    pub(super) fn replacement(&self, schema: i32, zero_threshold: f64) -> Self {
        Self::new(schema, zero_threshold, self.classic.len(), self.buckets() + 1)
    }

    /// Buckets in use, those whose counts were moved away included.
    pub(super) fn buckets(&self) -> usize {
        self.claimed.load(Relaxed)
    }

    #[inline]
    pub(super) fn add(&self, value: f64, times: u64, classic: Option<usize>) -> Added {
        let size = value.abs();
        let added = if size.is_nan() {
            self.nan.fetch_add(times, Relaxed);
            Added::Known
        } else if size <= self.zero_threshold {
            self.zero.fetch_add(times, Relaxed);
            Added::Known
        } else {
            self.count(key(value < 0.0, self.bounds.index(size)), times)
        };
        if added != Added::Full {
            add_float(&self.sum, value * times as f64);
            if let Some(count) = classic.and_then(|bucket| self.classic.get(bucket)) {
                count.fetch_add(times, Relaxed);
            }
        }
        added
    }

    #[inline]
    fn count(&self, key: u64, times: u64) -> Added {
        let mask = self.slots.len() - 1;
        let start = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize;
        for step in 0..self.slots.len() {
            let Some(slot) = self.slots.get((start + step) & mask) else { break };
            let mut found = slot.key.load(Relaxed);
            let mut added = Added::Known;
            if found == FREE {
                // A quarter stays free, so that searches are short.
                if self.buckets() * 4 >= self.slots.len() * 3 {
                    return Added::Full;
                }
                match slot.key.compare_exchange(FREE, key, Relaxed, Relaxed) {
                    Ok(_) => {
                        self.claimed.fetch_add(1, Relaxed);
                        (found, added) = (key, Added::New);
                    }
                    Err(taken) => found = taken,
                }
            }
            if found == key {
                slot.count.fetch_add(times, Relaxed);
                return added;
            }
        }
        Added::Full
    }

    /// The lowest index on either side that counts something.
    pub(super) fn lowest(&self) -> Option<i32> {
        self.counts().map(|((_, index), _)| index).min()
    }

    /// Moves all counts of a table with the same or a higher resolution here. What finds no place stays there.
    pub(super) fn take_over(&self, old: &Table) {
        for slot in old.slots.iter().filter(|slot| slot.key.load(Relaxed) != FREE) {
            let count = slot.count.swap(0, Relaxed);
            if count == 0 {
                continue;
            }
            let moved = match self.place(old, parts(slot.key.load(Relaxed))) {
                Some((negative, index)) => self.count(key(negative, index), count),
                None => {
                    self.zero.fetch_add(count, Relaxed);
                    Added::Known
                }
            };
            if moved == Added::Full {
                slot.count.fetch_add(count, Relaxed);
            }
        }
        self.zero.fetch_add(old.zero.swap(0, Relaxed), Relaxed);
        self.nan.fetch_add(old.nan.swap(0, Relaxed), Relaxed);
        let sum = f64::from_bits(old.sum.swap(0, Relaxed));
        if sum != 0.0 {
            add_float(&self.sum, sum);
        }
        for (count, old) in self.classic.iter().zip(&old.classic) {
            count.fetch_add(old.swap(0, Relaxed), Relaxed);
        }
    }

    /// How much is counted here; moving counts between tables does not change the sum over them.
    pub(super) fn activity(&self) -> u64 {
        let counted = self.counts().map(|(_, count)| count).fold(0, u64::wrapping_add);
        counted.wrapping_add(self.zero.load(Relaxed)).wrapping_add(self.nan.load(Relaxed))
    }

    /// Whether nothing is counted here.
    pub(super) fn is_empty(&self) -> bool {
        let moved = |count: &AtomicU64| count.load(Relaxed) == 0;
        self.counts().next().is_none() && [&self.zero, &self.nan, &self.sum].into_iter().all(moved)
    }

    /// The bucket here of a bucket there; `None` is the zero bucket.
    fn place(&self, old: &Table, (negative, index): (bool, i32)) -> Option<(bool, i32)> {
        if upper_bound(index, old.schema, &[]) <= self.zero_threshold {
            return None;
        }
        Some((negative, coarser(index, (old.schema - self.schema).max(0).unsigned_abs())))
    }

    fn counts(&self) -> impl Iterator<Item = ((bool, i32), u64)> + '_ {
        let slots = self.slots.iter().map(|slot| (slot.key.load(Relaxed), slot.count.load(Relaxed)));
        slots.filter(|(key, count)| *key != FREE && *count > 0).map(|(key, count)| (parts(key), count))
    }
}

/// Side and index in one number that is never 0.
#[inline]
fn key(negative: bool, index: i32) -> u64 {
    (1 << 40) | (u64::from(negative) << 32) | u64::from(index as u32)
}

fn parts(key: u64) -> (bool, i32) {
    (key & (1 << 32) != 0, key as u32 as i32)
}

/// What tables add up to.
#[derive(Debug)]
pub(super) struct Contents {
    schema: i32,
    zero_threshold: f64,
    zero: u64,
    nan: u64,
    sum: f64,
    buckets: BTreeMap<(bool, i32), u64>,
    pub(super) classic: Vec<u64>,
}

impl Contents {
    pub(super) fn of(table: &Table) -> Self {
        let load = |count: &AtomicU64| count.load(Relaxed);
        // Before the native buckets: who observes counts there first, so the classic ones never have more.
        let classic = table.classic.iter().map(load).collect();
        Self {
            schema: table.schema,
            zero_threshold: table.zero_threshold,
            zero: load(&table.zero),
            nan: load(&table.nan),
            sum: f64::from_bits(load(&table.sum)),
            buckets: table.counts().collect(),
            classic,
        }
    }

    /// Adds a table with the same or a higher resolution.
    pub(super) fn add(&mut self, old: &Table) {
        let other = Self::of(old);
        for ((negative, index), count) in other.buckets {
            if upper_bound(index, old.schema, &[]) <= self.zero_threshold {
                self.zero += count;
            } else {
                let index = coarser(index, (old.schema - self.schema).max(0).unsigned_abs());
                *self.buckets.entry((negative, index)).or_default() += count;
            }
        }
        self.zero += other.zero;
        self.nan += other.nan;
        self.sum += other.sum;
        for (count, other) in self.classic.iter_mut().zip(other.classic) {
            *count += other;
        }
    }

    pub(super) fn histogram(&self) -> IntegerHistogram {
        let (positive_spans, positive_buckets) = self.side(false);
        let (negative_spans, negative_buckets) = self.side(true);
        IntegerHistogram {
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero,
            count: self.zero + self.nan + self.buckets.values().sum::<u64>(),
            sum: self.sum,
            positive_spans,
            negative_spans,
            positive_buckets,
            negative_buckets,
            ..IntegerHistogram::default()
        }
    }

    /// Spans and deltas of one side.
    fn side(&self, negative: bool) -> (Vec<Span>, Vec<i64>) {
        let (mut spans, mut deltas) = (Vec::<Span>::new(), Vec::new());
        let (mut end, mut before) = (0, 0);
        for ((_, index), count) in self.buckets.range((negative, i32::MIN)..=(negative, i32::MAX)) {
            let gap = index - end;
            match spans.last_mut() {
                Some(span) if gap <= EMPTY_BUCKETS_KEPT => {
                    for _ in 0..gap {
                        deltas.push(-std::mem::take(&mut before));
                    }
                    span.length += gap.unsigned_abs() + 1;
                }
                _ => spans.push(Span { offset: gap, length: 1 }),
            }
            deltas.push(*count as i64 - before);
            before = *count as i64;
            end = index + 1;
        }
        (spans, deltas)
    }
}
