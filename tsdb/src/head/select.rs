//! Who is asked for: matchers become series, series become columns.
//!
//! Matchers are answered by the index, the cheapest first: what names its values (an equality, a regex that is a set of
//! literals) is looked up; what remains is tried either on the values of the label or on the series that are left,
//! whichever are fewer.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::Ordering;

use ferula_model::{
    Columns, Labels, MatchOp, Matcher, Question, SelectError, SelectHints, SeriesExemplars, TimeRange, Timestamp,
};
use smallvec::SmallVec;

use super::chunks::{ChunkReader, StoredError};
use super::index::{Index, Name};
use super::readers::ReaderGuard;
use super::series::{MappedChunk, Series};
use super::{Head, late::Late};
use crate::chunk::{self, ChunkEncoding};
use crate::columns::{self, Mark, append, retain_from, split_off};
use crate::postings::{List, intersect, intersects, subtract, union};

/// Selected series of the head.
#[derive(Debug)]
pub(crate) struct HeadSet<'a> {
    head: &'a Head,
    view: u64,
    series: Vec<u32>,
}

impl Head {
    /// The series that satisfy all matchers and have samples in `range` that the reader sees.
    pub(crate) fn select(
        &self,
        reader: &ReaderGuard<'_>,
        range: TimeRange,
        hints: &SelectHints,
        matchers: &[Matcher],
    ) -> HeadSet<'_> {
        let range = hints.range.unwrap_or(range);
        let index = self.index.read();
        let mut series = self.matching(&index, matchers);
        let any_deleted = !self.tombstones.read().is_empty();
        series.retain(|&number| self.has_samples(number, reader.view, range, any_deleted));
        if hints.sorted {
            self.sort(&index, &mut series);
        }
        if hints.limit > 0 {
            series.truncate(hints.limit);
        }
        HeadSet { head: self, view: reader.view, series }
    }

    fn has_samples(&self, number: u32, view: u64, range: TimeRange, any_deleted: bool) -> bool {
        let (min, max) = (range.min.as_millis(), range.max.as_millis());
        let check = |series: &Series| {
            let until = series.visible_until(view).min(max);
            // Most questions are about what the open chunk has: the rest of the series, which lies elsewhere, need not be
            // looked at.
            if !any_deleted && !series.chunk.is_empty() && series.chunk_start <= until && series.newest() >= Some(min) {
                return true;
            }
            let in_order = series.oldest().zip(series.newest());
            in_order.is_some_and(|(oldest, newest)| {
                oldest <= until && newest >= min && !self.is_erased(number, oldest.max(min), newest.min(until))
            }) || late_of(series).and_then(Late::bounds).is_some_and(|(oldest, newest)| oldest <= max && newest >= min)
        };
        self.pages.with(number, check).unwrap_or(false)
    }

    fn sort(&self, index: &Index, series: &mut [u32]) {
        // One buffer has the labels of all of them.
        let mut labels = Vec::new();
        let place = |&number| {
            let from = labels.len();
            self.pages.with(number, |series| labels.extend_from_slice(&series.labels));
            (from..labels.len(), number)
        };
        let mut keyed: Vec<(Range<usize>, u32)> = series.iter().map(place).collect();
        let labels = |place: &Range<usize>| labels.get(place.clone()).unwrap_or_default();
        keyed.sort_unstable_by(|a, b| index.compare(labels(&a.0), labels(&b.0)));
        for (slot, (_, number)) in series.iter_mut().zip(keyed) {
            *slot = number;
        }
    }

    /// Every living series, by rising number.
    pub(super) fn all_series(&self) -> Vec<u32> {
        let mut all = Vec::new();
        for (first, page) in self.pages.iter() {
            let page = page.read();
            let living = page.iter().enumerate().filter(|(_, series)| !series.is_dead());
            all.extend(living.map(|(at, _)| first + at as u32));
        }
        all
    }

    /// The series that satisfy all matchers, by rising number.
    pub(super) fn matching(&self, index: &Index, matchers: &[Matcher]) -> Vec<u32> {
        let mut lists: Vec<Vec<&[u32]>> = Vec::new();
        let (mut costly, mut removing) = (Vec::new(), Vec::new());
        for matcher in matchers {
            if matcher.op == MatchOp::Regex && matcher.is_any() {
                continue;
            }
            if matcher.op == MatchOp::NotRegex && matcher.is_any() {
                return Vec::new();
            }
            if matcher.matches_empty() {
                removing.push(matcher);
            } else if let Some(literals) = matcher.literals().filter(|_| !matcher.op.is_negative()) {
                lists.push(literals.iter().map(|value| index.posting(&matcher.name, value)).collect());
            } else {
                costly.push(matcher);
            }
        }
        let mut found = None;
        if !lists.is_empty() {
            let unions: Vec<Option<Vec<u32>>> = lists
                .iter()
                .map(|lists| match lists.as_slice() {
                    [_] => None,
                    several => Some(union(&several.iter().map(|list| List::Native(list)).collect::<Vec<_>>())),
                })
                .collect();
            let mut parts: Vec<List<'_>> = unions
                .iter()
                .zip(&lists)
                .map(|(union, lists)| {
                    List::Native(union.as_deref().or_else(|| lists.first().copied()).unwrap_or_default())
                })
                .collect();
            found = Some(intersect(&mut parts));
        }
        // The label with the fewest values first.
        costly.sort_by_key(|matcher| index.name(&matcher.name).map_or(0, |name| name.values.len()));
        for matcher in costly {
            let Some(name) = index.name(&matcher.name) else { return Vec::new() };
            found = Some(match found {
                Some(series) if series.len() < name.values.len() => self.filter(index, series, matcher),
                Some(series) => {
                    let matched = union(&matched_lists(index, name, matcher, true));
                    intersect(&mut [List::Native(&series), List::Native(&matched)])
                }
                None => union(&matched_lists(index, name, matcher, true)),
            });
        }
        let mut found = found.unwrap_or_else(|| self.all_series());
        for matcher in removing {
            let Some(name) = index.name(&matcher.name) else { continue };
            if found.len() < name.values.len() {
                found = self.filter(index, found, matcher);
                continue;
            }
            let lists = match matcher.literals().filter(|_| matcher.op.is_negative()) {
                Some(literals) => {
                    literals.iter().map(|value| List::Native(index.posting(&matcher.name, value))).collect()
                }
                None => matched_lists(index, name, matcher, false),
            };
            found = match lists.as_slice() {
                [] => found,
                [one] => subtract(found, *one),
                several => subtract(found, List::Native(&union(several))),
            };
        }
        found
    }

    /// How many things an answer has at most, if that can be told from the lengths of lists, and if the other matchers are
    /// tried on no more series than that. `None` too while somebody changes the index.
    pub(crate) fn at_most(&self, question: Question<'_>) -> Option<usize> {
        let index = self.index.try_read()?;
        let values = |name: &str| index.name(name).map_or(0, |name| name.values.len());
        let tried_on_each =
            |most, matcher: &Matcher| index.name(&matcher.name).is_none_or(|name| most < name.values.len());
        let matchers = match question {
            Question::Series(matchers) => matchers,
            Question::LabelValues(name) => return Some(values(name)),
            Question::LabelNames => return Some(index.names().len()),
            _ => return None,
        };
        let listed = |matcher: &Matcher| {
            let literals = matcher.literals().filter(|_| !matcher.op.is_negative() && !matcher.matches_empty())?;
            Some(literals.iter().map(|value| index.posting(&matcher.name, value).len()).sum::<usize>())
        };
        let most = matchers.iter().filter_map(listed).min()?;
        let mut others = matchers.iter().filter(|matcher| listed(matcher).is_none());
        others.all(|matcher| tried_on_each(most, matcher)).then_some(most)
    }

    /// Tries a matcher on the label of each series.
    fn filter(&self, index: &Index, mut series: Vec<u32>, matcher: &Matcher) -> Vec<u32> {
        let name = index.symbols.number(&matcher.name).unwrap_or(u32::MAX);
        series.retain(|&number| {
            let value = self.pages.with(number, |series| index.value_of(&series.labels, name));
            value.is_some_and(|value| matcher.matches(value.map_or("", |value| index.symbols.text(value))))
        });
        series
    }

    /// Names of labels on series that satisfy all matchers.
    pub(crate) fn label_names(&self, matchers: &[Matcher], names: &mut BTreeSet<String>) {
        let index = self.index.read();
        if matchers.is_empty() {
            names.extend(index.names().map(|(name, _)| name.to_owned()));
            return;
        }
        let mut found = BTreeSet::new();
        for series in self.matching(&index, matchers) {
            self.pages.with(series, |series| found.extend(index.pairs(&series.labels).map(|(name, _)| name)));
        }
        names.extend(found.into_iter().map(|name| index.symbols.text(name).to_owned()));
    }

    /// Values of a label on series that satisfy all matchers.
    pub(crate) fn label_values(&self, name: &str, matchers: &[Matcher], limit: usize, values: &mut BTreeSet<String>) {
        let index = self.index.read();
        let Some(entry) = index.name(name) else { return };
        let limit = if limit == 0 { usize::MAX } else { limit };
        let sorted = index.sorted_values(entry);
        // Matchers on the label itself need no series.
        let (own, others): (Vec<&Matcher>, Vec<&Matcher>) = matchers.iter().partition(|matcher| matcher.name == name);
        let candidates = sorted.iter().filter(|&&value| {
            let text = index.symbols.text(value);
            own.iter().all(|matcher| matcher.matches(text))
        });
        let text = |value: &u32| index.symbols.text(*value).to_owned();
        if others.is_empty() {
            values.extend(candidates.take(limit).map(text));
            return;
        }
        let series = self.matching(&index, matchers);
        if series.len() < entry.values.len() {
            let Some(name) = index.symbols.number(name) else { return };
            let mut found = BTreeSet::new();
            for number in series {
                found.extend(self.pages.with(number, |series| index.value_of(&series.labels, name)).flatten());
            }
            values.extend(candidates.filter(|value| found.contains(*value)).take(limit).map(text));
            return;
        }
        let has_series = |value: &&u32| {
            let list = entry.values.get(*value).map_or([].as_slice(), |list| list);
            intersects(List::Native(list), List::Native(&series))
        };
        values.extend(candidates.filter(has_series).take(limit).map(text));
    }

    /// Exemplars in `range` of series that satisfy one of the sets of matchers.
    pub(crate) fn exemplars(&self, range: TimeRange, matcher_sets: &[Vec<Matcher>]) -> Vec<SeriesExemplars> {
        let index = self.index.read();
        let lists: Vec<Vec<u32>> = matcher_sets.iter().map(|matchers| self.matching(&index, matchers)).collect();
        let wanted = union(&lists.iter().map(|list| List::Native(list)).collect::<Vec<_>>());
        let mut found: std::collections::BTreeMap<u32, Vec<_>> = std::collections::BTreeMap::new();
        let ring = self.exemplars.read();
        for (series, time, exemplar) in ring.between(range.min.as_millis(), range.max.as_millis()) {
            if wanted.binary_search(&series).is_ok() {
                found.entry(series).or_default().push((time, exemplar.clone()));
            }
        }
        let mut sets = Vec::new();
        for (series, mut exemplars) in found {
            exemplars.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.value.total_cmp(&b.1.value)));
            let Some(labels) = self.pages.with(series, |series| index.labels(&series.labels)) else { continue };
            sets.push(SeriesExemplars { labels, exemplars: exemplars.into_iter().map(|(_, e)| e).collect() });
        }
        sets.sort_by(|a, b| a.labels.cmp(&b.labels));
        sets
    }
}

