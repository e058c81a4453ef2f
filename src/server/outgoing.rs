//! What goes out: an answer of the API as one of HTTP.

use std::borrow::Cow;

use http::{HeaderValue, header};

use super::body::{Coding, ResponseBody};
use crate::api::Response;

/// The answer as hyper sends it.
pub(super) fn finish(response: Response, coding: Coding) -> http::Response<ResponseBody> {
    let mut out = http::Response::new(ResponseBody::new(response.body, coding));
    *out.status_mut() = response.status;
    let headers = out.headers_mut();
    if let Some(name) = coding.name().filter(|_| response.content_type.is_some()) {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
    }
    if let Some(content_type) = response.content_type.and_then(header_value) {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    for (name, value) in response.headers {
        header_value(value).and_then(|value| headers.insert(name, value));
    }
    out
}

/// Values are made here, of ASCII, so that there always is one.
fn header_value(text: Cow<'static, str>) -> Option<HeaderValue> {
    match text {
        Cow::Borrowed(text) => Some(HeaderValue::from_static(text)),
        Cow::Owned(text) => HeaderValue::try_from(text).ok(),
    }
}
