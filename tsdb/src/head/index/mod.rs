//! The inverted index: label name, value, series.
//!
//! Labels are numbers here: a series is a *shape* (which names it has) and the symbols of its values, so that ten labels
//! cost 44 bytes. Posting lists rise; short ones lie in the map itself.

mod bulk;

use std::cmp::Ordering;
use std::sync::Arc;

use ferula_model::Labels;
use hashbrown::HashMap;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::symbols::Symbols;

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;
/// Series with one label pair, rising. Up to four lie in place.
pub(super) type Posting = SmallVec<[u32; 4]>;

/// The labels of a series: the number of its shape, then the symbol of each value.
pub(super) type PackedLabels = Box<[u32]>;

/// Symbols, shapes and postings.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) symbols: Symbols,
    shapes: Vec<Box<[u32]>>,
    shape_numbers: Map<Box<[u32]>, u32>,
    names: Map<u32, Name>,
    /// The labels that were packed last. Their symbols may be gone since; a symbol counts by the text that it has now.
    last: Vec<u32>,
    /// Bytes of posting lists.
    posting_bytes: usize,
    pairs: usize,
}

/// The values of a label name.
#[derive(Debug, Default)]
pub(super) struct Name {
    pub(super) values: Map<u32, Posting>,
    /// The symbols of the values in the order of their texts, as long as no value comes or goes.
    sorted: Mutex<Option<Arc<[u32]>>>,
}

/// Bytes of a label pair's entry in the map, at its usual fill.
const PAIR_BYTES: usize = (size_of::<(u32, Posting)>() + 1) * 3 / 2;

impl Index {
    /// Turns labels into numbers. The symbols are kept as long as the series is in the postings.
    pub(super) fn pack(&mut self, labels: &[(&str, &str)]) -> PackedLabels {
        // Series come with their neighbours: most of their labels are those of the series before, and comparing texts that
        // were just in use is cheaper than looking them up.
        let last = std::mem::take(&mut self.last);
        let (last_shape, last_values) = last.split_first().map_or((u32::MAX, [].as_slice()), |(s, v)| (*s, v));
        let Self { symbols, shapes, .. } = self;
        let last_names = shapes.get(last_shape as usize).map_or([].as_slice(), |names| names);
        let mut number = |last: Option<&u32>, text: &str| match last {
            // A symbol that is gone has no text.
            Some(&number) if !text.is_empty() && symbols.text(number) == text => number,
            _ => symbols.intern(text),
        };
        let names: SmallVec<[u32; 24]> =
            labels.iter().enumerate().map(|(at, (name, _))| number(last_names.get(at), name)).collect();
        let values: SmallVec<[u32; 24]> =
            labels.iter().enumerate().map(|(at, (_, value))| number(last_values.get(at), value)).collect();
        let shape = if names.as_slice() == last_names { last_shape } else { self.shape(&names) };
        let packed: PackedLabels = std::iter::once(shape).chain(values).collect();
        self.last = last;
        self.last.clear();
        self.last.extend_from_slice(&packed);
        packed
    }

    /// The number of a shape, which is added if it is new.
    pub(super) fn shape(&mut self, names: &[u32]) -> u32 {
        if let Some(&shape) = self.shape_numbers.get(names) {
            return shape;
        }
        let shape = self.shapes.len() as u32;
        names.iter().for_each(|&name| self.symbols.hold(name));
        self.shapes.push(names.into());
        self.shape_numbers.insert(names.into(), shape);
        shape
    }

    /// The symbols of name and value of each label, by rising name.
    pub(super) fn pairs<'a>(&'a self, packed: &'a [u32]) -> impl ExactSizeIterator<Item = (u32, u32)> + Clone + 'a {
        let (shape, values) =
            packed.split_first().map_or((u32::MAX, [].as_slice()), |(shape, values)| (*shape, values));
        let names = self.shapes.get(shape as usize).map_or([].as_slice(), |names| names);
        names.iter().copied().zip(values.iter().copied())
    }