/// The posting lists of the values that a matcher matches, or of those it does not.
fn matched_lists<'a>(index: &'a Index, name: &'a Name, matcher: &Matcher, wanted: bool) -> Vec<List<'a>> {
    let list = |(_, list): (&u32, &'a super::index::Posting)| List::Native(list);
    if wanted && matcher.op == MatchOp::Regex && matcher.is_non_empty() {
        return name.values.iter().map(list).collect();
    }
    if let Some(prefix) = matcher.prefix().filter(|_| wanted && !matcher.op.is_negative()) {
        // The values in order: only those with the prefix are tried.
        let sorted = index.sorted_values(name);
        let from = sorted.partition_point(|&value| index.symbols.text(value) < prefix);
        let texts = sorted.iter().skip(from).map(|value| (value, index.symbols.text(*value)));
        let candidates = texts.take_while(|(_, text)| text.starts_with(prefix));
        let matching = candidates.filter(|(_, text)| matcher.matches(text));
        return matching.filter_map(|(value, _)| name.values.get(value)).map(|list| List::Native(list)).collect();
    }
    let matching = name.values.iter().filter(|(value, _)| matcher.matches(index.symbols.text(**value)) == wanted);
    matching.map(list).collect()
}

pub(super) fn late_of(series: &Series) -> Option<&Late> {
    series.rest.as_ref()?.late.as_deref()
}

/// Which samples of a series are read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    pub(super) which: Which,
    /// Damaged chunks are counted and passed over; otherwise they are an error.
    pub(super) sound_only: bool,
}

