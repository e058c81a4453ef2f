//! What 3.14, the reference, does otherwise than a 3.5 that is asked; and what `DIVERGENCES.md` explains.
//!
//! Each entry takes its difference out of both replies, so that everything else is still compared. Those that cannot be
//! taken out (a value that comes from another formula) hold for the narrowest kind of question that shows them, and only as long
//! as the slow evaluator does not say otherwise: it has 3.14's formulas too, and knows neither the engine nor 3.5.

use std::collections::BTreeMap;

use ferula_model::Labels;
use ferula_promql::syntax::ast::{AggregateOp, BinaryOp, Expr, ValueType};
use ferula_promql::syntax::{Features, parse};

use super::answer::{Answered, Point, Reply, Row};
use super::compare::{self, Measure, STRICT};
use crate::generated::{Case, When};

/// Why replies may differ.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) reason: &'static str,
    /// Whether ours is known to be right: the difference was taken out, or the slow evaluator has the same answer. Else it does
    /// not know the answer.
    pub(super) confirmed: bool,
}

/// Makes the replies alike where they may differ, and says why, if it had to. `confirmed` asks the slow evaluator whether ours
/// is right.
pub(super) fn forgive(
    case: &Case,
    delayed: bool,
    ours: &mut Reply,
    theirs: &mut Reply,
    confirmed: &dyn Fn() -> Option<bool>,
) -> Option<Known> {
    let taken_out = |reason| Known { reason, confirmed: true };
    if let (Reply::Answer(a), Reply::Answer(b)) = (&mut *ours, &mut *theirs) {
        let why = forgive_details(case, a, b);
        if compare::difference(ours, theirs, STRICT).is_none() {
            return why.map(taken_out);
        }
        if case.query.contains("quantile")
            && compare::difference(&without_zero_signs(ours), &without_zero_signs(theirs), STRICT).is_none()
        {
            *theirs = ours.clone();
            return Some(taken_out("zeros of both signs are equal to a sort"));
        }
    }
    // Over several steps, upstream keeps the results of most functions in a map. Of large numbers that are nearly equal, the
    // spread is what rounding leaves.
    let over_steps = matches!(case.when, When::Over(_)) || case.query.contains(':');
    let spreads = over_steps && ["stddev", "stdvar"].iter().any(|name| case.query.contains(name));
    if spreads && compare::difference(ours, theirs, Measure { tolerance: 1e-7, ..STRICT }).is_none() {
        *theirs = ours.clone();
        return Some(taken_out("upstream's order is random, and so is what rounding leaves"));
    }
    let reason = match (&*ours, &*theirs) {
        (Reply::Answer(_), Reply::Answer(_)) => formulas(case, delayed, ours, theirs)?,
        _ => errors(&case.query, ours, theirs)?,
    };
    let confirmation = confirmed();
    if confirmation == Some(false) || reason == ADDED_UP && confirmation.is_none() {
        return None;
    }
    *theirs = ours.clone();
    Some(Known { reason, confirmed: confirmation == Some(true) })
}

