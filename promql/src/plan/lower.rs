//! Lowering: from the checked tree to the plan.
//!
//! Three things happen on the way. Lengths, `@ start()`, `step()` and the like become numbers, because the times of the
//! query are known. Equal nodes become one. And what does not depend on the step is wrapped in an [`Kind::Invariant`],
//! as high up as possible, as upstream does it.

use std::collections::HashMap;

use ferula_model::{METRIC_NAME, MatchOp, Matcher, StepGrid};

use super::{Answers, Kind, Node, NodeId, Plan, Selector};
use crate::check::{self, AggregateParam, Instant, Range, Scalar, Typed};
use crate::error::QueryError;
use crate::functions::{Function, FunctionId};
use crate::syntax::Span;
use crate::syntax::ast::{At, Length, Modifiers, StringLiteral, VectorSelector};
use crate::syntax::duration::QueryTimes;

/// The times a plan is bound to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) grid: StepGrid,
    /// Whether the query is a range query.
    pub(crate) is_range: bool,
    pub(crate) subquery_step_millis: i64,
}

/// Lowers a checked tree.
///
/// # Errors
///
/// A duration expression has no meaning for these times.
pub(crate) fn lower(typed: &Typed, times: Times) -> Result<Plan, QueryError> {
    let mut lowering = Lowering { times, nodes: Vec::new(), known: HashMap::new() };
    let root = lowering.typed(typed)?;
    let root = lowering.pin(root);
    Ok(Plan::new(lowering.nodes, root))
}

struct Lowering {
    times: Times,
    nodes: Vec<Node>,
    /// Nodes by what they do.
    known: HashMap<String, NodeId>,
}

/// A node, and whether it is the same at each step.
#[derive(Clone, Copy)]
struct Lowered {
    id: NodeId,
    invariant: bool,
}

impl Lowering {
    fn typed(&mut self, typed: &Typed) -> Result<Lowered, QueryError> {
        match typed {
            Typed::Scalar(scalar) => self.scalar(scalar, Span::default()),
            Typed::String(text) => Ok(self.text(text)),
            Typed::Instant(instant) => self.instant(instant),
            Typed::Range(range) => self.range(range, ""),
        }
    }

    fn text(&mut self, text: &StringLiteral) -> Lowered {
        let kind = match &text.bytes {
            Some(bytes) => Kind::Bytes(bytes.clone()),
            None => Kind::Text(text.text.clone()),
        };
        self.add(kind, text.span, Vec::new(), true)
    }

    fn scalar(&mut self, scalar: &Scalar, span: Span) -> Result<Lowered, QueryError> {
        match scalar {
            Scalar::Number(number) => Ok(self.add(Kind::Number(*number), span, Vec::new(), true)),
            Scalar::Negate(inner) => {
                let inner = self.scalar(inner, span)?;
                Ok(self.add(Kind::NegateScalar(inner.id), span, Vec::new(), inner.invariant))
            }
            Scalar::Binary(binary) => {
                let left = self.scalar(&binary.left, binary.span)?;
                let right = self.scalar(&binary.right, binary.span)?;
                let ([left, right], invariant) = self.agree([left, right]);
                Ok(self.add(Kind::ScalarBinary { op: binary.op, left, right }, binary.span, Vec::new(), invariant))
            }
            Scalar::Call(call) => self.call(call),
        }
    }

