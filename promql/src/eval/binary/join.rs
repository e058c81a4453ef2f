//! Joins: each series with its partner.
//!
//! Series meet by signature. On the "one" side of a meeting at most one series may be present at a step; series of the
//! "many" side (of a one-to-one join: the left) are computed one after the other against it. A meeting knows nothing
//! of the others, so meetings spread over threads and each holds only its own series.

use std::sync::Arc;

use ferula_model::Labels;
use parking_lot::Mutex;

use super::element::{self, BinaryNote, Outcome};
use super::matching::{Meeting, Signature, meetings};
use crate::check::{ArithmeticOp, VectorOp};
use crate::error::QueryError;
use crate::eval::label_sets::ByLabels;
use crate::eval::steps::{Bitmap, Point, PointRef, StepVector};
use crate::eval::{Env, Head, Held, Operator, Worker, hear, is_metadata_label, parallel};
use crate::functions::note::{Notes, Place};
use crate::syntax::ast::{Cardinality, VectorMatching};

/// A join and its operands.
pub(crate) struct Join<'a> {
    pub(crate) env: &'a Env<'a>,
    pub(crate) op: VectorOp,
    pub(crate) matching: &'a VectorMatching,
    pub(crate) left: &'a dyn Operator,
    pub(crate) right: &'a dyn Operator,
    pub(crate) place: Place,
}

/// Series that must not meet but do: where, and which comes first if there are several.
#[derive(Debug)]
struct Clash {
    step: usize,
    /// Duplicates on the "one" side are found before those on the "many" side.
    phase: u8,
    member: usize,
    message: String,
}

#[derive(Debug, Default)]
struct Joined {
    series: Vec<(Head, StepVector)>,
    clash: Option<Clash>,
}

impl Joined {
    fn clash(&mut self, clash: Clash) {
        let key = |clash: &Clash| (clash.step, clash.phase, clash.member);
        if self.clash.as_ref().is_none_or(|known| key(&clash) < key(known)) {
            self.clash = Some(clash);
        }
    }
}

/// Evaluates a join.
pub(crate) fn join(join: &Join<'_>) -> Result<Held, QueryError> {
    let signature = Signature { on: join.matching.on, labels: &join.matching.labels };
    let meetings = meetings(join.left.heads(), join.right.heads(), signature);
    let steps = join.left.steps();
    let weight = ((join.left.heads().len() + join.right.heads().len()) as u64).saturating_mul(steps as u64);
    let sides = Sides::of(join);
    let joined = parallel::run(join.env, meetings.len(), weight, |index, worker| sides.meet(&meetings[index], worker))?;
    sides.settle_notes();
    let mut series = Vec::new();
    let mut clashes = Vec::new();
    for joined in joined {
        series.extend(joined.series);
        clashes.extend(joined.clash);
    }
    if let Some(first) = clashes.into_iter().min_by_key(|clash| (clash.step, clash.phase, clash.member)) {
        return Err(QueryError::execution(first.message));
    }
    Held::new(steps, series, join.env.limits)
}

/// The operands by their part: "one" and "many".
struct Sides<'a> {
    join: &'a Join<'a>,
    one: &'a dyn Operator,
    many: &'a dyn Operator,
    /// The "one" side is the left.
    swapped: bool,
    fill_one: Option<f64>,
    fill_many: Option<f64>,
    /// Of each step, the note about the last pair that gave reason for one: upstream keeps no other. Empty until there is
    /// one.
    notes: Mutex<Vec<Option<(usize, BinaryNote)>>>,
    /// Where the "many" side has any sample at all, once somebody asked.
    many_presence: Mutex<Option<Arc<Bitmap>>>,
}

impl<'a> Sides<'a> {
    fn of(join: &'a Join<'a>) -> Self {
        let VectorMatching { cardinality, fill_left, fill_right, .. } = *join.matching;
        let swapped = cardinality == Cardinality::OneToMany;
        let (one, many) = if swapped { (join.left, join.right) } else { (join.right, join.left) };
        // Upstream swaps the operands of `group_right`, but not the fills: `fill_left` stands in for the "many" side.
        Self {
            join,
            one,
            many,
            swapped,
            fill_one: fill_right,
            fill_many: fill_left,
            notes: Mutex::default(),
            many_presence: Mutex::default(),
        }
    }

    fn note(&self, step: usize, many: usize, note: BinaryNote) {
        let mut notes = self.notes.lock();
        notes.resize(self.one.steps(), None);
        if notes[step].is_none_or(|(known, _)| known <= many) {
            notes[step] = Some((many, note));
        }
    }

