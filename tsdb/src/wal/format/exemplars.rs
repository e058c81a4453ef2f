//! Exemplars.

use super::bytes::{put_base, put_labels, put_varint};
use super::{RecordError, RecordType, open};

/// An exemplar of a log.
#[derive(Clone, Debug, PartialEq)]
pub struct ExemplarRecord {
    /// Which series.
    pub series: u64,
    /// When, in milliseconds.
    pub time: i64,
    /// The observed value.
    pub value: f64,
    /// What identifies it.
    pub labels: Vec<(String, String)>,
}

/// Appends a record of exemplars.
pub fn put_exemplars(out: &mut Vec<u8>, exemplars: &[ExemplarRecord]) {
    let Some(first) = exemplars.first() else { return };
    out.push(RecordType::Exemplars as u8);
    put_base(out, first.series, first.time);
    for exemplar in exemplars {
        put_varint(out, exemplar.series.wrapping_sub(first.series) as i64);
        put_varint(out, exemplar.time.wrapping_sub(first.time));
        out.extend_from_slice(&exemplar.value.to_bits().to_be_bytes());
        put_labels(out, exemplar.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    }
}

/// Appends the items of an exemplar record.
///
/// # Errors
///
/// See [`RecordError`].
pub fn read_exemplars(record: &[u8], exemplars: &mut Vec<ExemplarRecord>) -> Result<(), RecordError> {
    let mut bytes = open(record, &[RecordType::Exemplars])?;
    if bytes.is_empty() {
        return Ok(());
    }
    let (series, time) = (bytes.u64()?, bytes.u64()? as i64);
    let mut labels = Vec::new();
    while !bytes.is_empty() {
        let series = series.wrapping_add(bytes.varint()? as u64);
        let time = time.wrapping_add(bytes.varint()?);
        let value = bytes.f64()?;
        bytes.labels(&mut labels)?;
        let labels = labels.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        exemplars.push(ExemplarRecord { series, time, value, labels });
    }
    Ok(())
}