    fn instant(&mut self, instant: &Instant) -> Result<Lowered, QueryError> {
        match instant {
            Instant::Selector(selector) => self.select(selector, Answers::Value),
            Instant::Negate(inner) => {
                let inner = self.instant(inner)?;
                let span = self.nodes[inner.id.0].span;
                Ok(self.add(Kind::Negate(inner.id), span, Vec::new(), inner.invariant))
            }
            Instant::Aggregate(aggregate) => self.aggregate(aggregate),
            Instant::WithScalar(binary) => {
                let vector = self.instant(&binary.vector)?;
                let scalar = self.scalar(&binary.scalar, binary.span)?;
                let ([vector, scalar], invariant) = self.agree([vector, scalar]);
                let kind = Kind::WithScalar { op: binary.op, vector, scalar, scalar_left: binary.scalar_left };
                Ok(self.add(kind, binary.span, Vec::new(), invariant))
            }
            Instant::Join(join) => {
                let left = self.instant(&join.left)?;
                let right = self.instant(&join.right)?;
                let ([left, right], invariant) = self.agree([left, right]);
                let kind = Kind::Join { op: join.op, left, right, matching: join.matching.clone() };
                Ok(self.add(kind, join.span, Vec::new(), invariant))
            }
            Instant::Set(set) => {
                let left = self.instant(&set.left)?;
                let right = self.instant(&set.right)?;
                let ([left, right], invariant) = self.agree([left, right]);
                let kind = Kind::Set { op: set.op, left, right, on: set.on, labels: set.labels.clone() };
                Ok(self.add(kind, set.span, Vec::new(), invariant))
            }
            Instant::Call(call) => self.call(call),
        }
    }

    fn aggregate(&mut self, aggregate: &check::Aggregate) -> Result<Lowered, QueryError> {
        let (param, param_span) = match &aggregate.param {
            AggregateParam::None => (None, Span::default()),
            AggregateParam::Scalar { value, span } => (Some(self.scalar(value, *span)?), *span),
            AggregateParam::Label(text) => (Some(self.text(text)), text.span),
        };
        let child = self.instant(&aggregate.operand)?;
        let (child, param, invariant) = match param {
            Some(param) => {
                let ([child, param], invariant) = self.agree([child, param]);
                (child, Some(param), invariant)
            }
            None => (child.id, None, child.invariant),
        };
        let kind = Kind::Aggregate { op: aggregate.op, child, param, grouping: aggregate.grouping.clone() };
        Ok(self.add(kind, aggregate.span, vec![aggregate.operand_span, param_span], invariant))
    }

    fn call(&mut self, call: &check::Call) -> Result<Lowered, QueryError> {
        let id = match &call.function {
            Function::Builtin(id) => *id,
            Function::Host(_) => {
                let args = self.args(call, "")?;
                let invariant = !call.function.reads_time() && args.iter().all(|arg| arg.invariant);
                let args = self.settle_args(args, invariant);
                let kind = Kind::HostCall { function: call.function.clone(), args };
                return Ok(self.add(kind, call.span, spans(call), invariant));
            }
        };
        if let Some(number) = self.query_constant(id) {
            return Ok(self.add(Kind::Number(number), call.span, Vec::new(), id == FunctionId::Pi));
        }
        // The sample's own time is only known where it is selected.
        let answers = match id {
            FunctionId::Timestamp => Some(Answers::Time),
            FunctionId::StartTimestamp => Some(Answers::Start),
            _ => None,
        };
        if let (Some(answers), [arg]) = (answers, call.args.as_slice())
            && let Typed::Instant(Instant::Selector(selector)) = &arg.value
        {
            let selected = self.select(selector, answers)?;
            // The function drops the metric name; its operand is the selector that answers times.
            return Ok(self.add(
                Kind::Call { function: id, args: vec![selected.id] },
                call.span,
                spans(call),
                selected.invariant,
            ));
        }
        let mut args = self.args(call, id.name())?;
        if id == FunctionId::Info {
            args = self.info_args(&args, call)?;
        }
        let invariant = !id.signature().reads_time && args.iter().all(|arg| arg.invariant);
        let args = self.settle_args(args, invariant);
        Ok(self.add(Kind::Call { function: id, args }, call.span, spans(call), invariant))
    }

