//! What is promised of a single packet: headers, EDNS, truncation, referrals, and what never gets an answer.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "../common/mod.rs"]
mod common;

mod additional;
mod allocations;
mod changes;
mod compliance;
mod options;
mod packets;
mod presigned;
mod signing;
