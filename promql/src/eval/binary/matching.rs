//! Vector matching: which series of two sides may meet?

use ferula_model::{Labels, METRIC_NAME};

use crate::eval::Head;
use crate::eval::label_sets::LabelSets;

/// What decides whether two series match.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signature<'a> {
    /// Whether `labels` are those to look at, rather than those to ignore.
    pub(crate) on: bool,
    pub(crate) labels: &'a [String],
}

impl<'a> Signature<'a> {
    /// The labels that must be equal.
    pub(crate) fn of<'l>(&'l self, labels: &'l Labels) -> impl Iterator<Item = (&'l str, &'l str)> + Clone + 'l
    where
        'a: 'l,
    {
        labels.iter().filter(|(name, _)| {
            let is_named = self.labels.iter().any(|label| label == name);
            if self.on { is_named } else { *name != METRIC_NAME && !is_named }
        })
    }
}

/// The series of both sides that may meet.
#[derive(Debug)]
pub(crate) struct Meeting {
    pub(crate) signature: Labels,
    /// Positions in the left operand, rising.
    pub(crate) left: Vec<usize>,
    /// Positions in the right operand, rising.
    pub(crate) right: Vec<usize>,
}

/// All meetings, in the order in which their first series comes, left before right.
pub(crate) fn meetings(left: &[Head], right: &[Head], signature: Signature<'_>) -> Vec<Meeting> {
    let mut sets = LabelSets::default();
    let mut sides: Vec<[Vec<usize>; 2]> = Vec::new();
    for (side, heads) in [left, right].into_iter().enumerate() {
        for (index, head) in heads.iter().enumerate() {
            let number = sets.number(signature.of(&head.labels));
            sides.resize_with(sets.len(), Default::default);
            sides[number][side].push(index);
        }
    }
    let signatures = sets.into_sets().into_iter();
    signatures.zip(sides).map(|(signature, [left, right])| Meeting { signature, left, right }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_never_take_part_unless_asked_for() {
        let labels = Labels::from_pairs([("__name__", "a"), ("x", "1"), ("y", "2")]);
        let ignoring = ["y".to_owned()];
        let of = |on, names| Labels::from_sorted(Signature { on, labels: names }.of(&labels)).to_string();
        assert_eq!(of(false, &ignoring), "{x=\"1\"}");
        let on = ["__name__".to_owned(), "absent".to_owned()];
        assert_eq!(of(true, &on), "{__name__=\"a\"}");
    }
}
