//! The host collector beside the real node_exporter.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use ferula_exposition::collect::host::{
    COLLECTORS, FILESYSTEM_TYPES_EXCLUDED, Filter, HostTimeZone, MOUNT_POINTS_EXCLUDED,
};
use ferula_exposition::collect::{HostCollector, HostOptions, ProcessCollector};
use ferula_exposition::{Format, MetricFamily, ParseOptions, Registry, encode, read_families};
use ferula_model::{ManualClock, SystemClock, Timestamp};

/// A program that is ended with the test.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the real node_exporter says, if it is there.
fn real_node_exporter() -> Option<Vec<MetricFamily>> {
    let Some(peers) = std::env::var_os("FERULA_PEERS") else {
        println!("FERULA_PEERS is not set: not compared with node_exporter");
        return None;
    };
    let program = PathBuf::from(peers).join("prometheus-node-exporter");
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = Command::new(program);
    command.arg(format!("--web.listen-address={address}")).arg("--collector.disable-defaults");
    command.arg("--collector.textfile.directory=/nonexistent");
    // Some distributions change these two.
    command.arg(format!("--collector.filesystem.mount-points-exclude={MOUNT_POINTS_EXCLUDED}"));
    command.arg(format!("--collector.filesystem.fs-types-exclude={FILESYSTEM_TYPES_EXCLUDED}"));
    command.args(COLLECTORS.map(|collector| format!("--collector.{collector}")));
    command.args(["--collector.cpu.info", "--collector.stat.softirq"]);
    command.args(["--collector.cpu.info.flags-include=.*", "--collector.cpu.info.bugs-include=.*"]);
    let mut peer = Peer(command.stderr(Stdio::piped()).spawn().unwrap());
    let mut log = BufReader::new(peer.0.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("TLS is disabled") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "node_exporter ended");
    }
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).unwrap();
    let start = response.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    Some(read_families(&response[start..], Format::Text, &ParseOptions::default()).unwrap())
}

/// Name, type and labels of everything that the fifteen collectors say.
fn series(families: &[MetricFamily]) -> BTreeSet<String> {
    let of_collectors = families.iter().filter(|family| family.name.starts_with("node_"));
    of_collectors
        .filter(|family| &*family.name != "node_exporter_build_info")
        .flat_map(|family| {
            let told = |metric: &ferula_exposition::Metric| {
                // Where a file of the queue cannot be read, node_exporter says 0, whatever `rotational` says.
                let labels = metric.labels.without(&["rotational"]);
                format!("{} {} {labels}", family.name, family.metric_type.as_str())
            };
            family.metrics.iter().map(told).collect::<Vec<_>>()
        })
        .collect()
}

/// What only we say, and why.
const EXPLAINED_EXTRA: [(&str, &str); 1] =
    [("node_cpu_frequency_hertz", "node_exporter says it if cpufreq runs as well, which is none of the fifteen")];

#[test]
fn names_types_and_labels_are_those_of_node_exporter() {
    let Some(real) = real_node_exporter() else { return };
    let every = || Filter::new(Some(".*"), None).ok();
    let options = HostOptions {
        textfile_folders: vec!["/nonexistent".into()],
        cpu_info: true,
        cpu_flags: every(),
        cpu_bugs: every(),
        softirqs: true,
        ..HostOptions::default()
    };
    let registry = Registry::new();
    registry.collector(Arc::new(HostCollector::new(options, Arc::new(SystemClock))));
    let ours = registry.gather();
    let mut body = Vec::new();
    encode(&ours, Format::Text, &mut body);
    let ours = read_families(&body, Format::Text, &ParseOptions::default()).unwrap();
    let (ours, real) = (series(&ours), series(&real));
    let missing: Vec<_> = real.difference(&ours).collect();
    let explained = |line: &String| EXPLAINED_EXTRA.iter().any(|(name, _)| line.starts_with(&format!("{name} ")));
    let extra: Vec<_> = ours.difference(&real).filter(|line| !explained(line)).collect();
    assert!(real.len() > 150, "{}", real.len());
    assert!(missing.is_empty() && extra.is_empty(), "missing {missing:#?}, extra {extra:#?}");
}

#[test]
fn the_process_has_the_names_of_the_real_one() {
    let Some(real) = real_node_exporter() else { return };
    let registry = Registry::new();
    registry.collector(Arc::new(ProcessCollector::default()));
    let told = |families: &[MetricFamily]| {
        let of_process = families.iter().filter(|family| family.name.starts_with("process_"));
        of_process.map(|family| (family.name.to_string(), family.metric_type)).collect::<BTreeSet<_>>()
    };
    let (ours, real) = (told(&registry.gather()), told(&real));
    assert_eq!(real.difference(&ours).collect::<Vec<_>>(), Vec::<&(String, _)>::new());
    let extra: Vec<_> = ours.difference(&real).map(|(name, _)| name.as_str()).collect();
    assert_eq!(extra, ["process_threads"], "of the Rust client");
}

