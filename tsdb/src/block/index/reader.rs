//! Reads an index straight from the map.
//!
//! Opening checks the checksums of symbols and tables and that they are sorted, and keeps in memory the place of every 16th
//! symbol and of every 32nd value of each label name. Lists and series are checked each time they are read.

use std::path::{Path, PathBuf};

use super::format::{ChunkRef, HEADER_BYTES, MAGIC, SERIES_ALIGNMENT, SeriesEntry, TABLE_ENTRY_KEYS, Toc};
use super::symbols::Symbols;
use crate::block::BlockError;
use crate::block::wire::{Cursor, Malformed};
use crate::fs::{Context, Fs, Map};
use crate::postings::List;

/// Every so many values of a label name, the place of one is kept in memory.
const VALUE_STRIDE: usize = 32;

/// An index, mapped.
#[derive(Debug)]
pub struct IndexReader {
    map: Map,
    path: PathBuf,
    version: u8,
    symbols: Symbols,
    /// By rising name.
    names: Vec<NameTable>,
    /// File offset of the list of all series.
    all: Option<u64>,
}

/// Where the values of a label name stand in the postings offset table.
#[derive(Debug)]
struct NameTable {
    name: Box<str>,
    /// File offset of every `stride`th entry.
    sampled: Vec<u64>,
    /// How many values.
    count: usize,
    /// [`VALUE_STRIDE`], or 1 where entries are not sorted on disk (version 1).
    stride: usize,
}

/// An entry of the postings offset table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TableEntry<'a> {
    name: &'a str,
    value: &'a str,
    /// File offset of the list.
    postings: u64,
}

impl IndexReader {
    /// Maps and checks the index at `path`.
    ///
    /// # Errors
    ///
    /// The file cannot be mapped, its version is unknown, or its tables are damaged.
    pub fn open(fs: &dyn Fs, path: &Path) -> Result<Self, BlockError> {
        Self::from_map(fs.map(path).context("map", path)?, path)
    }

