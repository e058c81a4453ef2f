//! What a reader holds: some blocks and a view of the head, as one.
//!
//! ```text
//!  blocks (a list that does not change) --+
//!                                         +-- merged by labels --> series --read--> merged by time --> columns
//!  head (commits up to a number) ---------+
//! ```
//!
//! Sources are ordered: of one moment, the sample of the first source counts (blocks by time, then blocks of late samples, then
//! the head).

use std::cmp::Ordering;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;

use ferula_model::{Columns, Labels, Matcher, Querier, SelectError, SelectHints, SeriesSet, TimeRange};

use crate::block::Block;
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
        let mut sources = Vec::new();
        for block in self.blocks.iter().filter(|block| block.range().overlaps(range)) {
            let series = block.select(range, matchers).map_err(SelectError::from)?;
            if !series.is_empty() {
                sources.push(Source::Block(block, series));
            }
        }
        let alone = sources.is_empty();
        let head_hints = SelectHints {
            range: Some(range),
            sorted: hints.sorted || !alone,
            limit: if alone { hints.limit } else { 0 },
            ..hints.clone()
        };
        let head = self.head.select(&self.reader, range, &head_hints, matchers);
        if head.len() > 0 {
            sources.push(Source::Head(head));
        }
        let members = match sources.as_slice() {
            [] => Members::Of(Vec::new()),
            [one] => Members::All(if hints.limit > 0 { one.len().min(hints.limit) } else { one.len() }),
            several => Members::Of(merge_series(several, hints.limit)?),
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
}

fn limited(set: BTreeSet<String>, limit: usize) -> Vec<String> {
    set.into_iter().take(if limit == 0 { usize::MAX } else { limit }).collect()
}

/// Series of one block or of the head, by rising labels if there are several sources.
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

    fn labels(&self, index: usize) -> Result<Labels, SelectError> {
        match self {
            Source::Block(block, series) => match series.get(index) {
                Some(&series) => block.labels(series).map_err(SelectError::from),
                None => Ok(Labels::empty()),
            },
            Source::Head(set) => Ok(set.labels(index)),
        }
    }

    fn each_label(&self, index: usize, see: &mut dyn FnMut(&str, &str)) {
        match self {
            Source::Head(set) => set.each_label(index, see),
            // Damage shows when the samples are read.
            Source::Block(..) => self.labels(index).iter().flatten().for_each(|(name, value)| see(name, value)),
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
    /// The first so many of the only source.
    All(usize),
    /// For each series, its source and position in it; several if it is in several sources.
    Of(Vec<Member>),
}

#[derive(Debug)]
struct Member {
    labels: Labels,
    parts: smallvec::SmallVec<[(u32, u32); 2]>,
}

/// The next series of a source; the heap gives the smallest labels first, and of equal ones the first source.
struct Next {
    labels: Labels,
    source: usize,
    index: usize,
}

impl PartialEq for Next {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Next {}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Next {
    fn cmp(&self, other: &Self) -> Ordering {
        other.labels.cmp(&self.labels).then_with(|| other.source.cmp(&self.source))
    }
}

fn merge_series(sources: &[Source<'_>], limit: usize) -> Result<Vec<Member>, SelectError> {
    let mut heap = BinaryHeap::new();
    for (at, source) in sources.iter().enumerate() {
        heap.push(Next { labels: source.labels(0)?, source: at, index: 0 });
    }
    let mut members: Vec<Member> = Vec::new();
    while let Some(next) = heap.pop() {
        let part = (next.source as u32, next.index as u32);
        if let Some(source) = sources.get(next.source).filter(|source| next.index + 1 < source.len()) {
            let index = next.index + 1;
            heap.push(Next { labels: source.labels(index)?, source: next.source, index });
        }
        let full = limit > 0 && members.len() >= limit;
        match members.last_mut().filter(|last| last.labels == next.labels) {
            Some(last) => last.parts.push(part),
            None if full => break,
            None => members.push(Member { labels: next.labels, parts: smallvec::smallvec![part] }),
        }
    }
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
            // Damage shows when the samples are read.
            Members::All(_) => self.sources.first().and_then(|source| source.labels(index).ok()).unwrap_or_default(),
            Members::Of(members) => members.get(index).map(|member| member.labels.clone()).unwrap_or_default(),
        }
    }

    fn each_label(&self, index: usize, see: &mut dyn FnMut(&str, &str)) {
        match (&self.members, self.sources.first()) {
            (Members::All(_), Some(source)) => source.each_label(index, see),
            _ => self.labels(index).iter().for_each(|(name, value)| see(name, value)),
        }
    }

    fn read(&self, index: usize, range: TimeRange, columns: &mut Columns) -> Result<(), SelectError> {
        columns.clear();
        let members = match &self.members {
            Members::All(_) => return self.sources.first().map_or(Ok(()), |source| source.read(index, range, columns)),
            Members::Of(members) => members,
        };
        let mut part = Columns::default();
        for &(source, at) in members.get(index).map_or([].as_slice(), |member| &member.parts) {
            let Some(source) = self.sources.get(source as usize) else { continue };
            if columns.is_empty() {
                source.read(at as usize, range, columns)?;
                continue;
            }
            part.clear();
            source.read(at as usize, range, &mut part)?;
            join(columns, &mut part);
        }
        Ok(())
    }
}

/// Adds later samples to a column. Usually they all are behind it; where they are not, the first source wins.
fn join(columns: &mut Columns, part: &mut Columns) {
    let end = columns.times.last().max(columns.histogram_times.last()).copied().unwrap_or(i64::MIN);
    let begin = match (part.times.first(), part.histogram_times.first()) {
        (Some(a), Some(b)) => *a.min(b),
        (Some(one), None) | (None, Some(one)) => *one,
        (None, None) => return,
    };
    if begin <= end {
        return merge_into(columns, part);
    }
    append(&mut columns.times, &mut part.times, &mut columns.starts, &mut part.starts);
    columns.values.append(&mut part.values);
    append(
        &mut columns.histogram_times,
        &mut part.histogram_times,
        &mut columns.histogram_starts,
        &mut part.histogram_starts,
    );
    columns.histograms.append(&mut part.histograms);
}

fn append(times: &mut Vec<i64>, more: &mut Vec<i64>, starts: &mut Vec<i64>, more_starts: &mut Vec<i64>) {
    if !starts.is_empty() || !more_starts.is_empty() {
        starts.resize(times.len(), 0);
        starts.append(more_starts);
        starts.resize(times.len() + more.len(), 0);
    }
    times.append(more);
}
