//! `file_sd_configs`: targets in files that others write.
//!
//! Files are looked at every few seconds (their time, length and inode) and read again when they changed, and in any
//! case after the refresh interval. Looking is cheap, and unlike a watch it survives what Kubernetes does with mounted
//! configuration, where links are exchanged underneath. A file that cannot be read keeps the targets that it had; a file
//! that is gone loses them.

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ferula_model::yaml;
use tokio::time::Instant;

use super::yaml::StaticGroup;
use super::{Discoverer, DiscoveryError, Groups, json};
use crate::target::TargetGroup;

/// How often files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
const EXTENSIONS: [&str; 6] = ["json", "yml", "yaml", "JSON", "YML", "YAML"];

/// Files that list targets.
#[derive(Clone, Debug, PartialEq)]
pub struct FileDiscovery {
    /// Paths; the last element may have wildcards.
    pub files: Vec<String>,
    /// After how long files are read again even if they seem unchanged. Five minutes, unless configured.
    pub refresh_interval: Duration,
}

impl FileDiscovery {
    /// These files, read again every five minutes at the latest.
    pub fn new<F: Into<String>>(files: impl IntoIterator<Item = F>) -> Self {
        Self { files: files.into_iter().map(F::into).collect(), refresh_interval: Duration::from_mins(5) }
    }

    /// What paths must look like; the words are upstream's.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.files.is_empty() {
            return Err("file service discovery config must contain at least one path name".to_owned());
        }
        for pattern in &self.files {
            let path = pattern.rsplit_once('.').filter(|(_, extension)| EXTENSIONS.contains(extension));
            let wildcard = path.and_then(|(path, _)| path.split_once('*'));
            if path.is_none() || wildcard.is_some_and(|(_, after)| after.contains('/')) {
                return Err(format!("path name {pattern:?} is not valid for file discovery"));
            }
        }
        Ok(())
    }

    pub(super) fn resolve_paths(&mut self, directory: &Path) {
        for file in &mut self.files {
            if Path::new(file).is_relative() {
                *file = directory.join(&*file).display().to_string();
            }
        }
    }

    fn paths(&self) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = self.files.iter().flat_map(|pattern| expand(pattern)).collect();
        paths.sort();
        paths.dedup();
        paths
    }
}

impl Discoverer for FileDiscovery {
    fn mechanism(&self) -> &str {
        "file"
    }

    fn run(self: Arc<Self>, groups: Groups) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let mut known = KnownFiles::default();
            let mut last_read = Instant::now();
            let mut ticks =
                tokio::time::interval(LOOK_INTERVAL.min(self.refresh_interval).max(Duration::from_millis(1)));
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = groups.closed() => return,
                }
                let all = last_read.elapsed() >= self.refresh_interval;
                if all {
                    last_read = Instant::now();
                }
                let config = Arc::clone(&self);
                let looked = tokio::task::spawn_blocking(move || {
                    let (changed, failures) = known.look(&config.paths(), all);
                    (known, changed, failures)
                });
                let Ok((files, changed, failures)) = looked.await else { return };
                known = files;
                for error in failures {
                    groups.metrics().file_failed();
                    tracing::error!(%error, "reading a file of targets");
                }
                if !changed.is_empty() && !groups.send(changed).await {
                    return;
                }
            }
        })
    }
}

/// The files that were read, as they were then.
#[derive(Debug, Default)]
struct KnownFiles(BTreeMap<PathBuf, KnownFile>);

#[derive(Debug, Default)]
struct KnownFile {
    stamp: Option<Stamp>,
    /// How many groups it held when it was last read well.
    groups: usize,
}

type Stamp = (Option<SystemTime>, u64, u64);

impl KnownFiles {
    /// Reads the files that changed, or all of them. Gives the groups to be sent and what went wrong.
    fn look(&mut self, paths: &[PathBuf], all: bool) -> (Vec<TargetGroup>, Vec<DiscoveryError>) {
        let (mut changed, mut failures) = (Vec::new(), Vec::new());
        let gone: Vec<PathBuf> = self.0.keys().filter(|path| !paths.contains(path)).cloned().collect();
        for path in gone {
            let file = self.0.remove(&path).unwrap_or_default();
            changed.extend((0..file.groups).map(|at| empty_group(&path, at)));
        }
        for path in paths {
            let stamp = stamp(path);
            let file = self.0.entry(path.clone()).or_default();
            if !all && stamp.is_some() && file.stamp == stamp {
                continue;
            }
            match read(path) {
                Ok(groups) => {
                    changed.extend((groups.len()..file.groups).map(|at| empty_group(path, at)));
                    *file = KnownFile { stamp, groups: groups.len() };
                    changed.extend(groups);
                }
                Err(error) => {
                    // It is tried again when it changes or at the next refresh, and what it held stays.
                    file.stamp = stamp;
                    failures.push(error);
                }
            }
        }
        (changed, failures)
    }
}

