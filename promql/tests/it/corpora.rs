//! Replays the corpora of the fuzz targets.

use std::path::Path;

use crate::evaluating::evaluation_ends_well;
use crate::invariants::{parsing_ends_well, printing_is_identity, series_lines_end_well};

fn replay(target: &str, check: fn(&str)) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("a corpus") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("a file");
        check(&String::from_utf8_lossy(&bytes));
        count += 1;
    }
    assert!(count > 0, "the corpus of {target} is empty");
}

#[test]
fn promql_parse() {
    replay("promql_parse", parsing_ends_well);
    replay("promql_print", parsing_ends_well);
}

#[test]
fn promql_print() {
    replay("promql_parse", printing_is_identity);
    replay("promql_print", printing_is_identity);
}

#[test]
fn promql_series() {
    replay("promql_series", series_lines_end_well);
}

#[test]
fn promql_evaluate() {
    replay("promql_evaluate", evaluation_ends_well);
    replay("promql_parse", evaluation_ends_well);
    replay("promql_print", evaluation_ends_well);
}
