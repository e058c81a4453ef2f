//! Intersection, union and difference of lists.

use super::List;

/// Above so many lists, a union looks for something better than merging them pair by pair.
const MERGED_LISTS_MAX: usize = 2;

/// A bitmap is worth it when the union holds at least one series in so many of its span: a bitmap costs a bit for each number
/// of the span, sorting costs some twenty operations for each series.
const SPAN_PER_SERIES_MAX: usize = 256;

/// The series that are in all lists; of no lists, none. Reorders `lists` by rising length.
pub fn intersect(lists: &mut [List<'_>]) -> Vec<u32> {
    lists.sort_by_key(|list| list.len());
    let Some((first, others)) = lists.split_first() else {
        return Vec::new();
    };
    let Some((second, others)) = others.split_first() else {
        return first.to_vec();
    };
    let mut kept = Vec::new();
    keep_common(*first, *second, |series| kept.push(series));
    for other in others {
        let candidates = std::mem::take(&mut kept);
        keep_common(List::Native(&candidates), *other, |series| kept.push(series));
    }
    kept
}

/// Whether two lists share a series.
pub fn intersects(a: List<'_>, b: List<'_>) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let (mut i, mut j) = (0, 0);
    while let (Some(x), Some(y)) = (short.at(i), long.at(j)) {
        match x.cmp(&y) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => i = short.seek(i, y),
            std::cmp::Ordering::Greater => j = long.seek(j, x),
        }
    }
    false
}

fn keep_common(a: List<'_>, b: List<'_>, mut keep: impl FnMut(u32)) {
    let (mut i, mut j) = (0, 0);
    while let (Some(x), Some(y)) = (a.at(i), b.at(j)) {
        if x == y {
            keep(x);
            (i, j) = (i + 1, j + 1);
        } else if x < y {
            i = a.seek(i, y);
        } else {
            j = b.seek(j, x);
        }
    }
}

/// The series that are in at least one list.
pub fn union(lists: &[List<'_>]) -> Vec<u32> {
    let total: usize = lists.iter().map(|list| list.len()).sum();
    let bounds = lists.iter().filter_map(|list| list.bounds());
    let Some((low, high)) = bounds.reduce(|(a, b), (c, d)| (a.min(c), b.max(d))) else {
        return Vec::new();
    };
    let span = (high.saturating_sub(low)) as usize + 1;
    if lists.len() <= MERGED_LISTS_MAX {
        return merge(lists.first().copied(), lists.get(1).copied());
    }
    if span / SPAN_PER_SERIES_MAX <= total {
        return union_by_bitmap(lists, low, high);
    }
    let mut all = Vec::with_capacity(total);
    for list in lists {
        list.copy_to(&mut all);
    }
    all.sort_unstable();
    all.dedup();
    all
}

fn merge(a: Option<List<'_>>, b: Option<List<'_>>) -> Vec<u32> {
    let (a, b) = (a.unwrap_or(List::Native(&[])), b.unwrap_or(List::Native(&[])));
    let mut out = Vec::with_capacity(a.len() + b.len());
    let (mut i, mut j) = (0, 0);
    loop {
        match (a.at(i), b.at(j)) {
            (Some(x), Some(y)) => {
                out.push(x.min(y));
                i += usize::from(x <= y);
                j += usize::from(y <= x);
            }
            (Some(x), None) => {
                out.push(x);
                i += 1;
            }
            (None, Some(y)) => {
                out.push(y);
                j += 1;
            }
            (None, None) => return out,
        }
    }
}

fn union_by_bitmap(lists: &[List<'_>], low: u32, high: u32) -> Vec<u32> {
    let span = high.saturating_sub(low) as usize + 1;
    let mut words = vec![0u64; span.div_ceil(64)];
    let mut set = |series: u32| {
        let bit = series.wrapping_sub(low) as usize;
        // A list that does not rise may lie outside of its own bounds.
        if let Some(word) = words.get_mut(bit / 64) {
            *word |= 1 << (bit % 64);
        }
    };
    for list in lists {
        match list {
            List::Native(list) => list.iter().for_each(|series| set(*series)),
            List::BigEndian(list) => list.iter().for_each(|bytes| set(u32::from_be_bytes(*bytes))),
        }
    }
    let mut out = Vec::with_capacity(words.iter().map(|word| word.count_ones() as usize).sum());
    for (at, word) in words.into_iter().enumerate() {
        let mut rest = word;
        while rest != 0 {
            out.push(low + at as u32 * 64 + rest.trailing_zeros());
            rest &= rest - 1;
        }
    }
    out
}

/// The series of `base` that are not in `removed`.
pub fn subtract(mut base: Vec<u32>, removed: List<'_>) -> Vec<u32> {
    let mut at = 0;
    base.retain(|&series| {
        at = removed.seek(at, series);
        removed.at(at) != Some(series)
    });
    base
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn numbers() -> impl Strategy<Value = BTreeSet<u32>> {
        let dense = prop::collection::btree_set(0u32..200, 0..80);
        let sparse = prop::collection::btree_set(any::<u32>(), 0..40);
        let far = prop::collection::btree_set((u32::MAX - 100)..=u32::MAX, 0..40);
        prop_oneof![dense, sparse, far]
    }

    /// Every second list as a block has it.
    fn with_lists<R>(sets: &[BTreeSet<u32>], then: impl FnOnce(&mut [List<'_>]) -> R) -> R {
        let native: Vec<Vec<u32>> = sets.iter().map(|set| set.iter().copied().collect()).collect();
        let big: Vec<Vec<[u8; 4]>> = native.iter().map(|l| l.iter().map(|n| n.to_be_bytes()).collect()).collect();
        let pick = |i: usize| if i.is_multiple_of(2) { List::Native(&native[i]) } else { List::BigEndian(&big[i]) };
        then(&mut (0..sets.len()).map(pick).collect::<Vec<_>>())
    }

    proptest! {
        #[test]
        fn the_algebra_is_that_of_sets(sets in prop::collection::vec(numbers(), 1..6)) {
            let all: BTreeSet<u32> = sets.iter().flatten().copied().collect();
            let common: BTreeSet<u32> = all.iter().copied().filter(|n| sets.iter().all(|s| s.contains(n))).collect();
            let left: Vec<u32> = all.difference(&sets[0]).copied().collect();
            with_lists(&sets, |lists| {
                let base = all.iter().copied().collect();
                prop_assert_eq!(subtract(base, lists[0]), left);
                for n in all.iter().take(20) {
                    prop_assert_eq!(lists[0].contains(*n), sets[0].contains(n));
                }
                if let [a, b, ..] = lists {
                    prop_assert_eq!(intersects(*a, *b), !sets[0].is_disjoint(&sets[1]));
                }
                prop_assert_eq!(union(lists), all.into_iter().collect::<Vec<_>>());
                prop_assert_eq!(intersect(lists), common.into_iter().collect::<Vec<_>>());
                Ok(())
            })?;
        }
    }

    #[test]
    fn lists_that_do_not_rise_do_no_harm() {
        let wild = [9, 3, 3, 0, u32::MAX, 1];
        let lists = &mut [List::Native(&wild), List::Native(&[3, 4]), List::Native(&[0, 9])];
        union(lists);
        intersect(lists);
        subtract(wild.to_vec(), List::Native(&wild));
    }
}
