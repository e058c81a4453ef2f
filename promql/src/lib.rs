//! PromQL over any storage: parser, type checker, planner and evaluator.
//!
//! # Map
//!
//! - [`syntax`]: what did the query say? - [`check`]: is it well typed, and what does it consist of?
//! - [`functions`]: what functions and aggregations are there, and what is each like?
//! - [`testing`]: does an engine answer as a script says?

#![forbid(unsafe_code)]

pub mod check;
mod engine;
mod error;
pub mod functions;
mod stats;
pub mod syntax;
pub mod testing;
mod value;

pub use engine::{CancelToken, Engine, EngineOptions, QueryOptions};
pub use error::QueryError;
pub use stats::{SampleStatistics, Statistics, Timings};
pub use value::{Answer, FloatPoint, HistogramPoint, Series, Value, VectorSample};
