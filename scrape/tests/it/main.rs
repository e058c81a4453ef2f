//! Scraping through the public door.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in tests, that is how to fail")]
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

mod config;
mod corpora;
mod discovery;
mod http;
mod ingesting;
mod invariants;
mod manager;
mod storage;
mod transport;
