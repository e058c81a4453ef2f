//! Labels: which series is this?
//!
//! A label set is sorted by name, unique, immutable and held in one allocation, so that a clone is a reference count
//! and a comparison mostly one of bytes. Changes go through a [`LabelsBuilder`]. Nothing else is kept: a query makes a
//! label set for each series that it reads and hashes few of them.
//!
//! # Layout
//!
//! All names and values stand one behind the other in one string, each preceded by its length. A length is written in
//! groups of six bits, least first, with `0x40` set on every group but the last: every byte of it is ASCII, so the
//! whole buffer is valid UTF-8 and slices of it are `&str` without `unsafe` and without another check.

mod builder;

pub use builder::LabelsBuilder;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The label that holds the metric name.
pub const METRIC_NAME: &str = "__name__";

/// An immutable label set: pairs of name and value, sorted by name (bytewise), each name once, no empty value.
///
/// An empty value means that the label is absent, so constructors drop such pairs.
///
/// ```
/// use ferula_model::Labels;
///
/// let labels = Labels::from_pairs([("job", "node"), ("__name__", "up"), ("empty", "")]);
/// assert_eq!(labels.get("job"), Some("node"));
/// assert_eq!(labels.len(), 2);
/// assert_eq!(labels.to_string(), r#"{__name__="up", job="node"}"#);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Labels {
    packed: Arc<str>,
}

/// Room for the labels of most series.
const USUAL_BYTES: usize = 480;

impl Labels {
    /// The set without labels.
    pub fn empty() -> Self {
        Self::from_sorted(std::iter::empty::<(&str, &str)>())
    }

    /// Builds a set from pairs in any order. Of several pairs with one name the last wins; empty values are dropped.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut builder = LabelsBuilder::new();
        for (name, value) in pairs {
            builder.set(name.as_ref(), value.as_ref());
        }
        builder.build()
    }

    /// Builds a set from pairs that already are sorted by name with each name once. Empty values are dropped.
    ///
    /// This is the fast way in; the order is the caller's promise (checked in debug builds).
    pub fn from_sorted<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut packed = String::with_capacity(USUAL_BYTES);
        let mut previous: Option<String> = None;
        for (name, value) in pairs {
            let (name, value) = (name.as_ref(), value.as_ref());
            if cfg!(debug_assertions) {
                debug_assert!(previous.as_deref().is_none_or(|p| p < name), "label names must rise: {name}");
                previous = Some(name.to_owned());
            }
            if value.is_empty() {
                continue;
            }
            for text in [name, value] {
                push_length(&mut packed, text.len());
                packed.push_str(text);
            }
        }
        Self { packed: packed.as_str().into() }
    }

    /// The value of a label, if it is present.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// The metric name, or the empty string.
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME).unwrap_or_default()
    }

    /// Name and value of each label, by rising name.
    pub fn iter(&self) -> LabelsIter<'_> {
        LabelsIter { rest: &self.packed }
    }

    /// How many labels there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is no label at all.
    pub fn is_empty(&self) -> bool {
        self.packed.is_empty()
    }

    /// XXH64 (seed 0) over names and values, each preceded by its length: one byte below 255, else `0xFF` and three
    /// bytes, little-endian. The same number as Prometheus 3.14's default build, so that `limit_ratio` keeps the same
    /// series and `hashmod`-like sharding agrees. Computed anew each time.
    pub fn hash64(&self) -> u64 {
        if self.iter().all(|(name, value)| name.len() < 0x40 && value.len() < 0x40) {
            // A length of one group is written as upstream writes it, so that the buffer is what is hashed.
            return twox_hash::XxHash64::oneshot(0, self.packed.as_bytes());
        }
        let mut hasher = twox_hash::XxHash64::with_seed(0);
        for text in self.iter().flat_map(|(name, value)| [name, value]) {
            match text.len() {
                short @ 0..255 => hasher.write(&[short as u8]),
                long => hasher.write(&[0xFF, long as u8, (long >> 8) as u8, (long >> 16) as u8]),
            }
            hasher.write(text.as_bytes());
        }
        hasher.finish()
    }

    /// A builder that starts from this set.
    pub fn to_builder(&self) -> LabelsBuilder {
        LabelsBuilder::from_labels(self)
    }

    /// The set without the metric name.
    pub fn without_metric_name(&self) -> Self {
        self.without(&[METRIC_NAME])
    }

    /// The set without the given names.
    pub fn without(&self, names: &[&str]) -> Self {
        if !self.iter().any(|(name, _)| names.contains(&name)) {
            return self.clone();
        }
        Self::from_sorted(self.iter().filter(|(name, _)| !names.contains(name)))
    }

    /// Only the given names.
    pub fn only(&self, names: &[&str]) -> Self {
        Self::from_sorted(self.iter().filter(|(name, _)| names.contains(name)))
    }

    /// The bytes that this set occupies besides its handle, for accounting memory.
    pub fn heap_bytes(&self) -> usize {
        self.packed.len() + 2 * size_of::<usize>()
    }
}

