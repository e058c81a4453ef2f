//! See `parsing_ends_well` for what must hold.

#![no_main]

#[path = "../../promql/tests/it/invariants.rs"]
#[allow(dead_code)]
mod invariants;

libfuzzer_sys::fuzz_target!(|text: &str| invariants::parsing_ends_well(text));
