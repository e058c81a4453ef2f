//! See `ingesting` for what must hold.

#![no_main]

#[path = "../../scrape/tests/it/ingesting.rs"]
#[allow(dead_code)]
mod ingesting;

libfuzzer_sys::fuzz_target!(|input: &[u8]| ingesting::ingesting(input));
