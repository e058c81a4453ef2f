//! Metrics of scraping and discovery, under Prometheus' own names.

use std::sync::Arc;
use std::time::Duration;

use ferula_exposition::registry::{
    Collect, Counter, DEFAULT_BUCKETS, Family, Gauge, Histogram, ObservationWindow, RegisterError,
};
use ferula_exposition::{MetricFamily, MetricValue, Registry};
use ferula_model::{Labels, MetricType, format_duration};
use parking_lot::Mutex;

use crate::ingest::{Counts, IngestError};

/// What scraping counts.
#[derive(Debug)]
pub(crate) struct ScrapeMetrics {
    pub(crate) interval_length: Arc<IntervalLengths>,
    pub(crate) pools: Counter,
    pub(crate) pools_failed: Counter,
    pub(crate) pool_reloads: Counter,
    pub(crate) pool_reloads_failed: Counter,
    pub(crate) pool_targets: Family<Gauge, 1>,
    pub(crate) pool_target_limit: Family<Gauge, 1>,
    pub(crate) pool_syncs: Family<Counter, 1>,
    pub(crate) sync_length: Family<Histogram, 1>,
    pub(crate) sync_failed: Family<Counter, 1>,
    pub(crate) reload_length: Histogram,
    pub(crate) exceeded_target_limit: Counter,
    exceeded_label_limits: Counter,
    exceeded_sample_limit: Counter,
    pub(crate) exceeded_body_size_limit: Counter,
    exceeded_bucket_limit: Counter,
    pub(crate) cache_flush_forced: Counter,
    exemplar_out_of_order: Counter,
    duplicate_timestamp: Counter,
    out_of_order: Counter,
    out_of_bounds: Counter,
    refused: Family<Counter, 1>,
    pub(crate) commits_failed: Counter,
}

impl ScrapeMetrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, RegisterError> {
        let counter = |name: &str, help: &str| registry.counter(&format!("prometheus_target_{name}"), help);
        let interval_length = Arc::new(IntervalLengths::default());
        registry.collector(Arc::<IntervalLengths>::clone(&interval_length));
        Ok(Self {
            interval_length,
            pools: counter("scrape_pools_total", "Scrape pools that were created.")?,
            pools_failed: counter("scrape_pools_failed_total", "Scrape pools that could not be created.")?,
            pool_reloads: counter("scrape_pool_reloads_total", "Scrape pools that took a new configuration.")?,
            pool_reloads_failed: counter(
                "scrape_pool_reloads_failed_total",
                "Scrape pools that could not take a new configuration.",
            )?,
            pool_targets: registry.gauge_family(
                "prometheus_target_scrape_pool_targets",
                "Targets of a scrape pool.",
                ["scrape_job"],
            )?,
            pool_target_limit: registry.gauge_family(
                "prometheus_target_scrape_pool_target_limit",
                "Most targets that a scrape pool may have; 0 is no limit.",
                ["scrape_job"],
            )?,
            pool_syncs: registry.counter_family(
                "prometheus_target_scrape_pool_sync_total",
                "How often the targets of a scrape pool were brought up to date.",
                ["scrape_job"],
            )?,
            sync_length: registry.histogram_family(
                "prometheus_target_sync_length_seconds",
                "How long it took to bring the targets of a scrape pool up to date.",
                ["scrape_job"],
                &DEFAULT_BUCKETS,
            )?,
            sync_failed: registry.counter_family(
                "prometheus_target_sync_failed_total",
                "Discovered targets that cannot be scraped.",
                ["scrape_job"],
            )?,
            reload_length: registry.histogram(
                "prometheus_target_reload_length_seconds",
                "How long it took to take a new configuration.",
                &DEFAULT_BUCKETS,
            )?,
            exceeded_target_limit: counter(
                "scrape_pool_exceeded_target_limit_total",
                "How often a scrape pool had more targets than its limit.",
            )?,
            exceeded_label_limits: counter(
                "scrape_pool_exceeded_label_limits_total",
                "Scrapes that failed by a limit of labels.",
            )?,
            exceeded_sample_limit: counter(
                "scrapes_exceeded_sample_limit_total",
                "Scrapes that failed by the limit of samples.",
            )?,
            exceeded_body_size_limit: counter(
                "scrapes_exceeded_body_size_limit_total",
                "Scrapes that failed by the limit of the body.",
            )?,
            exceeded_bucket_limit: counter(
                "scrapes_exceeded_native_histogram_bucket_limit_total",
                "Scrapes that failed by the limit of buckets.",
            )?,
            cache_flush_forced: counter(
                "scrapes_cache_flush_forced_total",
                "How often a series cache was emptied because failing scrapes made it grow.",
            )?,
            exemplar_out_of_order: counter(
                "scrapes_exemplar_out_of_order_total",
                "Exemplars that were older than what is stored.",
            )?,
            duplicate_timestamp: counter(
                "scrapes_sample_duplicate_timestamp_total",
                "Samples for which another value of the same time was there.",
            )?,
            out_of_order: counter("scrapes_sample_out_of_order_total", "Samples that were older than what is stored.")?,
            out_of_bounds: counter(
                "scrapes_sample_out_of_bounds_total",
                "Samples that were too old or too far ahead.",
            )?,
            refused: registry.counter_family(
                "ferula_scrape_refused_total",
                "What the storage refused of scrapes for reasons without a counter of their own.",
                ["reason"],
            )?,
            commits_failed: registry.counter(
                "ferula_scrape_commits_failed_total",
                "Scrapes that were lost because the storage could not write them.",
            )?,
        })
    }

    /// Counts what a body brought and why it failed.
    pub(crate) fn ingested(&self, counts: &Counts, outcome: Result<(), &IngestError>) {
        let refused = &counts.refused;
        for (counter, number) in [
            (&self.out_of_order, refused.out_of_order),
            (&self.duplicate_timestamp, refused.duplicate),
            (&self.out_of_bounds, refused.out_of_bounds),
            (&self.exemplar_out_of_order, refused.exemplars_out_of_order),
        ] {
            if number > 0 {
                counter.inc_by(number);
            }
        }
        for (reason, number) in
            [("series_limit", refused.series_limit), ("invalid_exemplar", refused.exemplars_invalid)]
        {
            if number > 0 {
                self.refused.with([reason]).inc_by(number);
            }
        }
        match outcome {
            Err(IngestError::SampleLimit) => self.exceeded_sample_limit.inc(),
            Err(IngestError::BucketLimit) => self.exceeded_bucket_limit.inc(),
            Err(IngestError::Series(error)) if error.is_label_limit() => self.exceeded_label_limits.inc(),
            _ => {}
        }
    }

    /// Forgets what belongs to a pool.
    pub(crate) fn forget_pool(&self, job: &str) {
        self.pool_targets.remove([job]);
        self.pool_target_limit.remove([job]);
        self.pool_syncs.remove([job]);
        self.sync_length.remove([job]);
        self.sync_failed.remove([job]);
    }
}

