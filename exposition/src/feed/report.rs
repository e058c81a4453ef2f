//! The report: what does a gathering say about itself?

use std::time::Duration;

use ferula_model::{AppendError, Appender, STALE_MARKER, SeriesRef, Timestamp};

use super::labels::SeriesNames;
use super::series::refuse;
use super::{FeedError, FeedSummary};

/// Names and values, as of a scraped target that is up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report([(&'static str, f64); 5]);

const NAMES: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];

impl Report {
    pub(super) fn new(duration: Duration, summary: &FeedSummary) -> Self {
        let samples = (summary.samples + summary.refused) as f64;
        let values = [1.0, duration.as_secs_f64(), samples, samples, summary.series_added as f64];
        Self(std::array::from_fn(|i| (NAMES[i], values[i])))
    }
}

/// Writes reports and remembers their series.
#[derive(Debug, Default)]
pub(super) struct Reporter([Option<SeriesRef>; NAMES.len()]);

impl Reporter {
    pub(super) fn append(
        &mut self,
        names: &SeriesNames,
        appender: &mut dyn Appender,
        at: Timestamp,
        report: &Report,
        summary: &mut FeedSummary,
    ) -> Result<(), FeedError> {
        for (slot, (name, value)) in self.0.iter_mut().zip(report.0) {
            let known = slot.map_or(Err(AppendError::UnknownSeries(0)), |series| {
                appender.append_float(series, at, value).map(|()| series)
            });
            let appended = match known {
                Err(AppendError::UnknownSeries(_)) => {
                    let labels = names.of_report(name);
                    let pairs: Vec<(&str, &str)> = labels.iter().collect();
                    appender.series(&pairs).and_then(|series| {
                        *slot = Some(series);
                        appender.append_float(series, at, value).map(|()| series)
                    })
                }
                known => known,
            };
            if let Err(error) = appended {
                refuse(error, summary)?;
            }
        }
        Ok(())
    }

    pub(super) fn append_stale(
        &self,
        appender: &mut dyn Appender,
        at: Timestamp,
        summary: &mut FeedSummary,
    ) -> Result<(), FeedError> {
        for series in self.0.iter().flatten() {
            match appender.append_float(*series, at, STALE_MARKER) {
                Ok(()) => summary.stale += 1,
                Err(error) if error.is_ordering() || matches!(error, AppendError::UnknownSeries(_)) => {}
                Err(error) => refuse(error, summary)?,
            }
        }
        Ok(())
    }
}
