//! Which conditions of one side of a join must its partner fulfil too?
//!
//! In `a{env="prod"} * on (env, job) b`, only series of `b` with `env="prod"` can find a partner. Where the operands are
//! plain selectors (perhaps under functions that keep labels), conditions on labels that must be equal are added to the
//! other side, so that the storage need not look for what will be thrown away. Never where the other side's series
//! matter without a partner: under fills, `or`, `unless`, or where duplicates without partner are an error.

use ferula_model::{METRIC_NAME, MatchOp, Matcher};

use crate::check::SetOp;
use crate::functions::FunctionId;
use crate::plan::{Kind, NodeId, Plan};
use crate::syntax::ast::ValueType;

/// Adds conditions to selectors on the right of `and`, whose series are only asked whether they are there.
pub(super) fn rewrite(plan: &mut Plan) {
    let mut additions: Vec<(NodeId, Vec<Matcher>)> = Vec::new();
    for (_, node) in plan.nodes() {
        let Kind::Set { op: SetOp::And | SetOp::Unless, left, right: right_operand, on, labels } = &node.kind else {
            continue;
        };
        let (Some(left), Some(right)) = (selector_below(plan, *left), selector_below(plan, *right_operand)) else {
            continue;
        };
        let (Some(source), Some(target)) = (matchers(plan, left), matchers(plan, right)) else { continue };
        if left == right || plan.node(right).users > 1 {
            continue;
        }
        // Series of several names may become equal under a function, which is an error whether they match or not.
        let one_name = |matcher: &Matcher| matcher.name == METRIC_NAME && matcher.op == MatchOp::Equal;
        let bare = matches!(plan.node(right).kind, Kind::Select(_));
        if !(target.iter().any(one_name) || right == *right_operand && bare) {
            continue;
        }
        let must_agree = |name: &str| name != METRIC_NAME && labels.iter().any(|label| label == name) == *on;
        let known = |matcher: &Matcher| {
            target.iter().any(|m| m.name == matcher.name && m.op == matcher.op && m.value == matcher.value)
        };
        let added: Vec<Matcher> =
            source.iter().filter(|matcher| must_agree(&matcher.name) && !known(matcher)).cloned().collect();
        if !added.is_empty() {
            additions.push((right, added));
        }
    }
    for (id, added) in additions {
        if let Kind::Select(selector) | Kind::RangeSelect { selector, .. } = &mut plan.nodes_mut()[id.0].kind {
            selector.matchers.extend(added);
        }
    }
}

fn matchers(plan: &Plan, id: NodeId) -> Option<&[Matcher]> {
    match &plan.node(id).kind {
        Kind::Select(selector) | Kind::RangeSelect { selector, .. } => Some(&selector.matchers),
        _ => None,
    }
}

/// The selector below functions that only change values, if nothing else uses any of these.
fn selector_below(plan: &Plan, id: NodeId) -> Option<NodeId> {
    let node = plan.node(id);
    if node.users > 1 {
        return None;
    }
    match &node.kind {
        Kind::Select(_) | Kind::RangeSelect { .. } => Some(id),
        Kind::WithScalar { vector, .. } => selector_below(plan, *vector),
        Kind::Negate(child) => selector_below(plan, *child),
        Kind::Call { function, args } => selector_below(plan, operand_under_its_labels(*function, args)?),
        _ => None,
    }
}

/// The operand of a function whose series are those of the operand, but for the name.
pub(super) fn operand_under_its_labels(function: FunctionId, args: &[NodeId]) -> Option<NodeId> {
    let changes_labels = matches!(
        function,
        FunctionId::LabelReplace
            | FunctionId::LabelJoin
            | FunctionId::Absent
            | FunctionId::AbsentOverTime
            | FunctionId::Vector
            | FunctionId::Scalar
            | FunctionId::Info
            | FunctionId::HistogramQuantile
            | FunctionId::HistogramQuantiles
            | FunctionId::HistogramFraction
    );
    let types = function.signature().args;
    let at = types.iter().position(|arg| matches!(arg, ValueType::Vector | ValueType::Matrix))?;
    if changes_labels { None } else { args.get(at).copied() }
}
