//! How is an answer packed?
//!
//! The scraper lists what it unpacks in `Accept-Encoding`; the target picks from the list what this build can pack.

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

    #[test]
    #[cfg(feature = "gzip")]
    fn a_packed_body_is_unpacked_to_the_same() {
        use std::io::Read;
        let body = b"a_metric{label=\"value\"} 1\n".repeat(100);
        let packed = Coding::Gzip.pack(body.clone());
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, body);
    }

    #[test]
    #[cfg(feature = "zstd")]
    fn a_body_packed_with_zstd_is_unpacked_to_the_same() {
        let body = b"a_metric{label=\"value\"} 1\n".repeat(100);
        assert_eq!(Coding::from_accept(Some("zstd, gzip")), Coding::Zstd);
        assert_eq!(zstd::decode_all(Coding::Zstd.pack(body.clone()).as_slice()).unwrap(), body);
    }
}
