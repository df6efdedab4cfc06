//! TSIG (RFC 8945): whether a message comes from somebody who has a key, and the signatures of one's own messages.
//!
//! `key` has names, algorithms and secrets, `record` finds and writes the TSIG record, `server` checks requests and signs responses,
//! `client` signs requests and checks responses, `text` reads key files. Nothing here knows what a message is about.

mod client;
mod key;
mod record;
mod server;
mod text;

#[cfg(test)]
mod tests;

pub use client::{Responses, Standing, Untrusted, sign_request};
pub use key::{Algorithm, Key, Keyring};
pub use record::{Fault, is_signed};
pub use server::{Checked, Rejection, Signer, verify};
pub use text::{Mistake, parse};

/// How far clocks may be apart, seconds (RFC 8945 section 10 recommends it).
pub const FUDGE: u16 = 300;
