//! New series.

use super::bytes::put_labels;
use super::{Bytes, RecordError, RecordType, open};

/// Appends one item of a series record. The record begins with the byte of [`RecordType::Series`].
pub fn put_series<'a>(out: &mut Vec<u8>, series: u64, labels: impl ExactSizeIterator<Item = (&'a str, &'a str)>) {
    out.extend_from_slice(&series.to_be_bytes());
    put_labels(out, labels);
}

/// As [`read_series`], but `each` takes the labels from the bytes itself: their [count](Bytes::label_count), then name and
/// value of each.
///
/// # Errors
///
/// As [`read_series`], and what `each` says.
pub(crate) fn read_series_bytes<'a>(
    record: &'a [u8],
    mut each: impl FnMut(u64, &mut Bytes<'a>) -> Result<(), RecordError>,
) -> Result<(), RecordError> {
    let mut bytes = open(record, &[RecordType::Series])?;
    while !bytes.is_empty() {
        let series = bytes.u64()?;
        each(series, &mut bytes)?;
    }
    Ok(())
}

/// Hands out number and labels of each series of a series record.
///
/// # Errors
///
/// See [`RecordError`]; the items before the damage have been handed out.
pub fn read_series<'a>(record: &'a [u8], mut each: impl FnMut(u64, &[(&'a str, &'a str)])) -> Result<(), RecordError> {
    let mut bytes = open(record, &[RecordType::Series])?;
    let mut labels = Vec::new();
    while !bytes.is_empty() {
        let series = bytes.u64()?;
        bytes.labels(&mut labels)?;
        each(series, &labels);
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_prometheus_own() {
        let mut out = vec![RecordType::Series as u8];
        put_series(&mut out, 7, [("a", "b")].into_iter());
        assert_eq!(out, [1, 0, 0, 0, 0, 0, 0, 0, 7, 1, 1, b'a', 1, b'b']);
    }
}
