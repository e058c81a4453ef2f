//! The host collector: a node exporter in a struct.
//!
//! Fifteen collectors of node_exporter with its names, types and labels, each a function from files below proc and sys to
//! families. One that fails says so in `node_scrape_collector_success` and does not keep the others from answering.
//!
//! The readers are our own rather than those of the `procfs` crate (0.18): that one has none for the kernel's TCP extensions and
//! socket statistics, its struct types drop fields that are newer than they are, where node_exporter tells whatever the kernel
//! has under the kernel's names, and several of its functions read `/proc` wherever proc is mounted. In a cold build it costs
//! 6 s of processor time more.
//!
//! Source: node_exporter 1.11 and 1.12 on Linux.

mod cpu;
mod disk;
mod filesystem;
mod kernel;
mod memory;
mod network;
mod source;
mod textfile;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ferula_model::{Clock, MatchOp, Matcher, RegexError, Timestamp};
use parking_lot::Mutex;

use super::Families;
use crate::family::MetricFamily;
use crate::registry::Collect;
use source::{Failure, Source};

/// Metrics of the machine, as node_exporter has them.
///
/// ```
/// use std::sync::Arc;
/// use ferula_exposition::Registry;
/// use ferula_exposition::collect::{HostCollector, HostOptions};
/// use ferula_model::SystemClock;
///
/// let options = HostOptions::default().only(["loadavg", "meminfo"]);
/// let registry = Registry::new();
/// registry.collector(Arc::new(HostCollector::new(options, Arc::new(SystemClock))));
/// # #[cfg(target_os = "linux")]
/// assert!(registry.gather().iter().any(|family| &*family.name == "node_load1"));
/// ```
#[derive(Debug)]
pub struct HostCollector {
    options: HostOptions,
    clock: Arc<dyn Clock>,
    /// Processor times of the last gathering, because the kernel sometimes steps back.
    processors: Mutex<cpu::Times>,
    /// File systems that did not answer in time, and have not since.
    stuck: filesystem::Stuck,
}

/// A time zone.
///
/// ```
/// use ferula_exposition::collect::host::{HostOptions, HostTimeZone};
///
/// let time_zone = HostTimeZone::Fixed { name: "UTC".to_owned(), offset_seconds: 0 };
/// let options = HostOptions { time_zone, ..HostOptions::default() };
/// # let _ = options;
/// ```
#[derive(Clone, Debug)]
pub enum HostTimeZone {
    /// What the system says, as it is at the moment: `TZ`, or `/etc/localtime`. UTC if it says nothing.
    System,
    /// Always this one.
    Fixed {
        /// Its short name, `CET` for instance.
        name: String,
        /// Seconds east of Greenwich.
        offset_seconds: i32,
    },
}

impl HostTimeZone {
    /// Short name and offset in seconds.
    fn at(&self, now: Timestamp) -> (String, f64) {
        match self {
            Self::System => {
                let zone = jiff::tz::TimeZone::try_system().unwrap_or(jiff::tz::TimeZone::UTC);
                let now = jiff::Timestamp::from_millisecond(now.as_millis()).unwrap_or_default();
                let info = zone.to_offset_info(now);
                (info.abbreviation().to_owned(), f64::from(info.offset().seconds()))
            }
            Self::Fixed { name, offset_seconds } => (name.clone(), f64::from(*offset_seconds)),
        }
    }
}

