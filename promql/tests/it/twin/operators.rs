//! Binary operators and aggregations, pair by pair and group by group.

use std::collections::BTreeMap;

use ferula_model::{Labels, METRIC_NAME};
use ferula_promql::syntax::ast::{Aggregate, AggregateOp, Binary, BinaryOp, Cardinality, Expr, VectorMatching};

use super::functions::{quantile, shown};
use super::{Refusal, Twin, Value, Vector, distinct, map, sum, without_name};

/// What an operator makes of two floats; comparisons answer 0 or 1.
fn combine(op: BinaryOp, left: f64, right: f64) -> f64 {
    let truth = |holds: bool| f64::from(u8::from(holds));
    match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div => left / right,
        BinaryOp::Mod => left % right,
        BinaryOp::Pow => left.powf(right),
        BinaryOp::Atan2 => left.atan2(right),
        BinaryOp::Equal => truth(left == right),
        BinaryOp::NotEqual => truth(left != right),
        BinaryOp::Greater => truth(left > right),
        BinaryOp::Less => truth(left < right),
        BinaryOp::GreaterOrEqual => truth(left >= right),
        BinaryOp::LessOrEqual => truth(left <= right),
        _ => f64::NAN,
    }
}

impl Twin<'_> {
    pub(super) fn binary(&self, binary: &Binary, at: i64) -> Result<Value, Refusal> {
        let (left, right) = (self.eval(&binary.left, at)?, self.eval(&binary.right, at)?);
        let filters = binary.op.is_comparison() && !binary.return_bool;
        Ok(match (left, right) {
            (Value::Scalar(left), Value::Scalar(right)) => Value::Scalar(combine(binary.op, left, right)),
            (Value::Vector(vector), Value::Scalar(scalar)) if filters => Value::Vector(
                vector.into_iter().filter(|(_, value)| combine(binary.op, *value, scalar) == 1.0).collect(),
            ),
            (Value::Scalar(scalar), Value::Vector(vector)) if filters => Value::Vector(
                vector.into_iter().filter(|(_, value)| combine(binary.op, scalar, *value) == 1.0).collect(),
            ),
            (Value::Vector(vector), Value::Scalar(scalar)) => {
                Value::Vector(distinct(map(without_name(vector), |value| combine(binary.op, value, scalar)))?)
            }
            (Value::Scalar(scalar), Value::Vector(vector)) => {
                Value::Vector(distinct(map(without_name(vector), |value| combine(binary.op, scalar, value)))?)
            }
            (Value::Vector(left), Value::Vector(right)) => {
                let matching = binary.matching.clone().unwrap_or_default();
                Value::Vector(match binary.op {
                    BinaryOp::And | BinaryOp::Or | BinaryOp::Unless => set(binary.op, left, right, &matching),
                    _ => join(binary, left, right, &matching)?,
                })
            }
        })
    }

    pub(super) fn aggregate(&self, aggregate: &Aggregate, at: i64) -> Result<Vector, Refusal> {
        let vector = self.vector(&aggregate.expr, at)?;
        let label = match &aggregate.param {
            Some(Expr::String(text)) => Some(text.text.as_str()),
            _ => None,
        };
        let param = match &aggregate.param {
            Some(expr) if label.is_none() => self.scalar(expr, at)?,
            _ => 0.0,
        };
        let listed = |name: &str| aggregate.grouping.labels.iter().any(|label| label == name);
        let without = aggregate.grouping.without;
        let mut groups: BTreeMap<Labels, Vector> = BTreeMap::new();
        for (labels, value) in vector {
            let kept = labels
                .iter()
                .filter(|(name, _)| if without { *name != METRIC_NAME && !listed(name) } else { listed(name) });
            groups.entry(Labels::from_pairs(kept)).or_default().push((labels, value));
        }
        let mut out = Vector::new();
        for (labels, members) in groups {
            let values: Vec<f64> = members.iter().map(|(_, value)| *value).collect();
            let count = values.len() as f64;
            let mean = || sum(values.iter().copied()) / count;
            let extreme = |better: fn(f64, f64) -> bool| {
                values.iter().copied().fold(f64::NAN, |best, v| if best.is_nan() || better(v, best) { v } else { best })
            };
            let value = match aggregate.op {
                AggregateOp::Sum => sum(values.iter().copied()),
                AggregateOp::Avg if mean().is_finite() => mean(),
                AggregateOp::Count => count,
                AggregateOp::Min => extreme(|a, b| a < b),
                AggregateOp::Max => extreme(|a, b| a > b),
                AggregateOp::Group => 1.0,
                AggregateOp::Quantile => quantile(param, values),
                AggregateOp::CountValues => {
                    for value in &values {
                        let mut builder = labels.to_builder();
                        let label = label.unwrap_or_default();
                        // `without` takes the new label away like any other.
                        let text = if without && listed(label) { String::new() } else { shown(*value) };
                        builder.set(label, &text);
                        let labels = builder.build();
                        match out.iter_mut().find(|(known, _)| *known == labels) {
                            Some((_, count)) => *count += 1.0,
                            None => out.push((labels, 1.0)),
                        }
                    }
                    continue;
                }
                AggregateOp::Topk | AggregateOp::Bottomk => {
                    out.extend(best(members, param, aggregate.op == AggregateOp::Topk)?);
                    continue;
                }
                // Variances lose digits in another way; which series `limitk` keeps is nobody's promise.
                _ => return Err(Refusal::Unknown),
            };
            out.push((labels, value));
        }
        Ok(out)
    }
}

