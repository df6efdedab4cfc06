//! A zone as a master file: canonical order, absolute names, one record a line.

use std::fmt::Write;

use super::contents::Contents;
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

/// Appends the records of one RRset, a line each: `owner TTL IN type rdata`, with tabs between and none in the RDATA.
pub fn print_rrset(owner: &Name, rrset: &RRset, out: &mut String) {
    for rdata in &rrset.rdatas {
        let RRset { rtype, ttl, .. } = rrset;
        let written = writeln!(out, "{owner}\t{ttl}\tIN\t{rtype}\t{}", print_rdata(*rtype, rdata));
        debug_assert!(written.is_ok());
    }
}
