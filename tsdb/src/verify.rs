//! Is everything in a data directory as the formats say? An offline check that reads every byte and changes none.
//!
//! ```
//! use std::sync::Arc;
//! use ferula_tsdb::fs::{Fs, MemFs};
//! use ferula_tsdb::verify::verify;
//!
//! let disk: Arc<dyn Fs> = Arc::new(MemFs::new());
//! disk.create_dir("data".as_ref())?;
//! let report = verify(&disk, "data".as_ref())?;
//! assert!(report.is_sound());
//! assert_eq!(report.to_string(), "0 blocks, 0 series, 0 samples; 0 log records: sound\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ferula_model::{Columns, TimeRange};
use foldhash::fast::FixedState;
use ulid::Ulid;

use crate::block::index::SeriesEntry;
use crate::block::{Block, BlockError, QUARANTINE, TMP_CREATION, TMP_DELETION};
use crate::chunk;
use crate::fs::{Context, Fs, FsError};
use crate::wal::format::RecordType;
use crate::wal::reader::{ReadError, WalReader};

/// What was checked and what was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Every block, by name.
    pub blocks: Vec<BlockReport>,
    /// Every log: `wal`, `wbl` and the newest checkpoint, if they are there.
    pub logs: Vec<LogReport>,
    /// Everything that is wrong or strange, in the order it was met.
    pub findings: Vec<Finding>,
}

/// What is in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockReport {
    /// Its name.
    pub name: String,
    /// Bytes of its files.
    pub bytes: u64,
    /// Series that could be read.
    pub series: u64,
    /// Chunks that could be read.
    pub chunks: u64,
    /// Samples that could be read.
    pub samples: u64,
}

/// What is in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogReport {
    /// Its folder, relative to the database's.
    pub name: String,
    /// Records that could be read.
    pub records: u64,
    /// Bytes up to the end or to the damage.
    pub bytes: u64,
}

/// Something that is wrong or strange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file or folder.
    pub place: PathBuf,
    /// What is wrong with it.
    pub problem: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; no sample is concerned.
    Note,
    /// Samples cannot be read.
    Damage,
}

impl Report {
    /// Whether nothing is damaged.
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity < Severity::Damage)
    }

    fn note(&mut self, severity: Severity, place: &Path, problem: impl fmt::Display) {
        self.findings.push(Finding { severity, place: place.to_owned(), problem: problem.to_string() });
    }
}

/// Sentences, one a line: the findings, then a summary.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            let word = match finding.severity {
                Severity::Note => "note",
                Severity::Damage => "damage",
            };
            writeln!(f, "{word}: {}: {}", finding.place.display(), finding.problem)?;
        }
        let series: u64 = self.blocks.iter().map(|block| block.series).sum();
        let samples: u64 = self.blocks.iter().map(|block| block.samples).sum();
        let records: u64 = self.logs.iter().map(|log| log.records).sum();
        let verdict = if self.is_sound() { "sound" } else { "damaged" };
        writeln!(
            f,
            "{} blocks, {series} series, {samples} samples; {records} log records: {verdict}",
            self.blocks.len()
        )
    }
}

/// Checks the data directory `root`, which no database should have open.
///
/// Of blocks: description, checksums, order of series and chunks, postings against series, and every sample. Of logs: every
/// record's frame and kind. A cut or damaged end of a log is what a crash leaves; opening the database repairs it.
///
/// # Errors
///
/// The folder cannot be read. Damage is not an error but a finding.
pub fn verify(fs: &Arc<dyn Fs>, root: &Path) -> Result<Report, FsError> {
    let mut report = Report::default();
    let mut ranges = Vec::new();
    for entry in fs.list(root).context("list", root)?.into_iter().filter(|entry| entry.is_dir) {
        let place = root.join(&entry.name);
        if Ulid::from_string(&entry.name).is_ok() {
            match Block::open(fs, &place) {
                Ok(block) => {
                    ranges.push((block.meta().min_time, block.meta().max_time, place));
                    verify_block(&block, &entry.name, &mut report);
                }
                Err(error) => report.note(Severity::Damage, &place, error),
            }
        } else if [TMP_CREATION, TMP_DELETION].iter().any(|end| entry.name.ends_with(end)) {
            report.note(Severity::Note, &place, "left by a crash; the next start removes it");
        } else if entry.name.ends_with(QUARANTINE) {
            report.note(Severity::Note, &place, "put aside because it was damaged");
        }
    }
    ranges.sort();
    for pair in ranges.windows(2) {
        if let [(_, end, first), (start, _, second)] = pair
            && start < end
        {
            report.note(Severity::Note, second, format_args!("overlaps {} in time", first.display()));
        }
    }
    for name in log_names(&**fs, root)? {
        verify_log(&**fs, root, &name, &mut report)?;
    }
    Ok(report)
}

fn verify_block(block: &Block, name: &str, report: &mut Report) {
    let meta = block.meta();
    let mut damage = |problem: &dyn fmt::Display| report.note(Severity::Damage, block.dir(), problem);
    if meta.ulid.to_string() != name {
        damage(&format_args!("meta.json says {}", meta.ulid));
    }
    let mut totals = BlockReport { name: name.to_owned(), bytes: block.file_bytes(), series: 0, chunks: 0, samples: 0 };
    let carried = verify_series(block, &mut totals, &mut damage);
    match (carried, listed(block)) {
        (Ok(carried), Ok(listed)) if carried != listed => damage(&"postings and labels of series differ"),
        (Err(error), _) | (_, Err(error)) => damage(&error),
        _ => {}
    }
    let stats = meta.stats;
    for (what, said, found) in [
        ("series", stats.num_series, totals.series),
        ("chunks", stats.num_chunks, totals.chunks),
        ("samples", stats.num_samples, totals.samples),
    ] {
        if said != found {
            damage(&format_args!("meta.json says {said} {what}, {found} can be read"));
        }
    }
    report.blocks.push(totals);
}

