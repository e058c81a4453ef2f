//! What a reader holds: some blocks and a view of the head, as one.
//!
//! ```text
//!  blocks (a list that does not change) --+
//!                                         +-- joined by labels --> series --read--> merged by time --> columns
//!  head (commits up to a number) ---------+
//! ```
//!
//! Sources are ordered: of one moment, the sample of the first source counts (blocks by time, then blocks of late samples, then
//! the head).

use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::sync::Arc;

use ferula_model::{Columns, Labels, Matcher, Querier, Question, SelectError, SelectHints, SeriesSet, TimeRange};
use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::block::Block;
use crate::columns::{Mark, rises_from, split_off};
use crate::db::Db;
use crate::head::{Head, HeadSet, ReaderGuard, merge_into};

/// A consistent view of a time range.
#[derive(Debug)]
pub(crate) struct Snapshot<'a> {
    head: &'a Head,
    reader: ReaderGuard<'a>,
    blocks: Vec<Arc<Block>>,
    range: TimeRange,
}

impl<'a> Snapshot<'a> {
    /// Begins to read. The reader is registered before the list of blocks is taken: whatever leaves the head after that
    /// is either in the list or still in the head.
    pub(crate) fn of(db: &'a Db, range: TimeRange) -> Self {
        let reader = db.head.reader();
        let list = db.blocks.list();
        let mut blocks: Vec<Arc<Block>> = list.iter().filter(|block| block.range().overlaps(range)).cloned().collect();
        blocks.sort_by_key(|block| block.meta().rank());
        Self { head: &db.head, reader, blocks, range }
    }
}

impl Querier for Snapshot<'_> {
    fn select(&self, hints: &SelectHints, matchers: &[Matcher]) -> Result<Box<dyn SeriesSet + '_>, SelectError> {
        let range = hints.range.unwrap_or(self.range);
        let limit = if hints.limit > 0 { hints.limit } else { usize::MAX };
        let sorted = hints.sorted || hints.limit > 0;
        let mut sources = Vec::new();
        for block in self.blocks.iter().filter(|block| block.range().overlaps(range)) {
            let mut series = block.select(range, matchers).map_err(SelectError::from)?;
            // Sorted by labels: what is among the first of all sources is among the first of each that has it.
            series.truncate(limit);
            if !series.is_empty() {
                sources.push(Source::Block(block, series));
            }
        }
        // Beside blocks its series are sorted once they are joined, most of them with those of a block.
        let head_sorted = if sources.is_empty() { sorted } else { hints.limit > 0 };
        let head_hints = SelectHints { range: Some(range), sorted: head_sorted, ..hints.clone() };
        let head = self.head.select(&self.reader, range, &head_hints, matchers);
        if head.len() > 0 {
            sources.push(Source::Head(head));
        }
        let members = match sources.as_slice() {
            [] => Members::Of(Vec::new()),
            [Source::Head(head)] => Members::All(head.len()),
            several => Members::Of(join_series(several, sorted, limit)?),
        };
        Ok(Box::new(Merged { sources, members }))
    }

    fn label_names(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<String>, SelectError> {
        let mut names = BTreeSet::new();
        for block in &self.blocks {
            names.extend(block.label_names(matchers, 0).map_err(SelectError::from)?);
        }
        if self.head.overlaps(self.range) {
            self.head.label_names(matchers, &mut names);
        }
        Ok(limited(names, limit))
    }

    fn label_values(&self, name: &str, matchers: &[Matcher], limit: usize) -> Result<Vec<String>, SelectError> {
        let mut values = BTreeSet::new();
        for block in &self.blocks {
            values.extend(block.label_values(name, matchers, limit).map_err(SelectError::from)?);
        }
        if self.head.overlaps(self.range) {
            self.head.label_values(name, matchers, limit, &mut values);
        }
        Ok(limited(values, limit))
    }

    /// Known where no block is asked: pages of a block may have to come from the disk. Those of the head's mapped files were
    /// written within the last hours, and the system has them.
    fn at_most(&self, question: Question<'_>, range: TimeRange) -> Option<usize> {
        let in_memory = !self.blocks.iter().any(|block| block.range().overlaps(range));
        in_memory.then(|| self.head.at_most(question)).flatten()
    }
}

fn limited(set: BTreeSet<String>, limit: usize) -> Vec<String> {
    set.into_iter().take(if limit == 0 { usize::MAX } else { limit }).collect()
}

