//! Others' test data, read from the folder that `FERULA_CONFORMANCE` names.

use std::path::{Path, PathBuf};

use ferula_exposition::{EncodeOptions, Format, ParseOptions, encode_with, read_families};

use crate::{told, told_with};

/// The folder, if it is there.
pub(crate) fn folder(name: &str) -> Option<PathBuf> {
    match std::env::var_os("FERULA_CONFORMANCE") {
        Some(root) => Some(Path::new(&root).join(name)),
        None => {
            println!("FERULA_CONFORMANCE is not set: nothing checked");
            None
        }
    }
}

/// Paths in a folder, sorted.
pub(crate) fn paths(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn openmetrics_strict_agrees_with_the_suite() {
    let Some(folder) = folder("openmetrics") else { return };
    let strict = ParseOptions { strict: true, ..ParseOptions::default() };
    let mut wrong = Vec::new();
    let cases = paths(&folder);
    for case in &cases {
        let body = std::fs::read(case.join("metrics")).unwrap();
        let verdict = std::fs::read_to_string(case.join("test.json")).unwrap();
        let should_parse = verdict.contains("\"shouldParse\": true");
        let outcome = told(&body, Format::OpenMetrics, &strict);
        if outcome.is_ok() != should_parse {
            wrong.push(format!("{}: {:?}", case.display(), outcome.err().map(|error| error.to_string())));
        }
    }
    assert!(cases.len() > 100, "{} cases", cases.len());
    assert!(wrong.is_empty(), "{} of {} wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn bodies_for_parsers_are_read() {
    let Some(folder) = folder("textparse") else { return };
    for path in paths(&folder) {
        let body = std::fs::read(&path).unwrap();
        let openmetrics = path.to_string_lossy().ends_with(".om.txt");
        let format = if openmetrics { Format::OpenMetrics } else { Format::Text };
        for start_timestamps in [false, true] {
            let options = ParseOptions { start_timestamps, ..ParseOptions::default() };
            let events = told(&body, format, &options).unwrap_or_else(|error| panic!("{path:?}: {}", error.drawn()));
            assert!(events.len() > 10, "{path:?}");
        }
    }
}

/// The samples of a body in words, sorted.
fn samples(body: &[u8], format: Format, options: &ParseOptions) -> Vec<String> {
    let events = told_with(body, format, options, false).unwrap_or_else(|error| panic!("{}", error.drawn()));
    let mut samples: Vec<_> = events.into_iter().filter(|line| line.starts_with("__name__")).collect();
    samples.sort();
    samples
}

fn format_of(path: &Path) -> Format {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("pb") => Format::Protobuf,
        Some("om") => Format::OpenMetrics,
        _ => Format::Text,
    }
}

#[test]
fn bodies_of_real_exporters_survive_every_format() {
    let Some(folder) = folder("scrapes") else { return };
    let options = ParseOptions { start_timestamps: true, ..ParseOptions::default() };
    let created_lines = EncodeOptions { created_lines: true, ..EncodeOptions::default() };
    for path in paths(&folder) {
        let body = std::fs::read(&path).unwrap();
        let format = format_of(&path);
        let before = samples(&body, format, &options);
        assert!(before.len() > 10, "{path:?}");
        let families = read_families(&body, format, &options).unwrap();
        for target in [format, Format::Protobuf, Format::OpenMetrics, Format::Text] {
            let mut encoded = Vec::new();
            encode_with(&families, target, &created_lines, &mut encoded);
            let after = samples(&encoded, target, &options);
            if target == format {
                let lost: Vec<_> = before.iter().filter(|sample| !after.contains(sample)).collect();
                let new: Vec<_> = after.iter().filter(|sample| !before.contains(sample)).collect();
                assert!(before == after, "{path:?} as {target:?}: lost {lost:#?}, new {new:#?}");
                let after = kinds(&encoded, format);
                let lost: Vec<_> = kinds(&body, format).into_iter().filter(|kind| !after.contains(kind)).collect();
                assert_eq!(lost, Vec::<String>::new(), "{path:?} as {target:?}");
            }
            assert!(after.len() >= before.len(), "{path:?} as {target:?}: {} of {}", after.len(), before.len());
        }
    }
}

/// HELP and TYPE of a body, sorted; of families with samples.
fn kinds(body: &[u8], format: Format) -> Vec<String> {
    let events = told(body, format, &ParseOptions::default()).unwrap();
    let mut kinds: Vec<_> =
        events.into_iter().filter(|line| line.starts_with("type") || line.starts_with("help")).collect();
    kinds.sort();
    kinds
}

#[test]
fn text_and_protobuf_of_one_target_agree() {
    let Some(folder) = folder("scrapes") else { return };
    let options = ParseOptions::default();
    let mut pairs = 0;
    for path in paths(&folder).into_iter().filter(|path| format_of(path) == Format::Protobuf) {
        let protobuf = samples(&std::fs::read(&path).unwrap(), Format::Protobuf, &options);
        let text = samples(&std::fs::read(path.with_extension("text")).unwrap(), Format::Text, &options);
        // The two were scraped one after the other, so values moved: the series must be the same.
        let series = |samples: &[String]| {
            let names =
                samples.iter().map(|sample| sample.rsplit_once(' ').map_or("", |(series, _)| series).to_owned());
            names.collect::<std::collections::BTreeSet<_>>()
        };
        let (of_protobuf, of_text) = (series(&protobuf), series(&text));
        let only = |a: &std::collections::BTreeSet<String>, b: &std::collections::BTreeSet<String>| {
            a.difference(b).cloned().collect::<Vec<_>>()
        };
        assert_eq!(only(&of_protobuf, &of_text), Vec::<String>::new(), "{path:?}: only in protobuf");
        assert_eq!(only(&of_text, &of_protobuf), Vec::<String>::new(), "{path:?}: only in text");
        let same = protobuf.iter().filter(|sample| text.binary_search(sample).is_ok()).count();
        assert!(same * 2 > protobuf.len(), "{path:?}: {same} of {} values equal", protobuf.len());
        pairs += 1;
    }
    assert!(pairs > 2, "{pairs} pairs");
}
