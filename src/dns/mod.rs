//! The protocol's nouns: names, record types, records, the message header, EDNS.
//!
//! Everything here is a value or a function of values. Nothing here knows what a zone is.

pub mod dnssec;
pub mod header;
pub mod mailtext;
pub mod name;
pub mod question;
pub mod rdata;
pub mod record;
pub mod rtype;
pub mod text;
pub mod tsig;
pub mod uncompress;
pub mod verify;
pub mod walk;

pub use name::{Name, NameError};
pub use question::Question;
pub use record::{RRset, Rdata, Record};
pub use rtype::Rtype;

/// A point in time: seconds since 1970-01-01T00:00:00Z. The pure rooms are handed one; they never ask for it.
pub type Timestamp = u64;
