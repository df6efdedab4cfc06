//! A zone as a master file: canonical order, absolute names, one record a line.

use std::fmt::Write;

use super::contents::Contents;
use super::sign::Published;
use super::tree::{Set, Tree};
use crate::dns::text::print_rdata;
use crate::dns::{Name, RRset, Rtype};

/// The whole zone, the SOA first, signatures behind what they cover. Reading it gives the same zone again.
pub fn print(contents: &Contents) -> String {
    print_tree(contents.tree())
}

/// A zone as it is served, each RRset followed by its RRSIGs: what `zone dump` prints and other servers load.
pub fn published(zone: &Published) -> String {
    print_tree(&zone.tree)
}

fn print_tree(tree: &Tree) -> String {
    let mut out = String::new();
    let apex = tree.apex_node();
    if let Some(soa) = apex.set(Rtype::SOA) {
        print_signed(&apex.owner(), soa, &mut out);
    }
    let apex_len = tree.apex().as_wire().len();
    for node in tree.nodes() {
        let is_soa = |set: &Set<'_>| set.rtype == Rtype::SOA && node.name().len() == apex_len;
        for set in node.sets().filter(|set| !is_soa(set)) {
            print_signed(&node.owner(), set, &mut out);
        }
    }
    out
}

fn print_signed(owner: &Name, set: Set<'_>, out: &mut String) {
    print_rrset(owner, &set.rrset(), out);
    let rrsigs = set.signatures().map(Into::into).collect();
    print_rrset(owner, &RRset { rtype: Rtype::RRSIG, ttl: set.ttl(), rdatas: rrsigs }, out);
}

/// Appends the records of one RRset, a line each: `owner TTL IN type rdata`, with tabs between and none in the RDATA.
pub fn print_rrset(owner: &Name, rrset: &RRset, out: &mut String) {
    for rdata in &rrset.rdatas {
        let RRset { rtype, ttl, .. } = rrset;
        let written = writeln!(out, "{owner}\t{ttl}\tIN\t{rtype}\t{}", print_rdata(*rtype, rdata));
        debug_assert!(written.is_ok());
    }
}
