//! Instant selectors: which sample is the newest at each step?
//!
//! A [`Selection`] is the storage's answer to a selector's matchers; [`Select`] turns each of its series into steps. The
//! newest sample counts if it is younger than the lookback and no stale marker.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use ferula_model::{
    Columns, CounterResetHint, FloatHistogram, Histogram, Labels, METRIC_NAME, SelectHints, SeriesSet, StepGrid,
    TimeRange, Timestamp, is_stale,
};

use super::label_sets::PairHasher;
use super::limits::Hold;
use super::steps::{StepVector, histogram_samples};
use super::{Env, Head, Operator, Worker, is_metadata_label};
use crate::error::QueryError;
use crate::functions::extended;
use crate::functions::note::{Notes, Place};
use crate::functions::window::Samples;
use crate::plan::{Answers, NodeId, Projection, Selector};
use crate::syntax::ast::Extension;

/// From where each step looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reference {
    pub(crate) grid: StepGrid,
    pub(crate) at_millis: Option<i64>,
    pub(crate) offset_millis: i64,
}

impl Reference {
    /// The moment from which step `index` looks back.
    #[inline]
    pub(crate) fn at(&self, index: usize) -> i64 {
        match self.at_millis {
            Some(at) => at.saturating_sub(self.offset_millis),
            None => self.grid.at(index).as_millis().saturating_sub(self.offset_millis),
        }
    }

    /// The moments, with room for `before` and `after` around each.
    pub(crate) fn moments(&self, before: i64, after: i64) -> Moments {
        let (first, last) = self.span();
        let distance = if self.at_millis.is_some() { 0 } else { self.grid.step_millis() };
        let steps = (self.grid.len() as i64 - 1).checked_mul(distance);
        let plain = steps.and_then(|steps| first.checked_add(steps)) == Some(last)
            && first.checked_sub(before).is_some()
            && last.checked_add(after).is_some();
        Moments { first, distance, plain, reference: *self }
    }

    /// The first and the last of these moments.
    pub(crate) fn span(&self) -> (i64, i64) {
        (self.at(0), self.at(self.grid.len() - 1))
    }
}

/// What a [`Reference`] says at each step, when there are many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moments {
    first: i64,
    /// From one to the next.
    distance: i64,
    /// Whether no moment with the room around it is near the ends of time, where distances shrink.
    plain: bool,
    reference: Reference,
}

impl Moments {
    /// The moment from which step `index` looks back.
    #[inline]
    pub(crate) fn at(&self, index: usize) -> i64 {
        if self.plain { self.steady_at(index) } else { self.reference.at(index) }
    }

    /// Whether all moments have the same distance, and all of the room around them.
    pub(crate) fn is_steady(&self) -> bool {
        self.plain
    }

    /// [`at`](Self::at), if they are steady.
    #[inline]
    pub(crate) fn steady_at(&self, index: usize) -> i64 {
        self.first.wrapping_add(self.distance.wrapping_mul(index as i64))
    }
}

/// The series that a selector found, and which of their samples are needed.
pub(crate) struct Selection<'q> {
    set: Box<dyn SeriesSet + 'q>,
    pub(crate) heads: Vec<Head>,
    /// The heads have only some labels; that the series differ in others than the name is known.
    pub(crate) is_distinct: bool,
    /// The heads, which grow with what is read: few bytes for each series.
    _held: Hold,
    range: TimeRange,
    statistics_only: bool,
    env: &'q Env<'q>,
}

/// What a selector needs before and after the moments it looks from, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    pub(crate) before: i64,
    pub(crate) after: i64,
}

impl Reach {
    /// What `selector` needs: its window (`None` for an instant selector), widened by the lookback where it is extended.
    pub(crate) fn of(selector: &Selector, range_millis: Option<i64>, lookback_millis: i64) -> Reach {
        match (range_millis, selector.extension) {
            (None, Some(Extension::Smoothed)) => Reach { before: lookback_millis, after: lookback_millis },
            (None, _) => Reach { before: lookback_millis, after: 0 },
            (Some(range), None) => Reach { before: range, after: 0 },
            (Some(range), Some(Extension::Anchored)) => {
                Reach { before: range.saturating_add(lookback_millis), after: 0 }
            }
            (Some(range), Some(Extension::Smoothed)) => {
                Reach { before: range.saturating_add(lookback_millis), after: lookback_millis }
            }
        }
    }

