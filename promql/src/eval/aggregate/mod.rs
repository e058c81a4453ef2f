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

use ferula_model::{Labels, METRIC_NAME};

use super::build::ScalarSteps;
use super::label_sets::LabelSets;
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
fn group_labels<'l>(
    labels: &'l Labels,
    grouping: &'l Grouping,
) -> impl Iterator<Item = (&'l str, &'l str)> + Clone + 'l {
    let is_named = |name: &str| grouping.labels.iter().any(|label| label == name);
    labels.iter().filter(
        move |(name, _)| {
            if grouping.without { *name != METRIC_NAME && !is_named(name) } else { is_named(name) }
        },
    )
}

/// Forms groups in the order of their first members.
pub(crate) fn form_groups(heads: &[Head], grouping: &Grouping) -> Vec<Group> {
    if !grouping.without && grouping.labels.is_empty() {
        if heads.is_empty() {
            return Vec::new();
        }
        let drop_name = heads.iter().any(|head| head.drop_name);
        return vec![Group { head: Head { labels: Labels::empty(), drop_name }, members: (0..heads.len()).collect() }];
    }
    let mut sets = LabelSets::default();
    let mut groups: Vec<(bool, Vec<usize>)> = Vec::new();
    for (index, head) in heads.iter().enumerate() {
        let number = sets.number(group_labels(&head.labels, grouping));
        groups.resize_with(sets.len(), Default::default);
        let (drop_name, members) = &mut groups[number];
        *drop_name |= head.drop_name;
        members.push(index);
    }
    let heads = sets.into_sets().into_iter();
    heads
        .zip(groups)
        .map(|(labels, (drop_name, members))| Group { head: Head { labels, drop_name }, members })
        .collect()
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
