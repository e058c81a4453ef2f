//! Tests through the public door.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

#[cfg(all(feature = "metrics", feature = "prometheus-client", feature = "opentelemetry"))]
mod bridge;
mod conformance;
mod corpora;
mod feed;
mod host;
mod invariants;
mod lint;
mod openmetrics;
mod prometheus;
mod protobuf;
mod python;
mod registry;
mod storage;
mod text;

use invariants::{told, told_with};
