//! Aggregations: which series belong together, and what do they say together?
//!
//! Groups are formed from labels before any series is computed. Then each group's series are computed one after the
//! other and added to the group's accumulator ([`fold`]), or offered to its ranking ([`rank`]); only `quantile` and
//! `count_values` hold what they saw ([`spread`]). Large groups are cut into pieces of fixed length that may be computed
//! on several threads and are merged in order, so that the result does not depend on how many threads there are.

pub(crate) mod fold;
pub(crate) mod histograms;
pub(crate) mod limit;
pub(crate) mod rank;
pub(crate) mod spread;

use std::collections::HashMap;

use ferula_model::{Labels, METRIC_NAME};

use super::build::ScalarSteps;
use super::{Env, Head, Held, Operator};
use crate::error::QueryError;
use crate::functions::note::Place;
use crate::syntax::ast::{AggregateOp, Grouping};

/// Everything about one aggregation but its operand.
pub(crate) struct Aggregation<'q> {
    pub(crate) env: &'q Env<'q>,
    pub(crate) op: AggregateOp,
    pub(crate) grouping: &'q Grouping,
    /// The scalar parameter, if it takes one.
    pub(crate) param: Option<ScalarSteps>,
    /// The label of `count_values`.
    pub(crate) label: &'q str,
    /// Notes are about the operand, or about the parameter.
    pub(crate) place: Place,
    /// Where the aggregation itself stands: `topk` and `bottomk` speak about that.
    pub(crate) own_position: usize,
    pub(crate) param_position: usize,
}

/// Series that belong together.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) head: Head,
    /// Their positions in the operand, rising.
    pub(crate) members: Vec<usize>,
}

/// The labels that a grouping leaves of a series.
pub(crate) fn group_labels(labels: &Labels, grouping: &Grouping) -> Labels {
    if grouping.without {
        Labels::from_sorted(
            labels
                .iter()
                .filter(|(name, _)| *name != METRIC_NAME && !grouping.labels.iter().any(|label| label == name)),
        )
    } else if grouping.labels.is_empty() {
        Labels::empty()
    } else {
        Labels::from_sorted(labels.iter().filter(|(name, _)| grouping.labels.iter().any(|label| label == name)))
    }
}

/// Forms groups in the order of their first members.
pub(crate) fn form_groups(heads: &[Head], grouping: &Grouping) -> Vec<Group> {
    let mut known: HashMap<Labels, usize> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    if !grouping.without && grouping.labels.is_empty() {
        if heads.is_empty() {
            return groups;
        }
        let drop_name = heads.iter().any(|head| head.drop_name);
        return vec![Group { head: Head { labels: Labels::empty(), drop_name }, members: (0..heads.len()).collect() }];
    }
    for (index, head) in heads.iter().enumerate() {
        let labels = group_labels(&head.labels, grouping);
        let group = *known.entry(labels).or_insert_with_key(|labels| {
            groups.push(Group { head: Head::new(labels.clone()), members: Vec::new() });
            groups.len() - 1
        });
        groups[group].members.push(index);
        groups[group].head.drop_name |= head.drop_name;
    }
    groups
}

/// Evaluates an aggregation over its operand.
pub(crate) fn aggregate(aggregation: &Aggregation<'_>, child: &dyn Operator) -> Result<Held, QueryError> {
    match aggregation.op {
        AggregateOp::Sum
        | AggregateOp::Avg
        | AggregateOp::Count
        | AggregateOp::Min
        | AggregateOp::Max
        | AggregateOp::Group
        | AggregateOp::Stddev
        | AggregateOp::Stdvar => fold::aggregate(aggregation, child),
        AggregateOp::Topk | AggregateOp::Bottomk => rank::aggregate(aggregation, child),
        AggregateOp::Quantile => spread::quantile(aggregation, child),
        AggregateOp::CountValues => spread::count_values(aggregation, child),
        AggregateOp::Limitk => limit::limitk(aggregation, child),
        AggregateOp::LimitRatio => limit::limit_ratio(aggregation, child),
    }
}
