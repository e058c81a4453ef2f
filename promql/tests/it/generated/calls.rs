//! Calls of functions.

use super::queries::{number, scalar, scalar_or, vector};
use super::random::Random;
use super::{Scope, selectors};

const OVER_RANGE: &[&str] = &[
    "rate",
    "rate",
    "rate",
    "increase",
    "increase",
    "delta",
    "irate",
    "idelta",
    "avg_over_time",
    "sum_over_time",
    "min_over_time",
    "max_over_time",
    "count_over_time",
    "last_over_time",
    "present_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "absent_over_time",
    "changes",
    "resets",
    "deriv",
    "mad_over_time",
    "ts_of_min_over_time",
    "ts_of_max_over_time",
    "ts_of_last_over_time",
];

/// A function of a range vector.
pub(super) fn over_range(random: &mut Random, scope: Scope, depth: usize) -> String {
    if scope.newer && random.chance(20) {
        let (functions, extension) = if random.chance(50) {
            (&["rate", "increase", "delta", "changes", "resets"][..], " anchored")
        } else {
            (&["rate", "increase", "delta"][..], " smoothed")
        };
        return format!("{}({})", random.pick(functions), selectors::plain_range(random, scope, extension));
    }
    let range = selectors::range(random, scope, depth);
    match random.below(20) {
        0 => format!("quantile_over_time({}, {range})", scalar_or(random, scope, &["0.5", "0.9", "0", "1", "2", "-1"])),
        1 => format!("predict_linear({range}, {})", scalar_or(random, scope, &["60", "-60", "0", "3600"])),
        2 => format!("double_exponential_smoothing({range}, {}, 0.3)", random.pick(&["0.5", "0.1", "0.9", "1.5"])),
        3 if scope.newer => {
            format!("{}({range})", random.pick(&["first_over_time", "ts_of_first_over_time", "first_over_time"]))
        }
        _ => format!("{}({range})", random.pick(OVER_RANGE)),
    }
}

const MATH: &[&str] = &[
    "abs", "ceil", "floor", "exp", "ln", "log2", "log10", "sqrt", "sgn", "sin", "cos", "tan", "asin", "acos", "atan",
    "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "deg", "rad",
];

const DATES: &[&str] =
    &["minute", "hour", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month", "year"];

/// A function of an instant vector, or one that makes a vector of something else.
pub(super) fn of_vector(random: &mut Random, scope: Scope, depth: usize) -> String {
    let kind = random.below(100);
    if (30..42).contains(&kind) {
        return quantiles(random, scope);
    }
    if (42..50).contains(&kind) && scope.histograms {
        let histograms = vector(random, scope, depth);
        let function = random.pick(&["count", "sum", "avg", "stddev", "stdvar"]);
        return format!("histogram_{function}({histograms})");
    }
    let operand = vector(random, scope, depth);
    match kind {
        0..20 => format!("{}({operand})", random.pick(MATH)),
        20..23 => format!("clamp({operand}, {}, {})", scalar_or(random, scope, &["0", "-1", "NaN"]), number(random)),
        23..27 => format!("{}({operand}, {})", random.pick(&["clamp_min", "clamp_max"]), number(random)),
        27..30 if random.chance(50) => format!("round({operand})"),
        27..30 => format!("round({operand}, {})", number(random)),
        50..55 if random.chance(30) => format!("{}()", random.pick(DATES)),
        50..55 => format!("{}({operand})", random.pick(DATES)),
        55..62 => format!("absent({operand})"),
        62..72 => label_replace(random, &operand),
        72..79 => {
            let target = random.pick(&["dst", "job", "__name__", "instance"]);
            format!("label_join({operand}, \"{target}\", \"-\", \"job\", \"nowhere\", \"instance\")")
        }
        79..84 => format!("vector({})", scalar(random, scope, depth)),
        84..90 => format!("timestamp({operand})"),
        90..93 if scope.exotic => info(random, &operand),
        _ => sorted(random, scope, depth),
    }
}

fn label_replace(random: &mut Random, operand: &str) -> String {
    let (target, template, source, regex) = random.pick(&[
        ("dst", "$1", "instance", "(.):(.)"),
        ("job", "${1}x", "job", "(a).*"),
        ("job", "", "job", "db"),
        ("__name__", "renamed", "job", ".*"),
        ("instance", "same", "instance", ".*"),
        ("dst", "$2-$1", "instance", "(?P<one>.):(.)"),
        ("dst", "x", "nowhere", ""),
        ("code", "$1", "code", "(2)00|(5)00"),
        ("le", "1", "le", "0.*"),
    ]);
    format!("label_replace({operand}, \"{target}\", \"{template}\", \"{source}\", \"{regex}\")")
}

fn info(random: &mut Random, operand: &str) -> String {
    match random.below(3) {
        0 => format!("info({operand})"),
        1 => format!("info({operand}, {{cluster=~\".+\"}})"),
        _ => format!("info({operand}, {{__name__=\"build_info\"}})"),
    }
}

/// Quantiles and fractions of classic and native histograms.
fn quantiles(random: &mut Random, scope: Scope) -> String {
    let metric = if scope.histograms {
        random.pick(&["latency_bucket", "latency_bucket", "size", "size", "duration", "custom", "mixed", "odd"])
    } else {
        random.pick(&["latency_bucket", "latency_bucket", "latency_bucket", "odd"])
    };
    let selector = selectors::of_metric(random, metric);
    let buckets = match random.below(4) {
        0 => format!("rate({selector}[5m])"),
        1 => format!("sum by (le, job) (rate({selector}[2m]))"),
        2 => format!("sum by (le, form) ({selector})"),
        _ => selector,
    };
    let phi = scalar_or(random, scope, &["0.5", "0.9", "0.1", "0.99", "0", "1", "-1", "2", "NaN"]);
    match random.below(10) {
        0..6 => format!("histogram_quantile({phi}, {buckets})"),
        6 if scope.newer => format!("histogram_quantiles({buckets}, \"q\", 0.5, {phi})"),
        _ => format!("histogram_fraction({}, {}, {buckets})", number(random), number(random)),
    }
}

/// What orders series.
pub(super) fn sorted(random: &mut Random, scope: Scope, depth: usize) -> String {
    let operand = vector(random, scope, depth);
    match random.below(4) {
        0 => format!("sort({operand})"),
        1 => format!("sort_desc({operand})"),
        2 => format!("sort_by_label({operand}, \"instance\", \"job\")"),
        _ => format!("sort_by_label_desc({operand}, \"code\")"),
    }
}
