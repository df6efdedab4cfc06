//! What the rules and the checks of proofs ask of a message's sections, and how they even out two of them.

use std::collections::BTreeSet;

use danelaw::dns::{Rtype, rdata};

use super::common::wire::{Response, Rr};

pub fn covers(record: &Rr, rtype: Rtype) -> bool {
    record.rtype == Rtype::RRSIG.0 && record.rdata[..2] == rtype.0.to_be_bytes()
}

pub fn is(record: &Rr, rtype: Rtype) -> bool {
    record.rtype == rtype.0 || covers(record, rtype)
}

pub fn is_address(record: &Rr) -> bool {
    is(record, Rtype::A) || is(record, Rtype::AAAA)
}

/// Removes what `which` says and we don't have.
pub fn drop_extra(ours: &BTreeSet<Rr>, theirs: &mut BTreeSet<Rr>, which: impl Fn(&Rr) -> bool) -> bool {
    let before = theirs.len();
    theirs.retain(|record| ours.contains(record) || !which(record));
    theirs.len() < before
}

pub fn is_below(owner: &str, above: &str) -> bool {
    owner == above || owner.ends_with(&format!(".{above}"))
}

/// Adds what `which` says and they don't have.
pub fn add(ours: &BTreeSet<Rr>, theirs: &mut BTreeSet<Rr>, which: impl Fn(&Rr) -> bool) -> bool {
    let before = theirs.len();
    theirs.extend(ours.iter().filter(|record| which(record)).cloned());
    theirs.len() > before
}

/// Takes our answer for theirs.
pub fn adopt(ours: &Response, theirs: &mut Response) -> bool {
    theirs.clone_from(ours);
    true
}

pub fn has(response: &Response, rtype: Rtype) -> bool {
    response.answer.iter().any(|record| record.rtype == rtype.0)
}

pub fn is_proof(record: &Rr) -> bool {
    is(record, Rtype::NSEC) || is(record, Rtype::NSEC3)
}

/// Whether `less` is `more` without some of its proofs.
pub fn lacks_proof(more: &Response, less: &Response) -> bool {
    let same = Response { authority: more.authority.clone(), ..less.clone() } == *more;
    same && less.authority.is_subset(&more.authority) && more.authority.difference(&less.authority).all(is_proof)
}

/// The names that records point at.
pub fn targets(records: &BTreeSet<Rr>) -> BTreeSet<String> {
    let names = records.iter().flat_map(|record| rdata::names(Rtype(record.rtype), &record.rdata));
    names.map(|name| name.to_lowercase().to_string()).collect()
}