    /// The times of all samples that are needed.
    pub(crate) fn times(&self, reference: &Reference) -> TimeRange {
        let (first, last) = reference.span();
        // Windows are open on the left.
        let min = first.saturating_sub(self.before).saturating_add(1);
        TimeRange::new(Timestamp(min), Timestamp(last.saturating_add(self.after)))
    }
}

impl<'q> Selection<'q> {
    pub(crate) fn open(
        env: &'q Env<'q>,
        selector: &Selector,
        reference: &Reference,
        range_millis: Option<i64>,
    ) -> Result<Self, QueryError> {
        let reach = Reach::of(selector, range_millis, env.settings.lookback_millis);
        let range = reach.times(reference);
        let hints = SelectHints {
            range: Some(range),
            step_millis: if env.settings.is_range { reference.grid.step_millis() } else { 0 },
            function: selector.function,
            range_millis: range_millis.unwrap_or(0),
            statistics_only: selector.statistics_only,
            ..SelectHints::default()
        };
        let set = env.querier.select(&hints, &selector.matchers)?;
        let warnings = set.warnings();
        if !warnings.is_empty() {
            let mut ledger = env.ledger.lock();
            for warning in warnings {
                ledger.annotations.storage(warning);
            }
        }
        env.limits.check("query execution")?;
        let projected = selector
            .projection
            .as_ref()
            .and_then(|projection| projected_heads(&*set, projection, selector.has_one_name()));
        let is_distinct = projected.is_some();
        let heads = projected.unwrap_or_else(|| (0..set.len()).map(|index| Head::new(set.labels(index))).collect());
        let labels: u64 = if is_distinct { 0 } else { heads.iter().map(|head| head.labels.heap_bytes() as u64).sum() };
        let held = env.limits.hold(0, labels + (heads.len() * size_of::<Head>()) as u64)?;
        Ok(Self { set, heads, is_distinct, _held: held, range, statistics_only: selector.statistics_only, env })
    }

    /// Reads a series into `worker.columns`, and its histograms as floats beside them.
    pub(crate) fn load(&self, index: usize, worker: &mut Worker) -> Result<(), QueryError> {
        self.set.read(index, self.range, &mut worker.columns)?;
        worker.float_histograms.clear();
        for histogram in &worker.columns.histograms {
            worker.float_histograms.push(match histogram {
                Histogram::Float(histogram) => Arc::clone(histogram),
                Histogram::Integer(_) => histogram.to_float(),
            });
        }
        worker.columns.histograms.clear();
        if self.statistics_only {
            keep_statistics(&mut worker.float_histograms);
        }
        let samples = worker.columns.times.len() as u64
            + worker.float_histograms.iter().map(|h| histogram_samples(h)).sum::<u64>();
        worker.counters.read += samples;
        worker.reserve(self.env.limits, samples)
    }
}

/// Heads with no other labels than those wanted. `None` if names will be dropped and two series would be equal then: all of
/// their labels matter. Where all series have one name that is only so if they have types or units.
fn projected_heads(set: &dyn SeriesSet, projection: &Projection, one_name: bool) -> Option<Vec<Head>> {
    let Projection { labels: wanted, drops_names } = projection;
    let compared = *drops_names && !one_name;
    let hasher = PairHasher::default();
    let mut hashes = Vec::new();
    let mut heads: Vec<Head> = Vec::with_capacity(set.len());
    let (mut kept, mut previous) = (Kept::default(), Kept::default());
    let mut may_be_equal = false;
    for index in 0..set.len() {
        std::mem::swap(&mut kept, &mut previous);
        kept.clear();
        let mut hash = hasher.begin();
        let mut next = 0;
        set.each_label(index, &mut |name, value| {
            while wanted.get(next).is_some_and(|wanted| wanted.as_str() < name) {
                next += 1;
            }
            if wanted.get(next).is_some_and(|wanted| wanted == name) {
                kept.push(next, value);
            }
            if !is_metadata_label(name) {
                if compared {
                    (name, value).hash(&mut hash);
                }
            } else if name != METRIC_NAME {
                may_be_equal |= *drops_names && one_name;
            }
        });
        if compared {
            hashes.push(hash.finish());
        }
        let same = heads.last().filter(|_| kept == previous).cloned();
        heads.push(same.unwrap_or_else(|| Head::new(Labels::from_sorted(kept.pairs(wanted)))));
    }
    hashes.sort_unstable();
    may_be_equal |= hashes.windows(2).any(|pair| pair[0] == pair[1]);
    (!may_be_equal).then_some(heads)
}

