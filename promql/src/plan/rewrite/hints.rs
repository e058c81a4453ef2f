//! Which function or aggregation looks at the samples of a selector?

use crate::plan::{Kind, Plan};

/// Tells each instant selector the name of what uses it.
pub(super) fn rewrite(plan: &mut Plan) {
    let uses: Vec<_> = plan
        .nodes()
        .filter_map(|(_, node)| match &node.kind {
            Kind::Call { function, args } => Some((function.name(), args.clone())),
            Kind::Aggregate { op, child, .. } => Some((op.name(), vec![*child])),
            _ => None,
        })
        .collect();
    for (name, children) in uses {
        for child in children {
            if let Kind::Select(selector) = &mut plan.nodes_mut()[child.0].kind
                && selector.function.is_empty()
            {
                selector.function = name;
            }
        }
    }
}
