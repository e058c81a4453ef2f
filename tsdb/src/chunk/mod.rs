//! Chunks: how do samples of one series become a few bits each, and how do they come back?
//!
//! A chunk is a run of samples of one series and one kind, at most a few hundred of them. Going in, an appender
//! ([`xor::XorAppender`], [`xor2::Xor2Appender`], [`histogram::HistogramAppender`]) encodes sample after sample into a
//! growing buffer; coming out, [`decode`] turns all samples of a time range into [`Columns`] at once. [`encode()`] is the
//! bulk way in, for data that is complete already.
//!
//! The encodings are Prometheus' own (`spec`: section 3.5 of the census of 3.14), bit for bit. Bytes that were cut or
//! damaged answer a [`ChunkError`], never a panic.
//!
//! Read in this order: [`bits`], [`xor`], [`histogram`].

pub mod bits;
mod encode;
pub mod histogram;
mod starts;
pub mod xor;
pub mod xor2;

use ferula_model::{Columns, TimeRange};
use thiserror::Error;

pub(crate) use encode::header_after;
pub use encode::{EncodedChunk, FloatEncoding, encode};
pub(crate) use starts::{Starts, push_start};

/// How the samples of a chunk are encoded. The numbers are those on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ChunkEncoding {
    /// Floats; Gorilla's xor with Prometheus' bit widths.
    Xor = 1,
    /// Native histograms with integer counts.
    Histogram = 2,
    /// Native histograms with float counts.
    FloatHistogram = 3,
    /// Floats, with start timestamps and cheap stale markers.
    Xor2 = 4,
    /// Native histograms with integer counts and start timestamps. Upstream (3.14, behind `histograms-st-encoding`) calls
    /// the format unstable.
    HistogramWithStarts = 5,
    /// Native histograms with float counts and start timestamps; as unstable.
    FloatHistogramWithStarts = 6,
}

impl ChunkEncoding {
    /// The encoding with this number.
    ///
    /// # Errors
    ///
    /// [`ChunkError::UnknownEncoding`].
    pub fn from_byte(byte: u8) -> Result<Self, ChunkError> {
        match byte {
            1 => Ok(Self::Xor),
            2 => Ok(Self::Histogram),
            3 => Ok(Self::FloatHistogram),
            4 => Ok(Self::Xor2),
            5 => Ok(Self::HistogramWithStarts),
            6 => Ok(Self::FloatHistogramWithStarts),
            other => Err(ChunkError::UnknownEncoding(other)),
        }
    }

    /// The number on disk.
    pub fn byte(self) -> u8 {
        self as u8
    }

    /// Whether the samples are floats.
    pub fn is_float(self) -> bool {
        matches!(self, Self::Xor | Self::Xor2)
    }

    /// Whether the samples have start timestamps, or could have.
    pub fn has_starts(self) -> bool {
        matches!(self, Self::Xor2 | Self::HistogramWithStarts | Self::FloatHistogramWithStarts)
    }
}

/// Why bytes are not a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// The bytes end inside a sample.
    #[error("chunk ends inside a sample")]
    Truncated,
    /// The bytes contradict themselves.
    #[error("malformed chunk: {0}")]
    Malformed(&'static str),
    /// No decoder for this encoding.
    #[error("unknown chunk encoding {0}")]
    UnknownEncoding(u8),
}

/// Appends the samples of a chunk that lie in `range` to `columns`.
///
/// Nothing that is in `columns` already is touched, and times are not compared with it: chunks of one series are
/// decoded in order. The times of the chunk itself rise strictly, or it is malformed.
///
/// ```
/// use ferula_model::{Columns, TimeRange};
/// use ferula_tsdb::chunk::{self, xor::XorAppender};
///
/// let (mut bytes, mut appender) = (Vec::new(), XorAppender::default());
/// for i in 0..100 {
///     appender.append(&mut bytes, 1_700_000_000_000 + i * 15_000, i as f64);
/// }
/// let mut columns = Columns::default();
/// chunk::decode(chunk::ChunkEncoding::Xor, &bytes, TimeRange::ALL, &mut columns)?;
/// assert_eq!(columns.times.len(), 100);
/// assert_eq!(columns.values[99], 99.0);
/// # Ok::<(), chunk::ChunkError>(())
/// ```
///
/// # Errors
///
/// See [`ChunkError`]; `columns` then holds the samples before the damage.
pub fn decode(
    encoding: ChunkEncoding,
    bytes: &[u8],
    range: TimeRange,
    columns: &mut Columns,
) -> Result<(), ChunkError> {
    match encoding {
        ChunkEncoding::Xor => xor::decode(bytes, range, columns),
        ChunkEncoding::Xor2 => xor2::decode(bytes, range, columns),
        ChunkEncoding::Histogram | ChunkEncoding::HistogramWithStarts => {
            histogram::decode_integer(bytes, encoding.has_starts(), range, columns)
        }
        ChunkEncoding::FloatHistogram | ChunkEncoding::FloatHistogramWithStarts => {
            histogram::decode_float(bytes, encoding.has_starts(), range, columns)
        }
    }
}

/// How many samples a chunk says it has; every encoding begins with it.
///
/// # Errors
///
/// [`ChunkError::Truncated`].
pub fn sample_count(encoding: ChunkEncoding, bytes: &[u8]) -> Result<usize, ChunkError> {
    let said = bytes.first_chunk::<2>().map(|count| u16::from_be_bytes(*count)).ok_or(ChunkError::Truncated)?;
    let is_flagged = encoding.has_starts() && !encoding.is_float();
    Ok(usize::from(if is_flagged { said & histogram::COUNT } else { said }))
}

/// How many samples an open chunk of floats has.
#[inline]
pub(crate) fn count(bytes: &[u8]) -> usize {
    bytes.first_chunk::<2>().map_or(0, |count| usize::from(u16::from_be_bytes(*count)))
}

/// Counts one more sample in the header of a chunk.
fn count_up(bytes: &mut [u8]) -> u16 {
    let Some(header) = bytes.first_chunk_mut::<2>() else { return 0 };
    let count = u16::from_be_bytes(*header).wrapping_add(1);
    *header = count.to_be_bytes();
    count
}
