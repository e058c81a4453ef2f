//! The client against servers of its own on the loopback interface.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in tests, that is how to fail")]

mod client;
mod line;
mod server;
#[cfg(feature = "tls")]
mod tls;
