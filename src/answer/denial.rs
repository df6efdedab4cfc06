//! Proofs of absence: which NSEC (RFC 4035 section 3.1.3) or NSEC3 (RFC 5155 section 7.2) goes with which answer.

use super::lookup::Lookup;
use super::message::Place;
use crate::dns::Rtype;
use crate::dns::name::MAX_NAME;
use crate::zone::snapshot::{Hashed, HashedChain, Node};

impl<'a> Lookup<'a> {
    /// NXDOMAIN: neither the name nor a wildcard for it exists. The closest encloser begins at `closest` in the name (RFC 4035 section
    /// 3.1.3.2, RFC 5155 section 7.2.2).
    pub(super) fn prove_absence(&mut self, place: Place<'a>, name: &[u8], closest: usize) {
        if !self.dnssec_ok {
            return;
        }
        match place.zone.hashed() {
            None => {
                self.deny(place, name);
                self.deny_wildcard(place, &name[closest..]);
            }
            Some(chain) => {
                let encloser = self.prove_closest(place, chain, name, closest);
                self.pend_hashed(place, encloser.and_then(|encloser| chain.wildcard(encloser)));
            }
        }
    }

    /// NODATA at a name that exists, or at the wildcard that `expanded` was made from.
    pub(super) fn prove_no_data(&mut self, place: Place<'a>, node: &'a Node, expanded: Option<&[u8]>) {
        if !self.dnssec_ok {
            return;
        }
        let zone = place.zone;
        let Some(chain) = zone.hashed() else {
            // The NSEC at the node, or for an empty non-terminal the one before it (RFC 4035 section 3.1.3.1).
            self.deny(place, zone.name(node));
            if let Some(name) = expanded {
                self.deny(place, name);
            }
            return;
        };
        match expanded {
            None => self.prove_at(place, chain, node),
            // RFC 5155 section 7.2.5.
            Some(name) => {
                self.prove_closest(place, chain, name, below_wildcard(name, zone.name(node)));
                self.pend_hashed(place, chain.matching(node));
            }
        }
    }

    /// A wildcard's answer: no name closer to the one asked for exists (RFC 4035 section 3.1.3.3, RFC 5155 section 7.2.6).
    pub(super) fn prove_expansion(&mut self, place: Place<'a>, node: &'a Node, name: &[u8]) {
        if !self.dnssec_ok {
            return;
        }
        match place.zone.hashed() {
            None => self.deny(place, name),
            Some(chain) => {
                let closest = below_wildcard(name, place.zone.name(node));
                self.pend_hashed(place, chain.covering(&name[next_closer(name, closest)..]));
            }
        }
    }

    /// A referral without DS (RFC 4035 section 3.1.4, RFC 5155 section 7.2.7).
    pub(super) fn prove_no_ds(&mut self, place: Place<'a>, cut: &'a Node) {
        if !self.dnssec_ok {
            return;
        }
        match place.zone.hashed() {
            None => self.deny(place, place.zone.name(cut)),
            Some(chain) => self.prove_at(place, chain, cut),
        }
    }

    /// What types a name has (RFC 5155 sections 7.2.3 and 7.2.4); for a name that opt-out leaves out, that it may be an insecure one.
    fn prove_at(&mut self, place: Place<'a>, chain: &'a HashedChain, node: &'a Node) {
        match chain.matching(node) {
            Some(matching) => self.pend_hashed(place, Some(matching)),
            None => {
                self.prove_closest(place, chain, place.zone.name(node), 0);
            }
        }
    }

    /// The closest encloser proof (RFC 5155 section 7.2.1): the NSEC3 that matches the closest provable encloser, at or above `closest`
    /// in the name, and the one that covers the name one label longer. Gives the encloser.
    fn prove_closest(
        &mut self,
        place: Place<'a>,
        chain: &'a HashedChain,
        name: &[u8],
        mut closest: usize,
    ) -> Option<&'a Node> {
        loop {
            let node = place.zone.find(&name[closest..]);
            if let Some((node, matching)) = node.and_then(|node| Some((node, chain.matching(node)?))) {
                self.pend_hashed(place, Some(matching));
                if closest > 0 {
                    self.pend_hashed(place, chain.covering(&name[next_closer(name, closest)..]));
                }
                return Some(node);
            }
            match name[closest] {
                0 => return None,
                len => closest += 1 + usize::from(len),
            }
        }
    }

    fn pend_hashed(&mut self, place: Place<'a>, hashed: Option<&'a Hashed>) {
        if let Some(hashed) = hashed {
            self.pend(place, &hashed.set, place.zone.hashed_name(hashed));
        }
    }

    /// The NSEC that matches or covers a name.
    fn deny(&mut self, place: Place<'a>, name: &[u8]) {
        if let Some(node) = place.zone.covering(name)
            && let Some(nsec) = place.zone.set(node, Rtype::NSEC)
        {
            self.pend(place, nsec, place.zone.name(node));
        }
    }

    /// The NSEC that covers the wildcard below the closest encloser.
    fn deny_wildcard(&mut self, place: Place<'a>, encloser: &[u8]) {
        let mut wildcard = [0u8; MAX_NAME + 2];
        wildcard[..2].copy_from_slice(b"\x01*");
        wildcard[2..2 + encloser.len()].copy_from_slice(encloser);
        self.deny(place, &wildcard[..2 + encloser.len()]);
    }
}

/// Where in `name` the closest encloser begins, which has `wildcard` right below it.
fn below_wildcard(name: &[u8], wildcard: &[u8]) -> usize {
    name.len().saturating_sub(wildcard.len() - 2)
}

/// Where in `name` the name begins that is one label longer than the one at `closest`.
fn next_closer(name: &[u8], closest: usize) -> usize {
    let mut at = 0;
    loop {
        let next = at + 1 + usize::from(name[at]);
        if next >= closest {
            return at;
        }
        at = next;
    }
}