const QUANTILES: [f64; 5] = [0.01, 0.05, 0.5, 0.9, 0.99];

/// `prometheus_target_interval_length_seconds`: how long it really was from scrape to scrape, by configured interval.
#[derive(Debug, Default)]
pub(crate) struct IntervalLengths(Mutex<Vec<(Duration, ObservationWindow)>>);

impl IntervalLengths {
    pub(crate) fn observe(&self, configured: Duration, real: Duration) {
        let mut windows = self.0.lock();
        let at = match windows.iter().position(|(interval, _)| *interval == configured) {
            Some(at) => at,
            None => {
                windows.push((configured, ObservationWindow::default()));
                windows.len() - 1
            }
        };
        if let Some((_, window)) = windows.get_mut(at) {
            window.observe(real.as_secs_f64());
        }
    }
}

impl Collect for IntervalLengths {
    fn collect(&self, out: &mut Vec<MetricFamily>) {
        let (name, help) = ("prometheus_target_interval_length_seconds", "How long it was from scrape to scrape.");
        let mut family = MetricFamily::new(name, help, MetricType::Summary);
        for (interval, window) in &*self.0.lock() {
            let value = window.summary(&QUANTILES);
            family.push(Labels::from_pairs([("interval", format_duration(*interval))]), MetricValue::Summary(value));
        }
        out.push(family);
    }
}

/// What discoveries count.
#[derive(Debug)]
pub(crate) struct DiscoveryMetrics {
    pub(crate) discovered_targets: Family<Gauge, 2>,
    pub(crate) failed_configs: Family<Gauge, 1>,
    pub(crate) received_updates: Family<Counter, 1>,
    pub(crate) updates: Family<Counter, 1>,
    refresh_failures: Family<Counter, 2>,
    refresh_duration: Family<Histogram, 2>,
    file_errors: Counter,
}

impl DiscoveryMetrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, RegisterError> {
        Ok(Self {
            discovered_targets: registry.gauge_family(
                "prometheus_sd_discovered_targets",
                "Targets that discovery has found.",
                ["name", "config"],
            )?,
            failed_configs: registry.gauge_family(
                "prometheus_sd_failed_configs",
                "Discoveries that could not be started.",
                ["name"],
            )?,
            received_updates: registry.counter_family(
                "prometheus_sd_received_updates_total",
                "Updates that came from discoveries.",
                ["name"],
            )?,
            updates: registry.counter_family(
                "prometheus_sd_updates_total",
                "Updates that went on to scraping.",
                ["name"],
            )?,
            refresh_failures: registry.counter_family(
                "prometheus_sd_refresh_failures_total",
                "Refreshes of discoveries that failed.",
                ["mechanism", "config"],
            )?,
            refresh_duration: registry.histogram_family(
                "prometheus_sd_refresh_duration_histogram_seconds",
                "How long refreshes of discoveries took.",
                ["mechanism", "config"],
                &DEFAULT_BUCKETS,
            )?,
            file_errors: registry
                .counter("prometheus_sd_file_read_errors_total", "Files of targets that could not be read.")?,
        })
    }

    pub(crate) fn refreshed(&self, mechanism: &str, config: &str, took: Duration, failed: bool) {
        self.refresh_duration.with([mechanism, config]).observe_duration(took);
        let failures = self.refresh_failures.with([mechanism, config]);
        if failed {
            failures.inc();
        }
    }

    pub(crate) fn file_failed(&self) {
        self.file_errors.inc();
    }
}
