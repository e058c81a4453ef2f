//! The series cache: which series do these bytes name?
//!
//! A target writes the same series in the same order, scrape after scrape. So each entry remembers which one followed it
//! last time: reading a body is walking a list and comparing bytes ([`predicted`](SeriesCache::predicted)), and only
//! what stands elsewhere than before costs a hash. The comments and metadata before a line are recognized by their hash
//! ([`Lead`]). Keys are the raw bytes `name{labels}` as written; what relabelling
//! made of them is known and not computed again, not even that they are dropped.
//!
//! # Staleness
//!
//! A *scrape* here is from [`begin`](SeriesCache::begin) to [`finish`](SeriesCache::finish) or
//! [`abandon`](SeriesCache::abandon). An entry is *alive* if its last sample in the storage is a real one and its end is
//! to be marked. After a good scrape, entries that were alive and were not seen again have vanished; after an abandoned
//! one, all of them have. Two writings of one series (`a{x,y}` and `a{y,x}`) are two entries of one ref: it has vanished
//! only with both.

use std::hash::BuildHasher;

use ferula_model::{MetricType, SeriesRef};
use foldhash::fast::RandomState;
use hashbrown::{HashSet, HashTable};

use crate::ingest::Heard;

/// Position of an entry; valid until the scrape ends.
pub(crate) type EntryId = u32;

const NONE: EntryId = EntryId::MAX;
/// As upstream: a cache that grows beyond this many times what a good scrape left is emptied of what was not seen.
const GROWTH_MAX: usize = 2;
const GROWTH_FLOOR: usize = 1000;

/// What is known about the series of one target.
#[derive(Debug)]
pub(crate) struct SeriesCache {
    entries: Vec<Entry>,
    /// Ids by key.
    index: HashTable<EntryId>,
    /// Ids that hold nothing.
    free: Vec<EntryId>,
    /// The keys, one behind the other.
    keys: Vec<u8>,
    keys_garbage: usize,
    leads: Vec<Lead>,
    free_leads: Vec<u32>,
    hasher: RandomState,
    /// Number of the current scrape.
    scrape: u32,
    /// The entry that the last one of the body led to.
    last: EntryId,
    first: EntryId,
    /// How many entries the last good scrape left.
    settled: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    series: SeriesRef,
    key_start: u32,
    key_len: u32,
    /// The scrape that saw it last.
    seen: u32,
    /// What followed it in the body.
    next: EntryId,
    /// The lines that stood before it, if there were any; a position in `leads`.
    lead: u32,
    state: State,
    alive: bool,
    /// Seen in this scrape without a timestamp of its own, or such timestamps are tracked too.
    tracked: bool,
}

/// Comment and metadata lines between a sample and the one before. Their texts are in the metadata cache already; what
/// recognizes them here is a hash, whose seed no target knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lead {
    hash: u64,
    pub(crate) len: u32,
    /// What the parser takes for the type behind them.
    pub(crate) metric_type: MetricType,
    /// The family that they speak of.
    pub(crate) family: Option<Heard>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Known,
    Dropped,
    /// The storage forgot the ref.
    Forgotten,
}

/// What the cache knows about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// The storage's ref for it, and whether this scrape has already had it.
    Series { id: EntryId, series: SeriesRef, repeated: bool },
    /// Relabelling drops it.
    Dropped,
    /// It must be asked for by its labels.
    New,
}

impl Default for SeriesCache {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            index: HashTable::new(),
            free: Vec::new(),
            keys: Vec::new(),
            keys_garbage: 0,
            leads: Vec::new(),
            free_leads: Vec::new(),
            hasher: RandomState::default(),
            scrape: 0,
            last: NONE,
            first: NONE,
            settled: 0,
        }
    }
}

impl SeriesCache {
    /// Begins a scrape.
    pub(crate) fn begin(&mut self) {
        self.scrape = self.scrape.wrapping_add(1);
        self.last = NONE;
    }

