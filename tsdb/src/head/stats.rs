//! What the head counts about itself.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ferula_model::AppendError;
use parking_lot::Mutex;

use super::Head;
use super::append::Applied;
use super::replay::{ReplayReport, UnknownItems};
use super::tally::Gauges;
use crate::distribution::{ChunkStats, Distribution, LATE_SECONDS};
use crate::wal::writer::WalWriter;

/// Counters of the head since it was opened.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(super) series: AtomicU64,
    pub(super) series_created: AtomicU64,
    pub(super) series_removed: AtomicU64,
    pub(super) series_refused: AtomicU64,
    pub(super) floats: AtomicU64,
    pub(super) histograms: AtomicU64,
    pub(super) late: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) out_of_order: AtomicU64,
    pub(super) out_of_bounds: AtomicU64,
    pub(super) too_old: AtomicU64,
    pub(super) duplicates: AtomicU64,
    pub(super) exemplars: AtomicU64,
    pub(super) exemplars_out_of_order: AtomicU64,
    pub(super) chunks_created: AtomicU64,
    pub(super) chunks_removed: AtomicU64,
    pub(super) chunks_damaged: AtomicU64,
    /// What the series count for now.
    pub(super) gauges: Gauges,
    pub(super) snapshot_failures: AtomicU64,
    pub(super) wal_failures: AtomicU64,
    pub(super) truncations: AtomicU64,
    pub(super) collections: AtomicU64,
    pub(super) checkpoints: AtomicU64,
    pub(super) checkpoints_failed: AtomicU64,
    pub(super) checkpoints_removed: AtomicU64,
    pub(super) checkpoint_removals_failed: AtomicU64,
    pub(super) collection_millis: AtomicU64,
    pub(super) trims: AtomicU64,
    pub(super) trims_failed: AtomicU64,
    pub(super) trim_millis: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) sync_millis: AtomicU64,
    replay_millis: AtomicU64,
    replay_unknown: Mutex<[UnknownItems; 2]>,
    pub(super) series_not_found: AtomicU64,
    replay_damage: AtomicU64,
    /// Of the blocks that were written from the head.
    pub(super) chunks_cut: Mutex<ChunkStats>,
    /// Nothing before the first late sample.
    pub(super) lateness: Mutex<Option<Distribution>>,
    memory: AtomicU64,
    memory_full: AtomicBool,
}

