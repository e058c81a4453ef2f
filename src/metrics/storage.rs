//! `prometheus_tsdb_*`: how the storage stands.

use std::sync::Weak;

use ferula_exposition::MetricFamily;
use ferula_exposition::registry::Collect;
use ferula_model::{Labels, MetricType};
use ferula_tsdb::{Db, DbStats};

/// Asks the storage when metrics are gathered.
#[derive(Debug)]
pub(super) struct StorageMetrics(pub(super) Weak<Db>);

impl Collect for StorageMetrics {
    fn collect(&self, out: &mut Vec<MetricFamily>) {
        let Some(db) = self.0.upgrade() else { return };
        let stats = db.stats();
        for (name, help, metric_type, read) in PLAIN {
            let mut family = MetricFamily::new(&format!("prometheus_tsdb_{name}"), help, *metric_type);
            family.push_number(Labels::empty(), read(&stats));
            out.push(family);
        }
        for (name, help, read) in BY_TYPE {
            let mut family = MetricFamily::new(&format!("prometheus_tsdb_{name}"), help, MetricType::Counter);
            for (sample_type, value) in read(&stats) {
                family.push_number(Labels::from_pairs([("type", sample_type)]), value);
            }
            out.push(family);
        }
    }
}

const COUNTER: MetricType = MetricType::Counter;
const GAUGE: MetricType = MetricType::Gauge;

