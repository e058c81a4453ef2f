//! Which blocks may go?
//!
//! A pure function of the blocks, the limits and what else lies on the disk. Samples go by whole blocks, so the oldest ones
//! live up to a block longer than the retention says (Prometheus 3.14, `tsdb/db.go`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ferula_model::millis;
use ulid::Ulid;

use crate::block::meta::BlockMeta;

/// How long, and how much, is kept. Without any limit everything is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Retention {
    /// Blocks that end so long before the newest one go.
    pub time: Option<Duration>,
    /// Above so many bytes (logs, head chunks and blocks together) the oldest blocks go.
    pub bytes_max: Option<u64>,
    /// As `bytes_max`, in percent of the file system's size; overrules `bytes_max`.
    pub disk_percent_max: Option<f64>,
}

/// What lies on the disk besides blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of the logs and head chunks: they count, but never go.
    pub head_bytes: u64,
    /// Size of the file system in bytes, if known.
    pub disk_bytes: Option<u64>,
}

/// A block and its size.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// What it says about itself.
    pub meta: &'a BlockMeta,
    /// Bytes of all its files.
    pub bytes: u64,
}

/// Blocks that may go, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deletions {
    /// Compacted into a block that is loaded, or empty.
    pub superseded: BTreeSet<Ulid>,
    /// Older than the retention time.
    pub by_time: BTreeSet<Ulid>,
    /// Beyond the retention size.
    pub by_size: BTreeSet<Ulid>,
}

impl Deletions {
    /// All of them, each once.
    pub fn all(&self) -> BTreeSet<Ulid> {
        self.superseded.iter().chain(&self.by_time).chain(&self.by_size).copied().collect()
    }

    /// Whether nothing goes.
    pub fn is_empty(&self) -> bool {
        self.superseded.is_empty() && self.by_time.is_empty() && self.by_size.is_empty()
    }
}

impl Retention {
    /// The size limit in bytes, if there is one.
    pub fn bytes_limit(&self, usage: Usage) -> Option<u64> {
        let percent = self.disk_percent_max.filter(|percent| *percent > 0.0);
        match (percent, usage.disk_bytes) {
            (Some(percent), Some(disk)) => Some((disk as f64 * percent / 100.0) as u64),
            _ => self.bytes_max,
        }
    }