/// Samples by the way they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Which {
    #[default]
    All,
    InOrder,
    Late,
}

/// What must be read of a series: gathered under its page's lock, decoded without it. Most of it lies in place, for this is
/// done for each series of each query.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) mapped: SmallVec<[MappedChunk; 4]>,
    pub(super) late_mapped: Vec<MappedChunk>,
    /// The bytes of the open chunk, if there is an encoding.
    pub(super) open: SmallVec<[u8; 1024]>,
    pub(super) open_encoding: Option<ChunkEncoding>,
    pub(super) late_open: Columns,
    until: i64,
}

impl HeadSet<'_> {
    /// How many series.
    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    /// The labels of series `index`.
    pub(crate) fn labels(&self, index: usize) -> Labels {
        let Some(&number) = self.series.get(index) else { return Labels::empty() };
        let index = self.head.index.read();
        self.head.pages.with(number, |series| index.labels(&series.labels)).unwrap_or_default()
    }

    /// Shows the labels of series `index`.
    pub(crate) fn each_label(&self, index: usize, see: &mut dyn FnMut(&str, &str)) {
        let Some(&number) = self.series.get(index) else { return };
        let index = self.head.index.read();
        self.head.pages.with(number, |series| index.texts(&series.labels).for_each(|(name, value)| see(name, value)));
    }

    /// Appends the samples of series `index` in `range` to `columns`. `scratch` is used for late samples.
    pub(crate) fn read(&self, index: usize, range: TimeRange, columns: &mut Columns) -> Result<(), SelectError> {
        let Some(&number) = self.series.get(index) else { return Ok(()) };
        self.head.read_series(number, self.view, range, columns)
    }
}

