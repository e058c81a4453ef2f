//! Labels of series, read from the log.
//!
//! Series come with their neighbours, and most labels of one are those of the series before. So a set is kept as what
//! *changed* against the set before it: [`LabelReader`] finds that on the thread that reads ahead, and hashes the set;
//! [`Packer`] looks up no more than the texts that changed, on the thread that has the index.

use crate::head::index::Index;
use crate::head::table::{self, Fingerprint, Table};
use crate::wal::format::{self, Bytes, RecordError, text};

/// Label sets, each as its difference to the one before.
#[derive(Debug, Default)]
pub(super) struct LabelSets {
    heads: Vec<SetHead>,
    changes: Vec<Change>,
    /// The texts that changed, one after the other.
    texts: String,
}

#[derive(Debug)]
struct SetHead {
    number: u64,
    fingerprint: Fingerprint,
    labels: u32,
    changes_end: u32,
    texts_end: usize,
}

/// A label that the set before has not at this place.
#[derive(Clone, Copy, Debug)]
struct Change {
    place: u32,
    /// Bytes of the name; `None` if the set before has it at this place.
    name: Option<u32>,
    /// Bytes of the value.
    value: u32,
}

/// One of [`LabelSets`].
#[derive(Debug)]
pub(super) struct Set<'a> {
    /// The series' number in the log.
    pub(super) number: u64,
    pub(super) fingerprint: Fingerprint,
    labels: usize,
    changes: &'a [Change],
    texts: &'a str,
}

impl LabelSets {
    pub(super) fn len(&self) -> usize {
        self.heads.len()
    }

    /// About how many bytes they occupy.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.heads) + size_of_val(&*self.changes) + self.texts.len()
    }

    /// Those from `from` to before `until`, in the order in which they were read.
    pub(super) fn between(&self, from: usize, until: usize) -> impl Iterator<Item = Set<'_>> {
        let before = from.checked_sub(1).and_then(|before| self.heads.get(before));
        let mut start = before.map_or((0, 0), |head| (head.changes_end as usize, head.texts_end));
        self.heads.get(from..until).unwrap_or_default().iter().map(move |head| {
            let end = (head.changes_end as usize, head.texts_end);
            let (changes, texts) = std::mem::replace(&mut start, end);
            Set {
                number: head.number,
                fingerprint: head.fingerprint,
                labels: head.labels as usize,
                changes: self.changes.get(changes..end.0).unwrap_or_default(),
                texts: self.texts.get(texts..end.1).unwrap_or_default(),
            }
        })
    }

    pub(super) fn clear(&mut self) {
        self.heads.clear();
        self.changes.clear();
        self.texts.clear();
    }

    /// Gives back memory that more than so many bytes would need.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        self.heads.shrink_to(bytes / size_of::<SetHead>());
        self.changes.shrink_to(bytes / size_of::<Change>());
        self.texts.shrink_to(bytes);
    }
}

impl Set<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.labels == 0
    }
}

