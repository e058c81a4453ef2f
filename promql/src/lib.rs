//! PromQL over any storage: parser, type checker, planner and evaluator.

#![forbid(unsafe_code)]

mod engine;
mod error;
mod stats;
mod value;

pub use engine::{CancelToken, Engine, EngineOptions, QueryOptions};
pub use error::QueryError;
pub use stats::{SampleStatistics, Statistics, Timings};
pub use value::{Answer, FloatPoint, HistogramPoint, Series, Value, VectorSample};
