//! What no zone may hold: records that exclude each other at one owner. Found over the whole file, once it is read.

use std::collections::BTreeMap;

use super::source::{Part, Placed};
use super::tree::Node;
use crate::dns::rdata::canonical;
use crate::dns::{Name, Rtype};

/// A record that can't be beside another one.
pub(super) struct Conflict {
    /// Which record of the file.
    pub record: usize,
    /// What of it to point at.
    pub part: Part,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// The records that exclude others, in file order.
pub(super) fn conflicts(zone: &Name, records: &[Placed]) -> Vec<Conflict> {
    let single = |rtype: Rtype| matches!(rtype, Rtype::CNAME | Rtype::DNAME | Rtype::SOA);
    let mut owners: BTreeMap<&Name, Vec<usize>> = BTreeMap::new();
    for placed in records.iter().filter(|placed| single(placed.record.rtype)) {
        owners.entry(&placed.record.owner).or_default();
    }
    for (index, placed) in records.iter().enumerate() {
        if let Some(indices) = owners.get_mut(&placed.record.owner) {
            indices.push(index);
        }
    }
    let mut found = Vec::new();
    for (owner, indices) in owners {
        singletons(owner, &indices, records, &mut found);
        beside_cname(zone, owner, &indices, records, &mut found);
    }
    found.extend(records.iter().enumerate().filter_map(at_wildcard));
    found.sort_by_key(|conflict| conflict.record);
    found
}

/// What excludes each other at an owner, where records come without places in a file.
pub fn clash(node: Node<'_>) -> Option<String> {
    let owner = node.owner();
    let several = |rtype: &Rtype| node.set(*rtype).is_some_and(|set| set.count > 1);
    if let Some(rtype) = [Rtype::SOA, Rtype::CNAME, Rtype::DNAME].into_iter().find(several) {
        return Some(format!("{owner} has several {rtype} records: a name has at most one"));
    }
    let stands_beside = |rtype: Rtype| !matches!(rtype, Rtype::CNAME | Rtype::NSEC | Rtype::NSEC3);
    let other = node.sets().find(|set| set.count > 0 && stands_beside(set.rtype)).filter(|_| node.has(Rtype::CNAME));
    if let Some(other) = other {
        return Some(format!("{owner} has a CNAME and a {} record: a CNAME stands alone", other.rtype));
    }
    let at_wildcard = [Rtype::NS, Rtype::DNAME].into_iter().find(|rtype| owner.is_wildcard() && node.has(*rtype))?;
    Some(format!("{at_wildcard} at a wildcard, {owner}: RFC 4592 leaves open what it would mean"))
}

/// What a delegation or a redirection at a wildcard would mean is left open (RFC 4592 sections 4.2 and 4.4), and can't be signed.
fn at_wildcard((record, placed): (usize, &Placed)) -> Option<Conflict> {
    let rtype = placed.record.rtype;
    (placed.record.owner.is_wildcard() && matches!(rtype, Rtype::NS | Rtype::DNAME)).then(|| Conflict {
        record,
        part: Part::Type,
        message: format!("{rtype} at a wildcard: RFC 4592 leaves open what it would mean"),
        help: Some("write it at each name that it is meant for".to_owned()),
    })
}

/// One SOA (RFC 1035 section 5.2), one CNAME (RFC 2181 section 10.1), one DNAME (RFC 6672 section 2.4).
fn singletons(owner: &Name, indices: &[usize], records: &[Placed], found: &mut Vec<Conflict>) {
    for rtype in [Rtype::SOA, Rtype::CNAME, Rtype::DNAME] {
        let mut same = indices.iter().filter(|&&index| records[index].record.rtype == rtype);
        let Some(&first) = same.next() else { continue };
        let wire = canonical(rtype, &records[first].record.rdata);
        for &other in same.filter(|&&other| canonical(rtype, &records[other].record.rdata) != wire) {
            found.push(Conflict {
                record: other,
                part: Part::Type,
                message: format!("a second {rtype} record at {owner}: a name has at most one"),
                help: Some(format!("the first is on line {}; keep one of the two", records[first].line)),
            });
        }
    }
}

/// Nothing stands beside a CNAME (RFC 1034 section 3.6.2) but its signature and its denial (RFC 2181 section 10.1,
/// RFC 4034 section 2.5); an NSEC3 is there by its hash, and has nothing to do with the name (RFC 5155 section 7.2.8).
fn beside_cname(zone: &Name, owner: &Name, indices: &[usize], records: &[Placed], found: &mut Vec<Conflict>) {
    let is = |index: usize, rtype: Rtype| records[index].record.rtype == rtype;
    let Some(&cname) = indices.iter().find(|&&index| is(index, Rtype::CNAME)) else { return };
    let allowed =
        |index: usize| matches!(records[index].record.rtype, Rtype::CNAME | Rtype::RRSIG | Rtype::NSEC | Rtype::NSEC3);
    let Some(&other) = indices.iter().find(|&&index| !allowed(index)) else { return };
    let later = cname.max(other);
    let (rtype, line) = (records[other].record.rtype, records[cname.min(other)].line);
    let help = match owner == zone {
        true => "the apex can't be a CNAME: write the target's A and AAAA records here".to_owned(),
        false => format!("the other one is on line {line}; keep the CNAME or the rest"),
    };
    found.push(Conflict {
        record: later,
        part: Part::Type,
        message: format!("{owner} has a CNAME and a {rtype} record: a CNAME stands alone"),
        help: Some(help),
    });
}
