//! Targets without a network: bodies by URL, changed while scraping goes on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferula_http::BodyBuffer;
use ferula_scrape::{
    Fetch, FetchError, FetchRequest, Fetching, JobTransport, ScrapeConfig, Target, Transport, TransportError,
};

/// What each URL answers; a URL that is not there cannot be reached.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bodies(Arc<Mutex<BTreeMap<String, Body>>>);

#[derive(Clone, Debug)]
struct Body {
    text: String,
    after: Duration,
}

impl Bodies {
    pub(crate) fn set(&self, host: &str, text: &str) {
        self.set_slow(host, text, Duration::ZERO);
    }

    pub(crate) fn set_slow(&self, host: &str, text: &str, after: Duration) {
        let body = Body { text: text.to_owned(), after };
        self.0.lock().unwrap().insert(format!("http://{host}/metrics"), body);
    }

    pub(crate) fn remove(&self, host: &str) {
        self.0.lock().unwrap().remove(&format!("http://{host}/metrics"));
    }
}

impl Transport for Bodies {
    fn job(&self, config: &ScrapeConfig) -> Result<Box<dyn JobTransport>, TransportError> {
        if config.scheme == "gopher" {
            return Err(TransportError("no gophers here".into()));
        }
        Ok(Box::new(self.clone()))
    }
}

impl JobTransport for Bodies {
    fn target(&self, _: &Target) -> Result<Arc<dyn Fetch>, TransportError> {
        Ok(Arc::new(self.clone()))
    }
}

impl Fetch for Bodies {
    fn fetch<'a>(&'a self, request: &'a FetchRequest, body: &'a mut BodyBuffer) -> Fetching<'a> {
        Box::pin(async move {
            let answer = self.0.lock().unwrap().get(&request.url).cloned();
            let Some(answer) = answer else { return Err(FetchError::Other("connection refused".into())) };
            if answer.after > request.timeout {
                tokio::time::sleep(request.timeout).await;
                return Err(FetchError::Other("context deadline exceeded".into()));
            }
            tokio::time::sleep(answer.after).await;
            body.replace(answer.text.as_bytes());
            Ok("text/plain".to_owned())
        })
    }
}
