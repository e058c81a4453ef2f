//! Writes an index, front to back.
//!
//! Symbols first, then series in the order of their labels; postings follow from an external sort (`pairs`), and the
//! postings offset table is collected beside them. Memory: a bounded number of entries to sort, a few buffers and every
//! 16th symbol's place.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::INDEX_FILE;
use super::format::{
    ChunkRef, MAGIC, POSTINGS_ALIGNMENT, SERIES_ALIGNMENT, SeriesEntry, TABLE_ENTRY_KEYS, Toc, VERSION,
};
use super::pairs::PairSorter;
use super::symbols::Symbols;
use crate::block::BlockError;
use crate::block::output::{Output, Spill};
use crate::block::wire::{Malformed, put_be_u32, put_counted, put_uvarint};
use crate::fs::{Context, Fs, Map};

/// Labels of series that are sorted in memory at once, 12 bytes each.
const SORTED_ENTRIES_MAX: usize = 1 << 18;

/// Bytes of the postings offset table that are kept in memory.
const TABLE_MEMORY_MAX: usize = 1 << 18;

/// Writes an index: [`create`](Self::create), [`symbols`](Self::symbols), [`series`](Self::series) for each series by rising
/// labels, [`finish`](Self::finish).
#[derive(Debug)]
pub struct IndexWriter {
    fs: Arc<dyn Fs>,
    output: Output,
    toc: Toc,
    symbols: u32,
    pairs: PairSorter,
    previous: Vec<(u32, u32)>,
    series: u64,
    entry: Vec<u8>,
    body: Vec<u8>,
}

impl IndexWriter {
    /// Starts the file `index` in `dir`, which holds temporary files until the end.
    ///
    /// # Errors
    ///
    /// The file cannot be created.
    pub fn create(fs: &Arc<dyn Fs>, dir: &Path) -> Result<Self, BlockError> {
        Self::with_memory(fs, dir, SORTED_ENTRIES_MAX)
    }

    /// As [`create`](Self::create), sorting `entries_max` entries at once.
    pub(crate) fn with_memory(fs: &Arc<dyn Fs>, dir: &Path, entries_max: usize) -> Result<Self, BlockError> {
        let mut output = Output::create(&**fs, dir.join(INDEX_FILE))?;
        let mut header = Vec::new();
        put_be_u32(&mut header, MAGIC);
        header.push(VERSION);
        output.write(&header)?;
        Ok(Self {
            fs: Arc::clone(fs),
            toc: Toc::default(),
            symbols: 0,
            pairs: PairSorter::new(Arc::clone(fs), dir.join("index.pairs."), entries_max),
            previous: Vec::new(),
            series: 0,
            entry: Vec::new(),
            body: Vec::new(),
            output,
        })
    }

    /// Writes the symbol table: every name and value, strictly rising. Their numbers count from 0. To be called once, before
    /// any series.
    ///
    /// # Errors
    ///
    /// The symbols do not rise, there are too many, or the file cannot be written.
    pub fn symbols<S: AsRef<str>>(
        &mut self,
        symbols: impl IntoIterator<Item = Result<S, BlockError>>,
    ) -> Result<(), BlockError> {
        let start = self.output.position();
        self.toc.symbols = start;
        self.output.write(&[0; 8])?;
        let (mut checksum, mut previous) = (0, String::new());
        for symbol in symbols {
            let symbol = symbol?;
            let symbol = symbol.as_ref();
            if self.symbols > 0 && previous.as_str() >= symbol {
                return Err(BlockError::OutOfOrder { series: symbol.to_owned(), problem: "symbols do not rise" });
            }
            symbol.clone_into(&mut previous);
            self.entry.clear();
            put_counted(&mut self.entry, symbol.as_bytes());
            checksum = crc32c::crc32c_append(checksum, &self.entry);
            self.output.write(&self.entry)?;
            self.symbols = self.symbols.checked_add(1).ok_or_else(|| too_large("symbol table", u64::MAX))?;
        }
        self.end_symbols(start, checksum)
    }

    /// Fills in length and count of the section, and writes the checksum.
    fn end_symbols(&mut self, start: u64, checksum: u32) -> Result<(), BlockError> {
        let content = self.output.position() - start - 8;
        let too_large = || too_large("symbol table", content);
        let length = u32::try_from(content + 4).map_err(|_| too_large())?;
        let content = usize::try_from(content).map_err(|_| too_large())?;
        let checksum = crc32c::crc32c_combine(crc32c::crc32c(&self.symbols.to_be_bytes()), checksum, content);
        self.output.write(&checksum.to_be_bytes())?;
        let mut head = Vec::new();
        put_be_u32(&mut head, length);
        put_be_u32(&mut head, self.symbols);
        Ok(self.output.patch(start, &head)?)
    }

    /// Adds a series: symbols of its labels by rising name, chunks by rising time and not overlapping. Gives its number.
    ///
    /// # Errors
    ///
    /// The labels do not rise, a symbol is unknown, chunks overlap, the index exceeds 64 GiB, or the file cannot be written.
    pub fn series(&mut self, labels: &[(u32, u32)], chunks: &[ChunkRef]) -> Result<u32, BlockError> {
        if let Some(problem) = self.misplaced(labels, chunks) {
            return Err(BlockError::OutOfOrder { series: format!("number {}", self.series), problem });
        }
        self.output.align(SERIES_ALIGNMENT)?;
        let offset = self.output.position();
        let number = u32::try_from(offset / SERIES_ALIGNMENT).map_err(|_| too_large("index", offset))?;
        if self.series == 0 {
            self.toc.series = offset;
        }
        SeriesEntry::encode(labels, chunks, &mut self.entry, &mut self.body);
        self.output.write(&self.entry)?;
        self.pairs.push((0, 0), number)?;
        for (name, value) in labels {
            self.pairs.push((name + 1, *value), number)?;
        }
        self.previous.clear();
        self.previous.extend_from_slice(labels);
        self.series += 1;
        Ok(number)
    }

