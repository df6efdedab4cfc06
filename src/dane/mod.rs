//! From certificates to TLSA: which records a chain yields, which prerequisites hold, what is published and until when.
//!
//! Pure: certificates, served zones, configuration and the time are handed in; nothing here opens a file, asks a clock
//! or writes a log. The way through it:
//!
//! ```text
//! certificates seen ─ keyset::step ──────┐
//! served zones ─ checks::assess ──┼─ publication::step ─ plan::plan ─ RRsets, explanations, next wake-up, state
//! configuration, operator's word ────────┘
//! ```
//!
//! [`rollover`] is the machine that brings a renewed certificate to the mail server without a moment at which they disagree; where
//! it leads, [`led`] stands in the keyset's place.

mod asked;
pub mod certificate;
pub mod checks;
pub mod config;
pub mod deployed;
pub mod elapsed;
pub mod error;
pub mod explain;
pub mod keyset;
pub mod led;
mod pem;
pub mod plan;
pub mod plans;
pub mod prerequisites;
pub mod publication;
pub mod rollover;
pub mod state;
pub mod tlsa;

pub use certificate::Chain;
pub use config::DaneConfig;
pub use error::Error;
pub use plan::{Plan, plan};
pub use tlsa::{Parameters, Protocol, Service, Tlsa};

#[cfg(test)]
mod tests;