impl Counters {
    pub(super) fn refused(&self, error: &AppendError) {
        let counter = match error {
            AppendError::OutOfOrder => &self.out_of_order,
            AppendError::OutOfBounds => &self.out_of_bounds,
            AppendError::TooOld => &self.too_old,
            _ => &self.duplicates,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn applied(&self, applied: &Applied) {
        let pairs = [
            (&self.floats, applied.floats),
            (&self.histograms, applied.histograms),
            (&self.late, applied.late),
            (&self.lost, applied.dropped as u64),
        ];
        for (counter, count) in pairs {
            if count > 0 {
                counter.fetch_add(count, Ordering::Relaxed);
            }
        }
        self.gauges.add(applied.tally);
    }

    pub(super) fn note_replay(&self, millis: u64, report: &ReplayReport) {
        self.replay_millis.store(millis, Ordering::Relaxed);
        *self.replay_unknown.lock() = [report.unknown, report.unknown_late];
        self.replay_damage.store((report.damage.len() + report.missing.len()) as u64, Ordering::Relaxed);
        self.chunks_damaged.fetch_add(report.damaged_chunk_files, Ordering::Relaxed);
    }

    pub(super) fn note_memory(&self, bytes: u64, limit: u64) {
        self.memory.store(bytes, Ordering::Relaxed);
        self.memory_full.store(bytes >= limit, Ordering::Relaxed);
    }

    pub(super) fn is_memory_full(&self) -> bool {
        self.memory_full.load(Ordering::Relaxed)
    }
}

/// What the head counted since it was opened, and how it stands.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct HeadStats {
    /// Series in memory.
    pub series: u64,
    /// Batches that are open.
    pub appenders: u64,
    /// Batches that were begun.
    pub appenders_created: u64,
    /// Series that were created.
    pub series_created: u64,
    /// Series that were removed.
    pub series_removed: u64,
    /// Series that were refused because a limit was reached.
    pub series_refused: u64,
    /// Float samples that were appended in order.
    pub floats_appended: u64,
    /// Histogram samples that were appended in order.
    pub histograms_appended: u64,
    /// Samples that were appended late.
    pub late_appended: u64,
    /// Samples that lost a race against another batch.
    pub samples_lost: u64,
    /// Samples refused as out of order.
    pub out_of_order: u64,
    /// Samples refused as out of bounds.
    pub out_of_bounds: u64,
    /// Samples refused as older than the late window.
    pub too_old: u64,
    /// Samples refused because another value is stored for their time.
    pub duplicates: u64,
    /// Exemplars appended.
    pub exemplars_appended: u64,
    /// Exemplars refused as out of order.
    pub exemplars_out_of_order: u64,
    /// Exemplars in the ring.
    pub exemplars: u64,
    /// Exemplars that the ring can hold.
    pub exemplars_limit: u64,
    /// Series with exemplars in the ring.
    pub exemplar_series: u64,
    /// Time of the oldest exemplar, in milliseconds.
    pub exemplar_oldest: Option<i64>,
    /// Chunks, open ones included.
    pub chunks: u64,
    /// Full chunks that were stored.
    pub chunks_created: u64,
    /// Full chunks that were removed.
    pub chunks_removed: u64,
    /// Oldest time of the samples in order, in milliseconds.
    pub min_time: Option<i64>,
    /// Newest time of the samples in order, in milliseconds.
    pub max_time: Option<i64>,
    /// Bytes of the logs and the head chunk files.
    pub disk_bytes: u64,
    /// Batches that could not be logged.
    pub wal_failures: u64,
    /// Times that old data left the head.
    pub truncations: u64,
    /// Garbage collections of series.
    pub collections: u64,
    /// Checkpoints written.
    pub checkpoints: u64,
    /// Checkpoints that could not be written.
    pub checkpoints_failed: u64,
    /// Chunks that could not be written to the head chunk files at once.
    pub chunk_write_failures: u64,
    /// The log.
    pub wal: LogStats,
    /// The log of late samples.
    pub wbl: LogStats,
    /// Times that the logs were made durable because the host wants it, and how many milliseconds that took.
    pub syncs: u64,
    /// See `syncs`.
    pub sync_millis: u64,
    /// Times that the log was trimmed, failures included.
    pub trims: u64,
    /// Times that it could not be.
    pub trims_failed: u64,
    /// Milliseconds of all trims.
    pub trim_millis: u64,
    /// Milliseconds of all garbage collections.
    pub collection_millis: u64,
    /// Checkpoints and segments that were removed.
    pub checkpoints_removed: u64,
    /// Times that they could not be.
    pub checkpoint_removals_failed: u64,
    /// Chunks and head chunk files that were damaged.
    pub chunks_damaged: u64,
    /// Bytes of the head chunk files.
    pub chunk_file_bytes: u64,
    /// Head snapshots that could not be used.
    pub snapshot_failures: u64,
    /// Milliseconds that opening took to replay the logs.
    pub replay_millis: u64,
    /// Items in the log of series that no record had introduced.
    pub replay_unknown: UnknownItems,
    /// The same for the log of late samples.
    pub replay_unknown_late: UnknownItems,
    /// Reads of series that were gone.
    pub series_not_found: u64,
    /// Places where a log was damaged, or a part of it missing, when it was opened.
    pub replay_damage: u64,
    /// Series whose newest sample in order is a stale marker.
    pub stale_series: u64,
    /// Series whose newest sample in order is a histogram.
    pub histogram_series: u64,
    /// Filled and empty buckets of the newest histogram of each of them.
    pub histogram_buckets: u64,
    /// The oldest commit that a reader sees, and the newest commit.
    pub view_oldest: u64,
    /// See `view_oldest`.
    pub view_newest: u64,
    /// By how many seconds late samples are older than the newest of the database; refused ones too.
    pub lateness: Distribution,
    /// The chunks of the blocks that were written from the head.
    pub chunks_cut: ChunkStats,
    /// Symbols in the symbol table.
    pub symbols: u64,
    /// Label pairs.
    pub label_pairs: u64,
}

/// How a log stands, and what was written to it since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogStats {
    /// The current segment.
    pub segment: u64,
    /// Bytes of its files.
    pub storage_bytes: u64,
    /// Pages that were filled.
    pub pages: u64,
    /// Writes.
    pub flushes: u64,
    /// Fragments of records that were written.
    pub parts: u64,
    /// Bytes that were written, with framing and padding.
    pub written_bytes: u64,
    /// Bytes of records that compression saved.
    pub saved_bytes: u64,
}