/// Takes out of two answers what may differ in them.
fn forgive_details(case: &Case, a: &mut Answered, b: &mut Answered) -> Option<&'static str> {
    let query = &case.query;
    let mut why = None;
    let mut forgive = |reason: &'static str, texts: &mut Vec<String>, change: &dyn Fn(&str) -> Option<String>| {
        let changed: Vec<String> = texts.iter().filter_map(|text| change(text)).collect();
        if changed != *texts {
            why = Some(reason);
            *texts = changed;
        }
    };
    if ["count(", "sum(", "avg("].iter().any(|name| query.contains(&format!("histogram_{name}"))) {
        forgive("3.14 marks resets where only statistics are read", &mut a.warnings, &|text| {
            (!text.contains("conflicting counter resets")).then(|| text.to_owned())
        });
    }
    forgive("3.14 warns of sorting in range queries", &mut a.warnings, &|text| {
        (!text.contains("sort is ineffective")).then(|| text.to_owned())
    });
    for texts in [&mut b.warnings, &mut b.infos] {
        forgive("3.14 names no metric that has no name", texts, &|text| {
            Some(text.replace(" for metric name \"\"", ""))
        });
    }
    for texts in [&mut a.warnings, &mut b.warnings] {
        forgive("where a scalar in parentheses stands (DIVERGENCES.md)", texts, &|text| {
            let place = text.rfind(" (").filter(|_| text.contains("quantile value should be"));
            Some(text[..place.filter(|_| query.contains("((")).unwrap_or(text.len())].to_owned())
        });
    }
    if query.contains("scalar(") && matches!(case.when, When::Over(_)) {
        for texts in [&mut a.warnings, &mut b.warnings] {
            forgive("3.14 lets parameters change from step to step", texts, &|text| {
                (!text.contains("quantile value should be")).then(|| text.to_owned())
            });
        }
    }
    forgive("3.14 says how monotonicity was forced", &mut a.infos, &|text| {
        let Some((before, after)) = text.split_once(", from buckets ") else { return Some(text.to_owned()) };
        Some(format!("{before}{}", &after[after.rfind(" (").unwrap_or(0)..]))
    });
    if any(query, is_scaling) {
        for texts in [&mut a.warnings, &mut b.warnings] {
            forgive("3.14 makes gauges of negated histograms", texts, &|text| {
                (!text.contains("this native histogram metric is not a")).then(|| text.to_owned())
            });
        }
    }
    for (a, b) in [(&mut a.warnings, &mut b.warnings), (&mut a.infos, &mut b.infos)] {
        a.sort();
        a.dedup();
        if query.contains(':') {
            let known = a.clone();
            forgive("3.14 ends a subquery with the last step", b, &|text| {
                known.iter().any(|known| known == text).then(|| text.to_owned())
            });
        }
        if any(query, is_join) {
            let known = a.clone();
            forgive("what cannot have a partner is not always computed (DIVERGENCES.md)", b, &|text| {
                known.iter().any(|known| known == text).then(|| text.to_owned())
            });
        }
    }
    for answer in [&mut *a, &mut *b] {
        let histograms = answer.rows.iter_mut().flat_map(|row| &mut row.points).filter_map(|(_, point)| match point {
            Point::Histogram(histogram) => Some(histogram),
            Point::Float(_) => None,
        });
        // A chunk has the buckets of all its histograms: some of them empty, until they are multiplied by NaN.
        histograms.for_each(|histogram| histogram.buckets.retain(|bucket| !bucket.count.is_nan()));
    }
    if query.contains("count_values") {
        let rows = [&*a, &*b].map(|answer| with_round_labels(&answer.rows, 10));
        let differ = [&*a, &*b].into_iter().zip(&rows).any(|(answer, rows)| answer.rows.len() != rows.len());
        let labels =
            |rows: &[Row]| rows.iter().map(|row| row.labels.clone()).collect::<std::collections::BTreeSet<_>>();
        if differ || labels(&a.rows) != labels(&b.rows) {
            why = Some("a label shows the last digit of a value");
            [a.rows, b.rows] = rows;
        }
    }
    why
}

/// Whether some histogram's buckets hold more or less than the histogram says.
fn contradicts_itself(reply: &Reply) -> bool {
    let Reply::Answer(answer) = reply else { return false };
    answer.rows.iter().flat_map(|row| &row.points).any(|(_, point)| match point {
        Point::Histogram(histogram) => {
            let held: f64 = histogram.buckets.iter().map(|bucket| bucket.count).sum();
            let slack = 1e-9 * histogram.count.abs();
            // The API does not show a zero bucket below zero.
            if histogram.count > 0.0 { (held - histogram.count).abs() > slack } else { held < histogram.count - slack }
        }
        Point::Float(_) => false,
    })
}

/// What all buckets of all histograms hold.
fn held(reply: &Reply) -> f64 {
    let Reply::Answer(answer) = reply else { return 0.0 };
    let histograms = answer.rows.iter().flat_map(|row| &row.points).filter_map(|(_, point)| match point {
        Point::Histogram(histogram) => Some(histogram),
        Point::Float(_) => None,
    });
    histograms.flat_map(|histogram| &histogram.buckets).map(|bucket| bucket.count).sum()
}

fn without_zero_signs(reply: &Reply) -> Reply {
    let mut reply = reply.clone();
    if let Reply::Answer(answer) = &mut reply {
        for (_, point) in answer.rows.iter_mut().flat_map(|row| &mut row.points) {
            if let Point::Float(value) = point {
                *value += 0.0;
            }
        }
    }
    reply
}

fn has_nan(reply: &Reply) -> bool {
    let Reply::Answer(answer) = reply else { return false };
    answer
        .rows
        .iter()
        .flat_map(|row| &row.points)
        .any(|(_, point)| matches!(point, Point::Float(value) if value.is_nan()))
}

const INFO_OF_OTHERS: &str = "3.5 gives series the labels of others' info series";
const ADDED_UP: &str = "3.14 adds up before it divides, so that it loses fewer of the buckets inside a zero bucket";
const COUNTED_TWICE: &str = "3.5 counts a bucket twice that a zero bucket reaches (DIVERGENCES.md)";

