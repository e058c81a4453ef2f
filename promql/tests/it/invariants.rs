//! What must hold for any input: shared by the fuzz targets and the replay of their corpora.

use ferula_promql::check::lower;
use ferula_promql::syntax::ast::BinaryOp;
use ferula_promql::syntax::{Expr, Features, parse, parse_selector};
use ferula_promql::testing::parse_series_line;

/// Parsing ends with a tree that is well typed, or with an error that can be drawn; what the stable language accepts,
/// the language with all features accepts too, unless a word of it has got a meaning.
pub(crate) fn parsing_ends_well(text: &str) {
    let _ = parse_selector(text).map_err(|error| error.drawn());
    for features in [Features::default(), Features::all()] {
        match parse(text, &features) {
            Ok(expr) => assert!(lower(expr).is_ok(), "a parsed query is well typed"),
            Err(error) => {
                let drawn = error.drawn();
                assert!(drawn.starts_with(&error.to_string()), "the drawing begins with the message");
                assert!(error.span().is_none_or(|span| span.start <= span.end), "spans run forward");
            }
        }
    }
}

/// What is printed, in one line or pretty, parses to the same tree, up to what [`settle`] passes over.
pub(crate) fn printing_is_identity(text: &str) {
    let Ok(mut expr) = parse(text, &Features::all()) else { return };
    // Bytes that are not UTF-8, and U+FFFD itself, cannot be written in a string as what they have become.
    if expr.to_string().contains('\u{fffd}') {
        return;
    }
    settle(&mut expr);
    for printed in [expr.to_string(), expr.pretty()] {
        let again = parse(&printed, &Features::all());
        let drawn = again.as_ref().err().map(|error| error.drawn());
        assert_eq!(drawn, None, "{text}\nprinted as\n{printed}");
        let Ok(mut again) = again else { return };
        settle(&mut again);
        assert_eq!(again.to_json(), expr.to_json(), "{text}\nprinted as\n{printed}");
    }
}

/// Sorts matchers, and takes away the sign that infinity is printed with: in front of a power it is read as one of the whole, as
/// upstream has it, and changes nothing there.
fn settle(expr: &mut Expr) {
    match expr {
        Expr::Selector(node) => node.matchers.sort_by_key(ToString::to_string),
        Expr::Matrix(node) => node.selector.matchers.sort_by_key(ToString::to_string),
        Expr::Subquery(node) => settle(&mut node.expr),
        Expr::Call(node) => node.args.iter_mut().for_each(settle),
        Expr::Aggregate(node) => {
            node.param.iter_mut().for_each(settle);
            settle(&mut node.expr);
        }
        Expr::Binary(node) => {
            settle(&mut node.left);
            settle(&mut node.right);
        }
        Expr::Unary(node) => {
            settle(&mut node.expr);
            if !node.negative && is_power_of_infinity(&node.expr) {
                *expr = Expr::clone(&node.expr);
            }
        }
        Expr::Paren(node) => settle(&mut node.expr),
        _ => {}
    }
}

fn is_power_of_infinity(expr: &Expr) -> bool {
    let Expr::Binary(node) = expr else { return false };
    node.op == BinaryOp::Pow && matches!(&node.left, Expr::Number(number) if number.value == f64::INFINITY)
}

/// A line of a script is read or refused, and never stands for more points than a test can want.
pub(crate) fn series_lines_end_well(text: &str) {
    if let Ok(line) = parse_series_line(text) {
        assert!(line.points.len() <= 2_000_000, "points are limited");
    }
}
