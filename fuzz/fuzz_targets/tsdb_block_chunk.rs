//! See `block_chunk` in the shared body for what must hold.
#![no_main]

#[path = "../../tsdb/tests/it/invariants.rs"]
#[allow(dead_code)]
mod invariants;

libfuzzer_sys::fuzz_target!(|data: &[u8]| invariants::block_chunk(data));
