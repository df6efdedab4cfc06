//! What has to hold for every input, whoever makes it: the fuzzer, or the test that replays the corpus.
//!
//! A target is a function of octets that panics where a promise is broken. Nothing here knows how inputs come about.
#![expect(clippy::unwrap_used, reason = "a check that can't go on has failed")]

pub mod certificate;
pub mod change;
pub mod control_socket;
mod exchange;
pub mod packet;
mod signed;
mod signing;
pub mod update;
#[path = "../../tests/common/wire.rs"]
#[expect(dead_code, reason = "shared with the tests, which ask servers too")]
mod wire;
mod world;
pub mod zone_text;

/// What is looked at, and the name of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("certificate", certificate::check),
    ("change", change::check),
    ("control_socket", control_socket::check),
    ("packet", packet::check),
    ("update", update::check),
    ("zone_text", zone_text::check),
];
