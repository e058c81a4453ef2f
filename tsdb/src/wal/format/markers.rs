//! In the log of late samples: chunks that went to the head chunk files.

use super::{RecordError, RecordType, open};

/// A late chunk of a series was written to the head chunk files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkerRecord {
    /// Which series.
    pub series: u64,
    /// Where the chunk is: file number and offset; 0 only says that a new late chunk begins.
    pub chunk: u64,
}

/// Appends a record of markers.
pub fn put_markers(out: &mut Vec<u8>, markers: &[MarkerRecord]) {
    out.push(RecordType::MmapMarkers as u8);
    for marker in markers {
        out.extend_from_slice(&marker.series.to_be_bytes());
        out.extend_from_slice(&marker.chunk.to_be_bytes());
    }
}

/// Appends the items of a marker record.
///
/// # Errors
///
/// See [`RecordError`].
pub fn read_markers(record: &[u8], markers: &mut Vec<MarkerRecord>) -> Result<(), RecordError> {
    let mut bytes = open(record, &[RecordType::MmapMarkers])?;
    while !bytes.is_empty() {
        markers.push(MarkerRecord { series: bytes.u64()?, chunk: bytes.u64()? });
    }
    Ok(())
}
