//! Label sets: which of many series have the same labels, as far as one looks?
//!
//! Groups, matches and histograms are all series that agree in some of their labels. Here they are told apart by looking at
//! these labels where they are: a set is made only when it is seen for the first time.

use std::hash::{BuildHasher, Hash, Hasher};

use ferula_model::Labels;
use hashbrown::hash_table::{Entry, HashTable};
use hashbrown::{DefaultHashBuilder, HashMap};

/// Positions by label set.
pub(crate) type ByLabels<T> = HashMap<Labels, T>;

/// Different label sets, numbered in the order in which they were seen.
#[derive(Debug, Default)]
pub(crate) struct LabelSets {
    numbers: HashTable<usize>,
    sets: Vec<Labels>,
    hasher: PairHasher,
}

impl LabelSets {
    /// The number of a set of pairs, which rise by name; one more than the last known if it is new.
    pub(crate) fn number<'l>(&mut self, pairs: impl Iterator<Item = (&'l str, &'l str)> + Clone) -> usize {
        let Self { numbers, sets, hasher } = self;
        let hash = hasher.hash(pairs.clone());
        let same = |number: &usize| sets.get(*number).is_some_and(|set| has_pairs(set, pairs.clone()));
        let rehash = |number: &usize| sets.get(*number).map_or(0, |set| hasher.hash(set.iter()));
        match numbers.entry(hash, same, rehash) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(vacant) => {
                vacant.insert(sets.len());
                sets.push(Labels::from_sorted(pairs));
                sets.len() - 1
            }
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.sets.len()
    }

    /// All sets, by number.
    pub(crate) fn into_sets(self) -> Vec<Labels> {
        self.sets
    }
}

fn has_pairs<'l>(set: &Labels, mut pairs: impl Iterator<Item = (&'l str, &'l str)>) -> bool {
    set.iter().all(|pair| pairs.next() == Some(pair)) && pairs.next().is_none()
}

/// Hashes label pairs, each time differently: only equality within one query means something.
#[derive(Clone, Debug, Default)]
pub(crate) struct PairHasher(DefaultHashBuilder);

impl PairHasher {
    /// A hash of pairs.
    pub(crate) fn hash<'l>(&self, pairs: impl Iterator<Item = (&'l str, &'l str)>) -> u64 {
        let mut hasher = self.begin();
        pairs.for_each(|pair| pair.hash(&mut hasher));
        hasher.finish()
    }

    /// A hash to which pairs are added one by one.
    pub(crate) fn begin(&self) -> impl Hasher + use<> {
        self.0.build_hasher()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_numbered_as_they_come_and_known_again() {
        let mut sets = LabelSets::default();
        let pairs = |value| [("a", "1"), ("b", value)].into_iter();
        let texts: Vec<String> = (0..100).map(|value| value.to_string()).collect();
        for _ in 0..2 {
            let numbers: Vec<usize> = texts.iter().map(|text| sets.number(pairs(text))).collect();
            assert_eq!(numbers, (0..100).collect::<Vec<_>>());
        }
        assert_eq!(sets.number(std::iter::empty()), 100);
        assert_eq!(sets.len(), 101);
        assert_eq!(sets.into_sets()[7].to_string(), "{a=\"1\", b=\"7\"}");
    }
}
