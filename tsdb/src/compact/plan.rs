//! What should be compacted next?
//!
//! A pure function of the blocks' descriptions. In this order (Prometheus 3.14, `tsdb/compact.go`):
//!
//! 1. Blocks that overlap in time are merged, whatever their levels.
//! 2. The newest block is left alone, so that backups find it. Of the others, those that fill an aligned window of the next
//!    level (three times the one below), or lie in a window that will not fill any more, become one.
//! 3. A large block with many tombstones, or any block that is deleted entirely, is rewritten.
//!
//! Blocks of the three kinds (regular, stale series, selected series) are never mixed.

use ulid::Ulid;

use crate::block::meta::{BlockMeta, HINT_SELECTED_SERIES, HINT_STALE_SERIES};

/// A rewrite is worth it above so many tombstones for each series.
const TOMBSTONES_PER_SERIES_MAX: f64 = 0.05;

/// Each level is so many times as long as the one below.
const LEVEL_FACTOR: i64 = 3;

/// Two hours, in milliseconds: the length of a block from the head.
pub const BLOCK_RANGE_DEFAULT: i64 = 2 * 3_600_000;

/// How blocks grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactionOptions {
    ranges: Vec<i64>,
    overlapping: bool,
}

impl CompactionOptions {
    /// Levels from `block_range` (milliseconds, at least 1) by three up to `range_max`.
    ///
    /// ```
    /// use ferula_tsdb::compact::CompactionOptions;
    ///
    /// const HOUR: i64 = 3_600_000;
    /// let options = CompactionOptions::new(2 * HOUR, 31 * 24 * HOUR);
    /// assert_eq!(options.ranges(), [2 * HOUR, 6 * HOUR, 18 * HOUR, 54 * HOUR, 162 * HOUR, 486 * HOUR]);
    /// ```
    pub fn new(block_range: i64, range_max: i64) -> Self {
        let first = block_range.max(1);
        let levels = std::iter::successors(Some(first), |range| range.checked_mul(LEVEL_FACTOR));
        let mut ranges: Vec<i64> = levels.take_while(|range| *range <= range_max).collect();
        if ranges.is_empty() {
            ranges.push(first);
        }
        Self { ranges, overlapping: true }
    }

    /// The default: two hours, up to a tenth of the retention and at most 31 days.
    pub fn for_retention(block_range: i64, retention_millis: Option<i64>) -> Self {
        let month = 31 * 24 * 3_600_000;
        Self::new(block_range, retention_millis.map_or(month, |retention| month.min(retention / 10)))
    }

    /// Whether overlapping blocks are merged (default: yes). Otherwise only queries merge them.
    #[must_use]
    pub fn overlapping(mut self, merged: bool) -> Self {
        self.overlapping = merged;
        self
    }

    /// The lengths of the levels in milliseconds, rising.
    pub fn ranges(&self) -> &[i64] {
        &self.ranges
    }

    /// The length of a block from the head, in milliseconds.
    pub fn block_range(&self) -> i64 {
        self.ranges[0]
    }
}

/// Blocks that should become one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The blocks by rising start; at least one.
    pub blocks: Vec<Ulid>,
    /// Why.
    pub reason: Reason,
}

/// Why blocks are compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// They overlap in time.
    Overlap,
    /// They fill a window of the next level.
    Level,
    /// Much of the one block is deleted.
    Tombstones,
}

/// What should be compacted next; nothing most of the time. `metas` come in any order. Carry the plan out, then ask again.
pub fn plan<'a>(metas: impl IntoIterator<Item = &'a BlockMeta>, options: &CompactionOptions) -> Option<Plan> {
    let mut kinds: [Vec<&BlockMeta>; 3] = Default::default();
    for meta in metas {
        kinds[kind_of(meta)].push(meta);
    }
    kinds.iter_mut().find_map(|metas| {
        metas.sort_by_key(|meta| (meta.min_time, meta.max_time, meta.ulid));
        plan_kind(metas, options)
    })
}

fn kind_of(meta: &BlockMeta) -> usize {
    if meta.has_hint(HINT_STALE_SERIES) {
        1
    } else if meta.has_hint(HINT_SELECTED_SERIES) {
        2
    } else {
        0
    }
}

fn plan_kind(metas: &[&BlockMeta], options: &CompactionOptions) -> Option<Plan> {
    let overlap = options.overlapping.then(|| overlapping(metas)).flatten();
    let settled = || metas.split_last().map(|(_newest, settled)| settled);
    let chosen = |metas: &[&BlockMeta], reason| Plan { blocks: metas.iter().map(|meta| meta.ulid).collect(), reason };
    overlap
        .map(|metas| chosen(metas, Reason::Overlap))
        .or_else(|| filled_window(settled()?, options).map(|metas| chosen(metas, Reason::Level)))
        .or_else(|| worn_block(settled()?, options).map(|meta| chosen(&[meta], Reason::Tombstones)))
}

