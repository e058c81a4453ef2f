//! The HTTP client that scraping, discovery, notification and the remote protocols share, and its configuration.
//!
//! ```
//! use std::time::Duration;
//! use bytes::Bytes;
//! use ferula_http::{Authorization, Client, HttpClientConfig, Limits, SecretSource};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let config = HttpClientConfig {
//!     authorization: Some(Authorization { kind: "Bearer".into(), credentials: SecretSource::value("t0ken") }),
//!     ..HttpClientConfig::default()
//! };
//! let client = Client::builder(&config).user_agent("example/1.0").build()?;
//! let limits = Limits::timeout(Duration::from_secs(10)).body_bytes_max(1 << 20);
//! let request = http::Request::get("http://127.0.0.1:9/").body(Bytes::new())?;
//! match client.send(request, &limits).await {
//!     Ok(answer) => println!("{}: {} bytes", answer.status(), answer.body().len()),
//!     Err(error) => println!("{error}"), // Get "http://127.0.0.1:9/": dial tcp 127.0.0.1:9: connect: connection refused
//! }
//! # Ok(()) })
//! # }
//! ```
//!
//! # Map
//!
//! - [`HttpClientConfig`]: the keys of Prometheus' `<http_config>`, and the rules between them.
//! - [`Client`]: a request in, a whole answer out, within [`Limits`]. Connections are kept and shared by hyper's pool;
//!   authentication, proxies, redirects, TLS and body limits are the policy of this crate around it.
//! - [`Line`]: the same over one connection that the caller keeps, for asking one server again and again.
//! - [`BodyBuffer`]: memory for answers, for callers that ask again and again.
//! - [`Error`]: in the words of Go's `net/http`, because that is what people know from Prometheus' targets page.

#![forbid(unsafe_code)]

mod client;
mod config;
mod error;

pub use client::{BodyBuffer, Client, ClientBuilder, Limits, Line, ProxyEnvironment};
pub use config::{
    Authorization, BasicAuth, ConfigError, HeaderValues, HttpClientConfig, HttpHeaders, OAuth2, ProxyConfig,
    SecretSource, TlsConfig, TlsVersion,
};
pub use error::{BuildError, Cause, Error};
pub use ferula_model::Secret;
