//! libFuzzer's way into `src/zone_text.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| danelaw_fuzz::zone_text::check(input));
