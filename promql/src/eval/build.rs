//! From plan to operators: the single match.
//!
//! Building evaluates what needs several series at once (aggregations, joins, sorting) and returns operators for the
//! rest. Nodes with several users are built once; if their series fit the budget they are held, else each user computes
//! them anew.

use std::collections::HashMap;
use std::sync::Arc;

use ferula_model::{Labels, StepGrid};

use super::aggregate::{Aggregation, aggregate};
use super::binary::matching::Signature;
use super::binary::{element, join, scalar, set};
use super::distinct::{Equal, distinct};
use super::select::{Reach, Reference, Select, Selection};
use super::steps::{PointRef, StepVector};
use super::subquery::{SubquerySource, inner_grid};
use super::window::{RangeSource, Source};
use super::{BoxOperator, Env, Head, Held, Operator, Worker, host, parallel, renamed};
use crate::check::SetOp;
use crate::error::QueryError;
use crate::functions::FunctionId;
use crate::functions::elementwise::Elementwise;
use crate::functions::note::Place;
use crate::plan::{Kind, Node, NodeId};
use crate::syntax::ast::{AggregateOp, ValueType};

/// A scalar at each step.
#[derive(Clone, Debug)]
pub(crate) enum ScalarSteps {
    Constant(f64),
    Steps(Arc<[f64]>),
}

impl ScalarSteps {
    #[inline]
    pub(crate) fn at(&self, step: usize) -> f64 {
        match self {
            ScalarSteps::Constant(value) => *value,
            ScalarSteps::Steps(values) => values.get(step).copied().unwrap_or(f64::NAN),
        }
    }

    fn map(&self, function: impl Fn(f64) -> f64) -> Self {
        match self {
            ScalarSteps::Constant(value) => ScalarSteps::Constant(function(*value)),
            ScalarSteps::Steps(values) => ScalarSteps::Steps(values.iter().map(|value| function(*value)).collect()),
        }
    }
}

/// What a node of the plan became.
pub(crate) enum Built<'q> {
    Vector(BoxOperator<'q>),
    Scalar(ScalarSteps),
    Text(&'q str),
}

/// Builds operators, and remembers those that are needed again.
pub(crate) struct Builder<'q> {
    pub(crate) env: &'q Env<'q>,
    shared: HashMap<(NodeId, StepGrid), Arc<dyn Operator + 'q>>,
}

/// Series of shared nodes are held up to this many steps in all.
const HELD_STEPS_MAX: u64 = 4_000_000;

impl<'q> Builder<'q> {
    pub(crate) fn new(env: &'q Env<'q>) -> Self {
        Self { env, shared: HashMap::new() }
    }

