//! Range functions: what does a window say, at each step?
//!
//! Windows slide: both ends only move forward, so a series is walked once, however many steps there are. The function
//! is chosen once for each series; inside the loop over steps nothing is looked up.

use ferula_model::StepGrid;

use super::build::ScalarSteps;
use super::select::{Moments, Reach, Reference, Selection, drop_stale_markers};
use super::steps::{Point, StepVector, histogram_samples};
use super::subquery::SubquerySource;
use super::{Env, Head, Operator, Worker, renamed};
use crate::error::QueryError;
use crate::functions::FunctionId;
use crate::functions::note::{Notes, Place};
use crate::functions::rate::{self, RateKind, Windows};
use crate::functions::sliding::Scratch;
use crate::functions::window::{Context, Samples, Window};
use crate::functions::{extended, histogram_over_time, instant_rate, over_time};
use crate::plan::NodeId;
use crate::syntax::ast::Extension;

/// Where the samples of windows come from.
pub(crate) enum Source<'q> {
    /// The storage.
    Selection(Selection<'q>),
    /// The steps of another expression.
    Subquery(SubquerySource<'q>),
}

/// The windows of a range selector or subquery over a grid.
pub(crate) struct RangeSource<'q> {
    pub(crate) source: Source<'q>,
    pub(crate) reference: Reference,
    pub(crate) range_millis: i64,
    pub(crate) extension: Option<Extension>,
    pub(crate) reach: Reach,
}

impl RangeSource<'_> {
    pub(crate) fn heads(&self) -> &[Head] {
        match &self.source {
            Source::Selection(selection) => &selection.heads,
            Source::Subquery(subquery) => subquery.heads(),
        }
    }

    pub(crate) fn is_distinct(&self) -> bool {
        match &self.source {
            Source::Selection(selection) => selection.is_distinct,
            Source::Subquery(subquery) => subquery.child.is_distinct(),
        }
    }

    /// Puts the samples of a series, without stale markers, into `worker`.
    pub(crate) fn load(&self, index: usize, worker: &mut Worker) -> Result<(), QueryError> {
        match &self.source {
            Source::Selection(selection) => {
                selection.load(index, worker)?;
                drop_stale_markers(worker);
                Ok(())
            }
            Source::Subquery(subquery) => subquery.load(index, worker),
        }
    }

    /// Bounds of the windows over `times`.
    pub(crate) fn pointers<'a>(&self, times: &'a [i64]) -> Pointers<'a> {
        let Reach { before, after } = self.reach;
        Pointers {
            times,
            moments: self.reference.moments(before.max(self.range_millis), after),
            oldest: before,
            newest: after,
            range: self.range_millis,
            from: 0,
            to: 0,
        }
    }
}

/// Two positions that move forward with the steps.
pub(crate) struct Pointers<'a> {
    times: &'a [i64],
    moments: Moments,
    oldest: i64,
    newest: i64,
    range: i64,
    from: usize,
    to: usize,
}

impl Windows for Pointers<'_> {
    #[inline]
    fn window(&mut self, step: usize) -> (i64, i64, usize, usize) {
        let end = self.moments.at(step);
        let (oldest, newest) = (end.saturating_sub(self.oldest), end.saturating_add(self.newest));
        while self.from < self.times.len() && self.times[self.from] <= oldest {
            self.from += 1;
        }
        self.to = self.to.max(self.from);
        while self.to < self.times.len() && self.times[self.to] <= newest {
            self.to += 1;
        }
        (end.saturating_sub(self.range), end, self.from, self.to)
    }
}

/// [`Pointers`] far from the ends of time, where no distance shrinks.
struct SteadyPointers<'a>(Pointers<'a>);

impl Windows for SteadyPointers<'_> {
    #[inline]
    fn window(&mut self, step: usize) -> (i64, i64, usize, usize) {
        let Pointers { times, moments, oldest, newest, range, from, to } = &mut self.0;
        let end = moments.steady_at(step);
        let (oldest, newest) = (end.wrapping_sub(*oldest), end.wrapping_add(*newest));
        while times.get(*from).is_some_and(|time| *time <= oldest) {
            *from += 1;
        }
        *to = (*to).max(*from);
        while times.get(*to).is_some_and(|time| *time <= newest) {
            *to += 1;
        }
        (end.wrapping_sub(*range), end, *from, *to)
    }
}

