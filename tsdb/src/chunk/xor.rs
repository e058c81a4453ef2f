//! XOR chunks (encoding 1): floats as Gorilla has them, in Prometheus' widths.
//!
//! ```text
//! u16 count | varint t0 | f64 v0 | uvarint t1-t0 | value | (dod | value)*
//! dod:    0 -> 0      10 -> 14 bits   110 -> 17   1110 -> 20   1111 -> 64
//! value:  0 -> same   10 -> bits of the last window            11 -> 5 bits leading, 6 bits length, bits
//! ```

use std::mem::MaybeUninit;

use ferula_model::{Columns, STALE_MARKER, TimeRange};

use super::bits::{BitReader, PutBits, StagedBits, fits, signed};
use super::{ChunkError, count_up};

/// What must be known to append one more sample to an XOR chunk. The chunk's bytes belong to the caller.
#[derive(Clone, Debug, Default)]
pub struct XorAppender {
    pub(super) time: i64,
    pub(super) delta: i64,
    pub(super) window: XorWindow,
    pub(super) free: u8,
    /// In an XOR2 chunk: whether the newest value is a stale marker, which leaves the window alone.
    pub(super) is_stale: bool,
}

impl XorAppender {
    /// Appends a sample to `bytes`, which must be empty before the first one and untouched in between. `time` must be
    /// larger than the time before, and there must be less than 65,535 samples (the caller cuts far earlier).
    #[inline]
    pub fn append(&mut self, bytes: &mut Vec<u8>, time: i64, value: f64) {
        if bytes.is_empty() {
            make_room(bytes, FIRST_BYTES);
            bytes.extend_from_slice(&[0, 0]);
            self.free = 0;
            self.is_stale = false;
        }
        let count = count_up(bytes);
        let mut bits = StagedBits::resume(bytes, self.free);
        match count {
            1 => {
                bits.put_varint(time);
                bits.put(value.to_bits(), 64);
                self.window = XorWindow::starting_at(value);
            }
            2 => {
                self.delta = time.wrapping_sub(self.time);
                bits.put_uvarint(self.delta as u64);
                self.window.put(&mut bits, value);
            }
            _ => {
                let delta = time.wrapping_sub(self.time);
                put_dod(&mut bits, delta.wrapping_sub(self.delta));
                self.delta = delta;
                self.window.put(&mut bits, value);
            }
        }
        let (staged, free) = bits.finish();
        make_room(bytes, staged.len());
        bytes.extend_from_slice(staged);
        self.free = free;
        self.time = time;
    }

    /// Remembers a value that went into another chunk.
    pub(crate) fn note_value(&mut self, value: f64) {
        self.window = XorWindow::starting_at(value);
        self.is_stale = false;
    }

    /// The newest time that was appended.
    pub fn time(&self) -> i64 {
        self.time
    }

    /// Remembers a newer time that went into another chunk, of another kind.
    pub(crate) fn note_time(&mut self, time: i64) {
        self.time = time;
    }

    /// The newest value that was appended.
    pub fn value(&self) -> f64 {
        if self.is_stale { STALE_MARKER } else { f64::from_bits(self.window.value) }
    }

    /// Reads a chunk and says how to go on behind it. `bytes` may be longer than the samples; it is cut to them.
    ///
    /// # Errors
    ///
    /// See [`ChunkError`].
    pub fn resume(bytes: &mut Vec<u8>) -> Result<Self, ChunkError> {
        Self::resume_at(bytes, 0).map(|(appender, _)| appender)
    }

