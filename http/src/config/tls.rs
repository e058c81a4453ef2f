//! TLS: whom does the client trust, and how does it prove itself?

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{ConfigError, resolve};
use ferula_model::Secret;

/// The `tls_config` keys. Files are read again when a connection is opened, so that renewed certificates are taken
/// without a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// Certificates of the trusted authorities, PEM. Without `ca` and `ca_file`, those of the system.
    pub ca: String,
    /// File of the trusted authorities, PEM.
    pub ca_file: Option<PathBuf>,
    /// Client certificate, PEM.
    pub cert: String,
    /// File of the client certificate, PEM.
    pub cert_file: Option<PathBuf>,
    /// Key of the client certificate, PEM.
    pub key: Secret,
    /// File of the key, PEM.
    pub key_file: Option<PathBuf>,
    /// Under which name the server must prove itself; empty: the host of the URL.
    pub server_name: String,
    /// Whether any certificate of the server will do.
    pub insecure_skip_verify: bool,
    /// The oldest version that is spoken.
    pub min_version: Option<TlsVersion>,
    /// The newest version that is spoken.
    pub max_version: Option<TlsVersion>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.0; can be a lower bound, but is not spoken.
    Tls10,
    /// TLS 1.1; can be a lower bound, but is not spoken.
    Tls11,
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl TlsVersion {
    /// As configuration files write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tls10 => "TLS10",
            Self::Tls11 => "TLS11",
            Self::Tls12 => "TLS12",
            Self::Tls13 => "TLS13",
        }
    }
}

impl FromStr for TlsVersion {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        [Self::Tls10, Self::Tls11, Self::Tls12, Self::Tls13]
            .into_iter()
            .find(|version| version.as_str() == text)
            .ok_or_else(|| ConfigError::Unknown(format!("unknown TLS version: {text}")))
    }
}

impl TlsConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if !self.ca.is_empty() && self.ca_file.is_some() {
            return Err(ConfigError::Exclusive("ca, ca_file & ca_ref"));
        }
        if !self.cert.is_empty() && self.cert_file.is_some() {
            return Err(ConfigError::Exclusive("cert, cert_file & cert_ref"));
        }
        if !self.key.is_empty() && self.key_file.is_some() {
            return Err(ConfigError::Exclusive("key and key_file"));
        }
        match (self.has_certificate(), self.has_key()) {
            (true, false) => Err(ConfigError::Incomplete(
                "exactly one of key or key_file must be configured when a client certificate is configured",
            )),
            (false, true) => Err(ConfigError::Incomplete(
                "exactly one of cert or cert_file must be configured when a client key is configured",
            )),
            _ if self.max_version.is_some_and(|max| self.min_version.is_some_and(|min| min > max)) => {
                Err(ConfigError::Incomplete(
                    "tls_config.max_version must be greater than or equal to tls_config.min_version",
                ))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn resolve_paths(&mut self, directory: &Path) {
        for file in [&mut self.ca_file, &mut self.cert_file, &mut self.key_file].into_iter().flatten() {
            resolve(file, directory);
        }
    }

    fn has_certificate(&self) -> bool {
        !self.cert.is_empty() || self.cert_file.is_some()
    }

    fn has_key(&self) -> bool {
        !self.key.is_empty() || self.key_file.is_some()
    }
}
