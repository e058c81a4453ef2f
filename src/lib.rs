//! The facade.
#![forbid(unsafe_code)]
pub mod api;
pub mod remote;
pub mod server;
