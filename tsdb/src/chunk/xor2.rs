//! XOR2 chunks (encoding 4): floats with start timestamps and stale markers that cost five bits.
//!
//! ```text
//! u16 count | u8 starts | varint t0 | f64 v0 | [start] | uvarint t1-t0 | value | [start] | (joint | [start])*
//! joint:  0 -> as before     10 -> dod 0 and 0: bits of the last window, 1: new window
//!         110 -> 13-bit dod, value    1110 -> 20    11110 -> 64    11111 -> dod 0 and stale
//! value:  0 -> same   10 -> last window   110 -> new window   111 -> stale
//! ```
//!
//! A stale marker leaves the window alone: the value after it is compared with the one before it. `starts.rs`
//! has what is written of start timestamps.

use ferula_model::{Columns, STALE_MARKER, TimeRange, is_stale};

use super::bits::{BitReader, PutBits, StagedBits, fits, signed};
use super::starts::{HEADER, Starts, push_start};
use super::xor::{FIRST_BYTES, XorAppender, XorWindow, cut_behind, make_room, next_time};
use super::{ChunkError, count_up};

/// What must be known to append one more sample to an XOR2 chunk. The chunk's bytes belong to the caller.
///
/// ```
/// use ferula_model::{Columns, TimeRange};
/// use ferula_tsdb::chunk::xor2::{Xor2Appender, decode};
///
/// let (mut bytes, mut appender) = (Vec::new(), Xor2Appender::default());
/// for i in 1..=100 {
///     appender.append(&mut bytes, i * 15_000, 5_000, i as f64);
/// }
/// let mut columns = Columns::default();
/// decode(&bytes, TimeRange::ALL, &mut columns)?;
/// assert_eq!((columns.times[99], columns.starts[99]), (1_500_000, 5_000));
/// # Ok::<(), ferula_tsdb::chunk::ChunkError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Xor2Appender {
    floats: XorAppender,
    starts: Starts,
}

impl Xor2Appender {
    /// Whether a sample with this start can be appended to `bytes`: a start that differs from all before it cannot be the
    /// first such one behind sample 127.
    pub fn admits(&self, bytes: &[u8], start: i64) -> bool {
        self.starts.admits(super::count(bytes), start)
    }

    /// Appends a sample to `bytes`, which must be empty before the first one and untouched in between. `time` must be larger
    /// than the time before. `start` is in milliseconds, 0 for none, and [admitted](Self::admits).
    pub fn append(&mut self, bytes: &mut Vec<u8>, time: i64, start: i64, value: f64) {
        append(&mut self.floats, &mut self.starts, bytes, time, start, value);
    }
}

/// As [`Xor2Appender::append`], for a series that has room for the one state and not always for the other.
pub(crate) fn append(
    floats: &mut XorAppender,
    starts: &mut Starts,
    bytes: &mut Vec<u8>,
    time: i64,
    start: i64,
    value: f64,
) {
    if bytes.is_empty() {
        make_room(bytes, FIRST_BYTES);
        bytes.extend_from_slice(&[0, 0, 0]);
        floats.free = 0;
        floats.is_stale = false;
    }
    let index = count_up(bytes) - 1;
    let mut bits = StagedBits::resume(bytes, floats.free);
    match index {
        0 => {
            bits.put_varint(time);
            bits.put(value.to_bits(), 64);
            floats.window = XorWindow::starting_at(value);
        }
        1 => {
            floats.delta = time.wrapping_sub(floats.time);
            bits.put_uvarint(floats.delta as u64);
            put_value(floats, &mut bits, value);
        }
        _ => {
            let delta = time.wrapping_sub(floats.time);
            put_joint(floats, &mut bits, delta.wrapping_sub(floats.delta), value);
            floats.delta = delta;
        }
    }
    starts.put(&mut bits, index, (floats.time, time), start);
    let (staged, free) = bits.finish();
    make_room(bytes, staged.len());
    bytes.extend_from_slice(staged);
    if let Some(header) = bytes.get_mut(HEADER) {
        *header = starts.header();
    }
    floats.free = free;
    floats.time = time;
}

fn put_joint(floats: &mut XorAppender, bits: &mut StagedBits, dod: i64, value: f64) {
    if dod != 0 {
        if fits(dod, 13) {
            bits.put(0b110 << 13 | (dod as u64 & 0x1FFF), 16);
        } else if fits(dod, 20) {
            bits.put(0b1110 << 20 | (dod as u64 & 0xF_FFFF), 24);
        } else {
            bits.put(0b11110, 5);
            bits.put(dod as u64, 64);
        }
        return put_value(floats, bits, value);
    }
    floats.is_stale = is_stale(value);
    let xor = value.to_bits() ^ floats.window.value;
    if floats.is_stale {
        bits.put(0b11111, 5);
    } else if xor == 0 {
        bits.put(0, 1);
    } else {
        match floats.window.fitting(xor) {
            Some(_) => bits.put(0b100, 3),
            None => bits.put(0b101, 3),
        }
        put_changed(&mut floats.window, bits, xor);
    }
}