    /// The vector, and a selector of info series that looks at the same moments.
    fn info_args(&mut self, args: &[Lowered], call: &check::Call) -> Result<Vec<Lowered>, QueryError> {
        let Some(&base) = args.first() else { return Ok(Vec::new()) };
        let written = args.get(1).map(|arg| self.nodes[arg.id.0].kind.clone());
        let mut matchers = match written {
            Some(Kind::Select(selector)) => selector.matchers,
            _ => Vec::new(),
        };
        let mut names = matchers.iter().filter(|matcher| matcher.name == METRIC_NAME).peekable();
        if names.peek().is_none() {
            matchers.push(Matcher::equal(METRIC_NAME, "target_info"));
        } else if names.all(|matcher| matcher.op.is_negative()) {
            let any_info = Matcher::new(MatchOp::Regex, METRIC_NAME, ".+_info")
                .map_err(|error| QueryError::execution(error.to_string()))?;
            matchers.push(any_info);
        }
        let (at_millis, offset_millis) = self.first_reference(base.id, None, 0).unwrap_or((None, 0));
        let selector = Selector {
            matchers,
            offset_millis,
            at_millis,
            extension: None,
            answers: Answers::Value,
            statistics_only: false,
            projection: None,
            function: "info",
        };
        let span = call.args.get(1).map_or(call.span, |arg| arg.span);
        Ok(vec![base, self.add(Kind::Select(selector), span, Vec::new(), base.invariant)])
    }

    /// From which moment the first selector in an expression looks, as `@` and `offset`.
    fn first_reference(&self, id: NodeId, at: Option<i64>, offset: i64) -> Option<(Option<i64>, i64)> {
        let inside = |inner_at: Option<i64>, inner_offset: i64| match inner_at {
            Some(_) => (inner_at, inner_offset),
            None => (at, offset.saturating_add(inner_offset)),
        };
        let kind = &self.nodes[id.0].kind;
        match kind {
            Kind::Select(selector) | Kind::RangeSelect { selector, .. } => {
                Some(inside(selector.at_millis, selector.offset_millis))
            }
            Kind::Subquery { child, offset_millis, at_millis, .. } => {
                let (at, offset) = inside(*at_millis, *offset_millis);
                self.first_reference(*child, at, offset)
            }
            kind => kind.children().into_iter().find_map(|child| self.first_reference(child, at, offset)),
        }
    }

    fn args(&mut self, call: &check::Call, function: &'static str) -> Result<Vec<Lowered>, QueryError> {
        let lower = |arg: &check::Arg| match &arg.value {
            Typed::Range(range) => self.range(range, function),
            Typed::Scalar(scalar) => self.scalar(scalar, arg.span),
            other => self.typed(other),
        };
        call.args.iter().map(lower).collect()
    }

    fn settle_args(&mut self, args: Vec<Lowered>, invariant: bool) -> Vec<NodeId> {
        args.into_iter().map(|arg| if invariant { arg.id } else { self.pin(arg) }).collect()
    }

    fn range(&mut self, range: &Range, function: &'static str) -> Result<Lowered, QueryError> {
        match range {
            Range::Selector(matrix) => {
                let mut selector = self.selector(&matrix.selector, Answers::Value)?;
                selector.function = function;
                let invariant = selector.at_millis.is_some();
                let range_millis = self.length(&matrix.range, false)?;
                Ok(self.add(Kind::RangeSelect { selector, range_millis }, matrix.span, Vec::new(), invariant))
            }
            Range::Subquery(subquery) => {
                let child = self.instant(&subquery.operand)?;
                let child = self.pin(child);
                let step_millis = match &subquery.step {
                    Some(step) => self.length(step, false)?,
                    None => self.times.subquery_step_millis,
                };
                let (offset_millis, at_millis) = self.modifiers(&subquery.modifiers)?;
                let range_millis = self.length(&subquery.range, false)?;
                let kind = Kind::Subquery { child, range_millis, step_millis, offset_millis, at_millis };
                Ok(self.add(kind, subquery.span, Vec::new(), at_millis.is_some()))
            }
        }
    }

    fn select(&mut self, selector: &VectorSelector, answers: Answers) -> Result<Lowered, QueryError> {
        let lowered = self.selector(selector, answers)?;
        let invariant = lowered.at_millis.is_some();
        Ok(self.add(Kind::Select(lowered), selector.span, Vec::new(), invariant))
    }

