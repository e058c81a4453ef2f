//! `label_replace` and `label_join`: series under other labels.
//!
//! Only labels change, so the series themselves are computed by whoever was there before.

use ferula_model::{METRIC_NAME, Regex, Template, go_quote};

use crate::error::QueryError;
use crate::eval::steps::StepVector;
use crate::eval::{BoxOperator, Head, Operator, Worker};

/// Series under other labels.
pub(crate) struct Relabelled<'q> {
    child: BoxOperator<'q>,
    heads: Vec<Head>,
}

impl<'q> Relabelled<'q> {
    pub(crate) fn new(child: BoxOperator<'q>, change: impl Fn(&Head) -> Head) -> Self {
        let heads = child.heads().iter().map(change).collect();
        Self { child, heads }
    }
}

impl Operator for Relabelled<'_> {
    fn heads(&self) -> &[Head] {
        &self.heads
    }

    fn steps(&self) -> usize {
        self.child.steps()
    }

    fn compute(&self, index: usize, worker: &mut Worker, out: &mut StepVector) -> Result<(), QueryError> {
        self.child.compute(index, worker, out)
    }

    fn is_held(&self) -> bool {
        self.child.is_held()
    }

    fn held(&self, index: usize) -> Option<&StepVector> {
        self.child.held(index)
    }

    fn is_silent(&self) -> bool {
        self.child.is_silent()
    }
}

/// Sets a label from another by an expression.
pub(crate) struct Replacement<'a> {
    pub(crate) target: &'a str,
    pub(crate) template: Template,
    pub(crate) source: &'a str,
    pub(crate) regex: Regex,
}

impl<'a> Replacement<'a> {
    /// Arguments as written: target, replacement, source, expression.
    ///
    /// # Errors
    ///
    /// The expression is none, or the target no label name.
    pub(crate) fn new(target: &'a str, template: &str, source: &'a str, regex: &str) -> Result<Self, QueryError> {
        let regex = Regex::new(regex)
            .map_err(|_| QueryError::execution(format!("invalid regular expression in label_replace(): {regex}")))?;
        if target.is_empty() {
            return Err(QueryError::execution(format!("invalid destination label name in label_replace(): {target}")));
        }
        Ok(Self { target, template: Template::new(template), source, regex })
    }

    pub(crate) fn apply(&self, head: &Head) -> Head {
        let mut value = String::new();
        if !self.regex.expand(head.labels.get(self.source).unwrap_or_default(), &self.template, &mut value) {
            return head.clone();
        }
        with_label(head, self.target, &value)
    }
}

/// Sets a label to other labels' values, joined.
pub(crate) struct Joining<'a> {
    pub(crate) target: &'a str,
    pub(crate) separator: &'a str,
    pub(crate) sources: Vec<&'a str>,
}

impl<'a> Joining<'a> {
    /// Arguments as written.
    ///
    /// # Errors
    ///
    /// A name is none.
    pub(crate) fn new(target: &'a str, separator: &'a str, sources: Vec<&'a str>) -> Result<Self, QueryError> {
        if target.is_empty() {
            return Err(QueryError::execution(format!("invalid destination label name in label_join(): {target}")));
        }
        if let Some(wrong) = sources.iter().find(|source| source.is_empty()) {
            return Err(QueryError::execution(format!("invalid source label name in label_join(): {wrong}")));
        }
        Ok(Self { target, separator, sources })
    }

    pub(crate) fn apply(&self, head: &Head) -> Head {
        let values: Vec<&str> = self.sources.iter().map(|name| head.labels.get(name).unwrap_or_default()).collect();
        with_label(head, self.target, &values.join(self.separator))
    }
}

/// An empty value removes the label. A name that was just written is not dropped later.
fn with_label(head: &Head, target: &str, value: &str) -> Head {
    let mut builder = head.labels.to_builder();
    builder.set(target, value);
    Head { labels: builder.build(), drop_name: head.drop_name && target != METRIC_NAME }
}

/// The error for a label name that cannot be one.
pub(crate) fn invalid_label_name(name: &str) -> QueryError {
    QueryError::execution(format!("invalid label name {}", go_quote(name)))
}
