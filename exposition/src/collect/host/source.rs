//! Where the host collector reads: proc, sys and udev, wherever they are mounted.

use std::fs;
use std::path::PathBuf;

use thiserror::Error;

use super::HostOptions;

/// A collector could not read what it needs.
#[derive(Debug, Error)]
#[error("a file of the system cannot be read")]
pub(super) struct Failure;

/// Reads files below the configured roots.
#[derive(Debug)]
pub(super) struct Source<'a>(&'a HostOptions);

impl<'a> Source<'a> {
    pub(super) fn new(options: &'a HostOptions) -> Self {
        Self(options)
    }

    pub(super) fn proc(&self, path: &str) -> Result<String, Failure> {
        read(self.0.proc.join(path))
    }

    /// A file below sys, without the newline at its end; `None` if there is none.
    pub(super) fn sys(&self, path: &str) -> Option<String> {
        read(self.0.sys.join(path)).ok().map(|text| text.trim().to_owned())
    }

    /// Names in a folder below sys, sorted; none if there is no such folder.
    pub(super) fn sys_names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.0.sys.join(path)).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// A property that udev keeps about a block device.
    pub(super) fn udev(&self, major: &str, minor: &str) -> Vec<(String, String)> {
        let text = read(self.0.udev.join(format!("b{major}:{minor}"))).unwrap_or_default();
        let properties = text.lines().filter_map(|line| line.strip_prefix("E:")?.split_once('='));
        properties.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

fn read(path: PathBuf) -> Result<String, Failure> {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(|_| Failure)
}

/// A number, or zero.
pub(super) fn number(text: &str) -> f64 {
    text.parse().unwrap_or(0.0)
}
