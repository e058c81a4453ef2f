//! The report: what does a scrape say about itself?
//!
//! `up` and the `scrape_*` series carry the labels of the target and are never relabelled.

use std::time::Duration;

use ferula_model::{AppendError, Appender, Labels, LabelsBuilder, METRIC_NAME, STALE_MARKER, SeriesRef, Timestamp};

/// What happened in a scrape.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ScrapeReport {
    pub(crate) up: bool,
    pub(crate) duration: Duration,
    pub(crate) scraped: u64,
    pub(crate) after_relabelling: u64,
    pub(crate) series_added: u64,
    /// The series that `extra_scrape_metrics` adds.
    pub(crate) extra: Option<ExtraReport>,
}

/// What `extra_scrape_metrics` adds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ExtraReport {
    pub(crate) timeout: Duration,
    pub(crate) sample_limit: u64,
    /// Unpacked; -1 over the limit, 0 after other failures.
    pub(crate) body_bytes: i64,
}

const PLAIN: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];
const EXTRA: [&str; 3] = ["scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes"];

impl ScrapeReport {
    fn values(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let plain = [
            if self.up { 1.0 } else { 0.0 },
            self.duration.as_secs_f64(),
            self.scraped as f64,
            self.after_relabelling as f64,
            self.series_added as f64,
        ];
        let extra =
            self.extra.map(|extra| [extra.timeout.as_secs_f64(), extra.sample_limit as f64, extra.body_bytes as f64]);
        PLAIN.into_iter().zip(plain).chain(EXTRA.into_iter().zip(extra.into_iter().flatten()))
    }
}

/// Writes the reports of one target, remembering its series.
#[derive(Debug)]
pub(crate) struct Reporter {
    labels: Labels,
    series: [Option<SeriesRef>; PLAIN.len() + EXTRA.len()],
}

impl Reporter {
    pub(crate) fn new(labels: Labels) -> Self {
        Self { labels, series: Default::default() }
    }

    /// Adds a report to the batch of its scrape.
    ///
    /// # Errors
    ///
    /// The storage refuses more than single samples.
    pub(crate) fn append(
        &mut self,
        appender: &mut dyn Appender,
        at: Timestamp,
        report: &ScrapeReport,
    ) -> Result<(), AppendError> {
        for (place, (name, value)) in report.values().enumerate() {
            self.append_one(appender, place, name, at, value)?;
        }
        Ok(())
    }

    /// Ends the series of the reports.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub(crate) fn append_stale(&mut self, appender: &mut dyn Appender, at: Timestamp) -> Result<(), AppendError> {
        for (place, name) in PLAIN.into_iter().chain(EXTRA).enumerate() {
            if self.series.get(place).is_some_and(Option::is_some) {
                self.append_one(appender, place, name, at, STALE_MARKER)?;
            }
        }
        Ok(())
    }

    fn append_one(
        &mut self,
        appender: &mut dyn Appender,
        place: usize,
        name: &str,
        at: Timestamp,
        value: f64,
    ) -> Result<(), AppendError> {
        let Some(slot) = self.series.get_mut(place) else { return Ok(()) };
        let appended = match *slot {
            Some(series) => appender.append_float(series, at, value),
            None => Err(AppendError::UnknownSeries(0)),
        };
        let appended = match appended {
            Err(AppendError::UnknownSeries(_)) => {
                let labels = named(&self.labels, name);
                let pairs: Vec<(&str, &str)> = labels.iter().collect();
                let series = appender.series(&pairs)?;
                *slot = Some(series);
                appender.append_float(series, at, value)
            }
            appended => appended,
        };
        match appended {
            Err(error) if !error.is_ordering() => Err(error),
            _ => Ok(()),
        }
    }
}

fn named(labels: &Labels, name: &str) -> LabelsBuilder {
    let mut builder = labels.to_builder();
    builder.set(METRIC_NAME, name);
    builder
}
