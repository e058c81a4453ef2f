//! Float histograms: every number xor-coded on its own.

use ferula_model::FloatHistogram;

use super::fit::{Fit, ResetHeader, View, fit};
use super::layout::{Layout, bucket_count, widen};
use super::{Header, Stamp, hint_at, stale};
use crate::chunk::bits::{BitReader, BitWriter, PutBits};
use crate::chunk::starts::Starts;
use crate::chunk::xor::{XorWindow, next_time};
use crate::chunk::{ChunkError, count_up};

/// An open chunk of float histograms.
#[derive(Clone, Debug)]
pub(super) struct FloatEncoder {
    bytes: Vec<u8>,
    free: u8,
    /// If the encoding has start timestamps.
    starts: Option<Starts>,
    layout: Layout,
    time: i64,
    delta: i64,
    count: XorWindow,
    zero_count: XorWindow,
    sum: XorWindow,
    /// Positive buckets, then negative ones.
    buckets: Vec<XorWindow>,
}

impl FloatEncoder {
    pub(super) fn begin(reset: ResetHeader, at: Stamp, h: &FloatHistogram) -> Self {
        if stale(h.sum) {
            return Self::begin_in(reset, Layout::default(), at, &FloatHistogram { sum: h.sum, ..Default::default() });
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

    fn begin_in(reset: ResetHeader, layout: Layout, at: Stamp, h: &FloatHistogram) -> Self {
        let time = at.time;
        let mut bytes = Header::begin(reset, at.start.is_some());
        let buckets: Vec<_> = wide_counts(&layout, h).map(XorWindow::starting_at).collect();
        let mut writer = BitWriter::resume(&mut bytes, 0);
        layout.write(&mut writer);
        writer.put_varbit(time);
        for number in [h.count, h.zero_count, h.sum] {
            writer.put(number.to_bits(), 64);
        }
        buckets.iter().for_each(|bucket| writer.put(bucket.value, 64));
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
            time,
            delta: 0,
            count: XorWindow::starting_at(h.count),
            zero_count: XorWindow::starting_at(h.zero_count),
            sum: XorWindow::starting_at(h.sum),
            buckets,
            bytes,
        }
    }

    pub(super) fn fit(&self, reset: ResetHeader, h: &FloatHistogram) -> Fit {
        let split = self.layout.positive.iter().map(|span| span.length as usize).sum::<usize>();
        let counts: Vec<f64> = self.buckets.iter().map(|bucket| f64::from_bits(bucket.value)).collect();
        let (positive, negative) = counts.split_at_checked(split).unwrap_or_default();
        let last = View {
            hint: h.counter_reset,
            schema: self.layout.schema,
            zero_threshold: self.layout.zero_threshold,
            custom: &self.layout.custom,
            count: f64::from_bits(self.count.value),
            zero_count: f64::from_bits(self.zero_count.value),
            sum: f64::from_bits(self.sum.value),
            positive_spans: &self.layout.positive,
            negative_spans: &self.layout.negative,
            positive,
            negative,
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
            positive: &h.positive_buckets,
            negative: &h.negative_buckets,
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

    pub(super) fn append(&mut self, reset: ResetHeader, at: Stamp, h: &FloatHistogram, wider: Option<Box<Layout>>) {
        let time = at.time;
        if let Some(layout) = wider {
            self.recode(reset, &layout);
        }
        count_up(&mut self.bytes);
        let index = Header::count(&self.bytes, self.starts.is_some()) - 1;
        let mut writer = BitWriter::resume(&mut self.bytes, self.free);
        let previous = self.time;
        let delta = time.wrapping_sub(self.time);
        writer.put_varbit(delta.wrapping_sub(self.delta));
        (self.time, self.delta) = (time, delta);
        if stale(h.sum) {
            writer.put(0, 2);
            self.sum.put(&mut writer, h.sum);
        } else {
            self.count.put(&mut writer, h.count);
            self.zero_count.put(&mut writer, h.zero_count);
            self.sum.put(&mut writer, h.sum);
            for (bucket, value) in self.buckets.iter_mut().zip(wide_counts(&self.layout, h)) {
                bucket.put(&mut writer, value);
            }
        }
        if let Some(starts) = &mut self.starts {
            starts.put(&mut writer, index, (previous, time), at.start.unwrap_or(0));
        }
        self.free = writer.free();
        Header::note_starts(&mut self.bytes, self.starts);
    }

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
        self.bytes.capacity() + self.buckets.capacity() * size_of::<XorWindow>() + size_of::<Self>()
    }
}

/// A histogram's bucket counts in a layout that has at least those buckets, positive then negative.
fn wide_counts(layout: &Layout, h: &FloatHistogram) -> impl Iterator<Item = f64> {
    let (mut counts, mut negative) = (Vec::new(), Vec::new());
    widen(&h.positive_spans, &h.positive_buckets, &layout.positive, &mut counts);
    widen(&h.negative_spans, &h.negative_buckets, &layout.negative, &mut negative);
    counts.append(&mut negative);
    counts.into_iter()
}

/// Hands out each sample until `each` says that it has enough.
pub(super) fn decode(
    bytes: &[u8],
    with_starts: bool,
    mut each: impl FnMut(Stamp, FloatHistogram) -> bool,
) -> Result<(), ChunkError> {
    let mut bits = BitReader::new(bytes);
    let Header { samples, reset, mut starts } = Header::take(&mut bits, with_starts)?;
    if samples == 0 {
        return Ok(());
    }
    let layout = Layout::read(&mut bits)?;
    let positive = bucket_count(&layout.positive, &bits)?;
    let all = positive + bucket_count(&layout.negative, &bits)?;
    let (mut time, mut delta) = (bits.take_varbit()?, 0i64);
    let mut first = || bits.take(64).map(|bits| XorWindow::starting_at(f64::from_bits(bits)));
    let (mut count, mut zero_count, mut sum) = (first()?, first()?, first()?);
    let mut buckets = Vec::with_capacity(all);
    for _ in 0..all {
        buckets.push(first()?);
    }
    let mut previous = 0;
    for index in 0..samples {
        if index > 0 {
            delta = delta.wrapping_add(bits.take_varbit()?);
            previous = time;
            time = next_time(time, delta)?;
            count.take(&mut bits)?;
            zero_count.take(&mut bits)?;
            sum.take(&mut bits)?;
        }
        let value = f64::from_bits(sum.value);
        if stale(value) {
            let start = starts.as_mut().map(|starts| starts.take(&mut bits, index, (previous, time))).transpose()?;
            if !each(Stamp { time, start }, FloatHistogram { sum: value, ..Default::default() }) {
                break;
            }
            continue;
        }
        if index > 0 {
            for bucket in &mut buckets {
                bucket.take(&mut bits)?;
            }
        }
        let counts = |buckets: &[XorWindow]| buckets.iter().map(|bucket| f64::from_bits(bucket.value)).collect();
        let (up, down) = buckets.split_at_checked(positive).unwrap_or_default();
        let histogram = FloatHistogram {
            counter_reset: hint_at(reset, index),
            schema: layout.schema,
            zero_threshold: layout.zero_threshold,
            zero_count: f64::from_bits(zero_count.value),
            count: f64::from_bits(count.value),
            sum: value,
            positive_spans: layout.positive.clone(),
            negative_spans: layout.negative.clone(),
            positive_buckets: counts(up),
            negative_buckets: counts(down),
            custom_values: layout.custom.clone(),
        };
        let start = starts.as_mut().map(|starts| starts.take(&mut bits, index, (previous, time))).transpose()?;
        if !each(Stamp { time, start }, histogram) {
            break;
        }
    }
    Ok(())
}
