//! The world becomes facts: certificate folders, zone files, key files, notices of change. Reads, reports, decides nothing.

pub mod certificates;
pub mod cookie_secrets;
pub mod files;
pub mod identity;
pub mod keys;
pub mod layouts;
pub mod secrets;
pub mod tsig_keys;
pub mod watch;
pub mod zone_keys;
pub mod zones;

#[cfg(test)]
mod tests;