    /// Checks an index in memory; `path` is for errors.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn from_map(map: Map, path: &Path) -> Result<Self, BlockError> {
        let corrupt = BlockError::corrupt(path);
        let mut header = Cursor::new(&map, 0);
        if header.be_u32().map_err(&corrupt)? != MAGIC {
            return Err(corrupt(Malformed { offset: 0, problem: "not an index file" }));
        }
        let version = header.byte().map_err(&corrupt)?;
        if !(1..=3).contains(&version) {
            return Err(BlockError::UnknownVersion { path: path.to_owned(), version: version.into() });
        }
        let toc = Toc::decode(&map).map_err(&corrupt)?;
        let symbols = Symbols::open(&map, toc.symbols, version == 1).map_err(&corrupt)?;
        let (names, all) = read_table(&map, toc.postings_offset_table, version).map_err(&corrupt)?;
        Ok(Self { path: path.to_owned(), version, symbols, names, all, map })
    }

    /// The version of the format: 1, 2 or 3.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Length of the file in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.map.len() as u64
    }

    /// Bytes in memory besides the map.
    pub fn heap_bytes(&self) -> usize {
        let tables = self.names.iter().map(|t| size_of::<NameTable>() + t.name.len() + t.sampled.capacity() * 8);
        self.symbols.heap_bytes() + tables.sum::<usize>()
    }

    /// How many symbols.
    pub fn symbol_count(&self) -> u32 {
        self.symbols.count()
    }

    /// The symbol with a number.
    ///
    /// # Errors
    ///
    /// There is no such symbol.
    pub fn symbol(&self, symbol: u32) -> Result<&str, BlockError> {
        self.symbols.lookup(&self.map, symbol).map_err(self.corrupt())
    }

    /// All symbols with their numbers. Rising, but for indexes of version 1.
    pub fn symbols(&self) -> impl Iterator<Item = Result<(u32, &str), BlockError>> {
        self.symbols.iter(&self.map).map(|symbol| symbol.map_err(self.corrupt()))
    }

    /// The number of a symbol, if the index has it. Indexes of version 1 do not answer this.
    ///
    /// # Errors
    ///
    /// The symbols are damaged.
    pub fn find_symbol(&self, text: &str) -> Result<Option<u32>, BlockError> {
        self.symbols.find(&self.map, text).map_err(self.corrupt())
    }

    /// All label names, rising.
    pub fn label_names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|table| &*table.name)
    }

    /// All values of a label name, rising, with their lists.
    pub fn label_values(&self, name: &str) -> LabelValues<'_> {
        LabelValues { index: self, table: self.table(name), at: 0, cursor: None }
    }

    /// How many values a label name has.
    pub fn value_count(&self, name: &str) -> usize {
        self.table(name).map_or(0, |table| table.count)
    }

    /// The series that carry a label; `None` if no series does.
    ///
    /// # Errors
    ///
    /// The list is damaged.
    pub fn postings(&self, name: &str, value: &str) -> Result<Option<List<'_>>, BlockError> {
        match self.label_values(name).seek(value)?.next().transpose()? {
            Some((found, list)) if found == value => list.open().map(Some),
            _ => Ok(None),
        }
    }

    /// All series.
    ///
    /// # Errors
    ///
    /// The list is damaged.
    pub fn all_postings(&self) -> Result<List<'_>, BlockError> {
        self.all.map_or(Ok(List::Native(&[])), |offset| self.list_at(offset))
    }

    /// Replaces the content of `entry` by a series.
    ///
    /// # Errors
    ///
    /// There is no such series, or it is damaged.
    pub fn series(&self, series: u32, entry: &mut SeriesEntry) -> Result<(), BlockError> {
        self.entry(series).and_then(|mut cursor| entry.decode(&mut cursor)).map_err(self.corrupt())
    }

    /// Replaces the content of `labels` by those of a series: the symbols of name and value, by rising name.
    ///
    /// # Errors
    ///
    /// There is no such series, or it is damaged.
    pub fn labels(&self, series: u32, labels: &mut Vec<(u32, u32)>) -> Result<(), BlockError> {
        self.entry(series)
            .and_then(|mut cursor| SeriesEntry::decode_labels(&mut cursor, labels))
            .map_err(self.corrupt())
    }

    /// Replaces the content of `chunks` by those of a series.
    ///
    /// # Errors
    ///
    /// There is no such series, or it is damaged.
    pub fn chunks(&self, series: u32, chunks: &mut Vec<ChunkRef>) -> Result<(), BlockError> {
        self.entry(series)
            .and_then(|mut cursor| SeriesEntry::decode_chunks_only(&mut cursor, chunks))
            .map_err(self.corrupt())
    }

    /// Where a series stands.
    fn entry(&self, series: u32) -> Result<Cursor<'_>, Malformed> {
        let alignment = if self.version == 1 { 1 } else { SERIES_ALIGNMENT };
        let offset = u64::from(series) * alignment;
        if offset < HEADER_BYTES {
            return Err(Malformed { offset, problem: "series lies in the header" });
        }
        Cursor::at(&self.map, offset)
    }

    /// The list at an offset of the file.
    fn list_at(&self, offset: u64) -> Result<List<'_>, BlockError> {
        let read = || {
            let mut list = Cursor::at(&self.map, offset)?.section()?;
            let place = list.malformed("count of postings differs from their length");
            let count = list.be_u32()? as usize;
            let (items, odd) = list.take(list.len())?.as_chunks::<4>();
            if items.len() == count && odd.is_empty() { Ok(List::BigEndian(items)) } else { Err(place) }
        };
        read().map_err(self.corrupt())
    }

    fn table(&self, name: &str) -> Option<&NameTable> {
        let at = self.names.binary_search_by(|table| (*table.name).cmp(name)).ok()?;
        self.names.get(at)
    }

    fn corrupt(&self) -> impl Fn(Malformed) -> BlockError {
        BlockError::corrupt(&self.path)
    }
}

/// Looks symbols up and remembers those of late: neighbours have most of their labels in common, and a symbol that is not
/// known takes a walk through its stretch of the table.
#[derive(Debug)]
pub(crate) struct SymbolCache<'a> {
    index: &'a IndexReader,
    /// A symbol has one place, which the next with that place takes.
    known: Vec<(u32, Option<&'a str>)>,
}

/// A cache has at most this many places.
const CACHED_SYMBOLS_MAX: usize = 1024;

impl<'a> SymbolCache<'a> {
    /// A cache that is used for the labels of so many series.
    pub(crate) fn new(index: &'a IndexReader, series: usize) -> Self {
        let places = series.saturating_mul(8).clamp(1, CACHED_SYMBOLS_MAX);
        Self { index, known: vec![(0, None); places] }
    }

    /// As [`IndexReader::symbol`].
    pub(crate) fn text(&mut self, symbol: u32) -> Result<&'a str, BlockError> {
        let places = self.known.len();
        let Some(place) = self.known.get_mut(symbol as usize % places) else { return self.index.symbol(symbol) };
        match *place {
            (known, Some(text)) if known == symbol => Ok(text),
            _ => {
                let text = self.index.symbol(symbol)?;
                *place = (symbol, Some(text));
                Ok(text)
            }
        }
    }
}

