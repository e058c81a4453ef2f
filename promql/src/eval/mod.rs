//! Evaluation: series by series over all steps.
//!
//! ```text
//!  plan --build--> operators          select --rate--> abs --> (sum: one accumulator for each group) --> result
//!                                       one series at a time, all steps at once
//! ```
//!
//! An [`Operator`] knows the labels of its series before it computes any of them, and computes each independently of
//! the others: any thread may ask for any series at any time. Operators that need several series at once
//! (aggregations, joins, sorting) are evaluated while the operators are built, over those of their operands, and become
//! operators over what they hold. So an operator tree never buffers what it does not need, and independent series
//! spread over threads wherever somebody consumes them ([`parallel`]).
//!
//! Read in this order: [`steps`] (what flows), [`build`] (the single match from plan to operators), [`select`] and
//! [`window`] (where samples become steps), [`aggregate`] and [`binary`], [`result`].
//!
//! # Invariants
//!
//! - A result never depends on the timing of threads: what is merged, is merged in the order of series.
//! - Limits, time and cancellation are checked before each series.

pub(crate) mod aggregate;
pub(crate) mod binary;
pub(crate) mod build;
mod calls;
pub(crate) mod distinct;
mod host;
pub(crate) mod label_sets;
pub(crate) mod limits;
pub(crate) mod measure;
pub(crate) mod parallel;
pub(crate) mod result;
pub(crate) mod select;
pub(crate) mod steps;
pub(crate) mod subquery;
pub(crate) mod window;

use std::sync::Arc;

use ferula_model::{Columns, Labels, METRIC_NAME, Querier, StepGrid};
use parking_lot::Mutex;

use crate::annotation::Annotations;
use crate::error::QueryError;
use crate::functions::expressions::Expressions;
use crate::functions::registry::FunctionRegistry;
use crate::functions::sliding::Scratch;
use crate::plan::{NodeId, Plan};
use limits::{Counters, Limits};
use steps::StepVector;

/// The place of a node in the order of evaluation; of equal annotations the one of the highest stays.
pub(crate) type NodeOrder = NodeId;

/// What all operators of one query share.
pub(crate) struct Env<'q> {
    pub(crate) plan: &'q Plan,
    pub(crate) querier: &'q dyn Querier,
    pub(crate) functions: &'q FunctionRegistry,
    pub(crate) expressions: &'q Expressions,
    pub(crate) settings: Settings,
    pub(crate) limits: &'q Limits,
    /// Annotations and counters of finished work.
    pub(crate) ledger: Mutex<Ledger>,
    /// What each operation costs, if that is asked.
    pub(crate) measures: Option<measure::Measures>,
}

/// The switches that change what a query answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) lookback_millis: i64,
    /// The grid of the whole query.
    pub(crate) query_grid: StepGrid,
    pub(crate) is_range: bool,
    pub(crate) threads: usize,
    pub(crate) delayed_name_removal: bool,
    pub(crate) use_start_timestamps: bool,
    pub(crate) type_and_unit_labels: bool,
    /// Count the samples in all windows.
    pub(crate) count_queryable: bool,
    pub(crate) per_step_statistics: bool,
}

/// Whether a label says what the metric is, rather than which series: these go when a value is no longer the metric's.
pub(crate) fn is_metadata_label(name: &str) -> bool {
    matches!(name, METRIC_NAME | "__type__" | "__unit__")
}

impl Settings {
    /// The series when its value is no longer the metric's.
    pub(crate) fn without_name(&self, head: &Head) -> Head {
        if self.delayed_name_removal {
            return Head { labels: head.labels.clone(), drop_name: true };
        }
        Head::new(head.labels.without(&[METRIC_NAME, "__type__", "__unit__"]))
    }

    /// The same for functions that leave type and unit.
    pub(crate) fn without_metric_name(&self, head: &Head) -> Head {
        if self.delayed_name_removal {
            return Head { labels: head.labels.clone(), drop_name: true };
        }
        Head::new(head.labels.without_metric_name())
    }
}

