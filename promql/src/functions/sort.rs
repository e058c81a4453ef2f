//! `sort`, `sort_desc`, `sort_by_label`, `sort_by_label_desc`: in which order? Only instant queries have one.

use std::cmp::Ordering;

use crate::error::QueryError;
use crate::eval::steps::StepVector;
use crate::eval::{Env, Head, Held, Operator, parallel};

/// By what an instant vector is sorted.
pub(crate) enum SortKey<'a> {
    /// By value; histograms go.
    Value { descending: bool },
    /// By labels, each in natural order, then by the whole label set.
    Labels { names: Vec<&'a str>, descending: bool },
}

/// Computes and sorts a vector of one step.
pub(crate) fn sorted(env: &Env<'_>, child: &dyn Operator, key: &SortKey<'_>) -> Result<Held, QueryError> {
    let steps = child.steps();
    let count = child.heads().len();
    let vectors = parallel::run(env, count, count as u64, |index, worker| {
        let mut vector = StepVector::default();
        child.compute(index, worker, &mut vector)?;
        if matches!(key, SortKey::Value { .. }) {
            vector.floats_only();
        }
        Ok(vector)
    })?;
    let mut series: Vec<(Head, StepVector)> =
        child.heads().iter().cloned().zip(vectors).filter(|(_, vector)| vector.any()).collect();
    match key {
        SortKey::Value { descending } => {
            let value = |vector: &StepVector| vector.floats.first().copied().unwrap_or(f64::NAN);
            series.sort_by(|(_, a), (_, b)| by_value(value(a), value(b), *descending));
        }
        SortKey::Labels { names, descending } => {
            series.sort_by(|(a, _), (b, _)| {
                let order = by_labels(a, b, names);
                if *descending { order.reverse() } else { order }
            });
        }
    }
    Held::new(steps, series, env.limits)
}

/// NaN comes last in either direction.
fn by_value(a: f64, b: f64, descending: bool) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => {
            let order = a.partial_cmp(&b).unwrap_or(Ordering::Equal);
            if descending { order.reverse() } else { order }
        }
    }
}

fn by_labels(a: &Head, b: &Head, names: &[&str]) -> Ordering {
    for name in names {
        let (left, right) = (a.labels.get(name).unwrap_or_default(), b.labels.get(name).unwrap_or_default());
        if left != right {
            return if natural_less(left, right) { Ordering::Less } else { Ordering::Greater };
        }
    }
    a.labels.cmp(&b.labels)
}

/// Natural order: runs of digits compare as numbers. Numbers that are equal but for leading zeros fall back to bytes.
fn natural_less(mut a: &str, mut b: &str) -> bool {
    loop {
        let shared = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y && !x.is_ascii_digit()).count();
        let shared = (0..=shared).rev().find(|at| a.is_char_boundary(*at) && b.is_char_boundary(*at)).unwrap_or(0);
        (a, b) = (&a[shared..], &b[shared..]);
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let (a_digits, b_digits) = (digits(a), digits(b));
        if a_digits == 0 || b_digits == 0 {
            return a < b;
        }
        let (a_number, b_number) = (&a[..a_digits], &b[..b_digits]);
        let significant = |number: &str| number.trim_start_matches('0').len();
        let order = significant(a_number)
            .cmp(&significant(b_number))
            .then_with(|| a_number.trim_start_matches('0').cmp(b_number.trim_start_matches('0')));
        match order {
            Ordering::Less => return true,
            Ordering::Greater => return false,
            // More leading zeros come first.
            Ordering::Equal if a_digits != b_digits => return a_digits > b_digits,
            Ordering::Equal => (a, b) = (&a[a_digits..], &b[b_digits..]),
        }
        if a.is_empty() || b.is_empty() {
            return a.len() < b.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_text_count_as_numbers() {
        let mut names = vec!["node10", "node9", "node", "node09", "a2b10", "a2b9", ""];
        names.sort_by(|a, b| {
            if a == b {
                Ordering::Equal
            } else if natural_less(a, b) {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        });
        assert_eq!(names, ["", "a2b9", "a2b10", "node", "node09", "node9", "node10"]);
    }

    #[test]
    fn nan_comes_last() {
        assert_eq!(by_value(f64::NAN, 1.0, false), Ordering::Greater);
        assert_eq!(by_value(f64::NAN, 1.0, true), Ordering::Greater);
        assert_eq!(by_value(2.0, 1.0, true), Ordering::Less);
    }
}
