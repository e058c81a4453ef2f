//! Histogram chunks (encodings 2 and 3): native histograms of one layout, number by number.
//!
//! ```text
//! u16 count | u8 reset flags | layout | first sample | (sample relative to the one before)*
//! layout: zero threshold | varbit schema | positive spans | negative spans | [custom bounds]
//! ```
//!
//! All histograms of a chunk share one layout: schema, zero threshold, bounds and the buckets that are there. A sample
//! with new buckets widens the layout, so the chunk is encoded again; a sample without some of them is widened itself; a
//! counter reset or another schema needs a new chunk. [`HistogramAppender::fit`] decides this without side effects, and
//! [`HistogramAppender`] carries it out.
//!
//! `integer` and `float` hold the two number codecs, `layout` what they share.

mod fit;
mod float;
mod integer;
mod layout;

use ferula_model::{Columns, CounterResetHint, Histogram, TimeRange, is_stale};

pub use fit::{Fit, ResetHeader};
pub use layout::Layout;

use super::{ChunkEncoding, ChunkError};
use float::FloatEncoder;
use integer::IntegerEncoder;

/// An open histogram chunk: its bytes and what must be known to append one more sample.
#[derive(Clone, Debug)]
pub struct HistogramAppender {
    reset: ResetHeader,
    codec: Codec,
}

#[derive(Clone, Debug)]
enum Codec {
    Integer(IntegerEncoder),
    Float(FloatEncoder),
}

impl HistogramAppender {
    /// Begins a chunk with its first sample. `reset` is what [`fit`](Self::fit) of the chunk before said, or
    /// [`ResetHeader::of_first`] if there is none before.
    pub fn begin(reset: ResetHeader, time: i64, histogram: &Histogram) -> Self {
        let codec = match histogram {
            Histogram::Integer(h) => Codec::Integer(IntegerEncoder::begin(reset, time, h)),
            Histogram::Float(h) => Codec::Float(FloatEncoder::begin(reset, time, h)),
        };
        Self { reset, codec }
    }

    /// Whether a sample can join this chunk. Pure.
    pub fn fit(&self, histogram: &Histogram) -> Fit {
        match (&self.codec, histogram) {
            (Codec::Integer(chunk), Histogram::Integer(h)) => chunk.fit(self.reset, h),
            (Codec::Float(chunk), Histogram::Float(h)) => chunk.fit(self.reset, h),
            _ => Fit::Cut(ResetHeader::of_first(histogram)),
        }
    }

    /// Appends a sample of which [`fit`](Self::fit) said [`Fit::Append`]. `time` rises.
    ///
    /// # Errors
    ///
    /// What `fit` says now if it is not `Append`; the chunk is unchanged.
    pub fn append(&mut self, time: i64, histogram: &Histogram) -> Result<(), Fit> {
        let Fit::Append(layout) = self.fit(histogram) else { return Err(self.fit(histogram)) };
        match (&mut self.codec, histogram) {
            (Codec::Integer(chunk), Histogram::Integer(h)) => chunk.append(self.reset, time, h, layout),
            (Codec::Float(chunk), Histogram::Float(h)) => chunk.append(self.reset, time, h, layout),
            _ => return Err(self.fit(histogram)),
        }
        Ok(())
    }

    /// How the bytes are encoded.
    pub fn encoding(&self) -> ChunkEncoding {
        match self.codec {
            Codec::Integer(_) => ChunkEncoding::Histogram,
            Codec::Float(_) => ChunkEncoding::FloatHistogram,
        }
    }

    /// The chunk as it stands.
    pub fn bytes(&self) -> &[u8] {
        match &self.codec {
            Codec::Integer(chunk) => chunk.bytes(),
            Codec::Float(chunk) => chunk.bytes(),
        }
    }

    /// Gives the bytes away.
    pub fn into_bytes(self) -> Vec<u8> {
        match self.codec {
            Codec::Integer(chunk) => chunk.into_bytes(),
            Codec::Float(chunk) => chunk.into_bytes(),
        }
    }

    /// The bytes that this open chunk occupies, with its state.
    pub fn heap_bytes(&self) -> usize {
        match &self.codec {
            Codec::Integer(chunk) => chunk.heap_bytes(),
            Codec::Float(chunk) => chunk.heap_bytes(),
        }
    }
}

/// Appends the samples of an integer histogram chunk that lie in `range` to `columns`.
///
/// # Errors
///
/// See [`ChunkError`].
pub fn decode_integer(bytes: &[u8], range: TimeRange, columns: &mut Columns) -> Result<(), ChunkError> {
    integer::decode(bytes, |time, histogram| push(columns, range, time, histogram))
}

/// Appends the samples of a float histogram chunk that lie in `range` to `columns`.
///
/// # Errors
///
/// See [`ChunkError`].
pub fn decode_float(bytes: &[u8], range: TimeRange, columns: &mut Columns) -> Result<(), ChunkError> {
    float::decode(bytes, |time, histogram| push(columns, range, time, histogram))
}

/// The reset flags of a histogram chunk of either form.
///
/// # Errors
///
/// [`ChunkError::Truncated`].
pub fn reset_header(bytes: &[u8]) -> Result<ResetHeader, ChunkError> {
    bytes.get(2).map(|&byte| ResetHeader::from_byte(byte)).ok_or(ChunkError::Truncated)
}

fn push<H: Into<Histogram>>(columns: &mut Columns, range: TimeRange, time: i64, histogram: H) -> bool {
    if time > range.max.as_millis() {
        return false;
    }
    if time >= range.min.as_millis() {
        columns.histogram_times.push(time);
        columns.histograms.push(histogram.into());
        if !columns.histogram_starts.is_empty() {
            columns.histogram_starts.resize(columns.histogram_times.len(), 0);
        }
    }
    true
}

/// The hint of the sample at `index` of a chunk with these flags. That a chunk begins without a reset says nothing to a
/// reader who may not have the chunk before it.
fn hint_at(reset: ResetHeader, index: u64) -> CounterResetHint {
    match reset {
        ResetHeader::Gauge => CounterResetHint::Gauge,
        _ if index > 0 => CounterResetHint::NotReset,
        ResetHeader::Reset => CounterResetHint::Reset,
        _ => CounterResetHint::Unknown,
    }
}

fn stale(histogram_sum: f64) -> bool {
    is_stale(histogram_sum)
}

#[cfg(test)]
mod tests;