/// The first run of blocks of which each one starts before all earlier ones have ended. Runs with a block that could not be
/// compacted before are passed over; upstream tries them again every minute.
fn overlapping<'m, 'a>(metas: &'m [&'a BlockMeta]) -> Option<&'m [&'a BlockMeta]> {
    let sound = |run: &&[&BlockMeta]| run.len() > 1 && run.iter().all(|meta| !meta.compaction.failed);
    let mut start = 0;
    let mut end_max = i64::MIN;
    for (at, meta) in metas.iter().enumerate() {
        if meta.min_time >= end_max {
            if let Some(run) = metas.get(start..at).filter(sound) {
                return Some(run);
            }
            start = at;
        }
        end_max = end_max.max(meta.max_time);
    }
    metas.get(start..).filter(sound)
}

/// Blocks in one aligned window of a level, if that window is full or will not fill any more.
fn filled_window<'m, 'a>(metas: &'m [&'a BlockMeta], options: &CompactionOptions) -> Option<&'m [&'a BlockMeta]> {
    let newest_start = metas.last()?.min_time;
    options.ranges.iter().skip(1).find_map(|&range| {
        windows(metas, range).find(|group| {
            let (Some(first), Some(last)) = (group.first(), group.last()) else {
                return false;
            };
            let full = last.max_time.saturating_sub(first.min_time) == range || last.max_time <= newest_start;
            full && group.len() > 1 && group.iter().all(|meta| !meta.compaction.failed)
        })
    })
}

/// Groups of neighbouring blocks that lie entirely within one window of `range`, aligned to zero.
fn windows<'m, 'a>(metas: &'m [&'a BlockMeta], range: i64) -> impl Iterator<Item = &'m [&'a BlockMeta]> {
    let window_of = move |meta: &BlockMeta| {
        let start = meta.min_time.div_euclid(range).saturating_mul(range);
        (meta.max_time <= start.saturating_add(range)).then_some(start)
    };
    metas
        .chunk_by(move |a, b| window_of(a).is_some() && window_of(a) == window_of(b))
        .filter(move |group| group.first().is_some_and(|meta| window_of(meta).is_some()))
}

