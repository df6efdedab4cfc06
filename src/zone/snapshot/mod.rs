//! What the server answers from: zones as wire bytes, immutable, found by hash.
//!
//! An RRset's records stand ready for an exact match: each begins with a pointer to the question's name, and a compressed name in
//! its RDATA ends in a pointer to the apex inside the question. Elsewhere those two pointers are all that is patched.
//! The SOA stands once in a zone and never inside other answers.

mod hashed;
mod index;
mod name;
mod near;
mod way;
mod zones;

use std::sync::{Arc, OnceLock};

use hashed::HashedChain;
use index::Index;
pub use name::HashedName;
pub use way::TOGETHER;
use way::Way;
use zones::{Entry, Zones};

use super::denial::Denial;
use super::difference::History;
use super::sign::Published;
use super::tree::{Node, Page, Set, Tree, key};
use crate::dns::header::HEADER;
use crate::dns::name::is_same;
use crate::dns::{Name, Rtype, Timestamp, rdata};

/// All zones that are served at one moment. A copy costs little.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    zones: Zones,
    /// The apexes of zones that are served in their last good version, since the present one can't be had.
    stale: Vec<Name>,
}

/// One zone as wire bytes. What every answer reads stands first.
#[derive(Debug)]
#[repr(C)]
pub struct ZoneSnapshot {
    index: Index,
    /// When the first of its signatures expires. Of what a file has of them it is known some time later.
    expires_at: OnceLock<Timestamp>,
    zone: Published,
    /// The NSEC3 chain, where absence is proven by it.
    hashed: Option<HashedChain>,
    octets: usize,
    /// What led to this version, for secondaries.
    history: History,
}

/// What an NSEC3's owner has more than the apex: 20 octets in base32hex, and their number.
const HASHED_LABEL: usize = 33;
/// So many octets are near anyway.
const NEAR: usize = 512 << 10;

/// What is left for an RRset and its signatures in the longest message, beside header, longest question, and OPT with all its options:
/// NSID, cookie, keepalive, extended error and padding.
const RRSET_MAX: usize = 65_535 - HEADER - 255 - 4 - 11 - (4 + 128 + 28 + 6 + 6 + 4);
/// The longest node and the most pages that the index can tell.
const INDEX_MAX: usize = 1 << 24;

/// A zone that can't be laid out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// More records than any message can carry.
    #[error("the {rtype} records at {owner} take more than 64 KiB together; no DNS message can carry them")]
    LargeRRset {
        /// Their owner.
        owner: Name,
        /// Their type.
        rtype: Rtype,
    },
    /// RDATA that does not fit its type: only a program that builds contents itself can bring it here.
    #[error("the {rtype} record at {owner} is malformed")]
    Malformed {
        /// Its owner.
        owner: Name,
        /// Its type.
        rtype: Rtype,
    },
    /// No SOA.
    #[error("the zone has no SOA record at its apex")]
    NoSoa,
    /// More than can be addressed.
    #[error("the zone is too large: more than 16 million pages of nodes, or a node of more than 16 MiB")]
    LargeZone,
}

impl Snapshot {
    /// A snapshot of these zones; of two with one apex the later counts. `broken` are the apexes of zones that are ours and have no good
    /// version: their names are answered SERVFAIL, so that a resolver asks another server.
    pub fn new(zones: impl IntoIterator<Item = Arc<ZoneSnapshot>>, broken: impl IntoIterator<Item = Name>) -> Snapshot {
        let broken = broken.into_iter().map(|origin| Entry::Broken(Box::new(origin)));
        Snapshot { zones: Zones::new(broken.chain(zones.into_iter().map(Entry::Zone)).collect()), stale: Vec::new() }
    }

    /// The same with this zone in the place of what its apex had.
    pub fn with(&self, zone: Arc<ZoneSnapshot>) -> Snapshot {
        let stale = self.stale.iter().filter(|origin| *origin != zone.origin()).cloned().collect();
        Snapshot { zones: self.zones.with(vec![Entry::Zone(zone)]), stale }
    }

    /// The same, knowing which zones are served in their last good version because the present one can't be had.
    pub fn with_stale(self, stale: Vec<Name>) -> Snapshot {
        Snapshot { stale, ..self }
    }

    /// The apexes of zones whose present version can't be had.
    pub fn stale(&self) -> &[Name] {
        &self.stale
    }

    /// The same with these zones in the place of what their apexes had.
    pub fn with_all(&self, zones: impl IntoIterator<Item = Arc<ZoneSnapshot>>) -> Snapshot {
        Snapshot { zones: self.zones.with(zones.into_iter().map(Entry::Zone).collect()), stale: self.stale.clone() }
    }

    /// The zone whose apex is nearest above a name, or the name itself; `Some(None)` where it has no good version.
    pub fn zone_of(&self, name: &HashedName<'_>) -> Option<Option<&ZoneSnapshot>> {
        self.zone_above(name, 0)
    }