/// Takes the labels of a series from the bytes where they begin.
type EachSet<'f, 'r> = dyn FnMut(u64, &mut Bytes<'r>) -> Result<(), RecordError> + 'f;

/// Reads one label set after the other.
#[derive(Debug, Default)]
pub(super) struct LabelReader {
    now: Layout,
    before: Layout,
    /// The bytes of the set before in the log, from one record to the next.
    raw: Vec<u8>,
    /// What changed in the sets of the record that is being read.
    texts: Vec<u8>,
}

/// A label set.
#[derive(Debug, Default)]
struct Layout {
    /// As a remote-write message has it: that is what is hashed.
    encoded: Vec<u8>,
    /// Where each label ends, in the log's bytes and in `encoded`.
    ends: Vec<(usize, usize)>,
}

impl Layout {
    fn clear(&mut self) {
        self.encoded.clear();
        self.ends.clear();
    }

    /// Where the label at a place begins.
    fn start(&self, at: usize) -> (usize, usize) {
        at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default()
    }

    /// How many bytes the log has for them.
    fn raw_bytes(&self) -> usize {
        self.start(self.ends.len()).0
    }

    /// Appends the labels of another set from a place to before another.
    fn extend(&mut self, other: &Self, from: usize, until: usize) {
        let (start, end) = (other.start(from), other.start(until));
        let own = (self.raw_bytes(), self.encoded.len());
        self.encoded.extend_from_slice(other.encoded.get(start.1..end.1).unwrap_or_default());
        let moved = |&(raw, encoded): &(usize, usize)| (raw - start.0 + own.0, encoded - start.1 + own.1);
        self.ends.extend(other.ends.get(from..until).unwrap_or_default().iter().map(moved));
    }
}

impl LabelReader {
    /// Reads a record of series and appends its label sets to `out`.
    ///
    /// # Errors
    ///
    /// See [`RecordError`]; the sets before the damage are read, and the next record can be read all the same.
    pub(super) fn read(&mut self, record: &[u8], table: &Table, out: &mut LabelSets) -> Result<(), RecordError> {
        self.read_record(table, out, |each| format::read_series_bytes(record, each))
    }

    /// Appends the one label set at the beginning of `bytes` to `out`: the series' number, then its labels. Gives the bytes
    /// behind it.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(super) fn read_one<'r>(
        &mut self,
        bytes: &'r [u8],
        table: &Table,
        out: &mut LabelSets,
    ) -> Result<&'r [u8], RecordError> {
        let mut rest = bytes;
        self.read_record(table, out, |each| {
            let mut bytes = Bytes(bytes);
            let number = bytes.u64()?;
            each(number, &mut bytes)?;
            rest = bytes.0;
            Ok(())
        })?;
        Ok(rest)
    }

    /// Reads what `sets` hands out: the number of each series, and the bytes where its labels begin.
    fn read_record<'r>(
        &mut self,
        table: &Table,
        out: &mut LabelSets,
        mut sets: impl FnMut(&mut EachSet<'_, 'r>) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        let known = (out.heads.len(), out.changes.len());
        let mut result = self.read_sets(table, out, &mut sets, |_| Ok(()));
        // Most texts are ASCII, which is seen faster of all of them than of each.
        if !self.texts.is_ascii() {
            out.heads.truncate(known.0);
            out.changes.truncate(known.1);
            self.now.clear();
            result = self.read_sets(table, out, &mut sets, |bytes| text(bytes).map(|_| ()));
        }
        out.texts.push_str(text(&self.texts)?);
        result
    }

    fn read_sets<'r>(
        &mut self,
        table: &Table,
        out: &mut LabelSets,
        sets: &mut impl FnMut(&mut EachSet<'_, 'r>) -> Result<(), RecordError>,
        check: impl Fn(&[u8]) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        self.texts.clear();
        let first = out.heads.len();
        let kept = std::mem::take(&mut self.raw);
        let mut before = kept.as_slice();
        let result = sets(&mut |number, bytes| {
            std::mem::swap(&mut self.now, &mut self.before);
            self.now.clear();
            before = self.read_labels(before, bytes, &mut out.changes, &check)?;
            out.heads.push(SetHead {
                number,
                fingerprint: table.fingerprint_encoded(&self.now.encoded),
                labels: self.now.ends.len() as u32,
                changes_end: out.changes.len() as u32,
                texts_end: out.texts.len() + self.texts.len(),
            });
            Ok(())
        });
        if result.is_err() {
            // The next set is not described by half of one.
            self.now.clear();
            out.changes.truncate(out.heads.last().map_or(0, |head| head.changes_end as usize));
            let last = out.heads.get(first..).and_then(<[SetHead]>::last);
            self.texts.truncate(last.map_or(0, |head| head.texts_end - out.texts.len()));
        }
        self.raw.extend_from_slice(before);
        result
    }

    /// Reads a set. Takes the log's bytes of the one before, and gives its own.
    fn read_labels<'r>(
        &mut self,
        raw_before: &[u8],
        bytes: &mut Bytes<'r>,
        changes: &mut Vec<Change>,
        check: impl Fn(&[u8]) -> Result<(), RecordError>,
    ) -> Result<&'r [u8], RecordError> {
        let Self { now, before, texts, .. } = self;
        let count = bytes.label_count()?;
        let raw = bytes.0;
        let mut at = 0;
        while at < count {
            // A label begins with its lengths: where the bytes are the same, it is the same.
            let start = before.start(at).0;
            let same_until = start + common_prefix(bytes.0, raw_before.get(start..).unwrap_or_default());
            let same = before.ends.iter().take(count).skip(at).take_while(|(raw, _)| *raw <= same_until).count();
            if same > 0 {
                bytes.take(before.start(at + same).0 - start)?;
                now.extend(before, at, at + same);
                at += same;
                continue;
            }
            let label = bytes.0;
            let name = bytes.text_bytes()?;
            // Where the bytes are the same to the end of the name, the name is the same.
            let name_until = start + label.len() - bytes.0.len();
            let has_name = at < before.ends.len() && name_until <= same_until;
            let new_name = Some(name).filter(|_| !has_name);
            let value = bytes.text_bytes()?;
            for part in new_name.into_iter().chain([value]) {
                check(part)?;
                texts.extend_from_slice(part);
            }
            table::put_label(&mut now.encoded, name, value);
            now.ends.push((raw.len() - bytes.0.len(), now.encoded.len()));
            let name_bytes = new_name.map(|name| name.len() as u32);
            changes.push(Change { place: at as u32, name: name_bytes, value: value.len() as u32 });
            at += 1;
        }
        Ok(raw.get(..now.raw_bytes()).unwrap_or_default())
    }
}

