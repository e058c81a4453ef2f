//! Queries: operators, aggregations, and what they are made of.

use super::random::Random;
use super::{Scope, calls, selectors};

/// A whole query. Sometimes of another type than an instant vector.
pub(crate) fn query(random: &mut Random, scope: Scope) -> String {
    let depth = random.pick(&[0, 1, 1, 2, 2, 2, 3, 3, 4]);
    match random.below(100) {
        0..4 => scalar(random, scope, depth),
        4..7 => selectors::range(random, scope, depth),
        7..10 => calls::sorted(random, scope, depth),
        _ => vector(random, scope, depth),
    }
}

/// An instant vector, at most `depth` operations high.
pub(super) fn vector(random: &mut Random, scope: Scope, depth: usize) -> String {
    let Some(below) = depth.checked_sub(1) else { return selectors::instant(random, scope) };
    match random.below(100) {
        0..6 => selectors::instant(random, scope),
        6..24 => aggregation(random, scope, below),
        24..44 => between_vectors(random, scope, below),
        44..54 => with_scalar(random, scope, below),
        54..58 => format!("-{}", parenthesised(random, scope, below)),
        58..84 => calls::over_range(random, scope, below),
        _ => calls::of_vector(random, scope, below),
    }
}

fn parenthesised(random: &mut Random, scope: Scope, depth: usize) -> String {
    format!("({})", vector(random, scope, depth))
}

/// A scalar.
pub(super) fn scalar(random: &mut Random, scope: Scope, depth: usize) -> String {
    let Some(below) = depth.checked_sub(1) else { return number(random) };
    match random.below(10) {
        0..4 => number(random),
        4 => "time()".to_owned(),
        5 => "pi()".to_owned(),
        6 if scope.newer => random.pick(&["start()", "end()", "step()", "range()", "max_of(2, 3)"]).to_owned(),
        6..8 => format!("scalar({})", vector(random, scope, below)),
        _ => {
            let op = random.pick(&["+", "-", "*", "/", "%", "^", "atan2", "== bool", "< bool", ">= bool"]);
            format!("({} {op} {})", scalar(random, scope, below), scalar(random, scope, below))
        }
    }
}

pub(super) fn number(random: &mut Random) -> String {
    random
        .pick(&[
            "0", "1", "2", "-1", "0.5", "3.25", "10", "1e3", "-0.7", "NaN", "Inf", "-Inf", "1e308", "5e-324", "5m",
            "0x1F",
        ])
        .to_owned()
}

const LABELS: &[&str] = &["job", "instance", "code", "le", "form", "version", "__name__", "nowhere"];

/// Some labels in parentheses.
pub(super) fn label_list(random: &mut Random) -> String {
    let mut labels = Vec::new();
    while random.chance(60) && labels.len() < 3 {
        let label = random.pick(LABELS);
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    format!("({})", labels.join(","))
}

fn aggregation(random: &mut Random, scope: Scope, depth: usize) -> String {
    let grouping = match random.below(10) {
        0..4 => String::new(),
        4..8 => format!(" by {}", label_list(random)),
        _ => format!(" without {}", label_list(random)),
    };
    let operand = vector(random, scope, depth);
    let parameter = match random.below(20) {
        0..3 => return format!("count_values{grouping} (\"{}\", {operand})", random.pick(&["value", "job", "le"])),
        3..6 => {
            format!("quantile{grouping} ({}", scalar_or(random, scope, &["0.5", "0.9", "0", "1", "-1", "2", "NaN"]))
        }
        6..9 => {
            let op = random.pick(&["topk", "bottomk"]);
            format!("{op}{grouping} ({}", scalar_or(random, scope, &["1", "2", "3", "0", "-1", "2.9", "100"]))
        }
        9 => format!("limitk{grouping} ({}", scalar_or(random, scope, &["1", "2", "0", "1000"])),
        _ => {
            let op =
                random.pick(&["sum", "sum", "sum", "avg", "avg", "count", "min", "max", "group", "stddev", "stdvar"]);
            return format!("{op}{grouping} ({operand})");
        }
    };
    format!("{parameter}, {operand})")
}

/// Mostly one of the given numbers, sometimes any scalar.
pub(super) fn scalar_or(random: &mut Random, scope: Scope, numbers: &[&str]) -> String {
    if random.chance(8) { scalar(random, scope, 1) } else { random.pick(numbers).to_owned() }
}

fn with_scalar(random: &mut Random, scope: Scope, depth: usize) -> String {
    let vector = parenthesised(random, scope, depth);
    let scalar = scalar(random, scope, depth.min(1));
    let op = operator(random, scope);
    if random.chance(60) { format!("{vector} {op} {scalar}") } else { format!("{scalar} {op} {vector}") }
}

/// An operator that is no set operator, comparisons sometimes with `bool`.
fn operator(random: &mut Random, scope: Scope) -> &'static str {
    if scope.newer && random.chance(6) {
        return random.pick(&["</", ">/"]);
    }
    random.pick(&[
        "+", "+", "+", "-", "-", "-", "*", "*", "/", "/", "%", "^", "atan2", "==", "!=", "<", ">", "<=", ">=",
        "== bool", "!= bool", "< bool", "> bool", "<= bool", ">= bool",
    ])
}

fn between_vectors(random: &mut Random, scope: Scope, depth: usize) -> String {
    // Two unrelated vectors seldom have partners: mostly both sides are of one kin.
    let (left, right) = if random.chance(70) {
        let metric = selectors::metric(random, scope);
        (kin(random, metric), kin(random, metric))
    } else {
        (vector(random, scope, depth), vector(random, scope, depth))
    };
    if random.chance(30) {
        let op = random.pick(&["and", "or", "unless"]);
        return format!("({left}) {op}{} ({right})", matching(random));
    }
    let op = operator(random, scope);
    let mut matching = matching(random);
    if !matching.is_empty() && random.chance(40) {
        let include = random.pick(&["()", "()", "(job)", "(code)", "(version,nowhere)"]);
        // A label cannot be in both lists.
        let clash =
            matching.starts_with(" on") && include.len() > 2 && matching.contains(&include[1..include.len() - 1]);
        let include = if clash { "()" } else { include };
        matching.push_str(&format!(" {}{include}", random.pick(&["group_left", "group_right"])));
    }
    if scope.newer && random.chance(25) {
        matching.push_str(random.pick(&[
            " fill(0)",
            " fill_left(1)",
            " fill_right(-1)",
            " fill_left(2) fill_right(NaN)",
        ]));
    }
    format!("({left}) {op}{matching} ({right})")
}

/// A vector of a metric that probably has partners in another of the same metric.
fn kin(random: &mut Random, metric: &str) -> String {
    let selector = selectors::of_metric(random, metric);
    match random.below(6) {
        0..3 => format!("{selector}{}", selectors::modifiers(random)),
        3 => format!("rate({selector}[2m])"),
        4 => format!("{} by {} ({selector})", random.pick(&["sum", "max", "count"]), label_list(random)),
        _ => format!("{selector} offset {}", random.pick(&["1m", "30s", "5m"])),
    }
}

fn matching(random: &mut Random) -> String {
    match random.below(10) {
        0..4 => String::new(),
        4..8 => format!(" on {}", label_list(random)),
        _ => format!(" ignoring {}", label_list(random)),
    }
}
