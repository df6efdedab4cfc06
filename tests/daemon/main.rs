//! The daemon as its user runs it: the real binary over real files, asked with dig and its own commands.
//!
//! Every test has a folder and a daemon of its own. Nothing here waits for a time to pass: it waits for what has to
//! become true, and fails when that takes far too long.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test that can't go on ends there")]

#[path = "../common/mod.rs"]
mod common;

mod bad_input;
mod certificates;
mod changes;
mod clocks;
mod commands;
mod crashes;
mod hostile;
mod house;
mod keys;
mod limits;
mod many;
mod packets;
mod prerequisites;
mod presigned;
mod signed;