/// A range function over the windows of each series.
pub(crate) struct RangeFunction<'q> {
    pub(crate) function: FunctionId,
    pub(crate) source: RangeSource<'q>,
    pub(crate) heads: Vec<Head>,
    pub(crate) grid: StepGrid,
    pub(crate) params: Vec<ScalarSteps>,
    pub(crate) place: Place,
    pub(crate) env: &'q Env<'q>,
}

impl<'q> RangeFunction<'q> {
    pub(crate) fn new(
        env: &'q Env<'q>,
        id: NodeId,
        function: FunctionId,
        source: RangeSource<'q>,
        params: Vec<ScalarSteps>,
        range_position: usize,
        grid: StepGrid,
    ) -> Self {
        let keeps_name = function.signature().keeps_name;
        let rename = |head: &Head| if keeps_name { head.clone() } else { env.settings.without_name(head) };
        let heads = renamed(source.heads(), rename);
        Self { function, source, heads, grid, params, place: Place { order: id, position: range_position }, env }
    }

    fn at_each_step(
        &self,
        samples: &Samples<'_>,
        context: &mut Context<'_>,
        out: &mut StepVector,
        function: impl Fn(&Window<'_>, &mut Context<'_>, usize) -> Option<Point>,
    ) {
        let mut floats = self.source.pointers(samples.times);
        let mut histograms = self.source.pointers(samples.histogram_times);
        for step in 0..out.steps() {
            let (start, end, from, to) = floats.window(step);
            let (_, _, histogram_from, histogram_to) = histograms.window(step);
            if from == to && histogram_from == histogram_to {
                continue;
            }
            let window = Window {
                samples: samples.slice((from, to), (histogram_from, histogram_to)),
                start,
                end,
                at: self.grid.at(step).as_millis(),
                range: self.source.range_millis,
            };
            if let Some(point) = function(&window, context, step) {
                out.set(step, point);
            }
        }
    }

    fn param(&self, index: usize, step: usize) -> f64 {
        self.params.get(index).map_or(f64::NAN, |param| param.at(step))
    }