fn put_value(floats: &mut XorAppender, bits: &mut StagedBits, value: f64) {
    floats.is_stale = is_stale(value);
    let xor = value.to_bits() ^ floats.window.value;
    if floats.is_stale {
        bits.put(0b111, 3);
    } else if xor == 0 {
        bits.put(0, 1);
    } else {
        match floats.window.fitting(xor) {
            Some(_) => bits.put(0b10, 2),
            None => bits.put(0b110, 3),
        }
        put_changed(&mut floats.window, bits, xor);
    }
}

fn put_changed(window: &mut XorWindow, bits: &mut StagedBits, xor: u64) {
    window.value ^= xor;
    match window.fitting(xor) {
        Some(width) => bits.put(window.shifted(xor), width),
        None => window.put_new(bits, xor),
    }
}

/// Reads a chunk and says how to go on behind it. `bytes` may be longer than the samples; it is cut to them. Gives the time
/// of sample number `nth` (from 1 on) as well, if there is one.
pub(crate) fn resume_at(bytes: &mut Vec<u8>, nth: usize) -> Result<(XorAppender, Starts, Option<i64>), ChunkError> {
    let mut samples = Samples::new(bytes)?;
    let mut nth_time = None;
    while samples.next()?.is_some() {
        if samples.index == nth as u64 {
            nth_time = Some(samples.time);
        }
    }
    let Samples { bits, time, delta, window, starts, is_stale, .. } = samples;
    let (free, left) = (bits.free(), bits.left());
    cut_behind(bytes, left);
    Ok((XorAppender { time, delta, window, free, is_stale }, starts, nth_time))
}

/// Appends the samples of an XOR2 chunk that lie in `range` to `columns`.
///
/// # Errors
///
/// See [`ChunkError`].
pub fn decode(bytes: &[u8], range: TimeRange, columns: &mut Columns) -> Result<(), ChunkError> {
    let mut samples = Samples::new(bytes)?;
    let (min, max) = (range.min.as_millis(), range.max.as_millis());
    loop {
        let (time, start, value) = match samples.next() {
            Ok(Some(sample)) if sample.0 <= max => sample,
            Ok(_) => return Ok(()),
            Err(error) => return Err(error),
        };
        if time >= min {
            push_start(&mut columns.starts, columns.times.len(), start);
            columns.times.push(time);
            columns.values.push(value);
        }
    }
}

/// Walks the samples of a chunk.
struct Samples<'a> {
    bits: BitReader<'a>,
    /// How many were read, and how many there are.
    index: u64,
    count: u64,
    time: i64,
    delta: i64,
    window: XorWindow,
    is_stale: bool,
    starts: Starts,
}

