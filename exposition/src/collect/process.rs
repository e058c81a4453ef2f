//! The process collector: processor time, memory, files and network of this process, from Linux' proc.
//!
//! Names and meanings are those of Prometheus' Go client, so dashboards made for it work.

use std::fs;
use std::path::{Path, PathBuf};

use super::Families;
use crate::family::MetricFamily;
use crate::registry::Collect;

/// Metrics of a process under the names that every Prometheus client uses: `process_cpu_seconds_total`,
/// `process_resident_memory_bytes` and so on.
///
/// ```
/// use std::sync::Arc;
/// use ferula_exposition::Registry;
/// use ferula_exposition::collect::ProcessCollector;
///
/// let registry = Registry::new();
/// registry.collector(Arc::new(ProcessCollector::default()));
/// let names: Vec<_> = registry.gather().iter().map(|family| family.name.to_string()).collect();
/// # #[cfg(target_os = "linux")]
/// assert!(names.contains(&"process_cpu_seconds_total".to_owned()));
/// ```
#[derive(Clone, Debug)]
pub struct ProcessCollector {
    proc: PathBuf,
    process: String,
}

impl Default for ProcessCollector {
    /// This process, in `/proc`.
    fn default() -> Self {
        Self::new("/proc")
    }
}

impl ProcessCollector {
    /// This process, in a proc file system mounted at `proc`.
    pub fn new(proc: impl Into<PathBuf>) -> Self {
        Self { proc: proc.into(), process: "self".to_owned() }
    }

    /// Another process.
    pub fn of(mut self, pid: u32) -> Self {
        self.process = pid.to_string();
        self
    }
}

impl Collect for ProcessCollector {
    fn collect(&self, out: &mut Vec<MetricFamily>) {
        let mut families = Families::default();
        let root = self.proc.join(&self.process);
        stat(&self.proc, &root, &mut families);
        open_files(&root, &mut families);
        limits(&root, &mut families);
        network(&root, &mut families);
        out.extend(families.into_families());
    }
}

fn stat(proc: &Path, root: &Path, out: &mut Families) {
    let Ok(text) = fs::read_to_string(root.join("stat")) else { return };
    // The command stands in parentheses and may itself hold some.
    let Some((_, rest)) = text.rsplit_once(')') else { return };
    let fields: Vec<f64> = rest.split_ascii_whitespace().map(|field| field.parse().unwrap_or(0.0)).collect();
    // Numbers as in proc(5), where the state, our first field, is 3.
    let field = |number: usize| fields.get(number - 3).copied().unwrap_or(0.0);
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let page = rustix::param::page_size() as f64;
    let seconds = (field(14) + field(15)) / ticks;
    out.counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", &[], seconds);
    out.gauge("process_threads", "Number of OS threads in the process.", &[], field(20));
    out.gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", &[], field(23));
    out.gauge("process_resident_memory_bytes", "Resident memory size in bytes.", &[], field(24) * page);
    if let Some(boot) = boot_time(proc) {
        let help = "Start time of the process since unix epoch in seconds.";
        out.gauge("process_start_time_seconds", help, &[], boot + field(22) / ticks);
    }
}

fn boot_time(proc: &Path) -> Option<f64> {
    let text = fs::read_to_string(proc.join("stat")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn open_files(root: &Path, out: &mut Families) {
    if let Ok(entries) = fs::read_dir(root.join("fd")) {
        out.gauge("process_open_fds", "Number of open file descriptors.", &[], entries.count() as f64);
    }
}

fn limits(root: &Path, out: &mut Families) {
    let Ok(text) = fs::read_to_string(root.join("limits")) else { return };
    let soft = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        match line.split_ascii_whitespace().next()? {
            "unlimited" => Some(u64::MAX as f64),
            number => number.parse().ok(),
        }
    };
    if let Some(files) = soft("Max open files") {
        out.gauge("process_max_fds", "Maximum number of open file descriptors.", &[], files);
    }
    if let Some(bytes) = soft("Max address space") {
        let help = "Maximum amount of virtual memory available in bytes.";
        out.gauge("process_virtual_memory_max_bytes", help, &[], bytes);
    }
}

/// What the network namespace of the process received and sent.
fn network(root: &Path, out: &mut Families) {
    let Ok(text) = fs::read_to_string(root.join("net/netstat")) else { return };
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("IpExt: "));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else { return };
    let value = |wanted: &str| {
        let mut pairs = names.split_ascii_whitespace().zip(values.split_ascii_whitespace());
        pairs.find(|(name, _)| *name == wanted)?.1.parse::<f64>().ok()
    };
    if let Some(bytes) = value("InOctets") {
        let help = "Number of bytes received by the process over the network.";
        out.counter("process_network_receive_bytes_total", help, &[], bytes);
    }
    if let Some(bytes) = value("OutOctets") {
        let help = "Number of bytes sent by the process over the network.";
        out.counter("process_network_transmit_bytes_total", help, &[], bytes);
    }
}
