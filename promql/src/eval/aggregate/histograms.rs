//! Sums and means of histograms, for `sum` and `avg`.

use std::sync::Arc;

use ferula_model::histogram::{Combined, HistogramMean, HistogramSum, IncompatibleSchemas};
use ferula_model::{CounterResetHint, FloatHistogram};

use crate::eval::steps::StepVector;
use crate::functions::note::{HistogramOperation, Notes};

/// The histograms of one group at all steps.
pub(crate) struct HistogramFold {
    steps: Vec<Option<Step>>,
    is_mean: bool,
}

struct Step {
    /// `None` once exponential and custom buckets met.
    fold: Option<Fold>,
    saw_reset: bool,
    saw_no_reset: bool,
}

enum Fold {
    /// A single histogram, shared with its series.
    One(Arc<FloatHistogram>),
    Sum(HistogramSum),
    Mean(HistogramMean),
}

impl HistogramFold {
    pub(crate) fn new(steps: usize, is_mean: bool) -> Self {
        Self { steps: (0..steps).map(|_| None).collect(), is_mean }
    }

    /// Whether there is a histogram at this step already.
    pub(crate) fn has_begun(&self, at: usize) -> bool {
        self.steps.get(at).is_some_and(Option::is_some)
    }

    /// A float was at this step before the first histogram: neither will be in the result, so histograms are not summed.
    pub(crate) fn spoil(&mut self, at: usize) {
        if let Some(cell) = self.steps.get_mut(at) {
            *cell = Some(Step { fold: None, saw_reset: false, saw_no_reset: false });
        }
    }

    /// Adds the histogram of a series of that name.
    pub(crate) fn add(&mut self, at: usize, histogram: &Arc<FloatHistogram>, name: &str, notes: &mut Notes<'_>) {
        let is_mean = self.is_mean;
        let Some(cell) = self.steps.get_mut(at) else { return };
        let Some(step) = cell else {
            *cell = Some(Step {
                fold: Some(Fold::One(Arc::clone(histogram))),
                saw_reset: histogram.counter_reset == CounterResetHint::Reset,
                saw_no_reset: histogram.counter_reset == CounterResetHint::NotReset,
            });
            return;
        };
        let Some(fold) = &mut step.fold else { return };
        match fold.add(histogram, is_mean) {
            Ok(combined) => {
                if combined.bounds_reconciled {
                    notes.custom_buckets_reconciled(HistogramOperation::Aggregation);
                }
            }
            Err(IncompatibleSchemas) => {
                notes.mixed_schemas(name);
                step.fold = None;
            }
        }
        step.saw_reset |= histogram.counter_reset == CounterResetHint::Reset;
        step.saw_no_reset |= histogram.counter_reset == CounterResetHint::NotReset;
        if step.saw_reset && step.saw_no_reset {
            notes.counter_reset_collision(HistogramOperation::Aggregation);
        }
    }

    /// Adds another piece of the same group. Only sums come in pieces.
    pub(crate) fn merge(&mut self, other: HistogramFold, notes: &mut Notes<'_>) {
        for (at, step) in other.steps.into_iter().enumerate() {
            let Some(step) = step else { continue };
            match step.fold {
                Some(fold) => self.add(at, &fold.finish(), "", notes),
                None => {
                    if let Some(cell) = self.steps.get_mut(at) {
                        *cell = Some(Step { fold: None, ..step });
                    }
                    continue;
                }
            }
            if let Some(Some(mine)) = self.steps.get_mut(at) {
                mine.saw_reset |= step.saw_reset;
                mine.saw_no_reset |= step.saw_no_reset;
                if mine.saw_reset && mine.saw_no_reset {
                    notes.counter_reset_collision(HistogramOperation::Aggregation);
                }
            }
        }
    }

    /// Puts the results beside the floats; where both are, neither stays.
    pub(crate) fn finish(self, out: &mut StepVector, notes: &mut Notes<'_>) {
        for (at, step) in self.steps.into_iter().enumerate() {
            let Some(step) = step else { continue };
            if out.present.get(at) {
                notes.mixed_in_aggregation();
                out.clear(at);
            } else if let Some(fold) = step.fold {
                out.set_histogram(at, fold.finish());
            }
        }
    }
}

impl Fold {
    fn add(&mut self, histogram: &FloatHistogram, is_mean: bool) -> Result<Combined, IncompatibleSchemas> {
        if let Fold::One(first) = self {
            let first = (**first).clone();
            *self = if is_mean { Fold::Mean(HistogramMean::new(first)) } else { Fold::Sum(HistogramSum::new(first)) };
        }
        match self {
            Fold::Sum(sum) => sum.add(histogram),
            Fold::Mean(mean) => mean.add(histogram),
            Fold::One(_) => Ok(Combined::default()),
        }
    }

    fn finish(self) -> Arc<FloatHistogram> {
        match self {
            Fold::One(histogram) => {
                let mut compacted = (*histogram).clone();
                compacted.compact(0);
                Arc::new(compacted)
            }
            Fold::Sum(sum) => Arc::new(sum.finish()),
            Fold::Mean(mean) => Arc::new(mean.finish()),
        }
    }
}
