//! `histogram_quantile`, `histogram_quantiles` and `histogram_fraction`, of classic and native histograms alike.
//!
//! The buckets of a classic histogram are series of their own. Those that belong together are computed together, one
//! histogram after the other; nothing else is held.

use ferula_model::histogram::NanEffect;
use ferula_model::number::{FloatForm, format_float, parse_float};
use ferula_model::{FloatHistogram, Labels};

use super::classic::{ClassicBucket, bucket_fraction, bucket_quantile};
use super::note::{Notes, Place};
use crate::annotation::ForcedMonotonicity;
use crate::error::QueryError;
use crate::eval::build::ScalarSteps;
use crate::eval::label_sets::LabelSets;
use crate::eval::steps::StepVector;
use crate::eval::{Env, Head, Held, Operator, Worker, parallel};

/// What is asked of each histogram.
pub(crate) enum Question {
    /// A quantile each; with a label, it says which.
    Quantiles {
        quantiles: Vec<ScalarSteps>,
        label: Option<String>,
    },
    Fraction {
        lower: ScalarSteps,
        upper: ScalarSteps,
    },
}

/// A question about all histograms of a vector.
pub(crate) struct HistogramQuery<'q> {
    pub(crate) env: &'q Env<'q>,
    pub(crate) question: Question,
    /// About the vector.
    pub(crate) place: Place,
    pub(crate) grid: ferula_model::StepGrid,
    /// Where each quantile stands.
    pub(crate) quantile_positions: Vec<usize>,
}

/// The series of one histogram.
#[derive(Debug)]
struct Family {
    /// With the name, without `le`.
    labels: Labels,
    drop_name: bool,
    /// Bounds and positions of classic buckets, by rising bound.
    buckets: Vec<(f64, usize)>,
    /// The series that may hold native histograms under these labels.
    native: Vec<usize>,
}

const BUCKET_LABEL: &str = "le";