/// Values of one label name, rising, with their lists.
#[derive(Clone, Debug)]
pub struct LabelValues<'a> {
    index: &'a IndexReader,
    table: Option<&'a NameTable>,
    /// Number of the next value.
    at: usize,
    /// Stands at the next value, unless it must be looked up.
    cursor: Option<Cursor<'a>>,
}

/// The list of a label that has not been looked at.
#[derive(Clone, Copy, Debug)]
pub struct UnreadList<'a> {
    index: &'a IndexReader,
    offset: u64,
}

impl<'a> UnreadList<'a> {
    /// The list.
    ///
    /// # Errors
    ///
    /// It is damaged.
    pub fn open(self) -> Result<List<'a>, BlockError> {
        self.index.list_at(self.offset)
    }
}

impl<'a> LabelValues<'a> {
    /// Goes to the first value that is not below `value`, by binary search. Only forwards.
    ///
    /// # Errors
    ///
    /// The table is damaged.
    pub fn seek(mut self, value: &str) -> Result<Self, BlockError> {
        let Some(table) = self.table else {
            return Ok(self);
        };
        let mut problem = None;
        let below = |offset: &u64| match self.entry_at(*offset) {
            Ok((entry, _)) => entry.value < value,
            Err(error) => {
                problem = Some(error);
                false
            }
        };
        let sample = table.sampled.partition_point(below).saturating_sub(1);
        if let Some(error) = problem {
            return Err(error);
        }
        if sample * table.stride > self.at {
            self.at = sample * table.stride;
            self.cursor = None;
        }
        loop {
            let (at, cursor) = (self.at, self.cursor.clone());
            match self.next_entry()? {
                Some(entry) if entry.value < value => {}
                _ => {
                    (self.at, self.cursor) = (at, cursor);
                    return Ok(self);
                }
            }
        }
    }

    fn entry_at(&self, offset: u64) -> Result<(TableEntry<'a>, Cursor<'a>), BlockError> {
        let read = || {
            let mut cursor = Cursor::at(&self.index.map, offset)?;
            Ok((read_entry(&mut cursor)?, cursor))
        };
        read().map_err(self.index.corrupt())
    }

    fn next_entry(&mut self) -> Result<Option<TableEntry<'a>>, BlockError> {
        let Some(table) = self.table.filter(|table| self.at < table.count) else {
            return Ok(None);
        };
        let (entry, cursor) = match self.cursor.take().filter(|_| table.stride > 1) {
            Some(mut cursor) => (read_entry(&mut cursor).map_err(self.index.corrupt())?, cursor),
            None => {
                let sample = self.at / table.stride;
                let Some(offset) = table.sampled.get(sample) else { return Ok(None) };
                let (mut entry, mut cursor) = self.entry_at(*offset)?;
                for _ in sample * table.stride..self.at {
                    entry = read_entry(&mut cursor).map_err(self.index.corrupt())?;
                }
                (entry, cursor)
            }
        };
        self.at += 1;
        self.cursor = Some(cursor);
        Ok(Some(entry))
    }
}

impl<'a> Iterator for LabelValues<'a> {
    type Item = Result<(&'a str, UnreadList<'a>), BlockError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.next_entry() {
            Ok(entry) => entry.map(|entry| Ok((entry.value, UnreadList { index: self.index, offset: entry.postings }))),
            Err(error) => {
                self.table = None;
                Some(Err(error))
            }
        }
    }
}

fn read_entry<'a>(cursor: &mut Cursor<'a>) -> Result<TableEntry<'a>, Malformed> {
    let place = cursor.malformed("entry of the postings offset table has not two keys");
    if cursor.uvarint()? != TABLE_ENTRY_KEYS {
        return Err(place);
    }
    Ok(TableEntry { name: cursor.text()?, value: cursor.text()?, postings: cursor.uvarint()? })
}

/// The names with the places of their values, and the offset of the list of all series.
fn read_table(file: &[u8], offset: u64, version: u8) -> Result<(Vec<NameTable>, Option<u64>), Malformed> {
    let mut cursor = Cursor::at(file, offset)?.section()?;
    let count = cursor.be_u32()?;
    if version == 1 { read_unsorted(cursor, count) } else { read_sorted(cursor, count) }
}

