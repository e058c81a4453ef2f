//! One body: the events of a parser become appends, known lines without being looked at.
//!
//! A line that stands where it stood last time costs a comparison of its bytes ([`SeriesCache::predicted`]) and one append. A
//! known series at another place costs a hash; a new one is decoded, relabelled and looked up in the storage.

use ferula_exposition::{Event, ExemplarEvent, Format, HistogramEvent, LabelBuffer, Parser, SampleEvent};
use ferula_model::{AppendError, Appender, Exemplar, MetricType, Sample, SeriesRef, Timestamp, Value, is_stale};

use super::metadata::{Heard, MetadataCache};
use super::outcome::{Counts, IngestError};
use super::{IngestRules, histogram};
use crate::series_cache::{EntryId, Known, SeriesCache};

/// As upstream: samples this far ahead of the scrape are out of bounds.
pub(super) const FUTURE_MILLIS_MAX: i64 = 10 * 60 * 1000;

/// One body on its way into the storage.
pub(super) struct Scrape<'a> {
    rules: &'a IngestRules,
    cache: &'a mut SeriesCache,
    metadata: &'a mut MetadataCache,
    labels: &'a mut LabelBuffer,
    appender: &'a mut dyn Appender,
    at: Timestamp,
    counts: Counts,
    /// Samples of the batch that are no stale markers.
    appended: u64,
    /// The limit that failed the scrape; the rest of the body is only counted.
    broken_limit: Option<IngestError>,
}

/// The families that the lines before a sample speak of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Families {
    #[default]
    None,
    One(Heard),
    Several,
}

impl Families {
    fn add(&mut self, family: Option<Heard>) {
        *self = match (*self, family) {
            (Families::None, Some(family)) => Families::One(family),
            (Families::One(before), Some(family)) if before.is_of(family) => Families::One(family),
            (Families::One(_), Some(_)) => Families::Several,
            (same, _) => same,
        };
    }
}

impl<'a> Scrape<'a> {
    pub(super) fn new(
        rules: &'a IngestRules,
        cache: &'a mut SeriesCache,
        metadata: &'a mut MetadataCache,
        labels: &'a mut LabelBuffer,
        appender: &'a mut dyn Appender,
        at: Timestamp,
    ) -> Self {
        let counts = Counts::default();
        Self { rules, cache, metadata, labels, appender, at, counts, appended: 0, broken_limit: None }
    }

    /// Appends what is in a body. The counts are those up to the error.
    pub(super) fn ingest(mut self, body: &[u8], format: Format) -> (Counts, Result<(), IngestError>) {
        let outcome = self.read(body, format);
        (self.counts, outcome.and(self.broken_limit.map_or(Ok(()), Err)))
    }

    fn read(&mut self, body: &[u8], format: Format) -> Result<(), IngestError> {
        let mut parser = Parser::new(body, format, &self.rules.parse);
        // From here to the next sample, comments and metadata are looked at; `None` if some were skipped, or have no place.
        let has_lines = format != Format::Protobuf;
        let mut lines_from = has_lines.then_some(0);
        let mut families = Families::default();
        loop {
            while let Some((id, key)) = self.cache.predicted() {
                if lines_from == Some(parser.position())
                    && let Some(lead) = self.cache.lead(id)
                {
                    // The family may have said something else meanwhile, even further down in the same body.
                    let is_lead = |lines: &[u8]| {
                        lead.family.is_none_or(|family| self.metadata.is_unchanged(family))
                            && self.cache.is_lead(&lead, lines)
                    };
                    if !parser.skip_known(lead.len as usize, lead.metric_type, is_lead) {
                        break;
                    }
                    lines_from = None;
                    if let Some(family) = lead.family {
                        self.metadata.heard_again(family);
                    }
                }
                let Some((value, timestamp)) = parser.next_known(key) else { break };
                if !self.known_sample(id, value, timestamp)? {
                    parser.unread_known();
                    break;
                }
                lines_from = has_lines.then_some(parser.position());
            }
            let at = parser.position();
            let event = match parser.next() {
                None => return Ok(()),
                Some(event) => event?,
            };
            match event {
                Event::Sample(sample) => {
                    self.float(&sample)?;
                    self.learn_lead(lines_from.and_then(|from| body.get(from..at)), parser.metric_type(), families);
                    (lines_from, families) = (has_lines.then_some(parser.position()), Families::default());
                }
                Event::Histogram(histogram) => {
                    self.histogram(*histogram)?;
                    (lines_from, families) = (has_lines.then_some(parser.position()), Families::default());
                }
                Event::Comment(_) => {}
                metadata => {
                    self.describe(metadata);
                    families.add(self.metadata.last());
                }
            }
        }
    }

