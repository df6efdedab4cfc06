//! libFuzzer's way into `src/control_socket.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| danelaw_fuzz::control_socket::check(input));
