//! Integer histograms: counts and bucket deltas as deltas of deltas.

use ferula_model::{IntegerHistogram, Span};

use super::fit::{Fit, ResetHeader, View, fit};
use super::layout::{Layout, bucket_count, widen};
use super::{Header, Stamp, hint_at, stale};
use crate::chunk::bits::{BitReader, BitWriter, PutBits};
use crate::chunk::starts::Starts;
use crate::chunk::xor::{XorWindow, next_time};
use crate::chunk::{ChunkError, count_up};

/// An open chunk of integer histograms.
#[derive(Clone, Debug)]
pub(super) struct IntegerEncoder {
    bytes: Vec<u8>,
    free: u8,
    /// If the encoding has start timestamps.
    starts: Option<Starts>,
    layout: Layout,
    time: Twice,
    count: Twice,
    zero_count: Twice,
    sum: XorWindow,
    /// Positive buckets, then negative ones: the deltas between neighbours, as the histogram has them.
    buckets: Vec<Twice>,
}

/// A number with its last change.
#[derive(Clone, Copy, Debug, Default)]
struct Twice {
    value: i64,
    delta: i64,
}

impl Twice {
    fn starting_at(value: i64) -> Self {
        Self { value, delta: 0 }
    }

    fn put(&mut self, writer: &mut BitWriter<'_>, value: i64) {
        let delta = value.wrapping_sub(self.value);
        writer.put_varbit(delta.wrapping_sub(self.delta));
        *self = Self { value, delta };
    }

    fn take(&mut self, bits: &mut BitReader<'_>) -> Result<(), ChunkError> {
        self.delta = self.delta.wrapping_add(bits.take_varbit()?);
        self.value = self.value.wrapping_add(self.delta);
        Ok(())
    }
}

impl IntegerEncoder {
    pub(super) fn begin(reset: ResetHeader, at: Stamp, h: &IntegerHistogram) -> Self {
        if stale(h.sum) {
            return Self::begin_in(
                reset,
                Layout::default(),
                at,
                &IntegerHistogram { sum: h.sum, ..Default::default() },
            );
        }
        let layout = Layout {
            schema: h.schema,
            zero_threshold: h.zero_threshold,
            positive: h.positive_spans.clone(),
            negative: h.negative_spans.clone(),
            custom: h.custom_values.clone(),
        };
        Self::begin_in(reset, layout, at, h)
    }

    /// Begins with a sample whose buckets are among those of `layout`.
    fn begin_in(reset: ResetHeader, layout: Layout, at: Stamp, h: &IntegerHistogram) -> Self {
        let time = at.time;
        let mut bytes = Header::begin(reset, at.start.is_some());
        let buckets: Vec<_> = wide_deltas(&layout, h).map(Twice::starting_at).collect();
        let mut writer = BitWriter::resume(&mut bytes, 0);
        layout.write(&mut writer);
        writer.put_varbit(time);
        writer.put_uvarbit(h.count);
        writer.put_uvarbit(h.zero_count);
        writer.put(h.sum.to_bits(), 64);
        buckets.iter().for_each(|bucket| writer.put_varbit(bucket.value));
        let starts = at.start.map(|start| {
            let mut starts = Starts::default();
            starts.put(&mut writer, 0, (0, time), start);
            starts
        });
        let free = writer.free();
        Header::note_starts(&mut bytes, starts);
        Self {
            free,
            starts,
            layout,
            time: Twice::starting_at(time),
            count: Twice::starting_at(h.count as i64),
            zero_count: Twice::starting_at(h.zero_count as i64),
            sum: XorWindow::starting_at(h.sum),
            buckets,
            bytes,
        }
    }

    pub(super) fn fit(&self, reset: ResetHeader, h: &IntegerHistogram) -> Fit {
        let split = self.layout.positive.iter().map(|span| span.length as usize).sum::<usize>();
        let deltas: Vec<i64> = self.buckets.iter().map(|bucket| bucket.value).collect();
        let (positive, negative) = deltas.split_at_checked(split).unwrap_or_default();
        let last = View {
            hint: h.counter_reset,
            schema: self.layout.schema,
            zero_threshold: self.layout.zero_threshold,
            custom: &self.layout.custom,
            count: self.count.value as u64,
            zero_count: self.zero_count.value as u64,
            sum: f64::from_bits(self.sum.value),
            positive_spans: &self.layout.positive,
            negative_spans: &self.layout.negative,
            positive: &absolute(positive),
            negative: &absolute(negative),
        };
        let next = View {
            hint: h.counter_reset,
            schema: h.schema,
            zero_threshold: h.zero_threshold,
            custom: &h.custom_values,
            count: h.count,
            zero_count: h.zero_count,
            sum: h.sum,
            positive_spans: &h.positive_spans,
            negative_spans: &h.negative_spans,
            positive: &absolute(&h.positive_buckets),
            negative: &absolute(&h.negative_buckets),
        };
        fit(reset, &self.layout, &last, &next)
    }

    /// Whether a sample with this start, 0 for none, can join.
    pub(super) fn admits(&self, start: i64) -> bool {
        match &self.starts {
            Some(starts) => starts.admits(Header::count(&self.bytes, true).into(), start),
            None => start == 0,
        }
    }

