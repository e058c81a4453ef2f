//! Start timestamps inside a chunk: what XOR2 chunks and histogram chunks with start timestamps share.
//!
//! The third byte of such a chunk is a header: bit 7 says that the first sample has a start timestamp, bits 0-6 from which
//! sample on they are written. Up to there each has that of the first sample: a counter that never restarts pays for one.
//!
//! ```text
//! first sample: [varint t0-st0]    from sample `from` on: varbit of the change of (previous time - start)
//! ```

use super::ChunkError;
use super::bits::{BitReader, PutBits};

/// Where the header stands in a chunk.
pub(super) const HEADER: usize = 2;
const FIRST: u8 = 0x80;
const FROM: u8 = 0x7F;

/// What must be known to append, or to read, one more start timestamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Starts {
    /// That of the newest sample, in milliseconds; 0 for none.
    start: i64,
    /// The time before the newest sample less `start`, if it is written.
    difference: i64,
    header: u8,
}

impl Starts {
    /// To read a chunk with this header.
    pub(super) fn of(header: u8) -> Self {
        Self { header, ..Self::default() }
    }

    pub(super) fn header(self) -> u8 {
        self.header
    }

    /// Whether the chunk has any start timestamp.
    pub(crate) fn is_used(self) -> bool {
        self.header != 0
    }

    /// Whether the sample number `index` (from 0 on) may have this start: the header can name no sample behind 127 as the
    /// first one that differs.
    pub(crate) fn admits(self, index: usize, start: i64) -> bool {
        start == self.start || index <= usize::from(FROM) || self.header & FROM != 0
    }

    /// Writes the start of sample number `index`, which is admitted, behind its value. The header may be another afterwards.
    pub(super) fn put(&mut self, bits: &mut impl PutBits, index: u16, times: (i64, i64), start: i64) {
        let (previous, time) = times;
        if index == 0 {
            *self = Self { start, ..Self::default() };
            if start != 0 {
                self.header = FIRST;
                bits.put_varint(time.wrapping_sub(start));
            }
            return;
        }
        let from = self.header & FROM;
        let begins = from == 0 && start != self.start;
        if begins {
            self.header |= index as u8 & FROM;
        } else if from == 0 {
            return;
        }
        let difference = previous.wrapping_sub(start);
        let base = if begins { 0 } else { self.difference };
        bits.put_varbit(difference.wrapping_sub(base));
        self.difference = difference;
        self.start = start;
    }

    /// Reads the start of sample number `index`; 0 for none.
    #[inline]
    pub(super) fn take(&mut self, bits: &mut BitReader<'_>, index: u64, times: (i64, i64)) -> Result<i64, ChunkError> {
        let (previous, time) = times;
        let from = u64::from(self.header & FROM);
        if index == 0 {
            if self.header & FIRST != 0 {
                self.start = time.wrapping_sub(bits.take_varint()?);
            }
        } else if from != 0 && index >= from {
            let written = bits.take_varbit()?;
            self.difference = if index == from { written } else { self.difference.wrapping_add(written) };
            self.start = previous.wrapping_sub(self.difference);
        }
        Ok(self.start)
    }
}

/// Appends a start to a column, which exists from the first start on, behind `before` samples.
#[inline]
pub(crate) fn push_start(starts: &mut Vec<i64>, before: usize, start: i64) {
    if start != 0 || !starts.is_empty() {
        starts.resize(before, 0);
        starts.push(start);
    }
}
