//! The promql crate through its public door.

// Tests say what they skip and how much of upstream's scripts passes.
#![allow(clippy::print_stdout)]

mod conformance;
mod depth;
mod printing;
mod wrong_queries;