    /// As [`resume`](Self::resume); gives the time of sample number `nth` (from 1 on) as well, if there is one.
    pub(crate) fn resume_at(bytes: &mut Vec<u8>, nth: usize) -> Result<(Self, Option<i64>), ChunkError> {
        let mut appender = Self::default();
        let mut reader = Samples::new(bytes)?;
        let mut nth_time = None;
        while let Some((time, _)) = reader.next()? {
            if usize::from(reader.read) == nth {
                nth_time = Some(time);
            }
        }
        appender.time = reader.time;
        appender.delta = reader.delta;
        appender.window = reader.window;
        appender.free = reader.bits.free();
        let left = reader.bits.left();
        cut_behind(bytes, left);
        Ok((appender, nth_time))
    }
}

/// Takes the last `left` bits off a chunk.
pub(super) fn cut_behind(bytes: &mut Vec<u8>, left: usize) {
    let used = bytes.len() - left / 8;
    bytes.truncate(used);
    if let Some(last) = bytes.last_mut() {
        *last &= 0xFF << (left % 8);
    }
}

/// What a new chunk has room for at least: some samples, for few chunks stay with one.
pub(super) const FIRST_BYTES: usize = 32;

/// Bytes from which on a chunk grows more slowly.
const GROWN_BYTES: usize = 128;

/// Makes room for `more` bytes. A head has a million of these buffers, so they grow by half while they are short, which is
/// where most of the growing happens, and then by a quarter; to sizes that waste nothing in common allocators: 8 bytes
/// below a multiple of 16.
#[inline]
pub(super) fn make_room(bytes: &mut Vec<u8>, more: usize) {
    if bytes.capacity() - bytes.len() < more {
        let by = if bytes.len() < GROWN_BYTES { bytes.len() / 2 } else { bytes.len() / 4 };
        let wanted = bytes.len() + more.max(by);
        bytes.reserve_exact((wanted + 8).next_multiple_of(16) - 8 - bytes.len());
    }
}

#[inline]
fn put_dod(writer: &mut StagedBits, dod: i64) {
    if dod == 0 {
        writer.put(0, 1);
    } else if fits(dod, 14) {
        writer.put(0b10 << 14 | (dod as u64 & 0x3FFF), 16);
    } else if fits(dod, 17) {
        writer.put(0b110 << 17 | (dod as u64 & 0x1_FFFF), 20);
    } else if fits(dod, 20) {
        writer.put(0b1110 << 20 | (dod as u64 & 0xF_FFFF), 24);
    } else {
        writer.put(0b1111, 4);
        writer.put(dod as u64, 64);
    }
}

/// Appends the samples of an XOR chunk that lie in `range` to `columns`.
///
/// # Errors
///
/// See [`ChunkError`].
pub fn decode(bytes: &[u8], range: TimeRange, columns: &mut Columns) -> Result<(), ChunkError> {
    let mut samples = Samples::new(bytes)?;
    // A sample takes two bits at least.
    let room = usize::from(samples.left).min(bytes.len() * 4);
    columns.times.reserve(room);
    columns.values.reserve(room);
    let (from, values_from) = (columns.times.len(), columns.values.len());
    let times = columns.times.spare_capacity_mut().get_mut(..room).unwrap_or_default();
    let values = columns.values.spare_capacity_mut().get_mut(..room).unwrap_or_default();
    let mut written = 0;
    let result = samples.write(times, values, range.max.as_millis(), &mut written);
    // SAFETY: `write` has filled the first `written` slots of both. To fill all of them with zeros before took 5 % of the time
    // (2026-11-29).
    unsafe {
        columns.times.set_len(from + written);
        columns.values.set_len(values_from + written);
    }
    let min = range.min.as_millis();
    let decoded = columns.times.get(from..).unwrap_or_default();
    // Most chunks begin within the range.
    if decoded.first().is_some_and(|first| *first < min) {
        let early = decoded.partition_point(|time| *time < min);
        columns.times.drain(from..from + early);
        columns.values.drain(values_from..values_from + early);
    }
    if !columns.starts.is_empty() {
        columns.starts.resize(columns.times.len(), 0);
    }
    result
}

