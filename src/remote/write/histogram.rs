//! `prometheus.Histogram`: native histograms on the wire.
//!
//! ```text
//! 1 count (int) | 2 count (double)      8 negative spans   9 deltas (sint64)  10 counts (double)
//! 3 sum   4 schema (sint32)            11 positive spans  12 deltas          13 counts
//! 5 zero threshold                     14 reset hint      15 timestamp (ms)
//! 6 zero count (int) | 7 (double)      16 custom values   span: 1 offset (sint32), 2 length
//! ```

use ferula_model::{CounterResetHint, FloatHistogram, Histogram, IntegerHistogram, Span, Timestamp};

use crate::remote::wire::{Field, Fields, WireError, zigzag};

/// A histogram message that has not been read yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a>(pub(super) &'a [u8]);

/// Everything a histogram message may say; which of the counts are meant follows from `float`.
#[derive(Default)]
struct Raw {
    float: bool,
    timestamp: i64,
    hint: u64,
    integer: IntegerHistogram,
    count: f64,
    zero_count: f64,
    positive: Vec<f64>,
    negative: Vec<f64>,
    custom_values: Vec<f64>,
}

impl Message<'_> {
    /// The histogram and its time. A message with a float count is a float histogram.
    pub(super) fn decode(self) -> Result<(Timestamp, Histogram), WireError> {
        let mut raw = Raw::default();
        for field in Fields::new(self.0) {
            raw.take(field?)?;
        }
        Ok((Timestamp(raw.timestamp), raw.finish()))
    }
}

impl Raw {
    fn take(&mut self, field: Field<'_>) -> Result<(), WireError> {
        match field.number {
            1 => self.integer.count = field.varint()?,
            2 => (self.count, self.float) = (field.double()?, true),
            3 => self.integer.sum = field.double()?,
            4 => self.integer.schema = field.zigzag()? as i32,
            5 => self.integer.zero_threshold = field.double()?,
            6 => self.integer.zero_count = field.varint()?,
            7 => self.zero_count = field.double()?,
            8 => self.integer.negative_spans.push(span(field)?),
            9 => field.varints(|n| self.integer.negative_buckets.push(zigzag(n)))?,
            10 => field.doubles(|n| self.negative.push(n))?,
            11 => self.integer.positive_spans.push(span(field)?),
            12 => field.varints(|n| self.integer.positive_buckets.push(zigzag(n)))?,
            13 => field.doubles(|n| self.positive.push(n))?,
            14 => self.hint = field.varint()?,
            15 => self.timestamp = field.varint()? as i64,
            16 => field.doubles(|n| self.custom_values.push(n))?,
            _ => {}
        }
        Ok(())
    }

    fn finish(mut self) -> Histogram {
        self.integer.counter_reset = match self.hint {
            1 => CounterResetHint::Reset,
            2 => CounterResetHint::NotReset,
            3 => CounterResetHint::Gauge,
            _ => CounterResetHint::Unknown,
        };
        self.integer.custom_values = self.custom_values.into();
        if !self.float {
            return self.integer.into();
        }
        FloatHistogram {
            counter_reset: self.integer.counter_reset,
            schema: self.integer.schema,
            zero_threshold: self.integer.zero_threshold,
            zero_count: self.zero_count,
            count: self.count,
            sum: self.integer.sum,
            positive_spans: self.integer.positive_spans,
            negative_spans: self.integer.negative_spans,
            positive_buckets: self.positive,
            negative_buckets: self.negative,
            custom_values: self.integer.custom_values,
        }
        .into()
    }
}

fn span(field: Field<'_>) -> Result<Span, WireError> {
    let mut span = Span::default();
    for field in Fields::new(field.bytes()?) {
        let field = field?;
        match field.number {
            1 => span.offset = field.zigzag()? as i32,
            2 => span.length = field.varint()? as u32,
            _ => {}
        }
    }
    Ok(span)
}
