//! Which labels of a selector's series are looked at?
//!
//! Below `sum by (job) (...)`, a series is its job: of ten labels nine need not be read, and of a plain `sum` all ten. The name
//! stays, because notes speak of it. That series are different ones without it is the selection's to find out, as that takes all
//! labels.

use ferula_model::METRIC_NAME;

use super::push_down::operand_under_its_labels;
use crate::functions::FunctionId;
use crate::plan::{Kind, NodeId, Plan, Projection};
use crate::syntax::ast::AggregateOp;

/// Tells selectors below aggregations which labels are looked at.
pub(super) fn rewrite(plan: &mut Plan) {
    let mut found = Vec::new();
    for (_, node) in plan.nodes() {
        let Kind::Aggregate { op, child, grouping, .. } = &node.kind else { continue };
        // These answer series as they are, or choose them by their labels.
        let looks_at_all =
            matches!(op, AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk | AggregateOp::LimitRatio);
        if grouping.without || looks_at_all {
            continue;
        }
        let mut drops_names = false;
        let Some(selector) = selector_below(plan, *child, &mut drops_names) else { continue };
        let mut labels = grouping.labels.clone();
        labels.push(METRIC_NAME.to_owned());
        labels.sort_unstable();
        labels.dedup();
        found.push((selector, Projection { labels, drops_names }));
    }
    for (id, projection) in found {
        if let Kind::Select(selector) | Kind::RangeSelect { selector, .. } = &mut plan.nodes_mut()[id.0].kind {
            selector.projection = Some(projection);
        }
    }
}

/// The selector below operations that look at values only, if nothing else uses any of these.
fn selector_below(plan: &Plan, id: NodeId, drops_names: &mut bool) -> Option<NodeId> {
    let node = plan.node(id);
    if node.users > 1 {
        return None;
    }
    let operand = match &node.kind {
        Kind::Select(_) | Kind::RangeSelect { .. } => return Some(id),
        Kind::Invariant(child) | Kind::Subquery { child, .. } => *child,
        Kind::WithScalar { vector: child, .. } | Kind::Negate(child) => {
            *drops_names = true;
            *child
        }
        Kind::Call { function, args } => {
            let sorts = matches!(
                function,
                FunctionId::Sort | FunctionId::SortDesc | FunctionId::SortByLabel | FunctionId::SortByLabelDesc
            );
            if sorts {
                return None;
            }
            *drops_names |= !function.signature().keeps_name;
            operand_under_its_labels(*function, args)?
        }
        _ => return None,
    };
    selector_below(plan, operand, drops_names)
}
