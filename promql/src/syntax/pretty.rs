//! How is a tree written for people? Over several lines, wherever one would be too long.

use std::fmt::Write as _;

use super::ast::Expr;
use super::print::{AggregateHead, Operator, SubquerySuffix};

/// What is longer than this, in bytes, is split. Upstream's bound.
const LINE_MAX: usize = 100;

impl Expr {
    /// The query formatted as `format_query` of the HTTP API does: what fits 100 characters stays on a line, the rest is
    /// split at aggregations, calls, parentheses and binary operators, with two spaces for each level.
    ///
    /// ```
    /// use ferula_promql::syntax::{parse, Features};
    ///
    /// let long = format!("sum(rate({}[5m]))", "a".repeat(100));
    /// let pretty = parse(&long, &Features::default()).unwrap().pretty();
    /// assert!(pretty.starts_with("sum(\n  rate(\n    aaa"));
    /// assert!(pretty.ends_with("[5m]\n  )\n)"));
    /// ```
    pub fn pretty(&self) -> String {
        let mut out = String::new();
        write_pretty(self, 0, &mut out);
        out
    }
}

fn indent(out: &mut String, level: usize) {
    for _ in 0..level {
        out.push_str("  ");
    }
}

/// A `String` takes everything that is written to it, so the results of `write!` say nothing.
fn write_pretty(expr: &Expr, level: usize, out: &mut String) {
    let line = expr.to_string();
    if line.len() <= LINE_MAX {
        // Upstream does not indent a subquery that fits its line, and neither do we: the API answers the same bytes.
        if !matches!(expr, Expr::Subquery(_)) {
            indent(out, level);
        }
        out.push_str(&line);
        return;
    }
    match expr {
        Expr::Aggregate(node) => {
            indent(out, level);
            let _ = writeln!(out, "{}(", AggregateHead(node));
            if let Some(param) = &node.param {
                write_pretty(param, level + 1, out);
                out.push_str(",\n");
            }
            write_pretty(&node.expr, level + 1, out);
            close(out, level);
        }
        Expr::Call(node) => {
            indent(out, level);
            let _ = writeln!(out, "{}(", node.function.name());
            for (index, arg) in node.args.iter().enumerate() {
                if index > 0 {
                    out.push_str(",\n");
                }
                write_pretty(arg, level + 1, out);
            }
            close(out, level);
        }
        Expr::Paren(node) => {
            indent(out, level);
            out.push_str("(\n");
            write_pretty(&node.expr, level + 1, out);
            close(out, level);
        }
        Expr::Binary(node) => {
            write_pretty(&node.left, level + 1, out);
            out.push('\n');
            indent(out, level);
            let _ = writeln!(out, "{}", Operator(node));
            write_pretty(&node.right, level + 1, out);
        }
        Expr::Subquery(node) => {
            write_pretty(&node.expr, level, out);
            let _ = write!(out, "{}", SubquerySuffix(node));
        }
        Expr::Unary(node) => {
            indent(out, level);
            out.push(if node.negative { '-' } else { '+' });
            let mut child = String::new();
            write_pretty(&node.expr, level, &mut child);
            out.push_str(child.trim());
        }
        Expr::Number(_) | Expr::String(_) | Expr::Selector(_) | Expr::Matrix(_) => {
            indent(out, level);
            out.push_str(&line);
        }
    }
}

fn close(out: &mut String, level: usize) {
    out.push('\n');
    indent(out, level);
    out.push(')');
}