impl LogStats {
    fn of(writer: Option<&WalWriter>) -> Self {
        writer.map_or_else(Self::default, |wal| Self {
            segment: wal.segment(),
            storage_bytes: 0,
            pages: wal.pages,
            flushes: wal.flushes,
            parts: wal.parts,
            written_bytes: wal.bytes_written,
            saved_bytes: wal.bytes_logged.saturating_sub(wal.bytes_packed),
        })
    }
}

/// Which labels and metrics have the most series: the tables of `status/tsdb`, each sorted by falling count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cardinality {
    /// Series.
    pub series: u64,
    /// Label pairs.
    pub label_pairs: u64,
    /// Chunks.
    pub chunks: u64,
    /// Oldest time, in milliseconds.
    pub min_time: Option<i64>,
    /// Newest time, in milliseconds.
    pub max_time: Option<i64>,
    /// Series by metric name.
    pub series_by_metric: Vec<(String, u64)>,
    /// Values by label name.
    pub values_by_label: Vec<(String, u64)>,
    /// Bytes of names and values by label name.
    pub bytes_by_label: Vec<(String, u64)>,
    /// Series by label pair, as `name=value`.
    pub series_by_pair: Vec<(String, u64)>,
}

impl Head {
    /// How the head stands.
    pub(crate) fn stats(&self) -> HeadStats {
        let c = &self.counters;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let bounds = self.bounds();
        let (mut wal, mut wbl) = {
            let commit = self.commit.lock();
            (LogStats::of(commit.wal.as_ref()), LogStats::of(commit.wbl.as_ref()))
        };
        for (stats, late) in [(&mut wal, false), (&mut wbl, true)] {
            let files = self.fs.list(&self.log_dir(late)).unwrap_or_default();
            stats.storage_bytes = files.iter().map(|entry| entry.bytes).sum();
        }
        let [replay_unknown, replay_unknown_late] = *c.replay_unknown.lock();
        let held = c.gauges.read();
        let gauge = |held: i64| u64::try_from(held).unwrap_or(0);
        let chunk_file_bytes = self.chunks.disk_bytes();
        let (symbols, label_pairs) = {
            let index = self.index.read();
            (index.symbols.len() as u64, index.pair_count() as u64)
        };
        let ring = self.exemplars.read();
        let (appenders, appenders_created) = {
            let appenders = self.appenders.lock();
            (appenders.open() as u64, appenders.created)
        };
        HeadStats {
            series: load(&c.series),
            appenders,
            appenders_created,
            series_created: load(&c.series_created),
            series_removed: load(&c.series_removed),
            series_refused: load(&c.series_refused),
            floats_appended: load(&c.floats),
            histograms_appended: load(&c.histograms),
            late_appended: load(&c.late),
            samples_lost: load(&c.lost),
            out_of_order: load(&c.out_of_order),
            out_of_bounds: load(&c.out_of_bounds),
            too_old: load(&c.too_old),
            duplicates: load(&c.duplicates),
            exemplars_appended: load(&c.exemplars),
            exemplars_out_of_order: load(&c.exemplars_out_of_order),
            exemplars: ring.len() as u64,
            exemplars_limit: ring.limit() as u64,
            exemplar_series: ring.series() as u64,
            exemplar_oldest: ring.oldest(),
            chunks: gauge(held.open + held.mapped),
            chunks_created: load(&c.chunks_created),
            chunks_removed: load(&c.chunks_removed),
            min_time: bounds.map(|bounds| bounds.0),
            max_time: bounds.map(|bounds| bounds.1),
            disk_bytes: wal.storage_bytes + wbl.storage_bytes + chunk_file_bytes,
            wal_failures: load(&c.wal_failures),
            truncations: load(&c.truncations),
            collections: load(&c.collections),
            checkpoints: load(&c.checkpoints),
            checkpoints_failed: load(&c.checkpoints_failed),
            chunk_write_failures: load(&self.chunks.write_errors),
            wal,
            wbl,
            syncs: load(&c.syncs),
            sync_millis: load(&c.sync_millis),
            trims: load(&c.trims),
            trims_failed: load(&c.trims_failed),
            trim_millis: load(&c.trim_millis),
            collection_millis: load(&c.collection_millis),
            checkpoints_removed: load(&c.checkpoints_removed),
            checkpoint_removals_failed: load(&c.checkpoint_removals_failed),
            chunks_damaged: load(&c.chunks_damaged),
            chunk_file_bytes,
            snapshot_failures: load(&c.snapshot_failures),
            replay_millis: load(&c.replay_millis),
            replay_unknown,
            replay_unknown_late,
            series_not_found: load(&c.series_not_found),
            replay_damage: load(&c.replay_damage),
            stale_series: gauge(held.stale),
            histogram_series: gauge(held.histograms),
            histogram_buckets: gauge(held.buckets),
            view_oldest: self.readers.oldest_view().unwrap_or_else(|| self.readers.newest_commit()),
            view_newest: self.readers.newest_commit(),
            lateness: c.lateness.lock().clone().unwrap_or_else(|| Distribution::new(LATE_SECONDS)),
            chunks_cut: c.chunks_cut.lock().clone(),
            symbols,
            label_pairs,
        }
    }