/// What work leaves behind besides its result.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) annotations: Annotations,
    pub(crate) counters: Counters,
}

impl Env<'_> {
    /// Adds what a worker noted.
    pub(crate) fn settle(&self, worker: &mut Worker) {
        let mut ledger = self.ledger.lock();
        if !worker.annotations.is_empty() {
            ledger.annotations.merge(std::mem::take(&mut worker.annotations));
        }
        ledger.counters.merge(std::mem::take(&mut worker.counters));
    }
}

/// What one thread needs to compute series: memory to reuse, and notes that are merged when it is done.
#[derive(Debug, Default)]
pub(crate) struct Worker {
    /// Samples as the storage gave them.
    pub(crate) columns: Columns,
    /// Histograms of `columns` as float histograms.
    pub(crate) float_histograms: Vec<Arc<ferula_model::FloatHistogram>>,
    /// Memory of sliding windows.
    pub(crate) scratch: Scratch,
    spare: Vec<StepVector>,
    pub(crate) annotations: Annotations,
    pub(crate) counters: Counters,
    /// The most samples that were in `columns`: their memory is kept for the next series.
    reserved: u64,
    reservation: Option<limits::Hold>,
    /// Samples and series since the clock was looked at.
    unwatched: u64,
}

impl Worker {
    /// Whether the query may go on. Asked before each series; the clock is looked at every few thousand samples.
    #[inline]
    pub(crate) fn check(&mut self, limits: &limits::Limits) -> Result<(), QueryError> {
        const SAMPLES_BETWEEN_LOOKS: u64 = 4_096;
        // A series without samples costs as much as some samples.
        const SAMPLES_OF_A_SERIES: u64 = 16;
        self.unwatched += SAMPLES_OF_A_SERIES;
        if self.unwatched < SAMPLES_BETWEEN_LOOKS {
            return limits.check_cancellation(EVALUATION);
        }
        self.unwatched = 0;
        limits.check(EVALUATION)
    }

    /// Counts samples that were put into `columns`.
    pub(crate) fn reserve(&mut self, limits: &limits::Limits, samples: u64) -> Result<(), QueryError> {
        self.unwatched += samples;
        if samples > self.reserved {
            (self.reserved, self.reservation) = (0, None);
            self.reservation = Some(limits.hold(samples, samples.saturating_mul(16))?);
            self.reserved = samples;
        }
        Ok(())
    }

    /// An empty step vector, from memory used before if there is some.
    pub(crate) fn take(&mut self, steps: usize) -> StepVector {
        let mut vector = self.spare.pop().unwrap_or_default();
        vector.reset(steps);
        vector
    }

    /// Gives a step vector back for reuse.
    pub(crate) fn give(&mut self, vector: StepVector) {
        if self.spare.len() < 16 {
            self.spare.push(vector);
        }
    }
}

/// The stage of a query in which series are computed.
pub(crate) const EVALUATION: &str = "expression evaluation";

/// The name of a series at this point of the evaluation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) labels: Labels,
    /// With delayed name removal: the name is to be dropped at the end.
    pub(crate) drop_name: bool,
}

impl Head {
    pub(crate) fn new(labels: Labels) -> Self {
        Self { labels, drop_name: false }
    }
}

/// The heads under other names. Where only some labels are looked at, neighbours are often alike and then share what `rename`
/// makes of them.
pub(crate) fn renamed(heads: &[Head], rename: impl Fn(&Head) -> Head) -> Vec<Head> {
    let mut renamed: Vec<Head> = Vec::with_capacity(heads.len());
    for (index, head) in heads.iter().enumerate() {
        let known = renamed.last().filter(|_| heads[index - 1] == *head).cloned();
        renamed.push(known.unwrap_or_else(|| rename(head)));
    }
    renamed
}

