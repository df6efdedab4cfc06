//! libFuzzer's way into `src/change.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| danelaw_fuzz::change::check(input));
