//! Files that a configuration names: patterns, relative names, and jobs in files of their own.

use std::path::{Path, PathBuf};

use ferula_model::yaml::{self, Context, Fields, Node, Struct};
use ferula_scrape::discovery::expand;

use super::{Config, ConfigError, jobs, repeated_job};

/// The text of a file.
pub(super) fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

/// Whether a path has wildcards in its last part only.
pub(super) fn is_pattern(text: &str) -> bool {
    text.rsplit_once('/').is_none_or(|(directory, _)| !directory.contains('*'))
        && text.rsplit('/').next().is_some_and(|name| name.matches('*').count() <= 1)
}

/// Makes a relative path relative to `directory`.
pub(super) fn resolve(path: &mut String, directory: &Path) {
    if !path.is_empty() && Path::new(&*path).is_relative() {
        *path = directory.join(&*path).display().to_string();
    }
}

/// The files of all patterns, sorted, each once.
pub(super) fn matching(patterns: &[String]) -> Vec<PathBuf> {
    let mut paths = sorted(patterns.iter().flat_map(|pattern| expand(pattern)).collect());
    paths.dedup();
    paths
}

fn sorted(mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
    paths.sort();
    paths
}

/// Adds the jobs of `scrape_config_files`.
pub(super) fn read_jobs(config: &mut Config) -> Result<(), ConfigError> {
    // A file that is named twice brings its jobs twice, which is an error.
    let paths: Vec<PathBuf> = config.scrape_config_files.iter().flat_map(|pattern| sorted(expand(pattern))).collect();
    for path in paths {
        let text = read(&path)?;
        let wrong = |source| ConfigError::File { path: path.clone(), source };
        let node = yaml::parse(&text).map_err(wrong)?.unwrap_or_default();
        let file: JobFile = yaml::decode_node(&node).map_err(wrong)?;
        let read = |node: &Node, context: &mut Context| jobs(node, context, &config.global);
        let found =
            if file.jobs.is_null() { Vec::new() } else { yaml::decode_with(&file.jobs, read).map_err(wrong)? };
        for mut job in found {
            if config.scrape_configs.iter().any(|other| other.job_name == job.job_name) {
                return Err(ConfigError::Job { path, problem: repeated_job(&job.job_name) });
            }
            job.resolve_paths(path.parent().unwrap_or(Path::new("")));
            config.scrape_configs.push(job);
        }
    }
    Ok(())
}

/// A file of `scrape_config_files`.
#[derive(Default)]
struct JobFile {
    jobs: Node,
}

impl Struct for JobFile {
    const TYPE: &'static str = "config.ScrapeConfigs";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        fields.set("scrape_configs", &mut self.jobs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_belong_in_the_last_part() {
        for (pattern, good) in
            [("a.yml", true), ("dir/*.yml", true), ("/a/b*", true), ("a/*/b", false), ("*a*b", false)]
        {
            assert_eq!(is_pattern(pattern), good, "{pattern}");
        }
    }
}
