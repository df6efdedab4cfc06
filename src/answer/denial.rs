//! Proofs of absence: which NSEC (RFC 4035 section 3.1.3) or NSEC3 (RFC 5155 section 7.2) goes with which answer.

use super::lookup::Lookup;
use super::message::Place;
use crate::dns::Rtype;
use crate::dns::name::{MAX_NAME, labels};
use crate::zone::snapshot::HashedName;
use crate::zone::tree::Node;

impl<'a> Lookup<'a> {
    /// NXDOMAIN: neither the name nor a wildcard for it exists. The closest encloser is the name's last `closest` labels (RFC 4035 section
    /// 3.1.3.2, RFC 5155 section 7.2.2).
    pub(super) fn prove_absence(&mut self, place: Place<'a>, name: &HashedName<'_>, closest: usize) {
        if !self.dnssec_ok {
            return;
        }
        if place.zone.is_hashed() {
            if let Some(encloser) = self.prove_closest(place, name, closest) {
                let wildcard = wildcard_below(name.suffix(encloser).0);
                self.pend_hashed(place, wildcard.and_then(|name| place.zone.covering_hash(name.as_wire())));
            }
            return;
        }
        self.deny(place, name.as_wire());
        if let Some(wildcard) = wildcard_below(name.suffix(closest).0) {
            self.deny(place, wildcard.as_wire());
        }
    }

    /// NODATA at a name that exists, or at the wildcard that `expanded` was made from.
    pub(super) fn prove_no_data(&mut self, place: Place<'a>, node: Node<'a>, expanded: Option<&HashedName>) {
        if !self.dnssec_ok {
            return;
        }
        if !place.zone.is_hashed() {
            // The NSEC at the node, or for an empty non-terminal the one before it (RFC 4035 section 3.1.3.1).
            self.deny(place, node.name());
            if let Some(name) = expanded {
                self.deny(place, name.as_wire());
            }
            return;
        }
        match expanded {
            None => self.prove_at(place, node),
            // RFC 5155 section 7.2.5.
            Some(name) => {
                self.prove_closest(place, name, depth_below(node));
                self.pend_hashed(place, place.zone.matching_hash(node.name()));
            }
        }
    }

    /// A wildcard's answer: no name closer to the one asked for exists (RFC 4035 section 3.1.3.3, RFC 5155 section 7.2.6).
    pub(super) fn prove_expansion(&mut self, place: Place<'a>, node: Node<'a>, name: &HashedName<'_>) {
        if !self.dnssec_ok {
            return;
        }
        if place.zone.is_hashed() {
            self.pend_hashed(place, place.zone.covering_hash(name.suffix(depth_below(node) + 1).0));
        } else {
            self.deny(place, name.as_wire());
        }
    }

    /// A referral without DS (RFC 4035 section 3.1.4, RFC 5155 section 7.2.7).
    pub(super) fn prove_no_ds(&mut self, place: Place<'a>, cut: Node<'a>) {
        if !self.dnssec_ok {
            return;
        }
        if place.zone.is_hashed() {
            self.prove_at(place, cut);
        } else {
            self.deny(place, cut.name());
        }
    }

    /// What types a name has (RFC 5155 sections 7.2.3 and 7.2.4); for a name that opt-out leaves out, that it may be an insecure one.
    fn prove_at(&mut self, place: Place<'a>, node: Node<'a>) {
        match place.zone.matching_hash(node.name()) {
            Some(matching) => self.pend_hashed(place, Some(matching)),
            None => {
                let name = HashedName::new(node.name());
                self.prove_closest(place, &name, name.label_count());
            }
        }
    }

    /// The closest encloser proof (RFC 5155 section 7.2.1): the NSEC3 that matches the closest provable encloser, the name's last `closest`
    /// labels or less, and the one that covers the name one label longer. Gives how many labels the encloser has.
    fn prove_closest(&mut self, place: Place<'a>, name: &HashedName<'_>, closest: usize) -> Option<usize> {
        let apex = place.zone.origin().label_count();
        for depth in (apex..=closest).rev() {
            let Some(matching) = place.zone.matching_hash(name.suffix(depth).0) else { continue };
            self.pend_hashed(place, Some(matching));
            if depth < name.label_count() {
                self.pend_hashed(place, place.zone.covering_hash(name.suffix(depth + 1).0));
            }
            return Some(depth);
        }
        None
    }

    fn pend_hashed(&mut self, place: Place<'a>, node: Option<Node<'a>>) {
        if let Some((node, nsec3)) = node.and_then(|node| Some((node, node.set(Rtype::NSEC3)?))) {
            self.pend(place, nsec3, node.name());
        }
    }

    /// The NSEC that matches or covers a name.
    fn deny(&mut self, place: Place<'a>, name: &[u8]) {
        if let Some(node) = place.zone.covering(name)
            && let Some(nsec) = node.set(Rtype::NSEC)
        {
            self.pend(place, nsec, node.name());
        }
    }
}

/// A wildcard's name on the stack.
struct Wildcard {
    octets: [u8; MAX_NAME + 2],
    len: usize,
}

impl Wildcard {
    fn as_wire(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}

/// The wildcard right below a name; none where no name is that long.
fn wildcard_below(name: &[u8]) -> Option<Wildcard> {
    let len = name.len() + 2;
    let mut octets = [0; MAX_NAME + 2];
    octets[..2].copy_from_slice(b"\x01*");
    octets[2..len].copy_from_slice(name);
    (len <= MAX_NAME).then_some(Wildcard { octets, len })
}

/// How many labels the name above a wildcard has.
fn depth_below(wildcard: Node<'_>) -> usize {
    labels(wildcard.name()).count() - 1
}