    /// Remembers the lines before the sample just read, to skip them next time. They must speak of one family at most.
    fn learn_lead(&mut self, lines: Option<&[u8]>, metric_type: MetricType, families: Families) {
        let lead = match families {
            Families::Several => None,
            Families::None => lines.map(|lines| (lines, metric_type, None)),
            Families::One(family) => lines.map(|lines| (lines, metric_type, Some(family))),
        };
        self.cache.learn_lead(lead.filter(|(lines, ..)| !lines.is_empty()));
    }

    /// The hot path: the line that was at this place in the last scrape. False: the storage forgot its series, and the line
    /// must be read once more, for its labels.
    #[inline]
    fn known_sample(&mut self, id: EntryId, value: f64, timestamp: Option<Timestamp>) -> Result<bool, IngestError> {
        let timestamp = timestamp.filter(|_| self.rules.honor_timestamps);
        let outcome = match self.cache.see(id) {
            Known::Dropped => Ok(()),
            Known::Series { id, series, repeated } => {
                let time = timestamp.unwrap_or(self.at);
                let outcome = match self.admit(timestamp, repeated, is_stale(value)) {
                    Ok(true) => self.appender.append_float(series, time, value),
                    Ok(false) => Ok(()),
                    Err(refusal) => Err(refusal),
                };
                if let Err(AppendError::UnknownSeries(_)) = outcome {
                    self.forget(id, is_stale(value));
                    return Ok(false);
                }
                self.settle(id, timestamp, outcome).map(|_| ())
            }
            Known::New => return Ok(false),
        };
        self.counts.scraped += 1;
        outcome.map(|()| true)
    }

    /// The storage does not know the series of an entry any more; the sample is offered again under another one.
    fn forget(&mut self, id: EntryId, stale: bool) {
        self.cache.forget_ref(id);
        self.appended = self.appended.saturating_sub(u64::from(!stale));
    }

    fn describe(&mut self, event: Event<'_>) {
        match event {
            Event::Help { family, text } => self.metadata.set_help(&family, &text),
            Event::Type { family, metric_type } => self.metadata.set_type(&family, metric_type),
            Event::Unit { family, unit } => self.metadata.set_unit(&family, &unit),
            _ => {}
        }
    }

    fn float(&mut self, sample: &SampleEvent<'_>) -> Result<(), IngestError> {
        self.counts.scraped += 1;
        let timestamp = sample.timestamp.filter(|_| self.rules.honor_timestamps);
        let series = match self.cache.look_up(sample.key) {
            Known::Dropped => return Ok(()),
            Known::Series { id, series, repeated } => {
                let value = Value::Float(sample.value);
                match self.known_series(id, series, repeated, &value, timestamp, sample.start)? {
                    Some(series) => series,
                    None => {
                        sample.labels(self.labels);
                        self.new_series(sample.key, value, timestamp, sample.start)?
                    }
                }
            }
            Known::New => {
                sample.labels(self.labels);
                self.new_series(sample.key, Value::Float(sample.value), timestamp, sample.start)?
            }
        };
        if let (Some(exemplar), Some(series)) = (&sample.exemplar, series) {
            self.exemplar(series, exemplar, timestamp.unwrap_or(self.at));
        }
        Ok(())
    }

