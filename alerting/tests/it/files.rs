//! Rule files: our own under `testdata/files`, and those that upstream tests with.

use std::path::Path;

use ferula_alerting::rule::{RuleFile, RuleLanguage, Rules};

/// Each file is followed by the complaints about it, or by none.
#[test]
fn files_and_what_is_wrong_with_them() {
    let cases = include_str!("../../testdata/files.txt");
    for case in cases.trim_end().split("\n====\n") {
        let (text, expected) = case.split_once("\n----").unwrap_or_else(|| panic!("no result: {case}"));
        let problems = Rules::parse("f", text).err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(problems, expected.trim_start_matches('\n'), "{text}");
    }
}

#[test]
fn a_good_file_says_what_it_says() {
    let text = "
groups:
- name: a
  interval: 30s
  query_offset: 0s
  limit: 7
  labels: {team: x}
  rules:
  - record: a:b
    expr: sum  (x)
    labels: {gone: ''}
  - &one
    alert: A
    expr: up == 0
    for: 5m
    keep_firing_for: 1h
    annotations: {s: '{{ $value }}'}
  - <<: *one
    alert: B
---
second: document
";
    let file = &Rules::parse("f", text).unwrap().files[0];
    assert!(file.has_more_documents);
    let group = &file.groups[0];
    assert_eq!((group.limit, group.query_offset, group.rules.len()), (7, Some(std::time::Duration::ZERO), 3));
    assert_eq!(group.rules[0].expr().as_str(), "sum(x)");
    assert_eq!(group.rules[0].labels().get("gone").map(String::as_str), Some(""));
    assert_eq!(
        ferula_model::yaml::to_string(&group.rules[2]),
        "alert: B\nexpr: up == 0\nfor: 5m\nkeep_firing_for: 1h\nannotations:\n  s: '{{ $value }}'\n"
    );
}

#[test]
fn names_are_legacy_where_the_language_says_so() {
    let legacy = RuleLanguage { legacy_names: true, ..RuleLanguage::default() };
    let text = "groups: [{name: g, rules: [{alert: A, expr: '1', annotations: {a-b: x}}, {record: a.b, expr: '1'}]}]";
    assert!(RuleFile::parse("f", text, &RuleLanguage::default()).is_ok());
    let error = RuleFile::parse("f", text, &legacy).unwrap_err().to_string();
    assert!(
        error.contains("invalid annotation name: a-b") && error.contains("invalid recording rule name: a.b"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Rules::load("no/such/file.yml").unwrap_err().to_string();
    assert!(error.starts_with("no/such/file.yml: "), "{error}");
}

/// Upstream's own files, if `FERULA_CONFORMANCE` names their folder: `*.bad.yaml` and `invalid*` are refused (one of them
/// only where names are legacy), all others are read.
#[test]
fn upstreams_files() {
    let Some(folder) = std::env::var_os("FERULA_CONFORMANCE") else {
        println!("FERULA_CONFORMANCE is not set: upstream's rule files are not read");
        return;
    };
    let mut count = 0;
    for entry in std::fs::read_dir(Path::new(&folder).join("rules")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let language = RuleLanguage { legacy_names: name.starts_with("legacy_"), ..RuleLanguage::default() };
        let result = RuleFile::load(&path, &language);
        let is_bad = name.contains(".bad.") || name.starts_with("invalid");
        assert_eq!(result.is_err(), is_bad, "{name}: {result:?}");
        count += 1;
    }
    assert!(count > 20, "{count}");
}
