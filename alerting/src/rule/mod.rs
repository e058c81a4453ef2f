//! Rules: what is computed again and again, and what is worth an alert?
//!
//! ```text
//!  YAML --file--> RuleFile --> RuleGroup --> Rule::{Recording, Alerting}
//! ```
//!
//! Definitions only, checked when they are made: an expression is PromQL, a template parses, a name is valid. A host can
//! build groups in code as well as read them from files. What a rule is *doing* is in [`status`](crate::GroupStatus).

mod depend;
mod error;
mod file;

pub use error::{LoadError, RuleError, RuleFileError, RuleProblem};
pub use file::{RuleFile, Rules};

pub(crate) use depend::{Batch, batches};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ferula_model::yaml::{Encode, Node};
use ferula_promql::syntax::{Dialect, Expr, ParseError, parse_with};

use crate::template::Template;

/// The language that rules are written in: PromQL's dialect, and which names are valid.
#[derive(Clone, Debug, Default)]
pub struct RuleLanguage {
    /// The same as the engine's that will evaluate the rules.
    pub dialect: Dialect,
    /// Only `[a-zA-Z_:][a-zA-Z0-9_:]*` names (`metric_name_validation_scheme: legacy`); otherwise any UTF-8.
    pub legacy_names: bool,
}

/// A PromQL expression that was read and type-checked. Two are equal if they print equally.
#[derive(Clone, Debug)]
pub struct Expression {
    text: Arc<str>,
    expr: Arc<Expr>,
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    ///
    /// The text is not PromQL of this dialect.
    pub fn parse(text: &str, dialect: &Dialect) -> Result<Self, ParseError> {
        let expr = parse_with(text, dialect)?;
        Ok(Self { text: expr.to_string().into(), expr: Arc::new(expr) })
    }

    /// The expression as PromQL's printer writes it: what is evaluated and shown.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The tree.
    pub fn expr(&self) -> &Expr {
        &self.expr
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// Names and texts, sorted. An empty text stays: on a recording rule, it removes the label.
pub type Texts = BTreeMap<String, String>;

/// A group of rules that are evaluated one after another, all at the same moment.
///
/// ```
/// use std::time::Duration;
/// use ferula_alerting::rule::{AlertingRule, RecordingRule, RuleGroup};
///
/// let group = RuleGroup::new("node")
///     .every(Duration::from_secs(30))
///     .rule(RecordingRule::new("job:up:avg", "avg by (job) (up)")?)
///     .rule(
///         AlertingRule::new("JobDown", "job:up:avg < 0.5")?
///             .hold(Duration::from_secs(300))
///             .label("severity", "page")?
///             .annotation("summary", "{{ $labels.job }} is at {{ $value | humanizePercentage }}")?,
///     );
/// assert_eq!(group.rules.len(), 2);
/// # Ok::<(), ferula_alerting::rule::RuleError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleGroup {
    /// The name, unique in its file.
    pub name: String,
    /// How often it is evaluated; the default of [`RuleSettings`](crate::RuleSettings) if none.
    pub interval: Option<Duration>,
    /// How far in the past the queries look; the default of [`RuleSettings`](crate::RuleSettings) if none.
    pub query_offset: Option<Duration>,
    /// The most series or alerts one rule may have; 0 is no limit.
    pub limit: usize,
    /// Labels for all rules, which a rule's own labels override.
    pub labels: Texts,
    /// The rules, in the order of their evaluation.
    pub rules: Vec<Rule>,
}

impl RuleGroup {
    /// A group without rules.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The same group, evaluated this often.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    /// The same group with one more rule.
    #[must_use]
    pub fn rule(mut self, rule: impl Into<Rule>) -> Self {
        self.rules.push(rule.into());
        self
    }
}

/// A rule of either kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// Stores the result of a query as new series.
    Recording(RecordingRule),
    /// Makes an alert of each sample of a query.
    Alerting(AlertingRule),
}

impl Rule {
    /// The name of the metric or the alert.
    pub fn name(&self) -> &str {
        match self {
            Rule::Recording(rule) => &rule.name,
            Rule::Alerting(rule) => &rule.name,
        }
    }

    /// The query.
    pub fn expr(&self) -> &Expression {
        match self {
            Rule::Recording(rule) => &rule.expr,
            Rule::Alerting(rule) => &rule.expr,
        }
    }

    /// The labels, templates not expanded.
    pub fn labels(&self) -> &Texts {
        match self {
            Rule::Recording(rule) => &rule.labels,
            Rule::Alerting(rule) => &rule.labels,
        }
    }

    /// The rule with the labels of its group, where it has none of that name itself.
    pub(crate) fn with_group_labels(mut self, group: &Texts) -> Self {
        let labels = match &mut self {
            Rule::Recording(rule) => &mut rule.labels,
            Rule::Alerting(rule) => &mut rule.labels,
        };
        for (name, value) in group {
            labels.entry(name.clone()).or_insert_with(|| value.clone());
        }
        self
    }
}

impl From<RecordingRule> for Rule {
    fn from(rule: RecordingRule) -> Self {
        Rule::Recording(rule)
    }
}

impl From<AlertingRule> for Rule {
    fn from(rule: AlertingRule) -> Self {
        Rule::Alerting(rule)
    }
}

