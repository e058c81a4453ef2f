//! A server on the loopback that writes down what it is sent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// What came: the line of the request, its headers of interest, its body.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) line: String,
    pub(crate) content_type: String,
    pub(crate) user_agent: String,
    pub(crate) body: serde_json::Value,
    pub(crate) text: String,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    received: mpsc::UnboundedReceiver<Received>,
    /// Answers to come; 200 when there are no more.
    answers: Arc<Mutex<Vec<StatusCode>>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (send, received) = mpsc::unbounded_channel();
        let answers: Arc<Mutex<Vec<StatusCode>>> = Arc::default();
        let to_give = Arc::clone(&answers);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (send, answers) = (send.clone(), Arc::clone(&to_give));
                let service = service_fn(move |request| answer(request, send.clone(), Arc::clone(&answers)));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { address, received, answers }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn will_answer(&self, status: StatusCode) {
        self.answers.lock().unwrap().push(status);
    }

    pub(crate) async fn next(&mut self) -> Received {
        self.received.recv().await.unwrap()
    }

    pub(crate) fn is_idle(&mut self) -> bool {
        self.received.try_recv().is_err()
    }
}

async fn answer(
    request: Request<Incoming>,
    send: mpsc::UnboundedSender<Received>,
    answers: Arc<Mutex<Vec<StatusCode>>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let header = |name: &str| request.headers().get(name).map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
    let (content_type, user_agent) = (header("content-type"), header("user-agent"));
    let line = format!("{} {}", request.method(), request.uri());
    let bytes = request.into_body().collect().await?.to_bytes();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let body = serde_json::from_str(&text).unwrap_or_default();
    let _ = send.send(Received { line, content_type, user_agent, body, text });
    let mut response = Response::new(Full::default());
    *response.status_mut() = answers.lock().unwrap().pop().unwrap_or(StatusCode::OK);
    Ok(response)
}
