//! `textfile`: metrics that scripts and cron jobs leave in files.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::source::Failure;
use crate::collect::Families;
use crate::family::MetricFamily;
use crate::parser::{Format, ParseOptions};
use crate::read::read_families;

pub(super) fn collect(folders: &[PathBuf], out: &mut Families) -> Result<(), Failure> {
    let mut failed = false;
    // The help that a family was first given.
    let mut helps: HashMap<Arc<str>, Arc<str>> = HashMap::new();
    for folder in folders.iter().flat_map(|folder| matching(folder)) {
        let Ok(entries) = fs::read_dir(folder) else {
            failed = true;
            continue;
        };
        let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "prom"));
        files.sort();
        for path in files {
            let Some((families, modified)) = read(&path) else {
                failed = true;
                continue;
            };
            for mut family in families {
                if family.help.is_empty() {
                    family.help = format!("Metric read from {}", path.display()).into();
                } else if helps.entry(Arc::clone(&family.name)).or_insert_with(|| Arc::clone(&family.help))
                    != &family.help
                {
                    // As upstream: a family that is described in another way is left out.
                    failed = true;
                    continue;
                }
                out.push(family);
            }
            let file = path.to_string_lossy();
            let help = "Unixtime mtime of textfiles successfully read.";
            out.gauge("node_textfile_mtime_seconds", help, &[("file", &file)], modified);
        }
    }
    let help = "1 if there was an error opening or reading a file, 0 otherwise";
    out.gauge("node_textfile_scrape_error", help, &[], f64::from(u8::from(failed)));
    Ok(())
}

/// The folders that a path with `*` and `?` in its names stands for, sorted; the path itself if it has none, or if no folder
/// matches.
fn matching(path: &Path) -> Vec<PathBuf> {
    let is_pattern = |name: &OsStr| name.to_string_lossy().contains(['*', '?']);
    if !path.iter().any(is_pattern) {
        return vec![path.to_owned()];
    }
    let mut found = vec![PathBuf::new()];
    for name in path {
        if !is_pattern(name) {
            found.iter_mut().for_each(|path| path.push(name));
            continue;
        }
        let pattern: Vec<char> = name.to_string_lossy().chars().collect();
        let inside = |path: &PathBuf| {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            let fits = |entry: &fs::DirEntry| {
                matches(&pattern, &entry.file_name().to_string_lossy().chars().collect::<Vec<_>>())
            };
            entries.filter(fits).map(|entry| entry.path()).collect::<Vec<_>>()
        };
        found = found.iter().flat_map(inside).collect();
    }
    found.retain(|path| path.is_dir());
    found.sort();
    if found.is_empty() { vec![path.to_owned()] } else { found }
}

/// Whether a name fits a pattern of `*` and `?`. When the rest does not fit, the last `*` takes one character more.
fn matches(pattern: &[char], name: &[char]) -> bool {
    let (mut at_pattern, mut at_name) = (0, 0);
    let mut last_star = None;
    while at_name < name.len() {
        match pattern.get(at_pattern) {
            Some('*') => {
                last_star = Some((at_pattern, at_name));
                at_pattern += 1;
            }
            Some(wanted) if *wanted == '?' || Some(wanted) == name.get(at_name) => {
                at_pattern += 1;
                at_name += 1;
            }
            _ => {
                let Some((star, taken)) = last_star else { return false };
                last_star = Some((star, taken + 1));
                (at_pattern, at_name) = (star + 1, taken + 1);
            }
        }
    }
    pattern.iter().skip(at_pattern).all(|rest| *rest == '*')
}

/// The families of a file and when it was changed, in seconds; `None` if it cannot be read or speaks about other times
/// than now.
fn read(path: &Path) -> Option<(Vec<MetricFamily>, f64)> {
    let body = fs::read(path).ok()?;
    let families = read_families(&body, Format::Text, &ParseOptions::default()).ok()?;
    let timed = families.iter().flat_map(|family| &family.metrics).any(|metric| metric.timestamp.is_some());
    if timed {
        return None;
    }
    let modified = fs::metadata(path).ok()?.modified().ok()?;
    let seconds = modified.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    Some((families, seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names() {
        let fits = |pattern: &str, name: &str| {
            matches(&pattern.chars().collect::<Vec<_>>(), &name.chars().collect::<Vec<_>>())
        };
        for (pattern, name) in
            [("*", ""), ("*", "ab"), ("a*", "a"), ("a*c", "abbc"), ("?b*", "äbc"), ("*a*b", "xaxbab")]
        {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("a", "ab"), ("?", ""), ("a*c", "ab"), ("", "a"), ("*ab", "abc")] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }
}
