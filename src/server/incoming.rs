//! What comes in: the body of a request, and what its headers say about it and about the answer.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::{BodyExt, Limited};

use super::body::Coding;
use crate::api::Response;

/// A form may be this large, as in Go's `ParseForm`.
pub(super) const FORM_BYTES_MAX: usize = 10 << 20;

/// A remote-write request may be this large.
pub(super) const WRITE_BYTES_MAX: usize = 32 << 20;

/// Of a body that nobody wants, so much is read all the same, as Go does: a client that is still sending when the connection
/// is closed would not see the answer.
const UNWANTED_BYTES_MAX: usize = 256 << 10;

/// And no longer than this.
const UNWANTED_TIMEOUT: Duration = Duration::from_secs(5);

/// A request whose body can be taken out of it.
pub(super) type Request<B> = http::Request<Option<B>>;

/// Reads the body of a request within a time; zero is no limit.
pub(super) async fn read<B>(request: &mut Request<B>, bytes_max: usize, timeout: Duration) -> Result<Bytes, Response>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Some(body) = request.body_mut().take() else { return Ok(Bytes::new()) };
    let body = Limited::new(body, bytes_max).collect();
    let body = match timeout {
        Duration::ZERO => Ok(body.await),
        limit => tokio::time::timeout(limit, body).await,
    };
    match body {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Response::refusal(StatusCode::PAYLOAD_TOO_LARGE, "http: request body too large\n"))
        }
        Ok(Err(error)) => Err(Response::refusal(StatusCode::BAD_REQUEST, format!("{error}\n"))),
        Err(_) => Err(Response::refusal(StatusCode::REQUEST_TIMEOUT, "the body of the request did not come in time\n")),
    }
}

/// Reads the body of a request that was answered without it.
pub(super) async fn drain<B: http_body::Body>(body: B)
where
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if body.is_end_stream() {
        return;
    }
    // Whether it ends well or not, the answer stands.
    let _ = tokio::time::timeout(UNWANTED_TIMEOUT, Limited::new(body, UNWANTED_BYTES_MAX).collect()).await;
}

/// The header `Accept`.
pub(super) fn accept(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::ACCEPT).and_then(|value| value.to_str().ok())
}

/// How the answer may be compressed.
pub(super) fn accepted_coding<B>(request: &http::Request<B>) -> Coding {
    let header = request.headers().get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    header.map_or(Coding::Plain, Coding::accepted)
}

/// Whether the body holds parameters.
pub(super) fn is_form<B>(request: &http::Request<B>) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.and_then(|text| text.split(';').next()).unwrap_or_default();
    matches!(*request.method(), Method::POST | Method::PUT)
        && media_type.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}