fn push_length(packed: &mut String, mut length: usize) {
    while length >= 0x40 {
        packed.push(char::from(0x40 | (length & 0x3F) as u8));
        length >>= 6;
    }
    packed.push(char::from(length as u8));
}

/// Iterates over name and value of each label, by rising name.
#[derive(Clone, Debug)]
pub struct LabelsIter<'a> {
    rest: &'a str,
}

impl<'a> LabelsIter<'a> {
    fn text(&mut self) -> &'a str {
        let (mut length, mut used) = (0, 0);
        for byte in self.rest.bytes() {
            length |= usize::from(byte & 0x3F) << (6 * used);
            used += 1;
            if byte & 0x40 == 0 {
                break;
            }
        }
        let (text, rest) = self.rest[used..].split_at(length);
        self.rest = rest;
        text
    }
}

impl<'a> Iterator for LabelsIter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let name = self.text();
        Some((name, self.text()))
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = LabelsIter<'a>;

    fn into_iter(self) -> LabelsIter<'a> {
        self.iter()
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Many bytes through a quick hash, so that the hasher of a map, which is not quick, sees few.
        state.write_u64(twox_hash::XxHash64::oneshot(0, self.packed.as_bytes()));
    }
}

/// Names and values are compared pair by pair; a set that is a prefix of another comes first.
impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        let same = common_bytes(self.packed.as_bytes(), other.packed.as_bytes());
        if same == self.packed.len().min(other.packed.len()) {
            return self.packed.len().cmp(&other.packed.len());
        }
        // Up to the text that differs both are cut alike, so that one of them is taken apart.
        let (mut mine, mut start) = (self.iter(), 0);
        loop {
            let text = mine.text();
            let end = self.packed.len() - mine.rest.len();
            if end > same {
                let mut theirs = LabelsIter { rest: &other.packed[start..] };
                return text.cmp(theirs.text());
            }
            start = end;
        }
    }
}

/// How many bytes two buffers begin with in common.
fn common_bytes(a: &[u8], b: &[u8]) -> usize {
    let words = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
    let same = 8 * words.take_while(|(a, b)| a == b).count();
    let rest = a[same..].iter().zip(&b[same..]);
    same + rest.take_while(|(a, b)| a == b).count()
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// `{name="value", ...}` with Go's quoting; names that are not legacy-valid are quoted too.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (name, value)) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            if is_legacy_label_name(name) {
                f.write_str(name)?;
            } else {
                crate::quote::write_go_quoted(f, name)?;
            }
            f.write_str("=")?;
            crate::quote::write_go_quoted(f, value)?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether a label name matches `[a-zA-Z_][a-zA-Z0-9_]*`.
pub fn is_legacy_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether a metric name matches `[a-zA-Z_:][a-zA-Z0-9_:]*`.
pub fn is_legacy_metric_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_' || b == b':')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_and_utf8_round_trip() {
        let long = "x".repeat(10_000);
        let labels = Labels::from_pairs([("b", long.as_str()), ("a", "é"), ("métrique", "🦀")]);
        let pairs: Vec<_> = labels.iter().collect();
        assert_eq!(pairs, [("a", "é"), ("b", long.as_str()), ("métrique", "🦀")]);
    }

    #[test]
    fn order_is_by_pairs_and_prefixes_come_first() {
        let short = Labels::from_pairs([("a", "1")]);
        let long = Labels::from_pairs([("a", "1"), ("b", "1")]);
        let other = Labels::from_pairs([("a", "10")]);
        assert!(Labels::empty() < short && short < long && long < other);
    }

    #[test]
    fn order_is_that_of_the_pairs() {
        let long = "v".repeat(70);
        let values = ["", "a", "ab", "b", "é", &long[..63], &long[..64], &long];
        let mut sets = Vec::new();
        for a in values {
            for b in values {
                for c in ["", "a", "zz"] {
                    sets.push(Labels::from_pairs([("a", a), ("a long name", b), ("b", c), ("z", a)]));
                }
            }
        }
        for one in &sets {
            for other in &sets {
                assert_eq!(one.cmp(other), one.iter().cmp(other.iter()), "{one} {other}");
                assert_eq!(one == other, one.cmp(other).is_eq());
            }
        }
    }

    #[test]
    fn hash_is_xxh64_of_the_upstream_encoding() {
        let labels = Labels::from_pairs([("a", "bc")]);
        assert_eq!(labels.hash64(), twox_hash::XxHash64::oneshot(0, b"\x01a\x02bc"));
        for length in [63_u8, 64, 254] {
            let text = "v".repeat(length.into());
            let encoded = [&[1, b'a', length], text.as_bytes()].concat();
            let labels = Labels::from_pairs([("a", text.as_str())]);
            assert_eq!(labels.hash64(), twox_hash::XxHash64::oneshot(0, &encoded));
        }
        assert_eq!(Labels::empty().hash64(), twox_hash::XxHash64::oneshot(0, b""));
    }
}
