//! Labels of series, read from the log.
//!
//! Series come with their neighbours, and most labels of one are those of the series before. A label that has the same bytes
//! at the same place is not checked, encoded or looked up again: one comparison tells, for a label begins with its lengths.

use crate::head::index::{Index, PackedLabels};
use crate::head::table::{self, Fingerprint, Table};
use crate::wal::format::{Bytes, RecordError};

/// Reads one label set after the other.
#[derive(Debug, Default)]
pub(super) struct LabelReader {
    now: LabelSet,
    before: LabelSet,
}

#[derive(Debug)]
struct LabelSet {
    labels: Vec<Label>,
    /// As the log has them.
    raw: Vec<u8>,
    /// As a remote-write message has them: that is what is hashed.
    encoded: Vec<u8>,
    shape: u32,
}

#[derive(Clone, Copy, Debug)]
struct Label {
    raw_end: usize,
    encoded_end: usize,
    /// Symbols.
    name: u32,
    value: u32,
}

/// A symbol or shape that was not looked up.
const UNKNOWN: u32 = u32::MAX;

impl Default for LabelSet {
    fn default() -> Self {
        Self { labels: Vec::new(), raw: Vec::new(), encoded: Vec::new(), shape: UNKNOWN }
    }
}

impl LabelSet {
    /// The label at a place, as the log has it and as it is hashed.
    #[inline]
    fn label(&self, at: usize) -> Option<(Label, &[u8], &[u8])> {
        let label = *self.labels.get(at)?;
        let before = at.checked_sub(1).and_then(|before| self.labels.get(before));
        let (raw, encoded) = before.map_or((0, 0), |before| (before.raw_end, before.encoded_end));
        Some((label, self.raw.get(raw..label.raw_end)?, self.encoded.get(encoded..label.encoded_end)?))
    }

    fn push(&mut self, raw: &[u8], name: u32, value: u32) {
        self.raw.extend_from_slice(raw);
        self.labels.push(Label { raw_end: self.raw.len(), encoded_end: self.encoded.len(), name, value });
    }

    fn clear(&mut self) {
        self.labels.clear();
        self.raw.clear();
        self.encoded.clear();
        self.shape = UNKNOWN;
    }
}

impl LabelReader {
    /// Reads the label set that begins here.
    ///
    /// # Errors
    ///
    /// See [`RecordError`]; the next set can be read all the same.
    pub(super) fn read(&mut self, bytes: &mut Bytes<'_>) -> Result<(), RecordError> {
        std::mem::swap(&mut self.now, &mut self.before);
        let Self { now, before } = self;
        now.clear();
        for at in 0..bytes.label_count()? {
            let known = before.label(at);
            if let Some((label, raw, encoded)) = known.filter(|(_, raw, _)| bytes.0.starts_with(raw)) {
                bytes.take(raw.len())?;
                now.encoded.extend_from_slice(encoded);
                now.push(raw, label.name, label.value);
                continue;
            }
            let start = bytes.0;
            let read = |rest: &Bytes<'_>| start.get(..start.len() - rest.0.len()).unwrap_or_default();
            let name = bytes.str()?;
            let same_name = known.filter(|(_, raw, _)| raw.starts_with(read(bytes)));
            let value = bytes.str()?;
            table::put_label(&mut now.encoded, name, value);
            now.push(read(bytes), same_name.map_or(UNKNOWN, |(label, ..)| label.name), UNKNOWN);
        }
        Ok(())
    }

    /// Whether the set that was read is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.now.labels.is_empty()
    }

    /// The fingerprint of the set that was read.
    pub(super) fn fingerprint(&self, table: &Table) -> Fingerprint {
        table.fingerprint_encoded(&self.now.encoded)
    }

    /// The set that was read, as numbers. No symbol may have been given up since the first set was read.
    pub(super) fn pack(&mut self, index: &mut Index) -> PackedLabels {
        let Self { now, before } = self;
        let mut start = 0;
        for label in &mut now.labels {
            if label.name == UNKNOWN || label.value == UNKNOWN {
                let mut raw = Bytes(now.raw.get(start..label.raw_end).unwrap_or_default());
                // They were read before.
                let (name, value) = (raw.str().unwrap_or_default(), raw.str().unwrap_or_default());
                if label.name == UNKNOWN {
                    label.name = index.symbols.intern(name);
                }
                if label.value == UNKNOWN {
                    label.value = index.symbols.intern(value);
                }
            }
            start = label.raw_end;
        }
        let names =
            |set: &LabelSet| set.labels.iter().map(|label| label.name).collect::<smallvec::SmallVec<[u32; 24]>>();
        let is_same = before.shape != UNKNOWN
            && before.labels.len() == now.labels.len()
            && before.labels.iter().zip(&now.labels).all(|(one, other)| one.name == other.name);
        now.shape = if is_same { before.shape } else { index.shape(&names(now)) };
        std::iter::once(now.shape).chain(now.labels.iter().map(|label| label.value)).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wal::format::put_labels;

    type Pairs = Vec<(String, String)>;

    /// Few texts, so that neighbours have much in common.
    fn sets() -> impl Strategy<Value = Vec<Pairs>> {
        let set = prop::collection::vec(("[ab]{1,2}", "[xy]{0,2}|z{200}"), 0..5);
        prop::collection::vec(set, 0..30)
    }

    proptest! {
        #[test]
        fn a_set_is_read_as_if_it_were_the_only_one(sets in sets(), packed in prop::collection::vec(any::<bool>(), 30)) {
            let (table, mut index, mut reader) = (Table::new(), Index::default(), LabelReader::default());
            for (set, is_packed) in sets.iter().zip(packed) {
                let pairs = set.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                let mut bytes = Vec::new();
                put_labels(&mut bytes, pairs.clone());
                bytes.push(7);
                let mut rest = Bytes(&bytes);
                reader.read(&mut rest).unwrap();
                prop_assert_eq!(rest.0, [7]);
                prop_assert_eq!(reader.is_empty(), set.is_empty());
                prop_assert_eq!(reader.fingerprint(&table), table.fingerprint(pairs.clone()));
                // A series that is known is not packed.
                if is_packed {
                    let packed = reader.pack(&mut index);
                    prop_assert!(index.texts(&packed).eq(pairs));
                }
            }
        }

        #[test]
        fn damage_does_no_harm(sets in sets(), cut in 0usize..40) {
            let (table, mut index, mut reader) = (Table::new(), Index::default(), LabelReader::default());
            for (at, set) in sets.iter().enumerate() {
                let pairs = set.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                let mut bytes = Vec::new();
                put_labels(&mut bytes, pairs.clone());
                if at % 2 == 0 {
                    let _ = reader.read(&mut Bytes(bytes.get(..cut).unwrap_or(&[1, 1, 0xFF])));
                } else {
                    reader.read(&mut Bytes(&bytes)).unwrap();
                    prop_assert_eq!(reader.fingerprint(&table), table.fingerprint(pairs.clone()));
                    let packed = reader.pack(&mut index);
                    prop_assert!(index.texts(&packed).eq(pairs));
                }
            }
        }
    }
}
