//! `/api/v1/write`: what a request must say about itself, and what the log says about those that are refused.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode, header};
use parking_lot::Mutex;

use crate::api::Response;
use crate::remote::write::{WriteError, WriteReceiver};

/// A complaint is written once in this time; senders repeat what was refused, often many times a second.
const QUIET: Duration = Duration::from_secs(60);

/// Refuses a request whose headers announce something else than protobuf 1.0 in snappy.
pub(super) fn check_headers(headers: &HeaderMap) -> Result<(), Response> {
    let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok()).unwrap_or_default();
    let unsupported = |what: String| Err(Response::refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, what));
    let content_type = text(header::CONTENT_TYPE);
    let mut parts = content_type.split(';').map(str::trim);
    if !matches!(parts.next().unwrap_or_default(), "" | "application/x-protobuf") {
        return unsupported(format!(
            "expected application/x-protobuf as the first (media) part, got {content_type} content-type\n"
        ));
    }
    let mut proto = "prometheus.WriteRequest";
    for part in parts {
        match part.split_once('=') {
            Some((name, value)) if !value.contains('=') => {
                if name == "proto" {
                    proto = value;
                    break;
                }
            }
            _ => {
                return unsupported(format!(
                    "as per https://www.rfc-editor.org/rfc/rfc9110#parameter expected parameters to be key-values, \
                     got {part} in {content_type} content-type\n"
                ));
            }
        }
    }
    match proto {
        "prometheus.WriteRequest" => {}
        "io.prometheus.write.v2.Request" => {
            return unsupported(format!(
                "{proto} protobuf message is not accepted by this server; only accepts prometheus.WriteRequest\n"
            ));
        }
        _ => {
            return unsupported(format!(
                "got {content_type} content type; unknown remote write protobuf message {proto}, supported: \
                 prometheus.WriteRequest, io.prometheus.write.v2.Request\n"
            ));
        }
    }
    let coding = text(header::CONTENT_ENCODING);
    if coding.is_empty() || coding.eq_ignore_ascii_case("snappy") {
        return Ok(());
    }
    unsupported(format!("{coding} encoding (compression) is not accepted by this server; only snappy is acceptable\n"))
}

/// Stores a body and answers its sender.
pub(super) fn store(receiver: &WriteReceiver, body: &[u8], log: &RefusalLog) -> Response {
    match receiver.write(body) {
        Ok(summary) => {
            if summary.series_invalid > 0 {
                log.warn("Invalid metric names or labels", summary.series_invalid);
            }
            Response::no_content()
        }
        Err(error) => {
            log.error(message(&error), &error);
            Response::refusal(error.status(), format!("{error}\n"))
        }
    }
}

/// What the log calls an error; the words are upstream's.
fn message(error: &WriteError) -> &'static str {
    match error {
        WriteError::TooLarge { .. } | WriteError::Snappy(_) => "Error decompressing remote write request",
        WriteError::Message(_) => "Error decoding v1 remote write request",
        WriteError::Sample { .. } | WriteError::Future { .. } => "Out of order sample from remote write",
        WriteError::Storage(_) | WriteError::Commit(_) => "Error while remote writing the v1 request",
    }
}

/// Says in the log what was refused, each message once a minute.
#[derive(Default)]
pub(super) struct RefusalLog(Mutex<BTreeMap<&'static str, Said>>);

/// When a message was written last, and how often it was not since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Said {
    at: Instant,
    left_out: u64,
}

impl RefusalLog {
    fn error(&self, message: &'static str, error: &WriteError) {
        let Some(left_out) = self.judge(message, Instant::now()) else { return };
        match error {
            WriteError::Sample { series, at, .. } | WriteError::Future { series, at } => {
                let timestamp = at.as_millis();
                tracing::error!(component = "web", err = %error, %series, timestamp, left_out, "{message}");
            }
            _ => tracing::error!(component = "web", err = %error, left_out, "{message}"),
        }
    }

    /// Says what the headers of a request or the length of its body were refused for.
    pub(super) fn refused(&self, refusal: &Response) {
        let message = "Error decoding remote write request";
        let crate::api::Body::Whole(text) = &refusal.body else { return };
        if let Some(left_out) = self.judge(message, Instant::now()) {
            let text = String::from_utf8_lossy(text);
            tracing::error!(component = "web", err = text.trim_end(), left_out, "{message}");
        }
    }

    fn warn(&self, message: &'static str, series: usize) {
        if let Some(left_out) = self.judge(message, Instant::now()) {
            tracing::warn!(component = "web", series, left_out, "{message}");
        }
    }

    /// How many messages of this kind were left out since the last that was written; `None` if this one is left out too.
    fn judge(&self, message: &'static str, now: Instant) -> Option<u64> {
        let mut said = self.0.lock();
        match said.get_mut(message) {
            Some(last) if now.saturating_duration_since(last.at) < QUIET => {
                last.left_out += 1;
                None
            }
            last => {
                let left_out = last.map_or(0, |last| last.left_out);
                said.insert(message, Said { at: now, left_out: 0 });
                Some(left_out)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_repeats_is_said_once_a_minute() {
        let log = RefusalLog::default();
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        assert_eq!(log.judge("a", at(0)), Some(0));
        assert_eq!(log.judge("a", at(1)), None);
        assert_eq!(log.judge("b", at(1)), Some(0), "another reason is said at once");
        assert_eq!(log.judge("a", at(59)), None);
        assert_eq!(log.judge("a", at(60)), Some(2));
        assert_eq!(log.judge("a", at(120)), Some(0));
    }

    #[test]
    fn a_content_type_must_be_that_of_remote_write_one() {
        let judge = |content_type: &'static str| {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))]);
            check_headers(&headers).map_err(|refusal| String::from_utf8(refusal.body.collect().to_vec()))
        };
        for fine in [
            "",
            "application/x-protobuf",
            "application/x-protobuf;=",
            "application/x-protobuf;a=b; proto=prometheus.WriteRequest",
            "application/x-protobuf;proto=prometheus.WriteRequest;rest",
        ] {
            assert_eq!(judge(fine), Ok(()), "{fine}");
        }
        for (wrong, part) in [
            ("application/x-protobuf;;", ""),
            ("application/x-protobuf;foo", "foo"),
            ("application/x-protobuf;a=b=c", "a=b=c"),
        ] {
            let text = format!(
                "as per https://www.rfc-editor.org/rfc/rfc9110#parameter expected parameters to be key-values, \
                 got {part} in {wrong} content-type\n"
            );
            assert_eq!(judge(wrong), Err(Ok(text)));
        }
        let text = "expected application/x-protobuf as the first (media) part, got ct;;=; content-type\n";
        assert_eq!(judge("ct;;=;"), Err(Ok(text.to_owned())));
        assert!(judge("application/x-protobuf;proto=io.prometheus.write.v2.Request").is_err());
    }
}
