//! The NSEC chain (RFC 4034 section 4): each owner names the next one in canonical order, the last one the apex.

use super::Owner;
use crate::dns::{Name, RRset, Rtype, rdata};

/// The NSEC RRsets of a zone whose owners come in canonical order. `ttl` in seconds.
pub fn chain(owners: &[Owner], ttl: u32) -> impl Iterator<Item = (&Name, RRset)> {
    let nexts = owners.iter().cycle().skip(1);
    owners.iter().zip(nexts).map(move |(owner, next)| (&owner.name, rrset(owner, &next.name, ttl)))
}

/// The NSEC RRset of an owner before `next`.
pub fn rrset(owner: &Owner, next: &Name, ttl: u32) -> RRset {
    let types = owner.types.iter().copied().chain([Rtype::RRSIG, Rtype::NSEC]);
    let mut nsec = next.as_wire().to_vec();
    nsec.extend_from_slice(&rdata::bitmap(types));
    RRset::new(Rtype::NSEC, ttl, nsec.into())
}
