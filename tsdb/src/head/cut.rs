//! A range of the head becomes a block, streaming.
//!
//! ```text
//!  which series have samples? --> their symbols, sorted --> symbol table, and per symbol its rank
//!  series by rising labels, compared by ranks --chunks copied or encoded anew--> block
//! ```
//!
//! Chunks that lie in the range entirely are copied byte for byte. Where something was deleted, or came late, the series is
//! read as a query would read it and encoded anew.
//!
//! Memory: four bytes a series, four bytes a symbol, and the packed labels of the series that share their first label, which
//! is nearly always the metric name. Locks are held for a page of series or some thousand symbols at a time, so that commits
//! go on. Nobody but maintenance removes series and symbols, so numbers keep their meaning meanwhile.

use std::cmp::Ordering as Order;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use ferula_model::{Columns, SelectError, TimeRange, Timestamp};

use super::Head;
use super::chunks::StoredError;
use super::late::Late;
use super::select::{Gathered, Wanted, Which, late_of};
use super::series::{PAGE_SERIES, Series};
use crate::block::index::ChunkRef;
use crate::block::writer::RawBlockWriter;
use crate::block::{BlockError, BlockMeta, BlockOptions, NewChunk};
use crate::chunk;
use crate::columns;
use crate::fs::FsError;

/// Symbols that are compared or handed out while the index is held.
const SYMBOLS_AT_ONCE: usize = 8192;

/// Which samples go into a block.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Parts<'a> {
    /// All samples of all series.
    Everything,
    /// The samples in order of all series.
    InOrder,
    /// Late samples of these series.
    Late(&'a [u32]),
}

impl Head {
    /// Writes the samples in `range` as a block into the folder `root`. `describe` makes its description from the time of the
    /// oldest sample. `None`: there is no such sample. When `stop` becomes true the writing ends early.
    ///
    /// # Errors
    ///
    /// Files cannot be written, or the writing was stopped; what was written is removed.
    pub(crate) fn write_block(
        &self,
        root: &Path,
        range: TimeRange,
        parts: Parts<'_>,
        describe: impl FnOnce(Timestamp) -> BlockMeta,
        stop: &AtomicBool,
    ) -> Result<Option<BlockMeta>, BlockError> {
        let mut found = Found { oldest: i64::MAX, ..Found::default() };
        match parts {
            Parts::Everything => self.find_all(range, Which::All, &mut found),
            Parts::InOrder => self.find_all(range, Which::InOrder, &mut found),
            Parts::Late(series) => series.iter().for_each(|&number| {
                let index = self.index.read();
                self.pages.with(number, |series| found.add(&index, number, series, range, Which::Late));
            }),
        }
        if found.is_empty() {
            return Ok(None);
        }
        let meta = describe(Timestamp(found.oldest));
        let mut writer = RawBlockWriter::create(&self.fs, root, meta, BlockOptions::default())?;
        let ranks = self.write_symbols(&found, &mut writer)?;
        let which = match parts {
            Parts::Everything => Which::All,
            Parts::InOrder => Which::InOrder,
            Parts::Late(_) => Which::Late,
        };
        let (mut pairs, mut chunks) = (Vec::new(), Vec::new());
        for numbers in found.groups_by_rank(&ranks) {
            let group = Group::of(self, numbers, &ranks);
            for at in group.order() {
                if stop.load(Ordering::Relaxed) {
                    return Err(BlockError::Stopped);
                }
                let Some(number) = numbers.get(at as usize).copied() else { continue };
                chunks.clear();
                self.write_chunks(number, range, which, &mut writer, &mut chunks)?;
                if !chunks.is_empty() {
                    pairs.clear();
                    group.pairs(at, &mut pairs);
                    writer.series(&pairs, &chunks)?;
                }
            }
        }
        let written_chunks = std::mem::take(&mut writer.chunks);
        let written = writer.finish()?;
        if written.is_some() {
            self.counters.chunks_cut.lock().add(&written_chunks);
        }
        Ok(written)
    }

    fn find_all(&self, range: TimeRange, which: Which, found: &mut Found) {
        for (first, page) in self.pages.iter() {
            let index = self.index.read();
            let page = page.read();
            for (at, series) in page.iter().enumerate().filter(|(_, series)| !series.is_dead()) {
                found.add(&index, first + at as u32, series, range, which);
            }
        }
    }

    /// Writes the symbol table; gives the place of each symbol in it.
    fn write_symbols(&self, found: &Found, writer: &mut RawBlockWriter) -> Result<Vec<u32>, BlockError> {
        let sorted = self.sort_symbols(found.symbols());
        let mut ranks = vec![u32::MAX; found.used.len() * 64];
        for (rank, &symbol) in sorted.iter().enumerate() {
            if let Some(slot) = ranks.get_mut(symbol as usize) {
                *slot = rank as u32;
            }
        }
        let texts = sorted.chunks(SYMBOLS_AT_ONCE).flat_map(|part| {
            let index = self.index.read();
            part.iter().map(|&symbol| Ok(index.symbols.text(symbol).to_owned())).collect::<Vec<_>>()
        });
        writer.index.symbols(texts)?;
        Ok(ranks)
    }

