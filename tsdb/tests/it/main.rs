//! Tests of the storage engine through its public door.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

#[path = "../support/day.rs"]
mod day;

mod blocks;
mod corpora;
mod head;
mod invariants;
mod log_invariants;
mod maintain;
mod memory;
mod model;
mod offline;
mod peers;
mod scraping;
mod simulation;
mod starts;
