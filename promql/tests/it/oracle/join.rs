//! Joins: which series of two vectors meet, and what are their results called?

use ferula_model::{Labels, Value};
use ferula_promql::check::{Join, VectorOp};
use ferula_promql::syntax::ast::{Cardinality, VectorMatching};

use super::arithmetic::combine;
use super::{Element, Fault, Oracle, Outcome, distinct, error};

/// What two series must have in common to meet.
pub(super) fn signature(labels: &Labels, on: bool, listed: &[String]) -> Labels {
    Labels::from_pairs(labels.iter().filter(|(name, _)| {
        let is_listed = listed.iter().any(|label| label == name);
        if on { is_listed } else { !is_listed && *name != "__name__" }
    }))
}

/// A result, with the signature it comes from.
struct Match {
    signature: Labels,
    labels: Labels,
    value: Option<Value>,
}

impl Oracle<'_> {
    pub(super) fn join(&self, join: &Join, at: i64) -> Outcome<Vec<Element>> {
        let matching = &join.matching;
        let (left, right) = (self.vector(&join.left, at)?, self.vector(&join.right, at)?);
        let swapped = matching.cardinality == Cardinality::OneToMany;
        let (many, one) = if swapped { (right, left) } else { (left, right) };
        // As upstream, also with the sides swapped: `fill_left` stands in for a missing one of the many.
        let (fill_many, fill_one) = (matching.fill_left, matching.fill_right);
        if (many.is_empty() && fill_many.is_none()) || (one.is_empty() && fill_one.is_none()) {
            return Ok(Vec::new());
        }
        let sign = |element: &Element| signature(&element.labels, matching.on, &matching.labels);
        for (index, element) in one.iter().enumerate() {
            if one[..index].iter().any(|other| sign(other) == sign(element)) {
                return error("found duplicate series for the match group");
            }
        }
        let mut matches: Vec<Match> = Vec::new();
        let mut meet = |signature: Labels, many: &Element, one: &Element| -> Outcome<()> {
            let labels = result_labels(join.op, matching, &many.labels, &one.labels);
            let taken = matches.iter().any(|known| {
                let one_to_one = matching.cardinality == Cardinality::OneToOne;
                known.signature == signature && (one_to_one || known.labels == labels)
            });
            if taken {
                return error("multiple matches for labels");
            }
            let (left, right) = if swapped { (one, many) } else { (many, one) };
            let value = combine(join.op, &left.value, &right.value)?;
            matches.push(Match { signature, labels, value });
            Ok(())
        };
        for element in &many {
            let signature = sign(element);
            match (one.iter().find(|other| sign(other) == signature), fill_one) {
                (Some(partner), _) => meet(signature, element, partner)?,
                (None, Some(fill)) => {
                    let partner = Element { labels: signature.clone(), value: Value::Float(fill) };
                    meet(signature, element, &partner)?;
                }
                (None, None) => {}
            }
        }
        for element in &one {
            let signature = sign(element);
            if let Some(fill) = fill_many.filter(|_| !many.iter().any(|other| sign(other) == signature)) {
                let partner = Element { labels: signature.clone(), value: Value::Float(fill) };
                meet(signature, &partner, element)?;
            }
        }
        let results = matches.into_iter().filter_map(|m| Some(Element { labels: m.labels, value: m.value? }));
        distinct(results.collect()).map_err(|fault| match fault {
            Fault::Error(_) => Fault::Unsure("equal results of different meetings"),
            unsure => unsure,
        })
    }
}

fn result_labels(op: VectorOp, matching: &VectorMatching, many: &Labels, one: &Labels) -> Labels {
    let drops_name = matches!(op, VectorOp::Arithmetic(_) | VectorOp::CompareBool(_));
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (name, value) in many.iter() {
        let listed = matching.labels.iter().any(|label| label == name);
        let is_metadata = ["__name__", "__type__", "__unit__"].contains(&name);
        let kept = match matching.cardinality {
            Cardinality::OneToOne => listed == matching.on,
            _ => true,
        };
        if kept && !(drops_name && is_metadata) && !matching.include.iter().any(|label| label == name) {
            pairs.push((name.to_owned(), value.to_owned()));
        }
    }
    for name in &matching.include {
        pairs.push((name.clone(), one.get(name).unwrap_or_default().to_owned()));
    }
    Labels::from_pairs(pairs)
}
