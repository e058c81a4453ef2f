//! The promql crate through its public door.

// Tests say what they skip and how much of upstream's scripts passes; helpers of tests may panic as tests do.
#![allow(clippy::print_stdout, clippy::panic)]

mod bombs;
mod conformance;
mod corpora;
mod costs;
mod depth;
mod differential;
mod evaluating;
mod generated;
mod harness;
mod invariants;
mod oracle;
mod printing;
mod projection;
mod twins;
mod wrong_queries;