/// The newest block that is worth rewriting for its tombstones. Small blocks are not: they are merged soon anyhow.
fn worn_block<'a>(metas: &[&'a BlockMeta], options: &CompactionOptions) -> Option<&'a BlockMeta> {
    let range_min = options.ranges.get(options.ranges.len() / 2).copied().unwrap_or(i64::MAX);
    for meta in metas.iter().rev() {
        let (tombstones, series) = (meta.stats.num_tombstones, meta.stats.num_series);
        if meta.max_time.saturating_sub(meta.min_time) < range_min {
            // The walk ends at the first small block, as upstream's does, but one that is deleted entirely is taken.
            return (tombstones > 0 && tombstones >= series && !meta.compaction.failed).then_some(meta);
        }
        if !meta.compaction.failed && tombstones as f64 / (series as f64 + 1.0) > TOMBSTONES_PER_SERIES_MAX {
            return Some(meta);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ranges 20, 60, 180, 540, 1620.
    fn options() -> CompactionOptions {
        CompactionOptions::new(20, 1620)
    }

    fn block(number: u64, min_time: i64, max_time: i64) -> BlockMeta {
        BlockMeta::new(Ulid::from_parts(number, 0), min_time, max_time)
    }

    fn worn(mut meta: BlockMeta, series: u64, tombstones: u64) -> BlockMeta {
        meta.stats.num_series = series;
        meta.stats.num_tombstones = tombstones;
        meta
    }

    fn failed(mut meta: BlockMeta) -> BlockMeta {
        meta.compaction.failed = true;
        meta
    }

    /// The numbers of the chosen blocks.
    fn chosen(metas: &[BlockMeta]) -> (Vec<u64>, Option<Reason>) {
        let plan = plan(metas, &options());
        let numbers = plan.iter().flat_map(|plan| plan.blocks.iter().map(Ulid::timestamp_ms)).collect();
        (numbers, plan.map(|plan| plan.reason))
    }

    #[test]
    fn windows_fill_level_by_level() {
        let none: Vec<u64> = vec![];
        let cases: Vec<(&str, Vec<BlockMeta>, Vec<u64>)> = vec![
            ("nothing", vec![], none.clone()),
            ("one block", vec![block(1, 0, 20)], none.clone()),
            ("two blocks", vec![block(1, 0, 20), block(2, 20, 40)], none.clone()),
            ("the newest may still grow", vec![block(1, 0, 20), block(2, 20, 40), block(3, 40, 60)], none.clone()),
            (
                "a full window below the newest",
                vec![block(1, 0, 20), block(2, 20, 40), block(3, 40, 60), block(4, 60, 80)],
                vec![1, 2, 3],
            ),
            ("a window with a hole, passed", vec![block(1, 0, 20), block(3, 40, 60), block(4, 60, 80)], vec![1, 3]),
            (
                "a window that will not fill any more",
                vec![block(1, 0, 20), block(2, 20, 40), block(4, 60, 80), block(5, 80, 100)],
                vec![1, 2],
            ),
            (
                "the second level",
                vec![block(1, 0, 60), block(2, 60, 120), block(3, 120, 180), block(4, 180, 200)],
                vec![1, 2, 3],
            ),
            (
                "the lower level first",
                vec![
                    block(1, 0, 60),
                    block(2, 60, 120),
                    block(3, 120, 140),
                    block(4, 140, 160),
                    block(5, 160, 180),
                    block(6, 180, 200),
                ],
                vec![3, 4, 5],
            ),
            (
                "misaligned blocks are passed over",
                vec![block(1, 10, 70), block(2, 70, 90), block(3, 100, 120), block(4, 130, 150), block(5, 150, 170)],
                vec![2, 3],
            ),
            (
                "a failed block spoils its window",
                vec![failed(block(1, 0, 20)), block(2, 20, 40), block(3, 40, 60), block(4, 60, 80)],
                none.clone(),
            ),
            (
                "before the epoch",
                vec![block(1, -60, -40), block(2, -40, -20), block(3, -20, 0), block(4, 0, 20)],
                vec![1, 2, 3],
            ),
        ];
        for (what, metas, expected) in cases {
            let (numbers, reason) = chosen(&metas);
            assert_eq!(numbers, expected, "{what}");
            assert_eq!(reason, (!expected.is_empty()).then_some(Reason::Level), "{what}");
        }
    }

    #[test]
    fn overlapping_blocks_go_first() {
        let cases: Vec<(&str, Vec<BlockMeta>, Vec<u64>)> = vec![
            ("two", vec![block(1, 0, 20), block(2, 19, 40), block(3, 40, 60)], vec![1, 2]),
            ("touching is not overlapping", vec![block(1, 0, 20), block(2, 20, 40)], vec![]),
            (
                "one long block over several",
                vec![block(1, 0, 10), block(2, 10, 100), block(3, 20, 30), block(4, 50, 60), block(5, 100, 120)],
                vec![2, 3, 4],
            ),
            ("the newest too", vec![block(1, 0, 20), block(2, 10, 30)], vec![1, 2]),
            (
                "the first run only",
                vec![block(1, 0, 20), block(2, 10, 30), block(3, 40, 60), block(4, 50, 70)],
                vec![1, 2],
            ),
            (
                "not those that failed before",
                vec![failed(block(1, 0, 20)), block(2, 10, 30), block(3, 40, 60), block(4, 50, 70)],
                vec![3, 4],
            ),
            ("given in any order", vec![block(2, 19, 40), block(3, 40, 60), block(1, 0, 20)], vec![1, 2]),
        ];
        for (what, metas, expected) in cases {
            let (numbers, reason) = chosen(&metas);
            assert_eq!(numbers, expected, "{what}");
            assert_eq!(reason, (!expected.is_empty()).then_some(Reason::Overlap), "{what}");
        }
        let metas = [block(1, 0, 20), block(2, 10, 30)];
        assert_eq!(plan(&metas, &options().overlapping(false)), None);
    }

    #[test]
    fn worn_blocks_are_rewritten() {
        let cases: Vec<(&str, Vec<BlockMeta>, Vec<u64>)> = vec![
            ("a large block", vec![worn(block(1, 0, 540), 10, 3), block(2, 540, 560)], vec![1]),
            ("too few tombstones", vec![worn(block(1, 0, 540), 100, 5), block(2, 540, 560)], vec![]),
            ("a small block waits for its level", vec![worn(block(1, 0, 60), 10, 3), block(2, 60, 80)], vec![]),
            ("unless nothing of it is left", vec![worn(block(1, 0, 60), 10, 10), block(2, 60, 80)], vec![1]),
            ("never the newest", vec![worn(block(1, 0, 540), 10, 3)], vec![]),
        ];
        for (what, metas, expected) in cases {
            let (numbers, reason) = chosen(&metas);
            assert_eq!(numbers, expected, "{what}");
            assert_eq!(reason, (!expected.is_empty()).then_some(Reason::Tombstones), "{what}");
        }
    }

    #[test]
    fn kinds_are_not_mixed() {
        let mut stale = block(2, 10, 30);
        stale.compaction.hints = vec![HINT_STALE_SERIES.to_owned()];
        assert_eq!(chosen(&[block(1, 0, 20), stale.clone()]).0, Vec::<u64>::new());
        let mut other = stale.clone();
        other.ulid = Ulid::from_parts(3, 0);
        assert_eq!(chosen(&[block(1, 0, 20), stale, other]).0, [2, 3]);
    }
}
