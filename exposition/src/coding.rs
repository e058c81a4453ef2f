//! How is an answer packed?
//!
//! The scraper lists what it unpacks in `Accept-Encoding` ([`Coding::ACCEPTED`]); the target picks from the list what this
//! build can pack, and names it in `Content-Encoding`, by which the scraper unpacks the answer.

use thiserror::Error;

/// A content coding.
///
/// ```
/// use ferula_exposition::negotiate::Coding;
///
/// let coding = Coding::from_accept(Some("gzip;q=0.5, identity;q=0.1"));
/// # #[cfg(feature = "gzip")]
/// assert_eq!(coding, Coding::Gzip);
/// let body = b"up 1\n".repeat(1000);
/// let packed = coding.pack(body.clone());
/// # #[cfg(feature = "gzip")]
/// assert!(packed.len() < body.len() / 10);
/// assert_eq!(Coding::from_accept(None), Coding::Identity);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coding {
    /// Not packed.
    #[default]
    Identity,
    /// `gzip`, with the feature `gzip`; what Prometheus asks for.
    Gzip,
    /// `zstd`, with the feature `zstd`.
    Zstd,
}

impl Coding {
    /// Picks from an `Accept-Encoding` header what the scraper prefers among what this build packs; among equals the first
    /// one listed. Without a header, or with nothing in it that is known, [`Identity`](Self::Identity).
    pub fn from_accept(accept_encoding: Option<&str>) -> Self {
        let entries = accept_encoding.unwrap_or_default().split(',');
        let weighted = entries.filter_map(|entry| {
            let mut parts = entry.split(';').map(str::trim);
            let coding = Self::from_word(parts.next()?)?;
            let weight = parts.find_map(|part| part.strip_prefix("q=")).and_then(|q| q.parse().ok());
            Some((coding, weight.unwrap_or(1.0)))
        });
        let mut best = (Self::Identity, 0.0);
        for (coding, weight) in weighted {
            if weight > best.1 {
                best = (coding, weight);
            }
        }
        best.0
    }

    /// What this build unpacks, for the `Accept-Encoding` of a scraper of one's own. Prometheus asks for `gzip` alone, and so
    /// does `ferula-scrape`.
    pub const ACCEPTED: &str = match (cfg!(feature = "zstd"), cfg!(feature = "gzip")) {
        (true, true) => "zstd, gzip",
        (true, false) => "zstd",
        (false, true) => "gzip",
        (false, false) => "identity",
    };

    /// The coding that a `Content-Encoding` header names; `None` if this build does not know it.
    pub fn from_response(content_encoding: Option<&str>) -> Option<Self> {
        match content_encoding.map(str::trim).unwrap_or_default() {
            "" => Some(Self::Identity),
            "*" => None,
            word => Self::from_word(word),
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        let known = match () {
            () if word.eq_ignore_ascii_case("identity") => Self::Identity,
            () if word.eq_ignore_ascii_case("gzip") || word == "*" => Self::Gzip,
            () if word.eq_ignore_ascii_case("zstd") => Self::Zstd,
            () => return None,
        };
        known.is_built().then_some(known)
    }

    fn is_built(self) -> bool {
        match self {
            Self::Identity => true,
            Self::Gzip => cfg!(feature = "gzip"),
            Self::Zstd => cfg!(feature = "zstd"),
        }
    }

    /// The value of `Content-Encoding`; `None` where the header is left out.
    pub fn content_encoding(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }

    /// Packs a body, fast rather than small: metrics are mostly repetition. A coding that this build lacks leaves it as it
    /// is; [`from_accept`](Self::from_accept) never picks one.
    pub fn pack(self, body: Vec<u8>) -> Vec<u8> {
        match self {
            #[cfg(feature = "gzip")]
            Self::Gzip => {
                use std::io::Write;
                let out = Vec::with_capacity(body.len() / 8);
                let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::fast());
                // Writing into memory never errs.
                let _ = encoder.write_all(&body);
                encoder.finish().unwrap_or_default()
            }
            #[cfg(feature = "zstd")]
            // Packing from memory into memory never errs.
            Self::Zstd => zstd::encode_all(body.as_slice(), 1).unwrap_or_default(),
            _ => body,
        }
    }

