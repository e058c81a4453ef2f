//! Samples of any age become blocks, beside a running database: the import of a metrics file.
//!
//! Samples may come in any order. They are collected by windows of the block range; when too many are in memory, the
//! fullest window is written as a block and forgotten. A window that was written in parts becomes overlapping blocks, which
//! compaction merges. The parser of the file is the caller's: this crate takes samples.
//!
//! ```
//! use std::sync::Arc;
//! use ferula_model::{Sample, Timestamp};
//! use ferula_tsdb::backfill::Backfill;
//! use ferula_tsdb::block::Ulids;
//! use ferula_tsdb::fs::{Fs, MemFs};
//!
//! let disk: Arc<dyn Fs> = Arc::new(MemFs::new());
//! let mut backfill = Backfill::new(&disk, "data".as_ref(), Ulids::random());
//! for hour in 0..4 {
//!     backfill.add(&[("__name__", "up")], Sample::float(Timestamp(hour * 3_600_000), 1.0))?;
//! }
//! let blocks = backfill.finish()?;
//! assert_eq!(blocks.len(), 2);
//! # Ok::<(), ferula_tsdb::block::BlockError>(())
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ferula_model::{Columns, Labels, Sample, Timestamp, Value};
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::block::meta::HINT_OUT_OF_ORDER;
use crate::block::{BlockError, BlockMeta, BlockOptions, BlockWriter, Ulids};
use crate::chunk::{EncodedChunk, FloatEncoding, encode};
use crate::compact::plan::BLOCK_RANGE_DEFAULT;
use crate::fs::Fs;

/// Samples that are held in memory at once, about 40 bytes each.
pub const SAMPLES_MAX_DEFAULT: usize = 2_000_000;

/// Collects samples and writes them as blocks.
#[derive(Debug)]
pub struct Backfill {
    fs: Arc<dyn Fs>,
    root: PathBuf,
    ulids: Ulids,
    block_range: i64,
    samples_max: usize,
    series: HashMap<Labels, usize, RandomState>,
    labels: Vec<Labels>,
    /// Start of the window -> samples in the order they came.
    windows: BTreeMap<i64, Vec<(usize, Sample)>>,
    samples: usize,
    written: Vec<BlockMeta>,
}

impl Backfill {
    /// Writes blocks into the folder `root`. A running database learns of them by
    /// [`BlockDirectory::add`](crate::block::BlockDirectory::add), one that is not running when it is opened.
    pub fn new(fs: &Arc<dyn Fs>, root: &Path, ulids: Ulids) -> Self {
        Self {
            fs: Arc::clone(fs),
            root: root.to_owned(),
            ulids,
            block_range: BLOCK_RANGE_DEFAULT,
            samples_max: SAMPLES_MAX_DEFAULT,
            series: HashMap::default(),
            labels: Vec::new(),
            windows: BTreeMap::new(),
            samples: 0,
            written: Vec::new(),
        }
    }

    /// The length of a window in milliseconds; two hours if not said, which is what compaction expects.
    #[must_use]
    pub fn block_range(mut self, millis: i64) -> Self {
        self.block_range = millis.max(1);
        self
    }

    /// How many samples are held in memory; [`SAMPLES_MAX_DEFAULT`] if not said.
    #[must_use]
    pub fn samples_max(mut self, samples: usize) -> Self {
        self.samples_max = samples.max(1);
        self
    }

    /// Adds a sample. Labels are sorted by name. Of several samples for one moment of a series the first in a part wins.
    ///
    /// # Errors
    ///
    /// A part had to be written and could not be.
    pub fn add(&mut self, labels: &[(&str, &str)], sample: Sample) -> Result<(), BlockError> {
        let labels = Labels::from_sorted(labels.iter().copied());
        let series = *self.series.entry(labels).or_insert_with_key(|labels| {
            self.labels.push(labels.clone());
            self.labels.len() - 1
        });
        let window = sample.timestamp.0.div_euclid(self.block_range).saturating_mul(self.block_range);
        self.windows.entry(window).or_default().push((series, sample));
        self.samples += 1;
        if self.samples >= self.samples_max {
            let fullest = self.windows.iter().max_by_key(|(_, samples)| samples.len()).map(|(start, _)| *start);
            fullest.map_or(Ok(()), |start| self.write(start))?;
        }
        Ok(())
    }

    /// Writes what is left; gives all blocks that were written.
    ///
    /// # Errors
    ///
    /// A block cannot be written; those before it are complete.
    pub fn finish(mut self) -> Result<Vec<BlockMeta>, BlockError> {
        while let Some(start) = self.windows.first_key_value().map(|(start, _)| *start) {
            self.write(start)?;
        }
        Ok(self.written)
    }

    fn write(&mut self, start: i64) -> Result<(), BlockError> {
        let mut samples = self.windows.remove(&start).unwrap_or_default();
        self.samples -= samples.len();
        let labels = &self.labels;
        samples.sort_by(|(a, x), (b, y)| {
            let by_labels = || labels.get(*a).cmp(&labels.get(*b));
            if a == b { x.timestamp.cmp(&y.timestamp) } else { by_labels() }
        });
        let times = || samples.iter().map(|(_, sample)| sample.timestamp.0);
        let (Some(first), Some(last)) = (times().min(), times().max()) else { return Ok(()) };
        // The block may reach into the time of a head, which must not take that for its own.
        let meta = BlockMeta::new(self.ulids.next(Timestamp(first)), first, last.saturating_add(1))
            .with_hint(HINT_OUT_OF_ORDER);
        let mut writer = BlockWriter::create(&self.fs, &self.root, meta, BlockOptions::default())?;
        let mut chunks = Vec::new();
        for group in samples.chunk_by(|a, b| a.0 == b.0) {
            chunks.clear();
            encode_group(group, &mut chunks);
            let labels = group.first().and_then(|(series, _)| self.labels.get(*series));
            writer.series(labels.into_iter().flatten(), chunks.iter().map(Into::into))?;
        }
        self.written.extend(writer.finish()?);
        Ok(())
    }
}

fn encode_group(group: &[(usize, Sample)], chunks: &mut Vec<EncodedChunk>) {
    let mut columns = Columns::default();
    let mut previous = None;
    for (_, sample) in group {
        let time = sample.timestamp.0;
        if previous.replace(time) == Some(time) {
            continue;
        }
        let start = sample.start.map_or(0, Timestamp::as_millis);
        match &sample.value {
            Value::Float(value) => {
                columns.times.push(time);
                columns.values.push(*value);
                columns.starts.push(start);
            }
            Value::Histogram(histogram) => {
                columns.histogram_times.push(time);
                columns.histograms.push(histogram.clone());
                columns.histogram_starts.push(start);
            }
        }
    }
    encode(&columns, FloatEncoding::Xor, chunks);
}
