//! Aggregations that keep one accumulator for each group: `sum`, `avg`, `count`, `min`, `max`, `group`, `stddev`, `stdvar`.

use parking_lot::Mutex;

use super::histograms::HistogramFold;
use super::{Aggregation, Group, form_groups};
use crate::error::QueryError;
use crate::eval::steps::{Bitmap, Ones, StepVector};
use crate::eval::{Held, Operator, Worker, parallel};
use crate::functions::note::Notes;
use crate::functions::sum::{Mean, Sum};
use crate::syntax::ast::AggregateOp;

/// A piece of a group that one thread computes.
struct Piece {
    group: usize,
    /// Its number within the group.
    number: usize,
    /// Positions in the group's members.
    members: std::ops::Range<usize>,
}

/// Series in a piece. Fixed, so that sums are put together the same way on every machine.
const PIECE: usize = 128;

pub(crate) fn aggregate(aggregation: &Aggregation<'_>, child: &dyn Operator) -> Result<Held, QueryError> {
    let env = aggregation.env;
    let steps = child.steps();
    let groups = form_groups(child.heads(), aggregation.grouping);
    let pieces = cut(&groups, aggregation.op);
    let merging: Vec<Mutex<Merging>> = groups.iter().map(|_| Mutex::new(Merging::default())).collect();
    let weight = (child.heads().len() as u64).saturating_mul(steps as u64);
    parallel::run(env, pieces.len(), weight, |index, worker| {
        let piece = &pieces[index];
        let group = &groups[piece.group];
        let mut accumulator = Accumulator::new(aggregation.op, steps);
        let _hold = env.limits.hold(steps as u64, accumulator.heap_bytes())?;
        let mut vector = worker.take(steps);
        for &member in &group.members[piece.members.clone()] {
            worker.check(env.limits)?;
            if let Some(held) = child.held(member) {
                accumulator.add(held, child.heads()[member].labels.metric_name(), aggregation, worker)?;
            } else {
                child.compute(member, worker, &mut vector)?;
                accumulator.add(&vector, child.heads()[member].labels.metric_name(), aggregation, worker)?;
            }
        }
        worker.give(vector);
        merging[piece.group].lock().put(piece.number, accumulator, aggregation, worker)
    })?;
    let mut worker = Worker::default();
    let series = groups.into_iter().zip(merging).filter_map(|(group, merging)| {
        let vector = merging.into_inner().merged?.finish(aggregation, &mut worker);
        vector.any().then_some((group.head, vector))
    });
    let series = series.collect();
    env.settle(&mut worker);
    Held::new(steps, series, env.limits)
}

fn cut(groups: &[Group], op: AggregateOp) -> Vec<Piece> {
    // Means and variances cannot be put together from pieces without losing digits.
    let length = match op {
        AggregateOp::Avg | AggregateOp::Stddev | AggregateOp::Stdvar => usize::MAX,
        _ => PIECE,
    };
    let mut pieces = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let count = group.members.len();
        let mut start: usize = 0;
        let mut number = 0;
        while start < count {
            let end = start.saturating_add(length).min(count);
            pieces.push(Piece { group: index, number, members: start..end });
            (start, number) = (end, number + 1);
        }
    }
    pieces
}

/// Pieces of a group on their way into one: in order, whichever is done first.
#[derive(Default)]
struct Merging {
    merged: Option<Accumulator>,
    next: usize,
    waiting: Vec<(usize, Accumulator)>,
}

impl Merging {
    fn put(
        &mut self,
        number: usize,
        accumulator: Accumulator,
        aggregation: &Aggregation<'_>,
        worker: &mut Worker,
    ) -> Result<(), QueryError> {
        self.waiting.push((number, accumulator));
        while let Some(at) = self.waiting.iter().position(|(number, _)| *number == self.next) {
            let (_, accumulator) = self.waiting.swap_remove(at);
            match &mut self.merged {
                Some(merged) => merged.merge(accumulator, aggregation, worker)?,
                merged @ None => *merged = Some(accumulator),
            }
            self.next += 1;
        }
        Ok(())
    }
}

/// One group at all steps.
struct Accumulator {
    floats: Floats,
    /// Where there is a float (for `count` and `group`, a sample of either kind).
    present: Bitmap,
    /// Sums of histograms, for `sum` and `avg`, once there is one.
    histograms: Option<Box<HistogramFold>>,
    steps: usize,
}

enum Floats {
    Sum { sums: Vec<f64>, compensations: Vec<f64> },
    Mean(Vec<Mean>),
    Count(Vec<u64>),
    Extreme { values: Vec<f64>, is_max: bool },
    Group,
    Variance(Vec<Variance>),
}

