//! The plan: what is to be computed, once, and from what?
//!
//! [`lower`] turns a checked tree into an arena of [`Node`]s in the order of evaluation: operands come before what uses
//! them. Equal nodes are one node, so that a common subexpression is computed once; whatever does not depend on the
//! step stands under an [`Kind::Invariant`] and is computed at one step. [`rewrite`] then tells selectors what need not
//! be read. [`explain`] prints the result. A plan is bound to the times of one query and never changes once it is made.

pub(crate) mod brief;
pub(crate) mod explain;
pub(crate) mod lower;
pub(crate) mod reach;
pub(crate) mod rewrite;

use ferula_model::{METRIC_NAME, MatchOp, Matcher};

use crate::check::{ScalarOp, SetOp, VectorOp};
use crate::functions::{Function, FunctionId};
use crate::syntax::Span;
use crate::syntax::ast::{AggregateOp, Extension, Grouping, VectorMatching};

/// The number of a node in its plan. Numbers rise in the order of evaluation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeId(pub(crate) usize);

/// An immutable plan.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    nodes: Vec<Node>,
    root: NodeId,
}

impl Plan {
    pub(crate) fn new(nodes: Vec<Node>, root: NodeId) -> Self {
        Self { nodes, root }
    }

    pub(crate) fn root(&self) -> NodeId {
        self.root
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().enumerate().map(|(index, node)| (NodeId(index), node))
    }

    pub(crate) fn nodes_mut(&mut self) -> &mut [Node] {
        &mut self.nodes
    }
}

/// One operation of a plan.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// Where it stands in the query: the last place, if it stands in several.
    pub(crate) span: Span,
    /// Where each argument of a call stands; empty for others.
    pub(crate) arg_spans: Vec<Span>,
    /// How many nodes use it.
    pub(crate) users: usize,
}

/// What a node does.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// The same number at each step.
    Number(f64),
    /// A text.
    Text(String),
    /// A text that is not UTF-8, and therefore no name of anything.
    Bytes(Box<[u8]>),
    /// The newest sample of each series within the lookback.
    Select(Selector),
    /// The samples of each series within a window. Only a range function, or the caller of an instant query, reads it.
    RangeSelect {
        /// Which series.
        selector: Selector,
        /// The length of the window in milliseconds.
        range_millis: i64,
    },
    /// The steps of an instant expression within a window; read as a [`Kind::RangeSelect`].
    Subquery {
        /// What is evaluated at the moments of its own grid.
        child: NodeId,
        /// The length of the window in milliseconds.
        range_millis: i64,
        /// The distance of the moments in milliseconds.
        step_millis: i64,
        /// How far back the window ends, in milliseconds.
        offset_millis: i64,
        /// The moment from which the window is counted instead of the step's.
        at_millis: Option<i64>,
    },
    /// A function of the language.
    Call {
        /// Which.
        function: FunctionId,
        /// Its arguments.
        args: Vec<NodeId>,
    },
    /// A function of the host.
    HostCall {
        /// Which.
        function: Function,
        /// Its arguments.
        args: Vec<NodeId>,
    },
    /// The opposite number of a vector's floats and histograms.
    Negate(NodeId),
    /// The opposite number of a scalar.
    NegateScalar(NodeId),
    /// An operator between two scalars.
    ScalarBinary {
        /// Which.
        op: ScalarOp,
        /// Left operand.
        left: NodeId,
        /// Right operand.
        right: NodeId,
    },
    /// An operator between a vector and a scalar.
    WithScalar {
        /// Which.
        op: VectorOp,
        /// The vector.
        vector: NodeId,
        /// The scalar.
        scalar: NodeId,
        /// Whether the scalar stands on the left.
        scalar_left: bool,
    },
    /// An operator between two vectors, series by series.
    Join {
        /// Which.
        op: VectorOp,
        /// Left operand.
        left: NodeId,
        /// Right operand.
        right: NodeId,
        /// How series find their partners; never many-to-many.
        matching: VectorMatching,
    },
    /// A set operation between two vectors.
    Set {
        /// Which.
        op: SetOp,
        /// Left operand.
        left: NodeId,
        /// Right operand.
        right: NodeId,
        /// Whether `labels` are those to match on, rather than those to ignore.
        on: bool,
        /// The labels of `on` or `ignoring`.
        labels: Vec<String>,
    },
    /// An aggregation.
    Aggregate {
        /// Which.
        op: AggregateOp,
        /// What is aggregated.
        child: NodeId,
        /// The parameter of those that take one.
        param: Option<NodeId>,
        /// How groups are formed.
        grouping: Grouping,
    },
    /// The same at each step: computed at the first.
    Invariant(NodeId),
}

impl Kind {
    /// The operands, in the order of evaluation.
    pub(crate) fn children(&self) -> Vec<NodeId> {
        match self {
            Kind::Number(_) | Kind::Text(_) | Kind::Bytes(_) | Kind::Select(_) | Kind::RangeSelect { .. } => Vec::new(),
            Kind::Subquery { child, .. } | Kind::Negate(child) | Kind::NegateScalar(child) | Kind::Invariant(child) => {
                vec![*child]
            }
            Kind::Call { args, .. } | Kind::HostCall { args, .. } => args.clone(),
            Kind::ScalarBinary { left, right, .. } | Kind::Join { left, right, .. } | Kind::Set { left, right, .. } => {
                vec![*left, *right]
            }
            Kind::WithScalar { vector, scalar, scalar_left, .. } => {
                if *scalar_left {
                    vec![*scalar, *vector]
                } else {
                    vec![*vector, *scalar]
                }
            }
            Kind::Aggregate { child, param, .. } => param.iter().copied().chain([*child]).collect(),
        }
    }
}

/// Which series a node reads, and which part of their samples.
#[derive(Clone, Debug)]
pub(crate) struct Selector {
    pub(crate) matchers: Vec<Matcher>,
    /// How much earlier to look, in milliseconds; negative for later.
    pub(crate) offset_millis: i64,
    /// The moment to look from instead of the step's.
    pub(crate) at_millis: Option<i64>,
    pub(crate) extension: Option<Extension>,
    /// What the selector answers for a sample.
    pub(crate) answers: Answers,
    /// Only count and sum of histograms will be looked at.
    pub(crate) statistics_only: bool,
    /// The function or aggregation that looks at the samples; a hint for the storage.
    pub(crate) function: &'static str,
    /// The only labels that are looked at; `None` if all of them may be.
    pub(crate) projection: Option<Projection>,
}

/// What is looked at of the labels of a selector's series.
#[derive(Clone, Debug)]
pub(crate) struct Projection {
    /// The labels, rising.
    pub(crate) labels: Vec<String>,
    /// The names will be dropped, and then no two series may be equal.
    pub(crate) drops_names: bool,
}

impl Selector {
    /// Whether all series have the same name.
    pub(crate) fn has_one_name(&self) -> bool {
        self.matchers.iter().any(|matcher| matcher.name == METRIC_NAME && matcher.op == MatchOp::Equal)
    }
}

/// What an instant selector answers for the sample it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    /// Its value.
    Value,
    /// Its time, in seconds.
    Time,
    /// Its start timestamp, in seconds; 0 where it has none.
    Start,
}
