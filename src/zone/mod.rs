//! From zone text and synthesised records to a signed, immutable snapshot: parse, lint, merge, denial chain, sign.
//!
//! No file is opened here and no clock read: text, time, includes and the signer are handed in.

pub mod catalog;
mod check;
pub mod condensed;
pub mod contents;
pub mod denial;
pub mod diagnostic;
pub mod difference;
mod directive;
mod entry;
pub mod file;
mod generate;
pub mod image;
mod layer;
pub mod lint;
mod owners;
mod parser;
mod pieces;
pub mod presigned;
pub mod print;
pub mod reread;
pub mod scan;
pub mod serial;
pub mod sign;
pub mod snapshot;
pub mod source;
pub mod tree;

pub use check::clash;
pub use condensed::Condensed;
pub use contents::Contents;
pub use denial::Denial;
pub use diagnostic::{Diagnostic, Severity};
pub use difference::{Difference, History};
pub use file::{Includes, NoIncludes, Parsed, parse, read_through};
pub use layer::{Layer, Touched};
pub use lint::lint;
pub use pieces::Pieces;
pub use reread::{Marks, Reread, reread};
pub use sign::{Draft, Published, SigningMode};
pub use snapshot::{Snapshot, ZoneSnapshot};