#[derive(Clone, Copy, Debug, Default)]
struct Variance {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Accumulator {
    fn new(op: AggregateOp, steps: usize) -> Self {
        let floats = match op {
            AggregateOp::Sum => Floats::Sum { sums: vec![0.0; steps], compensations: vec![0.0; steps] },
            AggregateOp::Avg => Floats::Mean(vec![Mean::starting_with(0.0); steps]),
            AggregateOp::Count => Floats::Count(vec![0; steps]),
            AggregateOp::Min => Floats::Extreme { values: vec![0.0; steps], is_max: false },
            AggregateOp::Max => Floats::Extreme { values: vec![0.0; steps], is_max: true },
            AggregateOp::Stddev | AggregateOp::Stdvar => Floats::Variance(vec![Variance::default(); steps]),
            _ => Floats::Group,
        };
        Self { floats, present: Bitmap::with_steps(steps), histograms: None, steps }
    }

    fn heap_bytes(&self) -> u64 {
        let step = match &self.floats {
            Floats::Sum { .. } => 16,
            Floats::Mean(_) => size_of::<Mean>(),
            Floats::Count(_) | Floats::Extreme { .. } => 8,
            Floats::Group => 0,
            Floats::Variance(_) => size_of::<Variance>(),
        };
        (step * self.steps + self.steps / 8) as u64
    }

    fn add(
        &mut self,
        vector: &StepVector,
        name: &str,
        aggregation: &Aggregation<'_>,
        worker: &mut Worker,
    ) -> Result<(), QueryError> {
        if !vector.histograms.is_empty() {
            self.add_histograms(vector, name, aggregation, worker);
        }
        let present = &mut self.present;
        match &mut self.floats {
            Floats::Sum { sums, compensations } => add_sums(sums, compensations, present, vector),
            Floats::Mean(means) => for_each_present(vector, present, |step, value, first| {
                if first { means[step] = Mean::starting_with(value) } else { means[step].add(value) }
            }),
            Floats::Count(counts) => for_each_present(vector, present, |step, _, _| counts[step] += 1),
            Floats::Extreme { values, is_max: true } => for_each_present(vector, present, |step, value, first| {
                if first || values[step] < value || values[step].is_nan() {
                    values[step] = value;
                }
            }),
            Floats::Extreme { values, is_max: false } => for_each_present(vector, present, |step, value, first| {
                if first || values[step] > value || values[step].is_nan() {
                    values[step] = value;
                }
            }),
            Floats::Group => present.union(&vector.present),
            Floats::Variance(variances) => for_each_present(vector, present, |step, value, first| {
                variances[step].add(value, first);
            }),
        }
        Ok(())
    }

    fn add_histograms(&mut self, vector: &StepVector, name: &str, aggregation: &Aggregation<'_>, worker: &mut Worker) {
        let with_histogram =
            vector.histograms.iter().enumerate().filter_map(|(step, histogram)| Some((step, histogram.as_ref()?)));
        match aggregation.op {
            AggregateOp::Sum | AggregateOp::Avg => {
                let fold = self.histograms.get_or_insert_with(|| {
                    Box::new(HistogramFold::new(self.steps, aggregation.op == AggregateOp::Avg))
                });
                let mut notes = Notes::new(&mut worker.annotations, aggregation.place);
                for (step, histogram) in with_histogram {
                    if self.present.get(step) && !fold.has_begun(step) {
                        fold.spoil(step);
                    } else {
                        fold.add(step, histogram, name, &mut notes);
                    }
                }
            }
            AggregateOp::Count | AggregateOp::Group => {
                for (step, _) in with_histogram {
                    self.present.set(step);
                    if let Floats::Count(counts) = &mut self.floats {
                        counts[step] += 1;
                    }
                }
            }
            _ => {
                if vector.has_histograms() {
                    let mut notes = Notes::new(&mut worker.annotations, aggregation.place);
                    notes.histogram_ignored_in_aggregation(aggregation.op.name());
                }
            }
        }
    }

