//! Writes a block: series by rising labels go in, a folder that every reader of the format understands comes out.
//!
//! ```text
//!  series --> chunks/000001..., spool --finish--> symbols, series, postings --> fsync --> rename --> fsync of the folder
//! ```
//!
//! Everything is written under `<ULID>.tmp-for-creation`; the last step gives it its name. Until then a crash leaves only
//! what the next start removes.
//!
//! The index begins with its symbols, but symbols are known only when the last series is. So series are spooled (a file, if
//! they are many) with provisional symbol numbers. Memory: each different string of the block once, and bounded buffers.
//! Whoever knows the symbols beforehand, as the merge of blocks does, uses `RawBlockWriter` and does without the spool.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ferula_model::Timestamp;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::Mutex;
use ulid::Ulid;

use super::index::{ChunkRef, IndexWriter};
use super::meta::{BlockMeta, BlockStats, META_FILE};
use super::output::Spill;
use super::segment::{CHUNKS_DIR, ChunkBytes, SEGMENT_BYTES_MAX, SegmentWriter};
use super::tombstones::{TOMBSTONES_FILE, Tombstones};
use super::wire::{Cursor, put_uvarint, put_varint};
use super::{BlockError, TMP_CREATION};
use crate::chunk::{self, ChunkEncoding};
use crate::distribution::ChunkStats;
use crate::fs::{Context, Fs};

/// Bytes of spooled series that are kept in memory.
const SPOOL_MEMORY_MAX: usize = 4 * 1024 * 1024;

/// A chunk on its way into a block.
#[derive(Clone, Copy, Debug)]
pub struct NewChunk<'a> {
    /// Time of the first sample, in milliseconds.
    pub min_time: i64,
    /// Time of the last sample, in milliseconds.
    pub max_time: i64,
    /// How `bytes` are encoded.
    pub encoding: ChunkEncoding,
    /// The chunk.
    pub bytes: &'a [u8],
}

impl<'a> From<&'a chunk::EncodedChunk> for NewChunk<'a> {
    fn from(chunk: &'a chunk::EncodedChunk) -> Self {
        let chunk::EncodedChunk { encoding, min_time, max_time, bytes } = chunk;
        Self { min_time: *min_time, max_time: *max_time, encoding: *encoding, bytes }
    }
}

/// How a block is written.
#[derive(Clone, Copy, Debug)]
pub struct BlockOptions {
    /// Length that chunk segments do not exceed; 512 MiB, as Prometheus has it.
    pub segment_bytes_max: u64,
}

impl Default for BlockOptions {
    fn default() -> Self {
        Self { segment_bytes_max: SEGMENT_BYTES_MAX }
    }
}

/// Writes a block from series that come by rising labels.
///
/// ```
/// use std::sync::Arc;
/// use ferula_tsdb::block::{Block, BlockMeta, BlockWriter, BlockOptions};
/// use ferula_tsdb::chunk::{FloatEncoding, encode};
/// use ferula_tsdb::fs::{Fs, MemFs};
///
/// let disk: Arc<dyn Fs> = Arc::new(MemFs::new());
/// let columns = ferula_model::Columns { times: vec![10, 20], values: vec![1.0, 2.0], ..Default::default() };
/// let mut chunks = Vec::new();
/// encode(&columns, FloatEncoding::Xor, &mut chunks);
///
/// let meta = BlockMeta::new(ulid::Ulid::from_parts(1, 1), 0, 7_200_000);
/// let mut writer = BlockWriter::create(&disk, "data".as_ref(), meta, BlockOptions::default())?;
/// writer.series([("__name__", "up"), ("job", "node")], chunks.iter().map(Into::into))?;
/// let meta = writer.finish()?.unwrap();
///
/// let block = Block::open(&disk, &std::path::Path::new("data").join(meta.ulid.to_string()))?;
/// assert_eq!(block.meta().stats.num_samples, 2);
/// # Ok::<(), ferula_tsdb::block::BlockError>(())
/// ```
#[derive(Debug)]
pub struct BlockWriter {
    raw: RawBlockWriter,
    strings: Strings,
    spool: Spill,
    record: Vec<u8>,
    numbers: Vec<(u32, u32)>,
    chunks: Vec<ChunkRef>,
}