    fn evaluate(&self, samples: &Samples<'_>, scratch: &mut Scratch, context: &mut Context<'_>, out: &mut StepVector) {
        if let Some(extension) = self.source.extension {
            return self.at_each_step(samples, context, out, |window, context, _| {
                extended::evaluate(self.function, extension, window, context)
            });
        }
        if self.windows_overlap() && samples.histogram_times.is_empty() && self.slide(samples, scratch, out) {
            return;
        }
        match self.function {
            FunctionId::Rate => self.rate(RateKind::RATE, samples, scratch, context, out),
            FunctionId::Increase => self.rate(RateKind::INCREASE, samples, scratch, context, out),
            FunctionId::Delta => self.rate(RateKind::DELTA, samples, scratch, context, out),
            FunctionId::Irate => self.at_each_step(samples, context, out, |w, c, _| instant_rate::irate(w, c)),
            FunctionId::Idelta => self.at_each_step(samples, context, out, |w, c, _| instant_rate::idelta(w, c)),
            FunctionId::Changes => self.at_each_step(samples, context, out, |w, c, _| instant_rate::changes(w, c)),
            FunctionId::Resets => self.at_each_step(samples, context, out, |w, c, _| instant_rate::resets(w, c)),
            FunctionId::CountOverTime => self.at_each_step(samples, context, out, |w, c, _| over_time::count(w, c)),
            FunctionId::PresentOverTime => self.at_each_step(samples, context, out, |w, c, _| over_time::present(w, c)),
            FunctionId::SumOverTime => {
                self.at_each_step(samples, context, out, |w, c, _| histogram_over_time::sum(w, c));
            }
            FunctionId::AvgOverTime => {
                self.at_each_step(samples, context, out, |w, c, _| histogram_over_time::avg(w, c));
            }
            FunctionId::MinOverTime => self.at_each_step(samples, context, out, |w, c, _| over_time::min(w, c)),
            FunctionId::MaxOverTime => self.at_each_step(samples, context, out, |w, c, _| over_time::max(w, c)),
            FunctionId::FirstOverTime => self.at_each_step(samples, context, out, |w, c, _| over_time::first(w, c)),
            FunctionId::LastOverTime => self.at_each_step(samples, context, out, |w, c, _| over_time::last(w, c)),
            FunctionId::StddevOverTime => self.at_each_step(samples, context, out, |w, c, _| over_time::stddev(w, c)),
            FunctionId::StdvarOverTime => self.at_each_step(samples, context, out, |w, c, _| over_time::stdvar(w, c)),
            FunctionId::MadOverTime => self.at_each_step(samples, context, out, |w, c, _| over_time::mad(w, c)),
            FunctionId::TsOfFirstOverTime => {
                self.at_each_step(samples, context, out, |w, c, _| over_time::time_of_first(w, c));
            }
            FunctionId::TsOfLastOverTime => {
                self.at_each_step(samples, context, out, |w, c, _| over_time::time_of_last(w, c));
            }
            FunctionId::TsOfMaxOverTime => {
                self.at_each_step(samples, context, out, |w, c, _| over_time::time_of_max(w, c));
            }
            FunctionId::TsOfMinOverTime => {
                self.at_each_step(samples, context, out, |w, c, _| over_time::time_of_min(w, c));
            }
            FunctionId::Deriv => self.at_each_step(samples, context, out, |w, c, _| over_time::deriv(w, c)),
            FunctionId::PredictLinear => self
                .at_each_step(samples, context, out, |w, c, step| over_time::predict_linear(w, c, self.param(0, step))),
            FunctionId::QuantileOverTime => self.at_each_step(samples, context, out, |w, c, step| {
                over_time::quantile_over_time(w, c, self.param(0, step))
            }),
            FunctionId::DoubleExponentialSmoothing => self.at_each_step(samples, context, out, |w, c, step| {
                over_time::double_exponential_smoothing(w, c, self.param(0, step), self.param(1, step))
            }),
            // The table of functions has no other with a range.
            _ => {}
        }
    }