impl<'a> Samples<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, ChunkError> {
        let mut bits = BitReader::new(bytes);
        let count = bits.take(16)?;
        let starts = Starts::of(bits.take(8)? as u8);
        let window = XorWindow::default();
        Ok(Self { bits, index: 0, count, time: 0, delta: 0, window, is_stale: false, starts })
    }

    /// Time, start (0 for none) and value of the next sample.
    #[inline]
    fn next(&mut self) -> Result<Option<(i64, i64, f64)>, ChunkError> {
        if self.index == self.count {
            return Ok(None);
        }
        let previous = self.time;
        match self.index {
            0 => {
                self.time = self.bits.take_varint()?;
                self.window = XorWindow::starting_at(f64::from_bits(self.bits.take(64)?));
            }
            1 => {
                self.delta = self.bits.take_uvarint()? as i64;
                self.time = next_time(self.time, self.delta)?;
                self.take_value()?;
            }
            _ => self.take_joint()?,
        }
        let start = self.starts.take(&mut self.bits, self.index, (previous, self.time))?;
        self.index += 1;
        let value = if self.is_stale { STALE_MARKER } else { f64::from_bits(self.window.value) };
        Ok(Some((self.time, start, value)))
    }

    /// Reads time and value of a third or later sample.
    #[inline]
    fn take_joint(&mut self) -> Result<(), ChunkError> {
        let ones = self.bits.take_ones(5)?;
        let width = match ones {
            2 => 13,
            3 => 20,
            4 => 64,
            _ => 0,
        };
        if width > 0 {
            self.delta = self.delta.wrapping_add(signed(self.bits.take(width)?, width));
        }
        self.time = next_time(self.time, self.delta)?;
        self.is_stale = ones == 5;
        match ones {
            0 | 5 => Ok(()),
            1 if self.bits.take(1)? == 0 => self.window.take_reused(&mut self.bits),
            1 => self.window.take_new(&mut self.bits),
            _ => self.take_value(),
        }
    }

    #[inline]
    fn take_value(&mut self) -> Result<(), ChunkError> {
        let ones = self.bits.take_ones(3)?;
        self.is_stale = ones == 3;
        match ones {
            1 => self.window.take_reused(&mut self.bits),
            2 => self.window.take_new(&mut self.bits),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Sample = (i64, i64, f64);

    fn samples(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Sample>> {
        let step = (
            prop_oneof![Just(15_000i64), 1i64..1 << 35],
            prop_oneof![4 => Just(0i64), 4 => Just(5_000), 1 => any::<i64>()],
            prop_oneof![Just(STALE_MARKER), (0i32..9).prop_map(f64::from), any::<u64>().prop_map(f64::from_bits)],
        );
        prop::collection::vec(step, count).prop_map(|steps| {
            let mut time = 1000;
            let step = |(delta, start, value)| {
                time += delta;
                (time, start, value)
            };
            steps.into_iter().map(step).collect()
        })
    }

    /// Encodes what a chunk admits; says how many that are.
    fn append_all(appender: &mut Xor2Appender, bytes: &mut Vec<u8>, samples: &[Sample]) -> usize {
        for (at, &(time, start, value)) in samples.iter().enumerate() {
            if !appender.admits(bytes, start) {
                return at;
            }
            appender.append(bytes, time, start, value);
        }
        samples.len()
    }

    fn bits((time, start, value): Sample) -> (i64, i64, u64) {
        (time, start, value.to_bits())
    }

    fn decoded(bytes: &[u8]) -> Vec<(i64, i64, u64)> {
        let mut columns = Columns::default();
        decode(bytes, TimeRange::ALL, &mut columns).unwrap();
        columns.starts.resize(columns.times.len(), 0);
        let all = columns.times.iter().zip(&columns.starts).zip(&columns.values);
        all.map(|((&time, &start), &value)| bits((time, start, value))).collect()
    }

    proptest! {
        #[test]
        fn samples_and_starts_come_back(samples in samples(1..200)) {
            let (mut bytes, mut appender) = (Vec::new(), Xor2Appender::default());
            let taken = append_all(&mut appender, &mut bytes, &samples);
            prop_assert!(taken >= samples.len().min(128));
            prop_assert_eq!(decoded(&bytes), samples[..taken].iter().copied().map(bits).collect::<Vec<_>>());
        }

        #[test]
        fn an_appender_resumes_anywhere(samples in samples(2..120), cut in any::<prop::sample::Index>()) {
            let cut = cut.index(samples.len()).max(1);
            let (mut bytes, mut appender) = (Vec::new(), Xor2Appender::default());
            append_all(&mut appender, &mut bytes, &samples[..cut]);
            let value = appender.floats.value();
            bytes.extend_from_slice(&[0xAB, 0xCD]);
            let (floats, starts, nth) = resume_at(&mut bytes, 1).unwrap();
            prop_assert_eq!((floats.time(), floats.value().to_bits()), (samples[cut - 1].0, value.to_bits()));
            prop_assert_eq!((starts, nth), (appender.starts, Some(samples[0].0)));
            append_all(&mut Xor2Appender { floats, starts }, &mut bytes, &samples[cut..]);
            let mut whole = Vec::new();
            append_all(&mut Xor2Appender::default(), &mut whole, &samples);
            prop_assert_eq!(bytes, whole);
        }

        #[test]
        fn hostile_bytes_are_an_error_or_samples(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut columns = Columns::default();
            let _ = decode(&bytes, TimeRange::ALL, &mut columns);
            prop_assert!(columns.times.is_sorted_by(|a, b| a < b));
            prop_assert!(columns.starts.is_empty() || columns.starts.len() == columns.times.len());
            let _ = resume_at(&mut bytes.clone(), 7);
        }
    }

    #[test]
    fn the_layout_is_prometheus_own() {
        // Count 4, header: the first has a start, from sample 3 on they are written; t0 = 1000 as zigzag d0 0f; 1.0;
        // t0-st0 = 600 as zigzag b0 09; delta 15000 as 98 75; then bits: same value 0; dod 0, same value 0; dod 0, stale 11111;
        // 31000 - 30000 = 1000 as varbit 11110 and 12 bits.
        let (mut bytes, mut appender) = (Vec::new(), Xor2Appender::default());
        let samples = [(1000, 400, 1.0), (16_000, 400, 1.0), (31_000, 400, 1.0), (46_000, 30_000, STALE_MARKER)];
        append_all(&mut appender, &mut bytes, &samples);
        let head = [0, 4, 0x83, 0xD0, 0x0F, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0, 0xB0, 0x09, 0x98, 0x75];
        assert_eq!(bytes, [head.as_slice(), &[0b0011_1111, 0b1110_0011, 0b1110_1000]].concat());
        assert_eq!(appender.floats.value().to_bits(), STALE_MARKER.to_bits());
    }

    #[test]
    fn a_start_that_comes_too_late_needs_a_new_chunk() {
        let (mut bytes, mut appender) = (Vec::new(), Xor2Appender::default());
        for i in 0..128 {
            assert!(appender.admits(&bytes, 7), "sample {i}");
            appender.append(&mut bytes, i, 0, 1.0);
        }
        assert!(appender.admits(&bytes, 0) && !appender.admits(&bytes, 7));
    }
}
