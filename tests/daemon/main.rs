//! The daemon as its user runs it: the real binary over real files, asked with dig and its own commands.
//!
//! Every test has a folder and a daemon of its own. Nothing here waits for a time to pass: it waits for what has to
//! become true, and fails when that takes far too long.

#[path = "../common/mod.rs"]
mod common;

mod bad_input;
mod house;
mod prerequisites;