    /// Whether the factors of a smoothing are such, at each step that has samples.
    fn judge_factors(&self, samples: &Samples<'_>) -> Result<(), QueryError> {
        let mut floats = self.source.pointers(samples.times);
        let mut histograms = self.source.pointers(samples.histogram_times);
        for step in 0..self.grid.len() {
            let (_, _, from, to) = floats.window(step);
            let (_, _, histogram_from, histogram_to) = histograms.window(step);
            if from == to && histogram_from == histogram_to {
                continue;
            }
            for (index, (name, short)) in [("smoothing", "sf"), ("trend", "tf")].into_iter().enumerate() {
                let value = self.param(index, step);
                if value <= 0.0 || value >= 1.0 {
                    return Err(QueryError::execution(format!(
                        "invalid {name} factor. Expected: 0 < {short} < 1, got: {value:.6}"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Whether most samples are in several windows.
    fn windows_overlap(&self) -> bool {
        self.grid.len() > 1 && self.source.range_millis / 4 >= self.grid.step_millis()
    }

    /// Functions of floats that need not look at every sample of every window; `false` for the others.
    fn slide(&self, samples: &Samples<'_>, scratch: &mut Scratch, out: &mut StepVector) -> bool {
        let mut windows = self.source.pointers(samples.times);
        let values = samples.values;
        match self.function {
            FunctionId::SumOverTime => scratch.sums(values, &mut windows, false, out),
            FunctionId::AvgOverTime => scratch.sums(values, &mut windows, true, out),
            FunctionId::MinOverTime => scratch.extremes(values, &mut windows, |value, best| value < best, out),
            FunctionId::MaxOverTime => scratch.extremes(values, &mut windows, |value, best| value > best, out),
            // Quantiles out of bounds are noted step by step.
            FunctionId::QuantileOverTime if (0..out.steps()).all(|step| (0.0..=1.0).contains(&self.param(0, step))) => {
                scratch.quantiles(values, &mut windows, |step| self.param(0, step), out);
            }
            _ => return false,
        }
        true
    }

    fn rate(
        &self,
        kind: RateKind,
        samples: &Samples<'_>,
        scratch: &mut Scratch,
        context: &mut Context<'_>,
        out: &mut StepVector,
    ) {
        let plain = samples.histogram_times.is_empty()
            && (samples.starts.is_empty() || !context.use_start_timestamps || !kind.is_counter);
        if plain {
            let mut windows = self.source.pointers(samples.times);
            let (columns, range) = ((samples.times, samples.values), self.source.range_millis);
            if windows.moments.is_steady() {
                let mut windows = SteadyPointers(windows);
                rate::rate_at_all_steps(kind, columns, range, &mut windows, &mut scratch.rate, out);
            } else {
                rate::rate_at_all_steps(kind, columns, range, &mut windows, &mut scratch.rate, out);
            }
        } else {
            self.at_each_step(samples, context, out, |window, context, _| rate::rate(kind, window, context));
        }
    }

    /// Says so if a rate was taken of what does not look like a counter.
    fn judge_counter(&self, head: &Head, out: &StepVector, notes: &mut Notes<'_>) {
        if !matches!(self.function, FunctionId::Rate | FunctionId::Increase) || !out.present.any() {
            return;
        }
        let name = head.labels.metric_name();
        if name.is_empty() {
            return;
        }
        if self.env.settings.type_and_unit_labels {
            let metric_type = head.labels.get("__type__").unwrap_or_default();
            if !matches!(metric_type, "counter" | "histogram") {
                notes.type_is_not_a_counter(name, metric_type);
            }
        } else if !["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| name.ends_with(suffix)) {
            notes.possibly_not_a_counter(name);
        }
    }

    fn count_samples(&self, samples: &Samples<'_>, worker_counters: &mut super::limits::Counters) {
        let mut floats = self.source.pointers(samples.times);
        let mut histograms = self.source.pointers(samples.histogram_times);
        let per_step = self.env.settings.per_step_statistics;
        for step in 0..self.grid.len() {
            let (_, _, from, to) = floats.window(step);
            let (_, _, histogram_from, histogram_to) = histograms.window(step);
            let sizes: u64 =
                samples.histograms[histogram_from..histogram_to].iter().map(|h| histogram_samples(h)).sum();
            let count = (to - from) as u64 + sizes;
            worker_counters.total_queryable += count;
            if per_step {
                worker_counters.count_at(&self.env.settings, self.grid.at(step), count);
            }
        }
    }
}

impl Operator for RangeFunction<'_> {
    fn heads(&self) -> &[Head] {
        &self.heads
    }

    fn steps(&self) -> usize {
        self.grid.len()
    }

    fn compute(&self, index: usize, worker: &mut Worker, out: &mut StepVector) -> Result<(), QueryError> {
        out.reset(self.grid.len());
        self.source.load(index, worker)?;
        let head = &self.source.heads()[index];
        let mut annotations = std::mem::take(&mut worker.annotations);
        let mut counters = std::mem::take(&mut worker.counters);
        let mut scratch = std::mem::take(&mut worker.scratch);
        let samples = worker.samples();
        if self.function == FunctionId::DoubleExponentialSmoothing {
            self.judge_factors(&samples)?;
        }
        let mut context = Context {
            name: head.labels.metric_name(),
            notes: Notes::new(&mut annotations, self.place),
            use_start_timestamps: self.env.settings.use_start_timestamps,
        };
        self.evaluate(&samples, &mut scratch, &mut context, out);
        self.judge_counter(head, out, &mut context.notes);
        if self.env.settings.count_queryable {
            self.count_samples(&samples, &mut counters);
        }
        worker.annotations = annotations;
        worker.counters = counters;
        worker.scratch = scratch;
        Ok(())
    }

    fn is_distinct(&self) -> bool {
        self.source.is_distinct()
    }
}
