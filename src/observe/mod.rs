//! From the world to facts: certificate directories. Reads, reports, decides nothing; names only the pure rooms.

pub mod certificates;
pub mod files;
pub mod keys;
pub mod layouts;

#[cfg(test)]
mod tests;