    /// Which of the blocks may go. `blocks` are those that could be opened, in any order.
    pub fn deletions(&self, blocks: &[Candidate<'_>], usage: Usage) -> Deletions {
        let superseded = superseded(blocks);
        let mut left: Vec<&Candidate<'_>> =
            blocks.iter().filter(|block| !superseded.contains(&block.meta.ulid)).collect();
        left.sort_by_key(|block| (std::cmp::Reverse(block.meta.max_time), block.meta.ulid));
        let by_time = self.time.map(|time| beyond_time(&left, millis(time))).unwrap_or_default();
        let by_size = self.bytes_limit(usage).map(|limit| beyond_size(&left, limit, usage)).unwrap_or_default();
        Deletions { superseded, by_time, by_size }
    }
}

/// Blocks that say themselves that they may go, and parents of blocks that are there.
fn superseded(blocks: &[Candidate<'_>]) -> BTreeSet<Ulid> {
    let by_name: BTreeMap<Ulid, &BlockMeta> = blocks.iter().map(|block| (block.meta.ulid, block.meta)).collect();
    let parents = blocks.iter().flat_map(|block| &block.meta.compaction.parents).map(|parent| parent.ulid);
    let deletable = blocks.iter().filter(|block| block.meta.compaction.deletable).map(|block| block.meta.ulid);
    parents.chain(deletable).filter(|ulid| by_name.contains_key(ulid)).collect()
}

/// From the newest block on, those that end `retention` or more before it.
fn beyond_time(newest_first: &[&Candidate<'_>], retention: i64) -> BTreeSet<Ulid> {
    let Some((newest, others)) = newest_first.split_first() else {
        return BTreeSet::new();
    };
    let expired = |end: i64| newest.meta.max_time.saturating_sub(end) >= retention;
    others.iter().filter(|block| expired(block.meta.max_time)).map(|block| block.meta.ulid).collect()
}

/// From the newest block on, all from the first that does not fit.
fn beyond_size(newest_first: &[&Candidate<'_>], limit: u64, usage: Usage) -> BTreeSet<Ulid> {
    let sizes = newest_first.iter().scan(usage.head_bytes, |total, block| {
        *total = total.saturating_add(block.bytes);
        Some((*total, block.meta.ulid))
    });
    sizes.skip_while(|(total, _)| *total <= limit).map(|(_, ulid)| ulid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::meta::BlockParent;

    fn block(number: u64, min_time: i64, max_time: i64) -> BlockMeta {
        BlockMeta::new(Ulid::from_parts(number, 0), min_time, max_time)
    }

    fn deletions(retention: Retention, metas: &[BlockMeta], usage: Usage) -> Deletions {
        let blocks: Vec<_> = metas.iter().map(|meta| Candidate { meta, bytes: 100 }).collect();
        retention.deletions(&blocks, usage)
    }

    fn numbers(ulids: &BTreeSet<Ulid>) -> Vec<u64> {
        ulids.iter().map(Ulid::timestamp_ms).collect()
    }

    #[test]
    fn time_is_counted_back_from_the_newest_block() {
        let metas = [block(1, 0, 100), block(2, 100, 200), block(3, 200, 300), block(4, 300, 400)];
        for (retention, expected) in [(0, vec![1, 2, 3]), (100, vec![1, 2, 3]), (101, vec![1, 2]), (300, vec![1])] {
            let time = Some(Duration::from_millis(retention));
            let gone = deletions(Retention { time, ..Retention::default() }, &metas, Usage::default());
            assert_eq!(numbers(&gone.by_time), expected, "{retention} ms");
        }
        assert!(deletions(Retention::default(), &metas, Usage::default()).is_empty());
    }

    #[test]
    fn size_counts_the_head_and_drops_the_oldest() {
        let metas = [block(1, 0, 100), block(2, 100, 200), block(3, 200, 300)];
        let usage = Usage { head_bytes: 50, disk_bytes: Some(1000) };
        for (limit, expected) in [(350, vec![]), (349, vec![1]), (150, vec![1, 2]), (0, vec![1, 2, 3])] {
            let by_bytes = Retention { bytes_max: Some(limit), ..Retention::default() };
            assert_eq!(numbers(&deletions(by_bytes, &metas, usage).by_size), expected, "{limit} bytes");
            let disk_percent_max = Some(limit as f64 / 10.0).filter(|percent| *percent > 0.0);
            let by_percent = Retention { bytes_max: Some(limit), disk_percent_max, ..Retention::default() };
            assert_eq!(numbers(&deletions(by_percent, &metas, usage).by_size), expected, "{limit} permille");
        }
    }

    #[test]
    fn parents_go_only_when_their_child_is_there() {
        let (old, mut child) = (block(1, 0, 100), block(9, 0, 100));
        child.compaction.parents = vec![BlockParent { ulid: old.ulid, min_time: 0, max_time: 100 }];
        let mut empty = block(5, 100, 200);
        empty.compaction.deletable = true;
        let gone = deletions(Retention::default(), &[old.clone(), child, empty.clone()], Usage::default());
        assert_eq!(numbers(&gone.superseded), [1, 5]);
        let gone = deletions(Retention::default(), &[old], Usage::default());
        assert!(gone.is_empty());
    }

    #[test]
    fn superseded_blocks_do_not_count_twice() {
        let (old, mut child) = (block(1, 0, 100), block(9, 0, 100));
        child.compaction.parents = vec![BlockParent { ulid: old.ulid, min_time: 0, max_time: 100 }];
        let retention = Retention { bytes_max: Some(100), ..Retention::default() };
        let gone = deletions(retention, &[old, child], Usage::default());
        assert_eq!((numbers(&gone.superseded), numbers(&gone.by_size)), (vec![1], vec![]));
    }
}
