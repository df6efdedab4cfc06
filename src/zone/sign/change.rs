//! What a change makes of a signed zone: the RRsets of the owners that it touches, and the NSECs or NSEC3s that tell of them.
//!
//! A zone cut or a DNAME that comes or goes touches all that is below it, and nothing else.

use std::collections::BTreeSet;

use super::draft::{denial_ttl, owner_of, sets_of, types_of};
use super::ring::Ring;
use super::signing::Signing;
use super::{Published, SigningError};
use crate::dns::{Name, RRset, Rtype};
use crate::zone::contents::Contents;
use crate::zone::denial::{self, Denial, Owner, nsec, standing};
use crate::zone::tree::{Difference, Node, SignedSet, Tree};

/// More owners than this part of the zone, and so many, are a new zone rather than a change.
const LARGE_PART: usize = 8;
const LARGE: usize = 64;

/// A signed zone after a change, but for the SOA.
pub(super) struct Change {
    /// The zone.
    pub tree: Tree,
    /// The owners whose RRsets are not those of the version before.
    pub owners: Vec<Name>,
}

impl Change {
    /// None where the change is so large that signing the whole is cheaper.
    pub fn make(
        signing: &Signing<'_>,
        old: &Contents,
        contents: &Contents,
        before: &Published,
    ) -> Result<Option<Change>, SigningError> {
        let Some(touched) = touched(old, contents) else { return Ok(None) };
        let ttl = denial_ttl(contents).ok_or(SigningError::NoSoa)?;
        let mut tree = before.tree.clone();
        let mut owners = touched.clone();
        match &signing.policy.denial {
            Denial::Nsec => owners.extend(relink(signing, contents, &touched, ttl, &before.tree, &mut tree)?),
            Denial::Nsec3(parameters) => {
                for owner in &touched {
                    replace(signing, contents, owner, ttl, &mut tree)?;
                }
                let mut ring = Ring::new(&before.tree, parameters);
                if ring.follow(old, contents, &touched).is_none() {
                    return Ok(None);
                }
                owners.extend(ring.write(signing, ttl, &mut tree)?);
            }
        }
        Ok(Some(Change { tree, owners: owners.into_iter().collect() }))
    }
}

/// The owners that have not the same as before, or do not stand in the zone as before; none where they are many.
fn touched(old: &Contents, contents: &Contents) -> Option<BTreeSet<Name>> {
    let differences = old.tree().differences(contents.tree());
    let large = LARGE.max(contents.tree().totals().nodes / LARGE_PART);
    if differences.len() > large {
        return None;
    }
    let apex_len = contents.origin().as_wire().len();
    let below = |node: Option<Node<'_>>| node.and_then(|node| denial::below(node, apex_len));
    let shadows = differences.iter().filter(|one| below(one.old) != below(one.new)).map(|one| one.owner.clone());
    let shadows: Vec<Name> = shadows.collect();
    let mut touched: BTreeSet<Name> = differences.into_iter().map(|Difference { owner, .. }| owner).collect();
    for shadow in &shadows {
        for node in contents.at_or_below(shadow).chain(old.at_or_below(shadow)) {
            touched.insert(node.owner());
            if touched.len() > large {
                return None;
            }
        }
    }
    Some(touched)
}

/// Replaces what owners have in a zone with NSECs; gives the owners whose NSECs say something else now.
fn relink(
    signing: &Signing<'_>,
    contents: &Contents,
    touched: &BTreeSet<Name>,
    ttl: u32,
    before: &Tree,
    tree: &mut Tree,
) -> Result<Vec<Name>, SigningError> {
    // Those whose NSEC has to be looked at, and those that came into the chain, went out of it, or are written otherwise.
    let (mut told, mut moved) = (BTreeSet::new(), Vec::new());
    for owner in touched {
        let is_in_chain = replace(signing, contents, owner, ttl, tree)?;
        let was = before.node(owner.as_wire()).filter(|node| node.has(Rtype::NSEC)).map(Node::name);
        if was != is_in_chain.then_some(owner.as_wire()) {
            moved.push(owner);
        }
        if is_in_chain {
            told.insert(owner.clone());
        }
    }
    told.extend(moved.into_iter().filter_map(|owner| tree.before(owner.as_wire())).map(Node::owner));
    let mut relinked = Vec::new();
    for owner in told {
        if link(signing, &owner, ttl, tree)? {
            relinked.push(owner);
        }
    }
    Ok(relinked)
}