/// Series of one block, by rising labels, or of the head, in that order if it is asked for.
#[derive(Debug)]
enum Source<'a> {
    Block(&'a Block, Vec<u32>),
    Head(HeadSet<'a>),
}

impl Source<'_> {
    fn len(&self) -> usize {
        match self {
            Source::Block(_, series) => series.len(),
            Source::Head(set) => set.len(),
        }
    }

    /// Calls `each` with the position and the labels of each series.
    fn each_labels(&self, mut each: impl FnMut(usize, Labels)) -> Result<(), SelectError> {
        match self {
            Source::Block(block, series) => block.each_labels(series, each).map_err(SelectError::from),
            Source::Head(set) => {
                (0..set.len()).for_each(|index| each(index, set.labels(index)));
                Ok(())
            }
        }
    }

    fn read(&self, index: usize, range: TimeRange, columns: &mut Columns) -> Result<(), SelectError> {
        match self {
            Source::Block(block, series) => match series.get(index) {
                Some(&series) => block.read(series, range, columns).map_err(SelectError::from),
                None => Ok(()),
            },
            Source::Head(set) => set.read(index, range, columns),
        }
    }
}

/// The series of several sources as one set.
#[derive(Debug)]
struct Merged<'a> {
    sources: Vec<Source<'a>>,
    members: Members,
}

#[derive(Debug)]
enum Members {
    /// All of the only source, the head.
    All(usize),
    /// For each series, its source and position in it; several if it is in several sources.
    Of(Vec<Member>),
}

#[derive(Debug)]
struct Member {
    labels: Labels,
    parts: smallvec::SmallVec<[(u32, u32); 2]>,
}

/// Finds out which series of the sources are the same.
fn join_series(sources: &[Source<'_>], sorted: bool, limit: usize) -> Result<Vec<Member>, SelectError> {
    let most = sources.iter().map(Source::len).max().unwrap_or(0);
    let mut members: Vec<Member> = Vec::with_capacity(most);
    if let [one] = sources {
        one.each_labels(|index, labels| {
            members.push(Member { labels, parts: smallvec::smallvec![(0, index as u32)] })
        })?;
        return Ok(members);
    }
    let mut known: HashTable<usize> = HashTable::with_capacity(most);
    let hasher = RandomState::default();
    for (at, source) in sources.iter().enumerate() {
        source.each_labels(|index, labels| {
            let part = (at as u32, index as u32);
            let hash = hasher.hash_one(&labels);
            // The series of one source differ.
            let same = known.find(hash, |&member| members.get(member).is_some_and(|member| member.labels == labels));
            if let Some(member) = same.and_then(|&member| members.get_mut(member)) {
                member.parts.push(part);
                return;
            }
            let rehash = |&member: &usize| members.get(member).map_or(0, |member| hasher.hash_one(&member.labels));
            known.insert_unique(hash, members.len(), rehash);
            members.push(Member { labels, parts: smallvec::smallvec![part] });
        })?;
    }
    if sorted {
        // A run from each source that brought new series.
        members.sort_by(|a, b| a.labels.cmp(&b.labels));
    }
    members.truncate(limit);
    Ok(members)
}

impl SeriesSet for Merged<'_> {
    fn len(&self) -> usize {
        match &self.members {
            Members::All(count) => *count,
            Members::Of(members) => members.len(),
        }
    }

    fn labels(&self, index: usize) -> Labels {
        match &self.members {
            Members::All(_) => match self.sources.first() {
                Some(Source::Head(set)) => set.labels(index),
                _ => Labels::empty(),
            },
            Members::Of(members) => members.get(index).map(|member| member.labels.clone()).unwrap_or_default(),
        }
    }

    fn each_label(&self, index: usize, see: &mut dyn FnMut(&str, &str)) {
        match (&self.members, self.sources.first()) {
            (Members::All(_), Some(Source::Head(set))) => set.each_label(index, see),
            _ => self.labels(index).iter().for_each(|(name, value)| see(name, value)),
        }
    }

    fn read(&self, index: usize, range: TimeRange, columns: &mut Columns) -> Result<(), SelectError> {
        columns.clear();
        let members = match &self.members {
            Members::All(_) => return self.sources.first().map_or(Ok(()), |source| source.read(index, range, columns)),
            Members::Of(members) => members,
        };
        for &(source, at) in members.get(index).map_or([].as_slice(), |member| &member.parts) {
            let Some(source) = self.sources.get(source as usize) else { continue };
            let mark = Mark::of(columns);
            source.read(at as usize, range, columns)?;
            // Usually all of it is behind what the sources before had; where it is not, the first source wins.
            if !rises_from(columns, mark) {
                let part = split_off(columns, mark);
                merge_into(columns, &part);
            }
        }
        Ok(())
    }
}
