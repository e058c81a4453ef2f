//! Does the engine answer as a real Prometheus does? Random questions to both over the same random data.
//!
//! ```text
//!  seed -> Dataset -+-> MemoryStorage -> Engine     -> Reply -.
//!                   '-> remote write -> Prometheus  -> Reply -+-> difference -> known? -> report
//!  seed -> Case ------------------------------------^
//! ```
//!
//! `FERULA_PEERS` names the folder with the `prometheus` to ask (3.5 or newer); `FERULA_DIFFERENTIAL=20000` asks that many
//! questions instead of a few, `FERULA_SEED=7` begins with another seed. What 3.14 changed is listed in [`known`].

pub(crate) mod answer;
pub(crate) mod compare;
mod json;
pub(crate) mod known;
mod peer;
mod remote_write;
mod shrink;

use ferula_promql::syntax::{Dialect, Features};
use ferula_promql::testing::MemoryStorage;
use ferula_promql::{Engine, EngineOptions, QueryOptions};

use crate::generated::{Case, Dataset, Scope, When};
use crate::twins;
use answer::Reply;
use compare::{Measure, STRICT};
use known::Known;
use peer::Peer;

/// Questions for one set of data.
const QUESTIONS_PER_DATASET: u64 = 1_000;

/// What is asked of both sides.
const SCOPE: Scope = Scope { newer: false, histograms: true, exotic: true };

struct Sides {
    engine: Engine,
    storage: MemoryStorage,
    peer: Peer,
    data: Dataset,
    delayed_name_removal: bool,
}

impl Sides {
    fn new(binary: std::path::PathBuf, data: &Dataset, delayed_name_removal: bool) -> Self {
        let mut features = "promql-experimental-functions,native-histograms".to_owned();
        if delayed_name_removal {
            features.push_str(",promql-delayed-name-removal");
        }
        let mut peer = Peer::start(binary, &features);
        peer.fill(data);
        let dialect = Dialect { features: Features::all(), functions: Vec::new() };
        let mut options = EngineOptions::default();
        options.dialect = dialect;
        options.delayed_name_removal = delayed_name_removal;
        Self { engine: Engine::new(options), storage: data.storage(), peer, data: data.clone(), delayed_name_removal }
    }

    fn ours(&self, case: &Case) -> Reply {
        let options = QueryOptions::default();
        Reply::of(match case.when {
            When::At(at) => self.engine.instant(&self.storage, &case.query, at, &options),
            When::Over(grid) => self.engine.range(&self.storage, &case.query, grid, &options),
        })
    }

    fn theirs(&mut self, case: &Case) -> Reply {
        let query = ("query", case.query.clone());
        let body = match case.when {
            When::At(at) => self.peer.ask("/api/v1/query", &[query, ("time", seconds(at.as_millis()))]),
            When::Over(grid) => {
                let times = [
                    query,
                    ("start", seconds(grid.start().as_millis())),
                    ("end", seconds(grid.end().as_millis())),
                    ("step", seconds(grid.step_millis())),
                ];
                self.peer.ask("/api/v1/query_range", &times)
            }
        };
        json::reply(&body)
    }

    /// How the two differ, if they do.
    fn difference(&mut self, case: &Case) -> Option<Difference> {
        let original = self.ours(case);
        // Where upstream iterates over a map, it may say something else when asked again.
        const ASKS: usize = 4;
        let mut last = None;
        for _ in 0..ASKS {
            let (mut ours, mut theirs) = (original.clone(), self.theirs(case));
            // Names that are dropped late are none of its business.
            let confirmed = || twins::confirms(&self.data, case, &self.storage);
            let known = known::forgive(case, self.delayed_name_removal, &mut ours, &mut theirs, &confirmed);
            let measure = Measure { ordered: known::is_ordered(case, &ours), ..STRICT };
            let Some(what) = compare::difference(&ours, &theirs, measure) else {
                // Alike but for what is known.
                let what = "known".to_owned();
                return known.map(|known| Difference { what, ours, theirs, known: Some(known) });
            };
            last = Some(Difference { what, ours, theirs, known: None });
        }
        last
    }
}

/// A question that both sides answer differently.
struct Difference {
    what: String,
    ours: Reply,
    theirs: Reply,
    known: Option<Known>,
}

fn seconds(millis: i64) -> String {
    format!("{}.{:03}", millis.div_euclid(1000), millis.rem_euclid(1000))
}

pub(crate) fn number_from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

#[test]
fn answers_are_those_of_prometheus() {
    let Some(binary) = peer::binary() else {
        println!("skipped: FERULA_PEERS is not set; it names the folder with the prometheus to compare with");
        return;
    };
    let questions = number_from_environment("FERULA_DIFFERENTIAL").unwrap_or(400);
    let first = number_from_environment("FERULA_SEED").unwrap_or(1);
    let mut tally = Tally::default();
    let mut sides: Option<(u64, Dataset, Sides)> = None;
    for seed in first..first + questions {
        let of_data = seed / QUESTIONS_PER_DATASET;
        if sides.as_ref().is_none_or(|(known, ..)| *known != of_data) {
            let data = Dataset::new(of_data);
            let both = Sides::new(binary.clone(), &data, of_data % 2 == 1);
            sides = Some((of_data, data, both));
        }
        let Some((_, data, both)) = &mut sides else { continue };
        tally.judge(seed, data, both);
    }
    println!("{tally:#?}");
    assert_eq!(tally.unexplained, 0, "{} of {} answers differ from Prometheus'", tally.unexplained, tally.asked);
}

#[derive(Debug, Default)]
struct Tally {
    asked: u64,
    errors: u64,
    empty: u64,
    known: std::collections::BTreeMap<&'static str, u64>,
    /// Those of them of which nobody else knows the answer.
    unconfirmed: std::collections::BTreeMap<&'static str, u64>,
    unexplained: u64,
}

impl Tally {
    fn judge(&mut self, seed: u64, data: &Dataset, sides: &mut Sides) {
        let case = Case::new(seed, SCOPE);
        self.asked += 1;
        match sides.ours(&case) {
            Reply::Error(_) => self.errors += 1,
            Reply::Answer(answer) if answer.rows.is_empty() => self.empty += 1,
            Reply::Answer(_) => {}
        }
        match sides.difference(&case) {
            None => {}
            Some(Difference { known: Some(Known { reason, confirmed }), .. }) => {
                *self.known.entry(reason).or_default() += 1;
                if !confirmed {
                    *self.unconfirmed.entry(reason).or_default() += 1;
                }
            }
            Some(_) => {
                self.unexplained += 1;
                if self.unexplained <= 40 {
                    shrink::report(seed, case, data, sides);
                }
            }
        }
    }
}
