//! The world becomes facts: certificate folders, zone files, key files, notices of change. Reads, reports, decides nothing.

pub mod certificates;
pub mod clock;
pub mod cookie_secrets;
pub mod covering;
pub mod deployed;
pub mod files;
pub mod identity;
pub mod keys;
mod lanes;
pub mod layouts;
pub mod nameservers;
pub mod outside;
pub mod policy;
pub mod presented;
pub mod proofs;
pub mod reports;
pub mod secrets;
pub mod stamps;
pub mod tsig_keys;
pub mod watch;
pub mod way;
pub mod zone_keys;
pub mod zones;

#[cfg(test)]
mod tests;
