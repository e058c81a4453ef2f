//! `meta.json`: what does a block say about itself?
//!
//! The keys are Prometheus' own (3.14); keys that we do not know, such as those that Thanos adds, are kept.

use std::collections::BTreeSet;
use std::path::Path;

use ferula_model::{TimeRange, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ulid::Ulid;

use super::BlockError;
use super::wire::Malformed;

/// The name of the file in the block's folder.
pub const META_FILE: &str = "meta.json";

/// The only version of the format.
const META_VERSION: u64 = 1;

/// A hint of a block that was compacted from samples that arrived out of order.
pub const HINT_OUT_OF_ORDER: &str = "from-out-of-order";
/// A hint of a block that holds series that went stale, compacted before their time.
pub const HINT_STALE_SERIES: &str = "from-stale-series";
/// A hint of a block that holds series chosen by the host, compacted before their time.
pub const HINT_SELECTED_SERIES: &str = "from-selected-series";

/// What a block says about itself.
///
/// ```
/// use ferula_tsdb::block::BlockMeta;
///
/// let text = r#"{"version":1,"ulid":"01DXXFZDYD1MQW6079WK0K6EDQ","minTime":0,"maxTime":7200000,
///     "stats":{"numSamples":102},"compaction":{"level":1,"sources":["01DXXFZDYD1MQW6079WK0K6EDQ"]}}"#;
/// let meta = BlockMeta::from_json(text.as_bytes(), "meta.json".as_ref()).unwrap();
/// assert_eq!(meta.range().max.as_millis(), 7_199_999);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockMeta {
    /// Name of the block and of its folder.
    #[serde(with = "ulid_text")]
    pub ulid: Ulid,
    /// Milliseconds: no sample is older.
    #[serde(rename = "minTime")]
    pub min_time: i64,
    /// Milliseconds: every sample is older.
    #[serde(rename = "maxTime")]
    pub max_time: i64,
    /// What is in it.
    #[serde(default)]
    pub stats: BlockStats,
    /// Where it comes from.
    #[serde(default)]
    pub compaction: Compaction,
    /// Version of the format: 1.
    pub version: u64,
    /// What others wrote into the file.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// How much a block holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BlockStats {
    /// Samples of both kinds.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_samples: u64,
    /// Floats.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_float_samples: u64,
    /// Native histograms.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_histogram_samples: u64,
    /// Series.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_series: u64,
    /// Chunks.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_chunks: u64,
    /// Deleted intervals in the tombstones file.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_tombstones: u64,
}

/// Where a block comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Compaction {
    /// 1 for a block from the head; one more than the highest parent for a compacted one.
    pub level: u32,
    /// The blocks from the head that went into this one; sorted.
    #[serde(with = "ulid_texts", skip_serializing_if = "BTreeSet::is_empty")]
    pub sources: BTreeSet<Ulid>,
    /// The block may be deleted: everything in it was deleted or lives elsewhere.
    #[serde(skip_serializing_if = "is_false")]
    pub deletable: bool,
    /// The blocks that this one was made from; once this one is loaded they are deleted.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_empty")]
    pub parents: Vec<BlockParent>,
    /// Compacting this block was tried and failed; it is not tried again.
    #[serde(skip_serializing_if = "is_false")]
    pub failed: bool,
    /// Kinds of samples, [`HINT_OUT_OF_ORDER`] for instance; sorted.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_empty")]
    pub hints: Vec<String>,
}

/// A block that another one was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockParent {
    /// Its name.
    #[serde(with = "ulid_text")]
    pub ulid: Ulid,
    /// Milliseconds: no sample was older.
    pub min_time: i64,
    /// Milliseconds: every sample was older.
    pub max_time: i64,
}

impl BlockMeta {
    /// The description of a block that came from the head: level 1, its own source.
    pub fn new(ulid: Ulid, min_time: i64, max_time: i64) -> Self {
        let compaction = Compaction { level: 1, sources: BTreeSet::from([ulid]), ..Compaction::default() };
        let (stats, other) = (BlockStats::default(), Map::new());
        Self { ulid, min_time, max_time, stats, compaction, version: META_VERSION, other }
    }

    /// The same with a hint about the kind of its samples, such as [`HINT_OUT_OF_ORDER`].
    #[must_use]
    pub fn with_hint(mut self, hint: &str) -> Self {
        if let Err(at) = self.compaction.hints.binary_search_by(|known| known.as_str().cmp(hint)) {
            self.compaction.hints.insert(at, hint.to_owned());
        }
        self
    }

    /// Reads a `meta.json`; `path` is for the error.
    ///
    /// # Errors
    ///
    /// Not JSON, a key is missing, the version is not 1, or the end does not lie after the start.
    pub fn from_json(bytes: &[u8], path: &Path) -> Result<Self, BlockError> {
        let corrupt = |offset, problem: String| BlockError::Corrupt { path: path.to_owned(), offset, problem };
        let meta: Self =
            serde_json::from_slice(bytes).map_err(|error| corrupt(offset_of(bytes, &error), error.to_string()))?;
        if meta.version != META_VERSION {
            return Err(BlockError::UnknownVersion { path: path.to_owned(), version: meta.version });
        }
        if meta.max_time < meta.min_time {
            return Err(BlockError::corrupt(path)(Malformed { offset: 0, problem: "maxTime lies before minTime" }));
        }
        Ok(meta)
    }