/// How many bytes at the start are the same.
#[inline]
fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    let (ones, others) = (one.as_chunks::<8>().0, other.as_chunks::<8>().0);
    for (at, (one, other)) in ones.iter().zip(others).enumerate() {
        let differs = u64::from_le_bytes(*one) ^ u64::from_le_bytes(*other);
        if differs != 0 {
            return at * 8 + differs.trailing_zeros() as usize / 8;
        }
    }
    let done = ones.len().min(others.len()) * 8;
    let rest = one.iter().zip(other).skip(done);
    done + rest.take_while(|(one, other)| one == other).count()
}

/// Turns label sets into numbers, in the order in which they were read.
#[derive(Debug, Default)]
pub(super) struct Packer {
    /// Symbols of the set before.
    names: Vec<u32>,
    /// Its shape, if it has one, and the symbols of its values.
    packed: Vec<u32>,
}

impl Packer {
    /// A set as numbers: its shape, then the symbol of each value. Each set of a reader must come here, and no symbol may have
    /// been given up since its first one.
    pub(super) fn pack(&mut self, set: &Set<'_>, index: &mut Index) -> &[u32] {
        let Self { names, packed } = self;
        let mut has_shape = names.len() == set.labels && !packed.is_empty();
        names.resize(set.labels, 0);
        packed.resize(1 + set.labels, 0);
        let mut rest = set.texts;
        let mut text = |bytes: u32| {
            let (text, behind) = rest.split_at_checked(bytes as usize).unwrap_or_default();
            rest = behind;
            text
        };
        for change in set.changes {
            let place = change.place as usize;
            if let (Some(bytes), Some(name)) = (change.name, names.get_mut(place)) {
                *name = index.symbols.intern(text(bytes));
                has_shape = false;
            }
            let value = text(change.value);
            if let Some(slot) = packed.get_mut(1 + place) {
                *slot = index.symbols.intern(value);
            }
        }
        if !has_shape && let Some(shape) = packed.first_mut() {
            *shape = index.shape(names);
        }
        packed
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wal::format::{RecordType, put_series};

    type Pairs = Vec<(String, String)>;

    /// Few texts, so that neighbours have much in common.
    fn sets() -> impl Strategy<Value = Vec<Pairs>> {
        let set = prop::collection::vec(("[ab]{1,2}", "[xyü]{0,2}|z{200}"), 0..5);
        prop::collection::vec(set, 0..30)
    }

    fn texts(set: &Pairs) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        set.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn record(sets: &[Pairs]) -> Vec<u8> {
        let mut record = vec![RecordType::Series as u8];
        sets.iter().enumerate().for_each(|(number, set)| put_series(&mut record, number as u64, texts(set)));
        record
    }

    proptest! {
        #[test]
        fn a_set_is_read_as_if_it_were_the_only_one(sets in sets(), records in 1usize..8) {
            let (table, mut index) = (Table::new(), Index::default());
            let (mut reader, mut packer, mut read) = (LabelReader::default(), Packer::default(), LabelSets::default());
            for sets in sets.chunks(records) {
                let known = read.len();
                reader.read(&record(sets), &table, &mut read).unwrap();
                prop_assert_eq!(read.len(), known + sets.len());
                for (number, set) in read.between(known, read.len()).enumerate() {
                    let expected = texts(&sets[number]);
                    prop_assert_eq!((set.number, set.is_empty()), (number as u64, expected.len() == 0));
                    prop_assert_eq!(set.fingerprint, table.fingerprint(expected));
                    let packed = packer.pack(&set, &mut index).to_vec();
                    prop_assert!(index.texts(&packed).eq(texts(&sets[number])));
                }
            }
        }

        #[test]
        fn sets_are_read_one_by_one_as_well(sets in sets(), behind in "[abü]{0,9}") {
            let (table, mut index) = (Table::new(), Index::default());
            let (mut reader, mut packer, mut read) = (LabelReader::default(), Packer::default(), LabelSets::default());
            for set in &sets {
                let known = read.len();
                let mut bytes = record(std::slice::from_ref(set)).split_off(1);
                bytes.extend_from_slice(behind.as_bytes());
                prop_assert_eq!(reader.read_one(&bytes, &table, &mut read), Ok(behind.as_bytes()));
                let one = read.between(known, read.len()).next().unwrap();
                prop_assert_eq!(one.fingerprint, table.fingerprint(texts(set)));
                let packed = packer.pack(&one, &mut index).to_vec();
                prop_assert!(index.texts(&packed).eq(texts(set)));
            }
        }

        #[test]
        fn damage_does_no_harm(sets in sets(), cut in 0usize..40, flip in 0usize..40) {
            let (table, mut index) = (Table::new(), Index::default());
            let (mut reader, mut packer, mut read) = (LabelReader::default(), Packer::default(), LabelSets::default());
            for (at, sets) in sets.chunks(3).enumerate() {
                let mut record = record(sets);
                match at % 3 {
                    0 => record.truncate(1 + cut),
                    // Often a text that is not UTF-8.
                    1 => record.get_mut(1 + flip).into_iter().for_each(|byte| *byte |= 0x80),
                    _ => {}
                }
                let known = read.len();
                let result = reader.read(&record, &table, &mut read);
                let mut expected = Vec::new();
                let expected_result = format::read_series(&record, |_, labels| {
                    expected.push(labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect::<Pairs>());
                });
                prop_assert_eq!(result.is_ok(), expected_result.is_ok());
                prop_assert_eq!(read.len(), known + expected.len());
                for (set, expected) in read.between(known, read.len()).zip(&expected) {
                    let packed = packer.pack(&set, &mut index).to_vec();
                    prop_assert!(index.texts(&packed).eq(texts(expected)));
                }
            }
        }

        #[test]
        fn a_common_prefix_ends_at_the_first_difference(one in "[ab]{0,20}", other in "[ab]{0,20}") {
            let same = one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count();
            prop_assert_eq!(common_prefix(one.as_bytes(), other.as_bytes()), same);
        }
    }
}