/// What is computed otherwise, where the query has it.
fn formulas(case: &Case, delayed: bool, ours: &Reply, theirs: &Reply) -> Option<&'static str> {
    let query = &case.query;
    if query.contains("uneven") {
        return Some("3.14 reconciles custom bounds");
    }
    if contradicts_itself(theirs) && held(theirs) > held(ours) {
        return Some(COUNTED_TWICE);
    }
    let has = |words: &[&str]| words.iter().any(|word| query.contains(word));
    let count = |words: &[&str]| words.iter().map(|word| query.matches(word).count()).sum::<usize>();
    let histograms = ["size", "duration", "width_gauge", "custom", "mixed", "switching"];
    if has(&["histogram_fraction("]) && (has(&["latency_bucket", "size", "__name__"]) || has_nan(theirs)) {
        return Some("3.14 interpolates in the lowest bucket, and not in endless ones");
    }
    if has(&["ln(", "log2(", "log10("]) && has(&["odd"]) {
        return Some("Go's logarithm of subnormal numbers is wrong (DIVERGENCES.md)");
    }
    if has(&["5e-324"]) && has(&["^"]) {
        return Some("Go's logarithm of subnormal numbers is wrong (DIVERGENCES.md)");
    }
    if has(&["rate(", "increase("]) && has(&histograms) {
        return Some("3.14 does not extrapolate histograms below zero");
    }
    if has(&["info("]) {
        return Some(INFO_OF_OTHERS);
    }
    if has(&["mad_over_time("]) && has(&["odd", "__name__"]) {
        return Some("3.14 takes no median of NaN");
    }
    if delayed && has(&["last_over_time(("]) {
        return Some("3.14 does not keep a name that was to be dropped");
    }
    if delayed && has(&[" or "]) {
        return Some("whether a name is dropped depends on the first step (DIVERGENCES.md)");
    }
    if has(&["changes(", "resets(", "idelta("]) && has(&histograms) && has(&[":"]) {
        return Some("3.5 lets the histograms of a subquery share their buckets");
    }
    if has(&["timestamp("]) && has(&[" offset "]) && has(&[" @ "]) {
        return Some("3.5 forgets the offset of a pinned selector in timestamp (DIVERGENCES.md)");
    }
    if has(&["avg"]) && has(&histograms) && !has(&["count_values"]) {
        return Some(ADDED_UP);
    }
    if has(&["sum", "avg"]) && has(&histograms) && (any(query, is_scaling) || has(&["count_values"])) {
        // Negated or in a label, the buckets are not shown, so that the reply cannot be seen to contradict itself.
        return Some(COUNTED_TWICE);
    }
    let ranks = ["topk", "bottomk", "limitk"];
    let shuffled = ["topk", "bottomk", "limitk", "count_values", "histogram_quantile", "sort"];
    let over_steps = matches!(case.when, When::Over(_)) || has(&[":"]);
    if over_steps && has(&["sort"]) {
        return Some("upstream's order is random, and so is what rounding leaves");
    }
    if over_steps && has(&["topk", "bottomk", "limitk", "quantile"]) && has(&["scalar("]) {
        return Some("3.14 lets parameters change from step to step");
    }
    if is_ranking(query) && chosen_values(ours) != chosen_values(theirs) {
        // Of equals, either may be chosen; but what is chosen must be equal.
        return None;
    }
    if has(&ranks) && (count(&shuffled) > 1 || over_steps && count(&["("]) > 1) {
        return Some("upstream's order is random, and so are ties");
    }
    None
}

/// Where at least one side fails.
fn errors(query: &str, ours: &Reply, theirs: &Reply) -> Option<&'static str> {
    let merges = ["-(", "label_replace(", "label_join("].iter().any(|word| query.contains(word));
    let varying = query.contains("scalar(") && ["topk", "bottomk", "limitk"].iter().any(|word| query.contains(word));
    Some(match (ours, theirs) {
        (Reply::Answer(_), Reply::Error(theirs)) if varying && theirs.starts_with("Scalar value ") => {
            "3.14 lets parameters change from step to step"
        }
        (Reply::Answer(_), Reply::Error(theirs)) if theirs == "histograms with custom buckets have no zero bucket" => {
            "custom buckets divided by zero can be counted (DIVERGENCES.md)"
        }
        (_, _) if query.contains("uneven") => "3.14 reconciles custom bounds",
        (Reply::Answer(_), Reply::Error(theirs)) if merges && theirs.ends_with("the same labelset") => {
            "3.14 merges what became equal and never meets"
        }
        (Reply::Error(ours), Reply::Error(theirs)) => {
            let both = |text: &str| ours.starts_with(text) && theirs.starts_with(text);
            if both("found duplicate series for the match group") {
                "3.14 names the duplicates in another order"
            } else if ours == "Parameter value is NaN" && theirs == "Scalar value NaN overflows int64" {
                "3.14 has a message for NaN as a count"
            } else if any(query, is_join) && !ours.contains("parse error") {
                "of two errors, either may be found first (DIVERGENCES.md)"
            } else {
                return None;
            }
        }
        (Reply::Error(ours), Reply::Answer(_))
            if query.contains("info(") && ours.starts_with("found duplicate series") =>
        {
            INFO_OF_OTHERS
        }
        (Reply::Error(ours), Reply::Answer(_)) if ours.starts_with("multiple matches for labels: ") => {
            "3.14 also refuses matches that come to nothing"
        }
        (Reply::Error(ours), Reply::Answer(theirs))
            if (theirs.rows.is_empty() || query.contains("absent("))
                && (ours == "Parameter value is NaN" || ours.starts_with("Scalar value ")) =>
        {
            "3.14 judges a count before it looks for series"
        }
        _ => return None,
    })
}

