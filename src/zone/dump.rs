//! A published zone as master file text, signatures and denial chain included: what `zone dump` prints and other servers load.

use std::fmt::Write;

use super::sign::Published;
use crate::dns::text::print_rdata;
use crate::dns::{Name, Rtype};

/// The zone, a record a line with absolute names: the SOA first, then in canonical order, each RRset followed by its RRSIGs.
pub fn published(zone: &Published) -> String {
    let mut out = String::new();
    if let Some(soa) = zone.nodes.get(&zone.origin).and_then(|apex| apex.get(&Rtype::SOA)) {
        set(&mut out, &zone.origin, soa);
    }
    for (owner, node) in &zone.nodes {
        for (_, each) in node.iter().filter(|(rtype, _)| **rtype != Rtype::SOA) {
            set(&mut out, owner, each);
        }
    }
    out
}

fn set(out: &mut String, owner: &Name, set: &super::sign::SignedSet) {
    let rtype = set.rrset.rtype;
    for rdata in &set.rrset.rdatas {
        record(out, owner, set.rrset.ttl, rtype, rdata);
    }
    for rrsig in &set.rrsigs {
        record(out, owner, set.rrset.ttl, Rtype::RRSIG, rrsig);
    }
}

/// One record as a line.
pub fn record(out: &mut String, owner: &Name, ttl: u32, rtype: Rtype, rdata: &[u8]) {
    // Writing to a String does not fail.
    let _ = writeln!(out, "{owner}\t{ttl}\tIN\t{rtype}\t{}", print_rdata(rtype, rdata));
}
