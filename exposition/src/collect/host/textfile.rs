//! `textfile`: metrics that scripts and cron jobs leave in files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::source::Failure;
use crate::collect::Families;
use crate::family::MetricFamily;
use crate::parser::{Format, ParseOptions};
use crate::read::read_families;

pub(super) fn collect(folders: &[PathBuf], out: &mut Families) -> Result<(), Failure> {
    let mut failed = false;
    for folder in folders {
        let Ok(entries) = fs::read_dir(folder) else {
            failed = true;
            continue;
        };
        let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "prom"));
        files.sort();
        for path in files {
            match read(&path) {
                Some((families, modified)) => {
                    families.into_iter().for_each(|family| out.push(family));
                    let file = path.to_string_lossy();
                    let help = "Unixtime mtime of textfiles successfully read.";
                    out.gauge("node_textfile_mtime_seconds", help, &[("file", &file)], modified);
                }
                None => failed = true,
            }
        }
    }
    let help = "1 if there was an error opening or reading a file, 0 otherwise";
    out.gauge("node_textfile_scrape_error", help, &[], f64::from(u8::from(failed)));
    Ok(())
}

/// The families of a file and when it was changed, in seconds; `None` if it cannot be read or speaks about other times
/// than now.
fn read(path: &Path) -> Option<(Vec<MetricFamily>, f64)> {
    let body = fs::read(path).ok()?;
    let mut families = read_families(&body, Format::Text, &ParseOptions::default()).ok()?;
    let timed = families.iter().flat_map(|family| &family.metrics).any(|metric| metric.timestamp.is_some());
    if timed {
        return None;
    }
    for family in families.iter_mut().filter(|family| family.help.is_empty()) {
        family.help = format!("Metric read from {}", path.display()).into();
    }
    let modified = fs::metadata(path).ok()?.modified().ok()?;
    let seconds = modified.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    Some((families, seconds))
}
