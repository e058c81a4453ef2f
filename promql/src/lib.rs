//! PromQL over any storage: parser, type checker, planner and evaluator.
//!
//! # Map
//!
//! - [`syntax`]: what did the query say? - [`check`]: is it well typed, and what does it consist of?
//! - [`functions`]: what functions and aggregations are there, and what is each like?
//! - [`testing`]: does an engine answer as a script says?

#![forbid(unsafe_code)]

mod annotation;
pub mod check;
mod engine;
mod error;
mod eval;
pub mod functions;
mod gate;
mod plan;
mod stats;
pub mod syntax;
pub mod testing;
mod value;

pub use engine::{CancelToken, Engine, EngineOptions, EngineStatistics, QueryObserver, QueryOptions};
pub use error::QueryError;
pub use plan::reach::Estimate;
pub use stats::{SampleStatistics, Statistics, Timings};
pub use value::{Answer, FloatPoint, HistogramPoint, Series, Value, VectorSample};
