//! Posting lists of many series at once, as after replay: counted first, then filled, on all cores.

use super::{Index, Map, Posting, heap_bytes};

impl Index {
    /// As [`add`](Self::add) for every series, as long as the posting lists are empty: each list is counted and then filled,
    /// so that it is allocated once, with the length that it needs. Each part hands out its series by rising number, those of
    /// one part before those of the next, whenever it is called; there is a thread for each.
    pub(in crate::head) fn add_all(&mut self, parts: &[impl Fn(&mut dyn FnMut(u32, &[u32])) + Sync]) {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
