//! The failure log: a file with one JSON line for each failed scrape (`scrape_failure_log_file`).

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use ferula_model::Timestamp;
use parking_lot::Mutex;

/// An open failure log. Jobs that name the same file share it.
#[derive(Debug)]
pub(crate) struct FailureLog(Mutex<File>);

impl FailureLog {
    /// Opens a log, to be added to.
    pub(crate) fn open(path: &Path) -> std::io::Result<Self> {
        Ok(Self(Mutex::new(OpenOptions::new().create(true).append(true).open(path)?)))
    }

    pub(crate) fn write(&self, at: Timestamp, job: &str, target: &str, problem: &str) {
        let line = serde_json::json!({
            "time": at.as_secs_f64(),
            "level": "ERROR",
            "msg": problem,
            "job_name": job,
            "target": target,
        });
        if let Err(error) = self.0.lock().write_all(format!("{line}\n").as_bytes()) {
            tracing::error!(%error, "writing the scrape failure log");
        }
    }
}
