//! Tombstones: which samples of which series were deleted?
//!
//! A deletion does not touch chunks: it notes, per series, closed intervals of time that no reader answers any more.
//! Compaction drops the samples for good.
//!
//! File: `magic u32 | version u8 | (uvarint series, varint first, varint last)* | crc32c u32`, where the checksum covers
//! the entries only (Prometheus 3.14, `tsdb/docs/format/tombstones.md`).

use std::collections::BTreeMap;
use std::path::Path;

use super::BlockError;
use super::wire::{Cursor, Malformed, put_be_u32, put_uvarint, put_varint};

/// The name of the file in the block's folder.
pub const TOMBSTONES_FILE: &str = "tombstones";

const MAGIC: u32 = 0x0130_BA30;
const VERSION: u8 = 1;

/// A closed interval of time, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval {
    /// The first deleted moment.
    pub min: i64,
    /// The last deleted moment.
    pub max: i64,
}

impl Interval {
    /// From `min` to `max`, both included.
    pub const fn new(min: i64, max: i64) -> Self {
        Self { min, max }
    }

    /// Whether a moment belongs.
    pub const fn contains(self, at: i64) -> bool {
        self.min <= at && at <= self.max
    }
}

/// Intervals of one series: rising, and with at least one moment between two of them.
///
/// ```
/// use ferula_tsdb::block::{Interval, Intervals};
///
/// let mut deleted = Intervals::default();
/// deleted.add(Interval::new(10, 20));
/// deleted.add(Interval::new(21, 30));
/// assert_eq!(deleted.as_slice(), [Interval::new(10, 30)]);
/// assert!(deleted.contains(15) && deleted.covers(10, 30) && !deleted.overlaps(31, 40));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intervals(Vec<Interval>);

impl Intervals {
    /// Adds an interval and melts it with its neighbours. One that ends before it starts is ignored.
    pub fn add(&mut self, new: Interval) {
        if new.max < new.min {
            return;
        }
        let first = self.0.partition_point(|i| i.max.saturating_add(1) < new.min);
        let behind = self.0.partition_point(|i| i.min <= new.max.saturating_add(1));
        let touched = self.0.get(first..behind).unwrap_or_default();
        let min = touched.first().map_or(new.min, |i| i.min.min(new.min));
        let max = touched.last().map_or(new.max, |i| i.max.max(new.max));
        self.0.splice(first..behind, [Interval { min, max }]);
    }

    /// The intervals, rising.
    pub fn as_slice(&self) -> &[Interval] {
        &self.0
    }

    /// Whether nothing is deleted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a moment is deleted.
    pub fn contains(&self, at: i64) -> bool {
        self.covers(at, at)
    }

    /// Whether all of `min..=max` is deleted.
    pub fn covers(&self, min: i64, max: i64) -> bool {
        self.first_ending_from(min).is_some_and(|i| i.min <= min && max <= i.max)
    }

    /// Whether some of `min..=max` is deleted.
    pub fn overlaps(&self, min: i64, max: i64) -> bool {
        self.first_ending_from(min).is_some_and(|i| i.min <= max)
    }

    fn first_ending_from(&self, at: i64) -> Option<Interval> {
        self.0.get(self.0.partition_point(|i| i.max < at)).copied()
    }
}

/// The deletions of a block, by series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tombstones {
    by_series: BTreeMap<u64, Intervals>,
}

impl Tombstones {
    /// Deletes an interval of a series.
    pub fn add(&mut self, series: u64, interval: Interval) {
        if interval.min <= interval.max {
            self.by_series.entry(series).or_default().add(interval);
        }
    }

    /// What is deleted of a series, if anything.
    pub fn of(&self, series: u64) -> Option<&Intervals> {
        self.by_series.get(&series)
    }

