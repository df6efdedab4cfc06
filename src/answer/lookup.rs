//! The walk of RFC 1034 section 4.3.2 with DNSSEC's proofs (RFC 4035 section 3.1), wildcards (RFC 4592) and DNAME (RFC 6672).

use super::message::{Message, Owner, Place, Section, suffix_at};
use super::query::Query;
use super::sections::{Pending, Targets};
use crate::dns::header::{ExtendedError, POINTER_MAX, Rcode};
use crate::dns::name::{MAX_NAME, is_same, wire_len};
use crate::dns::{Rtype, Timestamp};
use crate::zone::snapshot::{HashedName, Snapshot, ZoneSnapshot};
use crate::zone::tree::{Node, QUESTION_POINTER, RECORD_HEAD, Set, SetPlace, apex_pointer};

/// How many CNAMEs and DNAMEs one answer follows.
const CHAIN_MAX: usize = 12;
/// A step of the chain proves at most a wildcard expansion; the last one has SOA or NS, DS, and two proofs.
const AUTHORITY_MAX: usize = CHAIN_MAX + 4;

/// One question's way through the snapshot.
pub struct Lookup<'a> {
    snapshot: &'a Snapshot,
    now: Timestamp,
    qtype: Rtype,
    pub(super) dnssec_ok: bool,
    /// The name in the question.
    pub(super) question: &'a [u8],
    /// Where the name that is looked up now stands in the message: the question's, later a CNAME's target.
    pub(super) owner: u16,
    /// Its length in octets.
    pub(super) owner_len: usize,
    /// The names that were looked up before, as pointers: one that comes again closes a loop.
    visited: [Option<u16>; CHAIN_MAX],
    /// The DNAMEs in the answer, and where their targets stand: each is in it once, however often it redirects (RFC 2181 section 5).
    dnames: [Option<(SetPlace<'a>, usize)>; CHAIN_MAX],
    pub(super) authority: [Option<Pending<'a>>; AUTHORITY_MAX],
    /// The last RRset of the answer or referral, whose targets' addresses go into the additional section.
    pub(super) targets: Option<Targets<'a>>,
}

/// What a step ended with.
enum Step {
    Done,
    /// On to the name whose wire form starts at this offset of the message.
    Follow(usize),
}

/// A required RRset did not fit.
pub(super) struct Truncated;

impl<'a> Lookup<'a> {
    /// Prepares to look a question up.
    pub fn new(snapshot: &'a Snapshot, query: &Query<'a>, now: Timestamp) -> Lookup<'a> {
        Lookup {
            snapshot,
            now,
            qtype: query.qtype,
            dnssec_ok: query.edns.is_some_and(|edns| edns.dnssec_ok),
            question: query.name.as_wire(),
            owner: QUESTION_POINTER,
            owner_len: query.name.as_wire().len(),
            visited: [None; CHAIN_MAX],
            dnames: [None; CHAIN_MAX],
            authority: [None; AUTHORITY_MAX],
            targets: None,
        }
    }

    /// Looks it up and writes the response.
    pub fn run(mut self, name: &HashedName<'_>, message: &mut Message<'_>) {
        let zone = match self.zone_of(name) {
            Some(Some(zone)) => zone,
            Some(None) => {
                message.rcode(Rcode::ServFail);
                return message.explain(ExtendedError::InvalidData);
            }
            None => {
                message.rcode(Rcode::Refused);
                return message.explain(ExtendedError::NotAuthoritative);
            }
        };
        if self.dnssec_ok && zone.has_expired(self.now) {
            message.explain(ExtendedError::SignatureExpired);
        } else if !self.snapshot.stale().is_empty() && self.snapshot.stale().contains(zone.origin()) {
            message.explain(ExtendedError::StaleAnswer);
        }
        let apex = apex_pointer(self.question.len(), zone.origin().as_wire().len());
        if self.chain(Place { zone, apex }, name, message).is_err() || self.put_authority(message).is_err() {
            message.truncated();
            return;
        }
        if self.put_additional(message).is_err() {
            message.truncated();
        }
    }

    /// A DS lives above the cut, so its question goes to the parent's zone where we have it (RFC 4035 section 3.1.4.1).
    fn zone_of(&self, name: &HashedName<'_>) -> Option<Option<&'a ZoneSnapshot>> {
        let labels = name.label_count();
        if self.qtype == Rtype::DS && labels > 0 {
            let above = self.snapshot.zone_above(name, 1);
            let own = self.snapshot.zone_of(name);
            // The zone above may have given away what lies between: then it is not the parent.
            let (parent, _) = name.suffix(labels - 1);
            return if above.flatten().is_some_and(|zone| zone.is_delegated(parent)) { own } else { above.or(own) };
        }
        self.snapshot.zone_of(name)
    }

    fn chain(
        &mut self,
        mut place: Place<'a>,
        asked: &HashedName<'_>,
        message: &mut Message<'_>,
    ) -> Result<(), Truncated> {
        let mut target_name;
        let mut name = *asked;
        for step in 0..CHAIN_MAX {
            let target = match self.step(place, &name, message)? {
                Step::Follow(target) if target <= POINTER_MAX => target,
                // Where no pointer reaches, the chain ends: the resolver asks on.
                Step::Follow(_) | Step::Done => return Ok(()),
            };
            self.visited[step] = Some(self.owner);
            target_name = expand(message.written(), target);
            let (wire, len) = &target_name;
            name = HashedName::new(&wire[..*len]);
            let is_this = |owner: &u16| {
                let (visited, len) = expand(message.written(), usize::from(owner & 0x3fff));
                is_same(&visited[..len], name.as_wire())
            };
            if self.visited.iter().flatten().any(is_this) {
                return Ok(());
            }
            (self.owner, self.owner_len) = (0xc000 | target as u16, *len);
            let Some(Some(zone)) = self.zone_of(&name) else { return Ok(()) };
            if !std::ptr::eq(zone, place.zone) {
                let Some(at) = suffix_at(message.written(), target, len - zone.origin().as_wire().len()) else {
                    return Ok(());
                };
                place = Place { zone, apex: 0xc000 | at as u16 };
            }
        }
        Ok(())
    }

    fn step(&mut self, place: Place<'a>, name: &HashedName<'_>, message: &mut Message<'_>) -> Result<Step, Truncated> {
        let zone = place.zone;
        if let Some((barrier, depth)) = zone.barrier_above(name) {
            return self.turn_away(place, barrier, name, depth, message);
        }
        if let Some(node) = zone.find(name.as_wire(), name.hash()) {
            // The parent answers for the DS at a cut itself (RFC 4035 section 3.1.4.1).
            if self.qtype != Rtype::DS && zone.is_cut(node) {
                self.refer(place, node, message);
                return Ok(Step::Done);
            }
            return self.answer_at(place, node, None, message);
        }
        let Some(closest) = zone.closest(name) else { return Ok(Step::Done) };
        match zone.wildcard(name, closest) {
            Some(wildcard) => self.answer_at(place, wildcard, Some(name), message),
            None => {
                message.authoritative();
                message.rcode(Rcode::NxDomain);
                self.deny_with_soa(place);
                self.prove_absence(place, name, closest);
                Ok(Step::Done)
            }
        }
    }

    /// Below a zone cut another zone answers; below a DNAME nothing exists.
    fn turn_away(
        &mut self,
        place: Place<'a>,
        barrier: Node<'a>,
        name: &HashedName<'_>,
        depth: usize,
        message: &mut Message<'_>,
    ) -> Result<Step, Truncated> {
        match barrier.set(Rtype::DNAME).filter(|_| !place.zone.is_cut(barrier)) {
            Some(dname) => self.redirect(place, dname, name.as_wire().len() - name.suffix(depth).0.len(), message),
            None => {
                self.refer(place, barrier, message);
                Ok(Step::Done)
            }
        }
    }

    /// Answers from a node: the name's own, or the wildcard that `expanded` is made from.
    fn answer_at(
        &mut self,
        place: Place<'a>,
        node: Node<'a>,
        expanded: Option<&HashedName<'_>>,
        message: &mut Message<'_>,
    ) -> Result<Step, Truncated> {
        message.authoritative();
        let cname = node.set(Rtype::CNAME).filter(|_| !matches!(self.qtype, Rtype::CNAME | Rtype::ANY));
        let answered = match (self.qtype, cname) {
            (Rtype::ANY, _) => self.put_any(place, node, message)?,
            // In an unsigned zone RRSIG is a type like any other: a CNAME is followed.
            (Rtype::RRSIG, None) => self.put_all_rrsigs(node, message)?,
            (Rtype::RRSIG, Some(cname)) if cname.rrsig_count > 0 => self.put_all_rrsigs(node, message)?,
            (qtype, cname) => match node.set(qtype).or(cname) {
                Some(set) => {
                    let at = self.put_answer(place, set, message)?;
                    if set.rtype == Rtype::CNAME && qtype != Rtype::CNAME {
                        if let Some(name) = expanded {
                            self.prove_expansion(place, node, name);
                        }
                        return Ok(Step::Follow(at + 12));
                    }
                    self.targets = Some(Targets { place, set, at, glue: None });
                    true
                }
                None => false,
            },
        };
        match (answered, expanded) {
            (true, None) => {}
            (true, Some(name)) => self.prove_expansion(place, node, name),
            (false, _) => {
                self.deny_with_soa(place);
                self.prove_no_data(place, node, expanded);
            }
        }
        Ok(Step::Done)
    }

    fn put_answer(&self, place: Place<'a>, set: Set<'a>, message: &mut Message<'_>) -> Result<usize, Truncated> {
        let at = message.len();
        match message.put(Section::Answer, place, set, Owner::at(self.owner, self.owner_len), self.dnssec_ok) {
            true => Ok(at),
            false => Err(Truncated),
        }
    }

    /// ANY is answered with one RRset, as RFC 8482 section 4.1 allows: enough to see the name, too little to amplify.
    fn put_any(&self, place: Place<'a>, node: Node<'a>, message: &mut Message<'_>) -> Result<bool, Truncated> {
        match node.sets().find(|set| set.count > 0 && !(set.rtype == Rtype::NSEC3 && place.zone.is_hashed())) {
            Some(set) => self.put_answer(place, set, message).map(|_| true),
            None => Ok(false),
        }
    }

    fn put_all_rrsigs(&self, node: Node<'a>, message: &mut Message<'_>) -> Result<bool, Truncated> {
        let mut any = false;
        for set in node.sets().filter(|set| set.rrsig_count > 0) {
            // At a cut the NS and the glue are the child's and have none.
            any = true;
            if !message.put_rrsigs(set, self.owner) {
                return Err(Truncated);
            }
        }
        Ok(any)
    }

    /// A referral: the cut's NS, its DS or the proof that there is none, and glue. Not authoritative.
    fn refer(&mut self, place: Place<'a>, cut: Node<'a>, message: &Message<'_>) {
        let Some(ns) = cut.set(Rtype::NS) else { return };
        self.pend(place, ns, cut.name());
        if self.dnssec_ok {
            match cut.set(Rtype::DS) {
                // An unsigned zone has nothing to say of the security of another (RFC 4035 section 3.1).
                Some(ds) if ds.rrsig_count > 0 => self.pend(place, ds, cut.name()),
                Some(_) => {}
                None => self.prove_no_ds(place, cut),
            }
        }
        self.targets = Some(Targets { place, set: ns, at: message.len(), glue: Some(cut.name()) });
    }

    /// A DNAME at the closest encloser: itself, and the CNAME that it makes (RFC 6672 section 3.2).
    fn redirect(
        &mut self,
        place: Place<'a>,
        dname: Set<'a>,
        encloser: usize,
        message: &mut Message<'_>,
    ) -> Result<Step, Truncated> {
        message.authoritative();
        let dname_owner = suffix_at(message.written(), usize::from(self.owner & 0x3fff), encloser).ok_or(Truncated)?;
        let records = dname.records;
        let length = usize::from(u16::from_be_bytes([records[10], records[11]]));
        let (ttl, suffix) = (
            u32::from_be_bytes([records[6], records[7], records[8], records[9]]),
            &records[RECORD_HEAD..RECORD_HEAD + length],
        );
        if dname_owner > POINTER_MAX {
            return Ok(Step::Done);
        }
        let slot = self.dnames.iter_mut().find(|slot| slot.is_none_or(|(put, _)| put.is(dname.place())));
        let Some(slot) = slot else { return Ok(Step::Done) };
        let target_at = slot.get_or_insert((dname.place(), message.len() + RECORD_HEAD)).1;
        if target_at > message.len() {
            let owner = Owner::at(0xc000 | dname_owner as u16, self.owner_len - encloser);
            if !message.put(Section::Answer, place, dname, owner, self.dnssec_ok) {
                return Err(Truncated);
            }
        }
        // The labels before the DNAME's owner, in the case they were asked in.
        let (asked, _) = expand(message.written(), usize::from(self.owner & 0x3fff));
        if encloser + suffix.len() > MAX_NAME {
            message.rcode(Rcode::YxDomain);
            return Ok(Step::Done);
        }
        // The target stands in the DNAME's RDATA already.
        let pointer = (0xc000 | target_at as u16).to_be_bytes();
        let rest = if suffix.len() > pointer.len() && target_at <= POINTER_MAX { &pointer } else { suffix };
        match message.put_cname(self.owner, ttl, &asked[..encloser], rest) {
            Some(_) if self.qtype == Rtype::CNAME => Ok(Step::Done),
            Some(target) => Ok(Step::Follow(target)),
            None => Err(Truncated),
        }
    }

    fn deny_with_soa(&mut self, place: Place<'a>) {
        if let Some(soa) = place.zone.soa() {
            self.pend(place, soa, place.zone.origin().as_wire());
        }
    }
}

/// The name at an offset of a message that this room wrote, its pointers followed; and its length.
pub(super) fn expand(message: &[u8], mut at: usize) -> ([u8; MAX_NAME], usize) {
    let mut name = [0; MAX_NAME];
    let mut len = 0;
    while len < MAX_NAME {
        match message[at] {
            pointer @ 0xc0.. => {
                let target = usize::from(pointer & 0x3f) << 8 | usize::from(message[at + 1]);
                debug_assert!(target < at, "a pointer points back");
                at = target.min(at - 1);
            }
            0 => break,
            label => {
                let step = 1 + usize::from(label);
                if len + step >= MAX_NAME {
                    break;
                }
                name[len..len + step].copy_from_slice(&message[at..at + step]);
                len += step;
                at += step;
            }
        }
    }
    debug_assert_eq!(wire_len(&name), Some(len + 1));
    (name, len + 1)
}
