//! How else can an instant query be asked, with the same answer? With every selector pinned to its moment by `@`, at any
//! other moment.

use ferula_model::Timestamp;

use crate::syntax::ast::{At, Expr, Modifiers};

/// The pinned query, and the moments at which it must give the same answer; `None` if the query asks for the time itself.
pub(super) fn pinned(expr: &Expr, at: Timestamp) -> Option<(String, Vec<Timestamp>)> {
    if reads_time(expr) {
        return None;
    }
    let mut pinned = expr.clone();
    pin(&mut pinned, at);
    let now = at.as_millis();
    let moments = if now == 0 { vec![-1000, 0, 1000] } else { vec![-10 * now, 0, now / 5, now, 10 * now] };
    Some((pinned.to_string(), moments.into_iter().map(Timestamp::from_millis).collect()))
}

fn reads_time(expr: &Expr) -> bool {
    matches!(expr, Expr::Call(call) if call.function.reads_time()) || expr.children().into_iter().any(reads_time)
}

fn pin(expr: &mut Expr, at: Timestamp) {
    let pin_modifiers = |modifiers: &mut Modifiers| {
        modifiers.at.get_or_insert(At::Timestamp(at.as_millis()));
    };
    match expr {
        Expr::Selector(node) => pin_modifiers(&mut node.modifiers),
        Expr::Matrix(node) => pin_modifiers(&mut node.selector.modifiers),
        // What stands inside is pinned by the subquery.
        Expr::Subquery(node) => pin_modifiers(&mut node.modifiers),
        Expr::Number(_) | Expr::String(_) => {}
        Expr::Call(node) => node.args.iter_mut().for_each(|arg| pin(arg, at)),
        Expr::Aggregate(node) => {
            node.param.iter_mut().for_each(|param| pin(param, at));
            pin(&mut node.expr, at);
        }
        Expr::Binary(node) => {
            pin(&mut node.left, at);
            pin(&mut node.right, at);
        }
        Expr::Unary(node) => pin(&mut node.expr, at),
        Expr::Paren(node) => pin(&mut node.expr, at),
    }
}

/// Whether the query asks for the times of the whole query, which differ between an instant and a range query.
pub(super) fn reads_query_times(expr: &Expr) -> bool {
    use crate::functions::FunctionId::{End, Range, Start, Step};
    let text = expr.to_string();
    // Lengths and `@` ask with the same words as functions.
    let in_lengths = ["step()", "range()", "@ start()", "@ end()"].iter().any(|word| text.contains(word));
    in_lengths || calls(expr, &[End, Range, Start, Step])
}

fn calls(expr: &Expr, functions: &[crate::functions::FunctionId]) -> bool {
    let here = matches!(expr, Expr::Call(call) if call.function.builtin().is_some_and(|id| functions.contains(&id)));
    here || expr.children().into_iter().any(|child| calls(child, functions))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::{Features, parse};

    fn pinned_text(query: &str) -> Option<String> {
        let expr = parse(query, &Features::all()).expect(query);
        pinned(&expr, Timestamp::from_millis(300_000)).map(|(text, _)| text)
    }

    #[test]
    fn selectors_are_pinned_once() {
        assert_eq!(pinned_text("a + sum(b @ 1)").as_deref(), Some("a @ 300.000 + sum(b @ 1.000)"));
        assert_eq!(pinned_text("rate(a[5m])[1h:]").as_deref(), Some("rate(a[5m])[1h:] @ 300.000"));
        assert_eq!(pinned_text("a + time()"), None);
    }
}
