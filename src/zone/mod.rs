//! From zone text and synthesised records to a signed, immutable snapshot: parse, lint, merge, denial chain, sign.
//!
//! No file is opened here and no clock read: text, time, includes and the signer are handed in.

pub mod contents;
pub mod diagnostic;

pub use contents::Contents;
pub use diagnostic::{Diagnostic, Severity};
