//! `prometheus.yml`: what is this server told to do?
//!
//! ```text
//!  file --yaml--> Config --resolve--> scrape_config_files, rule files --> Monitor
//! ```
//!
//! Reading is strict: unknown keys, keys that come twice and values of the wrong kind are errors with a line number, and
//! all of them come at once. What Prometheus knows and this build does not act on is never passed over in silence:
//! [`Config::unsupported`] lists it, and [`Config::warnings`] lists what makes no difference here. Printing a
//! configuration ([`Config::to_yaml`]) fills in defaults and hides secrets. Behaviour follows Prometheus 3.14,
//! `config/config.go`.
//!
//! Reading order: [`Config`], [`global`](GlobalConfig), [`alerting`](AlertingConfig), [`storage`](StorageConfig), `files` (paths and patterns).

mod alerting;
mod files;
mod global;
mod storage;

use std::path::{Path, PathBuf};

use ferula_model::Labels;
use ferula_model::yaml::{self, Context, Decode, Encode, Fields, Kind, Node, Struct, YamlError};
use ferula_scrape::ScrapeConfig;
use ferula_scrape::relabel::RelabelConfig;
use thiserror::Error;

pub use alerting::{AlertingConfig, AlertmanagerSection};
pub use global::GlobalConfig;
pub use storage::{ChunkEncoding, RetentionConfig, StorageConfig};

/// A configuration, with defaults where a file said nothing.
///
/// ```
/// use ferula::config::Config;
///
/// let config = Config::from_yaml("scrape_configs:\n- job_name: node\n  static_configs:\n  - targets: [a:9100]\n")?;
/// assert_eq!(config.scrape_configs[0].scrape_interval.as_secs(), 60);
///
/// let error = Config::from_yaml("global:\n  scrape_intervall: 15s\n").unwrap_err();
/// assert!(error.to_string().ends_with("line 2: field scrape_intervall not found in type config.GlobalConfig"));
/// # Ok::<(), ferula::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// What holds for everything.
    pub global: GlobalConfig,
    /// Files of rules; the last part of a path may be a pattern.
    pub rule_files: Vec<String>,
    /// Files with more jobs; the last part of a path may be a pattern.
    pub scrape_config_files: Vec<String>,
    /// The jobs, with what they inherit from `global`.
    pub scrape_configs: Vec<ScrapeConfig>,
    /// To whom alerts go.
    pub alerting: AlertingConfig,
    /// How samples are stored.
    pub storage: StorageConfig,
    /// Sections that are known to Prometheus but not to this build, as they were written.
    others: Vec<(&'static str, Node)>,
}

/// Sections without which something would be missing: a monitor refuses to start with them.
const UNSUPPORTED: [&str; 2] = ["remote_write", "remote_read"];

/// Sections that change nothing here.
const WITHOUT_EFFECT: [&str; 3] = ["runtime", "tracing", "otlp"];

/// A configuration that cannot be used. Nothing of it is in force.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file could not be read.
    #[error("open {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file does not say what it should.
    #[error("parsing YAML file {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong in it.
        source: YamlError,
    },
    /// A text does not say what it should.
    #[error(transparent)]
    Text(#[from] YamlError),
    /// A job in one of `scrape_config_files` that cannot be.
    #[error("parsing YAML file {}: {problem}", path.display())]
    Job {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Sections that this build does not act on.
    #[error("not supported yet: {}; remove them to start without", .0.join(", "))]
    Unsupported(Vec<&'static str>),
}

impl Config {
    /// Reads a configuration from a text. File names stay as they were written and `scrape_config_files` are not read.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Text`], with everything that is wrong.
    pub fn from_yaml(text: &str) -> Result<Self, ConfigError> {
        Ok(parse(text)?)
    }

    /// Reads a file and the `scrape_config_files` that it names. Relative file names are meant from the folder of the file
    /// they stand in.
    ///
    /// # Errors
    ///
    /// See [`ConfigError`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let mut config =
            parse(&files::read(path)?).map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
        config.resolve_paths(path.parent().unwrap_or(Path::new("")));
        files::read_jobs(&mut config)?;
        Ok(config)
    }

    /// Makes every relative file name relative to `directory`.
    pub fn resolve_paths(&mut self, directory: &Path) {
        self.global.resolve_paths(directory);
        for pattern in self.rule_files.iter_mut().chain(&mut self.scrape_config_files) {
            files::resolve(pattern, directory);
        }
        self.alerting.resolve_paths(directory);
        for job in &mut self.scrape_configs {
            job.resolve_paths(directory);
        }
    }

    /// Replaces `$NAME` and `${NAME}` in the values of external labels by what `value` gives for the name, or by nothing;
    /// `$$` is a dollar sign.
    pub fn expand_external_labels(&mut self, value: &dyn Fn(&str) -> Option<String>) {
        let labels = &self.global.external_labels;
        let expanded = labels.iter().map(|(name, text)| (name, global::expand(text, value)));
        self.global.external_labels = Labels::from_pairs(expanded);
    }

    /// The files that `rule_files` name, sorted, each once.
    pub fn rule_file_paths(&self) -> Vec<PathBuf> {
        files::matching(&self.rule_files)
    }

    /// The files that were read for it, besides the first: rules and jobs.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = self.rule_file_paths();
        files.extend(files::matching(&self.scrape_config_files));
        files
    }

    /// Sections that this build does not act on although something would be missing without them.
    pub fn unsupported(&self) -> Vec<&'static str> {
        self.others.iter().map(|(key, _)| *key).filter(|key| UNSUPPORTED.contains(key)).collect()
    }

    /// What the configuration says that makes no difference here, a line each.
    pub fn warnings(&self) -> Vec<String> {
        let sections = self.others.iter().filter(|(key, _)| WITHOUT_EFFECT.contains(key));
        let mut warnings: Vec<String> =
            sections.map(|(key, _)| format!("section {key} has no effect: not supported yet")).collect();
        warnings.extend(self.global.warnings());
        warnings.extend(self.storage.warnings());
        warnings
    }

    /// The configuration in force as YAML, with defaults and without secrets.
    pub fn to_yaml(&self) -> String {
        yaml::to_string(self)
    }
}

