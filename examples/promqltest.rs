//! Runs scripts of Prometheus' query test language: `promqltest FILE...`.
//!
//! Prints each failure and, for each file, how many checks passed of how many; the last line is `N passed, N failed`. The
//! exit status is 0 only if all passed.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use ferula_promql::testing::{Options, run_script};

fn main() -> ExitCode {
    let files: Vec<String> = std::env::args().skip(1).collect();
    if files.is_empty() {
        eprintln!("usage: promqltest FILE...");
        return ExitCode::from(2);
    }
    let options = Options::default();
    let (mut passed, mut failed) = (0, 0);
    for file in &files {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => {
                println!("{file}: {error}");
                failed += 1;
                continue;
            }
        };
        let report = run_script(&text, &options);
        for failure in &report.failures {
            println!("{file}:{failure}");
        }
        println!("{file}: {} of {}", report.passed, report.passed + report.failed);
        passed += report.passed;
        failed += report.failed;
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