#[test]
fn another_root_can_be_read() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/host");
    let options = HostOptions {
        proc: root.join("proc"),
        sys: root.join("sys"),
        udev: root.join("udev"),
        textfile_folders: vec![root.join("textfile")],
        disks: Filter::new(Some("^sd"), Some("^sdb$")).unwrap(),
        cpu_info: true,
        ..HostOptions::default()
    };
    let collectors = [
        "cpu",
        "diskstats",
        "loadavg",
        "meminfo",
        "netdev",
        "netstat",
        "sockstat",
        "stat",
        "textfile",
        "time",
        "vmstat",
        "pressure",
    ];
    let clock = Arc::new(ManualClock::at(Timestamp(1_700_000_000_000)));
    let registry = Registry::new();
    registry.collector(Arc::new(HostCollector::new(options.only(collectors), clock)));
    let mut body = Vec::new();
    encode(&registry.gather(), Format::Text, &mut body);
    let said = String::from_utf8(body).unwrap();
    let expected = std::fs::read_to_string(root.join("expected.prom")).unwrap();
    let keep = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("node_textfile_mtime"));
        lines.filter(|line| !line.contains("page_size")).map(str::to_owned).collect::<Vec<_>>()
    };
    let (said, expected) = (keep(&said), keep(&expected));
    let missing: Vec<_> = expected.iter().filter(|line| !said.contains(line)).collect();
    let extra: Vec<_> = said.iter().filter(|line| !expected.contains(line)).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing {missing:#?}, extra {extra:#?}");
}

/// What the collectors say about the fixture, or about `proc` elsewhere.
fn told(options: HostOptions, collectors: &[&str]) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/host");
    let options = HostOptions { proc: root.join("proc"), sys: root.join("sys"), ..options };
    let clock = Arc::new(ManualClock::at(Timestamp(1_700_000_000_000)));
    let registry = Registry::new();
    registry.collector(Arc::new(HostCollector::new(options.only(collectors.iter().copied()), clock)));
    let mut body = Vec::new();
    encode(&registry.gather(), Format::Text, &mut body);
    String::from_utf8(body).unwrap()
}

#[test]
fn a_file_that_describes_a_family_in_another_way_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for (file, body) in [
        ("a/1.prom", "# HELP m First.\n# TYPE m gauge\nm{f=\"a\"} 1\n"),
        ("b/2.prom", "# HELP m Second.\n# TYPE m gauge\nm{f=\"b\"} 2\n"),
        ("b/3.prom", "# TYPE m gauge\nm{f=\"c\"} 3\n"),
        ("other/4.prom", "unread 1\n"),
    ] {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, body).unwrap();
    }
    let options = HostOptions { textfile_folders: vec![folder.path().join("?")], ..HostOptions::default() };
    let said = told(options, &["textfile"]);
    let lines: Vec<_> = said.lines().filter(|line| line.starts_with("# HELP m ") || line.starts_with("m{")).collect();
    assert_eq!(lines, ["# HELP m First.", "m{f=\"a\"} 1", "m{f=\"c\"} 3"]);
    assert!(said.contains("node_textfile_scrape_error 1\n") && !said.contains("unread"));
    assert_eq!(said.matches("node_textfile_mtime_seconds{").count(), 3);
}

#[test]
fn what_is_told_on_request_only() {
    let any = || Filter::new(None, None).ok();
    let options = HostOptions {
        cpu_info: true,
        cpu_flags: Filter::new(Some("^aes$"), None).ok(),
        cpu_bugs: any(),
        softirqs: true,
        time_zone: HostTimeZone::Fixed { name: "CET".to_owned(), offset_seconds: 3600 },
        ..HostOptions::default()
    };
    let said = told(options, &["cpu", "stat", "time"]);
    for line in [
        "node_cpu_flag_info{flag=\"aes\"} 1",
        "node_cpu_bug_info{bug=\"spectre_v1\"} 1",
        "node_softirqs_total{vector=\"hi\"} 3",
        "node_softirqs_total{vector=\"rcu\"} 852150",
        "node_time_zone_offset_seconds{time_zone=\"CET\"} 3600",
    ] {
        assert!(said.lines().any(|said| said == line), "{line}\n{said}");
    }
    assert!(!said.contains("flag=\"avx\""));
    let silent = told(HostOptions::default(), &["cpu", "stat"]);
    assert!(!silent.contains("softirqs") && !silent.contains("node_cpu_info"));
}
