//! From calls to operators: what each function of the language needs.

use ferula_model::{Labels, StepGrid};

use super::build::{Builder, Mapped, ScalarSteps, unexpected};
use super::distinct::{Equal, distinct};
use super::window::RangeFunction;
use super::{BoxOperator, Held, Worker};
use crate::error::QueryError;
use crate::functions::elementwise::Elementwise;
use crate::functions::histogram::{HistogramQuery, Question};
use crate::functions::labels::{Joining, Relabelled, Replacement};
use crate::functions::note::{Notes, Place};
use crate::functions::sort::{SortKey, sorted};
use crate::functions::{FunctionId, absent, info};
use crate::plan::{Kind, Node, NodeId};
use crate::syntax::ast::ValueType;

impl<'q> Builder<'q> {
    pub(super) fn call(
        &mut self,
        id: NodeId,
        node: &'q Node,
        function: FunctionId,
        args: &'q [NodeId],
        grid: StepGrid,
    ) -> Result<BoxOperator<'q>, QueryError> {
        let env = self.env;
        let position = |index: usize| node.arg_spans.get(index).map_or(0, |span| span.start as usize);
        let place = |index: usize| Place { order: id, position: position(index) };
        Ok(match function {
            FunctionId::Vector => {
                let scalar = self.scalar(*args.first().ok_or_else(|| unexpected("scalar"))?, grid)?;
                self.one_series(&scalar, grid)?
            }
            FunctionId::Absent => {
                let labels = args.first().map(|arg| self.absent_labels(*arg)).unwrap_or_default();
                let child = self.first_vector(args, grid)?;
                Box::new(absent::absent(env, &*child, labels)?)
            }
            FunctionId::AbsentOverTime => {
                self.admit_extension(function, args)?;
                let labels = args.first().map(|arg| self.absent_labels(*arg)).unwrap_or_default();
                match self.range(args[0], grid)? {
                    Some(source) => Box::new(absent::absent_over_time(env, &source, grid.len(), labels)?),
                    None => self.one_labelled(labels, grid)?,
                }
            }
            FunctionId::Sort | FunctionId::SortDesc | FunctionId::SortByLabel | FunctionId::SortByLabelDesc => {
                self.sort(id, node, function, args, grid)?
            }
            FunctionId::LabelReplace => {
                let [_, rest @ ..] = args else { return Err(unexpected("string")) };
                let texts = self.texts(rest)?;
                let [target, template, source, regex] = texts.as_slice() else { return Err(unexpected("string")) };
                let replacement = Replacement::new(env.expressions, [target, template, source, regex])?;
                let child = self.first_vector(args, grid)?;
                let written = Relabelled::written(child, env.limits, |head| replacement.apply(head))?;
                distinct(Box::new(written), Equal::Merge)
            }
            FunctionId::LabelJoin => {
                let [_, rest @ ..] = args else { return Err(unexpected("string")) };
                let texts = self.texts(rest)?;
                let [target, separator, sources @ ..] = texts.as_slice() else { return Err(unexpected("string")) };
                let joining = Joining::new(target, separator, sources.to_vec())?;
                let child = self.first_vector(args, grid)?;
                let written = Relabelled::written(child, env.limits, |head| joining.apply(head))?;
                distinct(Box::new(written), Equal::Merge)
            }
            FunctionId::HistogramQuantile | FunctionId::HistogramQuantiles | FunctionId::HistogramFraction => {
                self.histogram_query(id, node, function, args, grid)?
            }
            FunctionId::Info => info::info(self, args, grid)?,
            FunctionId::Timestamp | FunctionId::StartTimestamp if self.is_direct_selector(args) => {
                let child = self.first_vector(args, grid)?;
                let renamed = Relabelled::new(child, |head| env.settings.without_name(head));
                self.checked(Box::new(renamed), Equal::Merge)
            }
            FunctionId::StartTimestamp => Box::new(Held::new(grid.len(), Vec::new(), env.limits)?),
            _ if function.signature().args.contains(&ValueType::Matrix) => {
                self.range_function(id, function, args, position, grid)?
            }
            _ => self.elementwise(function, args, place, grid)?,
        })
    }

    /// The labels an absent series would have: those of a selector that stands there itself.
    fn absent_labels(&self, id: NodeId) -> Labels {
        match &self.node(id).kind {
            Kind::Select(selector) | Kind::RangeSelect { selector, .. } => absent::labels_of(&selector.matchers),
            Kind::Invariant(child) => self.absent_labels(*child),
            _ => Labels::empty(),
        }
    }

    fn is_direct_selector(&self, args: &[NodeId]) -> bool {
        let mut kind = args.first().map(|arg| &self.node(*arg).kind);
        while let Some(Kind::Invariant(child)) = kind {
            kind = Some(&self.node(*child).kind);
        }
        matches!(kind, Some(Kind::Select(selector)) if selector.answers != crate::plan::Answers::Value)
    }

    fn scalars(&mut self, args: &[NodeId], grid: StepGrid) -> Result<Vec<ScalarSteps>, QueryError> {
        args.iter().map(|arg| self.scalar(*arg, grid)).collect()
    }

    fn sort(
        &mut self,
        id: NodeId,
        node: &'q Node,
        function: FunctionId,
        args: &'q [NodeId],
        grid: StepGrid,
    ) -> Result<BoxOperator<'q>, QueryError> {
        let child = self.first_vector(args, grid)?;
        if self.env.settings.is_range {
            let mut worker = Worker::default();
            let place = Place { order: id, position: node.span.start as usize };
            Notes::new(&mut worker.annotations, place).sort_in_range_query();
            self.env.settle(&mut worker);
        }
        let by_value = matches!(function, FunctionId::Sort | FunctionId::SortDesc);
        if self.env.settings.is_range || grid.len() > 1 {
            // There is nothing to sort, but sorting by value drops what has none.
            return Ok(if by_value {
                Box::new(Mapped::new(child, Elementwise::Math(|value| value), grid, Clone::clone))
            } else {
                child
            });
        }
        let key = match function {
            FunctionId::Sort => SortKey::Value { descending: false },
            FunctionId::SortDesc => SortKey::Value { descending: true },
            other => {
                SortKey::Labels { names: self.texts(&args[1..])?, descending: other == FunctionId::SortByLabelDesc }
            }
        };
        Ok(Box::new(sorted(self.env, &*child, &key)?))
    }

    fn histogram_query(
        &mut self,
        id: NodeId,
        node: &'q Node,
        function: FunctionId,
        args: &'q [NodeId],
        grid: StepGrid,
    ) -> Result<BoxOperator<'q>, QueryError> {
        let position = |index: usize| node.arg_spans.get(index).map_or(0, |span| span.start as usize);
        let (question, vector_at, quantile_positions) = match (function, args) {
            (FunctionId::HistogramQuantile, [quantile, _]) => {
                let quantiles = vec![self.scalar(*quantile, grid)?];
                (Question::Quantiles { quantiles, label: None }, 1, vec![position(0)])
            }
            (FunctionId::HistogramQuantiles, [_, label, quantiles @ ..]) => {
                let label = self.label_name(*label)?.to_owned();
                let positions = (2..args.len()).map(position).collect();
                let quantiles = self.scalars(quantiles, grid)?;
                (Question::Quantiles { quantiles, label: Some(label) }, 0, positions)
            }
            (_, [lower, upper, _]) => {
                let (lower, upper) = (self.scalar(*lower, grid)?, self.scalar(*upper, grid)?);
                (Question::Fraction { lower, upper }, 2, Vec::new())
            }
            _ => return Err(unexpected("instant vector")),
        };
        let child = self.vector(args[vector_at], grid)?;
        let place = Place { order: id, position: position(vector_at) };
        let query = HistogramQuery { env: self.env, question, place, grid, quantile_positions };
        Ok(self.checked(Box::new(query.evaluate(&*child)?), Equal::Merge))
    }

    fn range_function(
        &mut self,
        id: NodeId,
        function: FunctionId,
        args: &'q [NodeId],
        position: impl Fn(usize) -> usize,
        grid: StepGrid,
    ) -> Result<BoxOperator<'q>, QueryError> {
        self.admit_extension(function, args)?;
        let types = function.signature().args;
        let range_at = types.iter().position(|arg| *arg == ValueType::Matrix).unwrap_or(0);
        let others: Vec<NodeId> =
            args.iter().enumerate().filter(|(index, _)| *index != range_at).map(|(_, arg)| *arg).collect();
        let params = self.scalars(&others, grid)?;
        let range = *args.get(range_at).ok_or_else(|| unexpected("range vector"))?;
        let Some(source) = self.range(range, grid)? else {
            return Ok(Box::new(Held::new(grid.len(), Vec::new(), self.env.limits)?));
        };
        // Notes are about the first argument, even where that is not the range. Upstream has no position for what a
        // subquery became.
        let first = args.first().map(|arg| &self.node(*arg).kind);
        let noted = if matches!(first, Some(Kind::Subquery { .. })) { 0 } else { position(0) };
        let built = RangeFunction::new(self.env, id, function, source, params, noted, grid);
        let equal = Equal::Refuse;
        let built: BoxOperator<'q> = Box::new(built);
        Ok(if function.signature().keeps_name { built } else { self.checked(built, equal) })
    }

    /// Whether the function takes a range selector like this one.
    fn admit_extension(&self, function: FunctionId, args: &[NodeId]) -> Result<(), QueryError> {
        for arg in args {
            let Kind::RangeSelect { selector, .. } = &self.node(*arg).kind else { continue };
            let Some(extension) = selector.extension.filter(|extension| !function.allows(*extension)) else { continue };
            let allowed: Vec<_> = FunctionId::allowing(extension).map(FunctionId::name).collect();
            return Err(QueryError::execution(format!(
                "{} modifier can only be used with: {} - not with {}",
                extension.as_str(),
                allowed.join(", "),
                function.name()
            )));
        }
        Ok(())
    }

    fn elementwise(
        &mut self,
        function: FunctionId,
        args: &'q [NodeId],
        _: impl Fn(usize) -> Place,
        grid: StepGrid,
    ) -> Result<BoxOperator<'q>, QueryError> {
        let env = self.env;
        let params = self.scalars(args.get(1..).unwrap_or_default(), grid)?;
        let Some(elementwise) = Elementwise::of(function, &params) else {
            return Err(QueryError::execution(format!("unknown function with name \"{}\"", function.name())));
        };
        let child = if args.is_empty() {
            // The date functions ask about the time of the step if they are not told otherwise.
            let now = (0..grid.len()).map(|step| grid.at(step).as_secs_f64()).collect();
            self.one_series(&ScalarSteps::Steps(now), grid)?
        } else {
            self.first_vector(args, grid)?
        };
        let only_name = matches!(
            function,
            FunctionId::HistogramCount
                | FunctionId::HistogramSum
                | FunctionId::HistogramAvg
                | FunctionId::HistogramStddev
                | FunctionId::HistogramStdvar
        );
        let mapped = Mapped::new(child, elementwise, grid, |head| {
            if only_name { env.settings.without_metric_name(head) } else { env.settings.without_name(head) }
        });
        Ok(self.checked(Box::new(mapped), Equal::Merge))
    }

    fn one_labelled(&self, labels: Labels, grid: StepGrid) -> Result<BoxOperator<'q>, QueryError> {
        let series = self.one_series(&ScalarSteps::Constant(1.0), grid)?;
        Ok(Box::new(Relabelled::new(series, |_| super::Head::new(labels.clone()))))
    }
}