    /// How many keys are known.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// The entry that is due next, if the body goes on as last time, and its key.
    #[inline]
    pub(crate) fn predicted(&self) -> Option<(EntryId, &[u8])> {
        let id = match self.entries.get(self.last as usize) {
            Some(last) => last.next,
            None => self.first,
        };
        let entry = self.entries.get(id as usize)?;
        (entry.state != State::Free).then(|| (id, self.key(entry)))
    }

    /// The lines that stood before an entry last time.
    #[inline]
    pub(crate) fn lead(&self, id: EntryId) -> Option<Lead> {
        self.entries.get(id as usize).and_then(|entry| self.leads.get(entry.lead as usize)).copied()
    }

    /// Whether these are the lines of a lead.
    #[inline]
    pub(crate) fn is_lead(&self, lead: &Lead, lines: &[u8]) -> bool {
        self.hasher.hash_one(lines) == lead.hash
    }

    /// Learns what stood before the entry that was seen or learned last; `None` if nothing did, or nothing that is to be
    /// skipped next time.
    pub(crate) fn learn_lead(&mut self, lead: Option<(&[u8], MetricType, Option<Heard>)>) {
        let lead = lead.and_then(|(lines, metric_type, family)| {
            let (hash, len) = (self.hasher.hash_one(lines), u32::try_from(lines.len()).ok()?);
            Some(Lead { hash, len, metric_type, family })
        });
        let Some(entry) = self.entries.get_mut(self.last as usize) else { return };
        match (lead, self.leads.get_mut(entry.lead as usize)) {
            (Some(lead), Some(slot)) => *slot = lead,
            (Some(lead), None) => {
                entry.lead = match self.free_leads.pop() {
                    Some(place) => place,
                    None => {
                        self.leads.push(lead);
                        (self.leads.len() - 1) as u32
                    }
                };
                if let Some(slot) = self.leads.get_mut(entry.lead as usize) {
                    *slot = lead;
                }
            }
            (None, Some(_)) => self.free_leads.push(std::mem::replace(&mut entry.lead, NONE)),
            (None, None) => {}
        }
    }

    /// Marks an entry as seen and says what it is.
    #[inline]
    pub(crate) fn see(&mut self, id: EntryId) -> Known {
        let scrape = self.scrape;
        let Some(entry) = self.entries.get_mut(id as usize) else { return Known::New };
        let repeated = entry.seen == scrape;
        entry.seen = scrape;
        if !repeated {
            entry.tracked = false;
        }
        let (series, state) = (entry.series, entry.state);
        self.link(id);
        match state {
            State::Known => Known::Series { id, series, repeated },
            State::Dropped => Known::Dropped,
            State::Forgotten | State::Free => Known::New,
        }
    }

    /// What is known about a key; it is marked as seen.
    pub(crate) fn look_up(&mut self, key: &[u8]) -> Known {
        match self.find(key) {
            Some(id) => self.see(id),
            None => Known::New,
        }
    }

    /// Notes that the end of a series is to be marked: it was written in this scrape.
    #[inline]
    pub(crate) fn track(&mut self, id: EntryId) {
        if let Some(entry) = self.entries.get_mut(id as usize) {
            entry.tracked = true;
        }
    }

    /// Learns the ref of a key, or that relabelling drops it (`None`).
    pub(crate) fn learn(&mut self, key: &[u8], series: Option<SeriesRef>) -> EntryId {
        let state = if series.is_some() { State::Known } else { State::Dropped };
        let series = series.unwrap_or(SeriesRef(0));
        if let Some(id) = self.find(key) {
            if let Some(entry) = self.entries.get_mut(id as usize) {
                // A series that was forgotten and is another one now: the old one's end is nobody's to mark any more.
                (entry.alive, entry.series, entry.state) = (entry.alive && entry.series == series, series, state);
            }
            return id;
        }
        let (Ok(key_start), Ok(key_len)) = (u32::try_from(self.keys.len()), u32::try_from(key.len())) else {
            return NONE;
        };
        self.keys.extend_from_slice(key);
        let entry = Entry {
            series,
            key_start,
            key_len,
            seen: self.scrape,
            next: NONE,
            lead: NONE,
            state,
            alive: false,
            tracked: false,
        };
        let id = match self.free.pop() {
            Some(id) => {
                if let Some(slot) = self.entries.get_mut(id as usize) {
                    *slot = entry;
                }
                id
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as EntryId
            }
        };
        let (entries, keys, hasher) = (&self.entries, &self.keys, &self.hasher);
        let hash_of = |id: &EntryId| entries.get(*id as usize).map_or(0, |entry| hasher.hash_one(key_in(keys, entry)));
        self.index.insert_unique(hasher.hash_one(key), id, hash_of);
        self.link(id);
        id
    }

