//! What all histograms of a chunk share, and how buckets move from one layout into another.

use std::sync::Arc;

use ferula_model::Span;
use ferula_model::histogram::CUSTOM_BUCKETS_SCHEMA;

use crate::chunk::ChunkError;
use crate::chunk::bits::{BitReader, BitWriter, PutBits};

/// Schema, zero threshold, bounds and the buckets that are there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout {
    /// Resolution: -4..=8 exponential, -53 custom.
    pub schema: i32,
    /// Width of the zero bucket.
    pub zero_threshold: f64,
    /// Where the positive buckets are.
    pub positive: Vec<Span>,
    /// Where the negative buckets are.
    pub negative: Vec<Span>,
    /// Bounds of custom buckets.
    pub custom: Arc<[f64]>,
}

impl Layout {
    /// Schema, threshold and bounds agree; only the buckets may differ.
    pub(super) fn is_compatible(&self, schema: i32, zero_threshold: f64, custom: &[f64]) -> bool {
        self.schema == schema
            && self.zero_threshold.to_bits() == zero_threshold.to_bits()
            && self.custom.len() == custom.len()
            && self.custom.iter().zip(custom).all(|(a, b)| a.to_bits() == b.to_bits())
    }

    pub(super) fn write(&self, writer: &mut BitWriter<'_>) {
        write_zero_threshold(writer, self.zero_threshold);
        writer.put_varbit(i64::from(self.schema));
        for spans in [&self.positive, &self.negative] {
            writer.put_uvarbit(spans.len() as u64);
            for span in spans {
                writer.put_uvarbit(u64::from(span.length));
                writer.put_varbit(i64::from(span.offset));
            }
        }
        if self.schema == CUSTOM_BUCKETS_SCHEMA {
            writer.put_uvarbit(self.custom.len() as u64);
            self.custom.iter().for_each(|&bound| write_bound(writer, bound));
        }
    }

    pub(super) fn read(bits: &mut BitReader<'_>) -> Result<Self, ChunkError> {
        let zero_threshold = read_zero_threshold(bits)?;
        let schema = i32::try_from(bits.take_varbit()?).map_err(|_| ChunkError::Malformed("schema out of range"))?;
        let positive = read_spans(bits)?;
        let negative = read_spans(bits)?;
        let mut custom = Vec::new();
        if schema == CUSTOM_BUCKETS_SCHEMA {
            for _ in 0..bounded(bits.take_uvarbit()?, bits)? {
                custom.push(read_bound(bits)?);
            }
        }
        Ok(Self { schema, zero_threshold, positive, negative, custom: custom.into() })
    }
}

/// A count of things that each take at least a bit.
fn bounded(count: u64, bits: &BitReader<'_>) -> Result<usize, ChunkError> {
    usize::try_from(count).ok().filter(|&count| count <= bits.left()).ok_or(ChunkError::Truncated)
}

fn read_spans(bits: &mut BitReader<'_>) -> Result<Vec<Span>, ChunkError> {
    let count = bounded(bits.take_uvarbit()?, bits)?;
    let mut spans = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        let length = u32::try_from(bits.take_uvarbit()?).map_err(|_| ChunkError::Malformed("span too long"))?;
        let offset =
            i32::try_from(bits.take_varbit()?).map_err(|_| ChunkError::Malformed("span offset out of range"))?;
        spans.push(Span { offset, length });
    }
    Ok(spans)
}

/// How many buckets the spans have, if a chunk with this much left to read can hold them.
pub(super) fn bucket_count(spans: &[Span], bits: &BitReader<'_>) -> Result<usize, ChunkError> {
    bounded(spans.iter().map(|span| u64::from(span.length)).sum(), bits)
}

/// 0 stands for 0, 1 to 254 for the powers of two from 2^-243 to 2^10, 255 says that a float follows.
fn write_zero_threshold(writer: &mut BitWriter<'_>, threshold: f64) {
    let bits = threshold.to_bits();
    let (exponent, mantissa) = ((bits >> 52) as i64 - 1023, bits << 12);
    if bits == 0 {
        writer.put(0, 8);
    } else if mantissa == 0 && (-243..=10).contains(&exponent) {
        writer.put((exponent + 244) as u64, 8);
    } else {
        writer.put(255, 8);
        writer.put(bits, 64);
    }
}

fn read_zero_threshold(bits: &mut BitReader<'_>) -> Result<f64, ChunkError> {
    Ok(match bits.take(8)? {
        0 => 0.0,
        255 => f64::from_bits(bits.take(64)?),
        power => f64::from_bits((power + 1023 - 244) << 52),
    })
}

/// A bound of at most three decimals is an integer of thousandths plus one, others are a zero bit and the float.
fn write_bound(writer: &mut BitWriter<'_>, bound: f64) {
    let thousandths = bound * 1000.0;
    let short = (0.0..=33_554_430.0).contains(&thousandths) && thousandths.fract() == 0.0;
    if short && (thousandths / 1000.0).to_bits() == bound.to_bits() {
        writer.put_uvarbit(thousandths as u64 + 1);
    } else {
        writer.put(0, 1);
        writer.put(bound.to_bits(), 64);
    }
}

fn read_bound(bits: &mut BitReader<'_>) -> Result<f64, ChunkError> {
    match bits.take_uvarbit()? {
        0 => Ok(f64::from_bits(bits.take(64)?)),
        number => Ok((number - 1) as f64 / 1000.0),
    }
}

/// The index of each bucket of some spans.
pub(super) fn indices(spans: &[Span]) -> impl Iterator<Item = i64> + '_ {
    let mut at = 0i64;
    spans.iter().flat_map(move |span| {
        let first = at + i64::from(span.offset);
        at = first + i64::from(span.length);
        first..at
    })
}

/// Spans that have the buckets of both; `None` if those are the buckets of `a`.
pub(super) fn union(a: &[Span], b: &[Span]) -> Option<Vec<Span>> {
    if a == b {
        return None;
    }
    let (mut left, mut right) = (indices(a).peekable(), indices(b).peekable());
    let (mut spans, mut grown) = (Spans::default(), false);
    loop {
        let next = match (left.peek().copied(), right.peek().copied()) {
            (None, None) => break,
            (Some(l), Some(r)) => l.min(r),
            (Some(one), None) | (None, Some(one)) => one,
        };
        grown |= left.next_if_eq(&next).is_none();
        right.next_if_eq(&next);
        spans.push(next);
    }
    grown.then_some(spans.list)
}

#[derive(Default)]
struct Spans {
    list: Vec<Span>,
    end: i64,
}

impl Spans {
    fn push(&mut self, index: i64) {
        match self.list.last_mut() {
            Some(last) if index == self.end => last.length += 1,
            _ => self.list.push(Span { offset: (index - self.end) as i32, length: 1 }),
        }
        self.end = index + 1;
    }
}

/// Moves absolute bucket counts from one layout into a wider one; buckets that were missing are 0.
pub(super) fn widen<N: Copy + Default>(from: &[Span], counts: &[N], to: &[Span], wide: &mut Vec<N>) {
    wide.clear();
    if from == to {
        wide.extend_from_slice(counts);
        return;
    }
    let mut source = indices(from).zip(counts.iter().copied()).peekable();
    wide.extend(
        indices(to).map(|index| source.next_if(|(at, _)| *at == index).map_or(N::default(), |(_, count)| count)),
    );
}
