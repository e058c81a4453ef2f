//! From labels to a series: one hash, one comparison.
//!
//! Comparing ten labels string by string would touch twenty cache lines. The table keeps 96 bits of a keyed 128-bit
//! fingerprint for each series instead and trusts them: two of a hundred million label sets agree in them by chance once
//! in 10^13 databases, and the keys are drawn anew at every start, so that nobody can arrange it.
//!
//! What is hashed is the label set as a remote-write message has it, so that a receiver can ask for the bytes that it
//! got, without taking them apart ([`Table::fingerprint_encoded`]).
//!
//! ```text
//!  fingerprint --guess: the series that followed the last one--> cards[guess] agrees? --yes--> series
//!        |                                                            | no
//!        +------------------> shards: fingerprint -> number ----------+
//! ```
//!
//! Fingerprints lie in *cards* by series number; the [`LineTable`] of each shard holds numbers, and of each hash no more
//! than says whose card is worth a look. Whoever sends the same series again and again sends them in the same order; each card
//! remembers who came next, and then a look at the neighbouring card replaces two misses of the cache.

mod encode;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use parking_lot::RwLock;

pub(super) use self::encode::put_label;
use self::encode::{Encoder, LABEL_OVERHEAD_MAX};
use super::line_table::LineTable;

/// How many shards: enough that two writers rarely meet.
const SHARDS: usize = 32;
/// Label sets up to this size are encoded on the stack.
const ON_STACK: usize = 1024;
/// Cards in a drawer, and drawers in a cabinet.
const DRAWER: usize = 1024;
const CABINET: usize = 4096;
const CABINETS: usize = (u32::MAX as usize + 1) / DRAWER / CABINET;

/// Fingerprints of all series.
pub(super) struct Table {
    keys: [u64; 6],
    shards: [RwLock<LineTable>; SHARDS],
    cards: Cards,
}

/// 128 bits of a label set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    low: u64,
    high: u64,
}

impl Fingerprint {
    /// The part by which its number is found.
    fn hash(self) -> u32 {
        (self.low >> 32) as u32
    }

    /// The part of `high` that is kept; the rest chose the shard.
    fn kept(self) -> u32 {
        (self.high >> 32) as u32
    }
}

/// The cards of all series, by their number. Read without a lock.
struct Cards(Box<[OnceLock<Cabinet>]>);
type Cabinet = Box<[OnceLock<Drawer>]>;
type Drawer = Box<[Card]>;

/// What is known of one series. All zero: there is none.
#[derive(Debug, Default)]
struct Card {
    low: AtomicU64,
    high: AtomicU32,
    /// Who was asked for after this one; 0: not known yet.
    next: AtomicU32,
}

impl Card {
    #[inline]
    fn next(&self) -> u32 {
        self.next.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Table")
    }
}

impl Table {
    pub(super) fn new() -> Self {
        use std::hash::{BuildHasher, Hasher};
        let random = || foldhash::quality::RandomState::default().build_hasher().finish();
        let cards = Cards(std::iter::repeat_with(OnceLock::new).take(CABINETS).collect());
        Self { keys: std::array::from_fn(|_| random()), shards: Default::default(), cards }
    }