fn best(mut members: Vector, count: f64, largest: bool) -> Result<Vector, Refusal> {
    let count = if count >= 1.0 { count as usize } else { 0 };
    let key = |value: f64| {
        if value.is_nan() {
            f64::NEG_INFINITY
        } else if largest {
            value
        } else {
            -value
        }
    };
    members.sort_by(|(_, a), (_, b)| key(*b).total_cmp(&key(*a)));
    if count > 0 && count < members.len() && key(members[count - 1].1) == key(members[count].1) {
        // Which of equals stays is a matter of order.
        return Err(Refusal::Unknown);
    }
    members.truncate(count);
    Ok(members)
}

fn signature(labels: &Labels, matching: &VectorMatching) -> Labels {
    let listed = |name: &str| matching.labels.iter().any(|label| label == name);
    let kept = labels
        .iter()
        .filter(|(name, _)| if matching.on { listed(name) } else { *name != METRIC_NAME && !listed(name) });
    Labels::from_pairs(kept)
}

fn set(op: BinaryOp, left: Vector, right: Vector, matching: &VectorMatching) -> Vector {
    let has = |vector: &Vector, labels: &Labels| {
        vector.iter().any(|(other, _)| signature(other, matching) == signature(labels, matching))
    };
    match op {
        BinaryOp::And => left.into_iter().filter(|(labels, _)| has(&right, labels)).collect(),
        BinaryOp::Unless => left.into_iter().filter(|(labels, _)| !has(&right, labels)).collect(),
        _ => {
            let more: Vector = right.into_iter().filter(|(labels, _)| !has(&left, labels)).collect();
            left.into_iter().chain(more).collect()
        }
    }
}

fn join(binary: &Binary, left: Vector, right: Vector, matching: &VectorMatching) -> Result<Vector, Refusal> {
    if left.is_empty() || right.is_empty() {
        return Ok(Vector::new());
    }
    let swapped = matching.cardinality == Cardinality::OneToMany;
    let (many, one) = if swapped { (right, left) } else { (left, right) };
    for (index, (labels, _)) in one.iter().enumerate() {
        if one[..index].iter().any(|(other, _)| signature(other, matching) == signature(labels, matching)) {
            return Err(Refusal::Error("found duplicate series"));
        }
    }
    let mut out: Vector = Vec::new();
    let mut matched: Vec<Labels> = Vec::new();
    for (labels, value) in many {
        let key = signature(&labels, matching);
        let Some((partner, other)) = one.iter().find(|(labels, _)| signature(labels, matching) == key) else {
            continue;
        };
        let (a, b) = if swapped { (*other, value) } else { (value, *other) };
        let result = combine(binary.op, a, b);
        let mut head = labels.to_builder();
        if !binary.op.is_comparison() || binary.return_bool {
            head.remove(METRIC_NAME);
        }
        if matching.cardinality == Cardinality::OneToOne {
            let listed = |name: &str| matching.labels.iter().any(|label| label == name);
            head.retain(|name, _| listed(name) == matching.on);
        }
        for name in &matching.include {
            head.set(name, partner.get(name).unwrap_or_default());
        }
        let head = head.build();
        let unique = if matching.cardinality == Cardinality::OneToOne { key } else { head.clone() };
        if matched.contains(&unique) {
            return Err(Refusal::Error("multiple matches for labels"));
        }
        matched.push(unique);
        if !binary.op.is_comparison() || binary.return_bool {
            out.push((head, result));
        } else if result == 1.0 {
            out.push((head, a));
        }
    }
    distinct(out)
}
