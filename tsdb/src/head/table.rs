//! From labels to a series: one hash, one comparison.
//!
//! Comparing ten labels string by string would touch twenty cache lines. The table keeps 96 bits of a keyed 128-bit
//! fingerprint for each series instead and trusts them: two of a hundred million label sets agree in them by chance once
//! in 10^13 databases, and the keys are drawn anew at every start, so that nobody can arrange it.

use hashbrown::HashTable;
use parking_lot::RwLock;

/// How many shards: enough that two writers rarely meet.
const SHARDS: usize = 32;

/// Fingerprints of all series.
#[derive(Debug)]
pub(super) struct Table {
    keys: [u64; 4],
    shards: [RwLock<HashTable<Slot>>; SHARDS],
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    low: u64,
    high: u32,
    series: u32,
}

/// 128 bits of a label set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    low: u64,
    high: u64,
}

impl Table {
    pub(super) fn new() -> Self {
        use std::hash::{BuildHasher, Hasher};
        let random = || foldhash::quality::RandomState::default().build_hasher().finish();
        Self { keys: [random(), random(), random() | 1, random() | 1], shards: Default::default() }
    }

    /// The fingerprint of labels in their order.
    #[inline]
    pub(super) fn fingerprint<'a>(&self, labels: impl Iterator<Item = (&'a str, &'a str)>) -> Fingerprint {
        let [mut low, mut high, key_low, key_high] = self.keys;
        let mut mix = |one: u64, two: u64| {
            low = fold(low ^ one, two ^ key_low);
            high = fold(high ^ two.rotate_left(32), one ^ key_high);
        };
        for (name, value) in labels {
            let lengths = (name.len() as u64) << 32 | value.len() as u64;
            mix(lengths, tail(name.as_bytes()));
            whole(name.as_bytes(), &mut mix);
            mix(tail(value.as_bytes()), !lengths);
            whole(value.as_bytes(), &mut mix);
        }
        Fingerprint { low: fold(low, high ^ key_high), high: fold(high, low ^ key_low) }
    }

    fn shard(&self, fingerprint: Fingerprint) -> &RwLock<HashTable<Slot>> {
        &self.shards[fingerprint.high as usize % SHARDS]
    }

    /// The series with this fingerprint.
    #[inline]
    pub(super) fn find(&self, fingerprint: Fingerprint) -> Option<u32> {
        let high = (fingerprint.high >> 32) as u32;
        let same = |slot: &Slot| slot.low == fingerprint.low && slot.high == high;
        self.shard(fingerprint).read().find(fingerprint.low, same).map(|slot| slot.series)
    }

    /// Adds a series that is not there.
    pub(super) fn insert(&self, fingerprint: Fingerprint, series: u32) {
        let slot = Slot { low: fingerprint.low, high: (fingerprint.high >> 32) as u32, series };
        self.shard(fingerprint).write().insert_unique(slot.low, slot, |slot| slot.low);
    }

    /// Forgets a series.
    pub(super) fn remove(&self, fingerprint: Fingerprint, series: u32) {
        let mut shard = self.shard(fingerprint).write();
        if let Ok(entry) = shard.find_entry(fingerprint.low, |slot| slot.series == series) {
            entry.remove();
        }
        if shard.len() * 4 < shard.capacity() {
            shard.shrink_to_fit(|slot| slot.low);
        }
    }

    /// Bytes of the table.
    pub(super) fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().allocation_size()).sum()
    }
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// All whole 16-byte blocks of `bytes`, then the 8-byte word that [`tail`] did not take.
#[inline]
fn whole(bytes: &[u8], mix: &mut impl FnMut(u64, u64)) {
    let mut rest = bytes;
    while let Some((block, after)) = rest.split_first_chunk::<16>() {
        let (one, two) = block.split_at(8);
        mix(word(one), word(two));
        rest = after;
    }
    if rest.len() > 8 {
        mix(word(rest.get(..8).unwrap_or_default()), rest.len() as u64);
    }
}

/// The last eight bytes of a text, or all of a shorter one.
#[inline]
fn tail(bytes: &[u8]) -> u64 {
    match bytes.last_chunk::<8>() {
        Some(last) => u64::from_le_bytes(*last),
        None => word(bytes),
    }
}

/// Up to eight bytes as a number.
#[inline]
fn word(bytes: &[u8]) -> u64 {
    if let Some(eight) = bytes.first_chunk::<8>() {
        return u64::from_le_bytes(*eight);
    }
    match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>(), bytes) {
        (Some(first), Some(last), _) => {
            u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
        }
        (_, _, [one, .., last]) => {
            let middle = bytes.get(bytes.len() / 2).copied().unwrap_or_default();
            u64::from(*one) << 16 | u64::from(middle) << 8 | u64::from(*last)
        }
        (_, _, [one]) => u64::from(*one),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn neighbours_differ() {
        let table = Table::new();
        let mut seen = std::collections::HashSet::new();
        for length in 0..70 {
            for flip in 0..=length {
                let text: String = (0..length).map(|i| if i == flip { 'x' } else { 'a' }).collect();
                for labels in [[("n", text.as_str())], [(text.as_str(), "n")]] {
                    let fingerprint = table.fingerprint(labels.into_iter());
                    seen.insert((fingerprint.low, fingerprint.high));
                }
            }
        }
        // Length 1 has "x" and "a" once; every other length one text per position and one without a flip.
        assert_eq!(seen.len(), (0..70).map(|length| (length + 1) * 2).sum::<usize>());
    }

    proptest! {
        #[test]
        fn what_is_inserted_is_found_until_it_is_removed(texts in prop::collection::hash_set("[a-c]{0,20}", 1..50)) {
            let table = Table::new();
            let texts: Vec<_> = texts.into_iter().collect();
            let fingerprint = |text: &str| table.fingerprint([("l", text)].into_iter());
            for (series, text) in texts.iter().enumerate() {
                prop_assert_eq!(table.find(fingerprint(text)), None);
                table.insert(fingerprint(text), series as u32);
            }
            for (series, text) in texts.iter().enumerate() {
                prop_assert_eq!(table.find(fingerprint(text)), Some(series as u32));
                table.remove(fingerprint(text), series as u32);
                prop_assert_eq!(table.find(fingerprint(text)), None);
            }
        }
    }
}
