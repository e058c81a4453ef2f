//! Rules and alerts through the public door.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in tests, that is how to fail")]
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

mod bed;
mod corpora;
mod delivery;
mod files;
mod manager;
mod peers;
mod reload;
mod server;
mod unit_tests;