    fn histogram(&mut self, event: HistogramEvent<'_>) -> Result<(), IngestError> {
        self.counts.scraped += 1;
        let timestamp = event.timestamp.filter(|_| self.rules.honor_timestamps);
        let Some(histogram) = self.rules.buckets.apply(event.histogram.clone()) else {
            if !matches!(self.cache.look_up(event.key), Known::Dropped) {
                self.counts.after_relabelling += 1;
            }
            self.broken_limit.get_or_insert(IngestError::BucketLimit);
            return Ok(());
        };
        let value = Value::Histogram(histogram);
        let series = match self.cache.look_up(event.key) {
            Known::Dropped => return Ok(()),
            Known::Series { id, series, repeated } => {
                match self.known_series(id, series, repeated, &value, timestamp, event.start)? {
                    Some(series) => series,
                    None => {
                        event.labels(self.labels);
                        self.new_series(event.key, value, timestamp, event.start)?
                    }
                }
            }
            Known::New => {
                event.labels(self.labels);
                self.new_series(event.key, value, timestamp, event.start)?
            }
        };
        if let Some(series) = series {
            self.histogram_exemplars(series, event.exemplars);
        }
        Ok(())
    }

    /// Appends to a series whose ref is known. `None`: the storage forgot it. `Some(None)`: the sample was refused.
    fn known_series(
        &mut self,
        id: EntryId,
        series: SeriesRef,
        repeated: bool,
        value: &Value,
        timestamp: Option<Timestamp>,
        start: Option<Timestamp>,
    ) -> Result<Option<Option<SeriesRef>>, IngestError> {
        match self.append(series, repeated, value, timestamp, start) {
            Err(AppendError::UnknownSeries(_)) => {
                self.forget(id, value.is_stale());
                Ok(None)
            }
            outcome => Ok(Some(self.settle(id, timestamp, outcome)?.then_some(series))),
        }
    }

    /// Makes a series of the labels in the buffer and appends to it. `None`: it was dropped or refused.
    fn new_series(
        &mut self,
        key: &[u8],
        value: Value,
        timestamp: Option<Timestamp>,
        start: Option<Timestamp>,
    ) -> Result<Option<SeriesRef>, IngestError> {
        let labels = std::mem::take(self.labels);
        let made = self.series_of(&labels, key, value, timestamp, start);
        *self.labels = labels;
        made
    }

    fn series_of(
        &mut self,
        scraped: &LabelBuffer,
        key: &[u8],
        value: Value,
        timestamp: Option<Timestamp>,
        start: Option<Timestamp>,
    ) -> Result<Option<SeriesRef>, IngestError> {
        let Some(labels) = self.rules.series.apply(scraped)? else {
            self.cache.learn(key, None);
            return Ok(None);
        };
        let admitted = self.admit(timestamp, false, value.is_stale());
        let series = match admitted {
            Ok(true) => labels.with_pairs(|pairs| self.appender.series(pairs)),
            // Over a limit: the storage is not bothered with series of a scrape that fails.
            Ok(false) => {
                self.counts.after_relabelling += 1;
                return Ok(None);
            }
            Err(refusal) => Err(refusal),
        };
        let series = match series {
            Ok(series) => series,
            Err(error) => {
                self.refuse(error)?;
                self.counts.after_relabelling += 1;
                return Ok(None);
            }
        };
        let outcome = self.offer(series, &value, timestamp, start);
        let known = self.cache.len();
        let id = self.cache.learn(key, Some(series));
        let is_new = self.cache.len() > known;
        if self.rules.append_metadata
            && let Some(metadata) = labels.name().and_then(|name| self.metadata.of_series(name))
        {
            // A storage that takes no metadata loses nothing by it.
            let _ = self.appender.set_metadata(series, &metadata);
        }
        let added = self.settle(id, timestamp, outcome)?;
        if added && is_new {
            self.counts.series_added += 1;
        }
        Ok(added.then_some(series))
    }

    fn append(
        &mut self,
        series: SeriesRef,
        repeated: bool,
        value: &Value,
        timestamp: Option<Timestamp>,
        start: Option<Timestamp>,
    ) -> Result<(), AppendError> {
        if self.admit(timestamp, repeated, value.is_stale())? {
            self.offer(series, value, timestamp, start)
        } else {
            Ok(())
        }
    }

