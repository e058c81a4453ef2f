//! See `snapshot` in the shared body for what must hold.
#![no_main]

#[path = "../../tsdb/tests/it/log_invariants.rs"]
#[allow(dead_code)]
mod log_invariants;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    log_invariants::snapshot(data);
});
