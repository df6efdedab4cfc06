//! What is promised to secondaries: the zone that is served, whole or by what changed, and nothing to anybody else. NSD, Knot and BIND
//! take it.
//!
//! `DANELAW_SEED` says which changes and mishaps there are, `DANELAW_CHANGES` how many changes; `DANELAW_HOSTS` how
//! large the zone is that ten take at once.
#![expect(clippy::print_stdout, reason = "the seed of a run")]
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../daemon/house.rs"]
#[expect(dead_code, reason = "each test program uses its part")]
mod house;
#[path = "../updates/message.rs"]
mod message;
#[path = "../differential/random.rs"]
#[expect(dead_code, reason = "each test program uses its part")]
mod random;

mod at_once;
mod catalog;
mod changes;
mod endurance;
mod impostors;
mod journal;
mod kinds;
mod notices;
mod primaries;
mod secondaries;
mod strangers;
mod streams;

fn variable(name: &str) -> Option<u64> {
    Some(std::env::var(name).ok()?.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}