    pub(super) fn node(&self, id: NodeId) -> &'q Node {
        self.env.plan.node(id)
    }

    /// Builds any node that is no range.
    pub(crate) fn build(&mut self, id: NodeId, grid: StepGrid) -> Result<Built<'q>, QueryError> {
        self.env.limits.admits_steps(grid.len())?;
        match &self.node(id).kind {
            Kind::Text(text) => Ok(Built::Text(text)),
            kind if self.is_scalar(kind) => Ok(Built::Scalar(self.scalar(id, grid)?)),
            _ => Ok(Built::Vector(self.vector(id, grid)?)),
        }
    }

    fn is_scalar(&self, kind: &Kind) -> bool {
        match kind {
            Kind::Number(_) | Kind::NegateScalar(_) | Kind::ScalarBinary { .. } => true,
            Kind::Invariant(child) => self.is_scalar(&self.node(*child).kind),
            Kind::Call { function, .. } => function.signature().returns == ValueType::Scalar,
            Kind::HostCall { function, .. } => function.returns() == ValueType::Scalar,
            _ => false,
        }
    }

    /// Builds a scalar: its values are there at once.
    pub(crate) fn scalar(&mut self, id: NodeId, grid: StepGrid) -> Result<ScalarSteps, QueryError> {
        let node = self.node(id);
        Ok(match &node.kind {
            Kind::Number(value) => ScalarSteps::Constant(*value),
            Kind::Invariant(child) => {
                let value = self.scalar(*child, StepGrid::instant(grid.start()))?;
                ScalarSteps::Constant(value.at(0))
            }
            Kind::NegateScalar(child) => self.scalar(*child, grid)?.map(|value| -value),
            Kind::ScalarBinary { op, left, right } => {
                let (left, right) = (self.scalar(*left, grid)?, self.scalar(*right, grid)?);
                if let (ScalarSteps::Constant(left), ScalarSteps::Constant(right)) = (&left, &right) {
                    return Ok(ScalarSteps::Constant(element::scalars(*op, *left, *right)?));
                }
                let values = (0..grid.len()).map(|step| element::scalars(*op, left.at(step), right.at(step)));
                ScalarSteps::Steps(values.collect::<Result<_, _>>()?)
            }
            Kind::Call { function: FunctionId::Time, .. } => {
                ScalarSteps::Steps((0..grid.len()).map(|step| grid.at(step).as_secs_f64()).collect())
            }
            Kind::Call { function: FunctionId::Scalar, args } => {
                let child = self.first_vector(args, grid)?;
                self.only_float(&*child)?
            }
            Kind::Call { function: FunctionId::MinOf | FunctionId::MaxOf, args } => {
                self.extreme_of(node, args, grid)?
            }
            Kind::HostCall { function, args } => match host::call(self, id, function, args, grid)? {
                Built::Scalar(scalar) => scalar,
                _ => ScalarSteps::Constant(f64::NAN),
            },
            _ => return Err(unexpected("scalar")),
        })
    }

    fn extreme_of(&mut self, node: &Node, args: &[NodeId], grid: StepGrid) -> Result<ScalarSteps, QueryError> {
        let [left, right] = args else { return Err(unexpected("scalar")) };
        let (left, right) = (self.scalar(*left, grid)?, self.scalar(*right, grid)?);
        let is_min = matches!(node.kind, Kind::Call { function: FunctionId::MinOf, .. });
        let pick = |step: usize| {
            let (left, right) = (left.at(step), right.at(step));
            if left.is_nan() || right.is_nan() {
                return f64::NAN;
            }
            if is_min { left.min(right) } else { left.max(right) }
        };
        Ok(ScalarSteps::Steps((0..grid.len()).map(pick).collect()))
    }

    /// `scalar(v)`: the float of a vector that has only one.
    fn only_float(&self, child: &dyn Operator) -> Result<ScalarSteps, QueryError> {
        let steps = child.steps();
        let mut values = vec![f64::NAN; steps];
        let mut seen = vec![0_u8; steps];
        let mut worker = Worker::default();
        let mut vector = worker.take(steps);
        for index in 0..child.heads().len() {
            worker.check(self.env.limits)?;
            child.compute(index, &mut worker, &mut vector)?;
            for step in vector.present.iter() {
                values[step] = if seen[step] == 0 { vector.floats[step] } else { f64::NAN };
                seen[step] = seen[step].saturating_add(1);
            }
        }
        self.env.settle(&mut worker);
        Ok(ScalarSteps::Steps(values.into()))
    }

    /// Builds an instant vector.
    pub(crate) fn vector(&mut self, id: NodeId, grid: StepGrid) -> Result<BoxOperator<'q>, QueryError> {
        self.env.limits.admits_steps(grid.len())?;
        if self.node(id).users < 2 {
            return self.fresh_vector(id, grid);
        }
        if let Some(known) = self.shared.get(&(id, grid)) {
            return Ok(Box::new(Arc::clone(known)));
        }
        let built = self.fresh_vector(id, grid)?;
        let cells = (built.heads().len() as u64).saturating_mul(grid.len() as u64);
        let shared: Arc<dyn Operator + 'q> =
            if built.is_held() || cells > HELD_STEPS_MAX { Arc::from(built) } else { Arc::new(self.hold(&*built)?) };
        self.shared.insert((id, grid), Arc::clone(&shared));
        Ok(Box::new(shared))
    }

    /// Computes all series now.
    pub(super) fn hold(&self, operator: &dyn Operator) -> Result<Held, QueryError> {
        let steps = operator.steps();
        let count = operator.heads().len();
        let weight = (count as u64).saturating_mul(steps as u64);
        let vectors = parallel::run(self.env, count, weight, |index, worker| {
            let mut vector = StepVector::default();
            operator.compute(index, worker, &mut vector)?;
            Ok(vector)
        })?;
        let series = operator.heads().iter().cloned().zip(vectors).filter(|(_, vector)| vector.any()).collect();
        Held::new(steps, series, self.env.limits)
    }

    fn fresh_vector(&mut self, id: NodeId, grid: StepGrid) -> Result<BoxOperator<'q>, QueryError> {
        let Some(measures) = &self.env.measures else { return self.unmeasured(id, grid) };
        let began = std::time::Instant::now();
        let operator = self.unmeasured(id, grid)?;
        Ok(measures.wrap(id, began, operator))
    }

    fn unmeasured(&mut self, id: NodeId, grid: StepGrid) -> Result<BoxOperator<'q>, QueryError> {
        let env = self.env;
        let node = self.node(id);
        let place = Place { order: id, position: node.span.start as usize };
        Ok(match &node.kind {
            Kind::Select(selector) => Box::new(Select::open(env, id, selector, grid)?),
            Kind::Invariant(child) => {
                let once = self.vector(*child, StepGrid::instant(grid.start()))?;
                Box::new(Repeated { once, steps: grid.len() })
            }
            Kind::Negate(child) => {
                let child = self.vector(*child, grid)?;
                let mapped = Mapped::new(child, Elementwise::Negate, grid, |head| env.settings.without_name(head));
                self.checked(Box::new(mapped), Equal::Merge)
            }
            Kind::WithScalar { op, vector, scalar, scalar_left } => {
                let scalar = self.scalar(*scalar, grid)?;
                let child = self.vector(*vector, grid)?;
                let combined = scalar::WithScalar::new(env, child, *op, scalar, *scalar_left, place);
                self.checked(Box::new(combined), Equal::Merge)
            }
            Kind::Join { op, left, right, matching } => {
                let (left, right) = (self.vector(*left, grid)?, self.vector(*right, grid)?);
                let join = join::Join { env, op: *op, matching, left: &*left, right: &*right, place };
                distinct(Box::new(join::join(&join)?), Equal::Merge)
            }
            Kind::Set { op, left, right, on, labels } => {
                let (mut left, right) = (self.vector(*left, grid)?, self.vector(*right, grid)?);
                if *op == SetOp::Or && !left.is_held() {
                    // Both its presence and its values are needed, and all of them are in the result.
                    left = Box::new(self.hold(&*left)?);
                }
                let signature = Signature { on: *on, labels };
                let operation = set::SetOperation::new(env, *op, left, right, signature)?;
                distinct(Box::new(operation), Equal::Merge)
            }
            Kind::Aggregate { .. } => Box::new(self.aggregate(id, node, grid)?),
            Kind::Call { function, args } => self.call(id, node, *function, args, grid)?,
            Kind::HostCall { function, args } => match host::call(self, id, function, args, grid)? {
                Built::Vector(vector) => vector,
                _ => return Err(unexpected("instant vector")),
            },
            _ => return Err(unexpected("instant vector")),
        })
    }

    /// Checks for equal label sets after names were dropped; with delayed name removal that is done at the end.
    pub(super) fn checked(&self, operator: BoxOperator<'q>, equal: Equal) -> BoxOperator<'q> {
        if self.env.settings.delayed_name_removal { operator } else { distinct(operator, equal) }
    }

    fn aggregate(&mut self, id: NodeId, node: &'q Node, grid: StepGrid) -> Result<Held, QueryError> {
        let Kind::Aggregate { op, child, param, grouping } = &node.kind else { return Err(unexpected("aggregation")) };
        let position = |index: usize| node.arg_spans.get(index).map_or(0, |span| span.start as usize);
        let (mut scalar, mut label) = (None, "");
        match param {
            Some(param) if *op == AggregateOp::CountValues => label = self.label_name(*param)?,
            Some(param) => scalar = Some(self.scalar(*param, grid)?),
            None => {}
        }
        let child = self.vector(*child, grid)?;
        let aggregation = Aggregation {
            env: self.env,
            op: *op,
            grouping,
            param: scalar,
            label,
            place: Place { order: id, position: position(0) },
            own_position: node.span.start as usize,
            param_position: position(1),
        };
        aggregate(&aggregation, &*child)
    }

    /// A text that must be a label name.
    pub(super) fn label_name(&self, id: NodeId) -> Result<&'q str, QueryError> {
        match &self.node(id).kind {
            Kind::Text(text) if text.is_empty() => Err(crate::functions::labels::invalid_label_name(text)),
            Kind::Text(text) => Ok(text),
            Kind::Bytes(bytes) => Err(QueryError::execution(format!("invalid label name {}", quoted_bytes(bytes)))),
            _ => Err(unexpected("string")),
        }
    }

    pub(super) fn text(&self, args: &[NodeId], index: usize) -> Result<&'q str, QueryError> {
        match args.get(index).map(|id| &self.node(*id).kind) {
            Some(Kind::Text(text)) => Ok(text),
            _ => Err(unexpected("string")),
        }
    }

    pub(super) fn texts(&self, args: &[NodeId]) -> Result<Vec<&'q str>, QueryError> {
        (0..args.len()).map(|index| self.text(args, index)).collect()
    }

    pub(super) fn first_vector(&mut self, args: &[NodeId], grid: StepGrid) -> Result<BoxOperator<'q>, QueryError> {
        let first = args.first().ok_or_else(|| unexpected("instant vector"))?;
        self.vector(*first, grid)
    }

    /// One series without labels.
    pub(super) fn one_series(&self, scalar: &ScalarSteps, grid: StepGrid) -> Result<BoxOperator<'q>, QueryError> {
        let mut vector = StepVector::with_steps(grid.len());
        for step in 0..grid.len() {
            vector.set_float(step, scalar.at(step));
        }
        Ok(Box::new(Held::new(grid.len(), vec![(Head::new(Labels::empty()), vector)], self.env.limits)?))
    }

    /// Builds the windows of a range selector or subquery; `None` if a subquery has no step in any window.
    pub(crate) fn range(&mut self, id: NodeId, grid: StepGrid) -> Result<Option<RangeSource<'q>>, QueryError> {
        let env = self.env;
        match &self.node(id).kind {
            Kind::RangeSelect { selector, range_millis } => {
                let reference =
                    Reference { grid, at_millis: selector.at_millis, offset_millis: selector.offset_millis };
                let selection = Selection::open(env, selector, &reference, Some(*range_millis))?;
                Ok(Some(RangeSource {
                    source: Source::Selection(selection),
                    reference,
                    range_millis: *range_millis,
                    extension: selector.extension,
                    reach: Reach::of(selector, Some(*range_millis), env.settings.lookback_millis),
                }))
            }
            Kind::Subquery { child, range_millis, step_millis, offset_millis, at_millis } => {
                let reference = Reference { grid, at_millis: *at_millis, offset_millis: *offset_millis };
                let (first, last) = reference.span();
                let Some(inner) = inner_grid(first.saturating_sub(*range_millis), last, *step_millis) else {
                    return Ok(None);
                };
                env.limits.admits_steps(inner.len())?;
                let child = match self.build(*child, inner)? {
                    Built::Vector(vector) => vector,
                    Built::Scalar(scalar) => self.one_series(&scalar, inner)?,
                    Built::Text(_) => return Err(unexpected("instant vector")),
                };
                Ok(Some(RangeSource {
                    source: Source::Subquery(SubquerySource { child, grid: inner, env }),
                    reference,
                    range_millis: *range_millis,
                    extension: None,
                    reach: Reach { before: *range_millis, after: 0 },
                }))
            }
            _ => Err(unexpected("range vector")),
        }
    }
}