    /// [`Snapshot::zone_of`] for who keeps the zone while others take its place.
    pub fn shared_zone_of(&self, name: &HashedName<'_>) -> Option<Option<&Arc<ZoneSnapshot>>> {
        Some(match self.zones.nearest(name, 0)? {
            Entry::Zone(zone) => Some(zone),
            Entry::Broken(_) => None,
        })
    }

    /// [`Snapshot::zone_of`] the name without its first `skip` labels.
    pub fn zone_above(&self, name: &HashedName<'_>, skip: usize) -> Option<Option<&ZoneSnapshot>> {
        Some(match self.zones.nearest(name, skip)? {
            Entry::Zone(zone) => Some(zone),
            Entry::Broken(_) => None,
        })
    }

    /// Whether it is more than the near caches hold, so that [`Snapshot::prefetch`] is worth its while.
    pub fn is_large(&self) -> bool {
        self.zones.octets() > NEAR
    }

    /// Has the memory brought near that names will be looked up in. What is read at one step was asked for at the one before, for all names:
    /// so they wait together, and not one after the other.
    pub fn prefetch<'a>(&self, mut names: impl Iterator<Item = HashedName<'a>>) {
        loop {
            let mut ways = [Way::default(); TOGETHER];
            let count = ways.iter_mut().zip(&mut names).map(|(way, name)| *way = Way::of(name, &self.zones)).count();
            let ways = &mut ways[..count];
            ways.iter_mut().for_each(|way| way.find_zone(&self.zones));
            ways.iter_mut().for_each(Way::find_slot);
            ways.iter_mut().for_each(Way::find_node);
            ways.iter_mut().for_each(Way::find_denial);
            if count < TOGETHER {
                return;
            }
        }
    }

    /// The zones that are served, in no order.
    pub fn zones(&self) -> impl Iterator<Item = &Arc<ZoneSnapshot>> {
        self.zones.entries().filter_map(|entry| match entry {
            Entry::Zone(zone) => Some(zone),
            Entry::Broken(_) => None,
        })
    }
}

impl ZoneSnapshot {
    /// Lays a zone out.
    pub fn build(zone: &Published) -> Result<ZoneSnapshot, LayoutError> {
        ZoneSnapshot::after(None, zone)
    }

    /// [`ZoneSnapshot::build`], at the cost of what differs from the version before.
    pub fn after(before: Option<&ZoneSnapshot>, zone: &Published) -> Result<ZoneSnapshot, LayoutError> {
        let tree = &zone.tree;
        let old = before.map_or(tree, |before| &before.zone.tree);
        let changed = before.map_or_else(|| (0..tree.pages().len()).collect(), |_| old.changed_pages(tree));
        check(tree, &changed)?;
        tree.apex_node().set(Rtype::SOA).ok_or(LayoutError::NoSoa)?;
        let hashed = match &zone.denial {
            Denial::Nsec3(parameters) => {
                let chain = before.and_then(|before| before.hashed.as_ref()?.after((old, tree), &changed, parameters));
                Some(chain.unwrap_or_else(|| HashedChain::new(tree, parameters.clone())))
            }
            Denial::Nsec => None,
        };
        let index = before.and_then(|before| before.index.after((old, tree), &changed, is_named));
        let index = index.unwrap_or_else(|| Index::of(tree, is_named));
        let octets = tree.pages().iter().map(Page::octets).sum();
        let expires_at = zone.expires_at.map_or_else(OnceLock::new, OnceLock::from);
        Ok(ZoneSnapshot { index, expires_at, zone: zone.clone(), hashed, octets, history: History::default() })
    }

    /// The same with the changes that led to it.
    pub fn with_history(self, history: History) -> ZoneSnapshot {
        ZoneSnapshot { history, ..self }
    }

