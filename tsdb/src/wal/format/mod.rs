//! What the bytes of a log mean: the only folder that knows the layout of records, a file for each kind of record.
//!
//! `bytes` has the numbers and texts that all of them consist of, `bases` what the deltas of sample records of the
//! second version (the one with start timestamps) refer to.
//!
//! Source: `tsdb/docs/format/wal.md` and the record codecs of Prometheus 3.14, as section 3.4 of the census has them.

mod bases;
mod bytes;
mod exemplars;
mod floats;
mod histograms;
mod markers;
mod metadata;
mod series;
mod tombstones;

use thiserror::Error;

pub(crate) use bytes::{Bytes, put_labels, put_uvarint, text};
pub use exemplars::{ExemplarRecord, put_exemplars, read_exemplars};
pub use floats::{FloatRecord, put_floats, read_floats};
pub(crate) use floats::{each_float, put_plain_floats, put_started_floats};
pub use histograms::{HistogramRecord, put_histograms, read_histograms};
pub(crate) use histograms::{put_histogram, read_histogram};
pub use markers::{MarkerRecord, put_markers, read_markers};
pub use metadata::{put_metadata, read_metadata};
pub(crate) use series::read_series_bytes;
pub use series::{put_series, read_series};
pub use tombstones::{TombstoneRecord, put_tombstones, read_tombstones};

/// The first byte of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RecordType {
    /// New series and their labels.
    Series = 1,
    /// Float samples.
    Samples = 2,
    /// Deleted ranges.
    Tombstones = 3,
    /// Exemplars.
    Exemplars = 4,
    /// In the log of late samples: a chunk went to the head chunk files.
    MmapMarkers = 5,
    /// Type, unit and help of series.
    Metadata = 6,
    /// Integer histograms.
    Histograms = 7,
    /// Float histograms.
    FloatHistograms = 8,
    /// Integer histograms with custom buckets.
    CustomHistograms = 9,
    /// Float histograms with custom buckets.
    CustomFloatHistograms = 10,
    /// Float samples with start timestamps.
    SamplesV2 = 11,
    /// Integer histograms with start timestamps.
    HistogramsV2 = 12,
    /// Float histograms with start timestamps.
    FloatHistogramsV2 = 13,
}

impl RecordType {
    /// The type of a record, by its first byte.
    pub fn of(record: &[u8]) -> Option<Self> {
        use RecordType::*;
        const ALL: [RecordType; 13] = [
            Series,
            Samples,
            Tombstones,
            Exemplars,
            MmapMarkers,
            Metadata,
            Histograms,
            FloatHistograms,
            CustomHistograms,
            CustomFloatHistograms,
            SamplesV2,
            HistogramsV2,
            FloatHistogramsV2,
        ];
        ALL.get(usize::from(*record.first()?).checked_sub(1)?).copied()
    }
}

/// Why a record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The record ends inside an item.
    #[error("record ends inside an item")]
    Truncated,
    /// An item contradicts itself.
    #[error("malformed record: {0}")]
    Malformed(&'static str),
    /// A record type that this version does not know.
    #[error("unknown record type {0}")]
    UnknownType(u8),
}

/// The items of a record of one of `types`.
fn open<'a>(record: &'a [u8], types: &[RecordType]) -> Result<Bytes<'a>, RecordError> {
    match (RecordType::of(record), record.split_first()) {
        (Some(kind), Some((_, items))) if types.contains(&kind) => Ok(Bytes(items)),
        (_, Some((&kind, _))) => Err(RecordError::UnknownType(kind)),
        (_, None) => Err(RecordError::Truncated),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn hostile_records_are_errors(mut bytes in prop::collection::vec(any::<u8>(), 0..100), kind in 0u8..15) {
            bytes.insert(0, kind);
            let _ = read_series(&bytes, |_, _| ());
            let _ = read_floats(&bytes, &mut Vec::new());
            let _ = read_histograms(&bytes, &mut Vec::new());
            let _ = read_tombstones(&bytes, &mut Vec::new());
            let _ = read_exemplars(&bytes, &mut Vec::new());
            let _ = read_markers(&bytes, &mut Vec::new());
            let _ = read_metadata(&bytes, |_, _| ());
        }
    }
}