/// The plan has another type of node than its operation needs: the checker lets no such query through.
pub(super) fn unexpected(wanted: &'static str) -> QueryError {
    QueryError::execution(format!("expected type {wanted} in the plan"))
}

/// Bytes that are no text, quoted as Go does it.
fn quoted_bytes(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        let quoted = ferula_model::go_quote(chunk.valid());
        out.push_str(&quoted[1..quoted.len() - 1]);
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    out
}

/// A series of one step, at every step.
struct Repeated<'q> {
    once: BoxOperator<'q>,
    steps: usize,
}

impl Operator for Repeated<'_> {
    fn heads(&self) -> &[Head] {
        self.once.heads()
    }

    fn steps(&self) -> usize {
        self.steps
    }

    fn compute(&self, index: usize, worker: &mut Worker, out: &mut StepVector) -> Result<(), QueryError> {
        let mut once = worker.take(1);
        self.once.compute(index, worker, &mut once)?;
        out.reset(self.steps);
        match once.get(0) {
            Some(PointRef::Float(value)) => {
                out.floats.fill(value);
                out.present.set_all(self.steps);
            }
            Some(PointRef::Histogram(histogram)) => out.histograms = vec![Some(Arc::clone(histogram)); self.steps],
            None => {}
        }
        worker.give(once);
        Ok(())
    }

    fn is_distinct(&self) -> bool {
        self.once.is_distinct()
    }

    fn is_silent(&self) -> bool {
        self.once.is_silent()
    }
}

/// A function of each sample.
pub(super) struct Mapped<'q> {
    child: BoxOperator<'q>,
    heads: Vec<Head>,
    function: Elementwise,
    grid: StepGrid,
}

impl<'q> Mapped<'q> {
    pub(super) fn new(
        child: BoxOperator<'q>,
        function: Elementwise,
        grid: StepGrid,
        rename: impl Fn(&Head) -> Head,
    ) -> Self {
        let heads = renamed(child.heads(), rename);
        Self { child, heads, function, grid }
    }
}

impl Operator for Mapped<'_> {
    fn heads(&self) -> &[Head] {
        &self.heads
    }

    fn steps(&self) -> usize {
        self.grid.len()
    }

    fn compute(&self, index: usize, worker: &mut Worker, out: &mut StepVector) -> Result<(), QueryError> {
        self.child.compute(index, worker, out)?;
        self.function.apply(self.grid, out);
        Ok(())
    }

    fn is_distinct(&self) -> bool {
        self.child.is_distinct()
    }

    fn is_silent(&self) -> bool {
        self.child.is_silent()
    }
}
