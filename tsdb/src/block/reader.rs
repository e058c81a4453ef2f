//! A block, open: series by matchers, labels, samples by time.
//!
//! Everything is read from the maps of index and segments where it lies; what an open block holds in memory is every 32nd
//! label value and every 16th symbol's place, and its tombstones.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use ferula_model::{Columns, Labels, Matcher, TimeRange, Timestamp};
use parking_lot::Mutex;

use super::index::{ChunkRef, INDEX_FILE, IndexReader, SymbolCache};
use super::meta::{BlockMeta, META_FILE};
use super::segment::{CHUNKS_DIR, ChunkBytes, SegmentReader};
use super::tombstones::{Interval, TOMBSTONES_FILE, Tombstones};
use super::{BlockError, select};
use crate::chunk;
use crate::columns::{Mark, retain_from};
use crate::fs::{Context, Fs};

/// An open block. Shared between threads; the files stay readable while it lives, even when the block is deleted.
#[derive(Debug)]
pub struct Block {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    index: IndexReader,
    segments: SegmentReader,
    /// What a deletion changes.
    state: ArcSwap<State>,
    /// Held while a deletion is written.
    deleting: Mutex<()>,
    bytes: u64,
}

#[derive(Debug)]
struct State {
    meta: Arc<BlockMeta>,
    tombstones: Arc<Tombstones>,
}

impl Block {
    /// Opens the block in the folder `dir`. Tables and headers are checked here, series and chunks when they are read.
    ///
    /// # Errors
    ///
    /// A file is missing, cannot be mapped, or is damaged; see [`BlockError::is_corrupt`].
    pub fn open(fs: &Arc<dyn Fs>, dir: &Path) -> Result<Self, BlockError> {
        let read = |name: &str| {
            let path = dir.join(name);
            fs.read(&path).context("read", &path)
        };
        let meta_bytes = read(META_FILE)?;
        let mut meta = BlockMeta::from_json(&meta_bytes, &dir.join(META_FILE))?;
        let index = IndexReader::open(&**fs, &dir.join(INDEX_FILE))?;
        let segments = SegmentReader::open(&**fs, &dir.join(CHUNKS_DIR))?;
        let tombstones_path = dir.join(TOMBSTONES_FILE);
        // Early versions wrote none when nothing was deleted.
        let tombstones = if fs.exists(&tombstones_path) {
            Tombstones::decode(&read(TOMBSTONES_FILE)?, &tombstones_path)?
        } else {
            Tombstones::default()
        };
        let bytes = index.file_bytes() + segments.file_bytes() + (meta_bytes.len() + tombstones.encode().len()) as u64;
        meta.stats.num_tombstones = tombstones.len() as u64;
        let state = ArcSwap::from_pointee(State { meta: Arc::new(meta), tombstones: Arc::new(tombstones) });
        let (fs, dir, deleting) = (Arc::clone(fs), dir.to_owned(), Mutex::new(()));
        Ok(Self { fs, dir, index, segments, state, deleting, bytes })
    }

    /// What the block says about itself. The number of tombstones is that of the file.
    pub fn meta(&self) -> Arc<BlockMeta> {
        Arc::clone(&self.state.load().meta)
    }

