//! `http_sd_configs`: targets as JSON from an endpoint.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ferula_http::{Client, HttpClientConfig, Limits};
use http::{Request, StatusCode, header};

use super::refresh::Found;
use super::{Discoverer, DiscoveryError, Refresh, RefreshDiscoverer, json};
use crate::USER_AGENT;
use crate::target::TargetGroup;

/// An endpoint that is asked for targets.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpDiscovery {
    /// Where; http or https.
    pub url: String,
    /// How often; also how long an answer may take. A minute, unless configured.
    pub refresh_interval: Duration,
    /// How it is reached.
    pub http: HttpClientConfig,
}

impl HttpDiscovery {
    /// An endpoint, asked once a minute.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), refresh_interval: Duration::from_mins(1), http: HttpClientConfig::default() }
    }

    /// What a URL must have to be asked; the words are upstream's.
    pub(super) fn check_url(&self) -> Result<(), String> {
        if self.url.is_empty() {
            return Err("URL is missing".to_owned());
        }
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("", ""));
        if scheme != "http" && scheme != "https" {
            return Err("URL scheme must be 'http' or 'https'".to_owned());
        }
        if rest.is_empty() || rest.starts_with(['/', '?', '#']) {
            return Err("host is missing in URL".to_owned());
        }
        Ok(())
    }

    pub(super) fn discoverer(&self) -> Result<Arc<dyn Discoverer>, DiscoveryError> {
        let client = Client::builder(&self.http).user_agent(USER_AGENT).build()?;
        Ok(Arc::new(RefreshDiscoverer::new(Endpoint { config: self.clone(), client }, self.refresh_interval)))
    }
}

#[derive(Debug)]
struct Endpoint {
    config: HttpDiscovery,
    client: Client,
}

impl Refresh for Endpoint {
    fn mechanism(&self) -> &str {
        "http"
    }

    fn refresh(&self) -> Found<'_> {
        Box::pin(async move {
            let request = Request::get(&self.config.url)
                .header(header::ACCEPT, "application/json")
                .header("X-Prometheus-Refresh-Interval-Seconds", self.config.refresh_interval.as_secs_f64().to_string())
                .body(Bytes::new())
                .map_err(|error| DiscoveryError::Answer(error.to_string()))?;
            let answer = self.client.send(request, &Limits::timeout(self.config.refresh_interval)).await?;
            if answer.status() != StatusCode::OK {
                return Err(DiscoveryError::Answer(format!("server returned HTTP status {}", answer.status())));
            }
            let content_type = answer.headers().get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
            let content_type = String::from_utf8_lossy(content_type);
            if !is_json(&content_type) {
                return Err(DiscoveryError::Answer(format!("unsupported content type {content_type:?}")));
            }
            let mut groups = json::groups(answer.body()).map_err(DiscoveryError::Answer)?;
            name_groups(&mut groups, &self.config.url);
            Ok(groups)
        })
    }
}

/// `application/json`, with or without `charset=utf-8`.
fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    parts.next().is_some_and(|base| base.eq_ignore_ascii_case("application/json"))
        && parts.all(|part| part.replace(' ', "").eq_ignore_ascii_case("charset=utf-8"))
}

fn name_groups(groups: &mut [TargetGroup], url: &str) {
    for (at, group) in groups.iter_mut().enumerate() {
        group.source = format!("{url}:{at}");
        group.labels = group.labels.to_builder().set("__meta_url", url).build();
    }
}
