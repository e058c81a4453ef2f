//! Explain: what would the engine do?

use std::fmt::Write;

use super::{Answers, Kind, NodeId, Plan, Selector};

/// The plan as text: one line an operation, operands indented below what uses them, with a remark about each behind it. A node with several users is
/// printed in full once and referred to by its number afterwards.
pub(crate) fn explain(plan: &Plan, remark: &dyn Fn(NodeId) -> Option<String>) -> String {
    let mut out = String::new();
    let mut printed = vec![false; plan.nodes().count()];
    line(plan, plan.root(), 0, remark, &mut printed, &mut out);
    out
}

fn line(
    plan: &Plan,
    id: NodeId,
    depth: usize,
    remark: &dyn Fn(NodeId) -> Option<String>,
    printed: &mut [bool],
    out: &mut String,
) {
    let node = plan.node(id);
    // Writing to a string cannot fail.
    let _ = write!(out, "{:indent$}#{} {}", "", id.0, describe(&node.kind), indent = depth * 2);
    if std::mem::replace(&mut printed[id.0], true) {
        out.push_str(" (computed once, see above)\n");
        return;
    }
    if node.users > 1 {
        let _ = write!(out, " (used {} times)", node.users);
    }
    if let Some(remark) = remark(id) {
        let _ = write!(out, ": {remark}");
    }
    out.push('\n');
    for child in node.kind.children() {
        line(plan, child, depth + 1, remark, printed, out);
    }
}

/// One operation in a few words.
pub(crate) fn describe(kind: &Kind) -> String {
    match kind {
        Kind::Number(value) => format!("number {value}"),
        Kind::Text(text) => format!("string {}", ferula_model::go_quote(text)),
        Kind::Bytes(_) => "string that is not UTF-8".to_owned(),
        Kind::Select(selector) => format!("select {}", describe_selector(selector)),
        Kind::RangeSelect { selector, range_millis } => {
            format!("select range of {} ms {}", range_millis, describe_selector(selector))
        }
        Kind::Subquery { range_millis, step_millis, offset_millis, at_millis, .. } => {
            let mut text = format!("subquery range of {range_millis} ms, step {step_millis} ms");
            if *offset_millis != 0 {
                let _ = write!(text, ", offset {offset_millis} ms");
            }
            if let Some(at) = at_millis {
                let _ = write!(text, ", at {at} ms");
            }
            text
        }
        Kind::Call { function, .. } => format!("{}()", function.name()),
        Kind::HostCall { function, .. } => format!("host function {}()", function.name()),
        Kind::Negate(_) | Kind::NegateScalar(_) => "negate".to_owned(),
        Kind::ScalarBinary { op, .. } => format!("scalars {op:?}"),
        Kind::WithScalar { op, scalar_left, .. } => {
            format!("vector {} scalar{}", op.as_str(), if *scalar_left { " (scalar on the left)" } else { "" })
        }
        Kind::Join { op, matching, .. } => {
            let side = if matching.on { "on" } else { "ignoring" };
            format!("join {} {side} ({}) {}", op.as_str(), matching.labels.join(", "), matching.cardinality.as_str())
        }
        Kind::Set { op, on, labels, .. } => {
            format!("set {} {} ({})", op.as_str(), if *on { "on" } else { "ignoring" }, labels.join(", "))
        }
        Kind::Aggregate { op, grouping, .. } => {
            let side = if grouping.without { "without" } else { "by" };
            format!("aggregate {} {side} ({})", op.name(), grouping.labels.join(", "))
        }
        Kind::Invariant(_) => "once for all steps".to_owned(),
    }
}

fn describe_selector(selector: &Selector) -> String {
    let matchers: Vec<String> = selector.matchers.iter().map(ToString::to_string).collect();
    let mut text = format!("{{{}}}", matchers.join(","));
    if let Some(extension) = selector.extension {
        let _ = write!(text, " {}", extension.as_str());
    }
    if selector.offset_millis != 0 {
        let _ = write!(text, " offset {} ms", selector.offset_millis);
    }
    if let Some(at) = selector.at_millis {
        let _ = write!(text, " at {at} ms");
    }
    match selector.answers {
        Answers::Value => {}
        Answers::Time => text.push_str(", times of samples"),
        Answers::Start => text.push_str(", start timestamps of samples"),
    }
    if let Some(projection) = &selector.projection {
        let _ = write!(text, ", only labels ({})", projection.labels.join(", "));
    }
    if selector.statistics_only {
        text.push_str(", only count and sum");
    }
    text
}
