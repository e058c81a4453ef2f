//! Fetching: bytes from a target. This is the seam between scraping and the network.
//!
//! [`HttpTransport`](crate::HttpTransport) is the usual one. A host that has targets in its own process, or reaches them
//! in its own way, implements [`Transport`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ferula_http::BodyBuffer;
use thiserror::Error;

use crate::job::ScrapeConfig;
use crate::target::Target;

/// What is asked of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    /// Where.
    pub url: String,
    /// The formats, as an `Accept` header.
    pub accept: String,
    /// How long until the last byte.
    pub timeout: Duration,
    /// The largest body that is taken, unpacked.
    pub body_bytes_max: u64,
    /// Whether the answer may be packed.
    pub gzip: bool,
}

/// Why a target gave nothing; the words appear on the targets page.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum FetchError {
    /// It answered, but not with metrics.
    #[error("server returned HTTP status {0}")]
    Status(String),
    /// It did not answer, or not to the end.
    #[error(transparent)]
    Http(#[from] ferula_http::Error),
    /// The body is longer than `body_size_limit`.
    #[error("body size limit exceeded")]
    BodyTooLarge,
    /// A host's own transport has its own trouble.
    #[error("{0}")]
    Other(String),
}

/// A fetch under way: gives the `Content-Type` of the answer.
pub type Fetching<'a> = Pin<Box<dyn Future<Output = Result<String, FetchError>> + Send + 'a>>;

/// Fetches from targets.
pub trait Fetch: Send + Sync + fmt::Debug {
    /// Fetches a body into `body`, whose memory is kept from scrape to scrape, and gives its `Content-Type`.
    fn fetch<'a>(&'a self, request: &'a FetchRequest, body: &'a mut BodyBuffer) -> Fetching<'a>;
}

/// Makes the [`Fetch`] of a target. Called when a target appears or its job changes, not for each scrape.
pub trait Transport: Send + Sync + fmt::Debug {
    /// What the targets of a job share.
    ///
    /// # Errors
    ///
    /// The job cannot be scraped by this transport; it is not started.
    fn job(&self, config: &ScrapeConfig) -> Result<Box<dyn JobTransport>, TransportError>;
}

/// Makes the [`Fetch`] of each target of one job.
pub trait JobTransport: Send + Sync + fmt::Debug {
    /// The way to a target.
    ///
    /// # Errors
    ///
    /// The target cannot be scraped by this transport.
    fn target(&self, target: &Target) -> Result<Arc<dyn Fetch>, TransportError>;
}

/// Why a job or a target cannot be scraped.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct TransportError(pub String);
