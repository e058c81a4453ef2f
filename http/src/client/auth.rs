//! Credentials: what does the client add to each request to say who it is?

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use tokio::time::Instant;

use super::oauth2::TokenSource;
use super::proxy::ProxyEnvironment;
use crate::config::{Authorization, BasicAuth, HttpClientConfig, HttpHeaders, SecretSource};
use crate::error::{BuildError, Cause};

/// Everything that is added to a request to the host that the caller named.
pub(super) struct Credentials {
    scheme: Scheme,
    headers: HttpHeaders,
}

enum Scheme {
    None,
    Basic(BasicAuth),
    Header(Authorization),
    OAuth2(Box<TokenSource>),
}

impl Credentials {
    pub(super) fn new(config: &HttpClientConfig, environment: &ProxyEnvironment) -> Result<Self, BuildError> {
        let scheme = if let Some(basic) = &config.basic_auth {
            refuse_references(&[&basic.username, &basic.password])?;
            Scheme::Basic(basic.clone())
        } else if let Some(authorization) = &config.authorization {
            refuse_references(&[&authorization.credentials])?;
            Scheme::Header(authorization.clone())
        } else if let Some(oauth2) = &config.oauth2 {
            refuse_references(&[&oauth2.client_secret])?;
            Scheme::OAuth2(Box::new(TokenSource::new(oauth2, environment)?))
        } else {
            Scheme::None
        };
        Ok(Self { scheme, headers: config.http_headers.clone() })
    }

    /// Whether there is nothing to add.
    pub(super) fn are_none(&self) -> bool {
        matches!(self.scheme, Scheme::None) && self.headers.0.is_empty()
    }

    /// Adds the headers. An `Authorization` that the caller set stands.
    pub(super) async fn sign(&self, headers: &mut HeaderMap, deadline: Instant) -> Result<(), Cause> {
        for (name, values) in &self.headers.0 {
            let name =
                HeaderName::from_bytes(name.as_bytes()).map_err(|error| Cause::Credentials(error.to_string()))?;
            for value in &values.values {
                headers.append(&name, sensitive(value, false)?);
            }
            for secret in &values.secrets {
                headers.append(&name, sensitive(secret.expose(), true)?);
            }
            for file in &values.files {
                headers.append(&name, sensitive(&read_file("http_headers file", file).await?, true)?);
            }
        }
        if headers.contains_key(header::AUTHORIZATION) {
            return Ok(());
        }
        let value = match &self.scheme {
            Scheme::None => return Ok(()),
            Scheme::Basic(basic) => {
                let name = read(&basic.username, "basic_auth username_file").await?;
                basic_value(&name, &read(&basic.password, "basic_auth password_file").await?)?
            }
            Scheme::Header(authorization) => {
                let credentials = read(&authorization.credentials, "authorization credentials_file").await?;
                sensitive(&format!("{} {credentials}", authorization.kind), true)?
            }
            Scheme::OAuth2(source) => sensitive(&source.token(deadline).await?, true)?,
        };
        headers.insert(header::AUTHORIZATION, value);
        Ok(())
    }

    /// The server did not believe the credentials: a token is fetched anew next time.
    pub(super) fn refused(&self) {
        if let Scheme::OAuth2(source) = &self.scheme {
            source.forget();
        }
    }
}

/// Takes `user:password@` out of a URL and gives it as a header.
pub(super) fn take_url_credentials(url: &mut Uri) -> Option<HeaderValue> {
    let (credentials, host) = url.authority()?.as_str().rsplit_once('@')?;
    let (name, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let value = basic_value(&decoded(name), &decoded(password)).ok();
    let mut parts = url.clone().into_parts();
    parts.authority = host.parse().ok();
    *url = Uri::from_parts(parts).ok()?;
    value
}

/// The header of basic authentication (RFC 7617).
pub(super) fn basic_value(name: &str, password: &str) -> Result<HeaderValue, Cause> {
    sensitive(&format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))), true)
}

fn sensitive(text: &str, secret: bool) -> Result<HeaderValue, Cause> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| Cause::Credentials("credentials or header value that HTTP cannot carry".to_owned()))?;
    value.set_sensitive(secret);
    Ok(value)
}

/// The secret, read anew if it stands in a file.
pub(super) async fn read(source: &SecretSource, what: &'static str) -> Result<String, Cause> {
    match &source.file {
        Some(file) => read_file(what, file).await,
        None => Ok(source.value.expose().to_owned()),
    }
}

async fn read_file(what: &'static str, path: &Path) -> Result<String, Cause> {
    let owned = path.to_owned();
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(owned)).await;
    let read = read.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    match read {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(source) => Err(Cause::File { what, path: path.to_owned(), source: Arc::new(source) }),
    }
}

fn refuse_references(sources: &[&SecretSource]) -> Result<(), BuildError> {
    match sources.iter().find_map(|source| source.reference.as_deref()) {
        Some(name) => {
            Err(BuildError::Unsupported(format!("secret reference {name:?}: no secret manager is configured")))
        }
        None => Ok(()),
    }
}
