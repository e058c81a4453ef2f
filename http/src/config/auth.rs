//! Authentication: who does the client say it is?

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{ConfigError, ProxyConfig, TlsConfig, resolve};
use ferula_model::Secret;

/// A secret given in the configuration, in a file that is read again for each request, or by reference to a secret
/// manager. At most one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretSource {
    /// The secret itself.
    pub value: Secret,
    /// The file that holds it; white space around its content is cut off.
    pub file: Option<PathBuf>,
    /// The name under which the host's secret manager knows it.
    pub reference: Option<String>,
}

impl SecretSource {
    /// A secret given in the configuration.
    pub fn value(secret: impl Into<Secret>) -> Self {
        Self { value: secret.into(), ..Self::default() }
    }

    /// A secret in a file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { file: Some(path.into()), ..Self::default() }
    }

    /// Whether nothing is configured.
    pub fn is_empty(&self) -> bool {
        self.value.is_empty() && self.file.is_none() && self.reference.is_none()
    }

    pub(super) fn resolve_paths(&mut self, directory: &Path) {
        if let Some(file) = &mut self.file {
            resolve(file, directory);
        }
    }

    pub(super) fn at_most_one(&self, keys: &'static str) -> Result<(), ConfigError> {
        let given = [!self.value.is_empty(), self.file.is_some(), self.reference.is_some()];
        if given.iter().filter(|given| **given).count() > 1 { Err(ConfigError::Exclusive(keys)) } else { Ok(()) }
    }
}

/// Name and password of HTTP's basic authentication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BasicAuth {
    /// `username`, `username_file`, `username_ref`.
    pub username: SecretSource,
    /// `password`, `password_file`, `password_ref`.
    pub password: SecretSource,
}

impl BasicAuth {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        self.username.at_most_one("basic_auth username, username_file & username_ref")?;
        self.password.at_most_one("basic_auth password, password_file & password_ref")
    }
}

/// Content of the `Authorization` header: type and credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authorization {
    /// `type`: anything but `Basic`; empty means `Bearer`.
    pub kind: String,
    /// `credentials`, `credentials_file`, `credentials_ref`.
    pub credentials: SecretSource,
}

impl Authorization {
    pub(super) fn validate(&mut self) -> Result<(), ConfigError> {
        self.credentials.at_most_one("authorization credentials, credentials_file & credentials_ref")?;
        self.kind = self.kind.trim().to_owned();
        if self.kind.is_empty() {
            self.kind = "Bearer".to_owned();
        }
        if self.kind.eq_ignore_ascii_case("basic") {
            return Err(ConfigError::Incomplete(
                "authorization type cannot be set to \"basic\", use \"basic_auth\" instead",
            ));
        }
        Ok(())
    }
}

/// OAuth 2.0 client credentials (RFC 6749 section 4.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OAuth2 {
    /// Who asks.
    pub client_id: String,
    /// `client_secret`, `client_secret_file`, `client_secret_ref`.
    pub client_secret: SecretSource,
    /// The scopes asked for.
    pub scopes: Vec<String>,
    /// Where tokens are given out.
    pub token_url: String,
    /// Further parameters of the token request.
    pub endpoint_params: BTreeMap<String, String>,
    /// TLS towards the token endpoint.
    pub tls_config: TlsConfig,
    /// Proxy towards the token endpoint.
    pub proxy: ProxyConfig,
}

impl OAuth2 {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if self.client_id.is_empty() {
            return Err(ConfigError::Incomplete("oauth2 client_id must be configured"));
        }
        if self.token_url.is_empty() {
            return Err(ConfigError::Incomplete("oauth2 token_url must be configured"));
        }
        self.client_secret.at_most_one("oauth2 client_secret, client_secret_file & client_secret_ref")?;
        self.tls_config.validate()?;
        self.proxy.validate()
    }

    pub(super) fn resolve_paths(&mut self, directory: &Path) {
        self.client_secret.resolve_paths(directory);
        self.tls_config.resolve_paths(directory);
    }
}
