//! The rules of RFC 2136 section 3, applied to what a zone has: all of a request is done, or nothing.

use std::collections::BTreeMap;

use super::grant::Grants;
use super::is_never_updated;
use super::request::{Change, Prerequisite, Request};
use crate::dns::header::Rcode;
use crate::dns::{Name, RRset, Record, Rtype};
use crate::zone::Contents;

/// What an RRset may take up in octets, with a head for each record: it has to fit into a message with its signatures.
const RRSET_MAX: usize = 60_000;
/// Name, type, class, TTL and length of a record in a message, its name a pointer.
const RECORD_HEAD: usize = 12;
/// No zone has these (RFC 1123 section 6.1.2): who sends them has meant something else.
const MD: Rtype = Rtype(3);
const MF: Rtype = Rtype(4);
/// No zone file can have it (RFC 1035 section 3.3.10), and what is exported has to be one.
const NULL: Rtype = Rtype(10);

/// The RRsets that are otherwise once a request is done, in canonical order; one without RDATAs is gone. None where all is so already.
///
/// `contents` is what the zone has, less what is synthesised and what is made by signing; prerequisites look at nothing else, so its SOA
/// should be the one that is served. `is_synthesised` says what is another's at an owner: of a CNAME it should say so wherever anything is
/// synthesised, of NS and DNAME where anything below is, since they would hide it.
///
/// The errors are RFC 2136's: NXDOMAIN, YXDOMAIN, NXRRSET and YXRRSET for a prerequisite that does not hold; REFUSED for what is not
/// allowed, or would be too much for any message.
pub fn decide(
    request: &Request,
    contents: &Contents,
    grants: &Grants<'_>,
    is_synthesised: &dyn Fn(&Name, Rtype) -> bool,
) -> Result<Vec<(Name, RRset)>, Rcode> {
    debug_assert_eq!(request.zone, *contents.origin());
    request.prerequisites.iter().try_for_each(|prerequisite| holds(prerequisite, contents))?;
    let mut view = View { contents, grants, is_synthesised, changed: BTreeMap::new() };
    request.updates.iter().try_for_each(|change| view.apply(change))?;
    view.finish()
}

/// RFC 2136 section 3.2.
fn holds(prerequisite: &Prerequisite, contents: &Contents) -> Result<(), Rcode> {
    let (holds, otherwise) = match prerequisite {
        Prerequisite::InUse(owner) => (contents.node(owner).is_some(), Rcode::NxDomain),
        Prerequisite::NotInUse(owner) => (contents.node(owner).is_none(), Rcode::YxDomain),
        Prerequisite::Exists(owner, rtype) => (contents.has(owner, *rtype), Rcode::NxRrset),
        Prerequisite::ExistsNot(owner, rtype) => (!contents.has(owner, *rtype), Rcode::YxRrset),
        Prerequisite::Equals(owner, rrset) => {
            let there = contents.rrset(owner, rrset.rtype);
            (there.is_some_and(|there| there.has_records_of(rrset)), Rcode::NxRrset)
        }
    };
    if holds { Ok(()) } else { Err(otherwise) }
}

/// The zone as the changes until now have made it.
struct View<'a> {
    contents: &'a Contents,
    grants: &'a Grants<'a>,
    is_synthesised: &'a dyn Fn(&Name, Rtype) -> bool,
    /// RRsets that were changed, or could have been.
    changed: BTreeMap<Name, BTreeMap<Rtype, RRset>>,
}