    fn offer(
        &mut self,
        series: SeriesRef,
        value: &Value,
        timestamp: Option<Timestamp>,
        start: Option<Timestamp>,
    ) -> Result<(), AppendError> {
        let time = timestamp.unwrap_or(self.at);
        let start = start.filter(|start| *start < time);
        if let Some(start) = start.filter(|_| self.rules.starts.adds_zeros()) {
            // Refused for all but the first scrape since that start, as it should be.
            let _ = self.appender.append(series, Sample { timestamp: start, start: None, value: zero_like(value) });
        }
        match (value, start.filter(|_| self.rules.starts.stores())) {
            (Value::Float(value), None) => self.appender.append_float(series, time, *value),
            (value, start) => self.appender.append(series, Sample { timestamp: time, start, value: value.clone() }),
        }
    }

    /// Whether a sample is offered to the storage. False: the scrape has failed by a limit and is only counted to its end.
    #[inline]
    fn admit(&mut self, timestamp: Option<Timestamp>, repeated: bool, stale: bool) -> Result<bool, AppendError> {
        match timestamp {
            None if repeated => return Err(AppendError::DuplicateForTimestamp),
            Some(own) if own.0 > self.at.0.saturating_add(FUTURE_MILLIS_MAX) => return Err(AppendError::OutOfBounds),
            _ => {}
        }
        if !stale {
            self.appended += 1;
            if self.rules.sample_limit > 0 && self.appended > self.rules.sample_limit {
                self.broken_limit.get_or_insert(IngestError::SampleLimit);
            }
        }
        Ok(self.broken_limit.is_none())
    }

    /// Counts a sample by what the storage said. Whether it was taken.
    #[inline]
    fn settle(
        &mut self,
        id: EntryId,
        timestamp: Option<Timestamp>,
        outcome: Result<(), AppendError>,
    ) -> Result<bool, IngestError> {
        let taken = match outcome {
            Ok(()) => {
                if timestamp.is_none() || self.rules.track_timestamps {
                    self.cache.track(id);
                }
                true
            }
            Err(error) => {
                self.refuse(error)?;
                false
            }
        };
        self.counts.after_relabelling += 1;
        Ok(taken)
    }

    #[cold]
    fn refuse(&mut self, error: AppendError) -> Result<(), IngestError> {
        let refused = &mut self.counts.refused;
        match error {
            AppendError::OutOfOrder => refused.out_of_order += 1,
            AppendError::DuplicateForTimestamp | AppendError::DuplicateFloat { .. } => refused.duplicate += 1,
            AppendError::OutOfBounds | AppendError::TooOld => refused.out_of_bounds += 1,
            AppendError::SeriesLimit { .. } => refused.series_limit += 1,
            other => return Err(other.into()),
        }
        Ok(())
    }

    fn exemplar(&mut self, series: SeriesRef, event: &ExemplarEvent<'_>, time: Timestamp) {
        let mut exemplar = event.to_exemplar();
        exemplar.timestamp.get_or_insert(time);
        match self.appender.append_exemplar(series, exemplar) {
            Ok(()) => {}
            Err(AppendError::OutOfOrderExemplar) => self.counts.refused.exemplars_out_of_order += 1,
            Err(_) => self.counts.refused.exemplars_invalid += 1,
        }
    }

    /// Exemplars of native histograms need a time of their own. They come as a window over the newest ones, so that some
    /// being too old says nothing; only if all are, they count.
    fn histogram_exemplars(&mut self, series: SeriesRef, mut exemplars: Vec<Exemplar>) {
        exemplars.retain(|exemplar| exemplar.timestamp.is_some());
        exemplars.sort_by(|a, b| {
            (a.timestamp, a.value.total_cmp(&b.value), &a.labels).cmp(&(
                b.timestamp,
                std::cmp::Ordering::Equal,
                &b.labels,
            ))
        });
        let (all, mut late) = (exemplars.len() as u64, 0);
        for exemplar in exemplars {
            match self.appender.append_exemplar(series, exemplar) {
                Ok(()) => {}
                Err(AppendError::OutOfOrderExemplar) => late += 1,
                Err(_) => self.counts.refused.exemplars_invalid += 1,
            }
        }
        if late == all {
            self.counts.refused.exemplars_out_of_order += late;
        }
    }
}

fn zero_like(value: &Value) -> Value {
    match value {
        Value::Float(_) => Value::Float(0.0),
        Value::Histogram(histogram) => Value::Histogram(histogram::empty_like(histogram)),
    }
}