    fn settle_notes(&self) {
        let mut worker = Worker::default();
        for (_, note) in self.notes.lock().iter().flatten() {
            note.write(self.join.op, &mut Notes::new(&mut worker.annotations, self.join.place));
        }
        self.join.env.settle(&mut worker);
    }

    fn meet(&self, meeting: &Meeting, worker: &mut Worker) -> Result<Joined, QueryError> {
        let (ones, manies) =
            if self.swapped { (&meeting.left, &meeting.right) } else { (&meeting.right, &meeting.left) };
        let mut joined = Joined::default();
        let without_one = ones.is_empty() && self.fill_one.is_none();
        // Duplicates on the "one" side are an error even if they have no partner.
        let without_many = manies.is_empty() && self.fill_many.is_none() && ones.len() < 2;
        if without_one || without_many {
            hear(self.join.env, self.one, ones, worker)?;
            hear(self.join.env, self.many, manies, worker)?;
            return Ok(joined);
        }
        let mut one_vectors = Vec::with_capacity(ones.len());
        for &one in ones {
            let mut vector = worker.take(self.one.steps());
            self.one.compute(one, worker, &mut vector)?;
            one_vectors.push(vector);
        }
        self.find_duplicates(meeting, ones, &one_vectors, &mut joined)?;
        let outputs = Outputs::new(self, meeting);
        let mut pairing = Pairing { sides: self, meeting, ones, one_vectors, outputs, joined };
        pairing.pair(manies, worker)?;
        let Pairing { one_vectors, outputs, mut joined, .. } = pairing;
        for vector in one_vectors {
            worker.give(vector);
        }
        joined.series = outputs.series.into_iter().filter(|(_, vector)| vector.any()).collect();
        Ok(joined)
    }

    fn find_duplicates(
        &self,
        meeting: &Meeting,
        ones: &[usize],
        vectors: &[StepVector],
        joined: &mut Joined,
    ) -> Result<(), QueryError> {
        if ones.len() < 2 {
            return Ok(());
        }
        let mut owner: Vec<Option<usize>> = vec![None; self.one.steps()];
        for (index, vector) in vectors.iter().enumerate() {
            for step in vector.presence().iter() {
                let Some(earlier) = owner[step].replace(index) else { continue };
                // Without a sample on the other side, upstream does not look at this one.
                if self.fill_many.is_none() && !self.presence_of_many()?.get(step) {
                    continue;
                }
                let side = if self.swapped { "left" } else { "right" };
                let mut pair = [ones[index], ones[earlier]].map(|member| &self.one.heads()[member].labels);
                // By labels, as upstream since 3.14: the order of the storage plays no part.
                pair.sort();
                let [first, second] = pair;
                let message = format!(
                    "found duplicate series for the match group {} on the {side} hand-side of the operation: \
                     [{first}, {second}];many-to-many matching not allowed: matching labels must be unique on one side",
                    meeting.signature
                );
                joined.clash(Clash { step, phase: 0, member: ones[index], message });
                break;
            }
        }
        Ok(())
    }

    fn presence_of_many(&self) -> Result<Arc<Bitmap>, QueryError> {
        let mut known = self.many_presence.lock();
        if let Some(known) = &*known {
            return Ok(Arc::clone(known));
        }
        let mut presence = Bitmap::with_steps(self.many.steps());
        let mut worker = Worker::default();
        let mut vector = StepVector::default();
        for index in 0..self.many.heads().len() {
            worker.check(self.join.env.limits)?;
            self.many.compute(index, &mut worker, &mut vector)?;
            presence.union(&vector.presence());
        }
        let presence = Arc::new(presence);
        *known = Some(Arc::clone(&presence));
        Ok(presence)
    }

    /// The labels of a result, and whether its name is to be dropped.
    fn result_head(&self, many: &Head, one: &Labels) -> Head {
        let matching = self.join.matching;
        let drops = matches!(self.join.op, VectorOp::Arithmetic(_));
        let is_bool = matches!(self.join.op, VectorOp::CompareBool(_));
        let delayed = self.join.env.settings.delayed_name_removal;
        let drops = drops || (is_bool && !delayed);
        let one_to_one = matching.cardinality == Cardinality::OneToOne;
        let listed = |names: &[String], name: &str| names.iter().any(|listed| listed == name);
        let kept = many.labels.iter().filter(|(name, _)| {
            !(drops && is_metadata_label(name)
                || one_to_one && listed(&matching.labels, name) != matching.on
                || listed(&matching.include, name))
        });
        let drop_name = delayed && is_bool;
        if matching.include.is_empty() {
            return Head { labels: Labels::from_sorted(kept), drop_name };
        }
        let included = matching.include.iter().map(|name| (name.as_str(), one.get(name).unwrap_or_default()));
        let mut pairs: Vec<(&str, &str)> = kept.chain(included).collect();
        pairs.sort_unstable();
        pairs.dedup();
        Head { labels: Labels::from_sorted(pairs), drop_name }
    }
}