type Plain = (&'static str, &'static str, MetricType, fn(&DbStats) -> f64);
type ByType = (&'static str, &'static str, fn(&DbStats) -> Vec<(&'static str, f64)>);

/// Name behind `prometheus_tsdb_`, help, type, value.
const PLAIN: &[Plain] = &[
    ("head_series", "Total number of series in the head block.", GAUGE, |s| s.head.series as f64),
    ("head_series_created_total", "Total number of series created in the head", COUNTER, |s| {
        s.head.series_created as f64
    }),
    ("head_series_removed_total", "Total number of series removed in the head", COUNTER, |s| {
        s.head.series_removed as f64
    }),
    ("head_series_refused_total", "Series that were refused because a limit was reached.", COUNTER, |s| {
        s.head.series_refused as f64
    }),
    ("head_chunks", "Total number of chunks in the head block.", GAUGE, |s| s.head.chunks as f64),
    ("head_chunks_created_total", "Total number of chunks created in the head", COUNTER, |s| {
        s.head.chunks_created as f64
    }),
    ("head_chunks_removed_total", "Total number of chunks removed in the head", COUNTER, |s| {
        s.head.chunks_removed as f64
    }),
    ("head_min_time", "Minimum time bound of the head block in milliseconds.", GAUGE, |s| {
        bound(s.head.min_time, i64::MAX)
    }),
    ("head_max_time", "Maximum timestamp of the head block in milliseconds.", GAUGE, |s| {
        bound(s.head.max_time, i64::MIN)
    }),
    ("head_min_time_seconds", "Minimum time bound of the head block in seconds.", GAUGE, |s| {
        bound(s.head.min_time, i64::MAX) / 1000.0
    }),
    ("head_max_time_seconds", "Maximum timestamp of the head block in seconds.", GAUGE, |s| {
        bound(s.head.max_time, i64::MIN) / 1000.0
    }),
    ("head_truncations_total", "Total number of head truncations attempted.", COUNTER, |s| s.head.truncations as f64),
    ("head_samples_lost_total", "Samples that lost a race against another batch.", COUNTER, |s| {
        s.head.samples_lost as f64
    }),
    ("head_active_appenders", "Number of currently active appender transactions", GAUGE, |s| s.head.appenders as f64),
    ("head_appenders_created_total", "Batches that were begun.", COUNTER, |s| s.head.appenders_created as f64),
    ("head_truncations_failed_total", "Total number of head truncations that failed.", COUNTER, |s| {
        s.maintenance.truncations_failed as f64
    }),
    ("compactions_triggered_total", "Total number of triggered compactions for the partition.", COUNTER, |s| {
        s.maintenance.ticks as f64
    }),
    ("maintenance_failed_total", "Rounds of maintenance in which something went wrong.", COUNTER, |s| {
        s.maintenance.ticks_failed as f64
    }),
    ("head_blocks_total", "Blocks that were written from the head.", COUNTER, |s| s.maintenance.head_blocks as f64),
    ("head_blocks_failed_total", "Blocks of the head that could not be written.", COUNTER, |s| {
        s.maintenance.head_blocks_failed as f64
    }),
    ("duplicate_samples_total", "Samples refused because another value is stored for their time.", COUNTER, |s| {
        s.head.duplicates as f64
    }),
    ("wal_segment_current", "WAL segment index that TSDB is currently writing to.", GAUGE, |s| {
        s.head.wal_segment as f64
    }),
    ("wal_storage_size_bytes", "Size of the write log directory.", GAUGE, |s| s.head.wal_bytes as f64),
    ("wal_writes_failed_total", "Total number of WAL writes that failed.", COUNTER, |s| s.head.wal_failures as f64),
    ("wal_record_bytes_written_total", "Bytes written to the log since it was opened.", COUNTER, |s| {
        s.head.wal_written as f64
    }),
    ("checkpoint_creations_total", "Total number of checkpoint creations attempted.", COUNTER, |s| {
        (s.head.checkpoints + s.head.checkpoints_failed) as f64
    }),
    ("checkpoint_creations_failed_total", "Total number of checkpoint creations that failed.", COUNTER, |s| {
        s.head.checkpoints_failed as f64
    }),
    ("blocks_loaded", "Number of currently loaded data blocks", GAUGE, |s| s.blocks.blocks as f64),
    (
        "storage_blocks_bytes",
        "The number of bytes that are currently used for local storage by all blocks.",
        GAUGE,
        |s| s.blocks.bytes as f64,
    ),
    ("lowest_timestamp", "Lowest timestamp value stored in the database.", GAUGE, |s| lowest(s)),
    ("lowest_timestamp_seconds", "Lowest timestamp value stored in the database.", GAUGE, |s| lowest(s) / 1000.0),
    ("compactions_total", "Total number of compactions that were executed for the partition.", COUNTER, |s| {
        s.blocks.compactions as f64
    }),
    ("compactions_failed_total", "Total number of compactions that failed for the partition.", COUNTER, |s| {
        s.blocks.compactions_failed as f64
    }),
    (
        "time_retentions_total",
        "The number of times that blocks were deleted because the maximum time limit was exceeded.",
        COUNTER,
        |s| s.blocks.time_retentions as f64,
    ),
    (
        "size_retentions_total",
        "The number of times that blocks were deleted because the maximum number of bytes was exceeded.",
        COUNTER,
        |s| s.blocks.size_retentions as f64,
    ),
    ("blocks_quarantined_total", "Blocks that were put aside because they are damaged.", COUNTER, |s| {
        s.blocks.quarantined as f64
    }),
    ("exemplar_exemplars_appended_total", "Total number of appended exemplars.", COUNTER, |s| {
        s.head.exemplars_appended as f64
    }),
    ("exemplar_exemplars_in_storage", "Number of exemplars currently in circular storage.", GAUGE, |s| {
        s.head.exemplars as f64
    }),
    (
        "exemplar_series_with_exemplars_in_storage",
        "Number of series with exemplars currently in circular storage.",
        GAUGE,
        |s| s.head.exemplar_series as f64,
    ),
    ("exemplar_max_exemplars", "Total number of exemplars the exemplar storage can store.", GAUGE, |s| {
        s.head.exemplars_limit as f64
    }),
    (
        "exemplar_last_exemplars_timestamp_seconds",
        "The timestamp of the oldest exemplar stored in circular storage.",
        GAUGE,
        |s| s.head.exemplar_oldest.unwrap_or_default() as f64 / 1000.0,
    ),
    (
        "exemplar_out_of_order_exemplars_total",
        "Total number of out of order exemplar ingestion failed attempts.",
        COUNTER,
        |s| s.head.exemplars_out_of_order as f64,
    ),
];

/// Name behind `prometheus_tsdb_`, help, value by the label `type`.
const BY_TYPE: &[ByType] = &[
    ("head_samples_appended_total", "Total number of appended samples.", |s| {
        vec![("float", s.head.floats_appended as f64), ("histogram", s.head.histograms_appended as f64)]
    }),
    ("head_out_of_order_samples_appended_total", "Total number of appended out of order samples.", |s| {
        vec![("float", s.head.late_appended as f64)]
    }),
    ("out_of_order_samples_total", "Total number of out of order samples ingestion failed attempts.", |s| {
        vec![("float", s.head.out_of_order as f64)]
    }),
    (
        "out_of_bound_samples_total",
        "Total number of out of bound samples ingestion failed attempts with out of order support disabled.",
        |s| vec![("float", s.head.out_of_bounds as f64)],
    ),
    (
        "too_old_samples_total",
        "Total number of out of order samples ingestion failed attempts with out of support enabled, but sample outside of time window.",
        |s| vec![("float", s.head.too_old as f64)],
    ),
];

/// A bound of the head; upstream shows the extremes for a head without samples.
fn bound(at: Option<i64>, none: i64) -> f64 {
    at.unwrap_or(none) as f64
}

fn lowest(stats: &DbStats) -> f64 {
    let lowest = [stats.blocks.oldest_time, stats.head.min_time].into_iter().flatten().min();
    bound(lowest, i64::MAX)
}