impl BlockWriter {
    /// Starts a block in the database's folder `root`. `meta` says its name, range and origin; its statistics are filled in.
    ///
    /// # Errors
    ///
    /// Files cannot be created.
    pub fn create(fs: &Arc<dyn Fs>, root: &Path, meta: BlockMeta, options: BlockOptions) -> Result<Self, BlockError> {
        let raw = RawBlockWriter::create(fs, root, meta, options)?;
        let spool = Spill::new(Arc::clone(fs), raw.dir.path.join("series.spool"), SPOOL_MEMORY_MAX);
        let (record, numbers, chunks) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { raw, strings: Strings::default(), spool, record, numbers, chunks })
    }

    /// Adds a series: labels by rising name, chunks by rising time. A series without chunks is left out.
    ///
    /// # Errors
    ///
    /// A chunk is too short to have a header, or files cannot be written. That labels and chunks rise is checked in
    /// [`finish`](Self::finish).
    pub fn series<'a, 'c>(
        &mut self,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        chunks: impl IntoIterator<Item = NewChunk<'c>>,
    ) -> Result<(), BlockError> {
        self.chunks.clear();
        for chunk in chunks {
            self.chunks.push(self.raw.chunk(chunk)?);
        }
        if self.chunks.is_empty() {
            return Ok(());
        }
        self.numbers.clear();
        for (name, value) in labels {
            self.numbers.push((self.strings.intern(name), self.strings.intern(value)));
        }
        self.record.clear();
        put_uvarint(&mut self.record, self.numbers.len() as u64);
        for (name, value) in &self.numbers {
            put_uvarint(&mut self.record, u64::from(*name));
            put_uvarint(&mut self.record, u64::from(*value));
        }
        put_uvarint(&mut self.record, self.chunks.len() as u64);
        for chunk in &self.chunks {
            put_varint(&mut self.record, chunk.min_time);
            put_varint(&mut self.record, chunk.max_time);
            put_uvarint(&mut self.record, chunk.reference);
        }
        Ok(self.spool.write(&self.record)?)
    }

    /// Completes the block and gives it its name. `None`: no series had a chunk, and there is no block.
    ///
    /// # Errors
    ///
    /// Series or chunks did not rise, or files cannot be written. What was written is removed at the next start.
    pub fn finish(self) -> Result<Option<BlockMeta>, BlockError> {
        let Self { mut raw, strings, spool, .. } = self;
        let spooled = spool.into_map()?;
        let (sorted, numbers) = strings.sort();
        raw.index.symbols(sorted.iter().map(Ok))?;
        let number = |provisional: u64| {
            let at = usize::try_from(provisional).unwrap_or(usize::MAX);
            numbers.get(at).copied().unwrap_or(u32::MAX)
        };
        let dir = raw.dir.path.clone();
        let corrupt = BlockError::corrupt(&dir);
        let mut cursor = Cursor::new(&spooled, 0);
        let (mut labels, mut chunks) = (Vec::new(), Vec::new());
        while !cursor.is_empty() {
            labels.clear();
            chunks.clear();
            for _ in 0..cursor.uvarint().map_err(&corrupt)? {
                let name = cursor.uvarint().map_err(&corrupt)?;
                labels.push((number(name), number(cursor.uvarint().map_err(&corrupt)?)));
            }
            for _ in 0..cursor.uvarint().map_err(&corrupt)? {
                let min_time = cursor.varint().map_err(&corrupt)?;
                let max_time = cursor.varint().map_err(&corrupt)?;
                chunks.push(ChunkRef { reference: cursor.uvarint().map_err(&corrupt)?, min_time, max_time });
            }
            raw.series(&labels, &chunks)?;
        }
        raw.finish()
    }
}

/// Every string once, with a number in the order of arrival.
#[derive(Debug, Default)]
struct Strings {
    numbers: HashMap<Arc<str>, u32, RandomState>,
}

impl Strings {
    fn intern(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        self.numbers.insert(text.into(), number);
        number
    }

    /// The strings, sorted, and for each provisional number its place among them.
    fn sort(self) -> (Vec<Arc<str>>, Vec<u32>) {
        let mut sorted: Vec<(Arc<str>, u32)> = self.numbers.into_iter().collect();
        sorted.sort_unstable();
        let mut numbers = vec![0; sorted.len()];
        for (place, (_, provisional)) in sorted.iter().enumerate() {
            if let Some(number) = numbers.get_mut(*provisional as usize) {
                *number = place as u32;
            }
        }
        (sorted.into_iter().map(|(text, _)| text).collect(), numbers)
    }
}

/// Writes a block from series whose symbols are known: [`index`](Self::index)`.symbols` first, then chunks and series.
#[derive(Debug)]
pub(crate) struct RawBlockWriter {
    fs: Arc<dyn Fs>,
    root: PathBuf,
    /// Where it is written before it has its name.
    dir: TemporaryDir,
    meta: BlockMeta,
    pub(crate) index: IndexWriter,
    segments: SegmentWriter,
    stats: BlockStats,
    /// What its chunks are like.
    pub(crate) chunks: ChunkStats,
}

