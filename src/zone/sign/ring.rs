//! What a change makes of an NSEC3 chain: hashes that come and go, each named by the one before it (RFC 5155 section 7.1).
//!
//! Nothing holds the chain but the signed zone itself: its owners stand in the tree in the order of their hashes, between other names
//! where they happen to. Hashes fall evenly among the names, so that the one before is found after as many names as the zone has for each
//! hash: about one, and more in a zone that opt-out leaves many names out of.

use std::collections::{BTreeMap, BTreeSet};

use super::SigningError;
use super::draft::owner_of;
use super::signing::Signing;
use crate::dns::{Name, RRset, Rtype, rdata};
use crate::zone::contents::Contents;
use crate::zone::denial::nsec3::{self, Fields, Hash, Parameters};
use crate::zone::denial::{Denial, Standing, standing, standings_of};
use crate::zone::tree::{Node, Tree};

/// An NSEC3 chain that is about to change.
pub(super) struct Ring<'a> {
    tree: &'a Tree,
    parameters: &'a Parameters,
    denial: Denial,
    /// What hashes are to say; none for those that go.
    changes: BTreeMap<Hash, Option<Link>>,
}

/// What an NSEC3 says.
#[derive(Clone, PartialEq, Eq)]
struct Link {
    next: Hash,
    bitmap: Vec<u8>,
}

/// What is known of the names below one whose place in the chain is looked for.
#[derive(Default)]
struct Below {
    /// One is in the chain.
    stays: bool,
    /// One was, and is not.
    goes: bool,
}

