//! XOR2 chunks (encoding 4): floats with start timestamps and stale markers that cost five bits.
//!
//! ```text
//! u16 count | u8 starts | varint t0 | f64 v0 | [varint t0-st0] | uvarint t1-t0 | value [start] | (joint [start])*
//! joint:  0 -> as before     10 -> dod 0 and 0: bits of the last window, 1: new window
//!         110 -> 13-bit dod, value    1110 -> 20    11110 -> 64    11111 -> dod 0 and stale
//! value:  0 -> same   10 -> last window   110 -> new window   111 -> stale
//! starts: bit 7: the first sample has a start timestamp; bits 0-6: from which sample on they are written
//! ```
//!
//! A stale marker leaves the window alone: the value after it is compared with the one before it. A written start is the
//! change of `previous time - start`, as varbit; the first one is that difference itself.

use ferula_model::{Columns, STALE_MARKER, TimeRange, is_stale};

use super::bits::{BitReader, BitWriter, fits, signed};
use super::xor::{XorWindow, next_time};
use super::{ChunkError, count_up};

/// What must be known to append one more sample to an XOR2 chunk.
#[derive(Clone, Debug, Default)]
pub struct Xor2Appender {
    time: i64,
    delta: i64,
    window: XorWindow,
    free: u8,
    start: i64,
    start_difference: i64,
    starts_from: u8,
}

impl Xor2Appender {
    /// The most samples of a chunk: the header can name no later sample as the first with a changed start.
    pub const SAMPLES_MAX: usize = 127;

    /// Appends a sample to `bytes`, which must be empty before the first one. `start` is 0 for none. At most
    /// [`SAMPLES_MAX`](Self::SAMPLES_MAX) samples.
    pub fn append(&mut self, bytes: &mut Vec<u8>, time: i64, start: i64, value: f64) {
        if bytes.is_empty() {
            bytes.extend_from_slice(&[0, 0, 0]);
        }
        let count = count_up(bytes);
        if count > 1 && self.starts_from == 0 && start != self.start {
            self.starts_from = (count - 1) as u8;
            if let Some(header) = bytes.get_mut(2) {
                *header |= self.starts_from & 0x7F;
            }
        } else if count == 1 && start != 0 {
            bytes.get_mut(2).into_iter().for_each(|header| *header |= 0x80);
        }
        let mut writer = BitWriter::resume(bytes, self.free);
        match count {
            1 => {
                writer.put_varint(time);
                writer.put(value.to_bits(), 64);
                if start != 0 {
                    writer.put_varint(time.wrapping_sub(start));
                }
                self.window = XorWindow::starting_at(value);
            }
            2 => {
                self.delta = time.wrapping_sub(self.time);
                writer.put_uvarint(self.delta as u64);
                put_value(&mut self.window, &mut writer, value);
                self.put_start(&mut writer, count, start);
            }
            _ => {
                let delta = time.wrapping_sub(self.time);
                self.put_joint(&mut writer, delta.wrapping_sub(self.delta), value);
                self.delta = delta;
                self.put_start(&mut writer, count, start);
            }
        }
        self.free = writer.free();
        self.time = time;
        self.start = start;
    }

    fn put_joint(&mut self, writer: &mut BitWriter<'_>, dod: i64, value: f64) {
        let xor = value.to_bits() ^ self.window.value;
        if dod != 0 {
            if fits(dod, 13) {
                writer.put(0b110 << 13 | (dod as u64 & 0x1FFF), 16);
            } else if fits(dod, 20) {
                writer.put(0b1110 << 20 | (dod as u64 & 0xF_FFFF), 24);
            } else {
                writer.put(0b11110, 5);
                writer.put(dod as u64, 64);
            }
            put_value(&mut self.window, writer, value);
        } else if is_stale(value) {
            writer.put(0b11111, 5);
        } else if xor == 0 {
            writer.put(0, 1);
        } else {
            match self.window.fitting(xor) {
                Some(_) => writer.put(0b100, 3),
                None => writer.put(0b101, 3),
            }
            put_changed(&mut self.window, writer, value);
        }
    }

    fn put_start(&mut self, writer: &mut BitWriter<'_>, count: u16, start: i64) {
        if self.starts_from == 0 {
            return;
        }
        let difference = self.time.wrapping_sub(start);
        let first = u16::from(self.starts_from) == count - 1;
        let base = if first { 0 } else { self.start_difference };
        writer.put_varbit(difference.wrapping_sub(base));
        self.start_difference = difference;
    }
}

fn put_value(window: &mut XorWindow, writer: &mut BitWriter<'_>, value: f64) {
    let xor = value.to_bits() ^ window.value;
    if is_stale(value) {
        writer.put(0b111, 3);
    } else if xor == 0 {
        writer.put(0, 1);
    } else {
        match window.fitting(xor) {
            Some(_) => writer.put(0b10, 2),
            None => writer.put(0b110, 3),
        }
        put_changed(window, writer, value);
    }
}

