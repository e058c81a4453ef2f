//! The native part of a `Histogram`.

use std::sync::Arc;

use ferula_model::{CounterResetHint, FloatHistogram, Histogram, IntegerHistogram, Span};

use super::format::{histogram, span};
use super::wire::{Field, Message};
use crate::error::{Fault, ParseErrorKind};

/// Everything native that a message holds.
#[derive(Debug, Default)]
struct Native {
    count: u64,
    count_float: f64,
    sum: f64,
    schema: i32,
    zero_threshold: f64,
    zero_count: u64,
    zero_count_float: f64,
    negative_spans: Vec<Span>,
    negative_deltas: Vec<i64>,
    negative_counts: Vec<f64>,
    positive_spans: Vec<Span>,
    positive_deltas: Vec<i64>,
    positive_counts: Vec<f64>,
}

/// The native histogram in a message, and where its exemplars are. `None` if the message is only classic: it has no span,
/// not even an empty one, and no zero bucket.
pub(super) fn read<'a>(
    message: Message<'a>,
    gauge: bool,
    exemplars: &mut Vec<Field<'a>>,
) -> Result<Option<Histogram>, Fault> {
    let at = message.range().start;
    let native = Native::read(message, exemplars)?;
    let has_spans = !native.positive_spans.is_empty() || !native.negative_spans.is_empty();
    if !has_spans && native.zero_threshold <= 0.0 && native.zero_count == 0 && native.zero_count_float <= 0.0 {
        return Ok(None);
    }
    native.into_histogram(gauge).map(Some).map_err(|why| Fault::new(at, ParseErrorKind::Histogram(why)))
}

impl Native {
    fn read<'a>(mut message: Message<'a>, exemplars: &mut Vec<Field<'a>>) -> Result<Self, Fault> {
        let mut native = Self::default();
        while let Some(field) = message.next()? {
            match field.number {
                histogram::COUNT => native.count = field.unsigned()?,
                histogram::COUNT_FLOAT => native.count_float = field.double()?,
                histogram::SUM => native.sum = field.double()?,
                histogram::SCHEMA => native.schema = field.zigzag()? as i32,
                histogram::ZERO_THRESHOLD => native.zero_threshold = field.double()?,
                histogram::ZERO_COUNT => native.zero_count = field.unsigned()?,
                histogram::ZERO_COUNT_FLOAT => native.zero_count_float = field.double()?,
                histogram::NEGATIVE_SPAN => native.negative_spans.push(span_of(field)?),
                histogram::NEGATIVE_DELTA => field.push_zigzags(&mut native.negative_deltas)?,
                histogram::NEGATIVE_COUNT => field.push_doubles(&mut native.negative_counts)?,
                histogram::POSITIVE_SPAN => native.positive_spans.push(span_of(field)?),
                histogram::POSITIVE_DELTA => field.push_zigzags(&mut native.positive_deltas)?,
                histogram::POSITIVE_COUNT => field.push_doubles(&mut native.positive_counts)?,
                histogram::EXEMPLARS => exemplars.push(field),
                _ => {}
            }
        }
        Ok(native)
    }

    fn into_histogram(self, gauge: bool) -> Result<Histogram, &'static str> {
        let counter_reset = if gauge { CounterResetHint::Gauge } else { CounterResetHint::Unknown };
        if self.count_float > 0.0 || self.zero_count_float > 0.0 {
            check_spans(&self.positive_spans, self.positive_counts.len())?;
            check_spans(&self.negative_spans, self.negative_counts.len())?;
            let mut histogram = FloatHistogram {
                counter_reset,
                schema: self.schema,
                zero_threshold: self.zero_threshold,
                zero_count: self.zero_count_float,
                count: self.count_float,
                sum: self.sum,
                positive_spans: self.positive_spans,
                negative_spans: self.negative_spans,
                positive_buckets: self.positive_counts,
                negative_buckets: self.negative_counts,
                custom_values: Arc::from([]),
            };
            histogram.compact(0);
            return Ok(histogram.into());
        }
        check_spans(&self.positive_spans, self.positive_deltas.len())?;
        check_spans(&self.negative_spans, self.negative_deltas.len())?;
        let mut histogram = IntegerHistogram {
            counter_reset,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count,
            count: self.count,
            sum: self.sum,
            positive_spans: self.positive_spans,
            negative_spans: self.negative_spans,
            positive_buckets: self.positive_deltas,
            negative_buckets: self.negative_deltas,
            custom_values: Arc::from([]),
        };
        histogram.compact(0);
        Ok(histogram.into())
    }
}

fn check_spans(spans: &[Span], buckets: usize) -> Result<(), &'static str> {
    let total: u64 = spans.iter().map(|span| u64::from(span.length)).sum();
    if total == buckets as u64 { Ok(()) } else { Err("the spans do not cover the buckets") }
}

fn span_of(field: Field<'_>) -> Result<Span, Fault> {
    let mut result = Span::default();
    let mut inner = field.message()?;
    while let Some(field) = inner.next()? {
        match field.number {
            span::OFFSET => result.offset = field.zigzag()? as i32,
            span::LENGTH => result.length = field.unsigned()? as u32,
            _ => {}
        }
    }
    Ok(result)
}
