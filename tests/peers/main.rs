//! Correct against others: the example zones before ldns, BIND, Knot and NSD. Each of them has to be installed.

#[path = "../common/mod.rs"]
mod common;

mod answers;
mod signatures;
