//! Configuration: what may one say about an HTTP client?
//!
//! These are the keys of Prometheus' `<http_config>` (3.14), shared by scraping, discovery, notification and remote
//! protocols. [`HttpClientConfig::validate`] applies upstream's rules in upstream's words and settles the deprecated
//! aliases; a [`Client`](crate::Client) is built from a valid configuration only.

mod auth;
mod headers;
mod proxy;
mod tls;
mod yaml;

pub use auth::{Authorization, BasicAuth, OAuth2, SecretSource};
pub use headers::{HeaderValues, HttpHeaders};
pub use proxy::ProxyConfig;
pub use tls::{TlsConfig, TlsVersion};

use std::path::{Path, PathBuf};

use thiserror::Error;

use ferula_model::Secret;

/// The `<http_config>` keys.
///
/// ```
/// use ferula_http::{BasicAuth, HttpClientConfig, SecretSource};
///
/// let config = HttpClientConfig {
///     basic_auth: Some(BasicAuth {
///         username: SecretSource::value("admin"),
///         password: SecretSource::file("/run/secrets/password"),
///     }),
///     ..HttpClientConfig::default()
/// };
/// assert!(config.validated().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpClientConfig {
    /// Name and password sent with each request.
    pub basic_auth: Option<BasicAuth>,
    /// Another `Authorization` header.
    pub authorization: Option<Authorization>,
    /// A bearer token fetched from, and renewed at, an OAuth 2.0 token endpoint.
    pub oauth2: Option<OAuth2>,
    /// Deprecated alias of `authorization.credentials`; [`validate`](Self::validate) moves it there.
    pub bearer_token: Secret,
    /// Deprecated alias of `authorization.credentials_file`; [`validate`](Self::validate) moves it there.
    pub bearer_token_file: Option<PathBuf>,
    /// Certificates and versions of TLS.
    pub tls_config: TlsConfig,
    /// Whether redirects are followed, at most ten. Credentials never follow to another host.
    pub follow_redirects: bool,
    /// Whether HTTP/2 may be spoken where the server offers it over TLS.
    pub enable_http2: bool,
    /// Through which proxy.
    pub proxy: ProxyConfig,
    /// Headers added to each request.
    pub http_headers: HttpHeaders,
}

impl Default for HttpClientConfig {
    /// Upstream's defaults: redirects and HTTP/2 on, everything else off.
    fn default() -> Self {
        Self {
            basic_auth: None,
            authorization: None,
            oauth2: None,
            bearer_token: Secret::default(),
            bearer_token_file: None,
            tls_config: TlsConfig::default(),
            follow_redirects: true,
            enable_http2: true,
            proxy: ProxyConfig::default(),
            http_headers: HttpHeaders::default(),
        }
    }
}

