//! Errors of the client: what went wrong between the request and the last byte of the answer?
//!
//! The texts are those that Prometheus shows on its targets page, which people and scripts know: they come from Go's
//! `net/http`, such as `Get "http://host:1/metrics": dial tcp 127.0.0.1:1: connect: connection refused`.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use http::{Method, Uri};
use thiserror::Error;

/// Why a request was not answered.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// No answer came.
    #[error("{} {:?}: {cause}", go_operation(method), url)]
    Exchange {
        /// The method of the request that failed.
        method: Method,
        /// Its URL, without credentials. After redirects, that of the last request.
        url: String,
        /// What happened.
        #[source]
        cause: Cause,
    },
    /// The answer began but its body did not end.
    #[error("{0}")]
    Body(#[source] Cause),
    /// The body is longer than the caller takes, decompressed.
    #[error("body size limit exceeded")]
    BodyTooLarge {
        /// How many bytes the caller takes.
        bytes_max: u64,
    },
}

impl Error {
    pub(crate) fn exchange(method: &Method, url: &Uri, cause: Cause) -> Self {
        Self::Exchange { method: method.clone(), url: without_credentials(url), cause }
    }

    /// Whether the deadline passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Exchange { cause: Cause::Deadline, .. } | Self::Body(Cause::Deadline))
    }

    /// Whether the body was too long.
    pub fn is_body_too_large(&self) -> bool {
        matches!(self, Self::BodyTooLarge { .. })
    }

    /// Whether no connection could be made, so that the server has surely not seen the request.
    pub fn is_connect(&self) -> bool {
        matches!(self, Self::Exchange { cause: Cause::Dial { .. } | Cause::Lookup { .. } | Cause::Tls(_), .. })
    }
}

/// What happened on the way.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum Cause {
    /// The time given is over.
    #[error("context deadline exceeded")]
    Deadline,
    /// No connection to an address.
    #[error("dial {network} {address}: connect: {}", go_io_text(source))]
    Dial {
        /// `tcp` or `unix`.
        network: &'static str,
        /// The address.
        address: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A host name without address.
    #[error("dial tcp: lookup {host}: {}", lookup_text(source))]
    Lookup {
        /// The name.
        host: String,
        /// What the resolver said.
        source: Arc<io::Error>,
    },
    /// The handshake of TLS.
    #[error("tls: {0}")]
    Tls(String),
    /// The proxy refused to connect.
    #[error("{0}")]
    Proxy(String),
    /// The connection broke.
    #[error("{}", go_io_text(.0))]
    Io(Arc<io::Error>),
    /// The server closed the connection where an answer, or more of it, was due.
    #[error("{0}")]
    Closed(&'static str),
    /// The server does not speak HTTP.
    #[error("net/http: {0}")]
    Protocol(String),
    /// More than ten redirects.
    #[error("stopped after 10 redirects")]
    Redirects,
    /// A URL that cannot be asked.
    #[error("{0}")]
    Url(String),
    /// The body is not what its `Content-Encoding` says.
    #[error("gzip: {0}")]
    Gzip(&'static str),
    /// A file with credentials could not be read.
    #[error("unable to read {what} {}: {}", path.display(), go_io_text(source))]
    File {
        /// The key that names the file.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// Credentials are wanted that nothing here can give.
    #[error("{0}")]
    Credentials(String),
}

/// Why a client could not be made of its configuration.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] crate::ConfigError),
    /// A certificate or key that cannot be used.
    #[error("unable to use {what}: {problem}")]
    Tls {
        /// Which of the keys.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A file could not be read.
    #[error(transparent)]
    File(Cause),
    /// The configuration asks for what this build cannot do.
    #[error("{0}")]
    Unsupported(String),
}

/// `Get`, `Post`, ...: how Go names the request in its errors.
fn go_operation(method: &Method) -> String {
    let mut name = method.as_str().to_ascii_lowercase();
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    name
}

fn without_credentials(url: &Uri) -> String {
    let text = url.to_string();
    match url.authority().map(http::uri::Authority::as_str).and_then(|authority| authority.rsplit_once('@')) {
        Some((credentials, _)) => text.replacen(&format!("{credentials}@"), "", 1),
        None => text,
    }
}

/// The words of the system without Rust's additions: `connection refused`.
fn go_io_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    match error.raw_os_error() {
        Some(_) => text.to_ascii_lowercase(),
        None => text.to_owned(),
    }
}

fn lookup_text(error: &io::Error) -> String {
    let text = error.to_string();
    if text.contains("not known") || text.contains("No address") || text.contains("nodename") {
        "no such host".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_like_gos() {
        let refused = Cause::Dial {
            network: "tcp",
            address: "127.0.0.1:1".into(),
            source: Arc::new(io::Error::from_raw_os_error(111)),
        };
        let url = "http://user:pw@localhost:1/metrics".parse().unwrap();
        assert_eq!(
            Error::exchange(&Method::GET, &url, refused).to_string(),
            "Get \"http://localhost:1/metrics\": dial tcp 127.0.0.1:1: connect: connection refused"
        );
        assert_eq!(Error::Body(Cause::Deadline).to_string(), "context deadline exceeded");
    }
}
