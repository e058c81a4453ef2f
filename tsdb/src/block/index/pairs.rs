//! From series to postings: collects (label, series) in the order of series and gives them back in the order of labels.
//!
//! An external sort: entries are sorted in runs of bounded size, runs that do not fit lie in temporary files, and at the end
//! the runs are merged. Series come in rising order, so the lists of a label in the runs only have to be joined.
//!
//! A run is a sequence of `label u32, u32 | count u32 | series u32 big-endian * count`, as the index has the lists.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::block::output::Output;
use crate::block::wire::{Cursor, Malformed, put_be_u32};
use crate::fs::{Context, Fs, FsError, Map};

/// A label as (name, value), in whatever numbers sort like the strings.
pub(super) type Pair = (u32, u32);

/// Sorts pairs with bounded memory.
#[derive(Debug)]
pub(super) struct PairSorter {
    fs: Arc<dyn Fs>,
    /// Temporary files are named by this and a number.
    path: PathBuf,
    entries: Vec<(Pair, u32)>,
    entries_max: usize,
    runs: Vec<PathBuf>,
}

impl PairSorter {
    /// Keeps up to `entries_max` entries (12 bytes each) in memory.
    pub(super) fn new(fs: Arc<dyn Fs>, path: PathBuf, entries_max: usize) -> Self {
        Self { fs, path, entries: Vec::new(), entries_max: entries_max.max(1), runs: Vec::new() }
    }

    /// Notes that a series carries a label. Series must not fall.
    pub(super) fn push(&mut self, pair: Pair, series: u32) -> Result<(), FsError> {
        if self.entries.len() >= self.entries_max {
            self.spill()?;
        }
        self.entries.push((pair, series));
        Ok(())
    }

    fn spill(&mut self) -> Result<(), FsError> {
        let mut path = self.path.clone().into_os_string();
        path.push(self.runs.len().to_string());
        let mut output = Output::create(&*self.fs, path.into())?;
        self.encode_run(|bytes| output.write(bytes))?;
        output.flush()?;
        self.runs.push(output.path().to_owned());
        Ok(())
    }

    fn encode_run(&mut self, mut write: impl FnMut(&[u8]) -> Result<(), FsError>) -> Result<(), FsError> {
        self.entries.sort_unstable();
        let mut bytes = Vec::new();
        for group in self.entries.chunk_by(|a, b| a.0 == b.0) {
            bytes.clear();
            let pair = group.first().map_or((0, 0), |(pair, _)| *pair);
            for number in [pair.0, pair.1, group.len() as u32] {
                put_be_u32(&mut bytes, number);
            }
            for (_, series) in group {
                put_be_u32(&mut bytes, *series);
            }
            write(&bytes)?;
        }
        self.entries.clear();
        Ok(())
    }

    /// Ends collecting. Temporary files lose their names here.
    pub(super) fn finish(mut self) -> Result<SortedPairs, FsError> {
        let mut last = Vec::new();
        self.encode_run(|bytes| {
            last.extend_from_slice(bytes);
            Ok(())
        })?;
        let mut runs = Vec::new();
        for path in &self.runs {
            runs.push(self.fs.map(path).context("map", path)?);
            self.fs.remove(path).context("remove", path)?;
        }
        runs.push(Map::from_vec(last));
        Ok(SortedPairs { runs })
    }
}

/// Sorted runs.
#[derive(Debug)]
pub(super) struct SortedPairs {
    runs: Vec<Map>,
}

/// The head of a run: the list that comes next.
struct Group<'a> {
    pair: Pair,
    series: &'a [u8],
}

impl SortedPairs {
    /// Calls `each` with every label, rising, and its series as parts of one big-endian list.
    pub(super) fn each<E: From<Malformed>>(
        &self,
        mut each: impl FnMut(Pair, &[&[u8]]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut cursors: Vec<Cursor<'_>> = self.runs.iter().map(|run| Cursor::new(run, 0)).collect();
        let mut heads: Vec<Option<Group<'_>>> = Vec::new();
        let mut heap = BinaryHeap::new();
        for (run, cursor) in cursors.iter_mut().enumerate() {
            let head = next_group(cursor)?;
            heap.extend(head.as_ref().map(|group| Reverse((group.pair, run))));
            heads.push(head);
        }
        let mut parts = Vec::new();
        while let Some(Reverse((pair, _))) = heap.peek().copied() {
            parts.clear();
            while let Some(Reverse((_, run))) = heap.peek().copied().filter(|Reverse((next, _))| *next == pair) {
                heap.pop();
                let (Some(head), Some(cursor)) = (heads.get_mut(run), cursors.get_mut(run)) else { break };
                parts.extend(head.take().map(|group| group.series));
                *head = next_group(cursor)?;
                heap.extend(head.as_ref().map(|group| Reverse((group.pair, run))));
            }
            each(pair, &parts)?;
        }
        Ok(())
    }
}

fn next_group<'a>(cursor: &mut Cursor<'a>) -> Result<Option<Group<'a>>, Malformed> {
    if cursor.is_empty() {
        return Ok(None);
    }
    let pair = (cursor.be_u32()?, cursor.be_u32()?);
    let count = cursor.be_u32()? as usize;
    Ok(Some(Group { pair, series: cursor.take(count * 4)? }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::MemFs;
    use std::collections::BTreeMap;

    #[test]
    fn runs_of_any_size_give_the_same_lists() {
        let disk = MemFs::new();
        let carries = |series: u32| [(0, 0), (1, series % 7), (2, series / 3)];
        let mut expected: BTreeMap<Pair, Vec<u32>> = BTreeMap::new();
        for series in 0..100 {
            for pair in carries(series) {
                expected.entry(pair).or_default().push(series);
            }
        }
        for entries_max in [1, 2, 10, 299, 300, 1000] {
            let mut sorter = PairSorter::new(Arc::new(disk.clone()), "run".into(), entries_max);
            for series in 0..100 {
                for pair in carries(series) {
                    sorter.push(pair, series).unwrap();
                }
            }
            let mut seen = BTreeMap::new();
            let sorted = sorter.finish().unwrap();
            let each = |pair, parts: &[&[u8]]| {
                let bytes = parts.concat();
                let list = bytes.as_chunks().0.iter().map(|bytes| u32::from_be_bytes(*bytes)).collect();
                assert!(seen.insert(pair, list).is_none());
                Ok::<_, Broken>(())
            };
            assert!(sorted.each(each).is_ok());
            assert_eq!(seen, expected, "runs of {entries_max}");
            assert!(disk.list("".as_ref()).unwrap().is_empty(), "temporary files are gone");
        }
    }

    #[derive(Debug)]
    struct Broken;

    impl From<Malformed> for Broken {
        fn from(_: Malformed) -> Self {
            Broken
        }
    }
}
