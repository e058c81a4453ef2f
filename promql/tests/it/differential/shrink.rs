//! The smallest question that still shows a difference, with all that it takes to ask it again.

use ferula_promql::syntax::ast::Expr;
use ferula_promql::syntax::{Features, parse};

use super::{Sides, compare};
use crate::generated::{Case, Dataset, When};

/// Prints a difference: the seed, the question, its smallest part that differs too, both replies, and the data read.
pub(super) fn report(seed: u64, case: Case, data: &Dataset, sides: &mut Sides) {
    println!(
        "--- FERULA_SEED={seed} delayed_name_removal={}\n    {}\n    {}",
        sides.delayed_name_removal, case.query, case.when
    );
    let small = shrink(case, sides);
    println!("  smallest: {}\n    {}", small.query, small.when);
    if let Some(difference) = sides.difference(&small) {
        let (ours, theirs) = compare::without_equal_points(&difference.ours, &difference.theirs, compare::STRICT);
        println!("  {}\n  ours:\n{ours}  theirs:\n{theirs}", difference.what);
    }
    print_data(&small, data);
}

/// The smallest part of the query, and the first single step, that still differs.
fn shrink(mut case: Case, sides: &mut Sides) -> Case {
    let differs = |case: &Case, sides: &mut Sides| sides.difference(case).is_some_and(|found| found.known.is_none());
    'smaller: loop {
        for query in parts(&case.query) {
            let candidate = Case { query, when: case.when };
            if differs(&candidate, sides) {
                case = candidate;
                continue 'smaller;
            }
        }
        if let When::Over(grid) = case.when {
            for step in 0..grid.len() {
                let candidate = Case { query: case.query.clone(), when: When::At(grid.at(step)) };
                if differs(&candidate, sides) {
                    case = candidate;
                    continue 'smaller;
                }
            }
        }
        return case;
    }
}

/// The direct operands of a query.
fn parts(query: &str) -> Vec<String> {
    let Ok(expr) = parse(query, &Features::all()) else { return Vec::new() };
    expr.children().into_iter().map(ToString::to_string).collect()
}

/// The series that the query selects, each with its samples.
fn print_data(case: &Case, data: &Dataset) {
    const SERIES_MAX: usize = 6;
    let Ok(expr) = parse(&case.query, &Features::all()) else { return };
    let selects = |expr: &Expr, labels: &ferula_model::Labels| {
        expr.selectors().iter().any(|selector| {
            selector.matchers.iter().all(|matcher| matcher.matches(labels.get(&matcher.name).unwrap_or_default()))
        })
    };
    if std::env::var_os("FERULA_SHOW_DATA").is_none() {
        return;
    }
    for (labels, samples) in data.series.iter().filter(|(labels, _)| selects(&expr, labels)).take(SERIES_MAX) {
        println!("    {labels}");
        for sample in samples {
            match &sample.value {
                ferula_model::Value::Float(value) => println!("      {} {value:e}", sample.timestamp.as_millis()),
                ferula_model::Value::Histogram(histogram) => {
                    println!("      {} {}", sample.timestamp.as_millis(), histogram.to_float().test_expression());
                }
            }
        }
    }
}
