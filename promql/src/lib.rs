//! PromQL over any storage: parser, type checker, planner and evaluator.
//!
//! Bring a [`Queryable`](ferula_model::Queryable) and ask it; nothing else of Ferula is needed:
//!
//! ```
//! use std::time::Duration;
//! use ferula_model::{Labels, Sample, StepGrid, Timestamp};
//! use ferula_promql::testing::MemoryStorage;
//! use ferula_promql::{Engine, EngineOptions, QueryOptions};
//!
//! let storage = MemoryStorage::new();
//! let labels = Labels::from_pairs([("__name__", "requests_total"), ("job", "api")]);
//! for minute in 0..10 {
//!     storage.insert(&labels, Sample::float(Timestamp::from_millis(minute * 60_000), minute as f64 * 120.0));
//! }
//! let engine = Engine::new(EngineOptions::default());
//! let five = Timestamp::from_millis(300_000);
//! let ten = Timestamp::from_millis(600_000);
//!
//! let now = engine.instant(&storage, "rate(requests_total[5m])", five, &QueryOptions::default())?;
//! println!("{}: {}", now.vector()?[0].labels, now.vector()?[0].value); // {job="api"}: 2
//!
//! let grid = StepGrid::new(five, ten, Duration::from_secs(60))?;
//! let over_time = engine.range(&storage, "sum(rate(requests_total[5m]))", grid, &QueryOptions::default())?;
//! assert_eq!(over_time.matrix()?[0].floats.len(), 6);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The way of one query
//!
//! ```text
//!  text --parse--> Expr --lower--> Typed --lower, rewrite--> plan --build--> operators --one series at a time--> Answer
//!       syntax          check             plan                    eval
//! ```
//!
//! 1. [`syntax::parse_with`] reads the text into an [`Expr`](syntax::Expr): what was written, with positions. An error is
//!    drawn with a caret ([`ParseError::drawn`](syntax::ParseError::drawn)).
//! 2. [`check::lower`] makes a tree that cannot be badly typed; the engine never asks about types again.
//! 3. The plan is bound to the times of the query: durations are numbers now, equal parts are one node, and what is the same
//!    at every step is computed once. Rewrites tell selectors what need not be read. [`Engine::explain`] prints it,
//!    [`Engine::estimate`] says what it would cost, [`Engine::analyze`] what it did cost.
//! 4. Operators know their series before they compute any; each computes one series over all steps at once. Windows only move
//!    forward, so a series is walked once, whatever the number of steps. `sum(rate(x[5m]))` reads a series, adds its rates to
//!    the group and forgets it: memory grows with the result, not with what was read. Independent series are spread over
//!    threads where there is enough work.
//! 5. The [`Answer`] has a typed [`Value`], warnings and infos in upstream's words, and [`Statistics`]. Its series can be
//!    taken out and written one after the other.
//!
//! Limits (samples, bytes, time, cancellation) are in [`EngineOptions`] and [`QueryOptions`]; reaching one is a [`QueryError`]
//! of its own kind. Functions of the host go into a [`FunctionRegistry`](functions::FunctionRegistry). Where answers differ
//! from Prometheus 3.14 on purpose is listed in the project's `DIVERGENCES.md`.
//!
//! # Map
//!
//! - [`syntax`]: what did the query say? - [`check`]: is it well typed, and what does it consist of?
//! - [`functions`]: what functions and aggregations are there, and what is each like?
//! - [`Engine`]: text in, answer out - [`Value`]: what came out
//! - [`testing`]: does an engine answer as a script says?
//!
//! Inside: `plan` (what is to be computed, once, and from what), `eval` (operators; read `steps`, `build`, `select`, `window`
//! in this order), `annotation` (what the reader should know).

#![forbid(unsafe_code)]

mod annotation;
pub mod check;
mod engine;
mod error;
mod eval;
pub mod functions;
mod gate;
mod options;
mod plan;
mod stats;
pub mod syntax;
pub mod testing;
mod value;

pub use engine::{Engine, EngineStatistics};
pub use error::QueryError;
pub use options::{CancelToken, EngineOptions, QueryObserver, QueryOptions};
pub use plan::reach::Estimate;
pub use stats::{SampleStatistics, Statistics, Timings};
pub use value::{Answer, FloatPoint, HistogramPoint, Series, Value, VectorSample};