    /// Series with deletions, rising.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Intervals)> {
        self.by_series.iter().map(|(series, intervals)| (*series, intervals))
    }

    /// How many intervals in all.
    pub fn len(&self) -> usize {
        self.by_series.values().map(|i| i.0.len()).sum()
    }

    /// Whether nothing is deleted.
    pub fn is_empty(&self) -> bool {
        self.by_series.is_empty()
    }

    /// The content of the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_be_u32(&mut out, MAGIC);
        out.push(VERSION);
        let header = out.len();
        self.encode_entries(&mut out);
        let checksum = crc32c::crc32c(&out[header..]);
        put_be_u32(&mut out, checksum);
        out
    }

    /// Appends the entries alone.
    pub(crate) fn encode_entries(&self, out: &mut Vec<u8>) {
        for (series, intervals) in self.iter() {
            for interval in &intervals.0 {
                put_uvarint(out, series);
                put_varint(out, interval.min);
                put_varint(out, interval.max);
            }
        }
    }

    /// Reads the content of a file; `path` is for the error.
    ///
    /// # Errors
    ///
    /// Not a tombstones file, or one that was damaged.
    pub fn decode(bytes: &[u8], path: &Path) -> Result<Self, BlockError> {
        let corrupt = BlockError::corrupt(path);
        let mut header = Cursor::new(bytes, 0);
        if header.be_u32().map_err(&corrupt)? != MAGIC {
            return Err(corrupt(Malformed { offset: 0, problem: "not a tombstones file" }));
        }
        let version = header.byte().map_err(&corrupt)?;
        if version != VERSION {
            return Err(BlockError::UnknownVersion { path: path.to_owned(), version: version.into() });
        }
        let length = header.len().checked_sub(4).ok_or_else(|| corrupt(header.malformed("unexpected end")))?;
        let start = header.offset();
        let entries = header.take(length).map_err(&corrupt)?;
        if header.be_u32().map_err(&corrupt)? != crc32c::crc32c(entries) {
            return Err(corrupt(Malformed { offset: start, problem: "checksum differs" }));
        }
        Self::decode_entries(Cursor::new(entries, start)).map_err(corrupt)
    }

    fn decode_entries(mut cursor: Cursor<'_>) -> Result<Self, Malformed> {
        let mut tombstones = Self::default();
        while !cursor.is_empty() {
            let series = cursor.uvarint()?;
            let interval = Interval { min: cursor.varint()?, max: cursor.varint()? };
            tombstones.add(series, interval);
        }
        Ok(tombstones)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_file_round_trips() {
        let mut tombstones = Tombstones::default();
        tombstones.add(7, Interval::new(i64::MIN, -1));
        tombstones.add(7, Interval::new(100, i64::MAX));
        tombstones.add(u64::MAX, Interval::new(0, 0));
        let bytes = tombstones.encode();
        assert_eq!(Tombstones::decode(&bytes, Path::new("t")).unwrap(), tombstones);
        assert_eq!(tombstones.len(), 3);
    }

    #[test]
    fn an_empty_file_is_the_bytes_that_prometheus_writes() {
        assert_eq!(Tombstones::default().encode(), [0x01, 0x30, 0xBA, 0x30, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn damage_is_an_error_with_its_place() {
        let mut tombstones = Tombstones::default();
        tombstones.add(1, Interval::new(5, 6));
        let good = tombstones.encode();
        for length in 0..good.len() {
            assert!(Tombstones::decode(&good[..length], Path::new("t")).is_err(), "{length} bytes");
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            let error = Tombstones::decode(&bad, Path::new("t")).unwrap_err();
            assert!(error.is_corrupt() && error.to_string().starts_with("t: "), "{error}");
        }
    }

    proptest! {
        /// Intervals against a set of moments.
        #[test]
        fn intervals_hold_exactly_what_was_added(added in prop::collection::vec((0i64..60, -2i64..20), 0..12)) {
            let mut intervals = Intervals::default();
            let mut model = std::collections::BTreeSet::new();
            for (min, length) in added {
                intervals.add(Interval::new(min, min + length));
                model.extend(min..=min + length);
            }
            for at in -1..90 {
                prop_assert_eq!(intervals.contains(at), model.contains(&at));
                prop_assert_eq!(intervals.covers(at, at + 3), (at..=at + 3).all(|t| model.contains(&t)));
                prop_assert_eq!(intervals.overlaps(at, at + 3), (at..=at + 3).any(|t| model.contains(&t)));
            }
            for pair in intervals.as_slice().windows(2) {
                prop_assert!(pair[0].max + 1 < pair[1].min);
            }
        }
    }
}