    fn misplaced(&self, labels: &[(u32, u32)], chunks: &[ChunkRef]) -> Option<&'static str> {
        let known = |symbol: u32| symbol < self.symbols;
        let meet = |pair: &[ChunkRef]| matches!(pair, [a, b] if a.max_time >= b.min_time);
        if self.series > 0 && self.previous.as_slice() >= labels {
            Some("labels do not rise")
        } else if !labels.is_sorted_by(|a, b| a.0 < b.0) {
            Some("label names do not rise")
        } else if !labels.iter().all(|(name, value)| known(*name) && known(*value)) {
            Some("a symbol was not announced")
        } else if chunks.windows(2).any(meet) || chunks.iter().any(|chunk| chunk.min_time > chunk.max_time) {
            Some("chunks overlap")
        } else {
            None
        }
    }

    /// Writes postings, tables and the end, and makes the file durable. Gives its length in bytes.
    ///
    /// # Errors
    ///
    /// The file cannot be written, or exceeds what the format can hold.
    pub fn finish(mut self) -> Result<u64, BlockError> {
        if self.toc.symbols == 0 {
            self.symbols(std::iter::empty::<Result<&str, BlockError>>())?;
        }
        if self.series == 0 {
            self.output.align(SERIES_ALIGNMENT)?;
            self.toc.series = self.output.position();
        }
        self.output.align(POSTINGS_ALIGNMENT)?;
        // The legacy sections are empty: they start where the next one does.
        self.toc.label_indices = self.output.position();
        self.toc.postings = self.output.position();
        let (table, count) = self.write_postings()?;
        self.toc.label_offset_table = self.output.position();
        self.toc.postings_offset_table = self.output.position();
        self.write_table(&table, count)?;
        let toc = self.toc.encode();
        self.output.write(&toc)?;
        Ok(self.output.finish()?)
    }

    /// Writes the lists; gives the entries of the postings offset table.
    fn write_postings(&mut self) -> Result<(Map, u32), BlockError> {
        self.output.flush()?;
        let path = self.output.path().to_owned();
        let written = self.fs.map(&path).context("map", &path)?;
        let symbols = Symbols::open(&written, self.toc.symbols, false).map_err(BlockError::corrupt(&path))?;
        let mut table = Spill::new(Arc::clone(&self.fs), path.with_file_name("index.table"), TABLE_MEMORY_MAX);
        let spare = PairSorter::new(Arc::clone(&self.fs), PathBuf::new(), 1);
        let pairs = std::mem::replace(&mut self.pairs, spare).finish()?;
        let mut count = 0u32;
        let mut entry = Vec::new();
        let written_lists = pairs.each(|(name, value), parts| {
            let texts = match name.checked_sub(1) {
                None => ("", ""),
                Some(name) => (symbols.lookup(&written, name)?, symbols.lookup(&written, value)?),
            };
            let offset = self.write_list(parts)?;
            entry.clear();
            put_uvarint(&mut entry, TABLE_ENTRY_KEYS);
            put_counted(&mut entry, texts.0.as_bytes());
            put_counted(&mut entry, texts.1.as_bytes());
            put_uvarint(&mut entry, offset);
            table.write(&entry).map_err(BlockError::from)?;
            count = count.checked_add(1).ok_or_else(|| too_large("postings offset table", u64::MAX))?;
            Ok::<_, WriteError>(())
        });
        written_lists.map_err(|error| error.at(&path))?;
        Ok((table.into_map()?, count))
    }

    /// Writes one list; gives its offset.
    fn write_list(&mut self, parts: &[&[u8]]) -> Result<u64, BlockError> {
        self.output.align(POSTINGS_ALIGNMENT)?;
        let offset = self.output.position();
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        let length = u32::try_from(bytes + 4).map_err(|_| too_large("list of postings", bytes as u64))?;
        let count = (bytes / 4) as u32;
        self.output.write(&length.to_be_bytes())?;
        self.output.write(&count.to_be_bytes())?;
        let mut checksum = crc32c::crc32c(&count.to_be_bytes());
        for part in parts {
            checksum = crc32c::crc32c_append(checksum, part);
            self.output.write(part)?;
        }
        self.output.write(&checksum.to_be_bytes())?;
        Ok(offset)
    }

    fn write_table(&mut self, entries: &[u8], count: u32) -> Result<(), BlockError> {
        let size = entries.len() as u64;
        let length = u32::try_from(size + 4).map_err(|_| too_large("postings offset table", size))?;
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&count.to_be_bytes()), entries);
        self.output.write(&length.to_be_bytes())?;
        self.output.write(&count.to_be_bytes())?;
        self.output.write(entries)?;
        Ok(self.output.write(&checksum.to_be_bytes())?)
    }
}

fn too_large(what: &'static str, size: u64) -> BlockError {
    let limit = if what == "index" { u64::from(u32::MAX) * SERIES_ALIGNMENT } else { u32::MAX.into() };
    BlockError::TooLarge { what, size, limit }
}

/// Trouble while the postings are written: with what was written before, or with writing.
enum WriteError {
    Malformed(Malformed),
    Block(BlockError),
}

impl WriteError {
    fn at(self, path: &Path) -> BlockError {
        match self {
            Self::Malformed(malformed) => BlockError::corrupt(path)(malformed),
            Self::Block(error) => error,
        }
    }
}

impl From<Malformed> for WriteError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<BlockError> for WriteError {
    fn from(error: BlockError) -> Self {
        Self::Block(error)
    }
}
