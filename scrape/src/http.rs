//! HTTP: the usual way to a target.

use std::sync::Arc;

use bytes::Bytes;
use ferula_http::{BodyBuffer, Client, HttpClientConfig, Limits, Line, ProxyEnvironment};
use http::{Request, StatusCode, header};
use parking_lot::Mutex;

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
        let Some(socket) = &target.unix_socket else { return Ok(HttpFetch::new(self.client.line())) };
        let builder = Client::builder(&self.config).user_agent(USER_AGENT).proxy_environment(self.environment.clone());
        let client = builder.unix_socket(socket).build().map_err(|error| TransportError(error.to_string()))?;
        Ok(HttpFetch::new(client.line()))
    }
}

#[derive(Debug)]
struct HttpFetch {
    line: Line,
    /// What was sent last, and for which wish: it is nearly always the same.
    sent: Mutex<Option<(FetchRequest, Request<Bytes>)>>,
}

impl HttpFetch {
    fn new(line: Line) -> Arc<Self> {
        Arc::new(Self { line, sent: Mutex::new(None) })
    }

    fn request(&self, wanted: &FetchRequest) -> Result<Request<Bytes>, FetchError> {
        let mut sent = self.sent.lock();
        if let Some((known, request)) = &*sent
            && known == wanted
        {
            return Ok(request.clone());
        }
        let request = Request::get(&wanted.url)
            .header(header::ACCEPT, &wanted.accept)
            .header(header::ACCEPT_ENCODING, if wanted.gzip { "gzip" } else { "identity" })
            // The client would add it, and make the copy's headers grow each time.
            .header(header::USER_AGENT, USER_AGENT)
            .header("X-Prometheus-Scrape-Timeout-Seconds", wanted.timeout.as_secs_f64().to_string())
            .body(Bytes::new())
            .map_err(|error| FetchError::Other(format!("invalid URL {:?}: {error}", wanted.url)))?;
        *sent = Some((wanted.clone(), request.clone()));
        Ok(request)
    }
}

impl Fetch for HttpFetch {
    fn fetch<'a>(&'a self, request: &'a FetchRequest, body: &'a mut BodyBuffer) -> Fetching<'a> {
        Box::pin(async move {
            let get = self.request(request)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn wish(url: &str) -> FetchRequest {
        let (url, accept) = (url.to_owned(), "text/plain".to_owned());
        FetchRequest { url, accept, timeout: Duration::from_millis(1500), body_bytes_max: 1, gzip: true }
    }

    fn fetch() -> Arc<HttpFetch> {
        HttpFetch::new(Client::new(&HttpClientConfig::default()).unwrap().line())
    }

    #[test]
    fn a_request_is_made_anew_when_something_else_is_wanted() {
        let fetch = fetch();
        for wanted in [
            wish("http://a/x"),
            wish("http://a/x"),
            wish("http://b/"),
            FetchRequest { gzip: false, ..wish("http://b/") },
        ] {
            let request = fetch.request(&wanted).unwrap();
            assert_eq!(*request.uri(), *wanted.url);
            let headers = request.headers();
            assert_eq!(headers["accept-encoding"], if wanted.gzip { "gzip" } else { "identity" });
            assert_eq!(headers["x-prometheus-scrape-timeout-seconds"], "1.5");
        }
        assert!(fetch.request(&wish("http://a b/")).is_err());
        assert!(fetch.request(&wish("http://a/")).is_ok());
    }

    #[test]
    fn a_fetch_takes_little_memory() {
        let (fetch, wanted, mut body) = (fetch(), wish("http://a/"), BodyBuffer::default());
        let bytes = size_of_val(&*fetch.fetch(&wanted, &mut body));
        assert!(bytes < 1000, "{bytes} bytes are allocated for each scrape");
    }
}
