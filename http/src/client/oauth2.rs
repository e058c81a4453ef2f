//! OAuth 2.0: which bearer token is valid now?
//!
//! A token is fetched when the first request needs one, kept until shortly before it expires, and fetched anew after
//! the server refused it. Requests that come meanwhile wait for the same fetch.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::proxy::ProxyEnvironment;
use super::{Client, Limits, auth};
use crate::config::{HttpClientConfig, OAuth2};
use crate::error::{BuildError, Cause};

/// A token is renewed so long before it expires.
const RENEWAL_MARGIN: Duration = Duration::from_secs(10);
const TOKEN_BYTES_MAX: u64 = 1 << 20;

/// Fetches and keeps the token of one configuration.
pub(super) struct TokenSource {
    config: OAuth2,
    client: Client,
    current: Mutex<Option<Token>>,
}

struct Token {
    /// `Bearer ...`, ready for the header.
    header: String,
    /// `None`: the server named no end.
    renew_at: Option<Instant>,
}

impl TokenSource {
    pub(super) fn new(config: &OAuth2, environment: &ProxyEnvironment) -> Result<Self, BuildError> {
        let http = HttpClientConfig {
            tls_config: config.tls_config.clone(),
            proxy: config.proxy.clone(),
            ..HttpClientConfig::default()
        };
        let client = Client::builder(&http).proxy_environment(environment.clone()).build()?;
        Ok(Self { config: config.clone(), client, current: Mutex::new(None) })
    }

    /// The content of the `Authorization` header.
    pub(super) async fn token(&self, deadline: Instant) -> Result<String, Cause> {
        let mut current = self.current.lock().await;
        if let Some(token) = &*current
            && token.renew_at.is_none_or(|at| Instant::now() < at)
        {
            return Ok(token.header.clone());
        }
        let token = self.fetch(deadline).await?;
        let header = token.header.clone();
        *current = Some(token);
        Ok(header)
    }

    pub(super) fn forget(&self) {
        if let Ok(mut current) = self.current.try_lock() {
            *current = None;
        }
    }

    fn form(&self) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if !self.config.scopes.is_empty() {
            form.append_pair("scope", &self.config.scopes.join(" "));
        }
        form.extend_pairs(&self.config.endpoint_params);
        form.finish()
    }

    async fn fetch(&self, deadline: Instant) -> Result<Token, Cause> {
        let failed = |what: String| Cause::Credentials(format!("oauth2: cannot fetch token: {what}"));
        let secret = auth::read(&self.config.client_secret, "oauth2 client_secret_file").await?;
        // RFC 6749 section 2.3.1: both parts are form-encoded before they become a basic header.
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let request = Request::post(&self.config.token_url)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, HeaderValue::from_static("application/json"))
            .header(header::AUTHORIZATION, auth::basic_value(&encoded(&self.config.client_id), &encoded(&secret))?)
            .body(Bytes::from(self.form()))
            .map_err(|error| failed(error.to_string()))?;
        let asked = Instant::now();
        let limits = Limits::timeout(deadline.saturating_duration_since(asked)).body_bytes_max(TOKEN_BYTES_MAX);
        // The token request is a request of the same kind through another client: boxed, or the future would contain
        // itself.
        let answer = Box::pin(self.client.send(request, &limits)).await;
        let answer = answer.map_err(|error| failed(error.to_string()))?;
        if !answer.status().is_success() {
            return Err(failed(answer.status().to_string()));
        }
        let json: serde_json::Value =
            serde_json::from_slice(answer.body()).map_err(|error| failed(format!("answer is not JSON: {error}")))?;
        let Some(token) = json.get("access_token").and_then(|token| token.as_str()).filter(|token| !token.is_empty())
        else {
            return Err(failed("server response missing access_token".to_owned()));
        };
        let kind = match json.get("token_type").and_then(|kind| kind.as_str()) {
            Some(kind) if !kind.is_empty() && !kind.eq_ignore_ascii_case("bearer") => kind,
            _ => "Bearer",
        };
        // Seconds; some servers write the number as a string.
        let seconds = json.get("expires_in").and_then(|value| {
            value.as_u64().or_else(|| value.as_f64().map(|float| float as u64)).or_else(|| value.as_str()?.parse().ok())
        });
        let renew_at = seconds
            .filter(|seconds| *seconds > 0)
            .and_then(|seconds| asked.checked_add(Duration::from_secs(seconds).saturating_sub(RENEWAL_MARGIN)));
        Ok(Token { header: format!("{kind} {token}"), renew_at })
    }
}
