//! What is wrong with a document.

use std::fmt;

use thiserror::Error;

/// Why a document could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum YamlError {
    /// It is not YAML.
    #[error("yaml: line {line}: {problem}")]
    Syntax {
        /// The line, counted from 1.
        line: usize,
        /// The column, counted from 1.
        column: usize,
        /// What is wrong there.
        problem: String,
    },
    /// It is YAML but does not say what it should; everything that is wrong, by rising line.
    #[error("yaml: unmarshal errors:{}", Listed(.0))]
    Content(Vec<Trouble>),
}

/// One thing that is wrong with the content of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The line, counted from 1.
    pub line: usize,
    /// The column, counted from 1.
    pub column: usize,
    /// What is wrong there: `field x not found in type y`.
    pub problem: String,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

struct Listed<'a>(&'a [Trouble]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|trouble| write!(f, "\n  {trouble}"))
    }
}
