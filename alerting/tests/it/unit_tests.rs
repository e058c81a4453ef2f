//! Unit tests of rules: our own under `testdata/unit`, and those of `promtool`.

use std::path::{Path, PathBuf};

use ferula_alerting::testing::{Options, run_file};

fn ours(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/unit").join(name)
}

#[test]
fn what_holds_passes() {
    let report = run_file(ours("passes.yml"), &Options::default()).unwrap();
    assert!(report.failures.is_empty(), "{report}");
    assert_eq!(report.tests, 3);
}

#[test]
fn what_does_not_hold_is_said_in_promtools_words() {
    let report = run_file(ours("fails.yml"), &Options::default()).unwrap();
    let expected = std::fs::read_to_string(ours("fails.txt")).unwrap();
    assert_eq!(report.to_string(), expected.trim_end_matches('\n'));
    let only = Options { only: vec!["alerts".to_owned()], ..Options::default() };
    assert_eq!(run_file(ours("fails.yml"), &only).unwrap().tests, 1);
}

#[test]
fn files_that_cannot_be_run_say_why() {
    let folder = tempfile::tempdir().unwrap();
    for (text, expected) in [
        ("rule_files: [none.yml]", "none.yml: "),
        ("rule_files: ['*/x.yml']", "*/x.yml: only the last element of a path may have a *"),
        ("tests: [{interval: 1x}]", "yaml: unmarshal errors:\n  line 1: not a valid duration string: \"1x\""),
        ("group_eval_order: [a, a]", "group name repeated in evaluation order: a"),
        ("testz: []", "yaml: unmarshal errors:\n  line 1: field testz not found in type main.unitTestFile"),
        (
            "tests: [{start_timestamp: soon}]",
            "yaml: unmarshal errors:\n  line 1: cannot parse \"soon\" to a valid timestamp",
        ),
    ] {
        let path = folder.path().join("test.yml");
        std::fs::write(&path, text).unwrap();
        let error = run_file(&path, &Options::default()).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

/// The test files of `promtool`, if `FERULA_CONFORMANCE` names the folder of upstream's data.
#[test]
fn promtools_own_files() {
    let Some(folder) = std::env::var_os("FERULA_CONFORMANCE") else {
        println!("FERULA_CONFORMANCE is not set: promtool's test files are not run");
        return;
    };
    for (name, failures) in [
        ("unittest.yml", 0),
        ("at-modifier-test.yml", 0),
        ("negative-offset-test.yml", 0),
        ("long-period.yml", 0),
        ("no-test-group-interval.yml", 0),
        ("start-time-test.yml", 0),
        ("bad-promql.yml", 1),
        ("bad-rules-error-test.yml", 1),
        ("rules_run.yml", 1),
        ("rules_run_fuzzy.yml", 2),
        ("rules_run_no_fuzzy.yml", 2),
    ] {
        let report = run_file(Path::new(&folder).join("promtool").join(name), &Options::default()).unwrap();
        assert_eq!(report.failures.len(), failures, "{name}: {report}");
    }
    for name in ["bad-rules-syntax-test.yml", "rules_run_extrafields.yml"] {
        assert!(run_file(Path::new(&folder).join("promtool").join(name), &Options::default()).is_err(), "{name}");
    }
    let failing = run_file(Path::new(&folder).join("promtool/failing.yml"), &Options::default()).unwrap();
    assert!(!failing.failures.is_empty());
}
