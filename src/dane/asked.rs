//! What is asked of the served zones while a host is planned: another answer to none of it, and the plan is the same.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::dns::{Name, RRset, Rtype};

use super::prerequisites::{Fact, Resolved, Served, SignedState};

/// A question, hashed. Two that are taken for one cost a plan more, nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key(u64);

impl Key {
    /// What is at a name.
    pub fn at(name: &Name) -> Key {
        Key::new(0, name)
    }

    /// What is at or below a name.
    pub fn below(name: &Name) -> Key {
        Key::new(1, name)
    }

    /// How a zone is signed.
    pub fn zone(apex: &Name) -> Key {
        Key::new(2, apex)
    }

    fn new(kind: u8, name: &Name) -> Key {
        let mut hasher = DefaultHasher::new();
        kind.hash(&mut hasher);
        name.hash(&mut hasher);
        Key(hasher.finish())
    }
}

/// All that was asked for one host.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// Each once, in order.
    pub keys: Vec<Key>,
    /// The zones that it was asked of how they are signed.
    pub zones: BTreeSet<Name>,
}

/// The served zones, and what is asked of them.
pub(super) struct Recorder<'a> {
    served: &'a dyn Served,
    asked: RefCell<Asked>,
}

impl<'a> Recorder<'a> {
    pub fn new(served: &'a dyn Served) -> Recorder<'a> {
        Recorder { served, asked: RefCell::default() }
    }

    pub fn asked(self) -> Asked {
        let mut asked = self.asked.into_inner();
        asked.keys.sort_unstable();
        asked.keys.dedup();
        asked
    }

    fn note(&self, key: Key) {
        self.asked.borrow_mut().keys.push(key);
    }

    fn note_zone(&self, apex: &Name) {
        let mut asked = self.asked.borrow_mut();
        asked.keys.push(Key::zone(apex));
        if !asked.zones.contains(apex) {
            asked.zones.insert(apex.clone());
        }
    }
}

impl Served for Recorder<'_> {
    /// Changes with the zones and their cuts: then everything is planned again.
    fn zone_of(&self, name: &Name) -> Option<Name> {
        self.served.zone_of(name)
    }

    fn rrset(&self, owner: &Name, rtype: Rtype) -> Option<RRset> {
        self.note(Key::at(owner));
        self.served.rrset(owner, rtype)
    }

    /// Changes with the zones: then everything is planned again.
    fn is_whole(&self) -> bool {
        self.served.is_whole()
    }

    fn signed(&self, apex: &Name) -> SignedState {
        self.note_zone(apex);
        self.served.signed(apex)
    }

    fn is_presigned(&self, apex: &Name) -> bool {
        self.note_zone(apex);
        self.served.is_presigned(apex)
    }

    fn owners_below(&self, name: &Name) -> Vec<Name> {
        self.note(Key::below(name));
        self.served.owners_below(name)
    }

    /// Asked for no host: [`super::plans`] follows the mail domains.
    fn mail_domains(&self) -> Vec<Name> {
        self.served.mail_domains()
    }

    fn mail_domain(&self, name: &Name) -> Option<Name> {
        self.note(Key::at(name));
        self.served.mail_domain(name)
    }

    fn lags(&self, owner: &Name) -> bool {
        self.note(Key::at(owner));
        self.served.lags(owner)
    }

    fn parent(&self, apex: &Name) -> Fact {
        self.note_zone(apex);
        self.served.parent(apex)
    }

    fn resolved(&self, domain: &Name) -> Resolved {
        self.note(Key::at(domain));
        self.served.resolved(domain)
    }

    fn probed(&self, host: &Name) -> Fact {
        self.note(Key::at(host));
        self.served.probed(host)
    }
}
