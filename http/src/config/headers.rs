//! Headers: what else is said with each request?

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use http::{HeaderName, HeaderValue};

use super::{ConfigError, resolve};
use ferula_model::Secret;

/// The `http_headers` key: values by header name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpHeaders(pub BTreeMap<String, HeaderValues>);

/// Where the values of one header come from; all of them are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderValues {
    /// Values that may be shown.
    pub values: Vec<String>,
    /// Values that may not.
    pub secrets: Vec<Secret>,
    /// Files read for each request; white space around their content is cut off.
    pub files: Vec<PathBuf>,
}

/// Headers that the client, or the protocol above it, sets itself.
const RESERVED: [&str; 16] = [
    "Authorization",
    "Host",
    "Content-Encoding",
    "Content-Length",
    "Content-Type",
    "User-Agent",
    "Connection",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Www-Authenticate",
    "Accept-Encoding",
    "X-Prometheus-Remote-Write-Version",
    "X-Prometheus-Remote-Read-Version",
    "X-Prometheus-Scrape-Timeout-Seconds",
    "X-Amz-",
];

impl HttpHeaders {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        for (name, values) in &self.0 {
            let reserved = RESERVED.iter().find(|reserved| match reserved.strip_suffix("-") {
                Some(_) => {
                    name.len() >= reserved.len()
                        && name.is_char_boundary(reserved.len())
                        && name[..reserved.len()].eq_ignore_ascii_case(reserved)
                }
                None => name.eq_ignore_ascii_case(reserved),
            });
            if let Some(reserved) = reserved {
                let name = if reserved.ends_with('-') { name.clone() } else { (*reserved).to_owned() };
                return Err(ConfigError::ReservedHeader { name });
            }
            let invalid = |problem: String| ConfigError::InvalidHeader { name: name.clone(), problem };
            HeaderName::from_bytes(name.as_bytes()).map_err(|error| invalid(error.to_string()))?;
            for value in values.values.iter().map(String::as_str).chain(values.secrets.iter().map(Secret::expose)) {
                HeaderValue::from_str(value).map_err(|error| invalid(error.to_string()))?;
            }
        }
        Ok(())
    }

    pub(super) fn resolve_paths(&mut self, directory: &Path) {
        for file in self.0.values_mut().flat_map(|values| &mut values.files) {
            resolve(file, directory);
        }
    }
}