impl<'a> Ring<'a> {
    /// The chain of a signed zone.
    pub fn new(tree: &'a Tree, parameters: &'a Parameters) -> Ring<'a> {
        Ring { tree, parameters, denial: Denial::Nsec3(parameters.clone()), changes: BTreeMap::new() }
    }

    /// Lets it speak of what the contents have now. `touched` are the owners that have not what they had in `old`, or stand otherwise.
    /// None where it can't: two names have one hash.
    pub fn follow(&mut self, old: &Contents, contents: &Contents, touched: &BTreeSet<Name>) -> Option<()> {
        // Empty non-terminals come and go with what is below them.
        let mut names: BTreeMap<Name, Below> = BTreeMap::new();
        for owner in touched {
            let above = owner.ancestors().take_while(|above| above.is_below(contents.origin()));
            for name in std::iter::once(owner.clone()).chain(above) {
                names.entry(name).or_default();
            }
        }
        // What is below comes before what is above.
        while let Some((name, below)) = names.pop_last() {
            let hash = self.parameters.hash(name.as_wire());
            let was = self.link(&hash).is_some();
            if was && old.tree().node(name.as_wire()).is_none() {
                return None;
            }
            let is_same = !touched.contains(&name) && !below.goes;
            let types = self.types(contents, &name, below.stays.then_some(true).or(is_same.then_some(was)));
            if let Some(above) = name.parent().and_then(|parent| names.get_mut(&parent)) {
                above.stays |= types.is_some();
                above.goes |= was && types.is_none();
            }
            self.set(hash, types.map(rdata::bitmap))?;
        }
        Some(())
    }

    /// The types that a name's NSEC3 names; none where it has no NSEC3. `leads` is whether a name below it has one; where that is not known
    /// the names below are looked at, up to the first that has.
    fn types(&self, contents: &Contents, name: &Name, leads: Option<bool>) -> Option<Vec<Rtype>> {
        let node = contents.tree().node(name.as_wire())?;
        let standing = standing(contents, name.as_wire());
        if let Some(types) = self.own_types(contents, (node, standing)) {
            return Some(types);
        }
        // An empty non-terminal.
        let apex_len = contents.origin().as_wire().len();
        let looks = || {
            standings_of(contents.at_or_below(name), apex_len).any(|below| self.own_types(contents, below).is_some())
        };
        (standing == Standing::Authoritative && leads.unwrap_or_else(looks)).then(Vec::new)
    }

    /// The types of an owner that is in the chain for its own sake.
    fn own_types(&self, contents: &Contents, (node, standing): (Node<'_>, Standing)) -> Option<Vec<Rtype>> {
        let owner = owner_of(contents, node, standing, &self.denial)?;
        (owner.is_signed() || !self.parameters.opt_out).then(|| owner.hashed_types())
    }

    /// Lets a hash have this bit map, or none and no place in the chain. None where nothing is before it.
    fn set(&mut self, hash: Hash, bitmap: Option<Vec<u8>>) -> Option<()> {
        match (self.link(&hash), bitmap) {
            (None, None) => {}
            (Some(link), Some(bitmap)) => {
                if link.bitmap != bitmap {
                    self.changes.insert(hash, Some(Link { bitmap, ..link }));
                }
            }
            (None, Some(bitmap)) => {
                let (before, link) = self.before(&hash)?;
                let next = link.next;
                self.changes.insert(before, Some(Link { next: hash, ..link }));
                self.changes.insert(hash, Some(Link { next, bitmap }));
            }
            (Some(gone), None) => {
                let (before, link) = self.before(&hash)?;
                self.changes.insert(before, Some(Link { next: gone.next, ..link }));
                self.changes.insert(hash, None);
            }
        }
        Some(())
    }

    fn link(&self, hash: &Hash) -> Option<Link> {
        match self.changes.get(hash) {
            Some(link) => link.clone(),
            None => self.stored(hash),
        }
    }

    fn stored(&self, hash: &Hash) -> Option<Link> {
        let set = self.tree.node(nsec3::owner(hash, self.tree.apex())?.as_wire())?.set(Rtype::NSEC3)?;
        let Fields { next, bitmap, .. } = Fields::parse(set.first_rdata()?)?;
        Some(Link { next, bitmap: bitmap.to_vec() })
    }

    /// The hash before one in the chain; the last one is before the first.
    fn before(&self, hash: &Hash) -> Option<(Hash, Link)> {
        let apex = self.tree.apex();
        let changed = self.changes.range(..*hash).rev().find_map(|(hash, link)| link.as_ref().map(|_| *hash));
        let before = changed.max(self.stored_before(&nsec3::owner(hash, apex)?)).or_else(|| {
            let changed = self.changes.iter().rev().find_map(|(hash, link)| link.as_ref().map(|_| *hash));
            // Behind the last digit of base32hex.
            changed.max(self.stored_before(&apex.prepend(b"w").ok()?))
        })?;
        Some((before, self.link(&before)?))
    }

    /// The last hash before a name that nothing was changed at.
    fn stored_before(&self, name: &Name) -> Option<Hash> {
        let apex = self.tree.apex();
        let len = apex.as_wire().len() + 33;
        let owners = self.tree.nodes_before(name.as_wire()).filter(|node| node.name().len() == len);
        let hashes =
            owners.filter(|node| node.has(Rtype::NSEC3)).filter_map(|node| nsec3::hash_in(&node.owner(), apex));
        { hashes }.find(|hash| !self.changes.contains_key(hash))
    }

    /// Puts what has changed into the zone, signed; gives the owners.
    pub fn write(self, signing: &Signing<'_>, ttl: u32, tree: &mut Tree) -> Result<Vec<Name>, SigningError> {
        let mut owners = Vec::new();
        for (hash, link) in &self.changes {
            let Some(owner) = nsec3::owner(hash, self.tree.apex()).filter(|_| *link != self.stored(hash)) else {
                continue;
            };
            // A name of the zone that looks like this one stays as it is written.
            let is_named = |node: &Node<'_>| node.sets().any(|set| set.rtype != Rtype::NSEC3);
            let owner = tree.node(owner.as_wire()).filter(is_named).map_or(owner, Node::owner);
            let set = match link {
                Some(link) => {
                    let rdata = self.parameters.nsec3(&link.next, &link.bitmap);
                    Some(signing.sign(&owner, RRset::new(Rtype::NSEC3, ttl, rdata))?)
                }
                None => None,
            };
            tree.change(&owner, &[(Rtype::NSEC3, set)]);
            owners.push(owner);
        }
        Ok(owners)
    }
}
