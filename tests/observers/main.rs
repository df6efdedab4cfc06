//! What is promised of those who look: what NSD, Knot and BIND show, and what OpenSSL and Postfix present, is what they say; of
//! servers that lie, are lame or silent nothing is believed, and it is said why.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../daemon/house.rs"]
#[expect(dead_code, reason = "each test program uses its part")]
mod house;
#[path = "../transfer/kinds.rs"]
mod kinds;

mod certificates;
mod liar;
mod liars;
mod nameservers;
mod parent;
mod policies;
mod postfix;
mod protocols;
mod services;
