//! Zone cuts: glue, records that a cut or a DNAME hides, DS records without a delegation.

use std::collections::{HashMap, HashSet};

use super::{Lint, names};
use crate::dns::{Name, Rtype, rdata};
use crate::zone::contents::Contents;
use crate::zone::source::Part;

pub(super) fn check(lint: &mut Lint<'_>) {
    if !lint.cuts.is_empty() {
        glue(lint);
        below_cuts(lint);
    }
    if lint.sets.keys().any(|(_, rtype)| *rtype == Rtype::DNAME) {
        below_dnames(lint);
    }
    ds(lint);
}

/// The owners at or below a zone cut, with the topmost cut. Below a name stand its descendants in canonical order.
pub(super) fn cuts(contents: &Contents) -> HashMap<Name, Name> {
    let mut cuts = HashMap::new();
    let mut current: Option<Name> = None;
    for node in contents.nodes() {
        let owner = node.owner();
        if current.as_ref().is_none_or(|cut| !owner.is_at_or_below(cut)) {
            current = (node.has(Rtype::NS) && owner != *contents.origin()).then(|| owner.clone());
        }
        cuts.extend(current.clone().map(|cut| (owner, cut)));
    }
    cuts
}

/// A server whose name lies within what is delegated to it can be reached by glue only (RFC 1034 section 4.2.1).
fn glue(lint: &mut Lint<'_>) {
    for (index, placed) in lint.of_type(Rtype::NS) {
        let owner = &placed.record.owner;
        let targets = rdata::names(Rtype::NS, &placed.record.rdata);
        let Some(target) = targets.first().filter(|target| owner != lint.origin() && target.is_at_or_below(owner))
        else {
            continue;
        };
        if lint.cuts.get(owner) == Some(owner) && !names::has_address(lint, target) {
            lint.warn(
                index,
                Part::Rdata(0),
                format!("{owner} is delegated to {target}, whose address is nowhere to be found"),
                format!("add glue to this zone: an A or AAAA record for {target}"),
            );
        }
    }
}

/// What a parent may say at a cut (RFC 4035 section 2.6) and below it: addresses of name servers.
fn below_cuts(lint: &mut Lint<'_>) {
    let servers: HashSet<Name> =
        lint.of_type(Rtype::NS).iter().flat_map(|(_, placed)| rdata::names(Rtype::NS, &placed.record.rdata)).collect();
    let mut reported: HashSet<&Name> = HashSet::new();
    for (index, placed) in lint.records.iter().enumerate() {
        let (owner, rtype) = (&placed.record.owner, placed.record.rtype);
        let Some(cut) = lint.cuts.get(owner).cloned() else { continue };
        let glue = matches!(rtype, Rtype::A | Rtype::AAAA) && servers.contains(owner);
        let at_cut = *owner == cut && matches!(rtype, Rtype::NS | Rtype::DS | Rtype::NSEC | Rtype::RRSIG);
        let signed = matches!(rtype, Rtype::NSEC3 | Rtype::RRSIG);
        if glue || at_cut || signed || !reported.insert(owner) {
            continue;
        }
        lint.warn(
            index,
            Part::Type,
            format!("{owner} {rtype} is not served: {cut} is delegated to other servers"),
            format!("write it into the zone {cut}, or take the NS records of {cut} away"),
        );
    }
}

/// No name lives below a DNAME (RFC 6672 section 2.4).
fn below_dnames(lint: &mut Lint<'_>) {
    let mut reported: HashSet<&Name> = HashSet::new();
    for (index, placed) in lint.records.iter().enumerate() {
        let owner = &placed.record.owner;
        let above = |ancestor: &Name| ancestor.is_at_or_below(lint.origin()) && lint.has(ancestor, Rtype::DNAME);
        let Some(dname) = owner.ancestors().find(above) else { continue };
        let signed = matches!(placed.record.rtype, Rtype::NSEC3 | Rtype::RRSIG);
        if !signed && reported.insert(owner) {
            let message = format!("{owner} is not served: the DNAME at {dname} sends all names below it elsewhere");
            lint.warn(index, Part::Owner, message, "take the record or the DNAME away");
        }
    }
}

/// DS stands at delegations only (RFC 4035 section 2.4).
fn ds(lint: &mut Lint<'_>) {
    for (index, placed) in lint.of_type(Rtype::DS) {
        let owner = &placed.record.owner;
        if owner == lint.origin() {
            let message = format!("the DS record of {owner} belongs into its parent zone");
            lint.warn(index, Part::Type, message, "give it to the registrar, and take it away here");
        } else if !lint.has(owner, Rtype::NS) {
            let message = format!("{owner} has a DS record but no NS record: nothing is delegated there");
            lint.warn(index, Part::Type, message, "add the NS records of the child zone, or take the DS record away");
        }
    }
}
