//! See `evaluation_ends_well` for what must hold.

#![no_main]

#[path = "../../promql/tests/it/evaluating.rs"]
mod evaluating;

libfuzzer_sys::fuzz_target!(|text: &str| evaluating::evaluation_ends_well(text));