/// Stores the result of a query as series of a new name.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordingRule {
    /// The name of the metric.
    pub name: String,
    /// The query.
    pub expr: Expression,
    /// Labels that are set on each series; an empty one is removed.
    pub labels: Texts,
}

impl RecordingRule {
    /// A rule in upstream's stable PromQL.
    ///
    /// # Errors
    ///
    /// The name is no metric name, or the expression is not PromQL.
    pub fn new(name: impl Into<String>, expr: &str) -> Result<Self, RuleError> {
        let name = name.into();
        check_record_name(&name, false)?;
        Ok(Self { name, expr: Expression::parse(expr, &Dialect::default())?, labels: Texts::new() })
    }

    /// The same rule with one more label.
    ///
    /// # Errors
    ///
    /// The name is no label name.
    pub fn label(mut self, name: &str, value: &str) -> Result<Self, RuleError> {
        check_label_name(name, false)?;
        self.labels.insert(name.to_owned(), value.to_owned());
        Ok(self)
    }
}

/// Makes an alert of each sample of a query.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertingRule {
    /// The name of the alerts, their label `alertname`.
    pub name: String,
    /// The query.
    pub expr: Expression,
    /// How long a sample must be there until its alert fires (`for`); zero fires at once.
    pub hold: Duration,
    /// How long an alert fires on after its sample is gone.
    pub keep_firing_for: Duration,
    /// Labels of the alerts, templates allowed. They override those of the sample; an empty one is removed.
    pub labels: Texts,
    /// Annotations of the alerts, templates allowed.
    pub annotations: Texts,
}

impl AlertingRule {
    /// A rule in upstream's stable PromQL that fires at once.
    ///
    /// # Errors
    ///
    /// The name is empty, or the expression is not PromQL.
    pub fn new(name: impl Into<String>, expr: &str) -> Result<Self, RuleError> {
        let name = name.into();
        if name.is_empty() {
            return Err(RuleError::NoName);
        }
        let expr = Expression::parse(expr, &Dialect::default())?;
        let (labels, annotations) = (Texts::new(), Texts::new());
        Ok(Self { name, expr, hold: Duration::ZERO, keep_firing_for: Duration::ZERO, labels, annotations })
    }

    /// The same rule with another time that alerts are pending (`for`).
    #[must_use]
    pub fn hold(mut self, hold: Duration) -> Self {
        self.hold = hold;
        self
    }

    /// The same rule with another time that alerts outlive their samples.
    #[must_use]
    pub fn keep_firing_for(mut self, keep: Duration) -> Self {
        self.keep_firing_for = keep;
        self
    }

    /// The same rule with one more label, whose value is a template.
    ///
    /// # Errors
    ///
    /// The name is no label name, or the template does not parse.
    pub fn label(mut self, name: &str, template: &str) -> Result<Self, RuleError> {
        check_label_name(name, false)?;
        check_template(&self.name, "label", name, template)?;
        self.labels.insert(name.to_owned(), template.to_owned());
        Ok(self)
    }

    /// The same rule with one more annotation, whose value is a template.
    ///
    /// # Errors
    ///
    /// The name is no label name, or the template does not parse.
    pub fn annotation(mut self, name: &str, template: &str) -> Result<Self, RuleError> {
        check_annotation_name(name, false)?;
        check_template(&self.name, "annotation", name, template)?;
        self.annotations.insert(name.to_owned(), template.to_owned());
        Ok(self)
    }
}

fn check_record_name(name: &str, legacy: bool) -> Result<(), RuleError> {
    if name.is_empty() || (legacy && !ferula_model::is_legacy_metric_name(name)) {
        return Err(RuleError::RecordName(name.to_owned()));
    }
    if name.contains(['{', '}']) {
        return Err(RuleError::Braces(name.to_owned()));
    }
    Ok(())
}

fn check_label_name(name: &str, legacy: bool) -> Result<(), RuleError> {
    let valid = if legacy { ferula_model::is_legacy_label_name(name) } else { !name.is_empty() };
    if valid && name != ferula_model::METRIC_NAME { Ok(()) } else { Err(RuleError::LabelName(name.to_owned())) }
}

fn check_annotation_name(name: &str, legacy: bool) -> Result<(), RuleError> {
    let valid = if legacy { ferula_model::is_legacy_label_name(name) } else { !name.is_empty() };
    if valid { Ok(()) } else { Err(RuleError::AnnotationName(name.to_owned())) }
}

fn check_template(rule: &str, kind: &'static str, name: &str, text: &str) -> Result<(), RuleError> {
    match Template::of_alert(rule, text) {
        Ok(_) => Ok(()),
        Err(source) => Err(RuleError::Template { kind, name: name.to_owned(), source: Box::new(source) }),
    }
}

/// As upstream prints a rule in its logs.
impl Encode for Rule {
    fn encode(&self) -> Node {
        let expr = self.expr().as_str().to_owned();
        match self {
            Rule::Recording(rule) => {
                Node::mapping().put("record", &rule.name).put("expr", &expr).put_some("labels", &rule.labels)
            }
            Rule::Alerting(rule) => Node::mapping()
                .put("alert", &rule.name)
                .put("expr", &expr)
                .put_some("for", &rule.hold)
                .put_some("keep_firing_for", &rule.keep_firing_for)
                .put_some("labels", &rule.labels)
                .put_some("annotations", &rule.annotations),
        }
    }
}