    /// Name and value of each label, by rising name.
    pub(super) fn texts<'a>(
        &'a self,
        packed: &'a [u32],
    ) -> impl ExactSizeIterator<Item = (&'a str, &'a str)> + Clone + 'a {
        self.pairs(packed).map(|(name, value)| (self.symbols.text(name), self.symbols.text(value)))
    }

    /// The labels as other crates know them.
    pub(super) fn labels(&self, packed: &[u32]) -> Labels {
        Labels::from_sorted(self.texts(packed))
    }

    /// The value of a label by the symbol of its name.
    pub(super) fn value_of(&self, packed: &[u32], name: u32) -> Option<u32> {
        self.pairs(packed).find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// Compares label sets as [`Labels`] does.
    pub(super) fn compare(&self, a: &[u32], b: &[u32]) -> Ordering {
        let text = |number| self.symbols.text(number);
        if a.first() == b.first() {
            // With the same names the first value that differs decides.
            let different = a.iter().zip(b).find(|(one, other)| one != other);
            return different.map_or(Ordering::Equal, |(one, other)| text(*one).cmp(text(*other)));
        }
        let (mut left, mut right) = (self.pairs(a), self.pairs(b));
        loop {
            let (one, other) = match (left.next(), right.next()) {
                (Some(one), Some(other)) if one == other => continue,
                (Some(one), Some(other)) => (one, other),
                (None, None) => return Ordering::Equal,
                (None, Some(_)) => return Ordering::Less,
                (Some(_), None) => return Ordering::Greater,
            };
            return text(one.0).cmp(text(other.0)).then_with(|| text(one.1).cmp(text(other.1)));
        }
    }

    /// Adds a series to the posting lists of its labels.
    pub(super) fn add(&mut self, series: u32, packed: &[u32]) {
        let (shape, values) =
            packed.split_first().map_or((u32::MAX, [].as_slice()), |(shape, values)| (*shape, values));
        let Self { symbols, shapes, names, posting_bytes, pairs, .. } = self;
        let Some(shape) = shapes.get(shape as usize) else { return };
        for (&name, &value) in shape.iter().zip(values) {
            let name = names.entry(name).or_default();
            let list = name.values.entry(value).or_insert_with(|| {
                symbols.hold(value);
                *name.sorted.get_mut() = None;
                *pairs += 1;
                Posting::new()
            });
            let before = heap_bytes(list);
            insert(list, series);
            *posting_bytes = *posting_bytes + heap_bytes(list) - before;
        }
    }

    /// Takes dead series out of all posting lists. `pairs` are the label pairs that they had.
    pub(super) fn remove(&mut self, dead: &[u32], pairs: &[(u32, u32)]) {
        for &(name, value) in pairs {
            let Some(entry) = self.names.get_mut(&name) else { continue };
            let Some(list) = entry.values.get_mut(&value) else { continue };
            let before = heap_bytes(list);
            list.retain(|series| dead.binary_search(series).is_err());
            if list.is_empty() {
                entry.values.remove(&value);
                *entry.sorted.get_mut() = None;
                self.symbols.release(value);
                self.pairs -= 1;
                self.posting_bytes -= before;
            } else {
                if list.len() * 2 < list.capacity() {
                    list.shrink_to_fit();
                }
                self.posting_bytes = self.posting_bytes + heap_bytes(list) - before;
            }
            if entry.values.is_empty() {
                self.names.remove(&name);
            }
        }
    }

    /// The series with a label pair.
    pub(super) fn posting(&self, name: &str, value: &str) -> &[u32] {
        let find = || self.names.get(&self.symbols.number(name)?)?.values.get(&self.symbols.number(value)?);
        find().map_or(&[], |list| list)
    }

    /// The values of a name.
    pub(super) fn name(&self, name: &str) -> Option<&Name> {
        self.names.get(&self.symbols.number(name)?)
    }

    /// The values of a name as symbols, by rising text.
    pub(super) fn sorted_values(&self, name: &Name) -> Arc<[u32]> {
        let mut cached = name.sorted.lock();
        if let Some(sorted) = &*cached {
            return Arc::clone(sorted);
        }
        let mut values: Vec<u32> = name.values.keys().copied().collect();
        values.sort_unstable_by(|&a, &b| self.symbols.text(a).cmp(self.symbols.text(b)));
        let sorted: Arc<[u32]> = values.into();
        *cached = Some(Arc::clone(&sorted));
        sorted
    }

    /// All label names with their values.
    pub(super) fn names(&self) -> impl ExactSizeIterator<Item = (&str, &Name)> {
        self.names.iter().map(|(&name, entry)| (self.symbols.text(name), entry))
    }

    /// How many label pairs there are.
    pub(super) fn pair_count(&self) -> usize {
        self.pairs
    }

    /// About how many bytes all of this occupies.
    pub(super) fn bytes(&self) -> usize {
        self.symbols.bytes() + self.posting_bytes + self.pairs * PAIR_BYTES
    }
}

