//! What a client gets: the envelope around every answer.
//!
//! `{"status":"success","data":...}` or `{"status":"error","errorType":"...","error":"..."}`.

use std::borrow::Cow;

use bytes::Bytes;
use http::StatusCode;

use super::answer::annotations;
use super::error::ApiError;
use super::json;

/// An answer, not bound to any socket.
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The media type of the body; `None` without a body.
    pub content_type: Option<Cow<'static, str>>,
    /// The body.
    pub body: Body,
    /// Further headers: names in lower case, and values.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
}

/// The body of an answer: all at once, or piece by piece.
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// Pieces of some 64 KiB, made when they are asked for.
    Pieces(Box<dyn Iterator<Item = Bytes> + Send>),
}

impl Body {
    /// The whole body in one.
    ///
    /// ```
    /// use ferula::api::Body;
    ///
    /// let pieces = ["a", "b"].map(bytes::Bytes::from_static_str);
    /// # trait S { fn from_static_str(text: &'static str) -> bytes::Bytes; }
    /// # impl S for bytes::Bytes { fn from_static_str(text: &'static str) -> bytes::Bytes { bytes::Bytes::from_static(text.as_bytes()) } }
    /// assert_eq!(Body::Pieces(Box::new(pieces.into_iter())).collect(), "ab");
    /// ```
    pub fn collect(self) -> Bytes {
        match self {
            Body::Whole(bytes) => bytes,
            Body::Pieces(pieces) => {
                let mut all = Vec::new();
                pieces.for_each(|piece| all.extend_from_slice(&piece));
                all.into()
            }
        }
    }
}

/// Writes the envelope around a list, and the list in pieces; each item is freed once it is written.
struct ListPieces<T, W> {
    items: std::vec::IntoIter<T>,
    write: W,
    any: bool,
    piece: Vec<u8>,
    tail: Vec<u8>,
}

impl<T, W: FnMut(&mut Vec<u8>, &T)> ListPieces<T, W> {
    fn new(items: Vec<T>, write: W, warnings: &[String]) -> Self {
        let mut tail = b"]".to_vec();
        annotations(&mut tail, warnings, &[]);
        tail.push(b'}');
        Self {
            items: items.into_iter(),
            write,
            any: false,
            piece: b"{\"status\":\"success\",\"data\":[".to_vec(),
            tail,
        }
    }
}

impl<T, W: FnMut(&mut Vec<u8>, &T)> Iterator for ListPieces<T, W> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.tail.is_empty() {
            return None;
        }
        while self.piece.len() < PIECE_BYTES {
            let Some(item) = self.items.next() else {
                self.piece.append(&mut self.tail);
                break;
            };
            if std::mem::replace(&mut self.any, true) {
                self.piece.push(b',');
            }
            (self.write)(&mut self.piece, &item);
        }
        Some(next_piece(&mut self.piece))
    }
}

/// Takes a piece that is full and makes room for the next one, which will be as large.
pub(super) fn next_piece(piece: &mut Vec<u8>) -> Bytes {
    let room = if piece.len() < PIECE_BYTES { 0 } else { piece.capacity() };
    std::mem::replace(piece, Vec::with_capacity(room)).into()
}

/// A piece is handed over when it has grown to this size.
pub(super) const PIECE_BYTES: usize = 64 << 10;

const JSON: Cow<'static, str> = Cow::Borrowed("application/json");

impl Response {
    /// `data` (JSON) in the envelope of a success.
    pub(crate) fn data(data: &[u8]) -> Self {
        Self::written(data.len(), |out| out.extend_from_slice(data))
    }

    /// What `write` writes (JSON, of some `bytes` bytes) in the envelope of a success.
    pub(crate) fn written(bytes: usize, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut out = Vec::with_capacity(bytes + 64);
        out.extend_from_slice(b"{\"status\":\"success\",\"data\":");
        write(&mut out);
        out.push(b'}');
        Self { status: StatusCode::OK, content_type: Some(JSON), body: Body::Whole(out.into()), headers: Vec::new() }
    }

    /// A success whose JSON comes in pieces. The first ones are made at once: most answers are one, and need not be sent
    /// in several.
    pub(crate) fn pieces(mut pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Self {
        let first = pieces.next().unwrap_or_default();
        let body = match pieces.next() {
            None => Body::Whole(first),
            Some(second) => Body::Pieces(Box::new([first, second].into_iter().chain(pieces))),
        };
        Self { status: StatusCode::OK, content_type: Some(JSON), body, headers: Vec::new() }
    }

    /// A success whose data is a list, in pieces. `write` writes an item.
    pub(crate) fn list<T: Send + 'static>(
        items: Vec<T>,
        write: impl FnMut(&mut Vec<u8>, &T) + Send + 'static,
        warnings: &[String],
    ) -> Self {
        Self::pieces(ListPieces::new(items, write, warnings))
    }

    /// A success without anything to say: 204.
    pub(crate) fn no_content() -> Self {
        Self::empty(StatusCode::NO_CONTENT)
    }

    /// An error in its envelope.
    pub(crate) fn error(error: &ApiError) -> Self {
        let mut out =
            format!("{{\"status\":\"error\",\"errorType\":\"{}\",\"error\":", error.kind.as_str()).into_bytes();
        json::string(&mut out, &error.message);
        out.push(b'}');
        Self {
            status: error.kind.status(),
            content_type: Some(JSON),
            body: Body::Whole(out.into()),
            headers: Vec::new(),
        }
    }

    /// The same answer with one more header.
    pub(crate) fn with_header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// A status and nothing else.
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self { status, content_type: None, body: Body::Whole(Bytes::new()), headers: Vec::new() }
    }

    /// A path that does not exist: plain text, as Go's router answers.
    pub(crate) fn not_found() -> Self {
        Self::refusal(StatusCode::NOT_FOUND, "404 page not found\n")
    }

    /// A path that exists, but only for the methods in `allow`.
    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        Self::refusal(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n").with_header("allow", allow)
    }

    /// Plain text that says what is wrong, with the header that Go's `http.Error` sets.
    pub(crate) fn refusal(status: StatusCode, text: impl Into<Bytes>) -> Self {
        Self::text(status, text).with_header("x-content-type-options", "nosniff")
    }

    /// Plain text.
    pub(crate) fn text(status: StatusCode, text: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type: Some(Cow::Borrowed("text/plain; charset=utf-8")),
            body: Body::Whole(text.into()),
            headers: Vec::new(),
        }
    }

    /// A page of HTML.
    pub(crate) fn page(html: String) -> Self {
        Self { content_type: Some(Cow::Borrowed("text/html; charset=utf-8")), ..Self::text(StatusCode::OK, html) }
    }

    /// Metrics in the format that was negotiated.
    pub(crate) fn exposition(content_type: String, body: Vec<u8>) -> Self {
        Self {
            status: StatusCode::OK,
            content_type: Some(content_type.into()),
            body: Body::Whole(body.into()),
            headers: Vec::new(),
        }
    }
}
