//! Scraping through the public door.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in tests, that is how to fail")]

mod config;
mod discovery;
mod http;
mod manager;
mod storage;
mod transport;
