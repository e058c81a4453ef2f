//! Float samples, with and without start timestamps.

use super::bases::Bases;
use super::bytes::put_base;
use super::{RecordError, RecordType, open};

/// A float sample of a log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FloatRecord {
    /// Which series.
    pub series: u64,
    /// When, in milliseconds.
    pub time: i64,
    /// Start timestamp in milliseconds, 0 for none.
    pub start: i64,
    /// What.
    pub value: f64,
}

/// Appends a record of float samples, which must not be empty; with the start timestamps if one has one.
pub fn put_floats(out: &mut Vec<u8>, samples: &[FloatRecord]) {
    out.reserve(17 + samples.len() * 14);
    if samples.iter().any(|sample| sample.start != 0) {
        put_started_floats(out, samples.iter().copied());
        return;
    }
    put_plain_floats(out, samples.iter().map(|sample| (sample.series, sample.time, sample.value)));
}

/// Appends a record of float samples with start timestamps; nothing if there is no sample. Says how many there were.
pub(crate) fn put_started_floats(out: &mut Vec<u8>, samples: impl Iterator<Item = FloatRecord>) -> usize {
    let mut bases = Bases::default();
    let mut count = 0;
    for sample in samples {
        if count == 0 {
            out.push(RecordType::SamplesV2 as u8);
        }
        bases.put(out, sample.series, sample.time, sample.start);
        out.extend_from_slice(&sample.value.to_bits().to_be_bytes());
        count += 1;
    }
    count
}

/// Appends a record of float samples without start timestamps, given as series, time and value; nothing if there is
/// none. Says how many there were.
pub(crate) fn put_plain_floats(out: &mut Vec<u8>, samples: impl Iterator<Item = (u64, i64, f64)>) -> usize {
    let mut samples = samples.peekable();
    let Some(&(first, base, _)) = samples.peek() else { return 0 };
    out.push(RecordType::Samples as u8);
    put_base(out, first, base);
    let mut count = 0;
    for (series, time, value) in samples {
        // All of a sample goes to `out` at once, in a copy of a fixed size.
        let mut item = [0; ITEM_BYTES_MAX];
        let mut used = stage_varint(&mut item, 0, series.wrapping_sub(first) as i64);
        used = stage_varint(&mut item, used, time.wrapping_sub(base));
        if let Some(place) = item.get_mut(used..).and_then(<[u8]>::first_chunk_mut) {
            *place = value.to_bits().to_be_bytes();
        }
        let end = out.len() + used + 8;
        out.extend_from_slice(&item);
        out.truncate(end);
        count += 1;
    }
    count
}

/// Two varints of at most ten bytes and a float, rounded up.
const ITEM_BYTES_MAX: usize = 32;

/// Writes a zigzag LEB128 integer at `used`, and gives its end.
#[inline]
fn stage_varint(item: &mut [u8; ITEM_BYTES_MAX], mut used: usize, value: i64) -> usize {
    let mut value = ((value << 1) ^ (value >> 63)) as u64;
    while value >= 0x80 {
        item[used % ITEM_BYTES_MAX] = value as u8 | 0x80;
        value >>= 7;
        used += 1;
    }
    item[used % ITEM_BYTES_MAX] = value as u8;
    used + 1
}

/// Appends the samples of a record of floats of either version.
///
/// # Errors
///
/// See [`RecordError`].
pub fn read_floats(record: &[u8], samples: &mut Vec<FloatRecord>) -> Result<(), RecordError> {
    each_float(record, |sample| samples.push(sample))
}

/// Hands out the samples of a record of floats of either version.
///
/// # Errors
///
/// See [`RecordError`]; the samples before the damage have been handed out.
#[inline]
pub(crate) fn each_float(record: &[u8], mut each: impl FnMut(FloatRecord)) -> Result<(), RecordError> {
    let mut bytes = open(record, &[RecordType::Samples, RecordType::SamplesV2])?;
    if RecordType::of(record) == Some(RecordType::SamplesV2) {
        let mut bases = Bases::default();
        while !bytes.is_empty() {
            let (series, time, start) = bases.take(&mut bytes)?;
            each(FloatRecord { series, time, start, value: bytes.f64()? });
        }
        return Ok(());
    }
    if bytes.is_empty() {
        return Ok(());
    }
    let (series, time) = (bytes.u64()?, bytes.u64()? as i64);
    while !bytes.is_empty() {
        let series = series.wrapping_add(bytes.varint()? as u64);
        let time = time.wrapping_add(bytes.varint()?);
        each(FloatRecord { series, time, start: 0, value: bytes.f64()? });
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_layout_is_prometheus_own() {
        let mut out = Vec::new();
        let sample = FloatRecord { series: 7, time: 1000, start: 0, value: 1.0 };
        put_floats(&mut out, &[sample, FloatRecord { series: 6, time: 1001, ..sample }]);
        let base = [2, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0x03, 0xE8];
        let items = [0, 0, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0, 1, 2, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0];
        assert_eq!(out, [base.as_slice(), &items].concat());
    }

    #[test]
    fn the_layout_of_the_second_version_is_prometheus_own() {
        let sample = FloatRecord { series: 7, time: 1000, start: 400, value: 1.0 };
        let samples = [
            sample,
            FloatRecord { series: 6, time: 1001, ..sample },
            FloatRecord { series: 8, start: 0, ..sample },
            FloatRecord { series: 8, time: 1002, start: 500, ..sample },
        ];
        let mut out = Vec::new();
        put_floats(&mut out, &samples);
        let one = [0x3F, 0xF0, 0, 0, 0, 0, 0, 0].as_slice();
        // Series and time as zigzag, deltas to the series before and to the first time; then 0: none, 1: as before, 2: its
        // distance to the first start.
        let parts =
            [&[11, 14, 0xD0, 0x0F, 0xA0, 0x06], one, &[1, 2, 1], one, &[4, 0, 0], one, &[0, 4, 2, 0xC8, 1], one];
        assert_eq!(out, parts.concat());
    }

    proptest! {
        #[test]
        fn floats_come_back(items in prop::collection::vec((any::<u64>(), any::<i64>(), prop_oneof![3 => Just(0i64), 1 => any::<i64>()], any::<u64>()), 1..50)) {
            let samples: Vec<_> = items
                .into_iter()
                .map(|(series, time, start, bits)| FloatRecord { series, time, start, value: f64::from_bits(bits) })
                .collect();
            let (mut out, mut back) = (Vec::new(), Vec::new());
            put_floats(&mut out, &samples);
            read_floats(&out, &mut back).unwrap();
            prop_assert_eq!(format!("{back:?}"), format!("{samples:?}"));
        }
    }
}