/// Walks the samples of a chunk.
struct Samples<'a> {
    bits: BitReader<'a>,
    read: u16,
    left: u16,
    time: i64,
    delta: i64,
    window: XorWindow,
}

impl<'a> Samples<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, ChunkError> {
        let mut bits = BitReader::new(bytes);
        let left = bits.take(16)? as u16;
        Ok(Self { bits, read: 0, left, time: 0, delta: 0, window: XorWindow::default() })
    }

    /// Writes the samples up to the time `max`: the first two as they come, the others in a loop in which what is usual
    /// costs a branch that is foreseen and no more, so that the next sample need not wait for the bits of this one. Counts
    /// in `written` what was written before an error: so many slots of both are filled, from the first on.
    #[inline(never)]
    fn write(
        &mut self,
        times: &mut [MaybeUninit<i64>],
        values: &mut [MaybeUninit<f64>],
        max: i64,
        written: &mut usize,
    ) -> Result<(), ChunkError> {
        while *written < 2 {
            let Some((at, value)) = self.next()?.filter(|(at, _)| *at <= max) else { return Ok(()) };
            let slots = times.get_mut(*written).zip(values.get_mut(*written));
            let Some((time_slot, value_slot)) = slots else { return Ok(()) };
            (*time_slot, *value_slot) = (MaybeUninit::new(at), MaybeUninit::new(value));
            *written += 1;
        }
        let (times, values) = (times.get_mut(2..).unwrap_or_default(), values.get_mut(2..).unwrap_or_default());
        let Self { bits, left, time, delta, window, .. } = self;
        // Copies, so that all of it stays in registers.
        let (mut bits, mut time, mut delta, left) = (bits.clone(), *time, *delta, usize::from(*left));
        let mut value = window.value;
        // The window as width and trailing bits; width 0: there is none yet.
        let (mut width, mut trailing) = match window.leading {
            XorWindow::NO_WINDOW => (0, 0),
            leading => (64 - u32::from(leading) - u32::from(window.trailing), u32::from(window.trailing)),
        };
        let room = times.len().min(values.len()).min(left);
        let (Some(times), Some(values)) = (times.get_mut(..room), values.get_mut(..room)) else { return Ok(()) };
        let mut count = 0;
        let end = 'samples: {
            while let (Some(time_slot), Some(value_slot)) = (times.get_mut(count), values.get_mut(count)) {
                let mut ahead = bits.peek();
                if ahead >> 63 == 0 {
                    bits.pass(1);
                    ahead <<= 1;
                } else {
                    if ahead >> 62 == 0b10 {
                        delta = delta.wrapping_add(signed(ahead << 2 >> 50, 14));
                        bits.pass(16);
                        ahead <<= 16;
                    } else {
                        let (change, passed) = large_dod(bits.clone());
                        delta = delta.wrapping_add(change);
                        bits.pass(passed);
                        ahead = bits.peek();
                    }
                    if delta <= 0 {
                        break 'samples Err(NOT_RISING);
                    }
                }
                let Some(next) = time.checked_add(delta) else { break 'samples Err(NOT_RISING) };
                time = next;
                // At least 33 bits are still in sight.
                if ahead >> 63 == 0 {
                    bits.pass(1);
                } else {
                    if ahead >> 62 == 0b11 {
                        let leading = (ahead >> 57 & 0x1F) as u32;
                        // Width 64 is written as 0.
                        width = ((ahead >> 51 & 0x3F) as u32).wrapping_sub(1) % 64 + 1;
                        trailing = 64u32.wrapping_sub(leading + width);
                        if trailing >= 64 {
                            break 'samples Err(ChunkError::Malformed("a window is wider than a float"));
                        }
                        bits.pass(13);
                    } else {
                        if width == 0 {
                            break 'samples Err(ChunkError::Malformed("a window is used before it is opened"));
                        }
                        bits.pass(2);
                    }
                    value ^= bits.pass_value(width) << (trailing % 64);
                }
                if bits.is_past_end() {
                    break 'samples Err(ChunkError::Truncated);
                }
                if time > max {
                    break 'samples Ok(());
                }
                (*time_slot, *value_slot) = (MaybeUninit::new(time), MaybeUninit::new(f64::from_bits(value)));
                count += 1;
            }
            // There are slots for as many samples as the bytes can have.
            if count < left { Err(ChunkError::Truncated) } else { Ok(()) }
        };
        *written += count;
        end
    }

    #[inline]
    fn next(&mut self) -> Result<Option<(i64, f64)>, ChunkError> {
        if self.left == 0 {
            return Ok(None);
        }
        match self.read {
            0 => {
                self.time = self.bits.take_varint()?;
                self.window = XorWindow::starting_at(f64::from_bits(self.bits.take(64)?));
            }
            1 => {
                self.delta = self.bits.take_uvarint()? as i64;
                self.advance()?;
            }
            _ => {
                let width = match self.bits.take_ones(4)? {
                    0 => 0,
                    1 => 14,
                    2 => 17,
                    3 => 20,
                    _ => 64,
                };
                if width > 0 {
                    self.delta = self.delta.wrapping_add(signed(self.bits.take(width)?, width));
                }
                self.advance()?;
            }
        }
        self.read = self.read.saturating_add(1);
        self.left -= 1;
        Ok(Some((self.time, f64::from_bits(self.window.value))))
    }

    #[inline]
    fn advance(&mut self) -> Result<(), ChunkError> {
        self.time = next_time(self.time, self.delta)?;
        self.window.take(&mut self.bits)
    }
}