fn source(path: &Path, at: usize) -> String {
    format!("{}:{at}", path.display())
}

fn empty_group(path: &Path, at: usize) -> TargetGroup {
    TargetGroup { source: source(path, at), ..TargetGroup::default() }
}

fn stamp(path: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok(), metadata.len(), metadata.ino()))
}

fn read(path: &Path) -> Result<Vec<TargetGroup>, DiscoveryError> {
    let text = fs::read(path).map_err(|source| DiscoveryError::File { path: path.to_owned(), source })?;
    let invalid = |problem: String| DiscoveryError::Answer(format!("{}: {problem}", path.display()));
    let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let mut groups = if is_json {
        json::groups(&text).map_err(invalid)?
    } else {
        let text = String::from_utf8(text).map_err(|error| invalid(error.to_string()))?;
        let groups: Vec<StaticGroup> = yaml::decode(&text).map_err(|error| invalid(error.to_string()))?;
        groups.into_iter().map(|group| group.0).collect()
    };
    for (at, group) in groups.iter_mut().enumerate() {
        group.source = source(path, at);
        group.labels = group.labels.to_builder().set("__meta_filepath", &path.display().to_string()).build();
    }
    Ok(groups)
}

/// The files of a pattern whose last element may have `*` (anything) and `?` (one character), in no particular order.
pub fn expand(pattern: &str) -> Vec<PathBuf> {
    let (directory, name) = pattern.rsplit_once('/').unwrap_or((".", pattern));
    if !name.contains(['*', '?']) {
        return if Path::new(pattern).exists() { vec![PathBuf::from(pattern)] } else { Vec::new() };
    }
    let Ok(entries) = fs::read_dir(if directory.is_empty() { "/" } else { directory }) else { return Vec::new() };
    let matching = entries.filter_map(Result::ok).filter(|entry| matches(name, &entry.file_name().to_string_lossy()));
    matching.map(|entry| entry.path()).collect()
}

/// Whether a name matches a pattern with `*` (anything) and `?` (one character).
fn matches(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern.chars(), name.chars());
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let (at_pattern, at_name) = (pattern.clone(), name.clone());
        match (pattern.next(), name.next()) {
            (Some('*'), _) => {
                retry = Some((pattern.clone(), at_name.clone()));
                name = at_name;
            }
            (None, None) => return true,
            (Some('?'), Some(_)) => {}
            (Some(a), Some(b)) if a == b => {}
            _ => {
                let _ = at_pattern;
                let Some((after_star, mut rest)) = retry.take() else { return false };
                if rest.next().is_none() {
                    return false;
                }
                retry = Some((after_star.clone(), rest.clone()));
                (pattern, name) = (after_star, rest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_within_a_name() {
        for (pattern, name, expected) in [
            ("*.yml", "a.yml", true),
            ("*.yml", ".yml", true),
            ("a*c*.json", "abcabc.json", true),
            ("a*c*.json", "abab.json", false),
            ("a?.yml", "ab.yml", true),
            ("a?.yml", "a.yml", false),
            ("x.yml", "x.yml", true),
            ("*b", "aab", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn paths_have_a_known_ending_and_wildcards_only_at_the_end() {
        for (path, legal) in
            [("a/*.yml", true), ("a/b.JSON", true), ("a/*/b.yml", false), ("a.txt", false), ("a", false)]
        {
            assert_eq!(FileDiscovery::new([path]).check().is_ok(), legal, "{path}");
        }
    }

    #[test]
    fn changes_are_read_failures_keep_and_deletions_remove() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("targets.yml");
        let config = FileDiscovery::new([directory.path().join("*.yml").display().to_string()]);
        fs::write(&file, "- targets: [a:1]\n- targets: [b:1]\n  labels: {x: y}\n").unwrap();
        let mut known = KnownFiles::default();
        let (changed, failures) = known.look(&config.paths(), false);
        assert!(failures.is_empty());
        assert_eq!(changed.len(), 2);
        assert_eq!(changed[1].labels.get("x"), Some("y"));
        assert_eq!(changed[0].labels.get("__meta_filepath"), file.to_str());
        assert!(known.look(&config.paths(), false).0.is_empty(), "nothing changed");

        fs::write(&file, "- targets: [").unwrap();
        let (changed, failures) = known.look(&config.paths(), false);
        assert_eq!((changed.len(), failures.len()), (0, 1));

        fs::write(&file, "- targets: [c:1]\n").unwrap();
        let (changed, _) = known.look(&config.paths(), false);
        assert_eq!(changed.len(), 2, "the second group is deleted");
        assert!(changed.iter().any(|group| group.targets.is_empty() && group.source.ends_with(":1")));

        fs::remove_file(&file).unwrap();
        let (changed, _) = known.look(&config.paths(), false);
        assert!(changed.len() == 1 && changed[0].targets.is_empty());
    }
}
