//! The NSEC chain (RFC 4034 section 4): each owner names the next one in canonical order, the last one the apex.

use super::Owner;
use crate::dns::{Name, RRset, Rtype, rdata};

/// The NSEC RRsets of a zone whose owners come in canonical order. `ttl` in seconds.
pub fn chain<'a>(owners: &'a [Owner<'a>], ttl: u32) -> impl Iterator<Item = (&'a Name, RRset)> {
    owners.iter().enumerate().map(move |(index, owner)| {
        let next = owners[(index + 1) % owners.len()].name;
        let types = owner.types.iter().copied().chain([Rtype::RRSIG, Rtype::NSEC]);
        let mut nsec = next.as_wire().to_vec();
        nsec.extend_from_slice(&rdata::bitmap(types));
        (owner.name, RRset::new(Rtype::NSEC, ttl, nsec.into()))
    })
}
