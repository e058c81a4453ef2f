//! See `series_lines_end_well` for what must hold.

#![no_main]

#[path = "../../promql/tests/it/invariants.rs"]
#[allow(dead_code)]
mod invariants;

libfuzzer_sys::fuzz_target!(|text: &str| invariants::series_lines_end_well(text));
