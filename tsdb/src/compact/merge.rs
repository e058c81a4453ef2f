//! Makes one block of several, streaming: series by series in the order of their labels.
//!
//! ```text
//!  symbols of all blocks --merge--> one table, and per block: old number -> new number
//!  series of all blocks  --merge by numbers--> chunks of one series --copy or re-encode--> the new block
//! ```
//!
//! Because the new numbers sort like the strings, series are compared by numbers and no label is ever looked up. Chunks that
//! stand alone are copied byte for byte; chunks that overlap, or that lost samples to a deletion, are decoded, merged (of
//! several values for one moment the one of the earlier block wins) and encoded anew.
//!
//! Memory: four bytes for each symbol of each block, one bit for each symbol of a block with deletions, and one series at a
//! time.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ferula_model::{Columns, TimeRange};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use ulid::Ulid;

use crate::block::index::{ChunkRef, IndexReader, SeriesEntry};
use crate::block::meta::HINT_OUT_OF_ORDER;
use crate::block::writer::RawBlockWriter;
use crate::block::{
    Block, BlockError, BlockMeta, BlockOptions, BlockParent, ChunkBytes, Compaction, Intervals, NewChunk, Tombstones,
};
use crate::chunk::histogram::reset_byte;
use crate::chunk::{self, ChunkEncoding, FloatEncoding};
use crate::columns::{Mark, merge as merge_columns, retain_from};
use crate::fs::Fs;
use crate::postings::List;

/// The description of the block that `blocks` become: spans all, one level higher, remembers its parents.
pub fn merged_meta(ulid: Ulid, blocks: &[Arc<BlockMeta>]) -> BlockMeta {
    let min_time = blocks.iter().map(|meta| meta.min_time).min().unwrap_or(0);
    let max_time = blocks.iter().map(|meta| meta.max_time).max().unwrap_or(0);
    let mut hints: BTreeSet<String> = blocks.iter().flat_map(|meta| meta.compaction.hints.iter().cloned()).collect();
    if !blocks.iter().all(|meta| meta.has_hint(HINT_OUT_OF_ORDER)) {
        hints.remove(HINT_OUT_OF_ORDER);
    }
    let parents =
        blocks.iter().map(|meta| BlockParent { ulid: meta.ulid, min_time: meta.min_time, max_time: meta.max_time });
    BlockMeta {
        compaction: Compaction {
            level: blocks.iter().map(|meta| meta.compaction.level).max().unwrap_or(0).saturating_add(1),
            sources: blocks.iter().flat_map(|meta| &meta.compaction.sources).copied().collect(),
            parents: parents.collect(),
            hints: hints.into_iter().collect(),
            ..Compaction::default()
        },
        ..BlockMeta::new(ulid, min_time, max_time)
    }
}

/// Writes the block `meta` from `blocks` (the earlier one wins where they disagree) into the folder `root`. `None`: nothing is
/// left of them, and there is no new block. When `stop` becomes true the merge ends early.
///
/// # Errors
///
/// A block is damaged, files cannot be written, or the merge was stopped. The blocks are as they were, and what was written is removed.
pub fn merge(
    fs: &Arc<dyn Fs>,
    root: &Path,
    blocks: &[Arc<Block>],
    meta: BlockMeta,
    options: BlockOptions,
    stop: &AtomicBool,
) -> Result<Option<BlockMeta>, BlockError> {
    let mut writer = RawBlockWriter::create(fs, root, meta, options)?;
    let numbers = merge_symbols(blocks, &mut writer)?;
    let mut sources = Vec::new();
    for (block, numbers) in blocks.iter().zip(numbers) {
        sources.push(Source {
            block,
            tombstones: block.tombstones(),
            numbers,
            series: block.index().all_postings()?,
            at: 0,
            entry: SeriesEntry::default(),
        });
    }
    let mut chunks = SeriesChunks { overlapping: overlap(blocks), ..SeriesChunks::default() };
    let mut heap = BinaryHeap::new();
    for (at, source) in sources.iter_mut().enumerate() {
        heap.extend(source.next()?.map(|labels| Reverse((labels, at))));
    }
    while let Some(Reverse((labels, first))) = heap.pop() {
        chunks.clear();
        let mut next = Some(first);
        while let Some(at) = next {
            let Some(source) = sources.get_mut(at) else { break };
            chunks.add(at, source);
            heap.extend(source.next()?.map(|labels| Reverse((labels, at))));
            let same = heap.peek().is_some_and(|Reverse((other, _))| *other == labels);
            next = if same { heap.pop().map(|Reverse((_, at))| at) } else { None };
        }
        if stop.load(Ordering::Relaxed) {
            return Err(BlockError::Stopped);
        }
        let written = chunks.write(&sources, &mut writer)?;
        if !written.is_empty() {
            writer.series(&labels, written)?;
        }
    }
    writer.finish()
}

