//! The series of a feed: which refs do they have, and which of them are gone?

use std::sync::Arc;

use ferula_model::{
    AppendError, Appender, Exemplar, Labels, Metadata, STALE_MARKER, Sample, SeriesRef, Timestamp, Value,
};
use hashbrown::HashMap;

use super::labels::SeriesNames;
use super::parts::Part;
use super::{FeedError, FeedSummary, metadata};
use crate::family::{Metric, MetricFamily};

/// All series of a feed, by family and labels of the metric.
#[derive(Debug, Default)]
pub(super) struct SeriesTable {
    families: HashMap<Arc<str>, FamilySeries>,
    round: Rounds,
}

/// Gatherings are numbered from 1.
#[derive(Clone, Copy, Debug, Default)]
struct Rounds {
    current: u64,
    /// The last one that was committed; 0 for none.
    committed: u64,
}

#[derive(Debug, Default)]
struct FamilySeries {
    metadata: Metadata,
    /// Rises when the metadata changes.
    metadata_version: u32,
    metrics: HashMap<Labels, Vec<PartSeries>>,
}

/// The series of one part of a metric.
#[derive(Debug)]
struct PartSeries {
    part: Part,
    series: SeriesRef,
    /// The round that last had it.
    seen: u64,
    /// It has samples in the storage, from a round before that.
    stored: bool,
    /// It is marked stale when it vanishes.
    tracked: bool,
    metadata_version: u32,
    /// The exemplar sent last.
    exemplar: Option<Box<Exemplar>>,
}

impl PartSeries {
    fn is_stored(&self, round: Rounds) -> bool {
        self.stored || (round.committed > 0 && self.seen == round.committed)
    }
}

impl SeriesTable {
    /// Begins a gathering.
    pub(super) fn begin(&mut self) {
        self.round.current += 1;
    }

    /// Notes what a family says about itself.
    pub(super) fn family(&mut self, family: &MetricFamily) {
        if !self.families.contains_key(&family.name) {
            self.families.insert(Arc::clone(&family.name), FamilySeries::default());
        }
        let Some(known) = self.families.get_mut(&family.name) else { return };
        let same = known.metadata.metric_type == family.metric_type
            && *known.metadata.unit == *family.unit
            && *known.metadata.help == *family.help;
        if !same || known.metadata_version == 0 {
            known.metadata = metadata(family);
            known.metadata_version = known.metadata_version.wrapping_add(1);
        }
    }

    /// The series of a metric of a family that was noted.
    pub(super) fn metric(&mut self, family: &str, labels: &Labels) -> Option<MetricSeries<'_>> {
        let family = self.families.get_mut(family)?;
        if !family.metrics.contains_key(labels) {
            family.metrics.insert(labels.clone(), Vec::new());
        }
        let parts = family.metrics.get_mut(labels)?;
        let (metadata, version) = (&family.metadata, family.metadata_version);
        Some(MetricSeries { parts, metadata, metadata_version: version, round: self.round })
    }

    /// Adds stale markers for what this round does not have.
    pub(super) fn mark_vanished(
        &mut self,
        appender: &mut dyn Appender,
        at: Timestamp,
        summary: &mut FeedSummary,
    ) -> Result<(), FeedError> {
        let round = self.round;
        let parts = self.families.values().flat_map(|family| family.metrics.values()).flatten();
        for part in parts.filter(|part| part.seen != round.current && part.tracked && part.is_stored(round)) {
            match appender.append_float(part.series, at, STALE_MARKER) {
                Ok(()) => summary.stale += 1,
                // The storage has ended the series already, or has a newer sample of it.
                Err(error) if error.is_ordering() || matches!(error, AppendError::UnknownSeries(_)) => {}
                Err(error) => refuse(error, summary)?,
            }
        }
        Ok(())
    }

    /// The round is stored: what it does not have is forgotten.
    pub(super) fn committed(&mut self) {
        self.round.committed = self.round.current;
        let current = self.round.current;
        self.families.retain(|_, family| {
            family.metrics.retain(|_, parts| {
                parts.retain(|part| part.seen == current);
                !parts.is_empty()
            });
            !family.metrics.is_empty()
        });
    }
}

/// The series of one metric, during a gathering.
#[derive(Debug)]
pub(super) struct MetricSeries<'a> {
    parts: &'a mut Vec<PartSeries>,
    metadata: &'a Metadata,
    metadata_version: u32,
    round: Rounds,
}

/// Writes the parts of one metric.
pub(super) struct Writer<'a> {
    pub(super) names: &'a SeriesNames,
    pub(super) family: &'a MetricFamily,
    pub(super) metric: &'a Metric,
    pub(super) at: Timestamp,
    pub(super) series: MetricSeries<'a>,
    pub(super) appender: &'a mut dyn Appender,
    pub(super) summary: &'a mut FeedSummary,
    /// Where the next part stood the last time.
    pub(super) next: usize,
}