    /// The fingerprint of labels in their order.
    #[inline]
    pub(super) fn fingerprint<'a>(&self, labels: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Fingerprint {
        let texts = |(name, value): (&str, &str)| name.len() + value.len() + LABEL_OVERHEAD_MAX;
        let bytes_max: usize = labels.clone().map(texts).sum();
        if bytes_max <= ON_STACK {
            return self.fingerprint_in(&mut [0; ON_STACK], labels);
        }
        self.fingerprint_in(&mut vec![0; bytes_max], labels)
    }

    #[inline]
    fn fingerprint_in<'a>(&self, encoded: &mut [u8], labels: impl Iterator<Item = (&'a str, &'a str)>) -> Fingerprint {
        let mut out = Encoder { out: encoded, used: 0 };
        labels.for_each(|(name, value)| out.label(name.as_bytes(), value.as_bytes()));
        let used = out.used;
        self.fingerprint_encoded(encoded.get(..used).unwrap_or_default())
    }

    /// The fingerprint of labels that are encoded as in a remote-write message: for each label, by rising name, field 1
    /// with the fields 1 (name) and 2 (value). Another encoding of the same labels has another fingerprint.
    #[inline]
    pub(super) fn fingerprint_encoded(&self, labels: &[u8]) -> Fingerprint {
        let keys = &self.keys;
        let mut lanes = [keys[0] ^ labels.len() as u64, keys[1], keys[2], keys[3]];
        // Each word enters both halves, in pairs that differ, so that they are two hashes and not one twice.
        let mut mix = |block: &[u8; 32]| {
            let [one, two, three, four] = words(block);
            lanes[0] = fold(lanes[0] ^ one, two ^ keys[4]);
            lanes[1] = fold(lanes[1] ^ three, four ^ keys[5]);
            lanes[2] = fold(lanes[2] ^ one, four ^ keys[5]);
            lanes[3] = fold(lanes[3] ^ two, three ^ keys[4]);
        };
        let (blocks, rest) = labels.as_chunks::<32>();
        blocks.iter().for_each(&mut mix);
        match labels.last_chunk() {
            _ if rest.is_empty() => {}
            // What is mixed twice does no harm, for the length is mixed in as well; a copy would cost as much as all of this.
            Some(last) => mix(last),
            None => {
                let mut last = [0; 32];
                last[..rest.len()].copy_from_slice(rest);
                mix(&last);
            }
        }
        let [a, b, c, d] = lanes;
        Fingerprint { low: fold(a ^ keys[4], b ^ keys[0]), high: fold(c ^ keys[5], d ^ keys[1]) }
    }

    fn shard(&self, fingerprint: Fingerprint) -> &RwLock<LineTable> {
        &self.shards[fingerprint.high as usize % SHARDS]
    }

    /// The series with this fingerprint.
    pub(super) fn find(&self, fingerprint: Fingerprint) -> Option<u32> {
        self.shard(fingerprint).read().find(fingerprint.hash(), |series| self.cards.agree(series, fingerprint))
    }

    /// The series with this fingerprint, which was asked for right after the series `last`.
    #[inline]
    pub(super) fn find_after(&self, last: u32, fingerprint: Fingerprint) -> Option<u32> {
        let (card, guess) = self.guess(last);
        if self.cards.agree(guess, fingerprint) {
            return Some(guess);
        }
        self.find_and_learn(card, fingerprint)
    }

    /// The same for someone who asks again if there is none. Where nobody has been asked for after `last`, and the number
    /// behind it is not in use, a new series is expected: then nobody looks yet, and the answer is on its way from memory
    /// while the labels are taken apart.
    #[inline]
    pub(super) fn find_unless_new(&self, last: u32, fingerprint: Fingerprint) -> Option<u32> {
        let (card, guess) = self.guess(last);
        if self.cards.agree(guess, fingerprint) {
            return Some(guess);
        }
        if card.is_some_and(|card| card.next() == 0) && self.cards.is_empty(guess) {
            self.shard(fingerprint).read().prefetch(fingerprint.hash());
            return None;
        }
        self.find_and_learn(card, fingerprint)
    }

    /// Who is asked for after the series `last`, whose card is the first value: who was it before, or its neighbour.
    #[inline]
    fn guess(&self, last: u32) -> (Option<&Card>, u32) {
        let card = self.cards.get(last);
        let next = card.map_or(0, Card::next);
        (card, if next == 0 { last.wrapping_add(1) } else { next })
    }

    fn find_and_learn(&self, last: Option<&Card>, fingerprint: Fingerprint) -> Option<u32> {
        let found = self.find(fingerprint)?;
        if let Some(last) = last {
            last.next.store(found, Ordering::Relaxed);
        }
        Some(found)
    }

    /// The series with this fingerprint; if there is none, adds `series`, and has it created before anybody finds it.
    pub(super) fn find_or_insert(&self, fingerprint: Fingerprint, series: u32, create: impl FnOnce()) -> Option<u32> {
        let mut shard = self.shard(fingerprint).write();
        let known = shard.find(fingerprint.hash(), |known| self.cards.agree(known, fingerprint));
        if known.is_none() {
            shard.insert(fingerprint.hash(), series);
            create();
            self.cards.fill(series, fingerprint);
        }
        known
    }

    /// Forgets a series.
    pub(super) fn remove(&self, fingerprint: Fingerprint, series: u32) {
        let mut shard = self.shard(fingerprint).write();
        shard.remove(fingerprint.hash(), series);
        if let Some(card) = self.cards.get(series) {
            card.high.store(0, Ordering::Relaxed);
            card.low.store(0, Ordering::Release);
        }
    }

    /// Bytes of the table.
    pub(super) fn bytes(&self) -> usize {
        let shards = self.shards.iter().map(|shard| shard.read().bytes()).sum::<usize>();
        let drawers = self.cards.0.iter().filter_map(OnceLock::get).flatten().filter_map(OnceLock::get).count();
        shards + drawers * DRAWER * size_of::<Card>()
    }
}

impl Cards {
    #[inline]
    fn get(&self, series: u32) -> Option<&Card> {
        let (drawer, card) = (series as usize / DRAWER, series as usize % DRAWER);
        self.0.get(drawer / CABINET)?.get()?.get(drawer % CABINET)?.get()?.get(card)
    }

    fn get_or_new(&self, series: u32) -> &Card {
        let (drawer, card) = (series as usize / DRAWER, series as usize % DRAWER);
        let cabinet =
            self.0[drawer / CABINET].get_or_init(|| std::iter::repeat_with(OnceLock::new).take(CABINET).collect());
        let drawer =
            cabinet[drawer % CABINET].get_or_init(|| std::iter::repeat_with(Card::default).take(DRAWER).collect());
        &drawer[card]
    }