/// A change of the step that begins with two ones, and how many bits it takes. Seldom, and kept apart so that the loop
/// around it keeps its registers.
#[cold]
#[inline(never)]
fn large_dod(mut bits: BitReader<'_>) -> (i64, u32) {
    match bits.peek().leading_ones() {
        ones @ ..4 => {
            let size = 11 + 3 * ones;
            bits.pass(ones + 1);
            (signed(bits.pass_value(size), size), ones + 1 + size)
        }
        _ => {
            bits.pass(4);
            (bits.pass_value(64) as i64, 68)
        }
    }
}

pub(super) const NOT_RISING: ChunkError = ChunkError::Malformed("times do not rise");

/// The next time of a chunk.
#[inline]
pub(super) fn next_time(time: i64, delta: i64) -> Result<i64, ChunkError> {
    match time.checked_add(delta) {
        Some(next) if next > time => Ok(next),
        _ => Err(NOT_RISING),
    }
}

/// The value side of the codec: the last value, and which of its bits the last xor touched.
#[derive(Clone, Copy, Debug)]
pub(super) struct XorWindow {
    pub(super) value: u64,
    /// Zero bits in front of the window; [`NO_WINDOW`](Self::NO_WINDOW) before there is one.
    leading: u8,
    trailing: u8,
}

impl Default for XorWindow {
    fn default() -> Self {
        Self::starting_at(0.0)
    }
}

impl XorWindow {
    const NO_WINDOW: u8 = 0xFF;

    pub(super) fn starting_at(value: f64) -> Self {
        Self { value: value.to_bits(), leading: Self::NO_WINDOW, trailing: 0 }
    }

    #[inline]
    pub(super) fn put(&mut self, writer: &mut impl PutBits, value: f64) {
        let xor = value.to_bits() ^ self.value;
        if xor == 0 {
            return writer.put(0, 1);
        }
        self.value = value.to_bits();
        match self.fitting(xor) {
            Some(width) => {
                writer.put(0b10, 2);
                writer.put(self.shifted(xor), width);
            }
            None => {
                writer.put(0b11, 2);
                self.put_new(writer, xor);
            }
        }
    }

