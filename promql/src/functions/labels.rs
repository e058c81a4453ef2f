//! `label_replace` and `label_join`: series under other labels.
//!
//! Only labels change, so the series themselves are computed by whoever was there before.

use ferula_model::{METRIC_NAME, Regex, Template, go_quote};

use crate::error::QueryError;
use crate::eval::limits::{Hold, Limits};
use crate::eval::steps::StepVector;
use crate::eval::{BoxOperator, Head, Operator, Worker, renamed};
use crate::functions::expressions::Expressions;

/// How many bytes a written label value may have. Upstream's label sets cannot hold 16 MiB; nested calls that double a value
/// get there in a line.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// Series under other labels.
pub(crate) struct Relabelled<'q> {
    child: BoxOperator<'q>,
    heads: Vec<Head>,
    /// Whether the labels are those of `child` but for the name.
    only_renamed: bool,
    /// Of labels that were written, not taken.
    _hold: Option<Hold>,
}

impl<'q> Relabelled<'q> {
    /// With other names.
    pub(crate) fn new(child: BoxOperator<'q>, change: impl Fn(&Head) -> Head) -> Self {
        let heads = renamed(child.heads(), change);
        Self { child, heads, only_renamed: true, _hold: None }
    }

    /// With labels that take memory of their own.
    ///
    /// # Errors
    ///
    /// Those of `change`, and the limits.
    pub(crate) fn written(
        child: BoxOperator<'q>,
        limits: &Limits,
        change: impl Fn(&Head) -> Result<Head, QueryError>,
    ) -> Result<Self, QueryError> {
        let mut hold = None;
        let mut bytes = 0;
        let mut heads = Vec::with_capacity(child.heads().len());
        for head in child.heads() {
            let head = change(head)?;
            bytes += head.labels.iter().map(|(name, value)| (name.len() + value.len()) as u64).sum::<u64>();
            drop(hold.take());
            hold = Some(limits.hold(0, bytes)?);
            heads.push(head);
        }
        Ok(Self { child, heads, only_renamed: false, _hold: hold })
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

    fn is_distinct(&self) -> bool {
        self.only_renamed && self.child.is_distinct()
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
    /// How often, at most, the template refers to a group.
    references: usize,
}

impl<'a> Replacement<'a> {
    /// Arguments as written: target, replacement, source, expression.
    ///
    /// # Errors
    ///
    /// The expression is none, or the target no label name.
    pub(crate) fn new(
        expressions: &Expressions,
        [target, template, source, regex]: [&'a str; 4],
    ) -> Result<Self, QueryError> {
        let regex = expressions
            .compiled(regex)
            .map_err(|_| QueryError::execution(format!("invalid regular expression in label_replace(): {regex}")))?;
        if target.is_empty() {
            return Err(QueryError::execution(format!("invalid destination label name in label_replace(): {target}")));
        }
        let references = template.bytes().filter(|byte| *byte == b'$').count();
        Ok(Self { target, template: Template::new(template), source, regex, references })
    }

    pub(crate) fn apply(&self, head: &Head) -> Result<Head, QueryError> {
        let source = head.labels.get(self.source).unwrap_or_default();
        // No group is longer than the source.
        admit_value("label_replace", self.references.saturating_mul(source.len()) / 64)?;
        let mut value = String::new();
        if !self.regex.expand(source, &self.template, &mut value) {
            return Ok(head.clone());
        }
        admit_value("label_replace", value.len())?;
        Ok(with_label(head, self.target, &value))
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

    pub(crate) fn apply(&self, head: &Head) -> Result<Head, QueryError> {
        let values: Vec<&str> = self.sources.iter().map(|name| head.labels.get(name).unwrap_or_default()).collect();
        admit_value("label_join", values.iter().map(|value| value.len() + self.separator.len()).sum())?;
        Ok(with_label(head, self.target, &values.join(self.separator)))
    }
}

fn admit_value(function: &str, bytes: usize) -> Result<(), QueryError> {
    if bytes <= VALUE_BYTES_MAX {
        return Ok(());
    }
    Err(QueryError::execution(format!("label value in {function}() is longer than {VALUE_BYTES_MAX} bytes")))
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
