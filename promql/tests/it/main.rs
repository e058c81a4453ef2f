//! The promql crate through its public door.

// Tests say what they skip and how much of upstream's scripts passes.
#![allow(clippy::print_stdout)]

mod conformance;
mod corpora;
mod depth;
mod differential;
mod generate;
mod harness;
mod invariants;
mod printing;
mod twin;
mod wrong_queries;