    /// The width of the current window if `xor` fits into it.
    #[inline]
    pub(super) fn fitting(&self, xor: u64) -> Option<u32> {
        let leading = (xor.leading_zeros() as u8).min(31);
        let fits =
            self.leading != Self::NO_WINDOW && leading >= self.leading && xor.trailing_zeros() as u8 >= self.trailing;
        fits.then(|| 64 - u32::from(self.leading) - u32::from(self.trailing))
    }

    /// The bits of `xor` that lie in the current window.
    #[inline]
    pub(super) fn shifted(&self, xor: u64) -> u64 {
        xor >> self.trailing
    }

    /// Opens a window around `xor` (not 0) and writes both.
    #[inline]
    pub(super) fn put_new(&mut self, writer: &mut impl PutBits, xor: u64) {
        self.leading = (xor.leading_zeros() as u8).min(31);
        self.trailing = xor.trailing_zeros() as u8;
        let width = 64 - u32::from(self.leading) - u32::from(self.trailing);
        writer.put(u64::from(self.leading) << 6 | u64::from(width) & 0x3F, 11);
        writer.put(xor >> self.trailing, width);
    }

    #[inline]
    pub(super) fn take(&mut self, bits: &mut BitReader<'_>) -> Result<(), ChunkError> {
        match bits.take_ones(2)? {
            0 => Ok(()),
            1 => self.take_reused(bits),
            _ => self.take_new(bits),
        }
    }

    #[inline]
    pub(super) fn take_reused(&mut self, bits: &mut BitReader<'_>) -> Result<(), ChunkError> {
        if self.leading == Self::NO_WINDOW {
            return Err(ChunkError::Malformed("a window is used before it is opened"));
        }
        let width = 64 - u32::from(self.leading) - u32::from(self.trailing);
        self.value ^= bits.take(width)? << self.trailing;
        Ok(())
    }

