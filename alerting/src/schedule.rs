//! The schedule: when is a group due, and what did it miss?
//!
//! Every group has its own place in the interval, by a hash of its file and name, so that groups spread evenly. Slots are
//! fixed moments of wall-clock time: a restart finds the same ones, and two servers with the same rules agree on them.

use std::time::Duration;

use ferula_model::{Labels, Timestamp, millis};

/// The slots of one group: every moment that is `offset` past a multiple of the interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slots {
    interval_millis: i64,
    offset_millis: i64,
}

/// What a group has to do at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing before so much time has passed.
    Wait(Duration),
    /// Be evaluated for a slot, after so many that were missed.
    Due { slot: Timestamp, missed: u64 },
}

impl Slots {
    /// The slots of a group. The hash is upstream's (3.14), over the labels `file` and `name`.
    pub(crate) fn new(interval: Duration, file: &str, name: &str) -> Self {
        let hash = Labels::from_pairs([("file", file), ("name", name)]).hash64();
        let interval_millis = millis(interval).max(1);
        let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1);
        let offset_millis = i64::try_from(hash % nanos / 1_000_000).unwrap_or(0);
        Self { interval_millis, offset_millis: offset_millis.min(interval_millis - 1) }
    }

    /// The newest slot that is not after a moment.
    pub(crate) fn before(self, moment: Timestamp) -> Timestamp {
        let since = moment.0.saturating_sub(self.offset_millis).rem_euclid(self.interval_millis);
        Timestamp(moment.0.saturating_sub(since))
    }

    /// What is to do at `now` after an evaluation for the slot `last`. Of several slots that have passed, the newest is
    /// evaluated and the others are missed. If the clock was set back, the schedule begins again from `now`.
    pub(crate) fn turn(self, last: Timestamp, now: Timestamp) -> Turn {
        let set_back = now.0.saturating_add(self.interval_millis) < last.0;
        let last = if set_back { self.before(now) } else { last };
        let passed = now.0.saturating_sub(last.0).div_euclid(self.interval_millis);
        if passed >= 1 {
            let slot = Timestamp(last.0.saturating_add(passed.saturating_mul(self.interval_millis)));
            return Turn::Due { slot, missed: u64::try_from(passed - 1).unwrap_or(0) };
        }
        Turn::Wait(Timestamp(last.0.saturating_add(self.interval_millis)).since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots() -> Slots {
        Slots { interval_millis: 10_000, offset_millis: 3_000 }
    }

    #[test]
    fn turns() {
        for (last, now, expected) in [
            (3_000, 3_000, Turn::Wait(Duration::from_millis(10_000))),
            (3_000, 12_999, Turn::Wait(Duration::from_millis(1))),
            (3_000, 13_000, Turn::Due { slot: Timestamp(13_000), missed: 0 }),
            (3_000, 22_999, Turn::Due { slot: Timestamp(13_000), missed: 0 }),
            (3_000, 38_500, Turn::Due { slot: Timestamp(33_000), missed: 2 }),
            // A little before its slot: the clock was corrected. It is not evaluated twice for one slot.
            (13_000, 12_000, Turn::Wait(Duration::from_millis(11_000))),
            // Set back by an hour: no hour of silence.
            (3_603_000, 5_000, Turn::Wait(Duration::from_millis(8_000))),
        ] {
            assert_eq!(slots().turn(Timestamp(last), Timestamp(now)), expected, "{last} {now}");
        }
    }

    #[test]
    fn the_place_in_the_interval_is_fixed() {
        assert_eq!(slots().before(Timestamp(2_999)), Timestamp(-7_000));
        assert_eq!(slots().before(Timestamp(3_000)), Timestamp(3_000));
        let interval = Duration::from_secs(60);
        let hash = Labels::from_pairs([("file", "f"), ("name", "n")]).hash64();
        let expected = i64::try_from(hash % 60_000_000_000 / 1_000_000).unwrap();
        assert_eq!(Slots::new(interval, "f", "n").before(Timestamp(0)).0.rem_euclid(60_000), expected);
    }
}