impl RawBlockWriter {
    pub(crate) fn create(
        fs: &Arc<dyn Fs>,
        root: &Path,
        meta: BlockMeta,
        options: BlockOptions,
    ) -> Result<Self, BlockError> {
        let dir = root.join(format!("{}{TMP_CREATION}", meta.ulid));
        if fs.exists(&dir) {
            fs.remove_dir(&dir).context("remove", &dir)?;
        }
        fs.create_dir(&dir).context("create", &dir)?;
        let dir = TemporaryDir { fs: Arc::clone(fs), path: dir, armed: true };
        let index = IndexWriter::create(fs, &dir.path)?;
        let segments = SegmentWriter::create(fs, dir.path.join(CHUNKS_DIR), options.segment_bytes_max)?;
        let stats = BlockStats::default();
        let (fs, root, chunks) = (Arc::clone(fs), root.to_owned(), ChunkStats::default());
        Ok(Self { fs, root, dir, meta, index, segments, stats, chunks })
    }

    /// Writes a chunk and counts its samples.
    pub(crate) fn chunk(&mut self, chunk: NewChunk<'_>) -> Result<ChunkRef, BlockError> {
        let NewChunk { min_time, max_time, encoding, bytes } = chunk;
        let samples = chunk::sample_count(encoding, bytes).map_err(|error| BlockError::Corrupt {
            path: self.dir.path.clone(),
            offset: 0,
            problem: error.to_string(),
        })? as u64;
        let reference = self.segments.write(ChunkBytes { encoding, bytes })?;
        self.chunks.observe(samples, bytes.len(), max_time.saturating_sub(min_time));
        self.stats.num_chunks += 1;
        self.stats.num_samples += samples;
        let of_kind =
            if encoding.is_float() { &mut self.stats.num_float_samples } else { &mut self.stats.num_histogram_samples };
        *of_kind += samples;
        Ok(ChunkRef { reference, min_time, max_time })
    }

    pub(crate) fn series(&mut self, labels: &[(u32, u32)], chunks: &[ChunkRef]) -> Result<(), BlockError> {
        self.index.series(labels, chunks)?;
        self.stats.num_series += 1;
        Ok(())
    }

    /// Completes the block and gives it its name, unless it is empty.
    pub(crate) fn finish(self) -> Result<Option<BlockMeta>, BlockError> {
        let Self { fs, root, dir: mut temporary, mut meta, index, segments, stats, .. } = self;
        if stats.num_samples == 0 {
            return Ok(None);
        }
        let dir = temporary.path.clone();
        meta.stats = stats;
        segments.finish()?;
        index.finish()?;
        let write = |name: &str, content: &[u8]| {
            let path = dir.join(name);
            let file = fs.create(&path).context("create", &path)?;
            file.write_at(0, content).context("write", &path)?;
            file.sync().context("sync", &path)
        };
        write(TOMBSTONES_FILE, &Tombstones::default().encode())?;
        write(META_FILE, &meta.to_json())?;
        fs.sync_dir(&dir).context("sync", &dir)?;
        let place = root.join(meta.ulid.to_string());
        fs.rename(&dir, &place).context("rename", &dir)?;
        temporary.armed = false;
        fs.sync_dir(&root).context("sync", &root)?;
        Ok(Some(meta))
    }
}

/// A folder that goes away, with what was written so far, unless it was renamed: a full disk gets its space back.
#[derive(Debug)]
struct TemporaryDir {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    armed: bool,
}

impl Drop for TemporaryDir {
    fn drop(&mut self) {
        if self.armed {
            // What cannot be removed now is removed at the next start.
            let _ = self.fs.remove_dir(&self.path);
        }
    }
}

/// Gives new blocks their names.
#[derive(Debug)]
pub struct Ulids(Mutex<u64>);

impl Ulids {
    /// Names that nobody else gives.
    pub fn random() -> Self {
        // Without a source of randomness the process number must do.
        let seed = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
        Self::seeded(seed)
    }

    /// The same names for the same seed; for simulations.
    pub fn seeded(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    /// A new name, whose time is `now`.
    pub fn next(&self, now: Timestamp) -> Ulid {
        let mut state = self.0.lock();
        let random = (u128::from(split_mix(&mut state)) << 64) | u128::from(split_mix(&mut state));
        // A ULID has 80 random bits.
        Ulid::from_parts(u64::try_from(now.as_millis()).unwrap_or(0), random >> 48)
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