impl Writer<'_> {
    pub(super) fn write(&mut self, part: Part, value: Value, exemplars: &[Exemplar]) -> Result<(), FeedError> {
        let at_hand = self.series.parts.get(self.next).is_some_and(|known| known.part == part);
        let known = if at_hand { Some(self.next) } else { self.series.parts.iter().position(|p| p.part == part) };
        if let Some(known) = known.and_then(|place| self.series.parts.get(place))
            && known.seen == self.series.round.current
            && self.metric.timestamp.is_none()
        {
            self.summary.duplicates += 1;
            return Ok(());
        }
        let place = match known {
            Some(place) => place,
            None => match self.ask(&part) {
                Ok(series) => self.add(part, series),
                Err(error) => return refuse(error, self.summary),
            },
        };
        self.next = place + 1;
        self.sample(place, value)?;
        self.exemplars(place, exemplars)
    }

    fn ask(&mut self, part: &Part) -> Result<SeriesRef, AppendError> {
        let labels = self.names.of(&self.family.name, &self.metric.labels, part);
        let pairs: Vec<(&str, &str)> = labels.iter().collect();
        self.appender.series(&pairs)
    }

    fn add(&mut self, part: Part, series: SeriesRef) -> usize {
        self.summary.series_added += 1;
        let (seen, stored, tracked) = (0, false, true);
        let exemplar = None;
        self.series.parts.push(PartSeries { part, series, seen, stored, tracked, metadata_version: 0, exemplar });
        self.series.parts.len() - 1
    }

    fn sample(&mut self, place: usize, value: Value) -> Result<(), FeedError> {
        let round = self.series.round;
        let Some(known) = self.series.parts.get_mut(place) else { return Ok(()) };
        if known.seen != round.current {
            known.stored = known.is_stored(round);
        }
        (known.seen, known.tracked) = (round.current, self.metric.timestamp.is_none());
        let series = known.series;
        let sample = Sample { timestamp: self.metric.timestamp.unwrap_or(self.at), start: self.metric.start, value };
        match self.appender.append(series, sample.clone()) {
            Err(AppendError::UnknownSeries(_)) => self.ask_again(place, sample)?,
            Err(error) => return refuse(error, self.summary),
            Ok(()) => self.summary.samples += 1,
        }
        self.metadata(place)
    }

    /// The storage forgot the series: it is asked for by its labels.
    fn ask_again(&mut self, place: usize, sample: Sample) -> Result<(), FeedError> {
        let Some(part) = self.series.parts.get(place).map(|known| known.part.clone()) else { return Ok(()) };
        let appended = self.ask(&part).and_then(|series| {
            if let Some(known) = self.series.parts.get_mut(place) {
                (known.series, known.metadata_version) = (series, 0);
            }
            self.appender.append(series, sample)
        });
        match appended {
            Ok(()) => {
                self.summary.samples += 1;
                Ok(())
            }
            Err(error) => refuse(error, self.summary),
        }
    }

    /// Says what the family is, where the storage does not know it yet.
    fn metadata(&mut self, place: usize) -> Result<(), FeedError> {
        let Some(known) = self.series.parts.get_mut(place) else { return Ok(()) };
        if known.metadata_version == self.series.metadata_version {
            return Ok(());
        }
        known.metadata_version = self.series.metadata_version;
        match self.appender.set_metadata(known.series, self.series.metadata) {
            Ok(()) => Ok(()),
            Err(error) => refuse(error, self.summary),
        }
    }

    fn exemplars(&mut self, place: usize, exemplars: &[Exemplar]) -> Result<(), FeedError> {
        let Some(known) = self.series.parts.get_mut(place).filter(|_| !exemplars.is_empty()) else { return Ok(()) };
        let mut new: Vec<&Exemplar> = exemplars.iter().collect();
        if known.part == Part::Native {
            // Several, of which those that were there before come again and again: only time tells them apart.
            let newest = known.exemplar.as_ref().and_then(|exemplar| exemplar.timestamp);
            self.summary.exemplars_refused += exemplars.iter().filter(|exemplar| exemplar.timestamp.is_none()).count();
            new.retain(|exemplar| exemplar.timestamp.is_some() && exemplar.timestamp > newest);
            new.sort_by_key(|exemplar| exemplar.timestamp);
        } else {
            new.retain(|exemplar| known.exemplar.as_deref() != Some(*exemplar));
        }
        for exemplar in new {
            known.exemplar = Some(Box::new(exemplar.clone()));
            let timestamp = exemplar.timestamp.or(Some(self.at));
            match self.appender.append_exemplar(known.series, Exemplar { timestamp, ..exemplar.clone() }) {
                Ok(()) => self.summary.exemplars += 1,
                Err(error @ AppendError::NotWritable(_)) => return Err(FeedError::Append(error)),
                Err(error) => {
                    self.summary.exemplars_refused += 1;
                    self.summary.refusal.get_or_insert(error);
                }
            }
        }
        Ok(())
    }
}

/// Counts what the storage refused; an error if it will refuse everything.
pub(super) fn refuse(error: AppendError, summary: &mut FeedSummary) -> Result<(), FeedError> {
    if matches!(error, AppendError::NotWritable(_)) {
        return Err(FeedError::Append(error));
    }
    summary.refused += 1;
    summary.refusal.get_or_insert(error);
    Ok(())
}
