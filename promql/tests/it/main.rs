//! The promql crate through its public door.

mod conformance;
