//! A template is expanded or refused; either way it ends, without a panic, within the limits on steps and text.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| ferula_alerting::fuzz_template(text));