    fn selector(&mut self, selector: &VectorSelector, answers: Answers) -> Result<Selector, QueryError> {
        let (offset_millis, at_millis) = self.modifiers(&selector.modifiers)?;
        Ok(Selector {
            matchers: selector.matchers.clone(),
            offset_millis,
            at_millis,
            extension: selector.extension,
            answers,
            statistics_only: false,
            projection: None,
            function: "",
        })
    }

    fn modifiers(&self, modifiers: &Modifiers) -> Result<(i64, Option<i64>), QueryError> {
        let offset = modifiers.offset.as_ref().map(|offset| self.length(offset, true)).transpose()?.unwrap_or(0);
        let at = modifiers.at.map(|at| match at {
            At::Timestamp(millis) => millis,
            At::Start => self.times.grid.start().as_millis(),
            At::End => self.times.grid.end().as_millis(),
        });
        Ok((offset, at))
    }

    /// A length in whole milliseconds; `signed` behind `offset`.
    fn length(&self, length: &Length, signed: bool) -> Result<i64, QueryError> {
        let times = QueryTimes { step_millis: self.query_step_millis(), range_millis: self.query_range_millis() };
        length.millis(times, signed).map_err(|error| QueryError::execution(error.to_string()))
    }

    fn query_step_millis(&self) -> i64 {
        if self.times.is_range { self.times.grid.step_millis() } else { 0 }
    }

    fn query_range_millis(&self) -> i64 {
        self.times.grid.end().as_millis().saturating_sub(self.times.grid.start().as_millis())
    }

    /// The functions whose value the times of the query decide, in seconds.
    fn query_constant(&self, function: FunctionId) -> Option<f64> {
        let grid = self.times.grid;
        Some(match function {
            FunctionId::Start => grid.start().as_secs_f64(),
            FunctionId::End => grid.end().as_secs_f64(),
            FunctionId::Range => self.query_range_millis() as f64 / 1000.0,
            FunctionId::Step if grid.start() == grid.end() => 0.0,
            FunctionId::Step => self.query_step_millis() as f64 / 1000.0,
            FunctionId::Pi => std::f64::consts::PI,
            _ => return None,
        })
    }

    /// Operands of one node: if not all are invariant, those that are get pinned.
    fn agree<const N: usize>(&mut self, operands: [Lowered; N]) -> ([NodeId; N], bool) {
        let invariant = operands.iter().all(|operand| operand.invariant);
        let ids = operands.map(|operand| if invariant { operand.id } else { self.pin(operand) });
        (ids, invariant)
    }

    /// Computes an invariant node at one step only, where that saves anything.
    fn pin(&mut self, lowered: Lowered) -> NodeId {
        let kind = &self.nodes[lowered.id.0].kind;
        let cheap = matches!(
            kind,
            Kind::Number(_)
                | Kind::Text(_)
                | Kind::Bytes(_)
                | Kind::RangeSelect { .. }
                | Kind::Subquery { .. }
                | Kind::Invariant(_)
        );
        if !lowered.invariant || cheap {
            return lowered.id;
        }
        let span = self.nodes[lowered.id.0].span;
        self.add(Kind::Invariant(lowered.id), span, Vec::new(), true).id
    }

    /// Adds a node, or finds the one that does the same; its place then is the later one.
    fn add(&mut self, kind: Kind, span: Span, arg_spans: Vec<Span>, invariant: bool) -> Lowered {
        // `0` and `-0` differ here, as they must: 1 / 0 is not 1 / -0.
        let key = format!("{kind:?}");
        if let Some(&id) = self.known.get(&key) {
            let node = &mut self.nodes[id.0];
            (node.span, node.arg_spans) = (span, arg_spans);
            return Lowered { id, invariant };
        }
        let id = NodeId(self.nodes.len());
        for child in kind.children() {
            self.nodes[child.0].users += 1;
        }
        self.nodes.push(Node { kind, span, arg_spans, users: 0 });
        self.known.insert(key, id);
        Lowered { id, invariant }
    }
}

fn spans(call: &check::Call) -> Vec<Span> {
    call.args.iter().map(|arg| arg.span).collect()
}
