//! libFuzzer's way into `src/update.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| danelaw_fuzz::update::check(input));