/// The rows with labels rounded, those that become equal added up.
pub(crate) fn with_round_labels(rows: &[Row], digits: usize) -> Vec<Row> {
    let mut merged: BTreeMap<Labels, BTreeMap<i64, Point>> = BTreeMap::new();
    for row in rows {
        let points = merged.entry(round_numbers(&row.labels, digits)).or_default();
        for (at, point) in &row.points {
            match (points.get_mut(at), point) {
                (Some(Point::Float(sum)), Point::Float(value)) => *sum += value,
                _ => drop(points.insert(*at, point.clone())),
            }
        }
    }
    let row = |(labels, points): (Labels, BTreeMap<i64, Point>)| Row { labels, points: points.into_iter().collect() };
    merged.into_iter().map(row).collect()
}

/// The labels with every number in their values rounded.
fn round_numbers(labels: &Labels, digits: usize) -> Labels {
    let round = |text: &str| {
        let is_part = |c: char| c.is_ascii_digit() || c == '.' || c == 'e';
        let mut rounded = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let length = rest.find(|c| is_part(c) != is_part(first)).unwrap_or(rest.len());
            let (part, behind) = rest.split_at(length);
            match part.parse::<f64>() {
                Ok(number) => rounded.push_str(&format!("{number:.digits$e}")),
                Err(_) => rounded.push_str(part),
            }
            rest = behind;
        }
        rounded
    };
    Labels::from_pairs(labels.iter().map(|(name, value)| (name, round(value))))
}

/// Whether something in the query fulfils the condition.
fn any(query: &str, condition: fn(&Expr) -> bool) -> bool {
    fn within(expr: &Expr, condition: fn(&Expr) -> bool) -> bool {
        condition(expr) || expr.children().into_iter().any(|child| within(child, condition))
    }
    parse(query, &Features::all()).is_ok_and(|expr| within(&expr, condition))
}

/// Two vectors with an operator between them.
fn is_join(expr: &Expr) -> bool {
    let Expr::Binary(node) = expr else { return false };
    node.left.value_type() == ValueType::Vector && node.right.value_type() == ValueType::Vector
}

/// What makes a gauge of a histogram: a factor that may be negative.
fn is_scaling(expr: &Expr) -> bool {
    match expr {
        Expr::Unary(node) => node.negative,
        Expr::Binary(node) => matches!(node.op, BinaryOp::Mul | BinaryOp::Div),
        _ => false,
    }
}

/// Whether the query as a whole ranks series by value.
fn is_ranking(query: &str) -> bool {
    let is_rank = |op| matches!(op, AggregateOp::Topk | AggregateOp::Bottomk);
    parse(query, &Features::all()).is_ok_and(|expr| matches!(expr, Expr::Aggregate(node) if is_rank(node.op)))
}

/// The floats at each moment, rising, to twelve digits.
fn chosen_values(reply: &Reply) -> BTreeMap<i64, Vec<String>> {
    let mut chosen: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    let Reply::Answer(answer) = reply else { return chosen };
    for (at, point) in answer.rows.iter().flat_map(|row| &row.points) {
        if let Point::Float(value) = point {
            chosen.entry(*at).or_default().push(format!("{value:.11e}"));
        }
    }
    chosen.values_mut().for_each(|values| values.sort());
    chosen
}

/// Whether the rows must come in one order: at the root of an instant query, where all have the label that is asked for.
pub(super) fn is_ordered(case: &Case, ours: &Reply) -> bool {
    let Reply::Answer(answer) = ours else { return false };
    let has = |label: &str| answer.rows.iter().all(|row| row.labels.get(label).is_some());
    matches!(case.when, When::At(_))
        && (case.query.starts_with("sort(")
            || case.query.starts_with("sort_desc(")
            || case.query.starts_with("sort_by_label(") && has("instance") && has("job")
            || case.query.starts_with("sort_by_label_desc(") && has("code"))
}