    /// Sorts symbols by their texts: parts first, then by merging, so that the index is never held for long.
    fn sort_symbols(&self, mut symbols: Vec<u32>) -> Vec<u32> {
        for part in symbols.chunks_mut(SYMBOLS_AT_ONCE) {
            let index = self.index.read();
            part.sort_unstable_by(|&a, &b| index.symbols.text(a).cmp(index.symbols.text(b)));
        }
        let mut length = SYMBOLS_AT_ONCE;
        let mut merged = Vec::with_capacity(symbols.len());
        while length < symbols.len() {
            merged.clear();
            for pair in symbols.chunks(2 * length) {
                let (left, right) = pair.split_at(length.min(pair.len()));
                self.merge_symbols(left, right, &mut merged);
            }
            std::mem::swap(&mut symbols, &mut merged);
            length *= 2;
        }
        symbols
    }

    fn merge_symbols(&self, mut left: &[u32], mut right: &[u32], out: &mut Vec<u32>) {
        loop {
            let index = self.index.read();
            for _ in 0..SYMBOLS_AT_ONCE {
                let (Some((a, left_rest)), Some((b, right_rest))) = (left.split_first(), right.split_first()) else {
                    out.extend_from_slice(left);
                    out.extend_from_slice(right);
                    return;
                };
                if index.symbols.text(*a) <= index.symbols.text(*b) {
                    out.push(*a);
                    left = left_rest;
                } else {
                    out.push(*b);
                    right = right_rest;
                }
            }
        }
    }

    /// Writes the chunks of a series.
    fn write_chunks(
        &self,
        number: u32,
        range: TimeRange,
        which: Which,
        writer: &mut RawBlockWriter,
        written: &mut Vec<ChunkRef>,
    ) -> Result<(), BlockError> {
        let (min, max) = (range.min.as_millis(), range.max.as_millis());
        let within = |first: i64, last: i64| min <= first && last <= max;
        let mut gathered = Gathered::default();
        let open = self.pages.with(number, |series| {
            gathered.fill(series, u64::MAX, min, max);
            (series.chunk_start, series.newest().unwrap_or(i64::MIN))
        });
        let Some(open) = open else { return Ok(()) };
        let has_late = !gathered.late_mapped.is_empty() || !gathered.late_open.is_empty();
        let is_plain = which != Which::Late
            && (which == Which::InOrder || !has_late)
            && gathered.mapped.iter().all(|chunk| within(chunk.min_time, chunk.max_time))
            && (gathered.open_encoding.is_none() || within(open.0, open.1))
            && !self.has_deletions(number, min, max);
        if is_plain {
            let mut chunks = self.chunks.reader();
            for chunk in &gathered.mapped {
                let (min_time, max_time) = (chunk.min_time, chunk.max_time);
                let copied = chunks.read(chunk.place, |encoding, bytes| {
                    writer.chunk(NewChunk { min_time, max_time, encoding, bytes })
                });
                match copied {
                    Ok(copied) => written.push(copied?),
                    Err(error) => self.pass_over(number, &error)?,
                }
            }
            if let Some(encoding) = gathered.open_encoding {
                let ((min_time, max_time), bytes) = (open, gathered.open.as_slice());
                written.push(writer.chunk(NewChunk { min_time, max_time, encoding, bytes })?);
            }
            return Ok(());
        }
        let mut columns = Columns::default();
        self.read_sound(number, range, which, &mut columns)?;
        if which == Which::Late && !columns.is_empty() {
            // Of one moment the sample in order counts; in a block of its own the late one would hide it.
            let mut in_order = Columns::default();
            self.read_sound(number, range, Which::All, &mut in_order)?;
            columns::keep_same(&mut columns, &in_order);
        }
        let mut chunks = Vec::new();
        chunk::encode(&columns, self.options.read().floats, &mut chunks);
        for chunk in &chunks {
            written.push(writer.chunk(chunk.into())?);
        }
        Ok(())
    }

    /// Reads a series as a query does, but passes over damaged chunks: they must not keep the others from becoming a block.
    pub(super) fn read_sound(
        &self,
        number: u32,
        range: TimeRange,
        which: Which,
        columns: &mut Columns,
    ) -> Result<(), BlockError> {
        let wanted = Wanted { which, sound_only: true };
        match self.read_parts(number, u64::MAX, range, wanted, columns) {
            Ok(()) => Ok(()),
            Err(SelectError::Io { context, source }) => {
                Err(BlockError::Io(FsError { operation: "read", path: context, source }))
            }
            Err(other) => {
                Err(BlockError::Corrupt { path: self.dir.join("chunks_head"), offset: 0, problem: other.to_string() })
            }
        }
    }

