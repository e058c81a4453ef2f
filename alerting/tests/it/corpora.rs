//! What fuzzing begins with and has found: none of it panics or does not end.

use ferula_alerting::{Rules, fuzz_template};

fn corpus(target: &str) -> Vec<String> {
    let folder = format!("{}/../fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let texts: Vec<String> = files.filter_map(|file| std::fs::read_to_string(file.unwrap().path()).ok()).collect();
    assert!(!texts.is_empty(), "{folder}");
    texts
}

#[test]
fn rule_files() {
    for text in corpus("rules_parse") {
        let _ = Rules::parse("f", &text);
    }
}

#[test]
fn templates() {
    for text in corpus("template") {
        fuzz_template(&text);
    }
}
