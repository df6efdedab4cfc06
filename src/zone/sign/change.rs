//! What a change of single owners makes of a signed zone: their RRsets, and the NSECs that tell of them.

use std::collections::BTreeSet;

use super::draft::{denial_ttl, sets_of, types_of};
use super::signing::Signing;
use super::{Published, SigningError};
use crate::dns::{Name, RRset, Rtype};
use crate::zone::contents::Contents;
use crate::zone::denial::{Denial, Owner, Standing, nsec};
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
    /// None where the change is no matter of single owners: a zone cut or a DNAME came or went, or it is large.
    pub fn make(
        signing: &Signing<'_>,
        old: &Contents,
        contents: &Contents,
        before: &Published,
    ) -> Result<Option<Change>, SigningError> {
        let differences = old.tree().differences(contents.tree());
        let large = LARGE.max(contents.tree().totals().nodes / LARGE_PART);
        if differences.len() > large
            || differences
                .iter()
                .flat_map(|one| [one.old, one.new])
                .flatten()
                .any(|node| contents.tree().is_barrier(node))
        {
            return Ok(None);
        }
        let ttl = denial_ttl(contents).ok_or(SigningError::NoSoa)?;
        let mut tree = before.tree.clone();
        let mut owners = BTreeSet::new();
        // Those whose NSEC may say something else now, and those that came into the chain or went out of it.
        let (mut told, mut moved) = (BTreeSet::new(), Vec::new());
        for Difference { owner, new, .. } in differences {
            let (before_it, after_it) = replace(signing, contents, (&owner, new), ttl, &mut tree)?;
            if before_it != after_it {
                moved.push(owner.clone());
            }
            if after_it {
                told.insert(owner.clone());
            }
            owners.insert(owner);
        }
        told.extend(moved.iter().filter_map(|owner| tree.before(owner.as_wire())).map(Node::owner));
        for owner in told {
            if link(signing, &owner, ttl, &mut tree)? {
                owners.insert(owner);
            }
        }
        Ok(Some(Change { tree, owners: owners.into_iter().collect() }))
    }
}

/// Puts an owner's RRsets in the place of those that were published. Gives whether it was in the chain, and whether it is now.
fn replace(
    signing: &Signing<'_>,
    contents: &Contents,
    (owner, new): (&Name, Option<Node<'_>>),
    ttl: u32,
    tree: &mut Tree,
) -> Result<(bool, bool), SigningError> {
    let standing = match contents.tree().barrier_above(owner.as_wire()) {
        None => Standing::Authoritative,
        Some(above) if above.has(Rtype::NS) && above.name().len() > contents.origin().as_wire().len() => Standing::Glue,
        Some(_) => Standing::Hidden,
    };
    let (plain, to_sign) = match new {
        Some(node) => sets_of(contents, node, standing, (&Denial::Nsec, ttl)),
        None => Default::default(),
    };
    let in_chain = standing == Standing::Authoritative && !(plain.is_empty() && to_sign.is_empty());
    let old = tree.node(owner.as_wire());
    let was_in_chain = old.is_some_and(|node| node.has(Rtype::NSEC));
    let keeps = |rtype: Rtype| (rtype == Rtype::NSEC && in_chain) || rtype == Rtype::SOA;
    let old_types = old.into_iter().flat_map(Node::sets).map(|set| set.rtype).filter(|rtype| !keeps(*rtype));
    let mut changes: Vec<(Rtype, Option<SignedSet>)> = old_types.map(|rtype| (rtype, None)).collect();
    for rrset in plain.into_iter().filter(|rrset| rrset.rtype != Rtype::SOA) {
        changes.push((rrset.rtype, Some(SignedSet { rrset, rrsigs: Vec::new() })));
    }
    for rrset in to_sign {
        changes.push((rrset.rtype, Some(signing.sign(owner, rrset)?)));
    }
    if in_chain && !was_in_chain {
        // What it says comes when all that come and go are known.
        let rrset = RRset::new(Rtype::NSEC, ttl, owner.as_wire().into());
        changes.push((Rtype::NSEC, Some(SignedSet { rrset, rrsigs: Vec::new() })));
    }
    tree.change(owner, &changes);
    Ok((was_in_chain, in_chain))
}

/// Lets an owner's NSEC say what it has and who comes next; gives whether it said something else.
fn link(signing: &Signing<'_>, owner: &Name, ttl: u32, tree: &mut Tree) -> Result<bool, SigningError> {
    let Some(node) = tree.node(owner.as_wire()) else { return Ok(false) };
    let is_cut = owner != tree.apex() && node.has(Rtype::NS);
    let Some(owner) = Owner::new(owner.clone(), types_of(node).into_iter(), is_cut) else { return Ok(false) };
    let next = tree.after(owner.name.as_wire()).map_or_else(|| tree.apex().clone(), Node::owner);
    let rrset = nsec::rrset(&owner, &next, ttl);
    let is_said = node.set(Rtype::NSEC).is_some_and(|set| set.rrset(tree.apex().as_wire()) == rrset);
    if is_said {
        return Ok(false);
    }
    let signed = signing.sign(&owner.name, rrset)?;
    tree.change(&owner.name, &[(Rtype::NSEC, Some(signed))]);
    Ok(true)
}