fn overlap(blocks: &[Arc<Block>]) -> bool {
    let mut ranges: Vec<(i64, i64)> = blocks.iter().map(|b| (b.meta().min_time, b.meta().max_time)).collect();
    ranges.sort_unstable();
    ranges.windows(2).any(|pair| matches!(pair, [a, b] if b.0 < a.1))
}

/// From the symbol numbers of one block to those of the new one.
enum Numbers {
    Dense(Vec<u32>),
    /// Version 1 numbers symbols by offset.
    Sparse(HashMap<u32, u32, RandomState>),
}

impl Numbers {
    fn of(index: &IndexReader) -> Self {
        if index.version() == 1 { Self::Sparse(HashMap::default()) } else { Self::Dense(Vec::new()) }
    }

    fn set(&mut self, old: u32, new: u32) {
        match self {
            Self::Dense(numbers) => {
                numbers.resize(old as usize, u32::MAX);
                numbers.push(new);
            }
            Self::Sparse(numbers) => {
                numbers.insert(old, new);
            }
        }
    }

    /// A number that the writer refuses, for a symbol that is not there.
    fn at(&self, old: u32) -> u32 {
        let number = match self {
            Self::Dense(numbers) => numbers.get(old as usize),
            Self::Sparse(numbers) => numbers.get(&old),
        };
        number.copied().unwrap_or(u32::MAX)
    }
}

/// Writes the symbols that are still used, each once.
fn merge_symbols(blocks: &[Arc<Block>], writer: &mut RawBlockWriter) -> Result<Vec<Numbers>, BlockError> {
    let mut numbers: Vec<Numbers> = blocks.iter().map(|block| Numbers::of(block.index())).collect();
    let mut tables = Vec::new();
    for block in blocks {
        let used = used_symbols(block)?;
        let is_used = move |symbol: u32| used.as_ref().is_none_or(|used| used.contains(symbol));
        let symbols = block.index().symbols();
        tables.push(
            symbols.filter(move |symbol| symbol.as_ref().map_or(true, |(number, _)| is_used(*number))).peekable(),
        );
    }
    let mut count = 0;
    let merged = std::iter::from_fn(|| {
        let heads = tables.iter_mut().filter_map(|table| table.peek());
        let least = heads.map(|head| head.as_ref().map(|(_, text)| *text).map_err(Clone::clone));
        let least = match least.reduce(|a, b| Ok(a?.min(b?)))? {
            Ok(text) => text,
            Err(error) => return Some(Err(error)),
        };
        for (table, numbers) in tables.iter_mut().zip(&mut numbers) {
            if let Some(Ok((old, _))) = table.next_if(|head| head.as_ref().is_ok_and(|(_, text)| *text == least)) {
                numbers.set(old, count);
            }
        }
        count += 1;
        Some(Ok(least))
    });
    writer.index.symbols(merged)?;
    Ok(numbers)
}

/// A set of symbol numbers.
enum SymbolSet {
    Bits(Vec<u64>),
    Offsets(std::collections::HashSet<u32>),
}

impl SymbolSet {
    fn insert(&mut self, symbol: u32) {
        match self {
            Self::Bits(words) => {
                if let Some(word) = words.get_mut(symbol as usize / 64) {
                    *word |= 1 << (symbol % 64);
                }
            }
            Self::Offsets(offsets) => {
                offsets.insert(symbol);
            }
        }
    }

    fn contains(&self, symbol: u32) -> bool {
        match self {
            Self::Bits(words) => words.get(symbol as usize / 64).is_some_and(|word| word >> (symbol % 64) & 1 == 1),
            Self::Offsets(offsets) => offsets.contains(&symbol),
        }
    }
}

