//! Proxies: does a request go straight to its host, or through whom?

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::auth;
use crate::config::ProxyConfig;
use crate::error::{BuildError, Cause};

/// The proxy variables of a process environment. Libraries read no environment: a program hands in its own, with
/// `ProxyEnvironment::from_vars(std::env::vars())`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyEnvironment {
    http: String,
    https: String,
    no_proxy: String,
}

impl ProxyEnvironment {
    /// Takes `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` out of variables; in small letters they count less.
    ///
    /// ```
    /// use ferula_http::ProxyEnvironment;
    /// let environment = ProxyEnvironment::from_vars([("HTTP_PROXY".to_owned(), "http://proxy:3128".to_owned())]);
    /// assert_ne!(environment, ProxyEnvironment::default());
    /// ```
    pub fn from_vars(vars: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut found = Self::default();
        for (name, value) in vars {
            let slot = match name.to_ascii_uppercase().as_str() {
                "HTTP_PROXY" => &mut found.http,
                "HTTPS_PROXY" => &mut found.https,
                "NO_PROXY" => &mut found.no_proxy,
                _ => continue,
            };
            if slot.is_empty() || name.bytes().all(|byte| !byte.is_ascii_lowercase()) {
                *slot = value;
            }
        }
        found
    }
}

/// Which proxy serves which host.
#[derive(Clone, Default)]
pub(super) struct ProxyRules {
    http: Option<Proxy>,
    https: Option<Proxy>,
    bypass: Vec<Bypass>,
    /// `no_proxy` was given, or the environment asked: the machine itself is reached directly.
    spares_loopback: bool,
    pub(super) connect_headers: HeaderMap,
}

/// A proxy: its address without credentials, and its credentials.
#[derive(Clone)]
pub(super) struct Proxy {
    pub(super) url: Uri,
    pub(super) authorization: Option<HeaderValue>,
}

#[derive(Clone)]
enum Bypass {
    Everything,
    Range { network: IpAddr, bits: u32, port: Option<u16> },
    Domain { name: String, with_itself: bool, port: Option<u16> },
}

impl ProxyRules {
    pub(super) fn new(config: &ProxyConfig, environment: &ProxyEnvironment) -> Result<Self, BuildError> {
        let mut rules = Self::default();
        if config.proxy_from_environment {
            rules.http = Proxy::parse(&environment.http)?;
            rules.https = Proxy::parse(&environment.https)?;
            rules.bypass = parse_bypass(&environment.no_proxy);
            rules.spares_loopback = true;
        } else {
            rules.http = Proxy::parse(config.proxy_url.expose())?;
            rules.https.clone_from(&rules.http);
            rules.bypass = parse_bypass(&config.no_proxy);
            rules.spares_loopback = !config.no_proxy.is_empty();
        }
        for (name, values) in &config.proxy_connect_header {
            let invalid = |error: String| BuildError::Unsupported(format!("proxy_connect_header {name:?}: {error}"));
            let header = HeaderName::from_bytes(name.as_bytes()).map_err(|error| invalid(error.to_string()))?;
            for value in values {
                let mut value = HeaderValue::from_str(value.expose()).map_err(|error| invalid(error.to_string()))?;
                value.set_sensitive(true);
                rules.connect_headers.append(&header, value);
            }
        }
        Ok(rules)
    }

    /// The proxy for a URL, if it is not reached directly.
    pub(super) fn proxy_for(&self, url: &Uri) -> Option<&Proxy> {
        let https = url.scheme_str() == Some("https");
        let proxy = if https { &self.https } else { &self.http }.as_ref()?;
        let host = url.host()?.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_u16().unwrap_or(if https { 443 } else { 80 });
        let address: Option<IpAddr> = host.parse().ok();
        let loopback = host.eq_ignore_ascii_case("localhost") || address.is_some_and(|address| address.is_loopback());
        if (self.spares_loopback && loopback) || self.bypass.iter().any(|rule| rule.matches(host, address, port)) {
            return None;
        }
        Some(proxy)
    }

    /// Requests over plain http carry the proxy's credentials themselves; https ones show them on `CONNECT`.
    pub(super) fn authorization_of_plain_request(&self, url: &Uri) -> Option<HeaderValue> {
        if url.scheme_str() != Some("http") {
            return None;
        }
        self.proxy_for(url)?.authorization.clone()
    }
}

impl Proxy {
    fn parse(text: &str) -> Result<Option<Self>, BuildError> {
        if text.is_empty() {
            return Ok(None);
        }
        let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let invalid = |problem: String| BuildError::Unsupported(format!("proxy_url: {problem}"));
        let mut url: Uri = full.parse().map_err(|error: http::uri::InvalidUri| invalid(error.to_string()))?;
        match url.scheme_str() {
            Some("http") => {}
            Some("https") if cfg!(feature = "tls") => {}
            other => return Err(invalid(format!("scheme {:?} is not supported", other.unwrap_or_default()))),
        }
        let authorization = auth::take_url_credentials(&mut url);
        Ok(Some(Self { url, authorization }))
    }
}