/// Values of some labels of one series.
#[derive(Debug, Default, PartialEq)]
struct Kept {
    values: String,
    /// Number of the label, and where its value ends.
    ends: Vec<(usize, usize)>,
}

impl Kept {
    fn clear(&mut self) {
        self.values.clear();
        self.ends.clear();
    }

    fn push(&mut self, label: usize, value: &str) {
        self.values.push_str(value);
        self.ends.push((label, self.values.len()));
    }

    fn pairs<'a>(&'a self, names: &'a [String]) -> impl Iterator<Item = (&'a str, &'a str)> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        self.ends.iter().zip(starts).map(|(&(label, end), start)| (names[label].as_str(), &self.values[start..end]))
    }
}

/// Leaves count and sum of each histogram. Without buckets nobody could find resets later, so they are found here, as
/// upstream does it: this makes hints that the samples themselves do not have.
fn keep_statistics(histograms: &mut [Arc<FloatHistogram>]) {
    let mut previous: Option<Arc<FloatHistogram>> = None;
    for histogram in histograms.iter_mut().filter(|histogram| !is_stale(histogram.sum)) {
        let full = Arc::clone(histogram);
        let hint = match (&previous, full.counter_reset) {
            (Some(previous), CounterResetHint::Unknown) if full.detect_reset(previous) => CounterResetHint::Reset,
            (Some(_), CounterResetHint::Unknown) => CounterResetHint::NotReset,
            (_, known) => known,
        };
        *histogram = Arc::new(FloatHistogram {
            counter_reset: hint,
            schema: full.schema,
            count: full.count,
            sum: full.sum,
            custom_values: Arc::clone(&full.custom_values),
            ..FloatHistogram::default()
        });
        previous = Some(full);
    }
}

/// Removes stale markers of both kinds.
pub(crate) fn drop_stale_markers(worker: &mut Worker) {
    let Columns { times, values, starts, histogram_times, histogram_starts, .. } = &mut worker.columns;
    // Whole pieces are looked at, without a branch for each value.
    if values.chunks(64).any(|piece| piece.iter().fold(false, |found, value| found | is_stale(*value))) {
        let keep: Vec<bool> = values.iter().map(|value| !is_stale(*value)).collect();
        retain(times, &keep);
        retain(values, &keep);
        retain(starts, &keep);
    }
    let histograms = &mut worker.float_histograms;
    if histograms.iter().any(|histogram| is_stale(histogram.sum)) {
        let keep: Vec<bool> = histograms.iter().map(|histogram| !is_stale(histogram.sum)).collect();
        retain(histogram_times, &keep);
        retain(histogram_starts, &keep);
        retain(histograms, &keep);
    }
}

fn retain<T>(column: &mut Vec<T>, keep: &[bool]) {
    let mut keep = keep.iter();
    column.retain(|_| keep.next().copied().unwrap_or(true));
}

impl Worker {
    /// The samples read last.
    pub(crate) fn samples(&self) -> Samples<'_> {
        Samples {
            times: &self.columns.times,
            values: &self.columns.values,
            starts: &self.columns.starts,
            histogram_times: &self.columns.histogram_times,
            histograms: &self.float_histograms,
            histogram_starts: &self.columns.histogram_starts,
        }
    }
}

/// An instant selector.
pub(crate) struct Select<'q> {
    selection: Selection<'q>,
    reference: Reference,
    extension: Option<Extension>,
    answers: Answers,
    place: Place,
    env: &'q Env<'q>,
}

impl<'q> Select<'q> {
    pub(crate) fn open(
        env: &'q Env<'q>,
        id: NodeId,
        selector: &'q Selector,
        grid: StepGrid,
    ) -> Result<Self, QueryError> {
        let reference = Reference { grid, at_millis: selector.at_millis, offset_millis: selector.offset_millis };
        let place = Place { order: id, position: env.plan.node(id).span.start as usize };
        let selection = Selection::open(env, selector, &reference, None)?;
        Ok(Self { selection, reference, extension: selector.extension, answers: selector.answers, place, env })
    }