/// The symbols of series of which something is left; `None` for all, where nothing was deleted.
fn used_symbols(block: &Block) -> Result<Option<SymbolSet>, BlockError> {
    let tombstones = block.tombstones();
    if tombstones.is_empty() {
        return Ok(None);
    }
    let index = block.index();
    let mut used = match index.version() {
        1 => SymbolSet::Offsets(std::collections::HashSet::new()),
        _ => SymbolSet::Bits(vec![0; (index.symbol_count() as usize).div_ceil(64)]),
    };
    let mut entry = SeriesEntry::default();
    let all = index.all_postings()?;
    for series in (0..all.len()).filter_map(|at| all.at(at)) {
        index.series(series, &mut entry)?;
        if is_left(&tombstones, series, &entry) {
            entry.labels.iter().for_each(|(name, value)| {
                used.insert(*name);
                used.insert(*value);
            });
        }
    }
    Ok(Some(used))
}

/// Whether a series has a chunk that is not deleted entirely. Only of such series the symbols have new numbers.
fn is_left(tombstones: &Tombstones, series: u32, entry: &SeriesEntry) -> bool {
    let gone = tombstones.of(series.into());
    gone.is_none_or(|gone| entry.chunks.iter().any(|chunk| !gone.covers(chunk.min_time, chunk.max_time)))
}

/// A block that is being merged, at one of its series.
struct Source<'a> {
    block: &'a Block,
    tombstones: Arc<Tombstones>,
    numbers: Numbers,
    series: List<'a>,
    /// Position of the next series.
    at: usize,
    entry: SeriesEntry,
}

impl Source<'_> {
    /// Goes to the next series; gives its labels in the new numbers.
    fn next(&mut self) -> Result<Option<Vec<(u32, u32)>>, BlockError> {
        while let Some(series) = self.series.at(self.at) {
            self.at += 1;
            self.block.index().series(series, &mut self.entry)?;
            if is_left(&self.tombstones, series, &self.entry) {
                let new = |(name, value): &(u32, u32)| (self.numbers.at(*name), self.numbers.at(*value));
                return Ok(Some(self.entry.labels.iter().map(new).collect()));
            }
        }
        Ok(None)
    }

    fn current(&self) -> Option<u32> {
        self.series.at(self.at.checked_sub(1)?)
    }
}

/// A chunk of the series at hand.
#[derive(Clone, Debug)]
struct Piece {
    chunk: ChunkRef,
    /// Position of its block.
    source: usize,
    /// What was deleted of the series there, if it touches the chunk.
    gone: Option<Intervals>,
}

/// The chunks of one series on their way into the new block. Reused from series to series.
#[derive(Default)]
struct SeriesChunks {
    /// Whether the blocks overlap in time, so that neighbouring chunks may come from different histories.
    overlapping: bool,
    pieces: Vec<Piece>,
    written: Vec<ChunkRef>,
    /// The block that the last written sample came from; `None` after a hole or a mixture.
    last_source: Option<usize>,
}

impl SeriesChunks {
    fn clear(&mut self) {
        self.pieces.clear();
        self.written.clear();
        self.last_source = None;
    }

    /// Adds the chunks of the series where a source stands.
    fn add(&mut self, at: usize, source: &Source<'_>) {
        let gone = source.current().and_then(|series| source.tombstones.of(series.into()));
        self.pieces.extend(source.entry.chunks.iter().map(|chunk| Piece {
            chunk: *chunk,
            source: at,
            gone: gone.filter(|gone| gone.overlaps(chunk.min_time, chunk.max_time)).cloned(),
        }));
    }