/// A number that two sets of (label, series) share if and only if, but for one chance in 2^64, they are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fingerprint(u64);

impl Fingerprint {
    fn add(&mut self, name: &str, value: &str, series: u32) {
        let hash = FixedState::with_seed(0).hash_one((name, value, series));
        self.0 = self.0.wrapping_add(hash);
    }
}

/// Reads every series and chunk; answers which series carry which labels.
fn verify_series(
    block: &Block,
    totals: &mut BlockReport,
    damage: &mut dyn FnMut(&dyn fmt::Display),
) -> Result<Fingerprint, BlockError> {
    let index = block.index();
    let mut carried = Fingerprint::default();
    let mut entry = SeriesEntry::default();
    let (mut labels, mut previous) = (Vec::new(), Vec::new());
    let all = index.all_postings()?;
    for number in (0..all.len()).filter_map(|at| all.at(at)) {
        index.series(number, &mut entry)?;
        totals.series += 1;
        labels.clear();
        for (name, value) in &entry.labels {
            let pair = (index.symbol(*name)?, index.symbol(*value)?);
            carried.add(pair.0, pair.1, number);
            labels.push(pair);
        }
        if !labels.is_sorted_by(|a, b| a.0 < b.0) {
            damage(&format_args!("label names of series {number} do not rise"));
        }
        if totals.series > 1 && previous >= labels {
            damage(&format_args!("series {number} is out of order"));
        }
        std::mem::swap(&mut previous, &mut labels);
        verify_chunks(block, number, &entry, totals, damage);
    }
    Ok(carried)
}

fn verify_chunks(
    block: &Block,
    series: u32,
    entry: &SeriesEntry,
    totals: &mut BlockReport,
    damage: &mut dyn FnMut(&dyn fmt::Display),
) {
    let meta = block.meta();
    let mut columns = Columns::default();
    for (at, chunk) in entry.chunks.iter().enumerate() {
        columns.clear();
        let said = block.chunk(chunk.reference).and_then(|bytes| {
            block.decode(chunk.reference, TimeRange::ALL, &mut columns)?;
            Ok(chunk::sample_count(bytes.encoding, bytes.bytes).unwrap_or(0))
        });
        match said {
            Err(error) => damage(&format_args!("series {series}: {error}")),
            Ok(said) if said != columns.len() => damage(&format_args!("a chunk of series {series} counts wrong")),
            Ok(_) => {
                totals.chunks += 1;
                totals.samples += columns.len() as u64;
            }
        }
        let times = || columns.times.iter().chain(&columns.histogram_times);
        let bounds = (times().min().copied(), times().max().copied());
        if !columns.is_empty() && bounds != (Some(chunk.min_time), Some(chunk.max_time)) {
            damage(&format_args!("a chunk of series {series} holds other times than the index says"));
        }
        if chunk.min_time < meta.min_time || chunk.max_time >= meta.max_time {
            damage(&format_args!("a chunk of series {series} lies outside of the block's range"));
        }
        if at > 0 && entry.chunks.get(at - 1).is_some_and(|before| before.max_time >= chunk.min_time) {
            damage(&format_args!("chunks of series {series} overlap"));
        }
    }
}

/// Which series the postings list for which labels.
fn listed(block: &Block) -> Result<Fingerprint, BlockError> {
    let mut listed = Fingerprint::default();
    let index = block.index();
    for name in index.label_names() {
        for value in index.label_values(name) {
            let (value, list) = value?;
            let list = list.open()?;
            (0..list.len()).filter_map(|at| list.at(at)).for_each(|series| listed.add(name, value, series));
        }
    }
    Ok(listed)
}

/// The logs of the directory, relative to it.
fn log_names(fs: &dyn Fs, root: &Path) -> Result<Vec<String>, FsError> {
    let mut names = Vec::new();
    for log in ["wal", "wbl"] {
        let dir = root.join(log);
        if !fs.exists(&dir) {
            continue;
        }
        let entries = fs.list(&dir).context("list", &dir)?;
        let checkpoints: BTreeSet<&String> = entries
            .iter()
            .filter(|entry| entry.is_dir && entry.name.starts_with("checkpoint.") && !entry.name.ends_with(".tmp"))
            .map(|entry| &entry.name)
            .collect();
        names.extend(checkpoints.last().map(|name| format!("{log}/{name}")));
        names.push(log.to_owned());
    }
    Ok(names)
}

fn verify_log(fs: &dyn Fs, root: &Path, name: &str, report: &mut Report) -> Result<(), FsError> {
    let mut reader = WalReader::open(fs, &root.join(name), 0)?;
    let (mut records, mut unknown) = (0, 0u64);
    loop {
        match reader.next(fs) {
            Ok(Some(record)) => {
                records += 1;
                unknown += u64::from(RecordType::of(record).is_none());
            }
            Ok(None) => break,
            Err(ReadError::Fs(error)) => return Err(error),
            Err(ReadError::Corrupt(damage)) => {
                let path = damage.path.clone();
                report.note(Severity::Damage, &path, damage);
                break;
            }
        }
    }
    if unknown > 0 {
        report.note(Severity::Note, &root.join(name), format_args!("{unknown} records of unknown kinds"));
    }
    report.logs.push(LogReport { name: name.to_owned(), records, bytes: reader.bytes_read() });
    Ok(())
}
