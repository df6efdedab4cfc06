//! A zone as a master file: canonical order, absolute names, one record a line.

use std::fmt::Write;

use super::contents::Contents;
use super::sign::{Published, SignedSet};
use crate::dns::text::print_rdata;
use crate::dns::{Name, RRset, Rtype};

/// The whole zone, the SOA first. Reading it gives the same zone again.
pub fn print(contents: &Contents) -> String {
    let mut out = String::new();
    if let Some(soa) = contents.soa() {
        print_rrset(contents.origin(), soa, &mut out);
    }
    for (owner, node) in contents.nodes() {
        for rrset in node.values().filter(|rrset| rrset.rtype != Rtype::SOA) {
            print_rrset(owner, rrset, &mut out);
        }
    }
    out
}

/// A zone as it is served, each RRset followed by its RRSIGs: what `zone dump` prints and other servers load.
pub fn published(zone: &Published) -> String {
    let mut out = String::new();
    if let Some(soa) = zone.nodes.get(&zone.origin).and_then(|apex| apex.get(&Rtype::SOA)) {
        print_signed(&zone.origin, soa, &mut out);
    }
    for (owner, set) in zone.sets().filter(|(_, set)| set.rrset.rtype != Rtype::SOA) {
        print_signed(owner, set, &mut out);
    }
    out
}

fn print_signed(owner: &Name, set: &SignedSet, out: &mut String) {
    print_rrset(owner, &set.rrset, out);
    let rrsigs = RRset { rtype: Rtype::RRSIG, ttl: set.rrset.ttl, rdatas: set.rrsigs.clone() };
    print_rrset(owner, &rrsigs, out);
}

/// Appends the records of one RRset, a line each: `owner TTL IN type rdata`, with tabs between and none in the RDATA.
pub fn print_rrset(owner: &Name, rrset: &RRset, out: &mut String) {
    for rdata in &rrset.rdatas {
        let RRset { rtype, ttl, .. } = rrset;
        let written = writeln!(out, "{owner}\t{ttl}\tIN\t{rtype}\t{}", print_rdata(*rtype, rdata));
        debug_assert!(written.is_ok());
    }
}