    /// Writes all chunks; gives their new places.
    fn write(&mut self, sources: &[Source<'_>], writer: &mut RawBlockWriter) -> Result<&[ChunkRef], BlockError> {
        self.pieces.sort_by_key(|piece| (piece.chunk.min_time, piece.source));
        let pieces = std::mem::take(&mut self.pieces);
        let mut rest = pieces.as_slice();
        while let Some(first) = rest.first() {
            let mut end = first.chunk.max_time;
            let mut count = 1;
            while let Some(piece) = rest.get(count).filter(|piece| piece.chunk.min_time <= end) {
                end = end.max(piece.chunk.max_time);
                count += 1;
            }
            let (group, others) = rest.split_at(count);
            self.write_group(group, sources, writer)?;
            rest = others;
        }
        self.pieces = pieces;
        Ok(&self.written)
    }

    /// Writes chunks that overlap, or a single one.
    fn write_group(
        &mut self,
        group: &[Piece],
        sources: &[Source<'_>],
        writer: &mut RawBlockWriter,
    ) -> Result<(), BlockError> {
        let [first, others @ ..] = group else { return Ok(()) };
        let bytes = read(first, sources)?;
        if first.gone.is_none() {
            let mut same = true;
            for other in others {
                same = same && other.gone.is_none() && other.chunk.max_time == first.chunk.max_time;
                same = same && read(other, sources)? == bytes;
            }
            if same {
                return self.copy(first, bytes, writer);
            }
        } else if others.is_empty()
            && first.gone.as_ref().is_some_and(|gone| gone.covers(first.chunk.min_time, first.chunk.max_time))
        {
            self.last_source = None;
            return Ok(());
        }
        self.encode(group, sources, writer)
    }

    /// Writes a chunk as it is, but for the flag that speaks of the chunk before it, if that is another one now.
    fn copy(&mut self, piece: &Piece, bytes: ChunkBytes<'_>, writer: &mut RawBlockWriter) -> Result<(), BlockError> {
        let continues = match self.last_source {
            Some(source) => source == piece.source || !self.overlapping,
            None => self.written.is_empty() && !self.overlapping,
        };
        let ChunkBytes { encoding, bytes } = bytes;
        let ChunkRef { min_time, max_time, .. } = piece.chunk;
        let patched = if continues { None } else { without_reset_flag(encoding, bytes) };
        let bytes = patched.as_deref().unwrap_or(bytes);
        self.written.push(writer.chunk(NewChunk { min_time, max_time, encoding, bytes })?);
        self.last_source = Some(piece.source);
        Ok(())
    }

    /// Decodes, merges and encodes anew.
    fn encode(
        &mut self,
        group: &[Piece],
        sources: &[Source<'_>],
        writer: &mut RawBlockWriter,
    ) -> Result<(), BlockError> {
        let mut by_source: Vec<&Piece> = group.iter().collect();
        by_source.sort_by_key(|piece| piece.source);
        let mut merged = Columns::default();
        let mut floats = FloatEncoding::Xor;
        for pieces in by_source.chunk_by(|a, b| a.source == b.source) {
            let mut side = Columns::default();
            for piece in pieces {
                let Some(source) = sources.get(piece.source) else { continue };
                if read(piece, sources)?.encoding == ChunkEncoding::Xor2 {
                    floats = FloatEncoding::Xor2;
                }
                let mark = Mark::of(&side);
                source.block.decode(piece.chunk.reference, TimeRange::ALL, &mut side)?;
                if let Some(gone) = &piece.gone {
                    retain_from(&mut side, mark, false, |time| !gone.contains(time));
                }
            }
            let before = std::mem::take(&mut merged);
            merge_columns(&before, &side, &mut merged);
        }
        let mut chunks = Vec::new();
        chunk::encode(&merged, floats, &mut chunks);
        for (at, encoded) in chunks.iter().enumerate() {
            let patched = if at == 0 { without_reset_flag(encoded.encoding, &encoded.bytes) } else { None };
            let chunk = NewChunk { bytes: patched.as_deref().unwrap_or(&encoded.bytes), ..NewChunk::from(encoded) };
            self.written.push(writer.chunk(chunk)?);
        }
        self.last_source = None;
        Ok(())
    }
}

fn read<'a>(piece: &Piece, sources: &'a [Source<'_>]) -> Result<ChunkBytes<'a>, BlockError> {
    match sources.get(piece.source) {
        Some(source) => source.block.chunk(piece.chunk.reference),
        None => Ok(ChunkBytes { encoding: ChunkEncoding::Xor, bytes: &[] }),
    }
}

/// A histogram chunk whose flag says neither reset nor no reset; `None` if it does so already.
fn without_reset_flag(encoding: ChunkEncoding, bytes: &[u8]) -> Option<Vec<u8>> {
    const MASK: u8 = 0b1100_0000;
    let place = reset_byte(encoding);
    let flags = bytes.get(place).filter(|_| !encoding.is_float())? & MASK;
    if flags == 0 || flags == MASK {
        return None;
    }
    let mut patched = bytes.to_vec();
    *patched.get_mut(place)? &= !MASK;
    Some(patched)
}
