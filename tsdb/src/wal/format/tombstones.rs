//! Deleted ranges.

use super::bytes::put_varint;
use super::{RecordError, RecordType, open};

/// A deleted range of a series, both ends included, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TombstoneRecord {
    /// Which series.
    pub series: u64,
    /// First deleted time.
    pub min_time: i64,
    /// Last deleted time.
    pub max_time: i64,
}

/// Appends a record of tombstones.
pub fn put_tombstones(out: &mut Vec<u8>, tombstones: &[TombstoneRecord]) {
    out.push(RecordType::Tombstones as u8);
    for tombstone in tombstones {
        out.extend_from_slice(&tombstone.series.to_be_bytes());
        put_varint(out, tombstone.min_time);
        put_varint(out, tombstone.max_time);
    }
}

/// Appends the items of a tombstone record.
///
/// # Errors
///
/// See [`RecordError`].
pub fn read_tombstones(record: &[u8], tombstones: &mut Vec<TombstoneRecord>) -> Result<(), RecordError> {
    let mut bytes = open(record, &[RecordType::Tombstones])?;
    while !bytes.is_empty() {
        tombstones.push(TombstoneRecord { series: bytes.u64()?, min_time: bytes.varint()?, max_time: bytes.varint()? });
    }
    Ok(())
}