/// The results of one meeting, by labels.
struct Outputs {
    positions: ByLabels<usize>,
    series: Vec<(Head, StepVector)>,
    /// For each result, the steps at which it already has a match, even one that was filtered out.
    matched: Vec<Bitmap>,
    signature_head: Head,
    steps: usize,
}

impl Outputs {
    fn new(sides: &Sides<'_>, meeting: &Meeting) -> Self {
        Self {
            positions: ByLabels::new(),
            series: Vec::new(),
            matched: Vec::new(),
            signature_head: Head::new(meeting.signature.clone()),
            steps: sides.one.steps(),
        }
    }

    fn position(&mut self, head: Head) -> usize {
        *self.positions.entry(head.labels.clone()).or_insert_with(|| {
            self.series.push((head, StepVector::with_steps(self.steps)));
            self.matched.push(Bitmap::with_steps(self.steps));
            self.series.len() - 1
        })
    }
}

struct Pairing<'a> {
    sides: &'a Sides<'a>,
    meeting: &'a Meeting,
    ones: &'a [usize],
    one_vectors: Vec<StepVector>,
    outputs: Outputs,
    joined: Joined,
}

impl Pairing<'_> {
    fn pair(&mut self, manies: &[usize], worker: &mut Worker) -> Result<(), QueryError> {
        let steps = self.outputs.steps;
        // Steps at which some series of the "many" side is present.
        let mut present = Bitmap::with_steps(steps);
        // Of a one-to-one join: steps that already have their match.
        let mut taken = Bitmap::with_steps(steps);
        let mut vector = worker.take(steps);
        for &many in manies {
            worker.check(self.sides.join.env.limits)?;
            self.sides.many.compute(many, worker, &mut vector)?;
            if !self.pair_floats(many, &vector, manies.len() == 1, &mut taken) {
                self.pair_series(many, &vector, &mut taken, worker);
            }
            if self.sides.fill_many.is_some() {
                present.union(&vector.presence());
            }
        }
        worker.give(vector);
        if let Some(fill) = self.sides.fill_many {
            self.fill_absent(fill, &present, worker);
        }
        Ok(())
    }

    /// One series on the "one" side, only floats, nothing to fill: what nearly every meeting is. Answers whether that was so, and
    /// no step had a match already.
    fn pair_floats(&mut self, many: usize, vector: &StepVector, alone: bool, taken: &mut Bitmap) -> bool {
        let ([one], [partner]) = (self.ones, self.one_vectors.as_slice()) else { return false };
        let VectorOp::Arithmetic(op) = self.sides.join.op else { return false };
        let filled = self.sides.fill_one.is_some() || self.sides.fill_many.is_some();
        if filled || !vector.histograms.is_empty() || !partner.histograms.is_empty() {
            return false;
        }
        let mut shared = vector.present.clone();
        shared.intersect(&partner.present);
        if !shared.any() {
            return true;
        }
        let head = self.sides.result_head(&self.sides.many.heads()[many], &self.sides.one.heads()[*one].labels);
        let (left, right) =
            if self.sides.swapped { (&partner.floats, &vector.floats) } else { (&vector.floats, &partner.floats) };
        if !alone {
            let position = self.outputs.position(head);
            let one_to_one = self.sides.join.matching.cardinality == Cardinality::OneToOne;
            let known = if one_to_one { taken } else { &mut self.outputs.matched[position] };
            if known.meets(&shared) {
                return false;
            }
            known.union(&shared);
            let out = &mut self.outputs.series[position].1;
            for step in shared.iter() {
                out.set_float(step, element::arithmetic(op, left[step], right[step]));
            }
            return true;
        }
        let mut out = StepVector::with_steps(vector.steps());
        out.present = shared;
        let cells = out.floats.iter_mut().zip(left).zip(right);
        match op {
            ArithmeticOp::Add => cells.for_each(|((out, left), right)| *out = left + right),
            ArithmeticOp::Sub => cells.for_each(|((out, left), right)| *out = left - right),
            ArithmeticOp::Mul => cells.for_each(|((out, left), right)| *out = left * right),
            ArithmeticOp::Div => cells.for_each(|((out, left), right)| *out = left / right),
            op => cells.for_each(|((out, left), right)| *out = element::arithmetic(op, *left, *right)),
        }
        self.outputs.series.push((head, out));
        true
    }

    fn pair_series(&mut self, many: usize, vector: &StepVector, taken: &mut Bitmap, worker: &mut Worker) {
        // The result's position by partner; the last is for a filled partner.
        let mut positions: Vec<Option<usize>> = vec![None; self.ones.len() + 1];
        for step in 0..vector.steps() {
            let Some(point) = vector.get(step) else { continue };
            let partner = self.one_vectors.iter().position(|one| one.has(step));
            let fill = self.sides.fill_one.filter(|_| partner.is_none());
            if partner.is_none() && fill.is_none() {
                continue;
            }
            let slot = partner.unwrap_or(self.ones.len());
            let position = match positions[slot] {
                Some(position) => position,
                None => {
                    let one =
                        partner.map_or(&self.meeting.signature, |at| &self.sides.one.heads()[self.ones[at]].labels);
                    let head = self.sides.result_head(&self.sides.many.heads()[many], one);
                    let position = self.outputs.position(head);
                    positions[slot] = Some(position);
                    position
                }
            };
            if !self.admit(many, step, position, taken) {
                return;
            }
            let outcome = {
                let one = match (partner, fill) {
                    (Some(at), _) => self.one_vectors[at].get(step),
                    (None, Some(fill)) => Some(PointRef::Float(fill)),
                    (None, None) => None,
                };
                let Some(one) = one else { continue };
                self.combine(step, many, point, one)
            };
            self.put(step, position, outcome, point, worker);
        }
    }

    /// Whether a match may be made here: a step has one match, or, with grouping, one for each result.
    fn admit(&mut self, many: usize, step: usize, position: usize, taken: &mut Bitmap) -> bool {
        let one_to_one = self.sides.join.matching.cardinality == Cardinality::OneToOne;
        let known = if one_to_one { taken } else { &mut self.outputs.matched[position] };
        if known.get(step) {
            let message = if one_to_one {
                "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
            } else {
                "multiple matches for labels: grouping labels must ensure unique matches"
            };
            let clash = Clash { step, phase: 1, member: many, message: message.to_owned() };
            self.joined.clash(clash);
            return false;
        }
        known.set(step);
        true
    }

    fn combine(&self, step: usize, member: usize, many: PointRef<'_>, one: PointRef<'_>) -> Outcome {
        let (left, right) = if self.sides.swapped { (one, many) } else { (many, one) };
        let mut note = None;
        let outcome = element::combine(self.sides.join.op, left, right, &mut note);
        if let Some(note) = note {
            self.sides.note(step, member, note);
        }
        outcome
    }

    /// Writes an outcome. A comparison that holds answers its left operand, which with `group_right` is the "one" side's.
    fn put(&mut self, step: usize, position: usize, outcome: Outcome, many: PointRef<'_>, _: &mut Worker) {
        let is_bool = matches!(self.sides.join.op, VectorOp::CompareBool(_));
        let point = match outcome {
            Outcome::Value(point) => point,
            Outcome::Holds if is_bool => Point::Float(1.0),
            Outcome::Fails if is_bool => Point::Float(0.0),
            Outcome::Holds if !self.sides.swapped => many.to_point(),
            Outcome::Holds => match self.one_vectors.iter().find_map(|one| one.get(step)) {
                Some(one) => one.to_point(),
                None => Point::Float(self.sides.fill_one.unwrap_or(f64::NAN)),
            },
            Outcome::Fails | Outcome::Nothing => return,
        };
        self.outputs.series[position].1.set(step, point);
    }

    /// Where the "one" side is alone, a constant stands in for the "many" side.
    fn fill_absent(&mut self, fill: f64, present: &Bitmap, worker: &mut Worker) {
        for at in 0..self.ones.len() {
            let head = self
                .sides
                .result_head(&self.outputs.signature_head.clone(), &self.sides.one.heads()[self.ones[at]].labels);
            let mut position = None;
            for step in 0..self.outputs.steps {
                if present.get(step) {
                    continue;
                }
                let outcome = match self.one_vectors[at].get(step) {
                    Some(one) => self.combine(step, usize::MAX, PointRef::Float(fill), one),
                    None => continue,
                };
                let position = *position.get_or_insert_with(|| self.outputs.position(head.clone()));
                self.put(step, position, outcome, PointRef::Float(fill), worker);
            }
        }
    }
}
