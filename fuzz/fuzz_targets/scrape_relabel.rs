//! See `relabelling` for what must hold.

#![no_main]

#[path = "../../scrape/tests/it/invariants.rs"]
#[allow(dead_code)]
mod invariants;

libfuzzer_sys::fuzz_target!(|text: &str| invariants::relabelling(text));