    /// Counts a damaged chunk that is left out of a block; hands on what is not damage.
    pub(super) fn pass_over(&self, number: u32, error: &StoredError) -> Result<(), BlockError> {
        match error {
            StoredError::Fs(error) => Err(BlockError::Io(error.clone())),
            StoredError::Corrupt { .. } => {
                tracing::error!(%error, series = number, "a damaged chunk is left out of its block");
                self.counters.chunks_damaged.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        }
    }
}

/// The series that have samples in the range.
#[derive(Default)]
struct Found {
    /// By the symbols of their first label, in which alone they have to be sorted.
    groups: BTreeMap<(u32, u32), Vec<u32>>,
    /// A bit for each symbol.
    used: Vec<u64>,
    oldest: i64,
}

impl Found {
    fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    fn add(&mut self, index: &super::Index, number: u32, series: &Series, range: TimeRange, which: Which) {
        let (min, max) = (range.min.as_millis(), range.max.as_millis());
        let in_order = series.oldest().zip(series.newest()).filter(|_| which != Which::Late);
        let late = late_of(series).and_then(Late::bounds).filter(|_| which != Which::InOrder);
        let overlapping = [in_order, late].into_iter().flatten().filter(|(first, last)| *first <= max && *last >= min);
        let Some(oldest) = overlapping.map(|(first, _)| first.max(min)).min() else { return };
        self.oldest = self.oldest.min(oldest);
        let mut first = None;
        for (name, value) in index.pairs(&series.labels) {
            first.get_or_insert((name, value));
            self.note(name);
            self.note(value);
        }
        self.groups.entry(first.unwrap_or_default()).or_default().push(number);
    }

    fn note(&mut self, symbol: u32) {
        let word = symbol as usize / 64;
        if self.used.len() <= word {
            self.used.resize(word + 1, 0);
        }
        if let Some(word) = self.used.get_mut(word) {
            *word |= 1 << (symbol % 64);
        }
    }

    fn symbols(&self) -> Vec<u32> {
        let bits = |(at, word): (usize, &u64)| {
            let word = *word;
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at as u32 * 64 + bit)
        };
        self.used.iter().enumerate().flat_map(bits).collect()
    }

    /// The groups in the order of the texts of their first labels.
    fn groups_by_rank(&self, ranks: &[u32]) -> impl Iterator<Item = &[u32]> {
        let rank = |symbol: u32| ranks.get(symbol as usize).copied().unwrap_or(u32::MAX);
        let mut groups: Vec<_> =
            self.groups.iter().map(|((name, value), numbers)| ((rank(*name), rank(*value)), numbers)).collect();
        groups.sort_unstable_by_key(|(key, _)| *key);
        groups.into_iter().map(|(_, numbers)| numbers.as_slice())
    }
}

/// Labels of some series as ranks.
struct Group {
    /// The ranks of the names of each shape that occurs.
    shapes: BTreeMap<u32, Vec<u32>>,
    /// For each series its shape, then the ranks of its values; `starts` says where each begins.
    labels: Vec<u32>,
    starts: Vec<usize>,
}

impl Group {
    fn of(head: &Head, numbers: &[u32], ranks: &[u32]) -> Self {
        let rank = |symbol: u32| ranks.get(symbol as usize).copied().unwrap_or(u32::MAX);
        let mut group = Self { shapes: BTreeMap::new(), labels: Vec::new(), starts: Vec::with_capacity(numbers.len()) };
        for part in numbers.chunks(PAGE_SERIES) {
            let index = head.index.read();
            for &number in part {
                group.starts.push(group.labels.len());
                head.pages.with(number, |series| {
                    let shape = series.labels.first().copied().unwrap_or(u32::MAX);
                    group.labels.push(shape);
                    let names = index.pairs(&series.labels).map(|(name, _)| rank(name));
                    group.shapes.entry(shape).or_insert_with(|| names.collect());
                    group.labels.extend(index.pairs(&series.labels).map(|(_, value)| rank(value)));
                });
            }
        }
        group
    }

    fn labels(&self, at: u32) -> (&[u32], &[u32]) {
        let end = self.starts.get(at as usize + 1).copied().unwrap_or(self.labels.len());
        let own = self.starts.get(at as usize).and_then(|&start| self.labels.get(start..end)).unwrap_or_default();
        let Some((shape, values)) = own.split_first() else { return (&[], &[]) };
        (self.shapes.get(shape).map_or(&[], |names| names), values)
    }

    fn pairs(&self, at: u32, out: &mut Vec<(u32, u32)>) {
        let (names, values) = self.labels(at);
        out.extend(names.iter().copied().zip(values.iter().copied()));
    }

    fn compare(&self, a: u32, b: u32) -> Order {
        let ((a_names, a_values), (b_names, b_values)) = (self.labels(a), self.labels(b));
        if a_names == b_names {
            return a_values.cmp(b_values);
        }
        a_names.iter().zip(a_values).cmp(b_names.iter().zip(b_values))
    }

    /// Positions of the series by rising labels.
    fn order(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.starts.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| self.compare(a, b));
        order
    }
}
