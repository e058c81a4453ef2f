//! `prometheus_tsdb_*`: how the storage stands. The names are upstream's wherever it has one.

use std::sync::Weak;

use ferula_exposition::registry::Collect;
use ferula_exposition::{Bucket, HistogramValue, MetricFamily, MetricValue, SummaryValue};
use ferula_model::{Labels, MetricType};
use ferula_tsdb::{Db, DbStats, Distribution, LogStats, UnknownItems};

/// Asks the storage when metrics are gathered.
#[derive(Debug)]
pub(super) struct StorageMetrics(pub(super) Weak<Db>);

impl Collect for StorageMetrics {
    fn collect(&self, out: &mut Vec<MetricFamily>) {
        let Some(db) = self.0.upgrade() else { return };
        gather(&db.stats(), out);
    }
}

fn gather(stats: &DbStats, out: &mut Vec<MetricFamily>) {
    let family =
        |name: &str, help: &str, metric_type| MetricFamily::new(&format!("prometheus_tsdb_{name}"), help, metric_type);
    for (name, help, metric_type, read) in [HEAD, HEAD_CHUNKS, LOG, BLOCKS, EXEMPLARS].into_iter().flatten() {
        let mut family = family(name, help, *metric_type);
        family.push_number(Labels::empty(), read(stats));
        out.push(family);
    }
    for (name, help, metric_type, read) in EACH_LOG {
        for (prefix, log) in [("wal", &stats.head.wal), ("out_of_order_wbl", &stats.head.wbl)] {
            let mut family = family(&format!("{prefix}_{name}"), help, *metric_type);
            family.push_number(Labels::empty(), read(log));
            out.push(family);
        }
    }
    for (name, help, read) in BY_TYPE {
        let mut family = family(name, help, MetricType::Counter);
        for (sample_type, value) in read(stats) {
            family.push_number(Labels::from_pairs([("type", sample_type)]), value);
        }
        out.push(family);
    }
    for (name, help, read) in DURATIONS {
        let mut family = family(name, help, MetricType::Summary);
        let (count, millis) = read(stats);
        let value =
            SummaryValue { count: Some(count as f64), sum: Some(millis as f64 / 1000.0), ..SummaryValue::default() };
        family.push(Labels::empty(), MetricValue::Summary(value));
        out.push(family);
    }
    for (name, help, read) in DISTRIBUTIONS {
        let mut family = family(name, help, MetricType::Histogram);
        family.push(Labels::empty(), MetricValue::Histogram(Box::new(histogram(read(stats)))));
        out.push(family);
    }
}

fn histogram(seen: &Distribution) -> HistogramValue {
    let bucket =
        |(bound, count): (f64, u64)| Bucket { upper_bound: bound, cumulative_count: count as f64, exemplar: None };
    HistogramValue {
        count: Some(seen.count() as f64),
        sum: Some(seen.sum()),
        buckets: seen.buckets().map(bucket).collect(),
        ..HistogramValue::default()
    }
}

const COUNTER: MetricType = MetricType::Counter;
const GAUGE: MetricType = MetricType::Gauge;

