//! The example `server` as a process: its flags, its signals, its end.

use std::process::Command;

use crate::program::{Program, example};

#[test]
fn wrong_flags_are_refused() {
    for (flag, complaint) in [
        ("--nothing", "unexpected argument '--nothing'"),
        ("--query.timeout=fast", "invalid value 'fast' for '--query.timeout"),
        ("--log.level=loud", "must be one of debug, info, warn, error"),
        ("--web.max-connections=0", "number would be zero for non-zero type"),
        ("--storage.tsdb.wal-segment-size=1MB", "must be set between 10MB and 256MB"),
    ] {
        let output = Command::new(example("server")).arg(flag).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(complaint), "{error}");
    }
}

#[test]
fn a_wrong_configuration_keeps_the_server_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prometheus.yml");
    std::fs::write(&file, "scrape_config: []\n").unwrap();
    let output = Command::new(example("server"))
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg("--web.listen-address=127.0.0.1:0")
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("line 1: field scrape_config not found in type config.plain"), "{error}");
}

#[test]
fn hangup_reloads_and_termination_ends_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prometheus.yml");
    std::fs::write(&file, "scrape_configs: []\n").unwrap();
    let server = Program::start(folder.path(), &[]);
    std::fs::write(&file, "scrape_configs: [{job_name: new}]\n").unwrap();
    server.signal("HUP");
    while !server.get("/api/v1/scrape_pools").1.contains("new") {
        std::thread::yield_now();
    }
    server.signal("TERM");
    assert_eq!(server.ended(), Some(0));
}
