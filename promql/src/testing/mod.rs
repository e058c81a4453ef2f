//! Does an engine answer as a script says? The promqltest language of Prometheus, for our tests and for a host's.
//!
//! ```text
//!  text --script--> commands --load--> MemoryStorage
//!                      '-----eval--> Engine --Answer--> compare --> Report
//! ```
//!
//! A script loads series, asks queries and says what must come out:
//!
//! ```text
//! load 1m
//!   requests{job="api"} 0+60x10
//!
//! eval instant at 5m rate(requests[5m])
//!   {job="api"} 1
//! ```
//!
//! An instant query is asked in many ways that must give one answer: as written, as the middle step of a range query, and
//! with all selectors pinned by `@` at other moments. Floats may differ by 1e-6 of their size.
//!
//! [`MemoryStorage`] serves tests of anything that reads a [`Queryable`](ferula_model::Queryable);
//! [`parse_series_line`] reads the notation for series, which unit tests of rules use too.
//!
//! Reading order: `script` (the language), `series` (its notation for series), `run`, `compare`.

mod compare;
mod nhcb;
mod replay;
mod run;
mod script;
mod series;
mod storage;

use std::fmt;

pub use script::ScriptError;
pub use series::{Point, SeriesLine, SeriesLineError, parse_series_line};
pub use storage::MemoryStorage;

use crate::options::EngineOptions;
use crate::syntax::{Dialect, Features};

/// How scripts are run.
///
/// ```
/// use ferula_promql::testing::{Options, run_script};
///
/// let mut options = Options::default();
/// options.engine.threads = 1;
/// assert_eq!(run_script("eval instant at 0 1 + 1\n  2\n", &options).passed, 1);
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// The engine that is asked. Default: as upstream's test engine, with names removed at the end of the evaluation,
    /// start timestamps in use and every experimental part of the language on.
    pub engine: EngineOptions,
}

impl Default for Options {
    fn default() -> Self {
        let dialect = Dialect { features: Features::all(), functions: Vec::new() };
        let engine = EngineOptions {
            dialect,
            delayed_name_removal: true,
            use_start_timestamps: true,
            ..EngineOptions::default()
        };
        Self { engine }
    }
}

/// What came of a script.
///
/// ```
/// use ferula_promql::testing::{Options, run_script};
///
/// let report = run_script("eval instant at 0 1 + 1\n  3\n", &Options::default());
/// assert_eq!((report.passed, report.failed, report.failures[0].line), (0, 1, 1));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Evaluations that gave what they should.
    pub passed: usize,
    /// Evaluations that did not, and commands that could not be read.
    pub failed: usize,
    /// Each of the failed.
    pub failures: Vec<Failure>,
}

/// Something in a script that did not come out as it says.
///
/// ```
/// use ferula_promql::testing::Failure;
///
/// let failure = Failure { line: 7, message: "up: nothing is there".to_owned() };
/// assert_eq!(failure.to_string(), "7: up: nothing is there");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The line of the command, from 1.
    pub line: usize,
    /// The query, and what is wrong.
    pub message: String,
}

/// `line: query: problem`.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.message)
    }
}

/// Runs a script in an empty storage of its own.
///
/// ```
/// use ferula_promql::testing::{Options, run_script};
///
/// let script = "
/// load 1m
///   requests{job=\"api\"} 0+60x10
///
/// eval instant at 5m sum(requests)
///   {} 300
/// ";
/// let report = run_script(script, &Options::default());
/// assert_eq!((report.passed, report.failed), (1, 0));
/// ```
pub fn run_script(text: &str, options: &Options) -> Report {
    run::run_script(text, options)
}
