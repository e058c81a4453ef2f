//! Ferula: Prometheus as a library.
//!
//! A [`Monitor`] scrapes, stores, evaluates and answers inside one process; its parts are crates that stand alone.
//!
//! ```
//! use std::time::Duration;
//! use ferula::{Error, Job, Monitor};
//!
//! # fn main() -> Result<(), Error> {
//! # let folder = tempfile::tempdir().expect("a folder");
//! # let data = folder.path();
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime").block_on(async {
//! let monitor = Monitor::builder(data)
//!     .retention(Duration::from_hours(15 * 24))
//!     .job(Job::new("node").every(Duration::from_secs(15)).targets(["127.0.0.1:9100"]))
//!     .start()
//!     .await?;
//! let answer = monitor.instant("1 + 2 * 3").await?;
//! assert_eq!(answer.scalar()?, 7.0);
//! monitor.closed().await
//! # })
//! # }
//! ```
//!
//! # One sample, from the wire to the answer
//!
//! 1. The [builder](Monitor::builder) takes jobs from code, or all of a [`prometheus.yml`](config::Config).
//! 2. [`ferula_scrape`] finds targets, fetches and parses what they say, and hands it to an appender.
//! 3. [`ferula_tsdb`] logs the batch and makes it visible; a task of the monitor compacts and retains.
//! 4. [`Monitor::instant`] and [`Monitor::range`] evaluate PromQL ([`ferula_promql`]) over it and give typed values;
//!    [`api`] gives the same as Prometheus' JSON.
//! 5. [`server`] puts that API, `/metrics` and remote write behind sockets, or behind the HTTP server of the host.
//!
//! # Map
//!
//! - The wiring: [`Monitor`], [`MonitorBuilder`], [`Job`]; what is experimental: [`Features`].
//! - `prometheus.yml`: [`config`].
//! - A request value in, a response value out: [`api`]. Which door a request goes through: [`server`].
//! - The protocols of other servers: [`remote`].
//! - The crates themselves are re-exported: [`model`], [`exposition`], [`tsdb`], [`promql`], [`scrape`],
//!   [`alerting`].
//!
//! Nothing is global: two monitors fit into a process, and none leaves a task or a thread behind once it is
//! [closed](Monitor::closed).

#![forbid(unsafe_code)]

mod alerts;
pub mod api;
mod builder;
pub mod config;
mod error;
mod features;
mod job;
mod maintain;
mod metrics;
mod monitor;
mod own;
mod parts;
mod reload;
pub mod remote;
pub mod server;
mod source;
mod status;
mod tasks;

pub use builder::MonitorBuilder;
pub use error::Error;
pub use features::{Feature, Features, UnknownFeature};
pub use ferula_alerting as alerting;
pub use ferula_alerting::{Alert, Rules, Webhook};
pub use ferula_exposition as exposition;
pub use ferula_model as model;
pub use ferula_promql as promql;
pub use ferula_scrape as scrape;
pub use ferula_tsdb as tsdb;
pub use job::Job;
pub use monitor::Monitor;

/// The programs in the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