    /// The changes that led to this version, as far as they are remembered.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// About how many octets the zone's records take.
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// Whether the first of its signatures has expired.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at().is_some_and(|expires| expires < now)
    }

    /// When that is, as far as it is known.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at.get().copied()
    }

    /// Says so of a zone whose signatures its file has. The first word counts.
    pub fn note_expiration(&self, expires: Timestamp) {
        self.expires_at.get_or_init(|| expires);
    }

    /// What is served, with what is known of its signatures.
    pub fn to_published(&self) -> Published {
        Published { expires_at: self.expires_at(), ..self.zone.clone() }
    }

    /// What is served.
    pub fn published(&self) -> &Published {
        &self.zone
    }

    /// The apex.
    pub fn origin(&self) -> &Name {
        self.zone.origin()
    }

    /// The SOA serial.
    pub fn serial(&self) -> u32 {
        self.zone.serial
    }

    /// The node of a name in wire form, any case, of this [`hash`](super::tree::key::hash).
    pub fn find(&self, wanted: &[u8], hash: u64) -> Option<Node<'_>> {
        let tree = &self.zone.tree;
        let found = self.index.find(tree, hash, |node| is_same(node.name(), wanted));
        if found.is_none() && self.is_hashed() && wanted.len() == self.origin().as_wire().len() + HASHED_LABEL {
            // An NSEC3's owner is nobody's name, but for an empty non-terminal that looks like one.
            return tree.node(wanted).filter(|_| tree.has_below(wanted));
        }
        found
    }

    /// The last node with an NSEC at or before `name` in canonical order: its NSEC covers or matches the name.
    pub fn covering(&self, name: &[u8]) -> Option<Node<'_>> {
        self.zone.tree.covering(name)
    }

    /// The owner of the NSEC3 that matches a name; none where opt-out leaves it out.
    pub fn matching_hash(&self, name: &[u8]) -> Option<Node<'_>> {
        self.hashed.as_ref()?.matching(&self.zone.tree, name)
    }

    /// The owner of the NSEC3 that matches or covers a name.
    pub fn covering_hash(&self, name: &[u8]) -> Option<Node<'_>> {
        self.hashed.as_ref()?.covering(&self.zone.tree, name)
    }

    /// Whether absence is proven by NSEC3.
    pub fn is_hashed(&self) -> bool {
        self.hashed.is_some()
    }

    /// The zone cut or DNAME above a name of the zone that is nearest to the apex, and how many labels it has. The name itself is not
    /// looked at.
    pub fn barrier_above(&self, name: &HashedName<'_>) -> Option<(Node<'_>, usize)> {
        if self.zone.tree.totals().barriers == 0 {
            return None;
        }
        let apex = self.origin().label_count();
        (apex..name.label_count()).find_map(|depth| {
            let (above, hash) = name.suffix(depth);
            let node = self.find(above, hash)?;
            self.zone.tree.is_barrier(node).then_some((node, depth))
        })
    }

    /// Whether a node is a zone cut.
    pub fn is_cut(&self, node: Node<'_>) -> bool {
        self.zone.tree.totals().barriers > 0 && node.name().len() > self.origin().as_wire().len() && node.has(Rtype::NS)
    }

    /// How many labels the closest encloser of a name has that does not exist (RFC 4592 section 3.3.1).
    pub fn closest(&self, name: &HashedName<'_>) -> Option<usize> {
        let apex = self.origin().label_count();
        (apex..name.label_count()).rev().find(|&depth| {
            let (above, hash) = name.suffix(depth);
            self.find(above, hash).is_some()
        })
    }

    /// The wildcard right below a name's last `depth` labels.
    pub fn wildcard(&self, name: &HashedName<'_>, depth: usize) -> Option<Node<'_>> {
        let (above, hash) = name.suffix(depth);
        let is_it = |node: Node<'_>| node.name().strip_prefix(b"\x01*").is_some_and(|rest| is_same(rest, above));
        self.index.find(&self.zone.tree, key::fold(hash, b"\x01*"), is_it)
    }

    /// Whether a zone cut is at or above a name, which need not exist.
    pub fn is_delegated(&self, name: &[u8]) -> bool {
        let is_cut = |node: Node<'_>| node.has(Rtype::NS);
        let tree = &self.zone.tree;
        tree.totals().barriers > 0
            && name.len() > self.origin().as_wire().len()
            && (tree.node(name).is_some_and(is_cut) || tree.barrier_above(name).is_some_and(is_cut))
    }

    /// The SOA.
    pub fn soa(&self) -> Option<Set<'_>> {
        self.zone.tree.apex_node().set(Rtype::SOA)
    }
}

/// NSEC3 owners are nobody's names (RFC 5155 section 7.2.8).
fn is_named(node: Node<'_>) -> bool {
    node.is_empty() || node.sets().any(|set| set.count > 0 && set.rtype != Rtype::NSEC3)
}

/// Whether everything fits into a message. What stands on pages that did not change was looked at before.
fn check(tree: &Tree, changed: &[usize]) -> Result<(), LayoutError> {
    if tree.pages().len() >= INDEX_MAX {
        return Err(LayoutError::LargeZone);
    }
    for page in changed.iter().filter_map(|number| tree.pages().get(*number)) {
        for node in page.nodes() {
            for set in node.sets() {
                if set.records.len() + set.rrsigs.len() > RRSET_MAX {
                    return Err(LayoutError::LargeRRset { owner: node.owner(), rtype: set.rtype });
                }
                if set.rdatas().any(|rdata| !rdata::is_well_formed(set.rtype, &rdata)) {
                    return Err(LayoutError::Malformed { owner: node.owner(), rtype: set.rtype });
                }
            }
        }
        if page.octets() >= INDEX_MAX {
            return Err(LayoutError::LargeZone);
        }
    }
    Ok(())
}
