//! Deep queries are errors, not stack overflows.

use ferula_promql::check::lower;
use ferula_promql::syntax::{Features, ParseErrorKind, parse};

/// Each shape, as deep as asked.
fn shapes(depth: usize) -> Vec<String> {
    let nested = |open: &str, inner: &str, close: &str| format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
    vec![
        nested("(", "up", ")"),
        nested("-", "up", ""),
        nested("abs(", "up", ")"),
        nested("sum(", "up", ")"),
        nested("", "up", " + up"),
        nested("up ^ ", "up", ""),
        nested("up + (", "up", ")"),
        nested("sum_over_time((", "up", ")[5m:])"),
        format!("up[{}]", nested("(", "step()", ")")),
        format!("up[{}]", nested("", "5m", " + 5m")),
        format!("up offset {}", nested("-", "5m", "")),
    ]
}

#[test]
fn what_is_accepted_can_be_walked() {
    for query in shapes(60) {
        let expr = parse(&query, &Features::all()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(parse(&expr.to_string(), &Features::all()).expect("printed").to_json(), expr.to_json());
        assert!(!expr.pretty().is_empty());
        // Ranges have a type of their own; only the walking matters here.
        let _ = lower(expr.clone());
    }
}

#[test]
fn bombs_are_refused() {
    for query in shapes(100_000) {
        let error = parse(&query, &Features::all()).expect_err("a bomb");
        assert_eq!(error.kind(), ParseErrorKind::Limit, "{error}");
    }
}
