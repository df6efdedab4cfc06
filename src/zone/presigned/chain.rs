//! The chain of a zone that was signed elsewhere says of every name what the zone says of it, and leaves nothing out.

use std::collections::BTreeMap;

use super::Findings;
use crate::dns::{Name, RRset, Rtype, rdata};
use crate::zone::contents::Contents;
use crate::zone::denial::nsec3::{self, Fields, Hash, Link, MAX_ITERATIONS, OPT_OUT, Parameters, RISKY_ITERATIONS};
use crate::zone::denial::{self, Denial, Owner, Standing, nsec, standings};
use crate::zone::diagnostic::Severity;
use crate::zone::tree::Node;

const RESIGN: &str = "sign the zone again, and put the whole result here";

pub(super) fn check(contents: &Contents, findings: &mut Findings) {
    let authoritative = |(node, standing): (Node<'_>, Standing)| match standing {
        Standing::Authoritative | Standing::Cut => {
            let types = node.sets().filter(|set| set.count > 0).map(|set| set.rtype);
            Owner::new(node.owner(), types, standing == Standing::Cut)
        }
        Standing::Glue | Standing::Hidden => None,
    };
    let owners: Vec<Owner> = standings(contents).filter_map(authoritative).collect();
    match denial::in_file(contents) {
        Denial::Nsec3(parameters) => check_nsec3(contents, &owners, &parameters, findings),
        Denial::Nsec => check_nsec(contents, &owners, findings),
    }
}

fn check_nsec(contents: &Contents, owners: &[Owner], findings: &mut Findings) {
    let mut expected: BTreeMap<&Name, RRset> = nsec::chain(owners, 0).collect();
    for node in contents.nodes() {
        let Some(nsec) = node.set(Rtype::NSEC) else { continue };
        let nsec = nsec.rrset();
        let owner = &node.owner();
        let message = match expected.remove(owner) {
            None => format!("{owner} has an NSEC, and no name of the zone is there"),
            Some(expected) if nsec.rdatas.len() == 1 && same_nsec(&nsec.rdatas[0], &expected.rdatas[0]) => continue,
            Some(expected) => {
                let text = crate::dns::text::print_rdata(Rtype::NSEC, &expected.rdatas[0]);
                format!("the NSEC of {owner} does not say what is in the zone, which is: {text}")
            }
        };
        findings.error(owner, Rtype::NSEC, message, RESIGN);
    }
    for owner in expected.keys() {
        findings.error(owner, Rtype::NSEC, format!("{owner} has no NSEC record, nor is there an NSEC3 chain"), RESIGN);
    }
}

/// The next name without regard to case, and the same types however their bit map is written.
fn same_nsec(one: &[u8], other: &[u8]) -> bool {
    let parts = |nsec: &[u8]| {
        let (next, bitmap) = nsec.split_at_checked(crate::dns::name::wire_len(nsec)?)?;
        Some((next.to_ascii_lowercase(), rdata::bitmap_types(bitmap)?))
    };
    parts(one).is_some() && parts(one) == parts(other)
}

fn check_nsec3(contents: &Contents, owners: &[Owner], parameters: &Parameters, findings: &mut Findings) {
    let origin = contents.origin();
    let iterations = parameters.iterations;
    if iterations > MAX_ITERATIONS {
        let message =
            format!("{iterations} NSEC3 iterations: each is work for every answer, {MAX_ITERATIONS} are the most");
        findings.error(origin, Rtype::NSEC3PARAM, message, "sign the zone again with 0 iterations (RFC 9276)");
        return;
    }
    let mut warn = |message: String, help| findings.add(Severity::Warning, origin, Rtype::NSEC3PARAM, message, help);
    if iterations > 0 {
        let risk = if iterations > RISKY_ITERATIONS { ", and resolvers may take the zone for unsigned" } else { "" };
        let message = format!("{iterations} NSEC3 iterations make every answer dearer and hide nothing better{risk}");
        warn(message, "sign the zone again with 0 iterations (RFC 9276 section 3.1)");
    }
    if !parameters.salt.is_empty() {
        let message = "an NSEC3 salt hides nothing better".to_owned();
        warn(message, "sign the zone again without salt (RFC 9276 section 3.1)");
    }
    let mut expected = match nsec3::links(origin, owners, parameters, false) {
        Ok(links) => links,
        Err(nsec3::Collision(one, other)) => {
            let message = format!("{one} and {other} have the same NSEC3 hash: no answer could tell them apart");
            findings.error(origin, Rtype::NSEC3PARAM, message, "sign the zone again with another salt");
            return;
        }
    };
    let chain = of_parameters(contents, parameters);
    let nexts = chain.keys().skip(1).chain(chain.keys().next());
    for ((hash, (owner, fields)), next) in chain.iter().zip(nexts) {
        let message = match expected.remove(hash) {
            None => format!("the NSEC3 {owner} is of no name in the zone"),
            Some(link) if !same_types(fields, &link) => {
                let types: Vec<String> = link.types.iter().map(ToString::to_string).collect();
                format!("the NSEC3 {owner} does not say what types {} has: {}", link.name, types.join(" "))
            }
            Some(_) if fields.next != *next => format!("the NSEC3 {owner} does not lead to the next one"),
            Some(_) => continue,
        };
        findings.error(owner, Rtype::NSEC3, message, RESIGN);
    }
    for (hash, link) in &expected {
        // RFC 5155 section 6: under opt-out a delegation without DS may be covered and no more.
        let covering = chain.range(..=*hash).next_back().or_else(|| chain.iter().next_back());
        if link.optional && covering.is_some_and(|(_, (_, fields))| fields.flags & OPT_OUT != 0) {
            continue;
        }
        findings.error(&link.name, Rtype::NSEC3, format!("the NSEC3 chain leaves {} out", link.name), RESIGN);
    }
}

fn same_types(fields: &Fields<'_>, link: &Link) -> bool {
    let mut expected = link.types.clone();
    expected.sort_unstable();
    rdata::bitmap_types(fields.bitmap).is_some_and(|types| types == expected)
}

/// The file's NSEC3 records of one chain.
fn of_parameters<'a>(contents: &'a Contents, parameters: &Parameters) -> BTreeMap<Hash, (Name, Fields<'a>)> {
    let mut chain = BTreeMap::new();
    for node in contents.nodes() {
        let Some(set) = node.set(Rtype::NSEC3) else { continue };
        let Some(hash) = nsec3::hash_in(&node.owner(), contents.origin()) else { continue };
        let fields = set.first_rdata().and_then(Fields::parse);
        if let Some(fields) = fields.filter(|fields| fields.is_of(parameters)) {
            chain.insert(hash, (node.owner(), fields));
        }
    }
    chain
}