    /// The moments that it may hold samples of.
    pub fn range(&self) -> TimeRange {
        self.state.load().meta.range()
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Bytes of all its files.
    pub fn file_bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes in memory besides the maps.
    pub fn heap_bytes(&self) -> usize {
        self.index.heap_bytes() + self.tombstones().len() * size_of::<Interval>()
    }

    /// Its index.
    pub fn index(&self) -> &IndexReader {
        &self.index
    }

    /// What was deleted from it.
    pub fn tombstones(&self) -> Arc<Tombstones> {
        Arc::clone(&self.state.load().tombstones)
    }

    /// The numbers of the series that satisfy all matchers and may have samples in `range`. They rise, as their labels do.
    ///
    /// # Errors
    ///
    /// The index is damaged.
    pub fn select(&self, range: TimeRange, matchers: &[Matcher]) -> Result<Vec<u32>, BlockError> {
        let mut series = select::series(&self.index, matchers)?;
        let state = self.state.load();
        let own = state.meta.range();
        let whole = range.min <= own.min && own.max <= range.max;
        if whole && state.tombstones.is_empty() {
            return Ok(series);
        }
        let mut chunks = Vec::new();
        let mut problem = None;
        series.retain(|series| {
            if whole && state.tombstones.of(u64::from(*series)).is_none() {
                return true;
            }
            match self.index.chunks(*series, &mut chunks) {
                Ok(()) => chunks.iter().any(|chunk| self.is_wanted(&state.tombstones, *series, chunk, range)),
                Err(error) => {
                    problem.get_or_insert(error);
                    false
                }
            }
        });
        problem.map_or(Ok(series), Err)
    }

    /// Whether a chunk overlaps the range and is not deleted entirely.
    fn is_wanted(&self, tombstones: &Tombstones, series: u32, chunk: &ChunkRef, range: TimeRange) -> bool {
        let overlaps = range.overlaps(TimeRange::new(Timestamp(chunk.min_time), Timestamp(chunk.max_time)));
        let deleted = tombstones.of(series.into()).is_some_and(|gone| gone.covers(chunk.min_time, chunk.max_time));
        overlaps && !deleted
    }

    /// The labels of a series.
    ///
    /// # Errors
    ///
    /// There is no such series, or the index is damaged.
    pub fn labels(&self, series: u32) -> Result<Labels, BlockError> {
        let mut found = Labels::empty();
        self.each_labels(&[series], |_, labels| found = labels)?;
        Ok(found)
    }

    /// Calls `each` with the position and the labels of each of many series.
    ///
    /// # Errors
    ///
    /// There is no such series, or the index is damaged.
    pub(crate) fn each_labels(&self, series: &[u32], mut each: impl FnMut(usize, Labels)) -> Result<(), BlockError> {
        let mut symbols = SymbolCache::new(&self.index, series.len());
        let (mut labels, mut pairs) = (Vec::new(), Vec::new());
        for (at, &series) in series.iter().enumerate() {
            self.index.labels(series, &mut labels)?;
            pairs.clear();
            for &(name, value) in &labels {
                pairs.push((symbols.text(name)?, symbols.text(value)?));
            }
            let rises = pairs.is_sorted_by(|a, b| a.0 < b.0);
            let pairs = pairs.iter().copied();
            each(at, if rises { Labels::from_sorted(pairs) } else { Labels::from_pairs(pairs) });
        }
        Ok(())
    }

    /// Appends the samples of a series in `range`, by rising time and without deleted ones, to `columns`.
    ///
    /// # Errors
    ///
    /// There is no such series, or index or segment are damaged; what came before is then in `columns`.
    pub fn read(&self, series: u32, range: TimeRange, columns: &mut Columns) -> Result<(), BlockError> {
        let mut chunks = Vec::new();
        self.index.chunks(series, &mut chunks)?;
        let tombstones = self.tombstones();
        let gone = tombstones.of(series.into());
        let mut after_hole = false;
        for chunk in &chunks {
            let touched = gone.is_some_and(|gone| gone.overlaps(chunk.min_time, chunk.max_time));
            if !self.is_wanted(&tombstones, series, chunk, range) {
                after_hole |= touched;
                continue;
            }
            let mark = Mark::of(columns);
            self.decode(chunk.reference, range, columns)?;
            if let Some(gone) = gone.filter(|_| touched || after_hole) {
                after_hole = retain_from(columns, mark, after_hole, |time| !gone.contains(time));
            }
        }
        Ok(())
    }

    /// Appends the samples of a chunk that lie in `range`.
    pub(crate) fn decode(&self, reference: u64, range: TimeRange, columns: &mut Columns) -> Result<(), BlockError> {
        let ChunkBytes { encoding, bytes } = self.segments.chunk(reference)?;
        let decoded = chunk::decode(encoding, bytes, range, columns);
        decoded.map_err(|error| self.segments.malformed(reference, &error))
    }

    /// The bytes of a chunk, its checksum compared.
    ///
    /// # Errors
    ///
    /// There is no such chunk, or it is damaged.
    pub fn chunk(&self, reference: u64) -> Result<ChunkBytes<'_>, BlockError> {
        self.segments.chunk(reference)
    }

    /// Names of labels on series that satisfy all matchers; sorted, at most `limit` (0: no limit).
    ///
    /// # Errors
    ///
    /// The index is damaged.
    pub fn label_names(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<String>, BlockError> {
        select::label_names(&self.index, matchers, limit)
    }

    /// Values of a label on series that satisfy all matchers; sorted, at most `limit` (0: no limit).
    ///
    /// # Errors
    ///
    /// The index is damaged.
    pub fn label_values(&self, name: &str, matchers: &[Matcher], limit: usize) -> Result<Vec<String>, BlockError> {
        select::label_values(&self.index, name, matchers, limit)
    }

    /// Deletes the samples in `range` of the series that satisfy all matchers: notes it durably in the tombstones file.
    /// Gives the number of series concerned.
    ///
    /// # Errors
    ///
    /// The index is damaged, or the file cannot be written: nothing is deleted for readers of this block then, but perhaps after
    /// the next start.
    pub fn delete(&self, range: TimeRange, matchers: &[Matcher]) -> Result<usize, BlockError> {
        let _deleting = self.deleting.lock();
        let mut tombstones = Tombstones::clone(&self.tombstones());
        let mut chunks = Vec::new();
        let mut count = 0;
        for series in select::series(&self.index, matchers)? {
            self.index.chunks(series, &mut chunks)?;
            let (Some(first), Some(last)) = (chunks.first(), chunks.last()) else { continue };
            let interval = Interval::new(range.min.0.max(first.min_time), range.max.0.min(last.max_time));
            if interval.min <= interval.max {
                tombstones.add(series.into(), interval);
                count += 1;
            }
        }
        if count > 0 {
            self.replace_tombstones(tombstones)?;
        }
        Ok(count)
    }

    fn replace_tombstones(&self, tombstones: Tombstones) -> Result<(), BlockError> {
        let path = self.dir.join(TOMBSTONES_FILE);
        self.fs.replace(&path, &tombstones.encode()).context("replace", &path)?;
        let mut meta = BlockMeta::clone(&self.meta());
        meta.stats.num_tombstones = tombstones.len() as u64;
        // The number in the description is for others; the next start counts again, so that a crash here does no harm.
        let path = self.dir.join(META_FILE);
        let replaced = self.fs.replace(&path, &meta.to_json()).context("replace", &path);
        self.state.store(Arc::new(State { meta: Arc::new(meta), tombstones: Arc::new(tombstones) }));
        Ok(replaced?)
    }

    /// Notes in the description that the block may be deleted, or that compacting it failed.
    ///
    /// # Errors
    ///
    /// The file cannot be written; the description stays as it was.
    pub(crate) fn annotate(&self, change: impl FnOnce(&mut BlockMeta)) -> Result<(), BlockError> {
        let _deleting = self.deleting.lock();
        let mut meta = BlockMeta::clone(&self.meta());
        change(&mut meta);
        let path = self.dir.join(META_FILE);
        self.fs.replace(&path, &meta.to_json()).context("replace", &path)?;
        self.state.store(Arc::new(State { meta: Arc::new(meta), tombstones: self.tombstones() }));
        Ok(())
    }
}
