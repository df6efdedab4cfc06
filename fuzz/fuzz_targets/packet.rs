//! libFuzzer's way into `src/packet.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| danelaw_fuzz::packet::check(input));