/// Yields series, each at all steps of a grid.
pub(crate) trait Operator: Send + Sync {
    /// Which series; some may turn out to have no point.
    fn heads(&self) -> &[Head];

    /// How many steps each series has.
    fn steps(&self) -> usize;

    /// Computes series `index` into `out`, whatever it held before.
    fn compute(&self, index: usize, worker: &mut Worker, out: &mut StepVector) -> Result<(), QueryError>;

    /// Whether the series are there already and computing one is a copy.
    fn is_held(&self) -> bool {
        false
    }

    /// The held series itself, if it is held.
    fn held(&self, _index: usize) -> Option<&StepVector> {
        None
    }

    /// Whether series are known to be different ones even where their heads are not: the heads have only those labels that
    /// somebody needs.
    fn is_distinct(&self) -> bool {
        false
    }

    /// Whether computing a series never leaves a note and never fails: then series that nobody needs are left out.
    fn is_silent(&self) -> bool {
        self.is_held()
    }
}

/// Computes series that nobody needs, for the notes and errors that they leave: upstream evaluates every operand in full.
pub(crate) fn hear<'m>(
    env: &Env<'_>,
    operator: &dyn Operator,
    members: impl IntoIterator<Item = &'m usize>,
    worker: &mut Worker,
) -> Result<(), QueryError> {
    if operator.is_silent() {
        return Ok(());
    }
    let mut vector = worker.take(operator.steps());
    for &member in members {
        worker.check(env.limits)?;
        operator.compute(member, worker, &mut vector)?;
    }
    worker.give(vector);
    Ok(())
}

pub(crate) type BoxOperator<'q> = Box<dyn Operator + 'q>;

impl<T: Operator + ?Sized> Operator for Arc<T> {
    fn heads(&self) -> &[Head] {
        (**self).heads()
    }

    fn steps(&self) -> usize {
        (**self).steps()
    }

    fn compute(&self, index: usize, worker: &mut Worker, out: &mut StepVector) -> Result<(), QueryError> {
        (**self).compute(index, worker, out)
    }

    fn is_held(&self) -> bool {
        (**self).is_held()
    }

    fn held(&self, index: usize) -> Option<&StepVector> {
        (**self).held(index)
    }

    fn is_distinct(&self) -> bool {
        (**self).is_distinct()
    }

    fn is_silent(&self) -> bool {
        (**self).is_silent()
    }
}

/// Series that are there already.
#[derive(Debug)]
pub(crate) struct Held {
    heads: Vec<Head>,
    vectors: Vec<StepVector>,
    steps: usize,
    _held: Vec<limits::Hold>,
}

impl Held {
    pub(crate) fn new(steps: usize, series: Vec<(Head, StepVector)>, limits: &Limits) -> Result<Self, QueryError> {
        let (heads, vectors): (Vec<_>, Vec<_>) = series.into_iter().unzip();
        let samples = vectors.iter().map(StepVector::samples).sum();
        let bytes = vectors.iter().map(StepVector::heap_bytes).sum();
        let held = vec![limits.hold(samples, bytes)?];
        Ok(Self { heads, vectors, steps, _held: held })
    }

    /// Takes the series out.
    pub(crate) fn into_series(self) -> impl Iterator<Item = (Head, StepVector)> {
        self.heads.into_iter().zip(self.vectors)
    }
}

impl Operator for Held {
    fn heads(&self) -> &[Head] {
        &self.heads
    }

    fn steps(&self) -> usize {
        self.steps
    }

    fn compute(&self, index: usize, _: &mut Worker, out: &mut StepVector) -> Result<(), QueryError> {
        out.copy_from(&self.vectors[index]);
        Ok(())
    }

    fn is_held(&self) -> bool {
        true
    }

    fn held(&self, index: usize) -> Option<&StepVector> {
        self.vectors.get(index)
    }
}