/// What is collected, and from where.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// Where proc is mounted; `/proc`.
    pub proc: PathBuf,
    /// Where sys is mounted; `/sys`.
    pub sys: PathBuf,
    /// Where the host's root file system is mounted, as a container sees it; `/`.
    pub root: PathBuf,
    /// Where udev keeps what it knows about devices; `/run/udev/data`.
    pub udev: PathBuf,
    /// Names of the collectors that run; all of [`COLLECTORS`].
    pub collectors: Vec<String>,
    /// Mount points that are looked at.
    pub mount_points: Filter,
    /// Types of file systems that are looked at.
    pub filesystem_types: Filter,
    /// Block devices that are looked at.
    pub disks: Filter,
    /// Network devices that are looked at; all.
    pub network_devices: Filter,
    /// Fields of `/proc/vmstat` that are kept.
    pub vmstat_fields: Filter,
    /// Fields of `/proc/net/{netstat,snmp,snmp6}` that are kept, as `<protocol>_<name>`.
    pub netstat_fields: Filter,
    /// Folders with `*.prom` files; none. `*` and `?` in a name stand for any characters and for any one.
    pub textfile_folders: Vec<PathBuf>,
    /// Whether `node_cpu_info` and `node_cpu_frequency_hertz` are told; they are not.
    pub cpu_info: bool,
    /// Which flags of the processor are told with its info, as `node_cpu_flag_info`; none.
    pub cpu_flags: Option<Filter>,
    /// Which bugs of the processor are told with its info, as `node_cpu_bug_info`; none.
    pub cpu_bugs: Option<Filter>,
    /// Whether `node_softirqs_total` is told; it is not.
    pub softirqs: bool,
    /// The time zone of `node_time_zone_offset_seconds`; that of the system.
    pub time_zone: HostTimeZone,
    /// How long a file system may take to answer before it is told as stuck; 5 seconds.
    pub mount_timeout: Duration,
}

/// The names of the collectors.
pub const COLLECTORS: [&str; 15] = [
    "cpu",
    "diskstats",
    "filefd",
    "filesystem",
    "loadavg",
    "meminfo",
    "netdev",
    "netstat",
    "pressure",
    "sockstat",
    "stat",
    "textfile",
    "time",
    "uname",
    "vmstat",
];

/// Mount points that are not looked at unless the options say otherwise.
pub const MOUNT_POINTS_EXCLUDED: &str =
    "^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)";
/// Types of file systems that are not looked at unless the options say otherwise.
pub const FILESYSTEM_TYPES_EXCLUDED: &str = "^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|\
     hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs)$";
const DISKS_EXCLUDED: &str = r"^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$";
const VMSTAT_FIELDS: &str = "^(oom_kill|pgpg|pswp|pg.*fault).*";
const NETSTAT_FIELDS: &str = "^(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|\
     Icmp6?_(InMsgs|OutMsgs)|TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts|TCPOFOQueue|TCPRcvQDrop)|\
     Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab)|\
     Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))$";

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            proc: "/proc".into(),
            sys: "/sys".into(),
            root: "/".into(),
            udev: "/run/udev/data".into(),
            collectors: COLLECTORS.map(str::to_owned).to_vec(),
            mount_points: Filter::preset(None, Some(MOUNT_POINTS_EXCLUDED)),
            filesystem_types: Filter::preset(None, Some(FILESYSTEM_TYPES_EXCLUDED)),
            disks: Filter::preset(None, Some(DISKS_EXCLUDED)),
            network_devices: Filter::default(),
            vmstat_fields: Filter::preset(Some(VMSTAT_FIELDS), None),
            netstat_fields: Filter::preset(Some(NETSTAT_FIELDS), None),
            textfile_folders: Vec::new(),
            cpu_info: false,
            cpu_flags: None,
            cpu_bugs: None,
            softirqs: false,
            time_zone: HostTimeZone::System,
            mount_timeout: Duration::from_secs(5),
        }
    }
}

impl HostOptions {
    /// Only these collectors; unknown names do nothing.
    pub fn only<'a>(mut self, collectors: impl IntoIterator<Item = &'a str>) -> Self {
        self.collectors = collectors.into_iter().map(str::to_owned).collect();
        self
    }
}

/// Which names are looked at: those that match `include`, if there is one, and do not match `exclude`.
///
/// ```
/// use ferula_exposition::collect::host::{Filter, HostOptions};
///
/// let network_devices = Filter::new(None, Some("^(veth|docker)"))?;
/// assert!(network_devices.keeps("eth0") && !network_devices.keeps("veth7"));
/// let options = HostOptions { network_devices, ..HostOptions::default() };
/// # let _ = options;
/// # Ok::<(), ferula_model::RegexError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Filter {
    include: Option<Matcher>,
    exclude: Option<Matcher>,
}

