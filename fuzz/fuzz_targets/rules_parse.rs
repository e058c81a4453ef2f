//! A rule file is read or refused; either way it ends, without a panic.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = ferula_alerting::Rules::parse("fuzzed.yml", text);
});