fn families(heads: &[Head]) -> Vec<Family> {
    let mut sets = LabelSets::default();
    let mut families: Vec<Family> = Vec::new();
    for (index, head) in heads.iter().enumerate() {
        let number = sets.number(head.labels.iter().filter(|(name, _)| *name != BUCKET_LABEL));
        if number == families.len() {
            let labels = head.labels.without(&[BUCKET_LABEL]);
            families.push(Family { labels, drop_name: head.drop_name, buckets: Vec::new(), native: Vec::new() });
        }
        let bound = head.labels.get(BUCKET_LABEL);
        match bound.and_then(|text| parse_float(text).ok()) {
            Some(bound) => families[number].buckets.push((bound, index)),
            None => families[number].native.push(index),
        }
    }
    for family in &mut families {
        family.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    families
}

impl HistogramQuery<'_> {
    /// Answers it.
    pub(crate) fn evaluate(&self, child: &dyn Operator) -> Result<Held, QueryError> {
        let steps = child.steps();
        self.judge_quantiles(steps);
        let families = families(child.heads());
        let weight = (child.heads().len() as u64).saturating_mul(steps as u64);
        let answers = parallel::run(self.env, families.len(), weight, |index, worker| {
            self.answer(&families[index], child, worker)
        })?;
        Held::new(steps, answers.into_iter().flatten().collect(), self.env.limits)
    }

    fn judge_quantiles(&self, steps: usize) {
        let Question::Quantiles { quantiles, .. } = &self.question else { return };
        let mut worker = Worker::default();
        for (quantile, &position) in quantiles.iter().zip(&self.quantile_positions) {
            for step in 0..steps {
                let value = quantile.at(step);
                if !(0.0..=1.0).contains(&value) {
                    let place = Place { position, ..self.place };
                    Notes::new(&mut worker.annotations, place).invalid_quantile(value);
                }
            }
        }
        self.env.settle(&mut worker);
    }

    /// How many series each histogram becomes.
    fn width(&self) -> usize {
        match &self.question {
            Question::Quantiles { quantiles, .. } => quantiles.len(),
            Question::Fraction { .. } => 1,
        }
    }

    fn answer(
        &self,
        family: &Family,
        child: &dyn Operator,
        worker: &mut Worker,
    ) -> Result<Vec<(Head, StepVector)>, QueryError> {
        let steps = child.steps();
        let name = family.labels.metric_name();
        let mut answers: Vec<StepVector> = (0..self.width()).map(|_| StepVector::with_steps(steps)).collect();
        let mut series = Vec::new();
        let mut buckets = Vec::with_capacity(family.buckets.len());
        for &(bound, member) in &family.buckets {
            worker.check(self.env.limits)?;
            let mut vector = worker.take(steps);
            child.compute(member, worker, &mut vector)?;
            if vector.has_histograms() {
                // A series with a bound that is a native histogram all the same: it stands for itself.
                let mut own: Vec<StepVector> = (0..self.width()).map(|_| StepVector::with_steps(steps)).collect();
                self.native(&vector, name, None, &mut own, worker);
                series.extend(self.named(&child.heads()[member].labels, family.drop_name, own, 0));
            }
            buckets.push((bound, vector));
        }
        for &member in &family.native {
            let mut vector = worker.take(steps);
            child.compute(member, worker, &mut vector)?;
            if vector.present.any() {
                let text = child.heads()[member].labels.get(BUCKET_LABEL).unwrap_or_default().to_owned();
                Notes::new(&mut worker.annotations, self.place).bad_bucket_label(name, &text);
            }
            if child.heads()[member].labels.get(BUCKET_LABEL).is_none() {
                self.native(&vector, name, Some(&mut buckets), &mut answers, worker);
            }
            worker.give(vector);
        }
        self.classic(&mut buckets, name, &mut answers, child, worker);
        for (_, vector) in buckets {
            worker.give(vector);
        }
        series.extend(self.named(&family.labels, family.drop_name, answers, 0));
        Ok(series)
    }

    fn native(
        &self,
        vector: &StepVector,
        name: &str,
        mut classic: Option<&mut Vec<(f64, StepVector)>>,
        answers: &mut [StepVector],
        worker: &mut Worker,
    ) {
        let mut notes = Notes::new(&mut worker.annotations, self.place);
        for (step, histogram) in vector.histograms.iter().enumerate() {
            let Some(histogram) = histogram else { continue };
            if let Some(buckets) = &mut classic {
                let mut mixed = false;
                for (_, bucket) in buckets.iter_mut().filter(|(_, bucket)| bucket.present.get(step)) {
                    bucket.present.clear(step);
                    mixed = true;
                }
                if mixed {
                    notes.mixed_classic_and_native(name);
                    continue;
                }
            }
            self.ask_native(histogram, step, name, answers, &mut notes);
        }
    }

    fn ask_native(
        &self,
        histogram: &FloatHistogram,
        step: usize,
        name: &str,
        answers: &mut [StepVector],
        notes: &mut Notes<'_>,
    ) {
        match &self.question {
            Question::Quantiles { quantiles, .. } => {
                for (quantile, answer) in quantiles.iter().zip(answers) {
                    let estimate = histogram.quantile(quantile.at(step));
                    match estimate.nan {
                        NanEffect::None => {}
                        NanEffect::Skewed => notes.quantile_is_skewed(name),
                        NanEffect::Result => notes.quantile_is_nan(name),
                    }
                    answer.set_float(step, estimate.value);
                }
            }
            Question::Fraction { lower, upper } => {
                let estimate = histogram.fraction(lower.at(step), upper.at(step));
                if !matches!(estimate.nan, NanEffect::None) {
                    notes.fraction_excludes_nan(name);
                }
                if let Some(answer) = answers.first_mut() {
                    answer.set_float(step, estimate.value);
                }
            }
        }
    }

    fn classic(
        &self,
        buckets: &mut [(f64, StepVector)],
        name: &str,
        answers: &mut [StepVector],
        child: &dyn Operator,
        worker: &mut Worker,
    ) {
        let mut notes = Notes::new(&mut worker.annotations, self.place);
        let (mut present, mut scratch) = (Vec::with_capacity(buckets.len()), Vec::new());
        for step in 0..child.steps() {
            present.clear();
            present.extend(
                buckets
                    .iter()
                    .filter(|(_, vector)| vector.present.get(step))
                    .map(|(upper, vector)| ClassicBucket { upper: *upper, count: vector.floats[step] }),
            );
            if present.is_empty() {
                continue;
            }
            match &self.question {
                Question::Quantiles { quantiles, .. } => {
                    for (quantile, answer) in quantiles.iter().zip(answers.iter_mut()) {
                        scratch.clone_from(&present);
                        let (value, forced) = bucket_quantile(quantile.at(step), &mut scratch);
                        answer.set_float(step, value);
                        let Some(forced) = forced else { continue };
                        let at = self.grid.at(step).as_millis();
                        let change = ForcedMonotonicity {
                            first_at_millis: at,
                            last_at_millis: at,
                            min_bucket: forced.min_bucket,
                            max_bucket: forced.max_bucket,
                            max_difference: forced.max_difference,
                            count: 1,
                        };
                        notes.forced_monotonicity(name, change);
                    }
                }
                Question::Fraction { lower, upper } => {
                    if let Some(answer) = answers.first_mut() {
                        answer.set_float(step, bucket_fraction(lower.at(step), upper.at(step), &mut present));
                    }
                }
            }
        }
    }

    /// Answers under their names.
    fn named(
        &self,
        labels: &Labels,
        drop_name: bool,
        answers: Vec<StepVector>,
        step: usize,
    ) -> Vec<(Head, StepVector)> {
        let head = self.env.settings.without_name(&Head { labels: labels.clone(), drop_name });
        let mut series = Vec::with_capacity(answers.len());
        match &self.question {
            Question::Quantiles { quantiles, label: Some(label) } => {
                for (quantile, answer) in quantiles.iter().zip(answers) {
                    let mut builder = head.labels.to_builder();
                    builder.set(label, &format_float(quantile.at(step), FloatForm::OpenMetrics));
                    series.push((Head { labels: builder.build(), ..head.clone() }, answer));
                }
            }
            _ => series.extend(answers.into_iter().map(|answer| (head.clone(), answer))),
        }
        series.retain(|(_, answer)| answer.any());
        series
    }
}