/// Puts an owner's RRsets in the place of those that were published. Gives whether a chain speaks of it.
fn replace(
    signing: &Signing<'_>,
    contents: &Contents,
    owner: &Name,
    ttl: u32,
    tree: &mut Tree,
) -> Result<bool, SigningError> {
    let denial = &signing.policy.denial;
    let standing = standing(contents, owner.as_wire());
    let node = contents.node(owner);
    let (plain, to_sign) = node.map(|node| sets_of(contents, node, standing, (denial, ttl))).unwrap_or_default();
    let is_in_chain = node.is_some_and(|node| owner_of(contents, node, standing, denial).is_some());
    let old = tree.node(owner.as_wire());
    let had_nsec = old.is_some_and(|node| node.has(Rtype::NSEC));
    // An NSEC3 is another name's: its hash makes this one.
    let keeps = |rtype: Rtype| match rtype {
        Rtype::NSEC => *denial == Denial::Nsec && is_in_chain,
        Rtype::NSEC3 => *denial != Denial::Nsec,
        Rtype::SOA => owner == contents.origin(),
        _ => false,
    };
    let old_types = old.into_iter().flat_map(Node::sets).map(|set| set.rtype).filter(|rtype| !keeps(*rtype));
    let mut changes: Vec<(Rtype, Option<SignedSet>)> = old_types.map(|rtype| (rtype, None)).collect();
    let is_left = plain.is_empty() && to_sign.is_empty();
    for rrset in plain.into_iter().filter(|rrset| rrset.rtype != Rtype::SOA) {
        changes.push((rrset.rtype, Some(SignedSet { rrset, rrsigs: Vec::new() })));
    }
    for rrset in to_sign {
        changes.push((rrset.rtype, Some(signing.sign(owner, rrset)?)));
    }
    if *denial == Denial::Nsec && is_in_chain && !had_nsec {
        // What it says comes when all that come and go are known.
        let rrset = RRset::new(Rtype::NSEC, ttl, owner.as_wire().into());
        changes.push((Rtype::NSEC, Some(SignedSet { rrset, rrsigs: Vec::new() })));
    }
    if is_left && !changes.is_empty() {
        // What may be left here is a hash.
        tree.change(&owner.to_lowercase(), &changes);
    } else if !changes.is_empty() {
        tree.change(owner, &changes);
    }
    Ok(is_in_chain)
}

/// Lets an owner's NSEC say what it has and who comes next; gives whether it said something else.
fn link(signing: &Signing<'_>, owner: &Name, ttl: u32, tree: &mut Tree) -> Result<bool, SigningError> {
    let Some(node) = tree.node(owner.as_wire()) else { return Ok(false) };
    let is_cut = owner != tree.apex() && node.has(Rtype::NS);
    let Some(owner) = Owner::new(owner.clone(), types_of(node).into_iter(), is_cut) else { return Ok(false) };
    let next = tree.after(owner.name.as_wire()).map_or_else(|| tree.apex().clone(), Node::owner);
    let rrset = nsec::rrset(&owner, &next, ttl);
    let is_said = node.set(Rtype::NSEC).is_some_and(|set| set.rrset() == rrset);
    if is_said {
        return Ok(false);
    }
    let signed = signing.sign(&owner.name, rrset)?;
    tree.change(&owner.name, &[(Rtype::NSEC, Some(signed))]);
    Ok(true)
}
