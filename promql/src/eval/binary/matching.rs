//! Vector matching: which series of two sides may meet?

use std::collections::HashMap;

use ferula_model::{Labels, METRIC_NAME};

use crate::eval::Head;

/// What decides whether two series match.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signature<'a> {
    /// Whether `labels` are those to look at, rather than those to ignore.
    pub(crate) on: bool,
    pub(crate) labels: &'a [String],
}

impl Signature<'_> {
    /// The labels that must be equal.
    pub(crate) fn of(&self, labels: &Labels) -> Labels {
        let named = |name: &str| self.labels.iter().any(|label| label == name);
        if self.on {
            Labels::from_sorted(labels.iter().filter(|(name, _)| named(name)))
        } else {
            Labels::from_sorted(labels.iter().filter(|(name, _)| *name != METRIC_NAME && !named(name)))
        }
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
    let mut known: HashMap<Labels, usize> = HashMap::new();
    let mut meetings: Vec<Meeting> = Vec::new();
    let mut place = |labels: Labels, meetings: &mut Vec<Meeting>| {
        *known.entry(labels).or_insert_with_key(|labels| {
            meetings.push(Meeting { signature: labels.clone(), left: Vec::new(), right: Vec::new() });
            meetings.len() - 1
        })
    };
    for (index, head) in left.iter().enumerate() {
        let at = place(signature.of(&head.labels), &mut meetings);
        meetings[at].left.push(index);
    }
    for (index, head) in right.iter().enumerate() {
        let at = place(signature.of(&head.labels), &mut meetings);
        meetings[at].right.push(index);
    }
    meetings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_never_take_part_unless_asked_for() {
        let labels = Labels::from_pairs([("__name__", "a"), ("x", "1"), ("y", "2")]);
        let ignoring = ["y".to_owned()];
        assert_eq!(Signature { on: false, labels: &ignoring }.of(&labels).to_string(), "{x=\"1\"}");
        let on = ["__name__".to_owned(), "absent".to_owned()];
        assert_eq!(Signature { on: true, labels: &on }.of(&labels).to_string(), "{__name__=\"a\"}");
    }
}
