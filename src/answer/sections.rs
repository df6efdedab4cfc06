//! The sections behind the answer: what was noted for authority while a name was looked up, and the addresses that go along.

use super::lookup::{AUTHORITY_MAX, Lookup, Truncated, expand};
use super::message::{Message, Owner, POINTER_MAX, Place, REACH, Section, suffix_at};
use crate::dns::Rtype;
use crate::dns::name::{common_ancestor, is_at_or_below};
use crate::zone::serial;
use crate::zone::tree::{QUESTION_POINTER, Set, SetPlace};

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
        // Where the owners that were written stand.
        let mut owners = [0; AUTHORITY_MAX];
        for (index, pending) in self.authority.iter().flatten().enumerate() {
            let apex_len = pending.place.zone.origin().as_wire().len();
            let len = pending.name.len();
            let mut owner = Owner { labels: &pending.name[..len - apex_len], pointer: pending.place.apex, len };
            let before = self.authority.iter().flatten().map(|pending| pending.name).zip(owners).take(index);
            for (name, at) in before.chain([(looked_up, usize::from(self.owner & 0x3fff))]) {
                if !owner.labels.is_empty() {
                    owner.shorten(pending.name, name, at, message.written());
                }
            }
            let at = message.len();
            owners[index] = if owner.labels.is_empty() { usize::from(owner.pointer & 0x3fff) } else { at };
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
        let common = common_ancestor(whole, name);
        let labels = whole.len() - common;
        if labels < self.labels.len()
            && let Some(at) = suffix_at(written, at, name.len() - common)
        {
            (self.labels, self.pointer) = (&self.labels[..labels], 0xc000 | at as u16);
        }
    }
}
