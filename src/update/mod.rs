//! Dynamic update (RFC 2136): from the octets of a request and what a zone has to the RRsets that are otherwise afterwards.
//!
//! `request` reads and says what is malformed, `decide` holds the prerequisites, the permissions and the rules of the update section,
//! `grant` says who may change what. Who asks, with which key, and where the result is kept: nothing here knows that.
//!
//! What nobody may change, whatever a grant says: the records that signing is made of, the apex's SOA and NS, and what is synthesised. A
//! wrong one of them takes the zone down, and danelaw has them from elsewhere.

mod decide;
mod grant;
mod request;

pub use decide::decide;
pub use grant::{Grant, Grants, Pattern};
pub use request::{Change, Prerequisite, Request};

use crate::dns::Rtype;

/// Whether records of a type are never updated: they are made by signing, or lead to its keys.
pub fn is_never_updated(rtype: Rtype) -> bool {
    matches!(
        rtype,
        Rtype::DNSKEY | Rtype::CDS | Rtype::CDNSKEY | Rtype::RRSIG | Rtype::NSEC | Rtype::NSEC3 | Rtype::NSEC3PARAM
    )
}