fn parse(text: &str) -> Result<Config, YamlError> {
    yaml::decode(text)
}

impl Struct for Config {
    const TYPE: &'static str = "config.plain";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        fields.set("global", &mut self.global);
        set_patterns(fields, "rule_files", "rule", &mut self.rule_files);
        set_patterns(fields, "scrape_config_files", "scrape config", &mut self.scrape_config_files);
        let global = &self.global;
        fields.set_with("scrape_configs", &mut self.scrape_configs, |node, context| jobs(node, context, global));
        fields.set("alerting", &mut self.alerting);
        fields.set("storage", &mut self.storage);
        for key in UNSUPPORTED.into_iter().chain(WITHOUT_EFFECT) {
            let mut section = Node::default();
            if fields.set(key, &mut section) {
                self.others.push((key, section));
            }
        }
    }
}

impl Encode for Config {
    fn encode(&self) -> Node {
        let mut node = Node::mapping().put("global", &self.global);
        let other = |node: Node, wanted: &str| match self.others.iter().find(|(key, _)| *key == wanted) {
            Some((key, section)) => node.put_some(key, &section.without_secrets()),
            None => node,
        };
        node = other(node, "runtime")
            .put_some("alerting", &self.alerting)
            .put_some("rule_files", &self.rule_files)
            .put_some("scrape_config_files", &self.scrape_config_files)
            .put_some("scrape_configs", &self.scrape_configs)
            .put_some("storage", &self.storage);
        ["tracing", "remote_write", "remote_read", "otlp"].into_iter().fold(node, other)
    }
}

/// Jobs, each valid by itself and with a name of its own.
pub(crate) fn jobs(node: &Node, context: &mut Context, global: &GlobalConfig) -> Option<Vec<ScrapeConfig>> {
    let Kind::Sequence(items) = &node.kind else {
        context.mismatch(node, "[]*config.ScrapeConfig");
        return None;
    };
    let before = context.len();
    let mut jobs: Vec<ScrapeConfig> = Vec::new();
    for item in items {
        if item.is_null() {
            context.trouble(item, "empty or null scrape config section");
            continue;
        }
        let Some(mut job) = ScrapeConfig::decode(item, context) else { continue };
        if context.keep(item, job.validate(&global.scrape)).is_none() {
            continue;
        }
        if jobs.iter().any(|other| other.job_name == job.job_name) {
            context.trouble(item, repeated_job(&job.job_name));
        }
        jobs.push(job);
    }
    (context.len() == before).then_some(jobs)
}

/// Rules of which none may be null; `complaint` says what is wrong with one that is.
fn set_rules(fields: &mut Fields<'_>, key: &str, complaint: &str, place: &mut Vec<RelabelConfig>) {
    fields.set_with(key, place, |node, context| {
        if let Kind::Sequence(rules) = &node.kind
            && let Some(empty) = rules.iter().find(|rule| rule.is_null())
        {
            context.trouble(empty, complaint);
            return None;
        }
        Vec::decode(node, context)
    });
}

fn repeated_job(name: &str) -> String {
    format!("found multiple scrape configs with job name {}", ferula_model::go_quote(name))
}

fn set_patterns(fields: &mut Fields<'_>, key: &str, what: &str, place: &mut Vec<String>) {
    fields.set_with(key, place, |node, context| {
        let patterns: Vec<String> = Vec::decode(node, context)?;
        let wrong = patterns.iter().find(|pattern| !files::is_pattern(pattern));
        if let Some(wrong) = wrong {
            context.trouble(node, format!("invalid {what} file path {}", ferula_model::go_quote(wrong)));
            return None;
        }
        Some(patterns)
    });
}