fn put_changed(window: &mut XorWindow, writer: &mut BitWriter<'_>, value: f64) {
    let xor = value.to_bits() ^ window.value;
    window.value = value.to_bits();
    match window.fitting(xor) {
        Some(width) => writer.put(window.shifted(xor), width),
        None => window.put_new(writer, xor),
    }
}

/// Appends the samples of an XOR2 chunk that lie in `range` to `columns`.
///
/// # Errors
///
/// See [`ChunkError`].
pub fn decode(bytes: &[u8], range: TimeRange, columns: &mut Columns) -> Result<(), ChunkError> {
    let mut bits = BitReader::new(bytes);
    let count = bits.take(16)?;
    let header = bits.take(8)?;
    let (first_has_start, starts_from) = (header & 0x80 != 0, header & 0x7F);
    let (mut time, mut delta, mut window) = (0i64, 0i64, XorWindow::default());
    let (mut start, mut difference) = (0i64, 0i64);
    let (min, max) = (range.min.as_millis(), range.max.as_millis());
    let result = (|| {
        for index in 0..count {
            let previous = time;
            let mut stale = false;
            match index {
                0 => {
                    time = bits.take_varint()?;
                    window = XorWindow::starting_at(f64::from_bits(bits.take(64)?));
                    if first_has_start {
                        start = time.wrapping_sub(bits.take_varint()?);
                    }
                }
                1 => {
                    delta = bits.take_uvarint()? as i64;
                    time = next_time(time, delta)?;
                    stale = take_value(&mut window, &mut bits)?;
                }
                _ => stale = take_joint(&mut window, &mut bits, &mut time, &mut delta)?,
            }
            if starts_from != 0 && index >= starts_from && index > 0 {
                let written = bits.take_varbit()?;
                difference = if index == starts_from { written } else { difference.wrapping_add(written) };
                start = previous.wrapping_sub(difference);
            }
            if time > max {
                return Ok(());
            }
            if time >= min {
                columns.times.push(time);
                columns.values.push(if stale { STALE_MARKER } else { f64::from_bits(window.value) });
                if start != 0 && columns.starts.len() < columns.times.len() {
                    columns.starts.resize(columns.times.len() - 1, 0);
                    columns.starts.push(start);
                } else if !columns.starts.is_empty() {
                    columns.starts.resize(columns.times.len(), 0);
                }
            }
        }
        Ok(())
    })();
    if !columns.starts.is_empty() {
        columns.starts.resize(columns.times.len(), 0);
    }
    result
}

/// Reads time and value of a third or later sample; says whether it is stale.
fn take_joint(
    window: &mut XorWindow,
    bits: &mut BitReader<'_>,
    time: &mut i64,
    delta: &mut i64,
) -> Result<bool, ChunkError> {
    let ones = bits.take_ones(5)?;
    let width = match ones {
        2 => 13,
        3 => 20,
        4 => 64,
        _ => 0,
    };
    if width > 0 {
        *delta = delta.wrapping_add(signed(bits.take(width)?, width));
    }
    *time = next_time(*time, *delta)?;
    match ones {
        0 => Ok(false),
        1 if bits.take(1)? == 0 => window.take_reused(bits).map(|()| false),
        1 => window.take_new(bits).map(|()| false),
        5 => Ok(true),
        _ => take_value(window, bits),
    }
}

fn take_value(window: &mut XorWindow, bits: &mut BitReader<'_>) -> Result<bool, ChunkError> {
    match bits.take_ones(3)? {
        0 => Ok(false),
        1 => window.take_reused(bits).map(|()| false),
        2 => window.take_new(bits).map(|()| false),
        _ => Ok(true),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn samples_and_starts_come_back(
            steps in prop::collection::vec(
                (
                    prop_oneof![Just(15_000i64), 1i64..1 << 35],
                    prop_oneof![Just(STALE_MARKER), (0i32..9).prop_map(f64::from), any::<u64>().prop_map(f64::from_bits)],
                    prop_oneof![4 => Just(0i64), 4 => Just(5_000), 1 => 1i64..1 << 40],
                ),
                1..=127,
            )
        ) {
            let (mut bytes, mut appender, mut time) = (Vec::new(), Xor2Appender::default(), 1000i64);
            let mut expected = Vec::new();
            for (delta, value, start) in steps {
                appender.append(&mut bytes, time, start, value);
                expected.push((time, value.to_bits(), start));
                time += delta;
            }
            let mut columns = Columns::default();
            decode(&bytes, TimeRange::ALL, &mut columns).unwrap();
            columns.starts.resize(columns.times.len(), 0);
            let times = columns.times.iter().zip(&columns.values).zip(&columns.starts);
            let got: Vec<_> = times.map(|((&t, v), &s)| (t, v.to_bits(), s)).collect();
            prop_assert_eq!(got, expected);
        }

        #[test]
        fn hostile_bytes_are_an_error_or_samples(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut columns = Columns::default();
            let _ = decode(&bytes, TimeRange::ALL, &mut columns);
            prop_assert!(columns.times.is_sorted_by(|a, b| a < b));
            prop_assert!(columns.starts.is_empty() || columns.starts.len() == columns.times.len());
        }
    }
}
