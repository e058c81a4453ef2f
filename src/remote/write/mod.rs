//! The remote-write receiver: samples that other servers push.
//!
//! ```text
//!  body --snappy--> message --request: series by series--> ingest --> Appender --> commit --> 204
//! ```
//!
//! `request` reads the message in place, `ingest` appends it. Protocol version 1.0 is all or nothing: a sample that
//! is out of order, out of bounds or a duplicate rolls the whole request back, as Prometheus 3.14 does.

mod histogram;
mod ingest;
mod request;

pub use ingest::{WriteError, WriteReceiver, WriteSummary};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
