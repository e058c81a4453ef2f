//! Numbers of series: each is given once, and those of one appender lie side by side.
//!
//! Side by side in number is side by side in memory and in the log, whoever else creates series at the same time: the
//! next scrape of a target finds its series in few pages, and a replay reads neighbours, which have most labels in common.

use std::sync::atomic::{AtomicU64, Ordering};

/// No series has this number or a higher one.
const END: u64 = 1 << u32::BITS;
/// A run is at most this long, so that a page is shared by few appenders.
const RUN_MAX: u64 = 64;

/// Numbers that nobody has.
#[derive(Debug)]
pub(super) struct Numbers(AtomicU64);

/// Numbers that are set aside for one appender. Dropped, they are lost, which costs no more than their slots: see
/// [`give_back`](Numbers::give_back).
#[derive(Debug, Default)]
pub(super) struct Run {
    next: u64,
    end: u64,
    /// How many it was given last. Each run is twice as long as the one before: who needs one number takes no more.
    length: u64,
}

impl Numbers {
    /// Those from `first` on.
    pub(super) fn new(first: u64) -> Self {
        Self(AtomicU64::new(first.min(END)))
    }

    /// All numbers from this one on are free.
    pub(super) fn free_from(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Gives no number below `first` any more.
    pub(super) fn skip_to(&self, first: u64) {
        self.0.fetch_max(first.min(END), Ordering::AcqRel);
    }

    /// The next number of a run, which is made longer if it is at its end; [`END`] or more: there is none. It is the next
    /// one until it is [taken](Run::take).
    pub(super) fn next(&self, run: &mut Run) -> u64 {
        if run.next == run.end {
            run.length = (run.length * 2).clamp(1, RUN_MAX);
            run.next = self.0.fetch_add(run.length, Ordering::AcqRel);
            run.end = run.next + run.length;
        }
        run.next
    }

    /// Takes back what is left of a run, unless somebody has numbers behind it.
    pub(super) fn give_back(&self, run: Run) {
        if run.next < run.end {
            let _ = self.0.compare_exchange(run.end, run.next, Ordering::AcqRel, Ordering::Acquire);
        }
    }
}

impl Run {
    /// A series has the next number now.
    pub(super) fn take(&mut self) {
        self.next += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn take(numbers: &Numbers, run: &mut Run) -> u64 {
        assert_eq!(numbers.next(run), numbers.next(run));
        let number = numbers.next(run);
        run.take();
        number
    }

    #[test]
    fn one_after_the_other_leaves_no_gap() {
        let numbers = Numbers::new(1);
        let mut given = Vec::new();
        for count in [1, 2, 3, 200, 1, 5] {
            let mut run = Run::default();
            given.extend((0..count).map(|_| take(&numbers, &mut run)));
            numbers.give_back(run);
        }
        assert!(given.iter().copied().eq(1..=212));
        assert_eq!(numbers.free_from(), 213);
    }

    #[test]
    fn neighbours_stay_together_while_others_take_numbers_too() {
        let numbers = Numbers::new(1);
        let mut runs: [Run; 4] = Default::default();
        let mut given: [Vec<u64>; 4] = Default::default();
        for _ in 0..1000 {
            runs.iter_mut().zip(&mut given).for_each(|(run, given)| given.push(take(&numbers, run)));
        }
        for given in given {
            let gaps = given.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
            assert!(gaps <= 6 + 1000 / RUN_MAX as usize, "{gaps}");
        }
    }

    #[test]
    fn whatever_a_log_says_numbers_do_not_begin_anew() {
        for numbers in [Numbers::new(u64::MAX), Numbers::new(1)] {
            numbers.skip_to(u64::MAX);
            for _ in 0..200 {
                let mut run = Run::default();
                assert!(numbers.next(&mut run) >= END);
                numbers.give_back(run);
            }
            assert_eq!(numbers.free_from(), END);
        }
    }

    proptest! {
        #[test]
        fn no_number_is_given_twice(steps in prop::collection::vec((0usize..3, prop::bool::weighted(0.1)), 0..400)) {
            let numbers = Numbers::new(7);
            let mut runs: [Run; 3] = Default::default();
            let mut given = std::collections::HashSet::new();
            for (who, ends) in steps {
                prop_assert!(given.insert(take(&numbers, &mut runs[who])));
                if ends {
                    numbers.give_back(std::mem::take(&mut runs[who]));
                }
                prop_assert!(given.iter().all(|number| (7..numbers.free_from()).contains(number)));
            }
        }
    }
}
