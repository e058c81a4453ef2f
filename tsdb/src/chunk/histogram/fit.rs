//! May this histogram join that chunk? Decided from values alone.

use ferula_model::{CounterResetHint, Histogram, Span};

use super::layout::{Layout, indices, union};
use super::stale;

/// What a chunk says about a counter reset in front of its first sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum ResetHeader {
    /// Nothing is known.
    #[default]
    Unknown = 0b00 << 6,
    /// There was none.
    NotReset = 0b01 << 6,
    /// There was one.
    Reset = 0b10 << 6,
    /// Gauge histograms: resets have no meaning.
    Gauge = 0b11 << 6,
}

impl ResetHeader {
    /// The flags of a chunk whose first sample has no chunk before it.
    pub fn of_first(histogram: &Histogram) -> Self {
        match histogram.counter_reset() {
            CounterResetHint::Gauge => Self::Gauge,
            CounterResetHint::Reset => Self::Reset,
            _ => Self::Unknown,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Self {
        match byte >> 6 {
            0b01 => Self::NotReset,
            0b10 => Self::Reset,
            0b11 => Self::Gauge,
            _ => Self::Unknown,
        }
    }
}

/// Whether a histogram can join a chunk.
#[derive(Clone, Debug, PartialEq)]
pub enum Fit {
    /// It can. With a layout, the chunk must be encoded again in that wider layout first.
    Append(Option<Box<Layout>>),
    /// It needs a new chunk, whose flags are these.
    Cut(ResetHeader),
}

/// The last sample of a chunk, or one that wants to join, with absolute bucket counts.
pub(super) struct View<'a, N> {
    pub(super) hint: CounterResetHint,
    pub(super) schema: i32,
    pub(super) zero_threshold: f64,
    pub(super) custom: &'a [f64],
    pub(super) count: N,
    pub(super) zero_count: N,
    pub(super) sum: f64,
    pub(super) positive_spans: &'a [Span],
    pub(super) negative_spans: &'a [Span],
    pub(super) positive: &'a [N],
    pub(super) negative: &'a [N],
}

/// Upstream's rules (3.14, chunk encodings 2 and 3), for either kind of number.
pub(super) fn fit<N: Copy + Default + PartialOrd>(
    header: ResetHeader,
    layout: &Layout,
    last: &View<'_, N>,
    next: &View<'_, N>,
) -> Fit {
    let gauge = next.hint == CounterResetHint::Gauge;
    if gauge != (header == ResetHeader::Gauge) {
        return Fit::Cut(if gauge { ResetHeader::Gauge } else { first_flag(next.hint) });
    }
    let cut = Fit::Cut(if gauge { ResetHeader::Gauge } else { ResetHeader::Unknown });
    let reset = Fit::Cut(ResetHeader::Reset);
    if next.hint == CounterResetHint::Reset {
        return reset;
    }
    if stale(next.sum) {
        return Fit::Append(None);
    }
    if stale(last.sum) {
        return cut;
    }
    if !gauge && next.count < last.count {
        return reset;
    }
    if !layout.is_compatible(next.schema, next.zero_threshold, next.custom) {
        return cut;
    }
    let fell = next.zero_count < last.zero_count
        || fell(last.positive_spans, last.positive, next.positive_spans, next.positive)
        || fell(last.negative_spans, last.negative, next.negative_spans, next.negative);
    if !gauge && fell {
        return reset;
    }
    let positive = union(&layout.positive, next.positive_spans);
    let negative = union(&layout.negative, next.negative_spans);
    if positive.is_none() && negative.is_none() {
        return Fit::Append(None);
    }
    let positive = positive.unwrap_or_else(|| layout.positive.clone());
    let negative = negative.unwrap_or_else(|| layout.negative.clone());
    Fit::Append(Some(Box::new(Layout { positive, negative, ..layout.clone() })))
}

fn first_flag(hint: CounterResetHint) -> ResetHeader {
    if hint == CounterResetHint::Reset { ResetHeader::Reset } else { ResetHeader::Unknown }
}

/// Whether any bucket of `last` is larger than the same bucket of `next`, which counts as 0 where it is missing.
fn fell<N: Copy + Default + PartialOrd>(last_spans: &[Span], last: &[N], next_spans: &[Span], next: &[N]) -> bool {
    if last_spans == next_spans {
        return last.iter().zip(next).any(|(last, next)| next < last);
    }
    let mut now = indices(next_spans).zip(next.iter().copied()).peekable();
    indices(last_spans).zip(last).any(|(index, &before)| {
        while now.next_if(|(at, _)| *at < index).is_some() {}
        now.next_if(|(at, _)| *at == index).map_or(N::default(), |(_, count)| count) < before
    })
}
