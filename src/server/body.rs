//! Bodies of answers: whole or in pieces, plain or compressed on the way.

use std::convert::Infallible;
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http_body::{Frame, SizeHint};

use crate::api::Body;

/// The body of an answer, as hyper sends it.
pub struct ResponseBody(Content);

enum Content {
    Whole(Bytes),
    Pieces(Box<dyn Iterator<Item = Bytes> + Send>),
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Plain,
    Gzip,
    Deflate,
}

impl Coding {
    /// What a client accepts: the first of `gzip` and `deflate` that stands in the list as it is. Weights are not
    /// understood, as upstream does not.
    pub(super) fn accepted(header: &str) -> Self {
        header
            .split(',')
            .find_map(|token| match token.trim() {
                "gzip" => Some(Coding::Gzip),
                "deflate" => Some(Coding::Deflate),
                _ => None,
            })
            .unwrap_or(Coding::Plain)
    }

    /// The value of `Content-Encoding`.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Coding::Plain => None,
            Coding::Gzip => Some("gzip"),
            Coding::Deflate => Some("deflate"),
        }
    }
}

impl ResponseBody {
    pub(super) fn new(body: Body, coding: Coding) -> Self {
        let pieces = match (body, coding) {
            (Body::Whole(bytes), Coding::Plain) => return Self(Content::Whole(bytes)),
            (Body::Pieces(pieces), Coding::Plain) => return Self(Content::Pieces(pieces)),
            (Body::Whole(bytes), _) => Box::new(std::iter::once(bytes)),
            (Body::Pieces(pieces), _) => pieces,
        };
        Self(Content::Pieces(match coding {
            Coding::Gzip => Box::new(Compressed::new(pieces, GzEncoder::new(Vec::new(), Compression::fast()))),
            _ => Box::new(Compressed::new(pieces, ZlibEncoder::new(Vec::new(), Compression::fast()))),
        }))
    }
}

impl From<Bytes> for ResponseBody {
    fn from(bytes: Bytes) -> Self {
        Self(Content::Whole(bytes))
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match &mut self.get_mut().0 {
            Content::Whole(bytes) => Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty()),
            Content::Pieces(pieces) => pieces.next(),
        };
        Poll::Ready(piece.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Content::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Pieces(_) => SizeHint::default(),
        }
    }
}

/// An encoder whose output can be taken away piece by piece.
trait PieceEncoder: Write {
    fn written(&mut self) -> &mut Vec<u8>;
    fn finished(self) -> std::io::Result<Vec<u8>>;
}

impl PieceEncoder for GzEncoder<Vec<u8>> {
    fn written(&mut self) -> &mut Vec<u8> {
        self.get_mut()
    }

    fn finished(self) -> std::io::Result<Vec<u8>> {
        self.finish()
    }
}

impl PieceEncoder for ZlibEncoder<Vec<u8>> {
    fn written(&mut self) -> &mut Vec<u8> {
        self.get_mut()
    }

    fn finished(self) -> std::io::Result<Vec<u8>> {
        self.finish()
    }
}

struct Compressed<E> {
    pieces: Box<dyn Iterator<Item = Bytes> + Send>,
    encoder: Option<E>,
}

impl<E: PieceEncoder> Compressed<E> {
    fn new(pieces: Box<dyn Iterator<Item = Bytes> + Send>, encoder: E) -> Self {
        Self { pieces, encoder: Some(encoder) }
    }
}

impl<E: PieceEncoder> Iterator for Compressed<E> {
    type Item = Bytes;

    /// Encoders over a `Vec` take everything; if one did not, the body would end early and the client would notice.
    fn next(&mut self) -> Option<Bytes> {
        loop {
            let encoder = self.encoder.as_mut()?;
            match self.pieces.next() {
                Some(piece) => encoder.write_all(&piece).ok()?,
                None => return self.encoder.take()?.finished().ok().map(Bytes::from),
            }
            if !encoder.written().is_empty() {
                return Some(std::mem::take(encoder.written()).into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use http_body_util::BodyExt;

    use super::*;

    #[test]
    fn the_first_known_coding_counts() {
        assert_eq!(Coding::accepted("br, deflate, gzip"), Coding::Deflate);
        assert_eq!(Coding::accepted("gzip;q=1"), Coding::Plain);
    }

    #[tokio::test]
    async fn pieces_come_out_of_gzip_as_they_went_in() {
        let pieces: Vec<Bytes> = (0..100).map(|i| Bytes::from(format!("piece {i};").repeat(500))).collect();
        let body = ResponseBody::new(Body::Pieces(Box::new(pieces.clone().into_iter())), Coding::Gzip);
        let sent = body.collect().await.unwrap().to_bytes();
        let mut read = Vec::new();
        flate2::read::GzDecoder::new(&*sent).read_to_end(&mut read).unwrap();
        assert_eq!(read, pieces.concat());
    }
}