    /// Unpacks a body, which may be many times as large; `bytes_max` is the most that it may have.
    ///
    /// ```
    /// use ferula_exposition::negotiate::{Coding, UnpackError};
    ///
    /// let packed = Coding::Gzip.pack(b"up 1\n".repeat(1000));
    /// # #[cfg(feature = "gzip")]
    /// assert_eq!(Coding::Gzip.unpack(&packed, 5000)?.len(), 5000);
    /// # #[cfg(feature = "gzip")]
    /// assert_eq!(Coding::Gzip.unpack(&packed, 4999), Err(UnpackError::TooLarge { bytes_max: 4999 }));
    /// # Ok::<(), UnpackError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The body is damaged or too large, or the coding is none of this build.
    pub fn unpack(self, packed: &[u8], bytes_max: usize) -> Result<Vec<u8>, UnpackError> {
        match self {
            Self::Identity if packed.len() > bytes_max => Err(UnpackError::TooLarge { bytes_max }),
            Self::Identity => Ok(packed.to_vec()),
            #[cfg(feature = "gzip")]
            Self::Gzip => read_all(flate2::read::MultiGzDecoder::new(packed), bytes_max),
            #[cfg(feature = "zstd")]
            Self::Zstd => read_all(zstd::Decoder::with_buffer(packed).map_err(damage)?, bytes_max),
            #[allow(unreachable_patterns, reason = "with all features there is nothing else")]
            _ => Err(UnpackError::NotBuilt),
        }
    }
}

/// Why a body cannot be unpacked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// There is more in it than it may have.
    #[error("the unpacked body is larger than {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// It is not of this coding, or not whole.
    #[error("the packed body is damaged: {0}")]
    Damaged(String),
    /// The crate was built without this coding.
    #[error("this build does not know the coding")]
    NotBuilt,
}

#[cfg(any(feature = "gzip", feature = "zstd"))]
fn damage(error: std::io::Error) -> UnpackError {
    UnpackError::Damaged(error.to_string())
}

#[cfg(any(feature = "gzip", feature = "zstd"))]
fn read_all(from: impl std::io::Read, bytes_max: usize) -> Result<Vec<u8>, UnpackError> {
    use std::io::Read;
    let mut body = Vec::new();
    from.take((bytes_max as u64).saturating_add(1)).read_to_end(&mut body).map_err(damage)?;
    if body.len() > bytes_max { Err(UnpackError::TooLarge { bytes_max }) } else { Ok(body) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "gzip")]
    fn what_the_scraper_prefers_is_picked_from_what_is_built() {
        for (accept, coding) in [
            ("gzip", Coding::Gzip),
            ("GZIP ; q=0.3", Coding::Gzip),
            ("br, gzip;q=0.8", Coding::Gzip),
            ("identity, gzip", Coding::Identity),
            ("identity;q=0.1, gzip;q=0.2", Coding::Gzip),
            ("gzip;q=0", Coding::Identity),
            ("br", Coding::Identity),
            ("*", Coding::Gzip),
            ("", Coding::Identity),
        ] {
            assert_eq!(Coding::from_accept(Some(accept)), coding, "{accept}");
        }
    }

    #[cfg(any(feature = "gzip", feature = "zstd"))]
    fn come_back(coding: Coding) {
        let body = b"a_metric{label=\"value\"} 1\n".repeat(10_000);
        let packed = coding.pack(body.clone());
        assert!(packed.len() < body.len() / 10);
        assert_eq!(coding.unpack(&packed, body.len()).unwrap(), body);
        assert_eq!(coding.unpack(&packed, 100), Err(UnpackError::TooLarge { bytes_max: 100 }));
        assert!(matches!(coding.unpack(&packed[..packed.len() - 1], body.len()), Err(UnpackError::Damaged(_))));
        assert!(matches!(coding.unpack(b"up 1", 100), Err(UnpackError::Damaged(_))));
        assert_eq!(Coding::from_response(coding.content_encoding()), Some(coding));
    }

    #[test]
    #[cfg(feature = "gzip")]
    fn gzip_comes_back() {
        come_back(Coding::Gzip);
    }

    #[test]
    #[cfg(feature = "zstd")]
    fn zstd_comes_back() {
        come_back(Coding::Zstd);
        assert_eq!(Coding::from_accept(Some("zstd, gzip")), Coding::Zstd);
        // A raw block of three bytes, the last one, in a frame that does not name its size (RFC 8878).
        let frame = b"\x28\xb5\x2f\xfd\x00\x58\x19\x00\x00abc";
        assert_eq!(Coding::Zstd.unpack(frame, 10).unwrap(), b"abc");
    }

    #[test]
    fn what_is_not_packed_stays() {
        assert_eq!(Coding::Identity.unpack(b"up 1", 4).unwrap(), b"up 1");
        assert_eq!(Coding::from_response(None), Some(Coding::Identity));
        assert_eq!(Coding::from_response(Some("br")), None);
    }
}
