//! Wrong queries and what is said about each: `testdata/wrong/*.txt`.

use std::path::Path;

use ferula_promql::syntax::{Features, parse};

#[test]
fn every_wrong_query_gets_its_drawn_error() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/wrong");
    let (mut count, mut failures) = (0, Vec::new());
    for entry in std::fs::read_dir(folder).expect("the folder") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a file");
        // The first block says what the file is.
        for block in text.split("\n====================\n").skip(1).filter(|block| !block.trim().is_empty()) {
            let (query, rest) = block.split_once("\n--------------------\n").expect("a line of dashes");
            let comment = |line: &&str| !line.starts_with("# Prometheus");
            let expected = rest.lines().filter(comment).collect::<Vec<_>>().join("\n");
            let actual = match parse(query, &Features::all()) {
                Ok(expr) => format!("accepted: {expr}"),
                Err(error) => error.drawn().lines().collect::<Vec<_>>().join("\n"),
            };
            count += 1;
            if actual != expected {
                failures.push(format!("{query}\n  expected {expected}\n  got      {actual}"));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {count}:\n{}", failures.len(), failures.join("\n"));
    assert!(count >= 300, "only {count} wrong queries");
}
