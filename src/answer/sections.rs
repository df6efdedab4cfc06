//! The sections behind the answer: what was noted for authority while a name was looked up, and the addresses that go along.

use super::lookup::{Lookup, Truncated, expand};
use super::message::{Message, Owner, Place, REACH, Section, suffix_at};
use crate::dns::Rtype;
use crate::dns::header::POINTER_MAX;
use crate::dns::name::{common_ancestor, is_at_or_below};
use crate::zone::serial;
use crate::zone::tree::{QUESTION_POINTER, Set, SetPlace};

/// So many owners in the authority section are looked at for what a later one shares with them.
const OWNERS_MAX: usize = 4;

/// An RRset for the authority section.
#[derive(Clone, Copy)]
pub(super) struct Pending<'a> {
    place: Place<'a>,
    set: SetPlace<'a>,
    name: &'a [u8],
}

pub(super) struct Targets<'a> {
    pub(super) place: Place<'a>,
    pub(super) set: Set<'a>,
    pub(super) at: usize,
    /// In a referral, the cut: addresses at or below it must fit (RFC 9471 section 3.1).
    pub(super) glue: Option<&'a [u8]>,
}

impl<'a> Lookup<'a> {
    pub(super) fn pend(&mut self, place: Place<'a>, set: Set<'a>, name: &'a [u8]) {
        for slot in &mut self.authority {
            match slot {
                Some(pending) if pending.set.is(set.place()) => return,
                Some(_) => {}
                None => {
                    *slot = Some(Pending { place, set: set.place(), name });
                    return;
                }
            }
        }
    }

    pub(super) fn put_authority(&mut self, message: &mut Message<'_>) -> Result<(), Truncated> {
        let chained;
        let looked_up = match self.owner {
            QUESTION_POINTER => self.question,
            owner => {
                chained = expand(message.written(), usize::from(owner & 0x3fff));
                &chained.0[..chained.1]
            }
        };
        // The first owners that were written below an apex, and where they stand.
        let mut owners = [(looked_up, usize::from(self.owner & 0x3fff)); 1 + OWNERS_MAX];
        let mut known = 1;
        for pending in self.authority.iter().flatten() {
            let (apex_len, len) = (pending.place.zone.origin().as_wire().len(), pending.name.len());
            let mut owner = Owner { labels: &pending.name[..len - apex_len], pointer: pending.place.apex, len };
            let at = message.len();
            if len > apex_len {
                for (name, at) in &owners[..known] {
                    owner.shorten(pending.name, name, *at, message.written());
                }
                if !owner.labels.is_empty() && known < owners.len() {
                    owners[known] = (pending.name, at);
                    known += 1;
                }
            }
            let set = pending.set.set();
            if !message.put(Section::Authority, pending.place, set, owner, self.dnssec_ok) {
                return Err(Truncated);
            }
            // RFC 2308 section 3: what is absent stays so for the SOA's TTL or its MINIMUM, whichever is less.
            if set.rtype == Rtype::SOA
                && let Some(minimum) = set.first_rdata().and_then(serial::minimum_of_soa)
                && minimum < set.ttl()
            {
                message.lower_ttls(at, minimum);
            }
            if let Some(targets) = &mut self.targets
                && targets.set.place().is(pending.set)
            {
                targets.at = at + owner.labels.len();
            }
        }
        Ok(())
    }

    /// Addresses of the targets, and what services they are. In a referral those at or below the cut come first, and have to fit.
    pub(super) fn put_additional(&self, message: &mut Message<'_>) -> Result<(), Truncated> {
        let Some(Targets { place, set, at, glue }) = self.targets else { return Ok(()) };
        let is_glue = |name: &[u8]| glue.is_some_and(|cut| is_at_or_below(name, cut));
        for required in [true, false] {
            for target in set.targets().filter(|target| is_glue(target.name) == required) {
                let Some(node) = place.zone.find(target.name, target.hash) else { continue };
                let position = at + usize::from(target.offset);
                let owner = match position {
                    _ if target.offset == 0 => Owner::at(self.owner, self.owner_len),
                    ..=POINTER_MAX if at <= REACH => Owner::at(0xc000 | position as u16, target.name.len()),
                    _ => Owner {
                        labels: &target.name[..target.name.len() - place.zone.origin().as_wire().len()],
                        pointer: place.apex,
                        len: target.name.len(),
                    },
                };
                // RFC 9460 section 4.1: a service's target brings its own records of the type along, too.
                let service = Some(set.rtype).filter(|rtype| matches!(*rtype, Rtype::SVCB | Rtype::HTTPS));
                for rtype in [Rtype::A, Rtype::AAAA].into_iter().chain(service) {
                    if let Some(brought) = node.set(rtype).filter(|brought| !brought.is(set))
                        && !message.put(Section::Additional, place, brought, owner, self.dnssec_ok)
                    {
                        return if required { Err(Truncated) } else { Ok(()) };
                    }
                }
            }
        }
        Ok(())
    }
}

impl Owner<'_> {
    /// Points to what this owner, of this whole name, has in common with a name that stands in the message, where that is more.
    fn shorten(&mut self, whole: &[u8], name: &[u8], at: usize, written: &[u8]) {
        if self.labels.is_empty() {
            return;
        }
        let common = common_ancestor(whole, name);
        let labels = whole.len() - common;
        if labels < self.labels.len()
            && let Some(at) = suffix_at(written, at, name.len() - common)
        {
            (self.labels, self.pointer) = (&self.labels[..labels], 0xc000 | at as u16);
        }
    }
}