    /// The content of `meta.json`, with tabs, as Prometheus writes it.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let format = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let written = self.serialize(&mut serde_json::Serializer::with_formatter(&mut out, format));
        debug_assert!(written.is_ok(), "a description of strings and numbers has a JSON form");
        out.push(b'\n');
        out
    }

    /// The moments that the block may hold samples of; closed.
    pub fn range(&self) -> TimeRange {
        TimeRange::new(Timestamp(self.min_time), Timestamp(self.max_time.saturating_sub(1)))
    }

    /// Of several blocks with a sample for one moment, the one with the smallest rank counts: samples in order before late ones,
    /// and of these the ones that came first.
    pub fn rank(&self) -> (Option<Ulid>, i64, Ulid) {
        let came = self.compaction.sources.first().copied().unwrap_or(self.ulid);
        (self.has_hint(HINT_OUT_OF_ORDER).then_some(came), self.min_time, self.ulid)
    }

    /// Whether a hint is set.
    pub fn has_hint(&self, hint: &str) -> bool {
        self.compaction.hints.iter().any(|h| h == hint)
    }
}

/// Byte offset of a JSON error, from its line and column.
fn offset_of(bytes: &[u8], error: &serde_json::Error) -> u64 {
    let before = bytes.split_inclusive(|&b| b == b'\n').take(error.line().saturating_sub(1)).map(<[u8]>::len);
    (before.sum::<usize>() + error.column().saturating_sub(1)) as u64
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Go writes an empty list as `null`.
fn null_as_empty<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(from).map(Option::unwrap_or_default)
}

mod ulid_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use ulid::Ulid;

    pub(super) fn serialize<S: Serializer>(ulid: &Ulid, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&ulid.to_string())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Ulid, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        Ulid::from_string(&text).map_err(|error| D::Error::custom(format_args!("ulid {text:?}: {error}")))
    }
}

mod ulid_texts {
    use std::collections::BTreeSet;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use ulid::Ulid;

    pub(super) fn serialize<S: Serializer>(ulids: &BTreeSet<Ulid>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(ulids.iter().map(Ulid::to_string))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeSet<Ulid>, D::Error> {
        let texts = Option::<Vec<String>>::deserialize(from)?.unwrap_or_default();
        let parse = |text: &String| {
            Ulid::from_string(text).map_err(|error| D::Error::custom(format_args!("ulid {text:?}: {error}")))
        };
        texts.iter().map(parse).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BlockMeta, BlockError> {
        BlockMeta::from_json(text.as_bytes(), Path::new("meta.json"))
    }

    const FULL: &str = r#"{
	"ulid": "01DXXFZDYD1MQW6079WK0K6EDQ",
	"minTime": -5,
	"maxTime": 7200000,
	"stats": {
		"numSamples": 3,
		"numFloatSamples": 2,
		"numHistogramSamples": 1,
		"numSeries": 1,
		"numChunks": 2
	},
	"compaction": {
		"level": 2,
		"sources": [
			"01DXXFZDYD1MQW6079WK0K6EDQ"
		],
		"parents": [
			{
				"ulid": "01DXXFZDYD1MQW6079WK0K6EDQ",
				"minTime": -5,
				"maxTime": 7200000
			}
		],
		"hints": [
			"from-out-of-order"
		]
	},
	"version": 1,
	"thanos": {
		"source": "sidecar"
	}
}
"#;

    #[test]
    fn every_key_round_trips_and_foreign_keys_are_kept() {
        let meta = read(FULL).unwrap();
        assert!(meta.has_hint(HINT_OUT_OF_ORDER));
        assert_eq!(String::from_utf8(meta.to_json()).unwrap(), FULL);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let wrong_version = read(&FULL.replace("\"version\": 1", "\"version\": 9")).unwrap_err();
        assert_eq!(wrong_version.to_string(), "meta.json: unknown version 9");
        let wrong_ulid = read(&FULL.replace("01DXXFZDYD1MQW6079WK0K6EDQ", "no")).unwrap_err();
        assert!(wrong_ulid.to_string().contains("ulid \"no\""), "{wrong_ulid}");
        let backwards = read(&FULL.replace("-5", "8000000")).unwrap_err();
        assert!(backwards.to_string().contains("maxTime lies before minTime"), "{backwards}");
        for text in ["", "{", "[]", "{\"version\":1}"] {
            assert!(read(text).unwrap_err().is_corrupt(), "{text}");
        }
    }

    #[test]
    fn null_lists_are_empty() {
        let text = FULL.replace("[\n\t\t\t\"from-out-of-order\"\n\t\t]", "null");
        assert_eq!(read(&text).unwrap().compaction.hints, Vec::<String>::new());
    }
}
