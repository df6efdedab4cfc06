//! From zone text and synthesised records to a signed, immutable snapshot: parse, lint, merge, denial chain, sign.
//!
//! No file is opened here and no clock read: text, time, includes and the signer are handed in.

mod check;
pub mod contents;
pub mod diagnostic;
pub mod file;
pub mod print;
pub mod scan;
pub mod serial;
pub mod sign;
pub mod snapshot;
pub mod source;

pub use contents::Contents;
pub use diagnostic::{Diagnostic, Severity};
pub use file::{Includes, NoIncludes, Parsed, parse};
pub use sign::{Draft, Published};
pub use snapshot::{Snapshot, ZoneSnapshot};

/// Placeholder until the lint room is merged.
pub fn lint(parsed: &Parsed, _signed: bool) -> Vec<Diagnostic> { parsed.diagnostics.clone() }
