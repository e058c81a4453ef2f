//! Histogram chunks (encodings 2 and 3; 5 and 6 with start timestamps): native histograms of one layout, number by number.
//!
//! ```text
//! 2, 3: u16 count                        | u8 reset flags | layout | first sample | (sample relative to the one before)*
//! 5, 6: 2 bits reset flags, 14 bits count | u8 starts      | layout | first sample, [start] | (sample, [start])*
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

use super::bits::BitReader;
use super::starts::{HEADER, Starts, push_start};

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
        Self::begin_at(reset, Stamp { time, start: None }, histogram)
    }

    /// As [`begin`](Self::begin), in an encoding with start timestamps. `start` is in milliseconds, 0 for none.
    pub fn begin_with_start(reset: ResetHeader, time: i64, start: i64, histogram: &Histogram) -> Self {
        Self::begin_at(reset, Stamp { time, start: Some(start) }, histogram)
    }

    fn begin_at(reset: ResetHeader, at: Stamp, histogram: &Histogram) -> Self {
        let codec = match histogram {
            Histogram::Integer(h) => Codec::Integer(IntegerEncoder::begin(reset, at, h)),
            Histogram::Float(h) => Codec::Float(FloatEncoder::begin(reset, at, h)),
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

    /// Whether a sample with this start (0 for none) can join this chunk, whatever its buckets.
    pub fn admits(&self, start: i64) -> bool {
        match &self.codec {
            Codec::Integer(chunk) => chunk.admits(start),
            Codec::Float(chunk) => chunk.admits(start),
        }
    }

    /// Appends a sample of which [`fit`](Self::fit) said [`Fit::Append`]. `time` rises.
    ///
    /// # Errors
    ///
    /// What `fit` says now if it is not `Append`; the chunk is unchanged.
    pub fn append(&mut self, time: i64, histogram: &Histogram) -> Result<(), Fit> {
        self.append_with_start(time, 0, histogram)
    }

    /// As [`append`](Self::append), with a start that the chunk [admits](Self::admits).
    ///
    /// # Errors
    ///
    /// What `fit` says now if it is not `Append`, or the start is not admitted; the chunk is unchanged.
    pub fn append_with_start(&mut self, time: i64, start: i64, histogram: &Histogram) -> Result<(), Fit> {
        let fit = self.fit(histogram);
        let Fit::Append(layout) = fit else { return Err(fit) };
        if !self.admits(start) {
            return Err(Fit::Append(layout));
        }
        let at = Stamp { time, start: Some(start) };
        match (&mut self.codec, histogram) {
            (Codec::Integer(chunk), Histogram::Integer(h)) => chunk.append(self.reset, at, h, layout),
            (Codec::Float(chunk), Histogram::Float(h)) => chunk.append(self.reset, at, h, layout),
            _ => return Err(self.fit(histogram)),
        }
        Ok(())
    }

    /// How the bytes are encoded.
    pub fn encoding(&self) -> ChunkEncoding {
        match &self.codec {
            Codec::Integer(chunk) if chunk.has_starts() => ChunkEncoding::HistogramWithStarts,
            Codec::Integer(_) => ChunkEncoding::Histogram,
            Codec::Float(chunk) if chunk.has_starts() => ChunkEncoding::FloatHistogramWithStarts,
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

/// When a sample was taken, and since when it counts: `None` in an encoding without start timestamps, 0 for none.
#[derive(Clone, Copy, Debug)]
struct Stamp {
    time: i64,
    start: Option<i64>,
}

/// The bits that count samples in an encoding with start timestamps; the two above are the reset flags.
pub(super) const COUNT: u16 = 0x3FFF;

/// What stands in front of the layout.
struct Header {
    samples: u64,
    reset: ResetHeader,
    starts: Option<Starts>,
}

impl Header {
    /// Of a chunk with one sample.
    fn begin(reset: ResetHeader, with_starts: bool) -> Vec<u8> {
        if with_starts { vec![reset as u8, 1, 0] } else { vec![0, 1, reset as u8] }
    }

    fn note_starts(bytes: &mut [u8], starts: Option<Starts>) {
        if let (Some(starts), Some(header)) = (starts, bytes.get_mut(HEADER)) {
            *header = starts.header();
        }
    }

    /// How many samples a chunk has.
    fn count(bytes: &[u8], with_starts: bool) -> u16 {
        let count = super::count(bytes) as u16;
        if with_starts { count & COUNT } else { count }
    }

    fn take(bits: &mut BitReader<'_>, with_starts: bool) -> Result<Self, ChunkError> {
        let (count, last) = (bits.take(16)?, bits.take(8)? as u8);
        Ok(if with_starts {
            let reset = ResetHeader::from_byte((count >> 8) as u8);
            Self { samples: count & u64::from(COUNT), reset, starts: Some(Starts::of(last)) }
        } else {
            Self { samples: count, reset: ResetHeader::from_byte(last), starts: None }
        })
    }
}

/// Appends the samples of an integer histogram chunk, with or without start timestamps, that lie in `range` to `columns`.
///
/// # Errors
///
/// See [`ChunkError`].
pub fn decode_integer(
    bytes: &[u8],
    with_starts: bool,
    range: TimeRange,
    columns: &mut Columns,
) -> Result<(), ChunkError> {
    integer::decode(bytes, with_starts, |at, histogram| push(columns, range, at, histogram))
}

/// Appends the samples of a float histogram chunk, with or without start timestamps, that lie in `range` to `columns`.
///
/// # Errors
///
/// See [`ChunkError`].
pub fn decode_float(
    bytes: &[u8],
    with_starts: bool,
    range: TimeRange,
    columns: &mut Columns,
) -> Result<(), ChunkError> {
    float::decode(bytes, with_starts, |at, histogram| push(columns, range, at, histogram))
}

/// Where the reset flags of a histogram chunk stand: in the two highest bits of this byte.
pub(crate) fn reset_byte(encoding: ChunkEncoding) -> usize {
    if encoding.has_starts() { 0 } else { 2 }
}

/// The reset flags of a histogram chunk of any form.
///
/// # Errors
///
/// [`ChunkError::Truncated`].
pub fn reset_header(encoding: ChunkEncoding, bytes: &[u8]) -> Result<ResetHeader, ChunkError> {
    bytes.get(reset_byte(encoding)).map(|&byte| ResetHeader::from_byte(byte)).ok_or(ChunkError::Truncated)
}

fn push<H: Into<Histogram>>(columns: &mut Columns, range: TimeRange, at: Stamp, histogram: H) -> bool {
    if at.time > range.max.as_millis() {
        return false;
    }
    if at.time >= range.min.as_millis() {
        push_start(&mut columns.histogram_starts, columns.histogram_times.len(), at.start.unwrap_or(0));
        columns.histogram_times.push(at.time);
        columns.histograms.push(histogram.into());
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
