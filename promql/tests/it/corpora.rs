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

/// Fuzzing without a fuzzer: pieces of the corpora put together anew, for as many seconds as `FERULA_FUZZ_SECONDS` says.
#[test]
fn promql_evaluate_spliced_corpora() {
    let seconds = std::env::var("FERULA_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
    let mut texts = Vec::new();
    for target in ["promql_evaluate", "promql_parse", "promql_print"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
        for entry in std::fs::read_dir(folder).expect("a corpus") {
            let bytes = std::fs::read(entry.expect("an entry").path()).expect("a file");
            texts.push(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    texts.sort();
    let mut state = 1_u64;
    let mut next = |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % limit.max(1)
    };
    let mut count = 0;
    // A few in any case: what is here must be able to run.
    while count < 200 || std::time::Instant::now() < until {
        let mut text = texts[next(texts.len())].clone();
        for _ in 0..=next(3) {
            let other = &texts[next(texts.len())];
            text = match next(5) {
                0 => format!(
                    "({text}) {} ({other})",
                    ["+", "and", "or", "==", "/ on (job)", "unless", "atan2", "</"][next(8)]
                ),
                1 => format!("{}({text})", ["sum", "avg by (job) ", "abs", "-", "sort", "scalar", "absent"][next(7)]),
                2 => format!(
                    "{}(({text})[{}:])",
                    ["rate", "max_over_time", "changes", "deriv"][next(4)],
                    ["5m", "10s"][next(2)]
                ),
                3 => text.replace("a", ["up", "h", "b_total"][next(3)]),
                _ => {
                    let cut = |text: &str, at: usize| text.chars().take(at).collect::<String>();
                    let (left, right) = (next(text.len()), next(other.len()));
                    cut(&text, left) + &other.chars().skip(right).collect::<String>()
                }
            };
        }
        evaluation_ends_well(&text);
        count += 1;
    }
    println!("{count} texts");
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
