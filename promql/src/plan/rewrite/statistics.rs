//! Where are count and sum of a histogram all that is looked at?
//!
//! Below `histogram_count`, `histogram_sum` and `histogram_avg`, buckets need not be decoded, unless something in
//! between looks at them. A storage may use the hint or not.

use crate::functions::FunctionId;
use crate::plan::{Kind, NodeId, Plan};

/// Marks selectors of which only count and sum will be looked at.
pub(super) fn rewrite(plan: &mut Plan) {
    let mut marked = Vec::new();
    for (_, node) in plan.nodes() {
        if let Kind::Call {
            function: FunctionId::HistogramCount | FunctionId::HistogramSum | FunctionId::HistogramAvg,
            args,
        } = &node.kind
        {
            for arg in args {
                collect(plan, *arg, &mut marked);
            }
        }
    }
    for id in marked {
        let node = &mut plan.nodes_mut()[id.0];
        let users = node.users;
        match &mut node.kind {
            Kind::Select(selector) | Kind::RangeSelect { selector, .. } if users < 2 => selector.statistics_only = true,
            _ => {}
        }
    }
}

fn collect(plan: &Plan, id: NodeId, marked: &mut Vec<NodeId>) {
    let node = plan.node(id);
    if node.users > 1 {
        return;
    }
    match &node.kind {
        Kind::Select(_) | Kind::RangeSelect { .. } => marked.push(id),
        Kind::Subquery { .. } | Kind::WithScalar { .. } | Kind::Join { .. } | Kind::Set { .. } => {}
        Kind::Call {
            function:
                FunctionId::HistogramQuantile
                | FunctionId::HistogramQuantiles
                | FunctionId::HistogramFraction
                | FunctionId::HistogramStddev
                | FunctionId::HistogramStdvar,
            ..
        } => {}
        kind => {
            for child in kind.children() {
                collect(plan, child, marked);
            }
        }
    }
}