fn heap_bytes(list: &Posting) -> usize {
    if list.spilled() { list.capacity() * size_of::<u32>() } else { 0 }
}

/// So far from the end of a list is looked for a place first.
const NEAR: usize = 256;

/// Adds a series, nearly always at the end or close to it.
fn insert(list: &mut Posting, series: u32) {
    // Long lists grow by a quarter, not by doubling: they are most of the index.
    if list.len() == list.capacity() && list.len() >= 64 {
        list.reserve_exact(list.len() / 4);
    }
    match list.last() {
        Some(&last) if last >= series => {
            // Whoever creates series at the same time has numbers not far from these.
            let near = list.len().saturating_sub(NEAR);
            let from = if list.get(near).is_some_and(|&first| first <= series) { near } else { 0 };
            if let Err(at) = list[from..].binary_search(&series) {
                list.insert(from + at, series);
            }
        }
        _ => list.push(series),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_pack_and_compare_as_labels() {
        let mut index = Index::default();
        let sets: [&[(&str, &str)]; 4] =
            [&[("a", "1"), ("b", "2")], &[("a", "1")], &[("a", "1"), ("b", "10")], &[("b", "0")]];
        let packed: Vec<_> = sets.iter().map(|labels| index.pack(labels)).collect();
        for (one, a) in sets.iter().zip(&packed) {
            assert_eq!(index.labels(a), Labels::from_pairs(one.iter().copied()));
            for (other, b) in sets.iter().zip(&packed) {
                let expected = Labels::from_pairs(one.iter().copied()).cmp(&Labels::from_pairs(other.iter().copied()));
                assert_eq!(index.compare(a, b), expected);
            }
        }
    }

    #[test]
    fn symbols_of_the_series_before_are_not_believed_when_they_are_gone() {
        let mut index = Index::default();
        let first = index.pack(&[("a", "one"), ("b", "two")]);
        index.add(1, &first);
        let pairs: Vec<_> = index.pairs(&first).collect();
        index.remove(&[1], &pairs);
        // The numbers of the values are free, and taken in another order.
        let other = index.pack(&[("a", "two"), ("b", "three")]);
        index.add(2, &other);
        let again = index.pack(&[("a", "one"), ("b", "two")]);
        index.add(3, &again);
        for (packed, texts) in [(other, [("a", "two"), ("b", "three")]), (again, [("a", "one"), ("b", "two")])] {
            assert!(index.texts(&packed).eq(texts));
        }
        assert_eq!((index.posting("a", "two"), index.posting("b", "two")), ([2].as_slice(), [3].as_slice()));
    }

    #[test]
    fn postings_rise_in_whatever_order_series_come() {
        let mut list = Posting::new();
        // Runs of two appenders, a straggler far behind them, and what is there already.
        let runs = (0..20).flat_map(|run| (0..64).flat_map(move |i| [run * 128 + 64 + i, run * 128 + i]));
        for series in runs.filter(|series| *series != 5).chain([5, 700, 2559]) {
            insert(&mut list, series);
        }
        assert!(list.iter().copied().eq(0..2560));
    }

    #[test]
    fn removal_leaves_nothing_behind() {
        let mut index = Index::default();
        let mut pairs = Vec::new();
        for series in 0..100 {
            let value = format!("v{}", series % 7);
            let packed = index.pack(&[("n", &value), ("same", "x")]);
            index.add(series, &packed);
            pairs.extend(index.pairs(&packed));
        }
        assert_eq!(index.posting("n", "v3").len(), 14);
        pairs.sort_unstable();
        pairs.dedup();
        index.remove(&(0..50).collect::<Vec<_>>(), &pairs);
        assert_eq!(index.posting("same", "x").len(), 50);
        index.remove(&(50..100).collect::<Vec<_>>(), &pairs);
        assert_eq!((index.pair_count(), index.names().count(), index.posting_bytes), (0, 0, 0));
        assert_eq!(index.symbols.len(), 2, "the names of known shapes stay");
    }
}
