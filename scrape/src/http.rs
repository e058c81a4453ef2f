//! HTTP: the usual way to a target.

use std::sync::Arc;

use bytes::Bytes;
use ferula_http::{BodyBuffer, Client, HttpClientConfig, Limits, Line, ProxyEnvironment};
use http::{Request, StatusCode, header};

use crate::USER_AGENT;
use crate::fetch::{Fetch, FetchError, FetchRequest, Fetching, JobTransport, Transport, TransportError};
use crate::job::ScrapeConfig;
use crate::target::Target;

/// Scrapes over HTTP, as each job's `<http_config>` says. A connection to each target is kept from scrape to
/// scrape.
#[derive(Clone, Debug, Default)]
pub struct HttpTransport {
    environment: ProxyEnvironment,
}

impl HttpTransport {
    /// A transport; `environment` is what `proxy_from_environment` means.
    pub fn new(environment: ProxyEnvironment) -> Self {
        Self { environment }
    }
}

impl Transport for HttpTransport {
    fn job(&self, config: &ScrapeConfig) -> Result<Box<dyn JobTransport>, TransportError> {
        let builder = Client::builder(&config.http).user_agent(USER_AGENT).proxy_environment(self.environment.clone());
        let client = builder.build().map_err(|error| TransportError(error.to_string()))?;
        Ok(Box::new(HttpJob { client, config: config.http.clone(), environment: self.environment.clone() }))
    }
}

#[derive(Debug)]
struct HttpJob {
    client: Client,
    config: HttpClientConfig,
    environment: ProxyEnvironment,
}

impl JobTransport for HttpJob {
    fn target(&self, target: &Target) -> Result<Arc<dyn Fetch>, TransportError> {
        let Some(socket) = &target.unix_socket else { return Ok(Arc::new(HttpFetch { line: self.client.line() })) };
        let builder = Client::builder(&self.config).user_agent(USER_AGENT).proxy_environment(self.environment.clone());
        let client = builder.unix_socket(socket).build().map_err(|error| TransportError(error.to_string()))?;
        Ok(Arc::new(HttpFetch { line: client.line() }))
    }
}

#[derive(Debug)]
struct HttpFetch {
    line: Line,
}

impl Fetch for HttpFetch {
    fn fetch<'a>(&'a self, request: &'a FetchRequest, body: &'a mut BodyBuffer) -> Fetching<'a> {
        Box::pin(async move {
            let get = Request::get(&request.url)
                .header(header::ACCEPT, &request.accept)
                .header(header::ACCEPT_ENCODING, if request.gzip { "gzip" } else { "identity" })
                .header("X-Prometheus-Scrape-Timeout-Seconds", request.timeout.as_secs_f64().to_string())
                .body(Bytes::new())
                .map_err(|error| FetchError::Other(format!("invalid URL {:?}: {error}", request.url)))?;
            let limits = Limits::timeout(request.timeout).body_bytes_max(request.body_bytes_max);
            let answer = self.line.send_into(get, &limits, body).await.map_err(|error| match error {
                error if error.is_body_too_large() => FetchError::BodyTooLarge,
                error => FetchError::Http(error),
            })?;
            if answer.status() != StatusCode::OK {
                return Err(FetchError::Status(answer.status().to_string()));
            }
            let content_type = answer.headers().get(header::CONTENT_TYPE);
            Ok(content_type.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default())
        })
    }
}