    #[inline]
    pub(super) fn take_new(&mut self, bits: &mut BitReader<'_>) -> Result<(), ChunkError> {
        let header = bits.take(11)?;
        let (leading, width) = ((header >> 6) as u32, (header & 0x3F) as u32);
        let width = if width == 0 { 64 } else { width };
        let trailing =
            64u32.checked_sub(leading + width).ok_or(ChunkError::Malformed("a window is wider than a float"))?;
        self.leading = leading as u8;
        self.trailing = trailing as u8;
        self.value ^= bits.take(width)? << trailing;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            (0i32..50).prop_map(f64::from),
            Just(ferula_model::STALE_MARKER),
            Just(-0.0),
            Just(f64::INFINITY),
            any::<u64>().prop_map(f64::from_bits),
        ]
    }

    fn series() -> impl Strategy<Value = Vec<(i64, f64)>> {
        let delta =
            prop_oneof![4 => Just(15_000i64), 2 => 14_990i64..15_010, 1 => 1i64..100_000_000, 1 => 1i64..1 << 40];
        (any::<i32>(), prop::collection::vec((delta, value()), 1..300)).prop_map(|(start, steps)| {
            let mut time = i64::from(start);
            let step = |(delta, value)| {
                time += delta;
                (time, value)
            };
            steps.into_iter().map(step).collect()
        })
    }

    fn encoded(samples: &[(i64, f64)]) -> Vec<u8> {
        let (mut bytes, mut appender) = (Vec::new(), XorAppender::default());
        samples.iter().for_each(|&(time, value)| appender.append(&mut bytes, time, value));
        bytes
    }

    proptest! {
        #[test]
        fn samples_come_back_bit_for_bit(samples in series()) {
            let mut columns = Columns::default();
            decode(&encoded(&samples), TimeRange::ALL, &mut columns).unwrap();
            prop_assert!(columns.times.iter().copied().eq(samples.iter().map(|s| s.0)));
            prop_assert!(columns.values.iter().map(|v| v.to_bits()).eq(samples.iter().map(|s| s.1.to_bits())));
        }

        #[test]
        fn many_at_once_are_those_one_by_one(
            samples in series(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
            cut in any::<prop::sample::Index>(),
            max in any::<i32>(),
        ) {
            let mut bytes = encoded(&samples);
            for (at, change) in &damage {
                let at = at.index(bytes.len());
                bytes[at] ^= change;
            }
            bytes.truncate(bytes.len() - cut.index(bytes.len()) * (damage.len() % 2));
            for max in [i64::MAX, i64::from(max)] {
                let mut columns = Columns::default();
                let range = TimeRange::new(ferula_model::Timestamp::MIN, ferula_model::Timestamp(max));
                let result = decode(&bytes, range, &mut columns);
                let mut expected = Vec::new();
                let one_by_one = Samples::new(&bytes).and_then(|mut reader| {
                    while let Some((time, value)) = reader.next()? {
                        if time > max {
                            break;
                        }
                        expected.push((time, value.to_bits()));
                    }
                    Ok(())
                });
                let found = columns.times.iter().copied().zip(columns.values.iter().map(|value| value.to_bits()));
                prop_assert!(found.eq(expected));
                prop_assert_eq!(result.is_ok(), one_by_one.is_ok(), "{:?} {:?}", result, one_by_one);
            }
        }

        #[test]
        fn an_appender_resumes_anywhere(samples in series(), cut in any::<prop::sample::Index>()) {
            let cut = cut.index(samples.len()).max(1);
            let mut bytes = encoded(&samples[..cut]);
            bytes.extend_from_slice(&[0xAB, 0xCD]);
            let mut appender = XorAppender::resume(&mut bytes).unwrap();
            samples[cut..].iter().for_each(|&(time, value)| appender.append(&mut bytes, time, value));
            prop_assert_eq!(bytes, encoded(&samples));
        }

        #[test]
        fn hostile_bytes_are_an_error_or_samples(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut columns = Columns::default();
            let _ = decode(&bytes, TimeRange::ALL, &mut columns);
            prop_assert!(columns.times.is_sorted_by(|a, b| a < b));
            prop_assert_eq!(columns.times.len(), columns.values.len());
        }
    }

    #[test]
    fn the_layout_is_prometheus_own() {
        // Count 3; t0 = 1000 as zigzag d0 0f; 1.0; delta 15000 as 98 75; same value; then dod 0, same value.
        let bytes = encoded(&[(1000, 1.0), (16_000, 1.0), (31_000, 1.0)]);
        assert_eq!(bytes, [0, 3, 0xD0, 0x0F, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0, 0x98, 0x75, 0x00]);
    }

    #[test]
    fn long_runs_at_the_end_of_a_chunk_are_all_there() {
        for count in 1..200 {
            let samples: Vec<_> = (0..count).map(|i| (i * 15_000, 1.0)).collect();
            let mut columns = Columns::default();
            decode(&encoded(&samples), TimeRange::ALL, &mut columns).unwrap();
            assert_eq!(columns.times.len(), samples.len());
            let range = TimeRange::new(ferula_model::Timestamp(15_000 * 3), ferula_model::Timestamp(15_000 * 100));
            columns.clear();
            columns.times.push(7);
            columns.values.push(7.0);
            decode(&encoded(&samples), range, &mut columns).unwrap();
            let wanted = (3..count.min(101)).map(|i| i * 15_000);
            assert!(columns.times.iter().copied().eq(std::iter::once(7).chain(wanted)));
            assert_eq!(columns.values.len(), columns.times.len());
        }
    }

    #[test]
    fn a_cut_chunk_says_so_and_keeps_what_came_before() {
        let bytes = encoded(&[(0, 1.0), (1, 2.5), (2, 3.1)]);
        let mut columns = Columns::default();
        assert_eq!(decode(&bytes[..bytes.len() - 2], TimeRange::ALL, &mut columns), Err(ChunkError::Truncated));
        assert_eq!(columns.values, [1.0, 2.5]);
    }
}