impl Head {
    /// Appends the samples of a series in `range` that a reader with this view may see to `columns`.
    pub(super) fn read_series(
        &self,
        number: u32,
        view: u64,
        range: TimeRange,
        columns: &mut Columns,
    ) -> Result<(), SelectError> {
        self.read_parts(number, view, range, Wanted::default(), columns)
    }

    /// As [`read_series`](Self::read_series), with a choice.
    pub(super) fn read_parts(
        &self,
        number: u32,
        view: u64,
        range: TimeRange,
        wanted: Wanted,
        columns: &mut Columns,
    ) -> Result<(), SelectError> {
        let (min, max) = (range.min.as_millis(), range.max.as_millis());
        let mark = Mark::of(columns);
        let mut gathered = Gathered::default();
        if self.pages.with(number, |series| gathered.fill(series, view, min, max)).is_none() {
            self.counters.series_not_found.fetch_add(1, Ordering::Relaxed);
        }
        let visible = TimeRange::new(range.min, ferula_model::Timestamp(max.min(gathered.until)));
        let damage = |result: Result<(), SelectError>| match result {
            Err(error @ SelectError::Corrupt { .. }) if wanted.sound_only => {
                tracing::error!(%error, "a damaged chunk is left out");
                self.counters.chunks_damaged.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            other => other,
        };
        let mut chunks = self.chunks.reader();
        if wanted.which != Which::Late {
            for chunk in &gathered.mapped {
                damage(decode_stored(number, &mut chunks, chunk, visible, columns))?;
            }
            if let Some(encoding) = gathered.open_encoding {
                let corrupt = |problem: chunk::ChunkError| corrupt(format!("open chunk of series {number}"), &problem);
                damage(chunk::decode(encoding, &gathered.open, visible, columns).map_err(corrupt))?;
            }
            // Deletions concern what came in order; late samples are taken out where they lie.
            self.erase(number, mark, columns);
        }
        if wanted.which != Which::InOrder && (!gathered.late_mapped.is_empty() || !gathered.late_open.is_empty()) {
            let mut late = Columns::default();
            let mut part = Columns::default();
            for chunk in &gathered.late_mapped {
                part.clear();
                damage(decode_stored(number, &mut chunks, chunk, range, &mut part))?;
                merge(&part, &mut late);
            }
            merge(&gathered.late_open, &mut late);
            // In order wins over late: it is the base into which late samples are put.
            let mut own = split_off(columns, mark);
            merge_into(&mut own, &late);
            append(columns, own);
        }
        Ok(())
    }

    /// Whether everything between two times that came in order is deleted.
    fn is_erased(&self, number: u32, min: i64, max: i64) -> bool {
        let tombstones = self.tombstones.read();
        !tombstones.is_empty() && tombstones.get(&number).is_some_and(|deleted| deleted.covers(min, max))
    }

    /// Takes deleted samples out of what was appended since `mark`.
    fn erase(&self, number: u32, mark: Mark, columns: &mut Columns) {
        let tombstones = self.tombstones.read();
        if tombstones.is_empty() {
            return;
        }
        if let Some(deleted) = tombstones.get(&number) {
            retain_from(columns, mark, false, |time| !deleted.contains(time));
        }
    }
}

/// Appends the samples of a stored chunk to `columns`.
pub(super) fn decode_stored(
    number: u32,
    chunks: &mut ChunkReader<'_>,
    chunk: &MappedChunk,
    range: TimeRange,
    columns: &mut Columns,
) -> Result<(), SelectError> {
    let place = || format!("head chunk {:06} offset {} of series {number}", chunk.place >> 32, chunk.place as u32);
    // Chunks are in order by what their headers say; no sample may stand outside of that.
    let range = TimeRange::new(range.min.max(Timestamp(chunk.min_time)), range.max.min(Timestamp(chunk.max_time)));
    let decoded = chunks.read(chunk.place, |encoding, bytes| chunk::decode(encoding, bytes, range, columns));
    match decoded {
        Ok(result) => result.map_err(|problem| corrupt(place(), &problem)),
        Err(StoredError::Fs(error)) => Err(SelectError::Io { context: error.to_string(), source: error.source }),
        Err(error) => Err(corrupt(place(), &error)),
    }
}

fn corrupt(place: String, problem: &dyn std::fmt::Display) -> SelectError {
    SelectError::Corrupt { place, problem: problem.to_string() }
}

impl Gathered {
    /// Fills itself, empty so far, with what must be read of a series between two times. It is filled where it lies, because
    /// it is large.
    pub(super) fn fill(&mut self, series: &Series, view: u64, min: i64, max: i64) {
        let until = series.visible_until(view);
        self.until = until;
        let overlaps = |chunk: &&MappedChunk| chunk.min_time <= max && chunk.max_time >= min;
        if let Some(rest) = series.rest.as_deref() {
            // By rising time, and none overlaps another, nor the open chunk.
            if !series.has_open_chunk() || series.chunk_start > min {
                let from = rest.mapped.partition_point(|chunk| chunk.max_time < min);
                let visible = rest.mapped.iter().skip(from).take_while(|chunk| chunk.min_time <= max.min(until));
                self.mapped.extend(visible.copied());
            }
            if let Some(late) = &rest.late {
                self.late_mapped = late.mapped.iter().filter(overlaps).copied().collect();
                late.copy_open(min, max, &mut self.late_open);
            }
        }
        if series.has_open_chunk() && series.chunk_start <= max.min(until) && series.newest() >= Some(min) {
            let (encoding, bytes) = match series.rest.as_deref().and_then(|rest| rest.histograms.as_ref()) {
                Some(chunk) => (chunk.encoding(), chunk.bytes()),
                None => (series.encoding.into(), series.chunk.as_slice()),
            };
            self.open_encoding = Some(encoding);
            self.open.extend_from_slice(bytes);
        }
    }
}

/// Merges `part` into `all`, both by rising time. Of one moment, what is in `all` stays.
pub(crate) fn merge(part: &Columns, all: &mut Columns) {
    if part.is_empty() {
        return;
    }
    if all.is_empty() {
        all.clone_from(part);
        return;
    }
    merge_into(all, part);
}

/// Puts the samples of `extra` between those of `base`. Of one moment, what is in `base` stays, whatever its kind.
pub(crate) fn merge_into(base: &mut Columns, extra: &Columns) {
    let mut merged = Columns::default();
    columns::merge(base, extra, &mut merged);
    *base = merged;
}
