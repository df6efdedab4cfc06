//! What is promised to those who update a zone: the same as BIND does, request by request, where RFC 2136 is the rule; and where the two
//! differ, the rule that is kept.
//!
//! `DANELAW_SEED` says which requests are made, `DANELAW_UPDATES` how many.
#![expect(clippy::print_stdout, reason = "the seed of a run")]
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "../messages/authority.rs"]
#[expect(dead_code, reason = "each test program uses its part")]
mod authority;
#[path = "../common/mod.rs"]
mod common;
#[path = "../daemon/house.rs"]
#[expect(dead_code, reason = "each test program uses its part")]
mod house;
#[path = "../acme/pebble.rs"]
#[expect(dead_code, reason = "each test program uses its part")]
mod pebble;
#[path = "../differential/random.rs"]
mod random;

mod acme;
mod apart;
mod bind;
mod generate;
mod load;
mod message;
mod sequences;
mod served;
