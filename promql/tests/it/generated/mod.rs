//! What could a query and its data look like? Both from a seed, so that a failure can be repeated.
//!
//! - random: the numbers behind it - data, histograms: series of every kind - queries, selectors, calls: the grammar
//!
//! A [`Case`] is one question to a [`Dataset`]; the same seed always makes the same of both.

pub(crate) mod calls;
pub(crate) mod data;
pub(crate) mod histograms;
pub(crate) mod queries;
pub(crate) mod random;
pub(crate) mod selectors;

use std::fmt;
use std::time::Duration;

use ferula_model::{StepGrid, Timestamp};
use random::Random;

pub(crate) use data::Dataset;

/// Which parts of the language are generated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope {
    /// What Prometheus 3.5 does not know: fill modifiers, `anchored`, `smoothed`, trims, newer functions.
    pub(crate) newer: bool,
    /// Metrics with native histograms, and what only they give an answer to.
    pub(crate) histograms: bool,
    /// `info`, classic and native quantiles of everything, and functions whose answer depends on the storage.
    pub(crate) exotic: bool,
}

/// When a query is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum When {
    At(Timestamp),
    Over(StepGrid),
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(at) => write!(f, "at {}", at.as_millis()),
            Self::Over(grid) => {
                let (start, end) = (grid.start().as_millis(), grid.end().as_millis());
                write!(f, "from {start} to {end} step {}ms", grid.step_millis())
            }
        }
    }
}

/// A question.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) query: String,
    pub(crate) when: When,
}

impl Case {
    /// The question that belongs to a seed.
    pub(crate) fn new(seed: u64, scope: Scope) -> Self {
        let random = &mut Random::new(seed);
        let query = queries::query(random, scope);
        let start = data::START + 60_000 + random.below(data::SPAN_MILLIS as u64 - 60_000) as i64;
        // Half of the moments are those of samples: borders of windows must be met exactly.
        let start = if random.chance(50) { start - start % 15_000 } else { start };
        let at = Timestamp::from_millis(start);
        let when = if random.chance(50) {
            When::At(at)
        } else {
            let step = random.pick(&[1_000, 7_000, 15_000, 15_000, 30_000, 60_000, 61_001, 300_000]);
            let steps = random.below(12) as i64;
            let end = Timestamp::from_millis(start + steps * step + random.below(step as u64) as i64);
            When::Over(StepGrid::new(at, end, Duration::from_millis(step as u64)).expect("a grid"))
        };
        Self { query, when }
    }
}