    /// The storage does not know a ref any more: its key will be asked for anew.
    pub(crate) fn forget_ref(&mut self, id: EntryId) {
        if let Some(entry) = self.entries.get_mut(id as usize) {
            entry.state = State::Forgotten;
        }
    }

    /// Other rules apply from now on: what keys mean is forgotten. Series that are alive stay, so that those which the
    /// new rules leave out are marked stale.
    pub(crate) fn forget_keys(&mut self) {
        let alive: Vec<SeriesRef> = self.alive().collect();
        let scrape = self.scrape;
        *self = Self { scrape, ..Self::default() };
        for (at, series) in alive.into_iter().enumerate() {
            // No exposition holds such a key: it begins with a byte that is not UTF-8.
            let mut key = vec![0xFF];
            key.extend_from_slice(&(at as u64).to_be_bytes());
            let id = self.learn(&key, Some(series));
            if let Some(entry) = self.entries.get_mut(id as usize) {
                (entry.alive, entry.seen) = (true, scrape.wrapping_sub(1));
            }
        }
        self.first = NONE;
        self.settled = self.len();
    }

    /// The refs of all series that are alive.
    pub(crate) fn alive(&self) -> impl Iterator<Item = SeriesRef> + '_ {
        self.entries.iter().filter(|entry| entry.alive).map(|entry| entry.series)
    }

    /// Series that were alive before this scrape and were not seen in it. Each once.
    pub(crate) fn vanished(&self, into: &mut Vec<SeriesRef>) {
        into.clear();
        let lives_on = |entry: &Entry| entry.seen == self.scrape && entry.tracked;
        into.extend(self.entries.iter().filter(|entry| entry.alive && !lives_on(entry)).map(|entry| entry.series));
        if into.is_empty() {
            return;
        }
        let mut living: HashSet<SeriesRef, RandomState> = HashSet::default();
        living.extend(self.entries.iter().filter(|entry| lives_on(entry)).map(|entry| entry.series));
        into.retain(|series| living.insert(*series));
    }

    /// Ends a good scrape: what was not seen is forgotten.
    pub(crate) fn finish(&mut self) {
        let scrape = self.scrape;
        for entry in &mut self.entries {
            entry.alive = entry.seen == scrape && entry.tracked;
        }
        self.purge();
        self.settled = self.len();
    }

    /// Ends a scrape of which nothing was kept: nothing is alive any more, but keys stay known, unless ever new ones
    /// come that never make a good scrape. True if that happened.
    pub(crate) fn abandon(&mut self) -> bool {
        for entry in &mut self.entries {
            entry.alive = false;
        }
        let overgrown = self.len() > self.settled.saturating_mul(GROWTH_MAX).saturating_add(GROWTH_FLOOR);
        if overgrown {
            self.purge();
            self.settled = self.len();
        }
        overgrown
    }

    fn purge(&mut self) {
        let scrape = self.scrape;
        for at in 0..self.entries.len() {
            let Some(entry) = self.entries.get(at).copied() else { break };
            if entry.state == State::Free || entry.seen == scrape {
                continue;
            }
            let id = at as EntryId;
            let hash = self.hasher.hash_one(self.key(&entry));
            if let Ok(found) = self.index.find_entry(hash, |other| *other == id) {
                found.remove();
            }
            if let Some(entry) = self.entries.get_mut(at) {
                entry.state = State::Free;
                if entry.lead != NONE {
                    self.free_leads.push(std::mem::replace(&mut entry.lead, NONE));
                }
            }
            self.keys_garbage += entry.key_len as usize;
            self.free.push(id);
        }
        if self.keys_garbage > 4096 && self.keys_garbage > self.keys.len() / 2 {
            self.compact();
        }
    }

    /// Rewrites keys and entries in the order of the body, without the gaps.
    fn compact(&mut self) {
        let mut order: Vec<EntryId> = Vec::with_capacity(self.len());
        let mut place = vec![NONE; self.entries.len()];
        let starts = std::iter::once(self.first).chain(0..self.entries.len() as EntryId);
        for start in starts {
            let mut id = start;
            while let Some(entry) = self.entries.get(id as usize) {
                let Some(slot) = place.get_mut(id as usize).filter(|slot| **slot == NONE) else { break };
                if entry.state == State::Free {
                    break;
                }
                *slot = order.len() as EntryId;
                order.push(id);
                id = entry.next;
            }
        }
        let mut keys = Vec::with_capacity(self.keys.len() - self.keys_garbage);
        let moved = |id: EntryId| place.get(id as usize).copied().unwrap_or(NONE);
        let mut entries = Vec::with_capacity(order.len());
        for id in order {
            let Some(entry) = self.entries.get(id as usize) else { continue };
            let key_start = keys.len() as u32;
            keys.extend_from_slice(self.key(entry));
            entries.push(Entry { key_start, next: moved(entry.next), ..*entry });
        }
        (self.first, self.last) = (moved(self.first), NONE);
        (self.entries, self.keys, self.keys_garbage) = (entries, keys, 0);
        self.free.clear();
        self.index.clear();
        let (entries, keys, hasher) = (&self.entries, &self.keys, &self.hasher);
        let hash_of = |id: &EntryId| entries.get(*id as usize).map_or(0, |entry| hasher.hash_one(key_in(keys, entry)));
        for id in 0..entries.len() as EntryId {
            self.index.insert_unique(hash_of(&id), id, hash_of);
        }
    }

    #[inline]
    fn link(&mut self, id: EntryId) {
        match self.entries.get_mut(self.last as usize) {
            Some(last) if last.next != id => last.next = id,
            Some(_) => {}
            None => self.first = id,
        }
        self.last = id;
    }

    fn find(&self, key: &[u8]) -> Option<EntryId> {
        let is_it = |id: &EntryId| self.entries.get(*id as usize).is_some_and(|entry| self.key(entry) == key);
        self.index.find(self.hasher.hash_one(key), is_it).copied()
    }

    #[inline]
    fn key(&self, entry: &Entry) -> &[u8] {
        key_in(&self.keys, entry)
    }
}

