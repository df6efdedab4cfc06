//! What is promised of orders at a CA: pebble, which asks a danelaw for the proofs and refuses nonces, issues what the house then
//! finds in the folder; each step can be done again by a process that knows no more than the order's URL; and whatever a CA says that
//! is none, the last certificate stays.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "../messages/authority.rs"]
#[expect(dead_code, reason = "each test program uses its part")]
mod authority;
#[path = "../common/mod.rs"]
mod common;
#[path = "../daemon/house.rs"]
#[expect(dead_code, reason = "each test program uses its part")]
mod house;

mod accounts;
mod clock;
mod daemon;
mod disk;
mod edge;
mod elsewhere;
mod failures;
mod killed;
mod orders;
mod pebble;
mod rotation;
mod stand_in;
mod trouble;
mod windows;
mod world;
