//! Unit tests of rules, in the format of `promtool test rules`: do rules do what their author means?
//!
//! ```text
//!  test file --file--> tests --run--> series in memory, rules evaluated step by step --compare--> Report
//! ```
//!
//! A test gives series, lets all groups of its rule files be evaluated from its start at each `evaluation_interval`, and says
//! which alerts fire and what queries answer. The groups' own intervals do not count. Everything happens in memory, at
//! moments of the test's own: hours pass in milliseconds.
//!
//! ```
//! use ferula_alerting::testing::{Options, run_text};
//!
//! let rules = "
//! groups:
//! - name: node
//!   rules:
//!   - {alert: Down, expr: up == 0, for: 2m, annotations: {summary: '{{ $labels.job }} is down'}}
//! ";
//! let tests = "
//! rule_files: [rules.yml]
//! tests:
//! - input_series: [{series: 'up{job=\"a\"}', values: '1 0 0 0 0'}]
//!   alert_rule_test:
//!   - {eval_time: 2m, alertname: Down}
//!   - eval_time: 3m
//!     alertname: Down
//!     exp_alerts: [{exp_labels: {job: a}, exp_annotations: {summary: a is down}}]
//! ";
//! let report = run_text(tests, &Options::default(), |_| Ok(vec![("rules.yml".into(), rules.into())]))?;
//! assert!(report.failures.is_empty(), "{report}");
//! # Ok::<(), ferula_alerting::testing::TestFileError>(())
//! ```

mod compare;
mod file;
mod run;
mod storage;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ferula_model::yaml::YamlError;
use ferula_promql::EngineOptions;
use thiserror::Error;

use crate::rule::{LoadError, RuleFile, RuleFileError, RuleLanguage};

/// How tests are run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The engine that evaluates rules and queries; its dialect is the language of the rules. Default: upstream's.
    pub engine: EngineOptions,
    /// Only names that are valid in the legacy scheme.
    pub legacy_names: bool,
    /// Only tests whose name is among these; all, if there are none.
    pub only: Vec<String>,
}

/// What came of a test file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Tests that were run.
    pub tests: usize,
    /// What did not come out as the file says, in `promtool`'s words.
    pub failures: Vec<String>,
}

/// The failures, a blank line between them.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.failures.join("\n\n"))
    }
}

/// Why tests could not be run at all.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TestFileError {
    /// The test file is not YAML of the right shape.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// A name in `group_eval_order` comes twice.
    #[error("group name repeated in evaluation order: {0}")]
    RepeatedGroup(String),
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A pattern in `rule_files` has `*` elsewhere than in its last element.
    #[error("{0}: only the last element of a path may have a *")]
    Pattern(String),
    /// A rule file is not valid.
    #[error(transparent)]
    Rules(#[from] RuleFileError),
}

impl From<LoadError> for TestFileError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Content(error) => TestFileError::Rules(error),
            LoadError::Io { path, source } => {
                let source = Arc::try_unwrap(source).unwrap_or_else(|shared| shared.kind().into());
                TestFileError::Io { path, source }
            }
        }
    }
}

/// Runs a test file; its `rule_files` are relative to it, `*` stands for any characters of a file name.
///
/// # Errors
///
/// See [`TestFileError`].
pub fn run_file(path: impl AsRef<Path>, options: &Options) -> Result<Report, TestFileError> {
    let path = path.as_ref();
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|source| TestFileError::Io { path: path.to_owned(), source })
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    run_text(&read(path)?, options, |pattern| {
        let mut files = Vec::new();
        for file in matching(folder, pattern)? {
            files.push((file.display().to_string(), read(&file)?));
        }
        Ok(files)
    })
}

/// Runs the text of a test file. `rules` gives names and texts of the rule files for an entry of `rule_files`.
///
/// # Errors
///
/// See [`TestFileError`].
pub fn run_text(
    text: &str,
    options: &Options,
    mut rules: impl FnMut(&str) -> Result<Vec<(String, String)>, TestFileError>,
) -> Result<Report, TestFileError> {
    let file = file::read(text)?;
    let language = RuleLanguage { dialect: options.engine.dialect.clone(), legacy_names: options.legacy_names };
    let mut rule_files = Vec::new();
    for pattern in &file.rule_files {
        for (name, text) in rules(pattern)? {
            rule_files.push(RuleFile::parse(&name, &text, &language)?);
        }
    }
    let mut report = Report::default();
    for test in &file.tests {
        if !options.only.is_empty() && !options.only.contains(&test.name) {
            continue;
        }
        report.tests += 1;
        report.failures.extend(run::run(test, &file, &rule_files, &options.engine));
    }
    Ok(report)
}

/// The files of a pattern, by name.
fn matching(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, TestFileError> {
    let path = folder.join(pattern);
    let Some(name) = path.file_name().map(|name| name.to_string_lossy().into_owned()) else { return Ok(Vec::new()) };
    let parent = path.parent().unwrap_or(Path::new("")).to_owned();
    if parent.to_string_lossy().contains('*') {
        return Err(TestFileError::Pattern(pattern.to_owned()));
    }
    if !name.contains('*') {
        return Ok(vec![path]);
    }
    let source = |source| TestFileError::Io { path: parent.clone(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&parent).map_err(source)? {
        let file = entry.map_err(source)?.path();
        if file.file_name().is_some_and(|file| matches(&name, &file.to_string_lossy())) {
            found.push(file);
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a name fits a pattern in which `*` stands for any characters.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = left.find(part) else { return false };
        left = left.get(at + part.len()..).unwrap_or_default();
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("*", "", true),
            ("a*b*c", "aXbXbc", true),
            ("a*c", "ab", false),
            ("a*aa", "aa", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
