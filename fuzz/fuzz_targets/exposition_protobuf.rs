//! See `body` for what must hold.

#![no_main]

#[path = "../../exposition/tests/it/invariants.rs"]
#[allow(dead_code)]
mod invariants;

libfuzzer_sys::fuzz_target!(|data: &[u8]| invariants::body(ferula_exposition::Format::Protobuf, data));