    fn count_steps(&self, worker: &mut Worker, out: &StepVector) {
        worker.counters.total_queryable += out.samples();
        if self.env.settings.per_step_statistics {
            let origin = self.reference.grid;
            worker.counters.count_presence(&self.env.settings, origin, out);
        }
    }
}

impl Operator for Select<'_> {
    fn heads(&self) -> &[Head] {
        &self.selection.heads
    }

    fn steps(&self) -> usize {
        self.reference.grid.len()
    }

    fn compute(&self, index: usize, worker: &mut Worker, out: &mut StepVector) -> Result<(), QueryError> {
        out.reset(self.steps());
        self.selection.load(index, worker)?;
        let lookback = self.env.settings.lookback_millis;
        // A time is that of a real sample, also where the value would be one between two.
        if self.extension == Some(Extension::Smoothed) && self.answers == Answers::Value {
            drop_stale_markers(worker);
            let mut annotations = std::mem::take(&mut worker.annotations);
            let mut notes = Notes::new(&mut annotations, self.place);
            let name = self.selection.heads[index].labels.metric_name();
            extended::smoothed_steps(&worker.samples(), &self.reference, lookback, name, &mut notes, out);
            worker.annotations = annotations;
        } else {
            newest(&worker.samples(), &self.reference, lookback, self.answers, out);
        }
        self.count_steps(worker, out);
        Ok(())
    }

    fn is_distinct(&self) -> bool {
        self.selection.is_distinct
    }

    fn is_silent(&self) -> bool {
        self.extension.is_none()
    }
}

/// The newest sample within the lookback at each step.
pub(crate) fn newest(
    samples: &Samples<'_>,
    reference: &Reference,
    lookback: i64,
    answers: Answers,
    out: &mut StepVector,
) {
    if samples.histogram_times.is_empty() && answers == Answers::Value {
        return newest_floats(samples, reference, lookback, out);
    }
    let (mut floats, mut histograms) = (0, 0);
    for step in 0..out.steps() {
        let at = reference.at(step);
        while floats < samples.times.len() && samples.times[floats] <= at {
            floats += 1;
        }
        while histograms < samples.histogram_times.len() && samples.histogram_times[histograms] <= at {
            histograms += 1;
        }
        let oldest = at.saturating_sub(lookback);
        let float_at = floats.checked_sub(1).map(|index| samples.times[index]).filter(|time| *time > oldest);
        let histogram_at =
            histograms.checked_sub(1).map(|index| samples.histogram_times[index]).filter(|time| *time > oldest);
        match (float_at, histogram_at) {
            (Some(time), histogram) if histogram.is_none_or(|histogram| histogram < time) => {
                let value = samples.values[floats - 1];
                if is_stale(value) {
                    continue;
                }
                match answers {
                    Answers::Value => out.set_float(step, value),
                    Answers::Time => out.set_float(step, time as f64 / 1000.0),
                    Answers::Start => set_start(step, samples.start(floats - 1), out),
                }
            }
            (_, Some(time)) => {
                let histogram = &samples.histograms[histograms - 1];
                if is_stale(histogram.sum) {
                    continue;
                }
                match answers {
                    Answers::Value => out.set_histogram(step, Arc::clone(histogram)),
                    Answers::Time => out.set_float(step, time as f64 / 1000.0),
                    Answers::Start => set_start(step, samples.histogram_start(histograms - 1), out),
                }
            }
            _ => {}
        }
    }
}

/// The same of a series that has only floats.
fn newest_floats(samples: &Samples<'_>, reference: &Reference, lookback: i64, out: &mut StepVector) {
    let Samples { times, values, .. } = *samples;
    let moments = reference.moments(lookback, 0);
    let mut seen = 0;
    out.fill_floats(|step| {
        let at = moments.at(step);
        while seen < times.len() && times[seen] <= at {
            seen += 1;
        }
        let newest = seen.checked_sub(1)?;
        let value = values[newest];
        (times[newest] > at.saturating_sub(lookback) && !is_stale(value)).then_some(value)
    });
}

fn set_start(step: usize, start: i64, out: &mut StepVector) {
    out.set_float(step, start as f64 / 1000.0);
}
