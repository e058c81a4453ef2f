//! The schedule: when is a target due?
//!
//! Every target has its own place in the interval, by a hash of the target and a seed of the server, so that the scrapes
//! of many targets spread evenly and those of two servers do not coincide. Slots are fixed moments of wall-clock time:
//! they do not drift, and a restart finds the same ones. All of it is pure: the driver brings the time.

use std::time::Duration;

use ferula_model::{Timestamp, millis};

/// As upstream: a scrape this close to its slot bears the slot's time, which compresses better.
const TOLERANCE_MILLIS_MAX: i64 = 2;

/// The slots of one target: every moment that is `offset` past a multiple of `interval`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    interval_millis: i64,
    offset_millis: i64,
}

impl Slots {
    /// The slots of a target. `identity` is its hash, `seed` that of the server. The interval is at least one
    /// millisecond.
    pub fn new(interval: Duration, identity: u64, seed: u64) -> Self {
        let interval_millis = millis(interval).max(1);
        let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1);
        let offset_millis = i64::try_from((identity ^ seed) % nanos / 1_000_000).unwrap_or(0);
        Self { interval_millis, offset_millis: offset_millis.min(interval_millis - 1) }
    }

    /// The first slot after a moment.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ferula_model::Timestamp;
    /// use ferula_scrape::schedule::Slots;
    ///
    /// let slots = Slots::new(Duration::from_secs(15), 7_000_000_000, 0);
    /// assert_eq!(slots.after(Timestamp(60_000)), Timestamp(67_000));
    /// assert_eq!(slots.after(Timestamp(67_000)), Timestamp(82_000));
    /// ```
    pub fn after(self, moment: Timestamp) -> Timestamp {
        let since = (moment.0 - self.offset_millis).rem_euclid(self.interval_millis);
        Timestamp(moment.0.saturating_add(self.interval_millis - since))
    }

    /// The slot to serve after `last`. A slot that passed while `last` was served is served at once, late; of several that
    /// passed only the newest, as with the one tick that a ticker of Go remembers for upstream. If the clock was set back by
    /// more than an interval, the schedule starts again from `now`.
    pub fn next(self, last: Timestamp, now: Timestamp) -> Timestamp {
        if now.0.saturating_add(self.interval_millis) < last.0 {
            return self.after(now);
        }
        let newest = Timestamp(self.after(now).0.saturating_sub(self.interval_millis));
        self.after(last).max(newest)
    }

    /// The time that a scrape bears that began at `now` for `slot`: the slot's, if it is near enough.
    pub fn stamp(self, slot: Timestamp, now: Timestamp) -> Timestamp {
        let tolerance = (self.interval_millis / 100).min(TOLERANCE_MILLIS_MAX);
        if now.0.saturating_sub(slot.0).abs() <= tolerance { slot } else { now }
    }
}

/// A seed for [`Slots`]: FNV-1a over the name of the host and the external labels, so that the replicas of a pair differ.
pub fn seed(host: &str, external_labels: &str) -> u64 {
    fnv1a(host.as_bytes(), external_labels.as_bytes())
}

pub(crate) fn fnv1a(first: &[u8], second: &[u8]) -> u64 {
    first
        .iter()
        .chain(second)
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_come_at_the_targets_place_in_each_interval() {
        let second = Duration::from_secs(1);
        for (identity, now, expected) in [(0, 0, 1000), (0, 1, 1000), (250_000_000, 0, 250), (250_000_000, 250, 1250)] {
            assert_eq!(Slots::new(second, identity, 0).after(Timestamp(now)), Timestamp(expected));
        }
        assert_eq!(Slots::new(second, 0, 0).after(Timestamp(-1500)), Timestamp(-1000));
    }

    #[test]
    fn a_missed_slot_is_served_late_of_several_the_newest_and_none_comes_twice() {
        let slots = Slots::new(Duration::from_secs(10), 0, 0);
        assert_eq!(slots.next(Timestamp(10_000), Timestamp(10_400)), Timestamp(20_000));
        // The scrape took a little longer than the interval.
        assert_eq!(slots.next(Timestamp(10_000), Timestamp(20_003)), Timestamp(20_000));
        assert_eq!(slots.next(Timestamp(20_000), Timestamp(20_009)), Timestamp(30_000));
        assert_eq!(slots.next(Timestamp(10_000), Timestamp(41_000)), Timestamp(40_000));
        // Woken a little early, the slot was served: it is not served again.
        assert_eq!(slots.next(Timestamp(10_000), Timestamp(9_999)), Timestamp(20_000));
        // At the start there is nothing to make up for.
        assert_eq!(slots.next(Timestamp(14_000), Timestamp(14_000)), Timestamp(20_000));
        // Set back by an hour: no hour of silence.
        assert_eq!(slots.next(Timestamp(3_600_000), Timestamp(5_000)), Timestamp(10_000));
    }

    #[test]
    fn stamps_snap_to_near_slots_only() {
        let slots = Slots::new(Duration::from_secs(15), 0, 0);
        for (now, expected) in [(14_998, 15_000), (15_002, 15_000), (15_003, 15_003), (14_997, 14_997)] {
            assert_eq!(slots.stamp(Timestamp(15_000), Timestamp(now)), Timestamp(expected));
        }
        let quick = Slots::new(Duration::from_millis(100), 0, 0);
        assert_eq!(quick.stamp(Timestamp(100), Timestamp(102)), Timestamp(102));
    }

    #[test]
    fn the_seed_is_fnv_1a() {
        assert_eq!(seed("", ""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(seed("a", ""), 0xaf63_dc4c_8601_ec8c);
    }
}
