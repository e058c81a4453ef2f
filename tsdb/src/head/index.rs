//! The inverted index: label name, value, series.
//!
//! Labels are numbers here: a series is a *shape* (which names it has) and the symbols of its values, so that ten labels
//! cost 44 bytes. Posting lists rise; short ones lie in the map itself.

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
        let (mut left, mut right) = (self.pairs(a), self.pairs(b));
        loop {
            let (one, other) = match (left.next(), right.next()) {
                (Some(one), Some(other)) if one == other => continue,
                (Some(one), Some(other)) => (one, other),
                (None, None) => return Ordering::Equal,
                (None, Some(_)) => return Ordering::Less,
                (Some(_), None) => return Ordering::Greater,
            };
            let text = |number| self.symbols.text(number);
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

    /// As [`add`](Self::add) for every series, as long as the posting lists are empty: each list is counted and then filled,
    /// so that it is allocated once, with the length that it needs. Each part hands out its series by rising number, those of
    /// one part before those of the next, whenever it is called; there is a thread for each.
    pub(super) fn add_all(&mut self, parts: &[impl Fn(&mut dyn FnMut(u32, &[u32])) + Sync]) {
        let (index, symbols) = (&*self, self.symbols.numbers_end());
        let counted: Vec<PairNumbers> = side_by_side(parts.iter().map(|each| {
            move || {
                let mut numbers = PairNumbers::new(symbols);
                each(&mut |_, packed| index.pairs(packed).for_each(|(name, value)| numbers.count(name, value, 1)));
                numbers
            }
        }));
        let mut all = PairNumbers::new(symbols);
        for pair in counted.iter().flat_map(|part| &part.pairs) {
            all.count(pair.name, pair.value, pair.series);
        }
        let mut lists: Vec<Posting> =
            all.pairs.iter().map(|pair| Posting::from_elem(0, pair.series as usize)).collect();
        // The part of each list that is a part's own.
        let mut rests: Vec<&mut [u32]> = lists.iter_mut().map(|list| &mut **list).collect();
        let shares: Vec<(PairNumbers, Vec<std::slice::IterMut<'_, u32>>)> = counted
            .into_iter()
            .map(|part| {
                let share = |pair: &Pair| {
                    let Some(rest) = rests.get_mut(all.number(pair.name, pair.value)) else { return [].iter_mut() };
                    let (own, behind) =
                        std::mem::take(rest).split_at_mut_checked(pair.series as usize).unwrap_or_default();
                    *rest = behind;
                    own.iter_mut()
                };
                let places = part.pairs.iter().map(share).collect();
                (part, places)
            })
            .collect();
        side_by_side(parts.iter().zip(shares).map(|(each, (mut numbers, mut places))| {
            move || {
                each(&mut |series, packed| {
                    for (name, value) in index.pairs(packed) {
                        if let Some(place) = places.get_mut(numbers.number(name, value)).and_then(Iterator::next) {
                            *place = series;
                        }
                    }
                });
            }
        }));
        for (pair, list) in all.pairs.into_iter().zip(lists) {
            self.symbols.hold(pair.value);
            self.posting_bytes += heap_bytes(&list);
            self.names.entry(pair.name).or_default().values.insert(pair.value, list);
            self.pairs += 1;
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

/// Label pairs in the order in which they were met. Most values belong to one name: those are found without hashing.
#[derive(Default)]
struct PairNumbers {
    /// By the symbol of the value: the name that it was met with first, and the number of the pair.
    by_value: Vec<(u32, u32)>,
    others: Map<(u32, u32), u32>,
    pairs: Vec<Pair>,
}

struct Pair {
    name: u32,
    value: u32,
    series: u32,
}

impl PairNumbers {
    /// No symbol has this number.
    const NONE: (u32, u32) = (u32::MAX, 0);

    /// For symbols below `symbols`.
    fn new(symbols: usize) -> Self {
        Self { by_value: vec![Self::NONE; symbols], ..Self::default() }
    }

    /// Counts series with a pair.
    #[inline]
    fn count(&mut self, name: u32, value: u32, series: u32) {
        let number = self.number(name, value);
        if let Some(pair) = self.pairs.get_mut(number) {
            pair.series += series;
        }
    }

    #[inline]
    fn number(&mut self, name: u32, value: u32) -> usize {
        let Some(first) = self.by_value.get_mut(value as usize) else { return usize::MAX };
        if first.0 != name {
            let next = self.pairs.len() as u32;
            let pair = if first.0 == Self::NONE.0 {
                *first = (name, next);
                next
            } else {
                *self.others.entry((name, value)).or_insert(next)
            };
            if pair == next {
                self.pairs.push(Pair { name, value, series: 0 });
            }
            return pair as usize;
        }
        first.1 as usize
    }
}

/// Runs each task on a thread of its own, the first one on this.
fn side_by_side<T: Send>(mut tasks: impl Iterator<Item = impl FnOnce() -> T + Send>) -> Vec<T> {
    std::thread::scope(|scope| {
        let first = tasks.next();
        let others: Vec<_> = tasks.map(|task| scope.spawn(task)).collect();
        let first = first.map(|task| task());
        let others =
            others.into_iter().map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        first.into_iter().chain(others).collect()
    })
}

fn heap_bytes(list: &Posting) -> usize {
    if list.spilled() { list.capacity() * size_of::<u32>() } else { 0 }
}

/// Adds a series, nearly always at the end.
fn insert(list: &mut Posting, series: u32) {
    // Long lists grow by an eighth, not by doubling: they are most of the index.
    if list.len() == list.capacity() && list.len() >= 64 {
        list.reserve_exact(list.len() / 8);
    }
    match list.last() {
        Some(&last) if last >= series => {
            if let Err(at) = list.binary_search(&series) {
                list.insert(at, series);
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
    fn many_series_at_once_are_the_same_as_one_after_the_other() {
        (1..4).for_each(many_at_once);
    }

    fn many_at_once(parts: usize) {
        let (mut one_by_one, mut at_once) = (Index::default(), Index::default());
        let mut all = Vec::new();
        for series in (0..300).step_by(3) {
            let (five, seven) = (format!("v{}", series % 5), format!("v{}", series % 7));
            // Values that several names have, and a shape that not all series have.
            let labels = [("five", five.as_str()), ("same", "v1"), ("seven", seven.as_str())];
            let labels = labels.get(..2 + series as usize % 2).unwrap_or_default();
            let packed = one_by_one.pack(labels);
            one_by_one.add(series, &packed);
            all.push((series, at_once.pack(labels)));
        }
        let parts: Vec<_> = all
            .chunks(all.len().div_ceil(parts))
            .map(|part| {
                move |each: &mut dyn FnMut(u32, &[u32])| part.iter().for_each(|(series, packed)| each(*series, packed))
            })
            .collect();
        at_once.add_all(&parts);
        assert_eq!(at_once.pair_count(), one_by_one.pair_count());
        for (name, entry) in one_by_one.names() {
            for value in entry.values.keys().map(|value| one_by_one.symbols.text(*value)) {
                assert_eq!(at_once.posting(name, value), one_by_one.posting(name, value), "{name} {value}");
            }
        }
        let mut pairs: Vec<_> = all.iter().flat_map(|(_, packed)| at_once.pairs(packed).collect::<Vec<_>>()).collect();
        pairs.sort_unstable();
        pairs.dedup();
        at_once.remove(&all.iter().map(|(series, _)| *series).collect::<Vec<_>>(), &pairs);
        assert_eq!((at_once.pair_count(), at_once.posting_bytes), (0, 0));
        assert_eq!(at_once.symbols.len(), 3, "the names of known shapes stay");
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
