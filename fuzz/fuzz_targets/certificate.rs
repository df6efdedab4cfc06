//! libFuzzer's way into `src/certificate.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| danelaw_fuzz::certificate::check(input));
