//! `prometheus.WriteRequest`, read in place.
//!
//! ```text
//! WriteRequest { 1: TimeSeries*, 3: MetricMetadata* }
//! TimeSeries   { 1: Label*, 2: Sample*, 3: Exemplar*, 4: Histogram* }
//! Label { 1: name, 2: value }   Sample { 1: value (double), 2: timestamp (ms) }
//! Exemplar { 1: Label*, 2: value (double), 3: timestamp (ms) }
//! ```

use ferula_model::{Exemplar, Labels, Timestamp};

use super::histogram;
use crate::remote::wire::{Field, Fields, WireError, read_varint};

/// The series of a request, one message each.
pub(super) fn series(request: &[u8]) -> impl Iterator<Item = Result<TimeSeries<'_>, WireError>> {
    Fields::new(request).filter_map(|field| match field {
        Ok(field) if field.number == 1 => Some(field.bytes().map(TimeSeries)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

/// One series of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeSeries<'a>(&'a [u8]);

/// What a series holds besides its labels.
pub(super) enum Item<'a> {
    Float(Timestamp, f64),
    Histogram(histogram::Message<'a>),
    Exemplar(ExemplarMessage<'a>),
}

impl<'a> TimeSeries<'a> {
    /// Replaces `pairs` by the labels as sent, in the order they were sent, without pairs whose value is empty.
    pub(super) fn labels(self, pairs: &mut Vec<(&'a str, &'a str)>) -> Result<(), WireError> {
        pairs.clear();
        for field in Fields::new(self.0) {
            let field = field?;
            if field.number == 1 {
                push_label(field, pairs)?;
            }
        }
        Ok(())
    }

    /// The bytes of all labels and a message of the rest, if the labels come first, which every known sender does, and one
    /// of them is the name of the metric.
    pub(super) fn split_labels(self) -> Option<(&'a [u8], Self)> {
        let mut rest = self.0;
        let mut is_named = false;
        while let [0x0A, after @ ..] = rest {
            let (label, after) = split_delimited(after)?;
            is_named |= label.starts_with(b"\x0a\x08__name__\x12");
            rest = after;
        }
        let labels = self.0.get(..self.0.len() - rest.len()).filter(|_| is_named)?;
        // Another label may not hide behind the samples.
        let mut behind = rest;
        while let [0x12, length @ 0..0x80, after @ ..] = behind {
            behind = after.get(usize::from(*length)..)?;
        }
        let complete = Fields::new(behind).all(|field| field.is_ok_and(|field| field.number != 1));
        complete.then_some((labels, Self(rest)))
    }

    /// Takes the floats off the front that stand there as every known sender has them, until `each` fails.
    #[inline]
    pub(super) fn take_floats<E>(&mut self, mut each: impl FnMut(Timestamp, f64) -> Result<(), E>) -> Result<(), E> {
        while let Some((at, value, behind)) = leading_float(self.0) {
            self.0 = behind;
            each(at, value)?;
        }
        Ok(())
    }

    /// Samples, exemplars and histograms in the order they stand.
    pub(super) fn items(self) -> impl Iterator<Item = Result<Item<'a>, WireError>> {
        Fields::new(self.0).filter_map(|field| match field {
            Ok(field) => match field.number {
                2 => Some(field.bytes().and_then(sample)),
                3 => Some(field.bytes().map(|message| Item::Exemplar(ExemplarMessage(message)))),
                4 => Some(field.bytes().map(|message| Item::Histogram(histogram::Message(message)))),
                _ => None,
            },
            Err(error) => Some(Err(error)),
        })
    }
}

fn push_label<'a>(field: Field<'a>, pairs: &mut Vec<(&'a str, &'a str)>) -> Result<(), WireError> {
    let (mut name, mut value) = ("", "");
    for field in Fields::new(field.bytes()?) {
        let field = field?;
        match field.number {
            1 => name = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
    }
    if !value.is_empty() {
        pairs.push((name, value));
    }
    Ok(())
}

/// Splits off a message behind its tag.
#[inline]
fn split_delimited(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = bytes;
    let length = usize::try_from(read_varint(&mut rest).ok()?).ok()?;
    rest.split_at_checked(length)
}

/// The sample that begins here, if it has its value, then its timestamp, and nothing else; and what stands behind it.
#[inline]
fn leading_float(bytes: &[u8]) -> Option<(Timestamp, f64, &[u8])> {
    let ([0x12, length @ 0..0x80, 0x09, bits @ .., 0x10], after) = bytes.split_first_chunk::<12>()? else {
        return None;
    };
    let mut behind = after;
    let timestamp = read_varint(&mut behind).ok()? as i64;
    // The tags and the value are ten bytes.
    let is_all = usize::from(*length) == 10 + after.len() - behind.len();
    is_all.then_some((Timestamp(timestamp), f64::from_le_bytes(*bits), behind))
}

fn sample(message: &[u8]) -> Result<Item<'_>, WireError> {
    let (mut value, mut timestamp) = (0.0, 0);
    for field in Fields::new(message) {
        let field = field?;
        match field.number {
            1 => value = field.double()?,
            2 => timestamp = field.varint()? as i64,
            _ => {}
        }
    }
    Ok(Item::Float(Timestamp(timestamp), value))
}

/// An exemplar of a series.
pub(super) struct ExemplarMessage<'a>(&'a [u8]);

impl ExemplarMessage<'_> {
    /// The exemplar as the storage takes it.
    pub(super) fn decode(&self) -> Result<Exemplar, WireError> {
        let mut pairs = Vec::new();
        let (mut value, mut timestamp) = (0.0, 0);
        for field in Fields::new(self.0) {
            let field = field?;
            match field.number {
                1 => push_label(field, &mut pairs)?,
                2 => value = field.double()?,
                3 => timestamp = field.varint()? as i64,
                _ => {}
            }
        }
        Ok(Exemplar { labels: Labels::from_pairs(pairs), value, timestamp: Some(Timestamp(timestamp)) })
    }
}