    pub(super) fn append(&mut self, reset: ResetHeader, at: Stamp, h: &IntegerHistogram, wider: Option<Box<Layout>>) {
        let time = at.time;
        if let Some(layout) = wider {
            self.recode(reset, &layout);
        }
        count_up(&mut self.bytes);
        let index = Header::count(&self.bytes, self.starts.is_some()) - 1;
        let mut writer = BitWriter::resume(&mut self.bytes, self.free);
        let previous = self.time.value;
        self.time.put(&mut writer, time);
        if stale(h.sum) {
            writer.put(0, 2);
            self.sum.put(&mut writer, h.sum);
        } else {
            self.count.put(&mut writer, h.count as i64);
            self.zero_count.put(&mut writer, h.zero_count as i64);
            self.sum.put(&mut writer, h.sum);
            for (bucket, value) in self.buckets.iter_mut().zip(wide_deltas(&self.layout, h)) {
                bucket.put(&mut writer, value);
            }
        }
        if let Some(starts) = &mut self.starts {
            starts.put(&mut writer, index, (previous, time), at.start.unwrap_or(0));
        }
        self.free = writer.free();
        Header::note_starts(&mut self.bytes, self.starts);
    }

    /// Encodes the chunk again in a wider layout.
    fn recode(&mut self, reset: ResetHeader, layout: &Layout) {
        let mut recoded: Option<Self> = None;
        let decoded = decode(&self.bytes, self.starts.is_some(), |at, h| {
            match &mut recoded {
                None => recoded = Some(Self::begin_in(reset, layout.clone(), at, &h)),
                Some(chunk) => chunk.append(reset, at, &h, None),
            }
            true
        });
        debug_assert!(decoded.is_ok(), "an open chunk reads back");
        if let Some(chunk) = recoded {
            *self = chunk;
        }
    }

    pub(super) fn has_starts(&self) -> bool {
        self.starts.is_some()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.capacity() + self.buckets.capacity() * size_of::<Twice>() + size_of::<Self>()
    }
}

/// The deltas of a histogram's buckets in a layout that has at least those buckets, positive then negative.
fn wide_deltas(layout: &Layout, h: &IntegerHistogram) -> impl Iterator<Item = i64> {
    let mut deltas = Vec::new();
    let sides: [(&[Span], &[i64], &[Span]); 2] = [
        (&h.positive_spans, &h.positive_buckets, &layout.positive),
        (&h.negative_spans, &h.negative_buckets, &layout.negative),
    ];
    for (from, buckets, to) in sides {
        if from == to {
            deltas.extend_from_slice(buckets);
            continue;
        }
        let mut wide = Vec::new();
        widen(from, &absolute(buckets), to, &mut wide);
        let mut before = 0;
        deltas.extend(wide.into_iter().map(|count: i64| count.wrapping_sub(std::mem::replace(&mut before, count))));
    }
    deltas.into_iter()
}

// The view compares counts of one sign only; `u64` for count and `i64` for buckets would need two type parameters.
fn absolute<N: FromCount>(deltas: &[i64]) -> Vec<N> {
    let mut count = 0i64;
    let running = deltas.iter().map(|delta| {
        count = count.wrapping_add(*delta);
        N::from_count(count)
    });
    running.collect()
}

/// A bucket count as the number that the caller compares or widens.
trait FromCount {
    fn from_count(count: i64) -> Self;
}

impl FromCount for u64 {
    fn from_count(count: i64) -> Self {
        count as u64
    }
}

impl FromCount for i64 {
    fn from_count(count: i64) -> Self {
        count
    }
}

/// Hands out each sample until `each` says that it has enough.
pub(super) fn decode(
    bytes: &[u8],
    with_starts: bool,
    mut each: impl FnMut(Stamp, IntegerHistogram) -> bool,
) -> Result<(), ChunkError> {
    let mut bits = BitReader::new(bytes);
    let Header { samples, reset, mut starts } = Header::take(&mut bits, with_starts)?;
    if samples == 0 {
        return Ok(());
    }
    let layout = Layout::read(&mut bits)?;
    let positive = bucket_count(&layout.positive, &bits)?;
    let all = positive + bucket_count(&layout.negative, &bits)?;
    let mut time = Twice::starting_at(bits.take_varbit()?);
    let mut count = Twice::starting_at(bits.take_uvarbit()? as i64);
    let mut zero_count = Twice::starting_at(bits.take_uvarbit()? as i64);
    let mut sum = XorWindow::starting_at(f64::from_bits(bits.take(64)?));
    let mut buckets = Vec::with_capacity(all);
    for _ in 0..all {
        buckets.push(Twice::starting_at(bits.take_varbit()?));
    }
    let mut previous = 0;
    for index in 0..samples {
        if index > 0 {
            previous = time.value;
            time.take(&mut bits)?;
            next_time(previous, time.delta)?;
            count.take(&mut bits)?;
            zero_count.take(&mut bits)?;
            sum.take(&mut bits)?;
        }
        let value = f64::from_bits(sum.value);
        if stale(value) {
            let start =
                starts.as_mut().map(|starts| starts.take(&mut bits, index, (previous, time.value))).transpose()?;
            if !each(Stamp { time: time.value, start }, IntegerHistogram { sum: value, ..Default::default() }) {
                break;
            }
            continue;
        }
        if index > 0 {
            for bucket in &mut buckets {
                bucket.take(&mut bits)?;
            }
        }
        let deltas = |buckets: &[Twice]| buckets.iter().map(|bucket| bucket.value).collect();
        let (up, down) = buckets.split_at_checked(positive).unwrap_or_default();
        let histogram = IntegerHistogram {
            counter_reset: hint_at(reset, index),
            schema: layout.schema,
            zero_threshold: layout.zero_threshold,
            zero_count: zero_count.value as u64,
            count: count.value as u64,
            sum: value,
            positive_spans: layout.positive.clone(),
            negative_spans: layout.negative.clone(),
            positive_buckets: deltas(up),
            negative_buckets: deltas(down),
            custom_values: layout.custom.clone(),
        };
        let start = starts.as_mut().map(|starts| starts.take(&mut bits, index, (previous, time.value))).transpose()?;
        if !each(Stamp { time: time.value, start }, histogram) {
            break;
        }
    }
    Ok(())
}