    /// The largest `limit` entries of each table.
    pub(crate) fn cardinality(&self, limit: usize) -> Cardinality {
        let held = self.counters.gauges.read();
        let index = self.index.read();
        let (mut metrics, mut values, mut bytes, mut pairs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (name, entry) in index.names() {
            values.push((name.to_owned(), entry.values.len() as u64));
            let mut total = 0;
            for (&value, list) in &entry.values {
                let text = index.symbols.text(value);
                total += (text.len() * list.len()) as u64;
                if name == ferula_model::METRIC_NAME {
                    metrics.push((text.to_owned(), list.len() as u64));
                }
                pairs.push((name, text, list.len() as u64));
            }
            bytes.push((name.to_owned(), total));
        }
        pairs.sort_unstable_by(|a, b| b.2.cmp(&a.2).then_with(|| (a.0, a.1).cmp(&(b.0, b.1))));
        pairs.truncate(limit);
        let bounds = self.bounds();
        Cardinality {
            series: self.counters.series.load(Ordering::Relaxed),
            label_pairs: index.pair_count() as u64,
            chunks: u64::try_from(held.open + held.mapped).unwrap_or(0),
            min_time: bounds.map(|bounds| bounds.0),
            max_time: bounds.map(|bounds| bounds.1),
            series_by_metric: largest(metrics, limit),
            values_by_label: largest(values, limit),
            bytes_by_label: largest(bytes, limit),
            series_by_pair: pairs.into_iter().map(|(name, value, count)| (format!("{name}={value}"), count)).collect(),
        }
    }
}

fn largest(mut list: Vec<(String, u64)>, limit: usize) -> Vec<(String, u64)> {
    list.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    list.truncate(limit);
    list
}