fn read_sorted(mut cursor: Cursor<'_>, count: u32) -> Result<(Vec<NameTable>, Option<u64>), Malformed> {
    let (mut names, mut all): (Vec<NameTable>, _) = (Vec::new(), None);
    let mut previous: Option<TableEntry<'_>> = None;
    for _ in 0..count {
        let place = cursor.malformed("postings offset table is not sorted");
        let entry = read_entry(&mut cursor)?;
        if previous.is_some_and(|previous| (previous.name, previous.value) >= (entry.name, entry.value)) {
            return Err(place);
        }
        if entry.name.is_empty() {
            all = Some(entry.postings);
        } else if let Some(table) = names.last_mut().filter(|_| previous.is_some_and(|p| p.name == entry.name)) {
            if table.count.is_multiple_of(VALUE_STRIDE) {
                table.sampled.push(place.offset);
            }
            table.count += 1;
        } else {
            let sampled = vec![place.offset];
            names.push(NameTable { name: entry.name.into(), sampled, count: 1, stride: VALUE_STRIDE });
        }
        previous = Some(entry);
    }
    Ok((names, all))
}

/// Version 1 does not sort the table: the place of each entry is kept.
fn read_unsorted(mut cursor: Cursor<'_>, count: u32) -> Result<(Vec<NameTable>, Option<u64>), Malformed> {
    let mut entries = Vec::new();
    for _ in 0..count {
        let offset = cursor.offset();
        entries.push((read_entry(&mut cursor)?, offset));
    }
    entries.sort_unstable();
    for pair in entries.windows(2) {
        if let [(first, _), (second, offset)] = pair
            && (first.name, first.value) == (second.name, second.value)
        {
            return Err(Malformed { offset: *offset, problem: "postings offset table has a label twice" });
        }
    }
    let all = entries.iter().find(|(entry, _)| entry.name.is_empty()).map(|(entry, _)| entry.postings);
    let groups = entries.chunk_by(|(a, _), (b, _)| a.name == b.name);
    let names = groups.filter_map(|group| {
        let (first, _) = group.first().filter(|(entry, _)| !entry.name.is_empty())?;
        let sampled: Vec<u64> = group.iter().map(|(_, offset)| *offset).collect();
        Some(NameTable { name: first.name.into(), count: sampled.len(), sampled, stride: 1 })
    });
    Ok((names.collect(), all))
}

#[cfg(test)]
mod tests {
    use super::super::writer::IndexWriter;
    use super::*;
    use crate::fs::MemFs;
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    type Strings = BTreeSet<Vec<(String, String)>>;

    fn some_series(count: usize) -> Strings {
        let pair = |name: &str, value: String| (name.to_owned(), value);
        let series = |i: usize| {
            vec![
                pair("__name__", format!("m{}", i % 3)),
                pair("i", format!("{i}")),
                pair("job", format!("é{}", i % 40)),
            ]
        };
        (0..count).map(series).collect()
    }

