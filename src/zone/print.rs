//! A zone as a master file: canonical order, absolute names, one record a line.

use std::fmt::Write;

use super::contents::Contents;
use super::layer::Layer;
use super::sign::Published;
use super::tree::{Set, Tree};
use crate::dns::text::print_rdata;
use crate::dns::{Name, RRset, Rdata, Rtype};

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
    sets(tree).for_each(|(owner, set)| print_signed(&owner, set, &mut out));
    out
}

/// All RRsets in canonical order of their owners, the SOA first.
fn sets(tree: &Tree) -> impl Iterator<Item = (Name, Set<'_>)> {
    let apex_len = tree.apex().as_wire().len();
    let soa = tree.apex_node().set(Rtype::SOA).map(|soa| (tree.apex_node().owner(), soa));
    let others = tree.nodes().flat_map(move |node| {
        let is_soa = move |set: &Set<'_>| set.rtype == Rtype::SOA && node.name().len() == apex_len;
        node.sets().filter(move |set| !is_soa(set)).map(move |set| (node.owner(), set))
    });
    soa.into_iter().chain(others)
}

/// What a published zone is made of.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    /// What its source says.
    pub said: &'a Contents,
    /// What came by update.
    pub layer: &'a Layer,
    /// What was put over both.
    pub synthesised: &'a [(Name, RRset)],
    /// Whether it is signed here.
    pub is_signed_here: bool,
}

impl Layers<'_> {
    fn origin(&self, owner: &Name, rtype: Rtype, rdata: &Rdata) -> &'static str {
        let is_said = || self.said.rrset(owner, rtype).is_some_and(|said| said.contains(rdata));
        let is_updated = || self.layer.of(owner, rtype).is_some_and(|touched| touched.adds(rtype, rdata));
        match rtype {
            _ if self.synthesised.iter().any(|(other, one)| other == owner && one.rtype == rtype) => "synthesised",
            _ if is_said() => "source",
            _ if is_updated() => "update",
            Rtype::SOA => "source, the serial ours",
            _ => "signing",
        }
    }
}

/// [`published`] with a comment behind each record that says where it comes from: `source`, `update`, `synthesised` or `signing`. What an
/// update took away is there as a comment.
pub fn with_origins(zone: &Published, layers: &Layers<'_>) -> String {
    let mut out = String::new();
    let mut put = |before: &str, owner: &Name, ttl: u32, rtype: Rtype, rdata: &[u8], word: &str| {
        let written = writeln!(out, "{before}{owner}\t{ttl}\tIN\t{rtype}\t{}\t; {word}", print_rdata(rtype, rdata));
        debug_assert!(written.is_ok());
    };
    let signatures = if layers.is_signed_here { "signing" } else { "source" };
    for (owner, set) in sets(&zone.tree) {
        let RRset { rtype, ttl, rdatas } = set.rrset();
        rdatas.iter().for_each(|rdata| put("", &owner, ttl, rtype, rdata, layers.origin(&owner, rtype, rdata)));
        set.signatures().for_each(|rrsig| put("", &owner, ttl, Rtype::RRSIG, rrsig, signatures));
    }
    for (owner, rtype, touched) in layers.layer.sets() {
        let ttl = layers.said.rrset(owner, rtype).map_or(0, |said| said.ttl);
        touched.gone.iter().for_each(|rdata| put("; ", owner, ttl, rtype, rdata, "source, taken away by an update"));
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
