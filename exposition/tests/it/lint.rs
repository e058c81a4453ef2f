//! The naming rules beside those of the real promtool.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use ferula_exposition::{Format, ParseOptions, lint, read_families};

use crate::conformance::{folder, paths};

fn ours(body: &[u8]) -> Vec<String> {
    let families = read_families(body, Format::Text, &ParseOptions::default()).unwrap();
    lint(&families).iter().map(ToString::to_string).collect()
}

/// Each body breaks some rules; all of it stands in one line of names and one of expectations.
const BODIES: &[(&str, &[&str])] = &[
    ("# HELP a_total x\n# TYPE a_total counter\na_total 1\n", &[]),
    ("a 1\n", &["a no help text"]),
    ("# HELP a x\n# TYPE a counter\na 1\n", &["a counter metrics should have \"_total\" suffix"]),
    (
        "# HELP a_total x\n# TYPE a_total gauge\na_total 1\n",
        &["a_total non-counter metrics should not have \"_total\" suffix"],
    ),
    ("# HELP a_total x\n# TYPE a_total untyped\na_total 1\n", &[]),
    (
        "# HELP a_minutes x\n# TYPE a_minutes gauge\na_minutes 1\n",
        &["a_minutes use base unit \"seconds\" instead of \"minutes\""],
    ),
    (
        "# HELP a_kilobytes_x x\n# TYPE a_kilobytes_x gauge\na_kilobytes_x 1\n",
        &["a_kilobytes_x use base unit \"bytes\" instead of \"kilobytes\""],
    ),
    ("# HELP a_metres x\n# TYPE a_metres gauge\na_metres 1\n", &[]),
    ("# HELP a_bytes_minutes x\n# TYPE a_bytes_minutes gauge\na_bytes_minutes 1\n", &[]),
    ("# HELP a_ms x\n# TYPE a_ms gauge\na_ms 1\n", &["a_ms metric names should not contain abbreviated units"]),
    (
        "# HELP a_sec_b x\n# TYPE a_sec_b gauge\na_sec_b 1\n",
        &["a_sec_b metric names should not contain abbreviated units"],
    ),
    ("# HELP a_gauge x\n# TYPE a_gauge gauge\na_gauge 1\n", &["a_gauge metric name should not include type 'gauge'"]),
    (
        "# HELP a_Gauge_x x\n# TYPE a_Gauge_x gauge\na_Gauge_x 1\n",
        &["a_Gauge_x metric name should not include type 'gauge'"],
    ),
    ("# HELP a_histogram x\n# TYPE a_histogram gauge\na_histogram 1\n", &[]),
    ("# HELP counter_a x\n# TYPE counter_a gauge\ncounter_a 1\n", &[]),
    ("# HELP a:b x\n# TYPE a:b gauge\na:b 1\n", &["a:b metric names should not contain ':'"]),
    (
        "# HELP aB x\n# TYPE aB gauge\naB{cD=\"1\"} 1\n",
        &[
            "aB label names should be written in 'snake_case' not 'camelCase'",
            "aB metric names should be written in 'snake_case' not 'camelCase'",
        ],
    ),
    (
        "# HELP a_bucket x\n# TYPE a_bucket gauge\na_bucket{le=\"1\"} 1\n",
        &[
            "a_bucket non-histogram metrics should not have \"_bucket\" suffix",
            "a_bucket non-histogram metrics should not have \"le\" label",
        ],
    ),
    (
        "# HELP a_count x\n# TYPE a_count gauge\na_count 1\n",
        &["a_count non-histogram and non-summary metrics should not have \"_count\" suffix"],
    ),
    (
        "# HELP a_sum x\n# TYPE a_sum gauge\na_sum{quantile=\"1\"} 1\n",
        &[
            "a_sum non-histogram and non-summary metrics should not have \"_sum\" suffix",
            "a_sum non-summary metrics should not have \"quantile\" label",
        ],
    ),
    ("# HELP a_count x\n# TYPE a_count untyped\na_count{le=\"1\"} 1\n", &[]),
    ("# HELP a x\n# TYPE a histogram\na_bucket{le=\"1\"} 1\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n", &[]),
    ("# HELP a x\n# TYPE a summary\na{quantile=\"1\"} 1\na_sum 1\na_count 1\n", &[]),
    ("# HELP a x\n# TYPE a gauge\na{b=\"1\"} 1\na{b=\"1\"} 2\n", &["a metric not unique"]),
];

#[test]
fn every_rule_finds_what_breaks_it_and_nothing_else() {
    for (body, expected) in BODIES {
        assert_eq!(ours(body.as_bytes()), *expected, "{body}");
    }
}

#[test]
fn promtool_finds_the_same() {
    let Some(peers) = std::env::var_os("FERULA_PEERS") else {
        println!("FERULA_PEERS is not set: not compared with promtool");
        return;
    };
    let promtool = PathBuf::from(peers).join("promtool");
    let mut bodies: Vec<Vec<u8>> = BODIES.iter().map(|(body, _)| body.as_bytes().to_vec()).collect();
    let scrapes = folder("scrapes").map(|folder| paths(&folder)).unwrap_or_default();
    let texts = scrapes.iter().filter(|path| path.extension().is_some_and(|extension| extension == "text"));
    bodies.extend(texts.map(|path| std::fs::read(path).unwrap()));
    // A body with every name that the others have, under every type.
    for word in ["counter", "gauge", "untyped", "summary", "histogram"] {
        let names =
            ["a_total", "a_count", "a_sum", "a_bucket", "a_days", "a_m", "a_summary", "a_gauge_histogram", "a_volts"];
        for name in names {
            let parts = match word {
                "summary" => format!("{name}_sum 1\n{name}_count 1\n"),
                "histogram" => format!("{name}_bucket{{le=\"+Inf\"}} 1\n{name}_sum 1\n{name}_count 1\n"),
                _ => format!("{name} 1\n"),
            };
            bodies.push(format!("# HELP {name} x\n# TYPE {name} {word}\n{parts}").into_bytes());
        }
    }
    for body in bodies {
        let mut command = Command::new(&promtool);
        command.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(&body).unwrap();
        let said = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
        let mut theirs: Vec<_> = said.lines().map(str::to_owned).collect();
        theirs.sort();
        theirs.dedup();
        assert_eq!(ours(&body), theirs, "{}", String::from_utf8_lossy(&body));
    }
}