    /// Whether a series has this fingerprint.
    #[inline]
    fn agree(&self, series: u32, fingerprint: Fingerprint) -> bool {
        self.get(series).is_some_and(|card| {
            card.high.load(Ordering::Acquire) == fingerprint.kept()
                && card.low.load(Ordering::Acquire) == fingerprint.low
        })
    }

    fn is_empty(&self, series: u32) -> bool {
        self.get(series).is_none_or(|card| card.high.load(Ordering::Acquire) == 0)
    }

    fn fill(&self, series: u32, fingerprint: Fingerprint) {
        let card = self.get_or_new(series);
        card.low.store(fingerprint.low, Ordering::Relaxed);
        card.high.store(fingerprint.kept(), Ordering::Release);
    }
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[inline]
fn words(block: &[u8; 32]) -> [u64; 4] {
    let (words, _) = block.as_chunks::<8>();
    std::array::from_fn(|at| words.get(at).map_or(0, |word| u64::from_le_bytes(*word)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn neighbours_differ() {
        let table = Table::new();
        let mut seen = std::collections::HashSet::new();
        for length in 0..140 {
            for flip in 0..=length {
                let text: String = (0..length).map(|i| if i == flip { 'x' } else { 'a' }).collect();
                for labels in [[("n", text.as_str())], [(text.as_str(), "n")]] {
                    let fingerprint = table.fingerprint(labels.into_iter());
                    assert!(fingerprint.kept() != 0 || fingerprint.low != 0);
                    seen.insert(fingerprint.low);
                    seen.insert(fingerprint.high);
                }
            }
        }
        // Length 1 has "x" and "a" once; every other length one text per position and one without a flip. Both halves of
        // each are different.
        assert_eq!(seen.len(), (0..140).map(|length| (length + 1) * 4).sum::<usize>());
    }

    #[test]
    fn labels_are_hashed_as_remote_write_has_them() {
        let table = Table::new();
        let long = "v".repeat(200);
        let mut encoded = b"\x0a\x07\x0a\x01a\x12\x02bc\x0a\xcf\x01\x0a\x02de\x12\xc8\x01".to_vec();
        encoded.extend_from_slice(long.as_bytes());
        let labels = [("a", "bc"), ("de", long.as_str())];
        assert_eq!(table.fingerprint(labels.into_iter()), table.fingerprint_encoded(&encoded));
    }

    #[test]
    fn who_follows_is_learned() {
        let table = Table::new();
        let fingerprint = |n: u32| table.fingerprint([("n", n.to_string().as_str())].into_iter());
        for series in 1..3000 {
            assert_eq!(table.find_or_insert(fingerprint(series), series, || {}), None);
        }
        for _ in 0..2 {
            let mut last = 0;
            for series in (1..3000).rev().chain(1..3000).step_by(7) {
                assert_eq!(table.find_after(last, fingerprint(series)), Some(series));
                last = series;
            }
        }
        assert_eq!(table.find_after(5, fingerprint(9999)), None);
        table.remove(fingerprint(8), 8);
        assert_eq!(table.find_after(15, fingerprint(8)), None);
        assert_eq!(table.find_after(1, fingerprint(8)), None);
    }

    #[test]
    fn behind_the_newest_series_a_new_one_is_expected_once() {
        let table = Table::new();
        let fingerprint = |n: u32| table.fingerprint([("n", n.to_string().as_str())].into_iter());
        for series in 1..10 {
            table.find_or_insert(fingerprint(series), series, || {});
        }
        assert_eq!(table.find_unless_new(9, fingerprint(3)), None);
        assert_eq!(table.find_after(9, fingerprint(3)), Some(3));
        for (last, series) in [(9, 3), (3, 4), (4, 8), (0, 5)] {
            assert_eq!(table.find_unless_new(last, fingerprint(series)), Some(series));
        }
    }

    proptest! {
        #[test]
        fn what_is_inserted_is_found_until_it_is_removed(texts in prop::collection::hash_set("[a-c]{0,20}", 1..50)) {
            let table = Table::new();
            let texts: Vec<_> = texts.into_iter().collect();
            let fingerprint = |text: &str| table.fingerprint([("l", text)].into_iter());
            for (series, text) in texts.iter().enumerate() {
                prop_assert_eq!(table.find(fingerprint(text)), None);
                let mut created = false;
                prop_assert_eq!(table.find_or_insert(fingerprint(text), series as u32, || {
                    created = !table.cards.agree(series as u32, fingerprint(text));
                }), None);
                prop_assert!(created);
            }
            for (series, text) in texts.iter().enumerate() {
                prop_assert_eq!(table.find(fingerprint(text)), Some(series as u32));
                let again = table.find_or_insert(fingerprint(text), 1000, || unreachable!("it is known"));
                prop_assert_eq!(again, Some(series as u32));
                table.remove(fingerprint(text), series as u32);
                prop_assert_eq!(table.find(fingerprint(text)), None);
            }
        }
    }
}