impl View<'_> {
    /// RFC 2136 section 3.4.2.
    fn apply(&mut self, change: &Change) -> Result<(), Rcode> {
        match change {
            Change::Add(record) => self.add(record),
            Change::DeleteRrset(owner, rtype) => {
                self.permit(owner, *rtype)?;
                self.rrset(owner, *rtype).rdatas.clear();
                Ok(())
            }
            Change::DeleteName(owner) => self.delete_name(owner),
            Change::Delete(owner, rtype, rdata) => {
                self.permit(owner, *rtype)?;
                self.rrset(owner, *rtype).remove(rdata);
                Ok(())
            }
        }
    }

    /// Section 3.4.2.2. What stands in a record's way makes that it is ignored.
    fn add(&mut self, record: &Record) -> Result<(), Rcode> {
        let Record { owner, ttl, rtype, rdata } = record;
        self.permit(owner, *rtype)?;
        if self.is_misplaced(owner, *rtype) {
            return Ok(());
        }
        let rrset = self.rrset(owner, *rtype);
        // The newest TTL is that of all (RFC 2181 section 5.2).
        rrset.ttl = *ttl;
        if !rrset.contains(rdata) {
            // One takes the other's place: RFC 2136 section 3.4.2.2, RFC 6672 section 5.2.
            if matches!(*rtype, Rtype::CNAME | Rtype::DNAME) {
                rrset.rdatas.clear();
            }
            rrset.insert(rdata.clone());
        }
        Ok(())
    }

    /// Whether a record can't be where it would come.
    fn is_misplaced(&self, owner: &Name, rtype: Rtype) -> bool {
        let is_apex = owner == self.contents.origin();
        match rtype {
            // RFC 2136 section 3.4.2.2: nothing comes beside a CNAME, and a CNAME beside nothing.
            Rtype::CNAME if self.types(owner).iter().any(|there| *there != Rtype::CNAME) => true,
            _ if rtype != Rtype::CNAME && self.has(owner, Rtype::CNAME) => true,
            // That of the apex was refused; there is no other (RFC 2136 section 3.4.2.2).
            Rtype::SOA => true,
            // RFC 4035 section 2.4.
            Rtype::DS => is_apex,
            // RFC 4592 sections 4.2 and 4.4 leave open what they would mean.
            Rtype::NS | Rtype::DNAME => owner.is_wildcard(),
            MD | MF | NULL => true,
            _ => false,
        }
    }

    /// Section 3.4.2.3. What is never updated stays, at the apex its SOA and NS too; all else has to be permitted.
    fn delete_name(&mut self, owner: &Name) -> Result<(), Rcode> {
        if !self.grants.cover(owner, Rtype::ANY) {
            return Err(Rcode::Refused);
        }
        for rtype in self.types(owner) {
            if !self.stays(owner, rtype) {
                self.permit(owner, rtype)?;
                self.rrset(owner, rtype).rdatas.clear();
            }
        }
        Ok(())
    }

    /// Whether nobody may change this, whatever he was granted.
    fn stays(&self, owner: &Name, rtype: Rtype) -> bool {
        is_never_updated(rtype) || (matches!(rtype, Rtype::SOA | Rtype::NS) && owner == self.contents.origin())
    }

    /// Section 3.3.
    fn permit(&self, owner: &Name, rtype: Rtype) -> Result<(), Rcode> {
        let is_ours = self.stays(owner, rtype) || (self.is_synthesised)(owner, rtype);
        if !is_ours && self.grants.cover(owner, rtype) { Ok(()) } else { Err(Rcode::Refused) }
    }

    /// An RRset as it is now, for changing; without RDATAs where there is none.
    fn rrset(&mut self, owner: &Name, rtype: Rtype) -> &mut RRset {
        let before = || self.contents.rrset(owner, rtype).unwrap_or(RRset { rtype, ttl: 0, rdatas: Vec::new() });
        self.changed.entry(owner.clone()).or_default().entry(rtype).or_insert_with(before)
    }

    fn has(&self, owner: &Name, rtype: Rtype) -> bool {
        match self.changed.get(owner).and_then(|sets| sets.get(&rtype)) {
            Some(rrset) => !rrset.rdatas.is_empty(),
            None => self.contents.has(owner, rtype),
        }
    }

    /// The types that an owner has records of.
    fn types(&self, owner: &Name) -> Vec<Rtype> {
        let changed = self.changed.get(owner).into_iter().flat_map(|sets| sets.keys().copied());
        let before = self.contents.node(owner).into_iter().flat_map(|node| node.sets().map(|set| set.rtype));
        let mut types: Vec<Rtype> = changed.chain(before).filter(|rtype| self.has(owner, *rtype)).collect();
        types.sort_unstable();
        types.dedup();
        types
    }

    /// What is otherwise than before.
    fn finish(mut self) -> Result<Vec<(Name, RRset)>, Rcode> {
        self.drop_orphaned_ds();
        let mut result = Vec::new();
        for (owner, sets) in self.changed {
            for (rtype, rrset) in sets {
                let is_as_before = match self.contents.rrset(&owner, rtype) {
                    Some(before) => before.ttl == rrset.ttl && before.has_records_of(&rrset),
                    None => rrset.rdatas.is_empty(),
                };
                let octets: usize = rrset.rdatas.iter().map(|rdata| RECORD_HEAD + rdata.len()).sum();
                match octets {
                    _ if is_as_before => {}
                    0..=RRSET_MAX => result.push((owner.clone(), rrset)),
                    _ => return Err(Rcode::Refused),
                }
            }
        }
        Ok(result)
    }

    /// DS stands at delegations only (RFC 4035 section 2.4): what comes without NS, or whose NS goes, goes too.
    fn drop_orphaned_ds(&mut self) {
        let of_delegations =
            |sets: &BTreeMap<Rtype, RRset>| sets.keys().any(|rtype| matches!(*rtype, Rtype::NS | Rtype::DS));
        let owners: Vec<Name> =
            self.changed.iter().filter(|(_, sets)| of_delegations(sets)).map(|(owner, _)| owner.clone()).collect();
        for owner in owners {
            let had_ns = self.contents.has(&owner, Rtype::NS);
            let had_ds = self.contents.rrset(&owner, Rtype::DS);
            if !self.has(&owner, Rtype::NS) && self.has(&owner, Rtype::DS) {
                let ds = self.rrset(&owner, Rtype::DS);
                if had_ns || had_ds.as_ref() != Some(&*ds) {
                    ds.rdatas.clear();
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
