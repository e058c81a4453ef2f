//! Scraping: from targets to samples.
//!
//! ```
//! use std::sync::Arc;
//! use ferula_model::SystemClock;
//! use ferula_scrape::{ManagerOptions, ScrapeConfig, ScrapeDefaults, ScrapeManager};
//! # use ferula_model::{AppendError, Appendable, Appender, CommitError, CommitSummary, Exemplar, Metadata, Sample, SeriesRef};
//! # struct Storage;
//! # struct Batch;
//! # impl Appendable for Storage { fn appender(&self) -> Box<dyn Appender + '_> { Box::new(Batch) } }
//! # impl Appender for Batch {
//! #     fn series(&mut self, _: &[(&str, &str)]) -> Result<SeriesRef, AppendError> { Ok(SeriesRef(1)) }
//! #     fn append(&mut self, _: SeriesRef, _: Sample) -> Result<(), AppendError> { Ok(()) }
//! #     fn append_exemplar(&mut self, _: SeriesRef, _: Exemplar) -> Result<(), AppendError> { Ok(()) }
//! #     fn set_metadata(&mut self, _: SeriesRef, _: &Metadata) -> Result<(), AppendError> { Ok(()) }
//! #     fn commit(self: Box<Self>) -> Result<CommitSummary, CommitError> { Ok(CommitSummary::default()) }
//! #     fn rollback(self: Box<Self>) {}
//! # }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! # let storage = Storage;
//! let manager = ScrapeManager::new(ManagerOptions::new(Arc::new(storage), Arc::new(SystemClock)))?;
//! let mut job = ScrapeConfig::new("node").static_targets(["127.0.0.1:9100", "127.0.0.1:9101"]);
//! job.validate(&ScrapeDefaults::default())?;
//! manager.apply(vec![job])?;
//! for target in manager.targets() {
//!     println!("{} is {}", target.scrape_url, target.last.health.as_str());
//! }
//! manager.stop().await;
//! # Ok(()) })
//! # }
//! ```
//!
//! # One sample, from the wire to the storage
//!
//! 1. A job says where targets come from; [`discovery`] finds them as [`TargetGroup`]s.
//! 2. `target` adds the defaults of the job and applies its [`relabel`] rules: the result is a [`Target`] with a URL, or
//!    nothing.
//! 3. `pool` gives every target a `worker`, which sleeps until [`schedule`] says that its slot has come.
//! 4. [`Fetch`] brings the body: usually [`HttpTransport`], but a host can bring its own [`Transport`].
//! 5. `ingest` reads the body with the parser of `ferula-exposition`. Lines that the last scrape had too are known to the
//!    `series_cache`, which compares bytes and has the storage's ref at hand: nothing is decoded, hashed or allocated.
//!    New lines get the labels of the target and pass `metric_relabel_configs` and the limits.
//! 6. What vanished is marked stale, `report` adds `up` and the `scrape_*` series, and the batch is committed: all of a
//!    scrape becomes visible, or nothing.
//!
//! # Map
//!
//! - [`ScrapeManager`]: owns it all; a new configuration is applied as a difference.
//! - [`ScrapeConfig`], [`ScrapeDefaults`]: the keys of `<scrape_config>` and of `global`.
//! - [`relabel`]: rules on labels, for whoever needs them.
//! - [`discovery`]: where targets come from; the door for a host's own sources.
//! - [`TargetStatus`], [`DroppedTargets`], [`TargetMetadata`]: what the API shows.

#![forbid(unsafe_code)]

mod bodies;
pub mod discovery;
mod failure;
mod fetch;
mod http;
mod ingest;
mod job;
mod manager;
mod metrics;
mod pool;
pub mod relabel;
mod report;
pub mod schedule;
mod series_cache;
mod status;
mod target;
mod worker;

/// Where a [`Fetch`] puts what it fetched.
pub use ferula_http::BodyBuffer;
pub use fetch::{Fetch, FetchError, FetchRequest, Fetching, JobTransport, Transport, TransportError};
pub use http::HttpTransport;
pub use ingest::rules::SeriesError;
pub use ingest::{IngestError, StartTimestamps};
pub use job::{ContentTypeError, EscapingScheme, JobError, ScrapeConfig, ScrapeDefaults, ScrapeLimits, ScrapeProtocol};
pub use manager::{ApplyError, ManagerOptions, ScrapeManager, StartError};
pub use status::{DroppedTargets, Health, LastScrape, TargetMetadata, TargetStatus};
pub use target::{HistogramForms, Target, TargetError, TargetGroup, Verdict, targets_of_group};

/// How the scraper names itself to targets and discovery endpoints.
const USER_AGENT: &str = concat!("Ferula/", env!("CARGO_PKG_VERSION"));
