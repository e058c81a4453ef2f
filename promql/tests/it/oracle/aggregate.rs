//! Aggregations: what do the series of a group say together?

use ferula_model::number::{FloatForm, format_float};
use ferula_model::{Labels, Value};
use ferula_promql::check::{Aggregate, AggregateParam, Instant};
use ferula_promql::syntax::ast::{AggregateOp, Grouping};

use super::buckets::total;
use super::over_time::{mean, quantile, sum, variance};
use super::select::{is_tame, tame_histograms};
use super::{Element, Fault, Oracle, Outcome, error};

impl Oracle<'_> {
    pub(super) fn aggregate(&self, node: &Aggregate, at: i64) -> Outcome<Vec<Element>> {
        let param = match &node.param {
            AggregateParam::Scalar { value, .. } => self.scalar(value, at)?,
            _ => 0.0,
        };
        let elements = self.vector(&node.operand, at)?;
        let mut groups: Vec<(Labels, Vec<Element>)> = Vec::new();
        for element in elements {
            let labels = group_labels(&element.labels, &node.grouping);
            match groups.iter_mut().find(|(known, _)| *known == labels) {
                Some((_, members)) => members.push(element),
                None => groups.push((labels, vec![element])),
            }
        }
        let mut results = Vec::new();
        match node.op {
            AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk => {
                let count = count(param)?;
                for (_, members) in groups {
                    results.extend(chosen(node, members, count)?);
                }
            }
            AggregateOp::CountValues => {
                let AggregateParam::Label(label) = &node.param else { return Err(Fault::Unsure("no label")) };
                count_values(&groups, &label.text, &node.grouping, &mut results)?;
            }
            AggregateOp::LimitRatio => return Err(Fault::Unsure("which series a hash chooses")),
            op => {
                for (labels, members) in groups {
                    results.extend(one_value(op, param, &members)?.map(|value| Element { labels, value }));
                }
            }
        }
        Ok(results)
    }
}

fn group_labels(labels: &Labels, grouping: &Grouping) -> Labels {
    Labels::from_pairs(labels.iter().filter(|(name, _)| {
        let listed = grouping.labels.iter().any(|label| label == name);
        if grouping.without { !listed && *name != "__name__" } else { listed }
    }))
}

/// How many series a parameter asks for.
fn count(param: f64) -> Outcome<usize> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if param.is_nan() || !(-LIMIT..LIMIT).contains(&param) {
        return error("not a count");
    }
    Ok(if param < 1.0 { 0 } else { param as usize })
}

fn one_value(op: AggregateOp, param: f64, members: &[Element]) -> Outcome<Option<Value>> {
    let floats: Vec<f64> =
        members.iter().filter_map(|e| if let Value::Float(v) = e.value { Some(v) } else { None }).collect();
    let has_histograms = floats.len() < members.len();
    let value = match op {
        AggregateOp::Count => Some(members.len() as f64),
        AggregateOp::Group => Some(1.0),
        // Floats and histograms together have no sum.
        AggregateOp::Sum | AggregateOp::Avg if has_histograms && !floats.is_empty() => None,
        AggregateOp::Sum | AggregateOp::Avg if has_histograms => {
            let histograms = tame_histograms(members.iter().map(|member| &member.value))?;
            let share = if op == AggregateOp::Avg { 1.0 / histograms.len() as f64 } else { 1.0 };
            return Ok(total(&histograms).map(|sum| Value::Histogram(sum.times(share).into())));
        }
        _ if floats.is_empty() => None,
        AggregateOp::Stddev | AggregateOp::Stdvar | AggregateOp::Avg if !floats.iter().all(|value| is_tame(*value)) => {
            return Err(Fault::Unsure("extreme numbers, where the order of operations matters"));
        }
        AggregateOp::Sum => Some(sum(&floats)),
        AggregateOp::Avg => Some(mean(&floats)),
        AggregateOp::Min => Some(floats.iter().copied().fold(f64::NAN, f64::min)),
        AggregateOp::Max => Some(floats.iter().copied().fold(f64::NAN, f64::max)),
        AggregateOp::Stddev => Some(variance(&floats, false).sqrt()),
        AggregateOp::Stdvar => Some(variance(&floats, false)),
        AggregateOp::Quantile => Some(quantile(param, &floats)),
        _ => return Err(Fault::Unsure("another aggregation")),
    };
    Ok(value.map(Value::Float))
}

/// The members that `topk`, `bottomk` or `limitk` keep.
fn chosen(node: &Aggregate, mut members: Vec<Element>, count: usize) -> Outcome<Vec<Element>> {
    if node.op == AggregateOp::Limitk {
        if members.len() > count && !matches!(node.operand, Instant::Selector(_)) {
            return Err(Fault::Unsure("which series come first"));
        }
        members.truncate(count);
        return Ok(members);
    }
    members.retain(|element| matches!(element.value, Value::Float(_)));
    // What ranks highest has the largest key; NaN ranks lowest in either direction.
    let key = |element: &Element| match element.value {
        Value::Float(value) if node.op == AggregateOp::Topk => value,
        Value::Float(value) => -value,
        Value::Histogram(_) => f64::NAN,
    };
    let rank = |element: &Element| if key(element).is_nan() { f64::NEG_INFINITY } else { key(element) };
    members.sort_by(|a, b| {
        key(a).is_nan().cmp(&key(b).is_nan()).then(rank(b).partial_cmp(&rank(a)).unwrap_or(std::cmp::Ordering::Equal))
    });
    if count > 0 && members.len() > count {
        let (last, next) = (&members[count - 1], &members[count]);
        if key(last) == key(next) || (key(last).is_nan() && key(next).is_nan()) {
            return Err(Fault::Unsure("a tie"));
        }
    }
    members.truncate(count);
    Ok(members)
}

fn count_values(
    groups: &[(Labels, Vec<Element>)],
    label: &str,
    grouping: &Grouping,
    results: &mut Vec<Element>,
) -> Outcome<()> {
    for (labels, members) in groups {
        for member in members {
            let text = match &member.value {
                Value::Float(value) => format_float(*value, FloatForm::Plain),
                // Of a sum, every digit would have to be right.
                Value::Histogram(_) => return Err(Fault::Unsure("a histogram as a label")),
            };
            let hidden = grouping.without && grouping.labels.iter().any(|name| name == label);
            let pairs = labels.iter().filter(|(name, _)| *name != label);
            let counted = Labels::from_pairs(pairs.chain((!hidden).then_some((label, text.as_str()))));
            match results.iter_mut().find(|known| known.labels == counted) {
                Some(Element { value: Value::Float(count), .. }) => *count += 1.0,
                _ => results.push(Element { labels: counted, value: Value::Float(1.0) }),
            }
        }
    }
    Ok(())
}