impl Bypass {
    fn matches(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        match self {
            Self::Everything => true,
            Self::Range { network, bits, port: only } => {
                only.is_none_or(|only| only == port) && address.is_some_and(|it| within(it, *network, *bits))
            }
            Self::Domain { name, with_itself, port: only } => {
                let host = host.trim_end_matches('.').to_ascii_lowercase();
                let inside = host.strip_suffix(name.as_str()).is_some_and(|before| before.ends_with('.'));
                only.is_none_or(|only| only == port) && (inside || (*with_itself && host == *name))
            }
        }
    }
}

fn within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let mask = u32::MAX.checked_shl(32 - bits.min(32)).unwrap_or(0);
            a.to_bits() & mask == b.to_bits() & mask
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let mask = u128::MAX.checked_shl(128 - bits.min(128)).unwrap_or(0);
            a.to_bits() & mask == b.to_bits() & mask
        }
        _ => false,
    }
}

/// As Go's `httpproxy` reads the list: `*`, `1.2.3.4`, `1.2.3.4:80`, `1.2.3.0/24`, `domain` (itself and below),
/// `.domain` (below only), `*.domain` (the same).
fn parse_bypass(list: &str) -> Vec<Bypass> {
    list.split(',').map(|item| item.trim().to_ascii_lowercase()).filter(|item| !item.is_empty()).map(bypass).collect()
}

fn bypass(item: String) -> Bypass {
    if item == "*" {
        return Bypass::Everything;
    }
    if let Some((network, bits)) = item.split_once('/')
        && let (Ok(network), Ok(bits)) = (network.parse(), bits.parse())
    {
        return Bypass::Range { network, bits, port: None };
    }
    let bare: Option<IpAddr> = item.trim_start_matches('[').trim_end_matches(']').parse().ok();
    let (host, port) = match item.rsplit_once(':') {
        Some((host, port)) if bare.is_none() => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (item.as_str(), None),
        },
        _ => (item.as_str(), None),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(network) = host.parse::<IpAddr>() {
        return Bypass::Range { network, bits: if network.is_ipv4() { 32 } else { 128 }, port };
    }
    let below = host.strip_prefix("*.").or_else(|| host.strip_prefix('.'));
    Bypass::Domain { name: below.unwrap_or(host).to_owned(), with_itself: below.is_none(), port }
}

/// The text of a `CONNECT` request.
pub(super) fn connect_request(target: &Uri, proxy: &Proxy, headers: &HeaderMap) -> Result<Vec<u8>, Cause> {
    let host = target.host().ok_or_else(|| Cause::Url("no Host in request URL".to_owned()))?;
    let authority = format!("{host}:{}", target.port_u16().unwrap_or(443));
    let mut text = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
    let mut add = |name: &str, value: &HeaderValue| {
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    };
    if let Some(authorization) = &proxy.authorization {
        add("Proxy-Authorization", authorization);
    }
    for (name, value) in headers {
        add(name.as_str(), value);
    }
    text.extend_from_slice(b"\r\n");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(no_proxy: &str) -> ProxyRules {
        let config =
            ProxyConfig { proxy_url: "http://u:p@proxy:3128".into(), no_proxy: no_proxy.into(), ..Default::default() };
        ProxyRules::new(&config, &ProxyEnvironment::default()).unwrap()
    }

    #[test]
    fn no_proxy_is_read_as_go_reads_it() {
        let list = "10.0.0.0/8, 192.0.2.7:81, example.com, .below.org, *.star.net, [::2], host:8080";
        for (url, direct) in [
            ("http://10.2.3.4/", true),
            ("http://11.2.3.4/", false),
            ("http://192.0.2.7:81/", true),
            ("http://192.0.2.7/", false),
            ("http://example.com/", true),
            ("http://a.EXAMPLE.com/", true),
            ("http://notexample.com/", false),
            ("http://below.org/", false),
            ("http://x.below.org/", true),
            ("http://star.net/", false),
            ("http://a.star.net/", true),
            ("http://[::2]/", true),
            ("http://host:8080/", true),
            ("http://host/", false),
            ("http://localhost/", true),
            ("http://127.9.9.9/", true),
        ] {
            assert_eq!(rules(list).proxy_for(&url.parse().unwrap()).is_none(), direct, "{url}");
        }
        assert!(rules("*").proxy_for(&"http://any/".parse().unwrap()).is_none());
    }

    #[test]
    fn without_no_proxy_even_loopback_goes_through_the_proxy() {
        let rules = rules("");
        let proxy = rules.proxy_for(&"https://127.0.0.1/".parse().unwrap()).unwrap();
        assert_eq!(proxy.url.to_string(), "http://proxy:3128/");
        let text = connect_request(&"https://host/x".parse().unwrap(), proxy, &HeaderMap::new()).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "CONNECT host:443 HTTP/1.1\r\nHost: host:443\r\nProxy-Authorization: Basic dTpw\r\n\r\n"
        );
    }

    #[test]
    fn big_letters_win_in_the_environment() {
        let vars = [("http_proxy", "http://small"), ("HTTP_PROXY", "http://big"), ("no_proxy", "x")];
        let environment = ProxyEnvironment::from_vars(vars.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!((environment.http.as_str(), environment.no_proxy.as_str()), ("http://big", "x"));
    }
}