#[inline]
fn key_in<'a>(keys: &'a [u8], entry: &Entry) -> &'a [u8] {
    keys.get(entry.key_start as usize..).and_then(|keys| keys.get(..entry.key_len as usize)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a scrape of keys, each of which names the series with the number behind it; returns what vanished.
    fn scrape(cache: &mut SeriesCache, body: &[(&str, u64)]) -> Vec<u64> {
        cache.begin();
        for (key, number) in body {
            let predicted = cache.predicted().filter(|(_, due)| *due == key.as_bytes()).map(|(id, _)| id);
            let known = match predicted {
                Some(id) => cache.see(id),
                None => cache.look_up(key.as_bytes()),
            };
            let id = match known {
                Known::Series { id, series, .. } => {
                    assert_eq!(series.0, *number);
                    id
                }
                Known::New => cache.learn(key.as_bytes(), Some(SeriesRef(*number))),
                Known::Dropped => panic!("nothing is dropped here"),
            };
            cache.track(id);
        }
        let mut vanished = Vec::new();
        cache.vanished(&mut vanished);
        cache.finish();
        vanished.into_iter().map(|series| series.0).collect()
    }

    #[test]
    fn the_same_body_is_predicted_line_by_line() {
        let mut cache = SeriesCache::default();
        let body = [("a", 1), ("b", 2), ("c", 3)];
        scrape(&mut cache, &body);
        cache.begin();
        for (key, _) in body {
            let (id, due) = cache.predicted().unwrap();
            assert_eq!(due, key.as_bytes());
            cache.see(id);
        }
    }

    #[test]
    fn a_line_in_between_is_predicted_from_the_second_time_on() {
        let mut cache = SeriesCache::default();
        scrape(&mut cache, &[("a", 1), ("c", 3)]);
        scrape(&mut cache, &[("a", 1), ("b", 2), ("c", 3)]);
        cache.begin();
        for key in ["a", "b", "c"] {
            let (id, due) = cache.predicted().unwrap();
            assert_eq!(due, key.as_bytes());
            cache.see(id);
        }
    }

    #[test]
    fn what_is_not_seen_again_has_vanished_once() {
        let mut cache = SeriesCache::default();
        assert!(scrape(&mut cache, &[("a", 1), ("b", 2)]).is_empty());
        assert_eq!(scrape(&mut cache, &[("b", 2)]), [1]);
        assert!(scrape(&mut cache, &[("b", 2)]).is_empty());
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn a_series_written_differently_lives_on() {
        let mut cache = SeriesCache::default();
        scrape(&mut cache, &[("a{x,y}", 1)]);
        assert!(scrape(&mut cache, &[("a{y,x}", 1)]).is_empty());
        assert_eq!(scrape(&mut cache, &[("b", 2)]), [1]);
    }

    #[test]
    fn after_an_abandoned_scrape_everything_has_vanished() {
        let mut cache = SeriesCache::default();
        scrape(&mut cache, &[("a", 1), ("b", 2)]);
        cache.begin();
        cache.look_up(b"a");
        let mut alive: Vec<_> = cache.alive().collect();
        alive.sort();
        assert_eq!(alive, [SeriesRef(1), SeriesRef(2)]);
        assert!(!cache.abandon());
        assert_eq!(cache.alive().count(), 0);
        assert_eq!(cache.len(), 2, "keys stay known");
        assert!(scrape(&mut cache, &[("a", 1)]).is_empty(), "an end is marked once");
    }

    #[test]
    fn new_rules_leave_living_series_to_be_marked() {
        let mut cache = SeriesCache::default();
        scrape(&mut cache, &[("a", 1), ("b", 2)]);
        cache.forget_keys();
        assert_eq!(scrape(&mut cache, &[("a", 1), ("b", 7)]), [2]);
        assert_eq!(cache.len(), 2);
    }

    #[test]
    fn bad_scrapes_with_ever_new_keys_do_not_grow_the_cache() {
        let mut cache = SeriesCache::default();
        let mut flushed = 0;
        for round in 0..20 {
            cache.begin();
            for at in 0..500 {
                let key = format!("k{round}_{at}");
                assert_eq!(cache.look_up(key.as_bytes()), Known::New);
                cache.learn(key.as_bytes(), Some(SeriesRef(at)));
            }
            flushed += usize::from(cache.abandon());
        }
        assert!(flushed > 0 && cache.len() <= 2500, "{flushed} {}", cache.len());
    }

    #[test]
    fn churn_leaves_no_garbage_behind() {
        let mut cache = SeriesCache::default();
        let mut number = 0;
        for round in 0..50 {
            let keys: Vec<(String, u64)> = (0..100)
                .map(|at| {
                    number += 1;
                    if at % 2 == 0 {
                        (format!("stays{at:050}"), at)
                    } else {
                        (format!("goes{round}_{at:050}"), 1000 + number)
                    }
                })
                .collect();
            let body: Vec<(&str, u64)> = keys.iter().map(|(key, number)| (key.as_str(), *number)).collect();
            let vanished = scrape(&mut cache, &body);
            assert_eq!(vanished.len(), if round == 0 { 0 } else { 50 });
        }
        assert_eq!(cache.len(), 100);
        assert!(cache.keys.len() < 3 * 100 * 60, "{}", cache.keys.len());
        assert!(cache.entries.len() <= 200);
    }
}