impl Filter {
    /// A filter of two regular expressions, which match anywhere in the name unless they say `^` and `$`, as those in
    /// node_exporter's flags do.
    ///
    /// # Errors
    ///
    /// One of them is no regular expression.
    pub fn new(include: Option<&str>, exclude: Option<&str>) -> Result<Self, RegexError> {
        let matcher = |pattern: &str| Matcher::new(MatchOp::Regex, "name", format!(".*(?:{pattern}).*"));
        Ok(Self { include: include.map(matcher).transpose()?, exclude: exclude.map(matcher).transpose()? })
    }

    fn preset(include: Option<&str>, exclude: Option<&str>) -> Self {
        // The presets above are regular expressions; a test looks at each.
        Self::new(include, exclude).unwrap_or_default()
    }

    /// Whether a name is looked at.
    pub fn keeps(&self, name: &str) -> bool {
        self.include.as_ref().is_none_or(|include| include.matches(name))
            && !self.exclude.as_ref().is_some_and(|exclude| exclude.matches(name))
    }
}

impl HostCollector {
    /// A collector with these options. The clock tells the machine's time and how long each collector takes.
    pub fn new(options: HostOptions, clock: Arc<dyn Clock>) -> Self {
        Self { options, clock, processors: Mutex::default(), stuck: filesystem::Stuck::default() }
    }

    fn run(&self, collector: &str, out: &mut Families) -> Result<(), Failure> {
        let (options, source) = (&self.options, Source::new(&self.options));
        match collector {
            "cpu" => cpu::collect(&source, options, &mut self.processors.lock(), out),
            "diskstats" => disk::collect(&source, options, out),
            "filefd" => kernel::file_descriptors(&source, out),
            "filesystem" => filesystem::collect(&source, options, &self.stuck, out),
            "loadavg" => kernel::load(&source, out),
            "meminfo" => memory::meminfo(&source, out),
            "netdev" => network::devices(&source, &options.network_devices, out),
            "netstat" => network::protocols(&source, &options.netstat_fields, out),
            "pressure" => kernel::pressure(&source, out),
            "sockstat" => network::sockets(&source, out),
            "stat" => kernel::stat(&source, options.softirqs, out),
            "textfile" => textfile::collect(&options.textfile_folders, out),
            "time" => kernel::time(&source, &options.time_zone, self.clock.now(), out),
            "uname" => kernel::uname(out),
            "vmstat" => memory::vmstat(&source, &options.vmstat_fields, out),
            _ => Ok(()),
        }
    }
}

impl Collect for HostCollector {
    fn collect(&self, out: &mut Vec<MetricFamily>) {
        let mut about = Families::default();
        for collector in self.options.collectors.iter().filter(|name| COLLECTORS.contains(&name.as_str())) {
            let start = self.clock.now();
            let mut families = Families::default();
            let outcome = self.run(collector, &mut families);
            let seconds = self.clock.now().since(start).as_secs_f64();
            let labels = [("collector", collector.as_str())];
            let help = "Duration of a collector scrape.";
            about.gauge("node_scrape_collector_duration_seconds", help, &labels, seconds);
            let success = f64::from(u8::from(outcome.is_ok()));
            about.gauge("node_scrape_collector_success", "Whether a collector succeeded.", &labels, success);
            out.extend(families.into_families());
        }
        out.extend(about.into_families());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_regular_expressions_that_keep_and_drop() {
        let options = HostOptions::default();
        for (filter, kept, dropped) in [
            (&options.mount_points, "/home", "/sys/fs"),
            (&options.filesystem_types, "ext4", "cgroup2"),
            (&options.disks, "sda", "sda1"),
            (&options.vmstat_fields, "pgmajfault", "nr_free_pages"),
            (&options.netstat_fields, "TcpExt_ListenDrops", "TcpExt_TW"),
        ] {
            assert!(filter.keeps(kept), "{kept}");
            assert!(!filter.keeps(dropped), "{dropped}");
        }
    }
}
