//! The facade from outside: programs started, requests sent, answers read.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "in tests, that is how to fail")]

mod config;
mod corpora;
mod crash;
mod invariants;
mod leaving;
mod monitor;
mod peers;
mod program;
mod signals;
mod starts;
#[path = "../support/write_request.rs"]
mod write_request;
