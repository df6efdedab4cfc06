//! The world becomes facts: zone files, certificate folders, and notices that something changed.
//!
//! Nothing here decides what a fact means, and nothing here changes the world.

pub mod watch;
pub mod zones;