    fn merge(
        &mut self,
        other: Accumulator,
        aggregation: &Aggregation<'_>,
        worker: &mut Worker,
    ) -> Result<(), QueryError> {
        match (&mut self.histograms, other.histograms) {
            (Some(mine), Some(theirs)) => {
                mine.merge(*theirs, &mut Notes::new(&mut worker.annotations, aggregation.place));
            }
            (mine @ None, theirs) => *mine = theirs,
            (Some(_), None) => {}
        }
        for step in other.present.iter() {
            let first = !self.present.get(step);
            match (&mut self.floats, &other.floats) {
                (Floats::Sum { sums, compensations }, Floats::Sum { sums: theirs, compensations: their_rests }) => {
                    let mut sum = Sum { sum: sums[step], compensation: compensations[step] };
                    let other = Sum { sum: theirs[step], compensation: their_rests[step] };
                    if first {
                        sum = other
                    } else {
                        sum.merge(other)
                    }
                    (sums[step], compensations[step]) = (sum.sum, sum.compensation);
                }
                (Floats::Count(mine), Floats::Count(theirs)) => mine[step] += theirs[step],
                (Floats::Extreme { values, is_max }, Floats::Extreme { values: theirs, .. }) => {
                    let (mine, theirs) = (values[step], theirs[step]);
                    let better = if *is_max { mine < theirs } else { mine > theirs };
                    if first || better || mine.is_nan() {
                        values[step] = theirs;
                    }
                }
                _ => {}
            }
        }
        self.present.union(&other.present);
        Ok(())
    }

    fn finish(self, aggregation: &Aggregation<'_>, worker: &mut Worker) -> StepVector {
        let mut out = StepVector::with_steps(self.steps);
        match self.floats {
            Floats::Sum { sums, compensations } => {
                out.floats = sums;
                for (sum, compensation) in out.floats.iter_mut().zip(compensations) {
                    *sum += compensation;
                }
            }
            Floats::Mean(means) => out.floats = means.into_iter().map(Mean::value).collect(),
            Floats::Count(counts) => out.floats = counts.into_iter().map(|count| count as f64).collect(),
            Floats::Extreme { values, .. } => out.floats = values,
            Floats::Group => out.floats = vec![1.0; self.steps],
            Floats::Variance(variances) => {
                let root = aggregation.op == AggregateOp::Stddev;
                out.floats = variances
                    .into_iter()
                    .map(|v| if root { (v.squares / v.count).sqrt() } else { v.squares / v.count })
                    .collect();
            }
        }
        out.present = self.present;
        if let Some(histograms) = self.histograms {
            histograms.finish(&mut out, &mut Notes::new(&mut worker.annotations, aggregation.place));
        }
        out
    }
}

impl Variance {
    fn add(&mut self, value: f64, first: bool) {
        if first {
            let squares = if value.is_finite() { 0.0 } else { f64::NAN };
            *self = Variance { count: 1.0, mean: value, squares };
            return;
        }
        self.count += 1.0;
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }
}

/// Calls `add` with step, value and whether the step was empty so far, for each float of `vector`.
#[inline]
fn for_each_present(vector: &StepVector, present: &mut Bitmap, mut add: impl FnMut(usize, f64, bool)) {
    for (index, &word) in vector.present.words().iter().enumerate() {
        let known = present.words()[index];
        let base = index * 64;
        if word == u64::MAX && known == u64::MAX {
            for (step, &value) in (base..).zip(&vector.floats[base..base + 64]) {
                add(step, value, false);
            }
            continue;
        }
        for bit in Ones(word) {
            add(base + bit, vector.floats[base + bit], known & (1 << bit) == 0);
        }
    }
    present.union(&vector.present);
}

/// The loop that most queries spend their time in.
fn add_sums(sums: &mut [f64], compensations: &mut [f64], present: &mut Bitmap, vector: &StepVector) {
    for (index, &word) in vector.present.words().iter().enumerate() {
        let known = present.words()[index];
        let base = index * 64;
        if word == u64::MAX && known == u64::MAX {
            let range = base..base + 64;
            let values = &vector.floats[range.clone()];
            let cells = sums[range.clone()].iter_mut().zip(&mut compensations[range]);
            for ((sum, compensation), &value) in cells.zip(values) {
                add_one(sum, compensation, value);
            }
            continue;
        }
        for bit in Ones(word) {
            let step = base + bit;
            if known & (1 << bit) == 0 {
                sums[step] = vector.floats[step];
            } else {
                add_one(&mut sums[step], &mut compensations[step], vector.floats[step]);
            }
        }
    }
    present.union(&vector.present);
}

#[inline(always)]
fn add_one(sum: &mut f64, compensation: &mut f64, value: f64) {
    let total = *sum + value;
    // Selections instead of branches, so that the loop is vectorised.
    let (large, small) = if sum.abs() >= value.abs() { (*sum, value) } else { (value, *sum) };
    let next = *compensation + ((large - total) + small);
    *compensation = if total.is_infinite() { 0.0 } else { next };
    *sum = total;
}