    fn written(series: &Strings, entries_max: usize) -> IndexReader {
        let disk: Arc<dyn Fs> = Arc::new(MemFs::new());
        let mut writer = IndexWriter::with_memory(&disk, Path::new(""), entries_max).unwrap();
        let symbols: BTreeSet<&str> = series.iter().flatten().flat_map(|(n, v)| [n.as_str(), v.as_str()]).collect();
        writer.symbols(symbols.iter().map(Ok)).unwrap();
        let number = |text: &str| symbols.iter().position(|symbol| *symbol == text).unwrap() as u32;
        for (at, labels) in series.iter().enumerate() {
            let labels: Vec<_> = labels.iter().map(|(name, value)| (number(name), number(value))).collect();
            writer.series(&labels, &[chunk(at)]).unwrap();
        }
        writer.finish().unwrap();
        let names: Vec<_> = disk.list(Path::new("")).unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["index"], "temporary files are gone");
        IndexReader::open(&*disk, Path::new("index")).unwrap()
    }

    fn chunk(at: usize) -> ChunkRef {
        ChunkRef { reference: at as u64, min_time: at as i64, max_time: at as i64 + 10 }
    }

    fn labels_of(index: &IndexReader, entry: &SeriesEntry) -> Vec<(String, String)> {
        let text = |symbol| index.symbol(symbol).unwrap().to_owned();
        entry.labels.iter().map(|(name, value)| (text(*name), text(*value))).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        for (count, entries_max) in [(0, 10), (1, 10), (200, 7), (200, 1 << 20)] {
            let series = some_series(count);
            let index = written(&series, entries_max);
            let mut by_label: BTreeMap<(String, String), Vec<u32>> = BTreeMap::new();
            let mut entry = SeriesEntry::default();
            let all = index.all_postings().unwrap().to_vec();
            assert_eq!(all.len(), count);
            for (at, (number, labels)) in all.iter().zip(&series).enumerate() {
                index.series(*number, &mut entry).unwrap();
                assert_eq!((&labels_of(&index, &entry), &entry.chunks[..]), (labels, &[chunk(at)][..]));
                for label in labels {
                    by_label.entry(label.clone()).or_default().push(*number);
                }
            }
            let mut seen = BTreeMap::new();
            for name in index.label_names() {
                for value in index.label_values(name) {
                    let (value, list) = value.unwrap();
                    seen.insert((name.to_owned(), value.to_owned()), list.open().unwrap().to_vec());
                }
            }
            assert_eq!(seen, by_label);
        }
    }

    #[test]
    fn values_are_found_by_binary_search() {
        let index = written(&some_series(200), 100);
        for i in 0..200 {
            assert_eq!(index.postings("i", &i.to_string()).unwrap().unwrap().len(), 1);
            assert!(index.postings("i", &format!("{i}x")).unwrap().is_none());
        }
        assert!(index.postings("nothing", "1").unwrap().is_none());
        let from = index.label_values("i").seek("98").unwrap();
        assert_eq!(from.map(|value| value.unwrap().0).collect::<Vec<_>>(), ["98", "99"]);
        assert_eq!(index.label_values("i").seek("").unwrap().count(), 200);
        assert_eq!(index.label_values("i").seek("a").unwrap().count(), 0);
    }

    #[test]
    fn a_writer_refuses_disorder() {
        let disk: Arc<dyn Fs> = Arc::new(MemFs::new());
        let new = || {
            let mut writer = IndexWriter::create(&disk, Path::new("")).unwrap();
            writer.symbols(["a", "b", "c"].map(Ok)).unwrap();
            writer
        };
        let problem = |result: Result<u32, BlockError>| result.unwrap_err().to_string();
        let mut writer = new();
        writer.series(&[(0, 1)], &[]).unwrap();
        assert_eq!(problem(writer.series(&[(0, 1)], &[])), "series number 1: labels do not rise");
        assert_eq!(problem(writer.series(&[(1, 1), (0, 1)], &[])), "series number 1: label names do not rise");
        assert_eq!(problem(writer.series(&[(2, 9)], &[])), "series number 1: a symbol was not announced");
        let overlapping = [chunk(0), chunk(10)];
        assert_eq!(problem(writer.series(&[(2, 2)], &overlapping)), "series number 1: chunks overlap");
        assert!(IndexWriter::create(&disk, Path::new("")).unwrap().symbols(["b", "a"].map(Ok)).is_err());
    }

    #[test]
    fn flipped_bits_and_cuts_never_panic() {
        let index = written(&some_series(40), 100);
        let good = index.map.to_vec();
        let mut noticed = 0;
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x21;
            noticed += usize::from(read_all(bad).is_err());
        }
        // What is not noticed is padding.
        assert!(noticed * 10 > good.len() * 8, "{noticed} of {}", good.len());
        for length in 0..good.len() {
            assert!(read_all(good[..length].to_vec()).is_err());
        }
    }

    fn read_all(bytes: Vec<u8>) -> Result<(), BlockError> {
        let index = IndexReader::from_map(Map::from_vec(bytes), Path::new("index"))?;
        let mut entry = SeriesEntry::default();
        for series in index.all_postings()?.to_vec() {
            index.series(series, &mut entry)?;
            for (name, value) in &entry.labels {
                index.symbol(*name)?;
                index.symbol(*value)?;
            }
        }
        for name in index.label_names() {
            for value in index.label_values(name) {
                value?.1.open()?;
            }
        }
        Ok(())
    }

    #[test]
    fn version_one_is_read() {
        let Some(folder) = std::env::var_os("FERULA_CONFORMANCE") else {
            eprintln!("FERULA_CONFORMANCE is not set: the index of version 1 is not read");
            return;
        };
        let path = Path::new(&folder).join("tsdb/index_format_v1/index");
        let index = IndexReader::open(&crate::fs::RealFs, &path).unwrap();
        assert_eq!(index.version(), 1);
        assert_eq!(index.label_names().collect::<Vec<_>>(), ["bar", "foo"]);
        assert_eq!(index.all_postings().unwrap().len(), 102);
        let mut values = BTreeSet::new();
        for value in index.label_values("bar") {
            let (value, list) = value.unwrap();
            for series in list.open().unwrap().to_vec() {
                let mut entry = SeriesEntry::default();
                index.series(series, &mut entry).unwrap();
                assert!(labels_of(&index, &entry).contains(&("bar".to_owned(), value.to_owned())));
            }
            values.insert(value.to_owned());
        }
        assert_eq!(values, (0..100).map(|i| i.to_string()).collect());
        assert_eq!(index.postings("foo", "bar").unwrap().unwrap().len(), 1);
    }
}