/// A configuration that contradicts itself; the words are upstream's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Several ways to give one thing, or to authenticate, exclude each other.
    #[error("at most one of {0} must be configured")]
    Exclusive(&'static str),
    /// One key is useless without another.
    #[error("{0}")]
    Incomplete(&'static str),
    /// A header that the client sets itself.
    #[error("setting header {name:?} is not allowed")]
    ReservedHeader {
        /// Its name in canonical writing.
        name: String,
    },
    /// A header name or value that HTTP does not know.
    #[error("invalid header {name:?}: {problem}")]
    InvalidHeader {
        /// The name as written.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An address that is none.
    #[error("invalid URL {url:?}: {problem}")]
    InvalidUrl {
        /// The address as written.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A name that is not in the list of its kind.
    #[error("{0}")]
    Unknown(String),
}

impl HttpClientConfig {
    /// Checks the rules between the keys, and moves deprecated aliases to where they belong now.
    ///
    /// # Errors
    ///
    /// The first rule that is broken; see [`ConfigError`].
    pub fn validate(&mut self) -> Result<(), ConfigError> {
        self.settle_bearer_token()?;
        if let Some(basic) = &self.basic_auth {
            basic.validate()?;
        }
        if let Some(authorization) = &mut self.authorization {
            authorization.validate()?;
            if self.basic_auth.is_some() || self.oauth2.is_some() {
                return Err(ConfigError::Exclusive("basic_auth, oauth2 & authorization"));
            }
        }
        if let Some(oauth2) = &self.oauth2 {
            if self.basic_auth.is_some() {
                return Err(ConfigError::Exclusive("basic_auth, oauth2 & authorization"));
            }
            oauth2.validate()?;
        }
        self.tls_config.validate()?;
        self.proxy.validate()?;
        self.http_headers.validate()
    }

    /// The configuration after [`validate`](Self::validate).
    ///
    /// # Errors
    ///
    /// As [`validate`](Self::validate).
    pub fn validated(mut self) -> Result<Self, ConfigError> {
        self.validate()?;
        Ok(self)
    }

    /// Makes every relative file name absolute: relative to `directory`, that of the configuration file.
    pub fn resolve_paths(&mut self, directory: &Path) {
        for source in [
            self.basic_auth.as_mut().map(|basic| &mut basic.username),
            self.authorization.as_mut().map(|authorization| &mut authorization.credentials),
        ]
        .into_iter()
        .flatten()
        {
            source.resolve_paths(directory);
        }
        if let Some(basic) = &mut self.basic_auth {
            basic.password.resolve_paths(directory);
        }
        if let Some(oauth2) = &mut self.oauth2 {
            oauth2.resolve_paths(directory);
        }
        if let Some(file) = &mut self.bearer_token_file {
            resolve(file, directory);
        }
        self.tls_config.resolve_paths(directory);
        self.http_headers.resolve_paths(directory);
    }

    fn settle_bearer_token(&mut self) -> Result<(), ConfigError> {
        let (token, file) = (!self.bearer_token.is_empty(), self.bearer_token_file.is_some());
        if token && file {
            return Err(ConfigError::Exclusive("bearer_token & bearer_token_file"));
        }
        if !token && !file {
            return Ok(());
        }
        if self.basic_auth.is_some() || self.oauth2.is_some() {
            return Err(ConfigError::Exclusive("basic_auth, oauth2, bearer_token & bearer_token_file"));
        }
        if self.authorization.is_some() {
            return Err(ConfigError::Incomplete(
                "authorization is not compatible with bearer_token & bearer_token_file",
            ));
        }
        let credentials = SecretSource {
            value: std::mem::take(&mut self.bearer_token),
            file: self.bearer_token_file.take(),
            reference: None,
        };
        self.authorization = Some(Authorization { kind: "Bearer".to_owned(), credentials });
        Ok(())
    }
}

/// `path` relative to `directory`, unless it is absolute or empty.
pub(crate) fn resolve(path: &mut PathBuf, directory: &Path) {
    if path.is_relative() && !path.as_os_str().is_empty() {
        *path = directory.join(&*path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(config: HttpClientConfig) -> String {
        config.validated().unwrap_err().to_string()
    }

    #[test]
    fn a_bearer_token_becomes_an_authorization() {
        let config = HttpClientConfig { bearer_token: "t".into(), ..Default::default() }.validated().unwrap();
        let authorization = config.authorization.unwrap();
        assert_eq!((authorization.kind.as_str(), authorization.credentials.value.expose()), ("Bearer", "t"));
        assert!(config.bearer_token.is_empty());
    }

    #[test]
    fn ways_to_authenticate_exclude_each_other() {
        let basic = Some(BasicAuth { username: SecretSource::value("u"), password: SecretSource::value("p") });
        let oauth2 = Some(OAuth2 { client_id: "c".into(), token_url: "http://t/".into(), ..Default::default() });
        assert_eq!(
            refused(HttpClientConfig { basic_auth: basic.clone(), bearer_token: "t".into(), ..Default::default() }),
            "at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured"
        );
        assert_eq!(
            refused(HttpClientConfig {
                bearer_token: "t".into(),
                bearer_token_file: Some("f".into()),
                ..Default::default()
            }),
            "at most one of bearer_token & bearer_token_file must be configured"
        );
        assert_eq!(
            refused(HttpClientConfig { basic_auth: basic, oauth2, ..Default::default() }),
            "at most one of basic_auth, oauth2 & authorization must be configured"
        );
        let authorization = Some(Authorization { kind: "Basic".into(), ..Default::default() });
        assert_eq!(
            refused(HttpClientConfig { authorization, ..Default::default() }),
            "authorization type cannot be set to \"basic\", use \"basic_auth\" instead"
        );
    }

    #[test]
    fn oauth2_needs_client_and_endpoint() {
        assert_eq!(
            refused(HttpClientConfig { oauth2: Some(OAuth2::default()), ..Default::default() }),
            "oauth2 client_id must be configured"
        );
    }

    #[test]
    fn reserved_headers_are_refused_in_any_writing() {
        let mut config = HttpClientConfig::default();
        config.http_headers.0.insert("authorization".into(), HeaderValues::default());
        assert_eq!(refused(config), "setting header \"Authorization\" is not allowed");
    }

    #[test]
    fn half_a_client_certificate_is_refused() {
        let mut config = HttpClientConfig::default();
        config.tls_config.cert_file = Some("c.pem".into());
        assert_eq!(
            refused(config),
            "exactly one of key or key_file must be configured when a client certificate is configured"
        );
    }

    #[test]
    fn proxies_are_named_or_taken_from_the_environment() {
        let mut config = HttpClientConfig::default();
        config.proxy.no_proxy = "localhost".into();
        assert_eq!(refused(config), "if no_proxy is configured, proxy_url must also be configured");
    }

    #[test]
    fn relative_files_belong_to_the_configuration_file() {
        let mut config = HttpClientConfig::default();
        config.tls_config.ca_file = Some("ca.pem".into());
        config.tls_config.key_file = Some("/abs/key.pem".into());
        config.resolve_paths(Path::new("/etc/prom"));
        assert_eq!(config.tls_config.ca_file, Some("/etc/prom/ca.pem".into()));
        assert_eq!(config.tls_config.key_file, Some("/abs/key.pem".into()));
    }
}
