//! Bridges: metrics that a program measures with another library.
//!
//! Each is a [`Collect`](crate::registry::Collect), so it is added to a [`Registry`](crate::Registry), and what it knows is
//! written in any format or fed to a storage with everything else:
//!
//! | feature | library | how it is read |
//! |---|---|---|
//! | `metrics` | `metrics` | [`MetricsRecorder`] is its recorder |
//! | `prometheus-client` | `prometheus-client` | [`ClientRegistry`] reads what a registry encodes |
//! | `opentelemetry` | `opentelemetry_sdk` | [`OtelReader`] is a reader of a meter provider |
#![cfg_attr(
    not(all(feature = "metrics", feature = "prometheus-client", feature = "opentelemetry")),
    allow(rustdoc::broken_intra_doc_links, reason = "the names of features that are off are still said")
)]

#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "opentelemetry")]
mod opentelemetry;
#[cfg(feature = "prometheus-client")]
mod prometheus_client;

#[cfg(feature = "metrics")]
pub use metrics::{MetricsOptions, MetricsRecorder};
#[cfg(feature = "opentelemetry")]
pub use opentelemetry::OtelReader;
#[cfg(feature = "prometheus-client")]
pub use prometheus_client::ClientRegistry;
