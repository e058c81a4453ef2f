//! Proxies: through whom does a request go?

use std::collections::BTreeMap;

use super::ConfigError;
use ferula_model::Secret;

/// The proxy keys of `<http_config>`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyConfig {
    /// Proxy for every request; `http://` or `https://`, with credentials if it asks for some. Empty: none.
    pub proxy_url: Secret,
    /// Hosts that are reached directly: a comma-separated list of names, domains, addresses and CIDR ranges, or `*`.
    pub no_proxy: String,
    /// Whether the proxies of the process environment are used; the host hands that environment in as a
    /// [`ProxyEnvironment`](crate::ProxyEnvironment).
    pub proxy_from_environment: bool,
    /// Headers for `CONNECT` requests to the proxy.
    pub proxy_connect_header: BTreeMap<String, Vec<Secret>>,
}

impl ProxyConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let named = !self.proxy_url.is_empty();
        let problem = match () {
            () if !self.proxy_connect_header.is_empty() && !self.proxy_from_environment && !named => {
                "if proxy_connect_header is configured, proxy_url or proxy_from_environment must also be configured"
            }
            () if self.proxy_from_environment && named => {
                "if proxy_from_environment is configured, proxy_url must not be configured"
            }
            () if self.proxy_from_environment && !self.no_proxy.is_empty() => {
                "if proxy_from_environment is configured, no_proxy must not be configured"
            }
            () if !named && !self.no_proxy.is_empty() => "if no_proxy is configured, proxy_url must also be configured",
            () => return Ok(()),
        };
        Err(ConfigError::Incomplete(problem))
    }
}
