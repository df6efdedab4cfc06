//! What is promised to secondaries: the zone that is served, whole or by what changed, and nothing to anybody else. NSD, Knot and BIND
//! take it.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../daemon/house.rs"]
#[expect(dead_code, reason = "each test program uses its part")]
mod house;

mod catalog;
mod impostors;
mod journal;
mod notices;
mod primaries;
mod secondaries;
mod strangers;
mod streams;
