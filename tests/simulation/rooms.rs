//! The rooms of danelaw that a rollover is decided in, as they stand there. Nothing else is in it; their own tests are run there.

#[cfg(not(test))]
#[path = "../../src/dane/mod.rs"]
pub mod dane;
#[cfg(not(test))]
#[path = "../../src/dns/mod.rs"]
pub mod dns;