type Plain<T> = (&'static str, &'static str, MetricType, fn(&T) -> f64);
type ByType = (&'static str, &'static str, fn(&DbStats) -> Vec<(&'static str, f64)>);
/// How often, and how many milliseconds in all.
type Durations = (&'static str, &'static str, fn(&DbStats) -> (u64, u64));
type Distributions = (&'static str, &'static str, fn(&DbStats) -> &Distribution);

/// Name behind `prometheus_tsdb_`, help, type, value.
const HEAD: &[Plain<DbStats>] = &[
    ("head_series", "Series in the head.", GAUGE, |s| s.head.series as f64),
    ("head_stale_series", "Series in the head whose newest sample is a stale marker.", GAUGE, |s| {
        s.head.stale_series as f64
    }),
    ("head_native_histogram_series", "Series in the head whose newest sample is a native histogram.", GAUGE, |s| {
        s.head.histogram_series as f64
    }),
    ("head_native_histogram_buckets", "Buckets of the newest native histograms in the head.", GAUGE, |s| {
        s.head.histogram_buckets as f64
    }),
    ("head_series_created_total", "Series that were created in the head.", COUNTER, |s| s.head.series_created as f64),
    ("head_series_removed_total", "Series that left the head.", COUNTER, |s| s.head.series_removed as f64),
    ("head_series_refused_total", "Series that were refused because a limit was reached.", COUNTER, |s| {
        s.head.series_refused as f64
    }),
    ("head_series_not_found_total", "Reads of series that were gone.", COUNTER, |s| s.head.series_not_found as f64),
    ("head_min_time", "Oldest time of the head, in milliseconds.", GAUGE, |s| bound(s.head.min_time, i64::MAX)),
    ("head_max_time", "Newest time of the head, in milliseconds.", GAUGE, |s| bound(s.head.max_time, i64::MIN)),
    ("head_min_time_seconds", "Oldest time of the head.", GAUGE, |s| bound(s.head.min_time, i64::MAX) / 1000.0),
    ("head_max_time_seconds", "Newest time of the head.", GAUGE, |s| bound(s.head.max_time, i64::MIN) / 1000.0),
    ("head_active_appenders", "Batches that are open.", GAUGE, |s| s.head.appenders as f64),
    ("head_appenders_created_total", "Batches that were begun.", COUNTER, |s| s.head.appenders_created as f64),
    ("head_samples_lost_total", "Samples that lost a race against another batch.", COUNTER, |s| {
        s.head.samples_lost as f64
    }),
    ("duplicate_samples_total", "Samples refused because another value is stored for their time.", COUNTER, |s| {
        s.head.duplicates as f64
    }),
    ("head_truncations_total", "Times that a range left the head, failures included.", COUNTER, |s| {
        (s.head.truncations + s.maintenance.truncations_failed) as f64
    }),
    ("head_truncations_failed_total", "Times that a range could not leave the head.", COUNTER, |s| {
        s.maintenance.truncations_failed as f64
    }),
    ("isolation_low_watermark", "The oldest commit that a reader sees.", GAUGE, |s| s.head.view_oldest as f64),
    ("isolation_high_watermark", "The newest commit.", GAUGE, |s| s.head.view_newest as f64),
];

/// As [`HEAD`].
const HEAD_CHUNKS: &[Plain<DbStats>] = &[
    ("head_chunks", "Chunks in the head.", GAUGE, |s| s.head.chunks as f64),
    ("head_chunks_created_total", "Chunks of the head that became full.", COUNTER, |s| s.head.chunks_created as f64),
    ("head_chunks_removed_total", "Chunks that left the head.", COUNTER, |s| s.head.chunks_removed as f64),
    ("head_chunks_storage_size_bytes", "Bytes of the head chunk files.", GAUGE, |s| s.head.chunk_file_bytes as f64),
    ("mmap_chunks_total", "Chunks that were written to head chunk files.", COUNTER, |s| s.head.chunks_created as f64),
    ("mmap_chunk_corruptions_total", "Damaged head chunk files and chunks.", COUNTER, |s| s.head.chunks_damaged as f64),
    ("mmap_chunk_write_failures_total", "Chunks that could not be written to a file at once.", COUNTER, |s| {
        s.head.chunk_write_failures as f64
    }),
];

/// The log and what comes of it. As [`HEAD`].
const LOG: &[Plain<DbStats>] = &[
    ("wal_writes_failed_total", "Batches that could not be logged.", COUNTER, |s| s.head.wal_failures as f64),
    (
        "wal_corruptions_total",
        "Places where a log was damaged, and cut, or a part of it missing, at the start.",
        COUNTER,
        |s| s.head.replay_damage as f64,
    ),
    ("wal_truncations_total", "Times that the log was trimmed, failures included.", COUNTER, |s| s.head.trims as f64),
    ("wal_truncations_failed_total", "Times that the log could not be trimmed.", COUNTER, |s| {
        s.head.trims_failed as f64
    }),
    ("checkpoint_creations_total", "Checkpoints that were begun.", COUNTER, |s| {
        (s.head.checkpoints + s.head.checkpoints_failed) as f64
    }),
    ("checkpoint_creations_failed_total", "Checkpoints that could not be written.", COUNTER, |s| {
        s.head.checkpoints_failed as f64
    }),
    ("checkpoint_deletions_total", "Times that old checkpoints and segments went, failures included.", COUNTER, |s| {
        (s.head.checkpoints_removed + s.head.checkpoint_removals_failed) as f64
    }),
    ("checkpoint_deletions_failed_total", "Times that old checkpoints or segments could not go.", COUNTER, |s| {
        s.head.checkpoint_removals_failed as f64
    }),
    ("snapshot_replay_error_total", "Head snapshots that could not be used.", COUNTER, |s| {
        s.head.snapshot_failures as f64
    }),
    ("data_replay_duration_seconds", "How long the last start took to read the logs.", GAUGE, |s| {
        s.head.replay_millis as f64 / 1000.0
    }),
];

/// For the log and for that of late samples: name behind their prefix, help, type, value.
const EACH_LOG: &[Plain<LogStats>] = &[
    ("completed_pages_total", "Pages of the log that were filled.", COUNTER, |log| log.pages as f64),
    ("page_flushes_total", "Writes to the log.", COUNTER, |log| log.flushes as f64),
    ("segment_current", "The segment of the log that is being written.", GAUGE, |log| log.segment as f64),
    ("storage_size_bytes", "Bytes of the files of the log.", GAUGE, |log| log.storage_bytes as f64),
    ("record_part_writes_total", "Fragments of records written to the log.", COUNTER, |log| log.parts as f64),
    ("record_parts_bytes_written_total", "Bytes written to the log, with framing.", COUNTER, |log| {
        log.written_bytes as f64
    }),
    ("record_bytes_saved_total", "Bytes of records that compression saved.", COUNTER, |log| log.saved_bytes as f64),
];

/// As [`HEAD`].
const BLOCKS: &[Plain<DbStats>] = &[
    ("blocks_loaded", "Blocks that serve.", GAUGE, |s| s.blocks.blocks as f64),
    ("blocks_quarantined_total", "Blocks that were put aside because they are damaged.", COUNTER, |s| {
        s.blocks.quarantined as f64
    }),
    ("storage_blocks_bytes", "Bytes of the files of all blocks.", GAUGE, |s| s.blocks.bytes as f64),
    ("symbol_table_size_bytes", "Bytes in memory for the tables of all blocks.", GAUGE, |s| s.blocks.heap_bytes as f64),
    ("lowest_timestamp", "Oldest time of all data, in milliseconds.", GAUGE, lowest),
    ("lowest_timestamp_seconds", "Oldest time of all data.", GAUGE, |s| lowest(s) / 1000.0),
    ("reloads_total", "Times that the list of blocks changed.", COUNTER, |s| s.blocks.reloads as f64),
    ("reloads_failures_total", "Blocks that could not be taken into the list.", COUNTER, |s| {
        s.blocks.quarantined as f64
    }),
    ("compactions_triggered_total", "Rounds of maintenance.", COUNTER, |s| s.maintenance.ticks as f64),
    ("compactions_skipped_total", "Rounds in which the head waited for queries.", COUNTER, |s| {
        s.maintenance.waits as f64
    }),
    ("compaction_populating_block", "1 while a block is being written.", GAUGE, |s| {
        f64::from(u8::from(s.blocks.is_writing))
    }),
    ("maintenance_failed_total", "Rounds of maintenance in which something went wrong.", COUNTER, |s| {
        s.maintenance.ticks_failed as f64
    }),
    ("compactions_total", "Blocks that were written from the head or from others.", COUNTER, |s| {
        (s.blocks.compactions + s.maintenance.head_blocks) as f64
    }),
    ("compactions_failed_total", "Blocks that could not be written.", COUNTER, |s| {
        (s.blocks.compactions_failed + s.maintenance.head_blocks_failed) as f64
    }),
    ("vertical_compactions_total", "Merges of blocks that overlapped.", COUNTER, |s| {
        s.blocks.vertical_compactions as f64
    }),
    ("head_blocks_total", "Blocks that were written from the head.", COUNTER, |s| s.maintenance.head_blocks as f64),
    ("head_blocks_failed_total", "Blocks of the head that could not be written.", COUNTER, |s| {
        s.maintenance.head_blocks_failed as f64
    }),
    ("time_retentions_total", "Blocks that went because they were too old.", COUNTER, |s| {
        s.blocks.time_retentions as f64
    }),
    ("size_retentions_total", "Blocks that went because there was too much.", COUNTER, |s| {
        s.blocks.size_retentions as f64
    }),
    ("retention_limit_seconds", "How long data is kept; 0: for ever.", GAUGE, |s| {
        s.retention.time.map_or(0.0, |time| time.as_secs_f64())
    }),
    ("retention_limit_bytes", "How many bytes are kept; 0: any number.", GAUGE, |s| {
        s.retention.bytes_max.unwrap_or(0) as f64
    }),
    ("retention_limit_percentage", "How much of the disk is kept, in percent; 0: all of it.", GAUGE, |s| {
        s.retention.disk_percent_max.unwrap_or(0.0)
    }),
];

/// As [`HEAD`].
const EXEMPLARS: &[Plain<DbStats>] = &[
    ("exemplar_exemplars_appended_total", "Exemplars that were taken.", COUNTER, |s| s.head.exemplars_appended as f64),
    ("exemplar_exemplars_in_storage", "Exemplars that are kept.", GAUGE, |s| s.head.exemplars as f64),
    ("exemplar_series_with_exemplars_in_storage", "Series with exemplars.", GAUGE, |s| s.head.exemplar_series as f64),
    ("exemplar_max_exemplars", "How many exemplars can be kept.", GAUGE, |s| s.head.exemplars_limit as f64),
    ("exemplar_last_exemplars_timestamp_seconds", "Time of the oldest exemplar.", GAUGE, |s| {
        s.head.exemplar_oldest.unwrap_or_default() as f64 / 1000.0
    }),
    ("exemplar_out_of_order_exemplars_total", "Exemplars that were refused as out of order.", COUNTER, |s| {
        s.head.exemplars_out_of_order as f64
    }),
];

/// Name behind `prometheus_tsdb_`, help, value by the label `type`.
const BY_TYPE: &[ByType] = &[
    ("head_samples_appended_total", "Samples that were appended in order.", |s| {
        vec![("float", s.head.floats_appended as f64), ("histogram", s.head.histograms_appended as f64)]
    }),
    ("head_out_of_order_samples_appended_total", "Samples that were appended late.", |s| {
        vec![("float", s.head.late_appended as f64)]
    }),
    ("out_of_order_samples_total", "Samples refused as out of order.", |s| vec![("float", s.head.out_of_order as f64)]),
    ("out_of_bound_samples_total", "Samples refused as older than the head takes.", |s| {
        vec![("float", s.head.out_of_bounds as f64)]
    }),
    ("too_old_samples_total", "Samples refused as older than the out-of-order window.", |s| {
        vec![("float", s.head.too_old as f64)]
    }),
    ("wal_replay_unknown_refs_total", "Items in the log whose series no record had introduced.", |s| {
        unknown(&s.head.replay_unknown)
    }),
    ("wbl_replay_unknown_refs_total", "Items in the log of late samples whose series is not known.", |s| {
        unknown(&s.head.replay_unknown_late)
    }),
];

/// Name behind `prometheus_tsdb_`, help, how often and how long.
const DURATIONS: &[Durations] = &[
    ("head_gc_duration_seconds", "How long the head took to forget series and chunks.", |s| {
        (s.head.collections, s.head.collection_millis)
    }),
    ("wal_truncate_duration_seconds", "How long trimming the log took.", |s| (s.head.trims, s.head.trim_millis)),
    ("wal_fsync_duration_seconds", "How long it took to make the logs durable.", |s| {
        (s.head.syncs, s.head.sync_millis)
    }),
];

/// Name behind `prometheus_tsdb_`, help, what was observed.
const DISTRIBUTIONS: &[Distributions] = &[
    ("sample_ooo_delta", "Seconds by which late samples are older than the newest one; refused ones too.", |s| {
        &s.head.lateness
    }),
    ("compaction_duration_seconds", "How long writing a block took.", |s| &s.maintenance.compaction_seconds),
    ("compaction_chunk_size_bytes", "Bytes of chunks when they leave the head.", |s| &s.head.chunks_cut.bytes),
    ("compaction_chunk_samples", "Samples of chunks when they leave the head.", |s| &s.head.chunks_cut.samples),
    // Milliseconds under this name, as upstream has it.
    ("compaction_chunk_range_seconds", "Milliseconds from first to last sample of chunks that leave the head.", |s| {
        &s.head.chunks_cut.range_millis
    }),
    ("tombstone_cleanup_seconds", "How long rewriting blocks with deletions took.", |s| {
        &s.maintenance.cleaning_seconds
    }),
];

fn unknown(items: &UnknownItems) -> Vec<(&'static str, f64)> {
    let by_type = [
        ("samples", items.samples),
        ("histograms", items.histograms),
        ("exemplars", items.exemplars),
        ("metadata", items.metadata),
        ("tombstones", items.tombstones),
    ];
    by_type.into_iter().map(|(kind, count)| (kind, count as f64)).collect()
}

/// A bound of the head; upstream shows the extremes for a head without samples.
fn bound(at: Option<i64>, none: i64) -> f64 {
    at.unwrap_or(none) as f64
}

fn lowest(stats: &DbStats) -> f64 {
    let lowest = [stats.blocks.oldest_time, stats.head.min_time].into_iter().flatten().min();
    bound(lowest, i64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ferula_model::{Appendable, Timestamp};

    fn value<'a>(families: &'a [MetricFamily], name: &str) -> &'a MetricValue {
        let found: Vec<_> = families.iter().filter(|family| &*family.name == name).collect();
        assert_eq!(found.len(), 1, "{name}");
        &found[0].metrics[0].value
    }

    #[test]
    fn a_block_from_the_head_is_seen_in_the_metrics() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::builder(folder.path()).open().unwrap();
        for minute in 0..300 {
            let mut appender = db.appender();
            let up = appender.series(&[("__name__", "up")]).unwrap();
            appender.append_float(up, Timestamp(minute * 60_000), 1.0).unwrap();
            appender.commit().unwrap();
        }
        assert_eq!(db.tick(Timestamp(300 * 60_000)).blocks.len(), 1);
        let mut families = Vec::new();
        gather(&db.stats(), &mut families);
        for (name, wanted) in [
            ("head_series", 1.0),
            ("blocks_loaded", 1.0),
            ("compactions_total", 1.0),
            ("head_truncations_total", 1.0),
            ("wal_truncations_total", 1.0),
            ("wal_page_flushes_total", 300.0),
            ("isolation_high_watermark", 300.0),
            ("retention_limit_seconds", 15.0 * 86_400.0),
        ] {
            let (MetricValue::Counter { value, .. } | MetricValue::Gauge(value)) =
                value(&families, &format!("prometheus_tsdb_{name}"))
            else {
                unreachable!("{name} is a number")
            };
            assert_eq!(*value, wanted, "{name}");
        }
        let MetricValue::Histogram(samples) = value(&families, "prometheus_tsdb_compaction_chunk_samples") else {
            unreachable!("a histogram")
        };
        // Two hours at a sample a minute.
        assert_eq!(samples.sum, Some(120.0));
        let MetricValue::Summary(collections) = value(&families, "prometheus_tsdb_head_gc_duration_seconds") else {
            unreachable!("a summary")
        };
        assert_eq!(collections.count, Some(1.0));
    }
}
