//! What is wrong with a rule, and where?

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use ferula_model::go_quote;
use ferula_model::yaml::YamlError;
use ferula_promql::syntax::ParseError;
use thiserror::Error;

use crate::template::TemplateError;

/// What is wrong with one rule; the words are upstream's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RuleError {
    /// Two kinds at once.
    #[error("only one of 'record' and 'alert' must be set")]
    BothKinds,
    /// No kind, and so no name.
    #[error("one of 'record' or 'alert' must be set")]
    NoName,
    /// No expression.
    #[error("field 'expr' must be set in rule")]
    NoExpr,
    /// An expression that is not PromQL.
    #[error("could not parse expression: {0}")]
    Expr(#[from] ParseError),
    /// Something that only alerts have.
    #[error("invalid field '{0}' in recording rule")]
    OnlyForAlerts(&'static str),
    /// Not a metric name under the naming scheme in force.
    #[error("invalid recording rule name: {0}")]
    RecordName(String),
    /// A selector where a name should be.
    #[error("braces present in the recording rule name; should it be in expr?: {0}")]
    Braces(String),
    /// Not a label name under the naming scheme in force, or `__name__`.
    #[error("invalid label name: {0}")]
    LabelName(String),
    /// Not a label name under the naming scheme in force.
    #[error("invalid annotation name: {0}")]
    AnnotationName(String),
    /// A template that does not parse.
    #[error("{kind} {}: {source}", go_quote(.name))]
    Template {
        /// `label` or `annotation`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What is wrong.
        #[source]
        source: Box<TemplateError>,
    },
}

/// One thing that is wrong with a rule file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleProblem {
    /// Line and column, counted from 1; of `record` and `alert` both, if both are to blame.
    pub places: Vec<(usize, usize)>,
    /// What is wrong there, with the group and the rule.
    pub message: String,
}

impl fmt::Display for RuleProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (line, column) in &self.places {
            write!(f, "{line}:{column}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Why a text is not a rule file: everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RuleFileError {
    /// It is not YAML of the right shape.
    #[error("{file}: {source}")]
    Yaml {
        /// The name of the file.
        file: String,
        /// What is wrong.
        #[source]
        source: YamlError,
    },
    /// It is, but what it says is not valid. A line for each problem: `file: line:column: group "g", rule N, "name": cause`.
    #[error("{}", Listed(.file, .problems))]
    Content {
        /// The name of the file.
        file: String,
        /// Everything that is wrong, in the order of the file.
        problems: Vec<RuleProblem>,
    },
}

struct Listed<'a>(&'a str, &'a [RuleProblem]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.1.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}: {problem}", self.0)?;
        }
        Ok(())
    }
}

/// Why rules could not be loaded.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file could not be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// It is not a rule file.
    #[error(transparent)]
    Content(#[from] RuleFileError),
}
