//! Requests of all kinds, right and wrong: paths, methods, parameters, headers. Runs `testdata/requests.txt`.

use std::io::ErrorKind;
use std::path::Path;

use serde_json::Value;

use crate::program::{Answer, Program};

/// What is compared of the headers: everything that a client acts upon.
const HEADERS: [&str; 10] = [
    "allow",
    "location",
    "content-type",
    "content-encoding",
    "x-content-type-options",
    "access-control-allow-origin",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-expose-headers",
    "x-prometheus-stopping",
];

const CONFIG: &str = "
global: {scrape_interval: 1h, external_labels: {region: eu}}
rule_files: [rules.yml]
scrape_configs:
- job_name: gone
  static_configs: [{targets: ['127.0.0.1:1']}]
";

const RULES: &str = "
groups:
- name: a
  interval: 1h
  rules:
  - {record: 'a:b', expr: vector(1), labels: {team: x}}
  - {alert: Down, expr: 'up == 0', for: 5m, labels: {severity: page}}
- name: b
  interval: 1h
  rules:
  - {record: 'b:b', expr: vector(1)}
";

#[test]
fn requests_are_answered_as_a_real_prometheus_does() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let divergences = read("DIVERGENCES.md").split_whitespace().collect::<Vec<_>>().join(" ");
    let mut wrong = Vec::new();
    let mut count = 0;
    for section in read("testdata/requests.txt").split("\n=== ").skip(1) {
        let (flags, requests) = section.split_once('\n').unwrap();
        let flags: Vec<&str> = flags.split_whitespace().collect();
        let (ours_folder, theirs_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for folder in [&ours_folder, &theirs_folder] {
            std::fs::write(folder.path().join("prometheus.yml"), CONFIG).unwrap();
            std::fs::write(folder.path().join("rules.yml"), RULES).unwrap();
        }
        let Some(theirs) = Program::start_prometheus(theirs_folder.path(), &flags) else { return };
        let ours = Program::start(ours_folder.path(), &flags);
        let mut must_agree = true;
        for line in requests.lines().filter(|line| !line.trim().is_empty()) {
            if let Some(kind) = line.strip_prefix("--- ") {
                must_agree = kind == "same";
                if let Some(reason) = kind.strip_prefix("differs: ") {
                    assert!(divergences.contains(reason), "DIVERGENCES.md says nothing like: {reason}");
                }
                continue;
            }
            count += 1;
            let (ours, theirs) = (told(&ask(&ours, line, 1)), told(&ask(&theirs, line, 100)));
            if must_agree != (ours == theirs) {
                wrong.push(format!("{} {line}\n  ours   {ours}\n  theirs {theirs}", flags.join(" ")));
            }
        }
    }
    assert!(count > 400, "the requests were found");
    assert!(wrong.is_empty(), "{} of {count} answers are not as they should:\n{}", wrong.len(), wrong.join("\n"));
}

/// Sends `METHOD path | Header: value | body=text`, at most so many times: Go may close a connection whose body it has not
/// read, and what it answered is lost then.
fn ask(server: &Program, line: &str, times: usize) -> Answer {
    let (method, rest) = line.split_once(' ').unwrap();
    let mut parts = rest.split(" | ");
    let path = parts.next().unwrap();
    let (mut headers, mut body) = (Vec::new(), "");
    for part in parts {
        match part.strip_prefix("body=") {
            Some(text) => body = text,
            None => headers.push(part.split_once(": ").unwrap()),
        }
    }
    let was_reset =
        |answer: &std::io::Result<Answer>| matches!(answer, Err(error) if error.kind() == ErrorKind::ConnectionReset);
    let mut answers = (0..times).map(|_| server.exchange(method, path, &headers, body.as_bytes()));
    let answer = answers.find(|answer| !was_reset(answer)).unwrap_or_else(|| panic!("{line}: reset each time"));
    answer.unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// What an answer says, without what is another thing each time: of a success only that it is one.
fn told(answer: &Answer) -> String {
    let mut told = answer.status.to_string();
    for name in HEADERS {
        if let Some(value) = answer.header(name) {
            told.push_str(&format!(" [{name}: {value}]"));
        }
    }
    if answer.headers.iter().any(|(name, value)| name == "vary" && value == "Origin") {
        told.push_str(" [vary: Origin]");
    }
    let is_json = answer.header("content-type") == Some("application/json");
    match serde_json::from_slice::<Value>(&answer.body) {
        Ok(json) if is_json && json["status"] == "error" => {
            told + &format!(" {}: {}", json["errorType"], json["error"])
        }
        Ok(_) if is_json => told,
        _ if answer.status == 200 || answer.header("content-encoding").is_some() => told,
        _ => told + " " + &String::from_utf8_lossy(&answer.body),
    }
}
